"""How plug-ins are imported by name, and what names the objects get that Python passes for them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from threading import Event, Thread
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

import spar
from spar import plugins
from spar.errors import ConfigChanged, UsageError
from spar.plugin_code import code_of
from spar.plugins import JUDGES, STRATEGIES


def test_a_plugin_that_another_thread_is_importing_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A module in `sys.modules` may be half imported: its attributes are looked up once it is whole."""
    events = SimpleNamespace(started=Event(), go_on=Event())
    monkeypatch.setitem(sys.modules, "events_of_the_slow_plugin", events)
    (tmp_path / "slow_plugin.py").write_text(
        "from events_of_the_slow_plugin import go_on, started\nstarted.set()\ngo_on.wait()\nSPEC = 1\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    thread = Thread(target=import_module, args=("slow_plugin",), daemon=True)
    thread.start()
    events.started.wait()

    def import_whole(name: str) -> object:
        events.go_on.set()
        return import_module(name)

    monkeypatch.setattr(plugins, "import_module", import_whole)
    try:
        assert plugins.load("slow_plugin:SPEC", "judge") == 1
    finally:
        events.go_on.set()
        thread.join()


@pytest.mark.parametrize(
    ("module", "is_missing"),
    [("absent", True), ("absent.judges", True), ("absent_judge", False)],
)
def test_only_the_module_itself_and_its_packages_are_reported_as_missing(
    module: str, is_missing: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plug-in that lacks a package whose name its own begins with is there; the package is what is missing."""
    (tmp_path / "absent_judge.py").write_text("import absent\n")
    monkeypatch.syspath_prepend(tmp_path)
    error = UsageError if is_missing else ModuleNotFoundError
    with pytest.raises(error, match=module if is_missing else "No module named 'absent'"):
        plugins.load(f"{module}:SPEC", "judge")


@dataclass
class Longer:
    """A judge with a parameter, and a function of one."""

    least: int = 1
    rule: Any = 0

    def check(self, prompt: spar.Prompt, response: str) -> bool:
        """By length."""
        return len(response) >= self.least

    __call__ = check


def test_methods_of_two_objects_are_two_plugins() -> None:
    """A method is known by its object, too: a session keeps its judge beside that of another search."""
    yes, no = Longer(), Longer(least=1_000_000)
    options: dict[str, Any] = {"engine": "fake", "budget": 1}
    with spar.open_session(judge=yes.check, **options) as session:
        assert spar.search("Write.", judge=no.check, **options).solved is False
        assert session.search("Write.").solved is True
        assert session.search("Write.", judge=no.check).solved is False
    assert JUDGES.name_of(yes.check) == JUDGES.name_of(yes.check) != JUDGES.name_of(no.check)


@pytest.mark.parametrize("passed", [lambda judge: judge, lambda judge: judge.check])
def test_an_equal_object_resumes_a_run_and_another_does_not(
    tmp_path: Path, passed: Callable[[Longer], Any]
) -> None:
    """As where a notebook's cell runs twice: objects of a class are compared by what they were made with."""
    options: dict[str, Any] = {"engine": "fake", "budget": 1, "out": tmp_path}
    for _ in range(2):
        run = spar.decode(["a"], judge=passed(Longer(2)), **options)
        assert len(run) == 1
    with pytest.raises(ConfigChanged, match="least of the judge object: 2 -> 3"):
        spar.decode(["a"], judge=passed(Longer(3)), **options)


def test_a_run_of_the_second_object_by_an_earlier_version_is_resumed(tmp_path: Path) -> None:
    """Which stored its number in this process; its parameters are compared as they are."""
    options: dict[str, Any] = {"engine": "fake", "budget": 1, "out": tmp_path}
    spar.decode(["a"], judge=Longer(2), **options)
    path = tmp_path / "run.json"
    name = JUDGES.recorded_name(JUDGES.name_of(Longer(2)))
    path.write_text(path.read_text().replace(f'"{name}"', f'"{name}#2"'))
    assert len(spar.decode(["a"], judge=Longer(2), **options)) == 1
    with pytest.raises(ConfigChanged, match="least of the judge object: 2 -> 3"):
        spar.decode(["a"], judge=Longer(3), **options)


class Open:
    """A judge whose state is set after it was made."""

    least = 1

    def __call__(self, prompt: spar.Prompt, response: str) -> bool:
        """By length."""
        return len(response) >= self.least


def test_objects_that_a_record_cannot_tell_apart_resume_no_run_of_each_other(
    tmp_path: Path,
) -> None:
    """Of two objects with methods of objects as arguments, or with more than arguments, nothing says whether they are the same."""
    options: dict[str, Any] = {"engine": "fake", "budget": 1}
    pairs: list[tuple[Any, Any]] = [(Longer(rule={}.get), Longer(rule={}.pop)), (Open(), Open())]
    pairs[-1][0].least, pairs[-1][1].least = 0, 1_000_000
    for number, (first, second) in enumerate(pairs):
        spar.decode(["a"], judge=first, out=tmp_path / str(number), **options)
        with pytest.raises(ConfigChanged, match="judge: "):
            spar.decode(["a"], judge=second, out=tmp_path / str(number), **options)


def strict(prompt: spar.Prompt, response: str, least: Any) -> bool:
    """Passes nothing."""
    return False


def lax(prompt: spar.Prompt, response: str, least: Any) -> bool:
    """Passes all."""
    return True


def test_a_partial_is_known_by_its_function_and_arguments(tmp_path: Path) -> None:
    """The same one made again resumes its run; one of another function or with other arguments does not."""
    options: dict[str, Any] = {"engine": "fake", "budget": 1, "out": tmp_path}
    for _ in range(2):
        (tree,) = spar.decode(["a"], judge=partial(strict, least=3), **options)
        assert not tree.solved
    assert JUDGES.recorded_name(JUDGES.name_of(partial(strict, least=3))).endswith(
        "partial(strict)"
    )
    with pytest.raises(ConfigChanged, match=r"judge: .*partial\(strict\)\" -> .*partial\(lax\)"):
        spar.decode(["a"], judge=partial(lax, least=3), **options)
    with pytest.raises(ConfigChanged, match="least of the judge object: 3 -> 4"):
        spar.decode(["a"], judge=partial(strict, least=4), **options)
    with pytest.raises(ConfigChanged, match=r"judge: .*partial\(strict\)"):
        spar.decode(["a"], judge=strict, **options)


def test_partials_whose_arguments_no_record_holds_are_told_apart_in_a_process(
    tmp_path: Path,
) -> None:
    """Nothing says whether two objects, or functions without a name, are the same in another process."""
    for first, second in (
        (partial(strict, least=object()), partial(strict, least=object())),
        (partial(lambda *_: True), partial(lambda *_: False)),
    ):
        options: dict[str, Any] = {"engine": "fake", "budget": 1, "out": tmp_path / str(id(first))}
        spar.decode(["a"], judge=first, **options)
        assert len(spar.decode(["a"], judge=first, **options)) == 1
        with pytest.raises(ConfigChanged, match="judge: "):
            spar.decode(["a"], judge=second, **options)


@pytest.mark.parametrize("least", [3, object()])
def test_a_partials_run_by_an_earlier_version_is_resumed(tmp_path: Path, least: Any) -> None:
    """Which stored the name of the class `functools.partial`, whatever the function was."""
    options: dict[str, Any] = {"engine": "fake", "budget": 1, "out": tmp_path}
    judge = partial(strict, least=least)
    spar.decode(["a"], judge=judge, **options)
    path = tmp_path / "run.json"
    name = JUDGES.recorded_name(JUDGES.name_of(judge))
    path.write_text(path.read_text().replace(f'"{name}"', '"functools:partial"'))
    assert len(spar.decode(["a"], judge=judge, **options)) == 1
    with pytest.raises(ConfigChanged, match=r"judge: \"functools:partial|of the judge"):
        spar.decode(["a"], judge=strict, **options)


def judges_of(share: Any, default: Any = 0.5) -> list[Any]:
    """Judges that are written where they are passed: a lambda, a function, one that holds itself, a partial."""

    def nested(prompt: spar.Prompt, response: str, *, least: Any = default) -> float:
        return 0.0 if response == least else float(bool(share))

    def recursive(prompt: spar.Prompt, response: str, again: bool = False) -> float:
        return float(bool(share)) if again else recursive(prompt, response, True)

    return [
        lambda prompt, response, least=default: float(bool(share)),
        nested,
        recursive,
        partial(nested, least=share),
    ]


@pytest.mark.parametrize("number", range(4))
def test_a_judge_that_the_same_code_makes_again_resumes_its_run(
    tmp_path: Path, number: int
) -> None:
    """As where a function that decodes is called twice; with another value in it, it is another judge."""
    options: dict[str, Any] = {"engine": "fake", "budget": 1, "out": tmp_path}
    for _ in range(2):
        assert len(spar.decode(["a"], judge=judges_of(("x", 3))[number], **options)) == 1
    with pytest.raises(ConfigChanged, match="code of the judge, or a value in it: "):
        spar.decode(["a"], judge=judges_of(("x", 3.0))[number], **options)


def test_judges_that_collect_are_kept_apart() -> None:
    """Lists that are equal when the judges are passed are not one list; nor are defaults that differ one default."""
    for one, other in (
        *zip(judges_of([]), judges_of([]), strict=True),
        *zip(judges_of(1, 0.5)[:2], judges_of(1, 0.6)[:2], strict=True),
    ):
        assert JUDGES.name_of(one) != JUDGES.name_of(other)


def defined(source: str) -> Any:
    """The function `judge` of a cell of a notebook."""
    exec(source, vars(CELLS))
    return CELLS.judge


CELLS = ModuleType("cells")
sys.modules["cells"] = CELLS
HELPER = "def share(response): return float(len(response) >= {least})\n"
JUDGE = "def judge(prompt, response): return share(response) > {threshold}\n"


@pytest.mark.parametrize(
    "edited",
    [
        HELPER.format(least=1) + JUDGE.format(threshold=0.9),
        HELPER.format(least=10_000) + JUDGE.format(threshold=0.5),
    ],
    ids=["function", "helper"],
)
def test_a_judge_whose_code_was_edited_resumes_no_run(tmp_path: Path, edited: str) -> None:
    """Nor one whose helper was; the same code, compiled again, resumes it. Half of the trees would be of another judge."""
    options: dict[str, Any] = {"engine": "fake", "budget": 1, "out": tmp_path}
    for _ in range(2):
        judge = defined(HELPER.format(least=1) + JUDGE.format(threshold=0.5))
        assert len(spar.decode(["a"], judge=judge, **options)) == 1
    with pytest.raises(ConfigChanged, match="code of the judge, or a value in it: "):
        spar.decode(["a"], judge=defined(edited), **options)


def test_a_judge_by_its_name_is_known_by_its_code_too(tmp_path: Path) -> None:
    """As the command line passes it; the function itself is the same judge."""
    options: dict[str, Any] = {"engine": "fake", "budget": 1, "out": tmp_path}
    judge = defined(HELPER.format(least=1) + JUDGE.format(threshold=0.5))
    for passed in ("cells:judge", judge, "cells:judge"):
        assert len(spar.decode(["a"], judge=passed, **options)) == 1
    defined(HELPER.format(least=1) + JUDGE.format(threshold=0.9))
    with pytest.raises(ConfigChanged, match="code of the judge, or a value in it: "):
        spar.decode(["a"], judge="cells:judge", **options)


def test_a_session_keeps_the_function_that_it_was_opened_with() -> None:
    """A function of the same name that is defined later is another judge, for the calls that pass it."""
    options: dict[str, Any] = {"engine": "fake", "budget": 1}
    source = "def judge(prompt, response): return {}\n"
    with spar.open_session(judge=defined(source.format(True)), **options) as session:
        assert session.search("Write.").solved
        no = defined(source.format(False))
        assert not spar.search("Write.", judge=no, **options).solved
        assert session.search("Write.").solved
        assert not session.search("Write.", judge=no).solved


class Client:
    """A judge that holds more than its arguments: a connection, and a counter."""

    def __init__(self, threshold: float) -> None:
        self.threshold, self.calls, self._connection = threshold, 0, object()

    def __call__(self, prompt: spar.Prompt, response: str) -> bool:
        """By length."""
        self.calls += 1
        return len(response) >= self.threshold


def test_an_object_with_connections_and_counters_resumes_its_run(tmp_path: Path) -> None:
    """A cell that runs again makes another one, with the same arguments."""
    options: dict[str, Any] = {"engine": "fake", "budget": 1, "out": tmp_path}
    for _ in range(3):
        assert len(spar.decode(["a"], judge=Client(0.5), **options)) == 1
    with pytest.raises(ConfigChanged, match=r"threshold of the judge object: 0\.5 -> 0\.6"):
        spar.decode(["a"], judge=Client(0.6), **options)


def test_code_is_read_as_far_as_it_tells_plugins_apart() -> None:
    """Sets have no order, constants of the module count, what a function counts itself does not."""
    cell = "WORDS = 2\ncalls = 0\ndef judge(p, r):\n global calls; calls += 1\n return r in {'a', 'b', 'c'} and WORDS"
    first = code_of(defined(cell))
    assert first.is_whole and code_of(defined(cell)) == first
    vars(CELLS)["calls"] = 7
    assert code_of(CELLS.judge) == first
    vars(CELLS)["WORDS"] = 3
    assert code_of(CELLS.judge) != first
    assert code_of(len).digest == ""


class Words(spar.Benchmark):
    """A benchmark with a parameter."""

    def __init__(self, count: int) -> None:
        self.count = count

    def load(self, config: Any) -> list[spar.Prompt]:
        """As many examples."""
        turn = spar.Message(role="user", content="Write.")
        return [spar.Prompt(id=str(i), messages=(turn,)) for i in range(self.count)]

    def score(self, examples: Any, outputs: Any) -> spar.Scored:
        """All pass."""
        answers = outputs.answers()
        return spar.Scored(
            examples=tuple(
                spar.Example(
                    id=e.id, response=answers[e.id].text, passed=True, scores={"pass": (1, 1)}
                )
                for e in examples
            )
        )


def test_objects_of_a_benchmark_and_of_a_strategy_resume_and_compare(tmp_path: Path) -> None:
    """Evaluations of the same benchmark have one name, whatever number its object has in this process."""
    options: dict[str, Any] = {"engine": "fake", "budget": 1}
    runs = [spar.evaluate(Words(3), out=tmp_path / place, **options) for place in ("a", "a", "b")]
    assert len({run.results.benchmark for run in runs}) == 1
    assert runs[0].results.usage.calls == sum(e.usage.calls for e in runs[0].examples) >= 3
    assert runs[0].directory == runs[1].directory
    (comparison,) = spar.compare(tmp_path / "a", tmp_path / "b")
    assert comparison.gained == comparison.lost == ()
    with pytest.raises(ConfigChanged, match="count of the benchmark object: 3 -> 4"):
        spar.evaluate(Words(4), out=tmp_path / "a", **options)
    for _ in range(2):
        strategies = [replace(STRATEGIES.spec("best-of-n"), max_drafts=1)]
        rows = spar.sweep(
            Words(3), strategies=strategies, budgets=[1], out=tmp_path / "c", **options
        )
        assert "#" not in rows[0].strategy
    assert len([*(tmp_path / "c").glob("*/*/run.json")]) == 1


@pytest.mark.parametrize(
    ("method", "returned", "words"),
    [
        ("load", None, "Broken.load returned None; expected a list of spar.Prompt"),
        ("load", ["text"], "Broken.load returned 'text' as example 1"),
        ("load", [Words(1).load(None)[0]] * 2, "Broken.load returned two examples with the id '0'"),
        ("score", {"pass": 1.0}, r"Broken.score returned {'pass': 1.0}; expected a spar.Scored"),
    ],
)
def test_what_a_benchmark_returns_is_checked(method: str, returned: Any, words: str) -> None:
    """A traceback from inside spar would not say whose mistake it is."""

    class Broken(Words):
        """One method returns something else."""

    setattr(Broken, method, lambda *_: returned)
    with pytest.raises(UsageError, match=words):
        spar.evaluate(Broken(1), engine="fake", budget=1)
