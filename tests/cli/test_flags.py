"""The flags: generated from the settings, and accepted under the names of the last version."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import Any

import pytest

from spar.cli.app import COMMANDS, app, load_command
from spar.cli.flags import overrides, shown_default
from spar.config import (
    DecodeConfig,
    EvalConfig,
    SamplingConfig,
    Settings,
    load_decode,
    load_eval,
    specs,
)
from spar.errors import UsageError
from spar.evolve.settings import load_evolve
from spar.plugins import BENCHMARKS, ENGINES, JUDGES, STRATEGIES


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[str, str]:
    """Run a command in this process; returns what it wrote to standard output and standard error."""
    app([str(argument) for argument in arguments], standalone_mode=False)
    return capsys.readouterr()


DECODE = ("decode", "--engine", "fake", "--limit", "1", "--dry-run")


@pytest.mark.parametrize(
    ("old", "new", "value"),
    [
        ("--gate", "--threshold", "0.25"),
        ("--keep", "--beam-width", "4"),
        ("--branch", "--branching", "2"),
        ("--stop", "--early-stop", "first"),
        ("--rows", "--max-batch-size", "8"),
        ("--request-seconds", "--timeout", "5"),
        ("--retry-seconds", "--retry-for", "5"),
        ("--speculate", "--speculative-decoding", "off"),
    ],
)
def test_old_flags_of_settings(
    old: str, new: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each does what its new name does, and prints one line on standard error."""
    expected = run(capsys, *DECODE, new, value)
    assert run(capsys, *DECODE, old, value) == (
        expected[0],
        f"{old} is deprecated; use {new}\n{expected[1]}",
    )
    assert run(capsys, *DECODE, f"{old}={value}")[1].startswith(f"{old} is deprecated")


def test_old_flags_of_commands(capsys: pytest.CaptureFixture[str]) -> None:
    """`--fresh` is `--overwrite`; a flag that another command has under its own name stays."""
    assert run(capsys, *DECODE, "--fresh")[1] == "--fresh is deprecated; use --overwrite\n"


def test_words_after_two_dashes_are_no_flags(capsys: pytest.CaptureFixture[str]) -> None:
    """A file may have the name of an old flag."""
    with pytest.raises(Exception, match="--fresh"):
        run(capsys, *DECODE, "--", "--fresh")


@pytest.mark.parametrize("value", ["max_tokens", "max-tokens", "--max-tokens", "--fresh", "--"])
def test_a_value_that_looks_like_a_flag_is_a_value(
    value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What stands behind an option that takes a value is neither refused nor renamed."""
    arguments = ("decode", "--engine", "fake", "--prompt", value, "--dry-run")
    printed, noted = run(capsys, *arguments)
    assert printed == run(capsys, *arguments[:3], f"--prompt={value}", "--dry-run")[0]
    assert "deprecated" not in noted


@pytest.mark.parametrize("flag", ["--strategy-arg", "--judge-arg", "--engine-arg", "--extra-body"])
def test_an_option_of_a_plug_in_may_be_called_max_tokens(
    flag: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A plug-in has options of its own, whose names mean what it says; with and without an equals sign behind the flag."""
    outcomes = []
    for words in ((flag, "max_tokens=3"), (f"{flag}=max_tokens=3",)):
        try:
            outcomes.append(run(capsys, *DECODE, *words)[0])
        except UsageError as error:
            outcomes.append(str(error))
    assert outcomes[0] == outcomes[1]
    assert "ambiguous" not in outcomes[0]


@pytest.mark.parametrize(("command", "kind"), [("decode", DecodeConfig), ("eval", EvalConfig)])
def test_every_setting_has_a_flag(
    command: str, kind: type[Settings], capsys: pytest.CaptureFixture[str]
) -> None:
    """The command has the flag of each setting, in the panel of its group, with help and default."""
    parameters = {flag: p for p in load_command_of(command).params for flag in p.opts}
    for spec in specs(kind):
        if spec.flag:
            parameter = parameters[spec.flag]
            assert parameter.rich_help_panel == spec.panel != ""
            assert spec.help.replace("[", "\\[") in parameter.help
            assert not shown_default(spec) or f"default: {shown_default(spec)}" in parameter.help


def load_command_of(name: str) -> Any:
    command = load_command(name)
    return command.commands[command.default] if hasattr(command, "commands") else command


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_every_command(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each prints its help, in panels."""
    with contextlib.suppress(SystemExit):
        app([name, "--help"])
    printed = capsys.readouterr().out
    assert "Usage:" in printed
    assert "╭─ " in printed
    usage = next(line for line in printed.splitlines() if "Usage:" in line)
    assert "  " not in usage.strip()
    assert "......" not in usage and not re.search(
        r"[\[{][a-z]", usage
    )  # arguments are in capitals


def test_help_says_what_items_of_a_list_are(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Choices where they are fixed, as for a single value, and URLs elsewhere."""
    monkeypatch.setenv("COLUMNS", "200")
    with contextlib.suppress(SystemExit):
        app(["decode", "--help"])
    printed = " ".join(capsys.readouterr().out.split())
    assert "--redo changed|unanswered " in printed
    assert "--judge-url URL " in printed


def test_help_lists_plugins(capsys: pytest.CaptureFixture[str]) -> None:
    """Names of strategies, judges, engines and benchmarks come from the tables."""
    with contextlib.suppress(SystemExit):
        app(["eval", "--help"])
    printed = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for table in (STRATEGIES, JUDGES, ENGINES, BENCHMARKS):
        assert set(table) <= set(printed.replace(",", " ").split())


def test_sampling_flags_set_one_value() -> None:
    """A flag of a nested setting leaves the recipe's other values as they are."""
    chosen = [spec for spec in specs(DecodeConfig) if spec.panel == "Sampling"]
    values = dict.fromkeys((spec.name for spec in chosen), None)
    given = overrides({**values, "draft.temperature": 0.2, "refine.max_tokens": 9}, chosen)
    assert given == {"draft": {"temperature": 0.2}, "refine": {"max_tokens": 9}}
    config = load_decode("nano", given)
    assert config.draft == SamplingConfig(temperature=0.2, top_p=0.9, max_tokens=128)
    assert config.refine == SamplingConfig(temperature=0.7, top_p=1.0, max_tokens=9)
    evolve = load_evolve("nano", {"draft": {"temperature": 0.2}})
    assert evolve.draft == SamplingConfig(temperature=0.2, top_p=1.0, max_tokens=128)


def test_a_limit_of_tokens_says_of_what(capsys: pytest.CaptureFixture[str]) -> None:
    """Other tools mean a reply by `max_tokens`; the limit of a tree has a name of its own, and is stored under the old one."""
    for attempt in (
        lambda: run(capsys, *DECODE, "--max-tokens", "9"),
        lambda: run(capsys, *DECODE, "--max-tokens=9"),
        lambda: load_decode(None, {"max_tokens": 9}),
        lambda: load_eval(None, {"max_tokens": 9}),
    ):
        with pytest.raises(UsageError, match=r"draft\.max_tokens .* max_tree_tokens"):
            attempt()
    config = load_decode(None, {"max_tree_tokens": 9, "draft": {"max_tokens": 8}})
    assert (config.max_tree_tokens, config.draft.max_tokens) == (9, 8)
    assert (
        config.stored()["max_tokens"] == 9 and DecodeConfig.from_stored(config.stored()) == config
    )


def test_wrong_values_of_sampling_flags_name_the_flag(capsys: pytest.CaptureFixture[str]) -> None:
    """With the value and what is accepted."""
    with pytest.raises(UsageError, match=r"--vote-top-p 3.0: .* less than or equal to 1"):
        run(capsys, *DECODE, "--vote-top-p", "3")


def test_options_of_plugins_are_read_as_yaml() -> None:
    """`--strategy-arg` and its sisters become dictionaries; a wrong form names the flag."""
    chosen = [spec for spec in specs(EvalConfig) if spec.flag and spec.name.endswith("_args")]
    assert {spec.flag for spec in chosen} == {
        *("--strategy-arg", "--judge-arg", "--engine-arg", "--benchmark-arg", "--chat-template-arg")
    }
    values: dict[str, Any] = {spec.name: [] for spec in chosen}
    given = overrides({**values, "strategy_args": ["c=0.7", "wide=true"]}, chosen)
    assert given == {"strategy_args": {"c": 0.7, "wide": True}}
    with pytest.raises(UsageError, match="--judge-arg 'x': expected NAME=VALUE"):
        overrides({**values, "judge_args": ["x"]}, chosen)


def test_dry_run_of_an_evaluation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Examples, the first prompt, strategy and budget, the most calls; nothing is written."""
    monkeypatch.chdir(tmp_path)
    flags = ("--engine", "fake", "--limit", "3", "--strategy", "bfs", "--budget", "4", "--dry-run")
    printed, _ = run(capsys, "eval", "nano-if-answers", *flags)
    assert "== nano-if-answers ==" in printed
    assert "3 of 3 examples" in printed
    assert "[user]" in printed
    assert "strategy bfs, budget 4: at most 4 responses per example" in printed
    assert "72 calls if every reply parses" in printed  # 3 examples, 4 responses, 5 votes on each
    assert list(tmp_path.iterdir()) == []


def test_dry_run_of_a_sweep(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every point with its most calls, and their sum; nothing is written."""
    monkeypatch.chdir(tmp_path)
    grid = ("--strategies", "greedy,best-of-n", "--budgets", "1,2")
    flags = ("--engine", "fake", "--limit", "3", "--dry-run", "--judge", "verifier")
    printed, _ = run(capsys, "sweep", "nano-if-answers", *grid, *flags)
    for line in ("best-of-n-2: at most 2 responses per example, 6 calls", "at most 12 calls"):
        assert line in printed
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("old", "new", "value", "message"),
    [
        ("--from", "--rerun-from", "dop", "no stage 'dop'"),
        ("--start", "--continue-from", "nowhere", "nowhere"),
    ],
)
def test_old_flags_of_training(
    *,
    old: str,
    new: str,
    value: str,
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """They reach the loop, with a warning."""
    with pytest.raises(UsageError, match=message):
        run(capsys, "train", "--dry-run", "--out", tmp_path / "run", old, value)
    assert f"{old} is deprecated; use {new}\n" in capsys.readouterr().err


def test_old_names_of_lm_evals_model_arguments() -> None:
    """lm-eval's `--model_args rows=8` is read like a recipe."""
    pytest.importorskip("lm_eval")
    from spar.eval.lm_harness.model import config_of

    assert config_of({"rows": 8}).max_batch_size == config_of({"max_batch_size": 8}).max_batch_size


def test_an_output_directory_is_not_named_like_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever writes --out answers.jsonl expects a file; a run that has the name already is resumed."""
    named = tmp_path / "answers.jsonl"
    with pytest.raises(
        UsageError, match=r"--out .*answers.jsonl is the name of a file.*runs/answers"
    ):
        run(capsys, *DECODE, "--out", named)
    named.mkdir()
    run(capsys, *DECODE, "--out", named)
    run(capsys, *DECODE, "--out", tmp_path / "llama-3.1")


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_has_no_options_of_the_shell(name: str) -> None:
    """Completion belongs to the program, not to one of its commands."""
    flags = {flag for parameter in load_command(name).params for flag in parameter.opts}
    assert not {"--install-completion", "--show-completion"} & flags
