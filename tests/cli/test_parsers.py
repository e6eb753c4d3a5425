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
        (['{"a": 1'], "not JSON at column 8.*accepted: a JSON object"),
        (['{"a": 1, "a": 2}'], 'the key "a" twice'),
        (['{"a": NaN}'], "the number NaN, which JSON does not have"),
        (['{"a": [1e999]}'], "the number 1e999, which is too large"),
        (["a=.nan"], "not a finite number"),
        (["a={b: [-.inf]}"], "not a finite number"),
    ],
)
def test_invalid_arguments_are_rejected(flags: list[str], message: str) -> None:
    """The error has the flag and the accepted form."""
    with pytest.raises(UsageError, match=message):
        parse_arguments(flags)


def test_a_wrong_object_of_secrets_is_not_repeated() -> None:
    """Headers may hold keys, so the message about a wrong one has none of its text."""
    with pytest.raises(UsageError, match="--header: not a JSON object") as caught:
        parse_arguments(['{"X-Key": "s3cret"'], "--header", dashes=True)
    assert "s3cret" not in str(caught.value)


def test_an_adapter_is_for_one_role_or_for_all() -> None:
    """A folder's name may have an equals sign; only the name of a role before it selects a role."""
    assert parse_adapters(["lora"]) == {"actor": "lora", "judge": "lora", "refiner": "lora"}
    assert parse_adapters(["actor=a", "refiner=b"]) == {"actor": "a", "refiner": "b"}
    assert set(parse_adapters(["step=3"]).values()) == {"step=3"}
    with pytest.raises(UsageError, match="two"):
        parse_adapters(["actor=a", "lora"])
    with pytest.raises(UsageError, match="expected FOLDER"):
        parse_adapters(["actor="])
