"""Every command on a page is checked: run on the embedded model, or as far as this machine can.

A `spar` command in a block of code is run in this process, with the embedded model in place of the one it names, a
server on loopback in place of its URL, and few prompts. The tables below name those that are not run, each with the
reason; they are run with `--dry-run`, which validates every setting, or their command line is parsed. So a flag, a
setting, a recipe, a command or a file that does not exist fails here. For other programs, targets of the Makefile, extras
of `pyproject.toml`, modules, scripts and their flags must exist.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import re
import shutil
import tomllib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.core import TyperCommand
from typer.testing import CliRunner

import spar
from spar.api import training
from spar.cli.app import COMMANDS, app, load_command
from spar.config import EvalConfig
from spar.embedded import CHECKPOINT
from spar.train.recipe import TrainConfig
from tests.docs.pages import PROGRAMS, ROOT, Command, commands, flags, python_blocks
from tests.experiments.test_general_tasks import write_loop
from tests.servers import ScriptedServer

ALL = commands()
SPAR = list({(c.text, c.inline): c for c in reversed(ALL) if c.words[0] == "spar"}.values())
"""Each command once, though several pages have it."""
STORED = ROOT / "tests" / "compat" / "data"
"""Runs of the last version, of which a command gets copies: some lock a folder that they read."""

DRY = {
    "spar train": "trains for minutes to days",
    "spar bootstrap": "trains for minutes to days",
    "spar serve": "serves until it is stopped",
    "spar report": "measures for minutes to a day",
    "--engine vllm": "needs vLLM",
    "--engine ray": "needs a cluster",
}
"""Beginning of a command that is run with `--dry-run`, or a flag of it, to the reason."""
PARSED = {
    "spar tui": "draws on a terminal until it is closed",
    "spar view": "serves until it is stopped",
    "spar export RUN --format otlp": "sends to a collector",
    "spar models fetch": "downloads",
    "spar data fetch": "downloads",
    "spar eval ifeval": "needs data that spar does not ship, and lm-eval",
    "spar eval mmlu": "needs data that spar does not ship, and lm-eval",
    "spar eval gsm8k": "needs data that spar does not ship, and lm-eval",
    "spar eval hellaswag": "needs data that spar does not ship, and lm-eval",
    "spar eval humaneval": "needs data that spar does not ship",
    "spar decode --strategy wide-beam": "needs the package of examples/plugin",
    "spar eval shouting": "needs the package of examples/plugin",
    "spar sweep ifeval": "needs data that spar does not ship, and lm-eval",
    "spar evolve --checkable": "needs NLTK's data, and lm-eval",
}
"""Beginning of a command, of which only the command line is parsed, to the reason."""
RUN_OF_DRY = ("spar train status", "spar report list")
"""Beginnings that `DRY` has, which run all the same."""
FOREIGN = {
    "vllm": "vLLM's own",
    "ray": "Ray's own",
    "textual": "textual-dev's own",
    "curl": "a request by hand",
    "ssh": "forwards a port",
    "ollama": "Ollama's own",
    "watch": "shows what another program prints",
}
"""Program of others, whose command line is theirs to check, to whose it is."""
FOREIGN_MODULES = {"vllm": "vLLM's own", "spar.eval.lm_harness": "hands its flags to lm-eval"}
MODELS = re.compile(r"--([a-z]+-)?model|--actor-model")
SMALLER = {"--limit": "1", "--total-budget": "12", "--budget": "3", "--budgets": "1,3"}
"""Flag to the value that it has here."""
FLAGS_OF_OTHERS = {
    "--log_samples": "lm-eval's",
    "--apply_chat_template": "lm-eval's",
    "--gen_kwargs": "lm-eval's",
    "--model_args": "lm-eval's",
    "--batch_size": "lm-eval's",
    "--use_cache": "lm-eval's",
    "--served-model-name": "vLLM's",
}
"""Flag that a page names, outside of a command, to the program that has it."""


def begins(command: Command, table: Sequence[str] | dict[str, str]) -> bool:
    """Whether a table has an entry for a command: its beginning, or a flag in it."""
    text = re.sub(r"^(?:[A-Z_]+=\S+ )+", "", command.text)
    return any(text.startswith(entry) or (entry[0] == "-" and entry in text) for entry in table)


def is_run(command: Command) -> bool:
    """Whether a `spar` command is run as it stands."""
    if command.inline or command.page == "docs/gpu-checklist.md":
        return False
    return begins(command, RUN_OF_DRY) or not begins(command, [*DRY, *PARSED])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory of a command, with the files that pages name."""
    rows = (ROOT / "tests/compat/data/prompts.jsonl").read_text("utf-8").split("\n")[:2]
    (tmp_path / "prompts.jsonl").write_text("\n".join(rows) + "\n")
    seeds = [{"prompt": text} for text in ("Write about rain.", "Explain the tides.")]
    (tmp_path / "seeds.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in seeds))
    (tmp_path / "mine.yaml").write_text("decode: {budget: 3}\ntrain: {iterations: 1}\n")
    (tmp_path / "hosts").write_text("worker-1 slots=8\n")
    (tmp_path / "ADAPTER_DIR").mkdir()
    (tmp_path / "runs" / "checkable").mkdir(parents=True)
    shutil.copy(tmp_path / "prompts.jsonl", tmp_path / "runs" / "checkable")
    (tmp_path / "DATA" / "figure1").mkdir(parents=True)
    for name in ("prompts.jsonl", "holdout.jsonl"):
        shutil.copy(tmp_path / "prompts.jsonl", tmp_path / "DATA" / "figure1" / name)
    shutil.copy(ROOT / "examples" / "own_strategy.py", tmp_path / "mypackage.py")
    for modules in (tmp_path, ROOT / "examples"):  # as with PYTHONPATH
        monkeypatch.syspath_prepend(str(modules))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of a server that answers in the format of OpenAI."""
    with ScriptedServer() as scripted:
        yield scripted.url


def parsed(words: Sequence[str], monkeypatch: pytest.MonkeyPatch) -> TyperCommand | str:
    """The command that a command line calls, or what is wrong with it; nothing is executed.

    A group without a command prints its help: a sentence may name one.
    """
    called: list[TyperCommand] = []
    with monkeypatch.context() as patch:
        patch.setattr(TyperCommand, "invoke", lambda self, context: called.append(self))
        result = CliRunner().invoke(app, [word for word in words[1:] if word != "..."])
    if called:
        return called[0]
    return "" if result.exit_code == 0 else result.output.strip() or repr(result.exception)


def adapted(command: Command, url: str) -> list[str]:
    """The arguments of a command with what this machine has: the embedded model, a server on loopback, small runs."""
    words = [word for word in command.words[1:] if word != "..."]
    for index, word in enumerate(words[:-1]):
        if MODELS.fullmatch(word):
            words[index + 1] = str(CHECKPOINT)
        elif word.endswith("-url"):
            words[index + 1] = url
        elif word in SMALLER:
            words[index + 1] = SMALLER[word]
    names: tuple[str, ...] = ("eval-greedy", "eval-embedded")
    if words[0] == "export":
        names = ("greedy-4-votes", "bfs-4-votes", "dfs-4-votes")
    runs = [stored_run(name) for name in names]
    run = stored_run("embedded")
    places = {"RUN": run, "A": runs[0], "B": runs[1]}
    places |= {f"runs/{letter}": one for letter, one in zip("abc", runs, strict=False)}
    if words[:2] == ["eval", "compare"]:
        places |= {"runs/greedy": runs[0], "runs/bfs": runs[1]}
    words = [places.get(word, word) for word in words]
    if words[:2] == ["train", "status"] and len(words) == 3:
        words[2] = stored_run("train")
    if "--id" in words:
        words[words.index("--id") + 1] = first_id(Path(run))
    if words[0] in ("decode", "eval", "sweep", "evolve") and "--limit" not in words:
        words += ["--limit", "1"] * ("compare" not in words and "--prompt" not in words)
    return words


def stored_run(name: str) -> str:
    """A copy, in the working directory, of a stored run of the last version."""
    folder = json.loads((STORED / "directories.json").read_text("utf-8"))[name]
    shutil.copytree(STORED / "runs" / folder, Path("stored") / name, dirs_exist_ok=True)
    return f"stored/{name}"


def first_id(run: Path) -> str:
    """The id of a run's first prompt."""
    return next(iter(spar.read_trees(run))).prompt.id


def test_every_command_line_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of every `spar` command, in blocks and in sentences, all commands, flags and types of values exist."""
    wrong = []
    for command in SPAR:
        outcome = parsed(command.words, monkeypatch)
        is_mention = command.inline and "Missing argument" in str(outcome)
        if isinstance(outcome, str) and outcome and not is_mention:
            wrong.append(f"{command}\n    {outcome.splitlines()[-1]}")
    assert not wrong, "\n".join(wrong)


def test_every_setting_is_accepted(
    folder: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Commands that are not run are accepted with `--dry-run`, where they have it and need nothing that is missing."""
    for seed in range(3):
        write_loop(folder / "runs" / f"seed-{seed}")
    row = json.loads((folder / "prompts.jsonl").read_text("utf-8").partition("\n")[0])
    # A loop is refused whose prompts cannot give the pairs that its recipe requires.
    rows = [json.dumps({**row, "id": f"nano-test-0-{number}"}) for number in range(320)]
    for place in (folder, folder / "runs" / "checkable"):
        (place / "prompts.jsonl").write_text("\n".join(rows) + "\n")
    wrong = []
    for command in SPAR:
        if is_run(command) or begins(command, PARSED) or "NAME" in command.words:
            continue
        called = parsed(command.words, monkeypatch)
        if isinstance(called, str) or not any("--dry-run" in each.opts for each in called.params):
            continue
        result = CliRunner().invoke(app, [*adapted(command, server), "--dry-run"])
        if result.exit_code:
            wrong.append(f"{command}\n    {result.exception}\n    {result.output[-300:]}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.model
@pytest.mark.slow
@pytest.mark.parametrize(
    "command", [c for c in SPAR if is_run(c)], ids=lambda c: f"{c.page}: {c.text}"
)
def test_commands_run(command: Command, folder: Path, server: str) -> None:
    """A command in a block ends without an error."""
    result = CliRunner().invoke(app, adapted(command, server))
    assert result.exit_code == 0, f"{command}\n{result.exception}\n{result.output}"


def test_other_programs_exist() -> None:
    """Targets of the Makefile, extras of the package, modules and scripts exist, and scripts have the flags."""
    wrong = [f"{command}\n    {why}" for command in ALL for why in faults_of(command)]
    assert not wrong, "\n".join(wrong)


def faults_of(command: Command) -> Iterator[str]:
    """What a command that is not spar's names and the repository lacks."""
    program, *words = command.words
    if program == "make":
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.M)
        yield from (f"no target {word}" for word in words if word not in targets)
    elif program == "pip":
        project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
        extras = re.findall(r"[.r]\[([a-z,-]+)\]", command.text)
        named = {extra for group in extras for extra in group.split(",")}
        yield from (f"no extra {name}" for name in named - set(project["optional-dependencies"]))
    elif program == "python" and words[0] == "-m":
        if words[1].partition(".")[0] not in FOREIGN_MODULES:
            spec = importlib.util.find_spec(words[1])
            if spec is None or spec.origin is None:
                yield f"no module {words[1]}"
            elif words[1] not in FOREIGN_MODULES:
                yield from unknown_flags(Path(spec.origin), words[2:])
    elif program == "python" and words[0] != "-c":
        script = ROOT / words[0]
        yield from unknown_flags(script, words[1:]) if script.is_file() else ["no such script"]
    elif program not in ("spar", "python", *FOREIGN):
        yield f"no check for {program}; add one, or a reason in FOREIGN"


def unknown_flags(script: Path, words: Sequence[str]) -> Iterator[str]:
    """Flags that neither a script nor a module beside it that it imports adds to its parser."""
    tree = ast.parse(script.read_text("utf-8"))
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    beside = [script.parent / f"{name}.py" for name in imported if name and "." not in name]
    constants = {
        node.value
        for path in [script, *filter(Path.is_file, beside)]
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    given = [word.partition("=")[0] for word in words if word.startswith("--")]
    yield from (f"{script.name} has no {flag}" for flag in given if flag not in constants)


def test_every_flag_in_a_sentence_exists() -> None:
    """A flag that a sentence names belongs to a command of spar's or to a script of the repository."""
    known = {flag for name in COMMANDS for flag in options(load_command(name))}
    for script in [*(ROOT / "benchmarks").glob("*.py"), *(ROOT / "spar" / "train").glob("*.py")]:
        known |= set(re.findall(r'"(--[a-z-]+)"', script.read_text("utf-8")))
    unknown = {flag: sorted(where) for flag, where in flags().items() if flag not in known}
    assert {flag: unknown[flag] for flag in unknown if flag not in FLAGS_OF_OTHERS} == {}


def options(command: Any) -> Iterator[str]:
    """The flags of a command and of those below it."""
    for parameter in command.params:
        yield from [*parameter.opts, *parameter.secondary_opts]
    for below in getattr(command, "commands", {}).values():
        yield from options(below)


def test_calls_in_python_blocks_have_the_arguments_that_they_name() -> None:
    """Python in a block compiles; a `spar.NAME(...)` in it is public, and its keywords are parameters or settings."""
    settings = set(EvalConfig.model_fields) | set(TrainConfig.model_fields)
    wrong, num_calls = [], 0
    for page, line, code in python_blocks():
        for node in ast.walk(ast.parse(code)):
            if not isinstance(node, ast.Call) or not ast.unparse(node.func).startswith("spar."):
                continue
            num_calls += 1
            name = ast.unparse(node.func).removeprefix("spar.")
            keywords = {keyword.arg for keyword in node.keywords if keyword.arg}
            if name not in spar.__all__:
                wrong.append(f"{page}:{line}: no name {name} in spar.__all__")
                continue
            function = training.train if name == "train" else getattr(spar, name)
            parameters = inspect.signature(function).parameters
            takes_settings = any(each.kind is each.VAR_KEYWORD for each in parameters.values())
            if extra := keywords - set(parameters) - (settings if takes_settings else set()):
                wrong.append(f"{page}:{line}: {name} has no {sorted(extra)}")
    assert wrong == []
    assert num_calls > 5


def test_imports_in_python_blocks_are_there() -> None:
    """Each name that a block imports from spar or tui is in the module that it names."""
    missing = []
    for page, line, code in python_blocks():
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.ImportFrom) and re.match(r"(spar|tui)\b", node.module or ""):
                module = importlib.import_module(str(node.module))
                names = [each.name for each in node.names if not hasattr(module, each.name)]
                missing += [f"{page}:{line}: no {name} in {node.module}" for name in names]
    assert missing == []


@pytest.mark.parametrize("name", sorted(page.name for page in (ROOT / "docs").glob("own-*.md")))
def test_python_of_the_pages_on_plug_ins_runs(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The blocks of a page run one after the other, on the engine `fake`."""
    for function in ("search", "evaluate"):
        monkeypatch.setattr(spar, function, on_the_fake_engine(getattr(spar, function)))
    names: dict[str, Any] = {"__name__": "page"}
    blocks = [code for page, _, code in python_blocks() if page == f"docs/{name}"]
    assert blocks
    for code in blocks:
        exec(compile(code, name, "exec"), names)


def on_the_fake_engine(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of the API without a model, on scripted text."""

    def call(*arguments: Any, **settings: Any) -> Any:
        settings.pop("model", None)
        return function(*arguments, **settings, engine="fake")

    return call


def test_the_tables_of_exceptions_are_needed() -> None:
    """Each entry is for a command that some page has, and gives a reason."""
    entries = [*DRY, *PARSED, *RUN_OF_DRY]
    assert [entry for entry in entries if not any(begins(c, [entry]) for c in SPAR)] == []
    assert all([*DRY.values(), *PARSED.values(), *FOREIGN.values(), *FOREIGN_MODULES.values()])
    programs = {command.words[0] for command in ALL}
    assert set(FOREIGN) <= programs <= set(PROGRAMS.split())
