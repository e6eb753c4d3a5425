"""Flags of the form NAME=VALUE."""

from __future__ import annotations

import pytest

from spar.cli.parsers import parse_adapters, parse_arguments
from spar.errors import UsageError


def test_arguments_are_read_as_yaml() -> None:
    """Numbers, booleans and mappings mean what they look like; dashes are as good as underscores."""
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


@pytest.mark.parametrize(
    ("flags", "said"),
    [(["a"], "NAME=VALUE"), (["=1"], "NAME=VALUE"), (["a=1", "a=2"], "twice"), (["a={"], "YAML")],
)
def test_odd_arguments_are_refused(flags: list[str], said: str) -> None:
    """With the flag and what was expected."""
    with pytest.raises(UsageError, match=said):
        parse_arguments(flags)


def test_an_adapter_is_for_one_role_or_for_all() -> None:
    """A folder may have an equals sign in its name; only a role's name before it means a role."""
    assert parse_adapters(["lora"]) == {"actor": "lora", "judge": "lora", "refiner": "lora"}
    assert parse_adapters(["actor=a", "refiner=b"]) == {"actor": "a", "refiner": "b"}
    assert set(parse_adapters(["step=3"]).values()) == {"step=3"}
    with pytest.raises(UsageError, match="two"):
        parse_adapters(["actor=a", "lora"])
    with pytest.raises(UsageError, match="expected FOLDER"):
        parse_adapters(["actor="])
