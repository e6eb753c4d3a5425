"""Flags of the form NAME=VALUE."""

from __future__ import annotations

import pytest

from spar.cli.parsers import parse_adapters, parse_arguments
from spar.errors import UsageError


def test_arguments_are_read_as_yaml() -> None:
    """Numbers, booleans and mappings are YAML values; dashes in names become underscores."""
    flags = [
        "--max-num-seqs=8",
        "enforce_eager=true",
        "speculative_config={method: ngram}",
        "a=b=c",
    ]
    assert parse_arguments(flags) == {
        "max_num_seqs": 8,
        "enforce_eager": True,
        "speculative_config": {"method": "ngram"},
        "a": "b=c",
    }


def test_a_json_object_stands_for_its_pairs() -> None:
    """Beside further pairs, and with names as they are."""
    flags = ['{"top-a": 0.2, "stop": null}', "b=1"]
    assert parse_arguments(flags) == {"top-a": 0.2, "stop": None, "b": 1}


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["a"], "NAME=VALUE"),
        (["=1"], "NAME=VALUE"),
        (["a=1", "a=2"], "twice"),
        (["a={"], "YAML"),
        (['{"a": 1}', "a=2"], "twice"),
        (['{"a": 1'], "not a JSON object"),
    ],
)
def test_invalid_arguments_are_rejected(flags: list[str], message: str) -> None:
    """The error has the flag and the accepted form."""
    with pytest.raises(UsageError, match=message):
        parse_arguments(flags)


def test_an_adapter_is_for_one_role_or_for_all() -> None:
    """A folder's name may have an equals sign; only the name of a role before it selects a role."""
    assert parse_adapters(["lora"]) == {"actor": "lora", "judge": "lora", "refiner": "lora"}
    assert parse_adapters(["actor=a", "refiner=b"]) == {"actor": "a", "refiner": "b"}
    assert set(parse_adapters(["step=3"]).values()) == {"step=3"}
    with pytest.raises(UsageError, match="two"):
        parse_adapters(["actor=a", "lora"])
    with pytest.raises(UsageError, match="expected FOLDER"):
        parse_adapters(["actor="])
