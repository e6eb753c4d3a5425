"""YAML as it is meant: what YAML 1.1 guesses is refused, and nothing grows without limit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from spar.config import RECIPES, DecodeConfig, load_decode
from spar.config.yaml_text import load_yaml
from spar.errors import UsageError

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 20_000, "nested too deeply"),
        ("x: !!timestamp x", "a tag does not fit"),
        ("x: !!int x", "not a whole number"),
        ("x: !!python/object:os.system {}", "could not determine a constructor"),
        (f"x: {'9' * 5_000}", "a number of 5,000 digits"),
        (BOMB, "more than 100,000 values"),
        ("a: &a [*a]", "leads into itself"),
        ("a: 1\nb: {c: 1, c: 2}", r"the key 'c' stands twice, in lines 2 and 2"),
        ("a: 1\na: 2", "stands twice, in lines 1 and 2"),
        ("x: yes", "yes: write true or false"),
        ("a: 1\nx: yes", "yes in line 2: write true or false"),
        ("x: Off", "write true or false"),
        ("x: 010", "does not start with 0; write 10"),
        ("\n\nx: 010", "010 in line 3: a number does not start with 0"),
        ("x: [", "expected the node content"),
    ],
)
def test_what_is_refused(text: str, message: str) -> None:
    """With a line that says why."""
    with pytest.raises(ValueError, match=message) as refused:
        load_yaml(text)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("x: 1", {"x": 1}),
        ("x: -1_000", {"x": -1000}),
        ("x: 0x10", {"x": 16}),
        ("x: 0", {"x": 0}),
        ("x: 0.5", {"x": 0.5}),
        ("x: 1e-3", {"x": 0.001}),
        ("x: 1E6", {"x": 1e6}),
        ("x: 1.5e3", {"x": 1500.0}),
        ("x: -.5", {"x": -0.5}),
        ("x: 1.", {"x": 1.0}),
        ("x: 1:30.5", {"x": "1:30.5"}),
        ("x: e3", {"x": "e3"}),
        ("x: 1.2.3", {"x": "1.2.3"}),
        ("x: true", {"x": True}),
        ("x: null", {"x": None}),
        ("x: 'yes'", {"x": "yes"}),
        ("x: '010'", {"x": "010"}),
        ("x: 1:30", {"x": "1:30"}),
        ("x: 2020-01-01", {"x": "2020-01-01"}),
        ("a: &a {b: 1}\nc: {<<: *a, d: 2}", {"a": {"b": 1}, "c": {"b": 1, "d": 2}}),
    ],
)
def test_what_is_read(text: str, value: Any) -> None:
    """Numbers, texts, switches, references and merges."""
    assert load_yaml(text) == value


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_recipes_are_read_as_before(path: Path) -> None:
    """They hold nothing that the two versions of YAML read differently."""
    text = path.read_text()
    assert load_yaml(text) == yaml.safe_load(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "zzz: {a: 1}\ndecode: {budget: 3}",
            "unknown section 'zzz'; a setting .* .accepted: decode, eval",
        ),
        (
            "budget: 3",
            "unknown section 'budget'; a setting stands below its section, such as 'decode'",
        ),
        ("decod: {budget: 3}", "unknown section 'decod'; did you mean 'decode'"),
        ("decode: {budget: 3, budget: 5}", "stands twice"),
        ("decode: {budget: true}", "budget is 'true': input should be a valid integer"),
        ("decode: {budget: 1:30}", "budget is '1:30': input should be a valid integer"),
        ("decode: {draft: {temperature: true}}", r"draft\.temperature is 'true'"),
        ("decode: {votes: 100000000000}", "votes is .*less than or equal to"),
        ("decode: {draft: 5}", "draft is 5: input should be a mapping$"),
        ("decode: {strategy_args: [a]}", r"strategy_args is \['a'\]: input should be a mapping$"),
        ("decode: {base_url: 5}", "base_url is 5: input should be a list$"),
        ("decode: {keep: none}", "beam_width is 'none': input should be a valid integer"),
    ],
)
def test_a_recipe_says_what_is_wrong(tmp_path: Path, text: str, message: str) -> None:
    """Sections, keys and numbers, in the words of a recipe, with its name."""
    (tmp_path / "r.yaml").write_text(text)
    with pytest.raises(UsageError, match=message) as refused:
        load_decode(str(tmp_path / "r.yaml"), {})
    assert str(refused.value).startswith(f"recipe {tmp_path / 'r.yaml'}: ")


def test_a_recipe_of_an_impossible_name_is_one_line() -> None:
    """The name is cut in the message."""
    with pytest.raises(UsageError, match="no such file") as refused:
        load_decode("r" * 5_000, {})
    assert len(str(refused.value)) < 500
    assert DecodeConfig(seed=None).seed is None
