"""The training screen: examples in every format, scores, sources, and every key."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from textual.binding import Binding

from spar.record.health import Change, IterationHealth
from spar.record.stage_progress import StageProgress
from spar.record.training_data import EXPORT_FORMATS, Answer, ExportFormat, Pair, RefinerExample
from spar.train.data.export import export, export_conversations
from spar.types import Message
from tests.hostile import EVERYTHING, hostile_text
from tests.tui.driving import browser, cursor, is_idle, line, notified, screen_text, until
from tests.tui.samples import DRAFT, REFINED, failed_tree, solved_tree, trees, write_run
from tests.tui.test_keys import Press, Seen, copied, is_screen, press_all, scrolled, shows
from tests.tui.test_snapshots import SIZES, Compare
from tests.view.test_text import unseen
from tui.app import SparApp
from tui.index.scores import MetricHistory, MetricValue, ScoreTable, read_scores
from tui.inputs import Inputs
from tui.screens.runs import RunsScreen
from tui.screens.training import TrainingScreen
from tui.screens.tree import TreeScreen
from tui.tables.training import (
    example_cells,
    example_sections,
    loss_curve_text,
    sparkline,
    thinned,
)
from tui.tables.training_panes import (
    TrainingOverview,
    axis,
    folded_training,
    health_text,
    metric_lines,
    scores_text,
    stages_text,
)
from tui.training.examples import BLOCK, TrainingData, TrainingExample, read_example
from tui.training.status import (
    ExampleSource,
    TrainingRound,
    read_loss_curves,
    read_rounds,
    read_status,
    source_of,
)
from tui.widgets.choices import Choices
from tui.widgets.table import Table

pytestmark = pytest.mark.screen


def user(text: str) -> Message:
    """A user's turn."""
    return Message(role="user", content=text)


def assistant(text: str) -> Message:
    """A model's turn."""
    return Message(role="assistant", content=text)


def a_pair(number: int = 0, chosen: str = REFINED, rejected: str = DRAFT) -> Pair:
    """A pair of `tests.tui.samples.solved_tree`."""
    return Pair(
        run="search",
        prompt_id=f"prompt-{number}",
        chosen_node=1,
        rejected_node=0,
        prompt=(user(f"Write sentence {number} about a dog."),),
        chosen=chosen,
        rejected=rejected,
    )


def refinement(number: int = 0) -> RefinerExample:
    """The refinement of the same tree."""
    turns = (
        user("Judge it."),
        assistant("No."),
        user("Refine it."),
        assistant(f"Mended: {REFINED}"),
    )
    return RefinerExample(
        kind="refine", run="search", prompt_id=f"prompt-{number}", node=1, score=0.8, messages=turns
    )


def judgement(number: int = 0) -> RefinerExample:
    """A judgement of its draft."""
    turns = (user("Judge it."), assistant("It lacks red.\nFinal Judgement: No"))
    return RefinerExample(
        kind="draft",
        verdict=False,
        run="drafts",
        prompt_id=f"prompt-{number}",
        node=0,
        score=0.2,
        messages=turns,
    )


def read_all(data: TrainingData) -> list[TrainingExample]:
    """Every example, once all lines are found."""
    while not data.work(0.5):
        pass
    return [data.example(number) for number in data.order()]


@pytest.mark.parametrize("form", EXPORT_FORMATS)
def test_all_three_forms_are_read_alike(tmp_path: Path, form: ExportFormat) -> None:
    """Exported examples are read with their kind, tree and nodes."""
    export(form, tmp_path, pairs=[a_pair()], examples=[refinement(), judgement(3)])
    pair, refined, judged = read_all(TrainingData.open(tmp_path))
    assert pair == TrainingExample(
        "pair",
        run="search",
        prompt_id="prompt-0",
        nodes=(1, 0),
        turns=(user("Write sentence 0 about a dog."),),
        target=REFINED,
        rejected=DRAFT,
    )
    assert (refined.kind, refined.nodes, refined.score) == ("refine", (1,), 0.8)
    assert refined.turns == (user("Judge it."), assistant("No."), user("Refine it."))
    assert refined.target == f"Mended: {REFINED}"
    assert (judged.kind, judged.run, judged.verdict) == ("draft", "drafts", False)


def test_a_bootstrap_is_read(tmp_path: Path) -> None:
    """A teacher's answers have their own kind."""
    answer = Answer(prompt_id="prompt-1", node=0, messages=(user("Say it."), assistant("It.")))
    export_conversations("trl", tmp_path, {"actor": [answer], "refiner": [judgement()]})
    answered, judged = read_all(TrainingData.open(tmp_path))
    assert (answered.kind, answered.run, answered.target) == ("answer", "answers", "It.")
    assert judged.kind == "draft"


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"{cut", "Expecting property name"),
        (b"[]", "expected a JSON object, got list"),
        (b"{}", "neither a pair nor a conversation"),
        (b'{"messages": 3}', "neither a pair nor a conversation"),
        (b'{"messages": [{"role": "user"}]}', "no role or no content"),
        (b'{"prompt": [], "chosen": "a", "rejected": null}', "no role or no content"),
        (b'{"prompt": [], "chosen": [], "rejected": "b"}', "one side of the pair is missing"),
        (b"[" * 100_000, "recursion"),
    ],
)
def test_a_line_that_holds_no_example_says_why(raw: bytes, why: str) -> None:
    """It is a row with an error, not a crash."""
    example = read_example(raw)
    assert example.kind == "broken"
    assert why in example.error


def test_an_example_of_another_tool_has_no_way_back() -> None:
    """Without a run or a node there is none, and odd ids are none."""
    for extra in ({}, {"run": "search"}, {"run": "search", "node": True}, {"run": 3, "node": 1}):
        row = {
            "messages": [{"role": "user", "content": "a"}, {"from": "gpt", "value": "b"}],
            **extra,
        }
        example = read_example(json.dumps(row).encode())
        assert (example.kind, example.target) == ("answer", "b")
        assert (
            source_of(example, TrainingRound(Path("h"), Path("h"), runs={"search": Path("s")}))
            is None
        )


def test_lines_longer_than_a_block_and_without_a_break(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lines of any length are found; blank ones are skipped; the last one needs no line break."""
    monkeypatch.setattr("tui.training.examples.BLOCK", 100)
    long = a_pair(chosen="x" * 1000)
    lines = [one.model_dump_json() for one in (a_pair(1), long, a_pair(2))]
    (tmp_path / "dpo.jsonl").write_text("\n\n".join(lines))
    found = read_all(TrainingData.open(tmp_path))
    assert [example.prompt_id for example in found] == ["prompt-1", "prompt-0", "prompt-2"]
    assert found[1].target == "x" * 1000
    assert BLOCK > 1000


def test_kinds_are_counted_and_chosen(tmp_path: Path) -> None:
    """In the order of the files; a kind that is not there is not counted."""
    export("trl", tmp_path, pairs=[a_pair(), a_pair(1)], examples=[judgement(), refinement()])
    data = TrainingData.open(tmp_path)
    read_all(data)
    assert data.counts() == {"pair": 2, "refine": 1, "draft": 1}
    assert [list(data.order(kind)) for kind in (None, "pair", "refine", "draft", "tree")] == [
        [0, 1, 2, 3],
        [0, 1],
        [3],
        [2],
        [],
    ]
    assert len(data) == 4


def test_a_build_that_is_replaced_or_gone(tmp_path: Path) -> None:
    """Replaced files are detected; a file that is truncated while open has an error."""
    export("trl", tmp_path, pairs=[a_pair()], examples=[])
    data = TrainingData.open(tmp_path)
    read_all(data)
    assert not data.is_replaced()
    export("trl", tmp_path, pairs=[a_pair(1)], examples=[])
    assert data.is_replaced()
    cut = TrainingData.open(tmp_path)
    cut.work(1.0)
    (tmp_path / "dpo.jsonl").write_bytes(b"")
    assert "truncated" in cut.example(0).error
    assert read_all(TrainingData.open(tmp_path / "nothing")) == []


SCORES_0 = {"greedy": {"pass": {"value": 0.5, "stderr": 0.02, "n": 500}, "other": {"value": 1}}}
SCORES_1 = {"greedy": {"pass": {"value": 0.64, "stderr": 0.02, "n": 500}, "other": {"value": 1}}}


def write_json(path: Path, value: Any) -> None:
    """A JSON file, its folder made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def metrics(losses: Iterable[float], **last: float) -> str:
    """A trainer's rows."""
    rows = [
        {"step": n, "epoch": 1.0, "values": {"loss": x, **last}} for n, x in enumerate(losses, 1)
    ]
    return "".join(f"{json.dumps(row)}\n" for row in rows)


def make_loop(run: Path, *, iterations: int = 2) -> Path:
    """A training loop that has measured its start and run some iterations."""
    evaluated = [{"benchmark": "nano-if", "name": "greedy", "show": ["pass"]}]
    write_run(run, [], begins={}, iterations=3, benchmarks=evaluated)
    write_json(run / "iteration-0/eval/scores.json", SCORES_0)
    for number in range(1, iterations + 1):
        home = run / f"iteration-{number}"
        write_json(home / "eval/scores.json", SCORES_1)
        write_run(home / "search", trees(5))
        write_run(home / "judge", trees(5), strategy="best-of-n")
        (home / "build").mkdir()
        pairs = [a_pair(n) for n in (0, 1, 3)][:number]
        searched = judgement(1).model_copy(update={"kind": "tree", "run": "search"})
        export("trl", home / "build", pairs=pairs, examples=[refinement(), searched, judgement(2)])
        with (home / "build/rft.jsonl").open("a") as handle:
            handle.write("{cut\n")
        answer = Answer(prompt_id="prompt-1", node=0, messages=(user("Say it."), assistant("It.")))
        export_conversations("trl", home / "build", {"actor": [answer]})
        for name, losses in (("dpo", [0.9, 0.8, 0.7]), ("rft", [0.2, 0.1])):
            (home / name).mkdir()
            share = {"rewards/accuracies": 0.75} if name == "dpo" else {"mean_token_accuracy": 0.5}
            (home / name / "metrics.jsonl").write_text(metrics(losses, **share))
    return run


def test_rounds_of_a_loop(tmp_path: Path) -> None:
    """Each iteration is a round, except the evaluation of the first models."""
    rounds = read_rounds(make_loop(tmp_path / "loop"))
    assert [of.number for of in rounds] == [1, 2]
    example = TrainingExample("pair", run="search", prompt_id="p", nodes=(4, 0))
    home = tmp_path / "loop/iteration-1"
    assert source_of(example, rounds[0]) == ExampleSource(home / "search", "p", 4)
    judged = TrainingExample("draft", run="drafts", prompt_id="p", nodes=(2,))
    assert source_of(judged, rounds[0]) == ExampleSource(home / "judge", "p", 2)
    disputed = TrainingExample("pair", run="judgements", prompt_id="p", nodes=(2, 1))
    assert source_of(disputed, rounds[0]) == ExampleSource(home / "judgements", "p", 2)
    assert source_of(TrainingExample("answer", run="answers", nodes=(0,)), rounds[0]) is None
    assert source_of(TrainingExample("pair", run="search"), rounds[0]) is None


def test_rounds_of_a_bootstrap_and_of_a_build(tmp_path: Path) -> None:
    """A bootstrap has other run folders; a single build names its runs in its report."""
    (tmp_path / "boot/build").mkdir(parents=True)
    (boot,) = read_rounds(tmp_path / "boot")
    assert boot.runs["search"] == tmp_path / "boot/refine"
    assert boot.runs["answers"] == tmp_path / "boot/answers"
    annotations = {"runs": {"search": {"directory": "runs/s"}, "drafts": None}}
    write_json(tmp_path / "data/build.json", annotations)
    assert read_rounds(tmp_path / "data") == ()
    export("jsonl", tmp_path / "data", pairs=[a_pair()], examples=[])
    (lone,) = read_rounds(tmp_path / "data")
    assert (lone.build, lone.runs) == (tmp_path / "data", {"search": Path("runs/s")})
    assert read_rounds(tmp_path / "nowhere") == ()


def test_scores(tmp_path: Path) -> None:
    """The metrics that the recipe shows, by iteration; the first one of each where it names none."""
    run = make_loop(tmp_path / "loop", iterations=1)
    expected = ScoreTable(
        (0, 1), (MetricHistory("greedy pass", (MetricValue(0.5, 0.02), MetricValue(0.64, 0.02))),)
    )
    assert read_scores(run) == expected
    (run / "run.json").write_text("{}")
    assert read_scores(run) == expected
    (run / "iteration-1/eval/scores.json").write_text("{cut")
    assert read_scores(run).iterations == (0,)


@pytest.mark.parametrize(
    "odd", [[], {"greedy": 3}, {"greedy": {"pass": 0.5}}, {"greedy": {"pass": {}}}]
)
def test_odd_scores_are_left_out(tmp_path: Path, odd: Any) -> None:
    """A malformed file is ignored."""
    write_json(tmp_path / "iteration-1/eval/scores.json", odd)
    assert read_scores(tmp_path).metrics == ()


def test_loss_curves(tmp_path: Path) -> None:
    """Losses by step, and the last share; a torn last row and rows of another form are left out."""
    run = make_loop(tmp_path / "loop", iterations=1)
    with (run / "iteration-1/dpo/metrics.jsonl").open("a") as handle:
        handle.write('{"step": 4, "values": {"loss": null}}\n[]\n{"step": "5"}\n{"step": 6, "val')
    (of,) = read_rounds(run)
    dpo, rft = read_loss_curves(of)
    assert (dpo.name, dpo.losses, dpo.step, dpo.share) == ("dpo", (0.9, 0.8, 0.7), 3, 0.75)
    assert (
        loss_curve_text(dpo).plain == "dpo loss █▅▁ 0.900 → 0.700, 3 steps, chosen preferred 75 %"
    )
    assert loss_curve_text(rft).plain == "rft loss █▁ 0.200 → 0.100, 2 steps, tokens correct 50 %"
    assert read_loss_curves(of)[0] is dpo
    (run / "iteration-1/rft/metrics.jsonl").unlink()
    assert [curve.name for curve in read_loss_curves(of)] == ["dpo"]


@pytest.mark.parametrize(
    ("values", "shown"),
    [([], ""), ([1.0], "▅"), ([2, 2], "▅▅"), ([0, None, 1], "▁ █"), ([0, 7, 3.6], "▁█▅")],
)
def test_sparkline(values: Sequence[float | None], shown: str) -> None:
    """The lowest value has the lowest cell, the highest the highest; equal ones stand in the middle."""
    assert sparkline(values) == shown


def test_thinned() -> None:
    """Each cell is the mean of its part; what fits stays as it is."""
    assert thinned([1, 2, 3, 4], 2) == [1.5, 3.5]
    assert thinned([1, 2], 3) == [1, 2]
    assert len(thinned(list(range(1000)), 24)) == 24


def test_scores_on_a_true_axis() -> None:
    """From 0 to 100 %, whatever the values: the first and the last one, with the error; another unit has no axis."""
    value = MetricValue(0.8, 0.1)
    assert axis(value, 11).plain == "·······├●┤·"
    assert axis(value, 11, first=MetricValue(0.5, None)).plain == "·····○·├●┤·"
    assert axis(MetricValue(1.0, 0.0), 5).plain == "····●"
    words = MetricHistory("words", (MetricValue(120.5, 10.25), MetricValue(98.25, 0.5)))
    share = MetricHistory("pass", (MetricValue(0.5, None), None, value))
    overview = TrainingOverview(scores=ScoreTable((0, 1), (share, words)))
    first, second = scores_text(overview, 60).plain.split("\n")
    assert first.startswith("pass   50.0 → 80.0 ± 10.0 % ·") and "○" in first and "●" in first
    assert second.strip() == "words 120.50 → 98.25 ± 0.50"
    assert scores_text(TrainingOverview(), 60).plain == "nothing has been evaluated yet"


def test_a_metric_by_iteration() -> None:
    """A line for each iteration; one that was not evaluated is a dash."""
    metric = MetricHistory("pass", (MetricValue(0.5, None), None, MetricValue(1.0, 0.0)))
    lines = metric_lines(ScoreTable((0, 1, 2), (metric,)), metric, 30)
    shown = [line.plain.rstrip() for line in lines]
    assert shown == [
        "pass",
        "   0         50.0 %  ····●····",
        "   1              -",
        "   2  100.0 ± 0.0 %  ········●",
    ]
    words = MetricHistory("words", (MetricValue(5, None), MetricValue(10, None)))
    assert [
        line.plain.count("█") for line in metric_lines(ScoreTable((0, 1), (words,)), words, 30)[1:]
    ] == [8, 17]


STAGES = (
    StageProgress(0, "eval", "done", 57.0),
    StageProgress(1, "draft", "done", 3605.0),
    StageProgress(1, "search", "running", 60.0, 120, 600, "prompts"),
    StageProgress(1, "eval", "waiting"),
)


def test_stages_and_the_time_left() -> None:
    """In the order of a whole iteration, with their times, and what is under way."""
    assert STAGES[2].seconds_left == 240
    lines = stages_text(TrainingOverview(STAGES), 60).plain.split("\n")
    assert [line.split() for line in lines[:3]] == [
        ["draft", "search", "eval"],
        ["0", "0:57"],
        ["1", "1:00:05", "20", "%", "-"],
    ]
    assert lines[3] == "● 1/search: 120 of 600 prompts, 4 min left"
    folded = folded_training(TrainingOverview(STAGES), 80).plain
    assert "2 of 4 stages  ● 1/search: 120 of 600 prompts, 4 min left" in folded
    failed = StageProgress(1, "dpo", "failed", message="no memory")
    assert "✗ 1/dpo: failed, no memory" in stages_text(TrainingOverview((failed,)), 60).plain


def test_health_and_its_signs() -> None:
    """Only what is known, and the signs of a sick loop."""
    falls = {"chosen": Change(-10, -30), "rejected": Change(-10, -31)}
    text = health_text(TrainingOverview(health=(IterationHealth(1, None, falls),)), 200).plain
    head, row, sign = text.split("\n")
    assert (head.split(), row.split()) == (
        ["iteration", "chosen", "rejected"],
        ["1", "-20.0", "-21.0"],
    )
    assert sign.startswith("! iteration 1: the log-probability of chosen sides fell by 20.0")


def test_sections_of_a_pair() -> None:
    """The diff first, then both sides, the prompt and the source."""
    example = read_example(
        a_pair(chosen="Two dogs sat.", rejected="Two cats sat.").model_dump_json().encode()
    )
    sections = example_sections(example, ExampleSource(Path("runs/s"), "prompt-0", 1), None)
    assert sections[0].raw == "Two [-cats-]{+dogs+} sat."
    assert [section.title for section in sections[1:3]] == [
        "Response (chosen, #1)",
        "Response (rejected, #0)",
    ]
    assert sections[-1].raw == "search, prompt prompt-0, #1, #0\nruns/s"


def test_sections_of_a_refinement() -> None:
    """The diff is computed from the tree; without a tree, the target is still shown."""
    example = read_example(refinement().model_dump_json().encode())
    sections = example_sections(example, None, solved_tree())
    assert sections[0].title == "Change from #0"
    assert "{+dogs+}" in sections[0].raw
    assert sections[1].raw == solved_tree().prompt.messages[-1].content
    assert sections[2].raw == f"Mended: {REFINED}"
    without = example_sections(example, ExampleSource(Path("gone"), "p", 1), "there is no gone")
    assert without[0].title == "Target: a refinement"
    assert "there is no gone" in without[-1].raw
    assert "Judge it." in without[1].raw


def test_sections_of_a_judgement() -> None:
    """With the prompt and the response that was judged."""
    row = refinement().model_copy(update={"kind": "tree", "verdict": True})
    sections = example_sections(read_example(row.model_dump_json().encode()), None, solved_tree())
    assert [section.title for section in sections[:2]] == ["Prompt", "Judged: #1"]
    assert sections[1].raw == REFINED


def test_swapped_sides_are_marked() -> None:
    """A pair that was swapped at random is marked."""
    example = read_example(a_pair().model_copy(update={"swapped": True}).model_dump_json().encode())
    assert example_cells(example)["kind"].plain == "pair ⇄"
    assert "swapped" in example_sections(example, None, None)[-1].raw


@given(hostile_text)
def test_hostile_examples_are_shown_as_text(text: str) -> None:
    """No character of an example reaches the terminal as anything but text."""
    rows: list[Mapping[str, Any]] = [
        {"prompt": text, "chosen": text, "rejected": f"{text}x", "run": text, "prompt_id": text},
        {"messages": [{"role": text, "content": text}], "kind": text, "prompt_id": text},
        {"messages": [{"role": "user", "content": {text: 1}}]},
    ]
    for row in rows:
        example = read_example(json.dumps(row).encode())
        texts = [*example_cells(example).values()]
        texts += [section.body for section in example_sections(example, None, text)]
        assert not any(unseen(shown.plain) for shown in texts)


@pytest.fixture
def loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A loop of two iterations below `runs/` of the working directory."""
    monkeypatch.chdir(tmp_path)
    return make_loop(Path("runs/loop"))


def settled(app: Any) -> bool:
    """Whether the screen is up to date."""
    screen = app.screen
    if isinstance(screen, TrainingScreen):
        pane = bool(screen._sections) or not len(screen.view.numbers)
        return pane and screen.view.round_index is not None and not app.workers._workers
    return is_idle(app)


async def open_training(app: SparApp, pilot: Any) -> TrainingScreen:
    """Open the loop, the first of the runs."""
    await until(pilot, lambda: is_idle(app))
    await pilot.press("t")
    await until(pilot, lambda: isinstance(app.screen, TrainingScreen) and settled(app))
    assert isinstance(app.screen, TrainingScreen)
    return app.screen


def round_is(place: int, num_examples: int) -> Seen:
    """That round is shown, with so many examples."""
    return lambda app: (
        (app.screen.view.round_index, len(app.screen.view.numbers)) == (place, num_examples)
    )


def kind_is(kind: str | None) -> Seen:
    """Examples of that kind are shown."""
    return lambda app: app.screen.view.kind == kind


TRAINING = (
    Press("left_square_bracket", round_is(0, 6)),
    Press("right_square_bracket", round_is(1, 7)),
    Press("f", kind_is("pair")),
    Press("1", kind_is(None)),
    Press("2", kind_is("pair")),
    Press("3", kind_is("refine")),
    Press("4", kind_is("tree")),
    Press("5", kind_is("draft")),
    Press("6", kind_is("answer")),
    Press("7", kind_is("broken")),
    Press("d", shows("Response (chosen, #"), first=["2"]),
    Press("p", shows("Prompt that produced it"), first=["3"]),
    Press("y", copied(f"Mended: {REFINED}")),
    Press("Y", copied(DRAFT), first=["2"]),
    Press("v", shows("health of the loop")),
    Press("tab", lambda app: not app.screen.query_one(Table).has_focus),
    Press("J", scrolled(1, 1), first=["tab"]),
    Press("K", scrolled(0, 0)),
    Press("l", is_screen(TreeScreen)),
    Press("right", is_screen(TreeScreen), first=["escape"]),
    Press("escape", is_screen(RunsScreen), first=["escape"]),
    Press("h", is_screen(RunsScreen), first=["t"]),
    Press("left", is_screen(RunsScreen), first=["t"]),
)


def test_every_key_is_pressed() -> None:
    """The table above names each binding of the screen, and every binding says what it does."""
    bindings = list(Binding.make_bindings(vars(TrainingScreen)["BINDINGS"]))
    assert {press.key for press in TRAINING} == {binding.key for binding in bindings}
    assert all(binding.description for binding in bindings)


async def test_keys_of_the_training(loop: Path) -> None:
    """Rounds, kinds, what is shown of an example, charts, what is copied, its tree, back."""
    async with browser(loop.parent) as (app, pilot):
        await open_training(app, pilot)
        await press_all(app, pilot, TRAINING)


async def test_the_way_back(loop: Path) -> None:
    """Enter opens the tree that an example came from, the cursor on its node."""
    async with browser(loop.parent, size=(120, 40)) as (app, pilot):
        screen = await open_training(app, pilot)
        await pilot.press("j", "enter")
        await until(pilot, on_tree(app))
        assert isinstance(app.screen, TreeScreen)
        assert app.screen.view.path == loop / "iteration-2/search"
        assert app.screen.record is not None
        assert (app.screen.record.prompt.id, line(app)) == ("prompt-1", 2)
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is screen)
        await pilot.press("5", "enter")
        await until(pilot, on_tree(app))
        assert app.screen.view.path == loop / "iteration-2/judge"
        assert line(app) == 1


async def test_failures_in_trees_that_the_example_did_not_need(
    loop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest of the run is read once a tree of it is open, so that `n` finds the failures below it."""
    monkeypatch.setattr("tui.training.view.SLICE_SECONDS", 0.0)
    search = loop / "iteration-2/search/trees.jsonl"
    searched = [*map(solved_tree, range(300)), failed_tree(300)]
    search.write_text("".join(f"{tree.to_json()}\n" for tree in searched))
    async with browser(loop.parent, size=(120, 40)) as (app, pilot):
        await open_training(app, pilot)
        await pilot.press("enter")
        await until(pilot, on_tree(app))
        assert isinstance(app.screen, TreeScreen)
        view = app.screen.view
        await until(pilot, lambda: view.progress.done)
        assert "tree 1 of 301" in screen_text(app)
        await pilot.press("n")
        await until(pilot, lambda: shows("prompt-300")(app))


async def test_no_failure_while_trees_are_being_read(
    loop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not claimed that there is no failure before all trees are read."""
    monkeypatch.setattr("tui.training.view.SLICE_SECONDS", 0.0)
    monkeypatch.setattr("tui.run_view.RunView.work", lambda view: None)
    search = loop / "iteration-2/search/trees.jsonl"
    search.write_text("".join(f"{solved_tree(n).to_json()}\n" for n in range(300)))
    async with browser(loop.parent, size=(120, 40)) as (app, pilot):
        await open_training(app, pilot)
        await pilot.press("enter")
        await until(pilot, on_tree(app))
        await pilot.press("n")
        await until(pilot, lambda: notified(app, "no failure below so far: still reading"))


def on_tree(app: Any) -> Callable[[], bool]:
    """A tree is on the screen, and its node beside it."""
    return lambda: isinstance(app.screen, TreeScreen) and bool(app.screen._sections)


async def test_keys_without_anything_to_show(loop: Path) -> None:
    """They say so: a pair's prompt is shown already, and a judgement has no diff."""
    async with browser(loop.parent) as (app, pilot):
        await open_training(app, pilot)
        await pilot.press("p")
        await until(pilot, lambda: notified(app, "no more of the prompt to show"))
        await pilot.press("p", "4")
        await until(pilot, lambda: settled(app) and shows("Judged: #")(app))
        await pilot.press("d")
        await until(pilot, lambda: notified(app, "this example has no diff"))


async def test_a_way_that_leads_nowhere(loop: Path) -> None:
    """A missing run or tree is reported; a refinement is then shown without its diff."""
    (loop / "iteration-2/search").rename(loop / "elsewhere")
    (loop / "iteration-1/search/trees.jsonl").write_text("")
    async with browser(loop.parent, size=(120, 40)) as (app, pilot):
        warnings: list[str] = []
        app.show_warning = warnings.append  # type: ignore[method-assign,assignment]
        screen = await open_training(app, pilot)
        await pilot.press("enter")
        await until(pilot, lambda: bool(warnings))
        assert "runs/loop/iteration-2/search does not exist" in warnings[0]
        await pilot.press("3")
        await until(pilot, lambda: shows("runs/loop/iteration-2/search does not exist")(app))
        await pilot.press("left_square_bracket")
        await until(pilot, lambda: screen.view.round_index == 0 and settled(app))
        await pilot.press("1", "enter")
        await until(pilot, lambda: len(warnings) > 1)
        assert "has no tree of the prompt prompt-0" in warnings[1]
        await pilot.press("6", "enter")
        await until(pilot, lambda: len(warnings) > 2)
        assert warnings[2] == "this example does not name its source"


async def test_charts(loop: Path) -> None:
    """All metrics as lines, the dashboard, each metric alone as bars, none, and from the start; the losses stay."""
    async with browser(loop.parent) as (app, pilot):
        await open_training(app, pilot)
        assert "greedy pass 50.0 → 64.0 ± 2.0 %" in screen_text(app)
        assert "dpo loss █▅▁ 0.900 → 0.700" in screen_text(app)
        assert "health of the loop" not in screen_text(app)
        await pilot.press("v")
        await until(pilot, lambda: "health of the loop" in screen_text(app))
        assert "─ stages ─" in screen_text(app) and "pair " in screen_text(app)
        await pilot.press("v")
        await until(pilot, lambda: "├●─┤" in screen_text(app))
        assert "health of the loop" not in screen_text(app)
        assert "   2  64.0 ± 2.0 %" in screen_text(app)
        await pilot.press("v")
        await until(pilot, lambda: "64.0" not in screen_text(app))
        assert "dpo loss" in screen_text(app)
        await pilot.press("v")
        await until(pilot, lambda: "greedy pass 50.0 → 64.0 ± 2.0 %" in screen_text(app))
        assert "health of the loop" not in screen_text(app)
        await pilot.press("v")
        await pilot.resize_terminal(200, 50)
        await until(pilot, lambda: "health of the loop" in screen_text(app))
        assert "dpo loss" in screen_text(app)


async def test_a_loop_that_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The screen is open before the first example; new and replaced data sets appear."""
    monkeypatch.chdir(tmp_path)
    run = write_run(Path("runs/loop"), [], begins={})
    async with browser(run.parent) as (app, pilot):
        await until(pilot, lambda: is_idle(app))
        await pilot.press("t")
        await until(pilot, lambda: "no training data has been built yet" in screen_text(app))
        (run / "iteration-1").mkdir()
        await until(pilot, lambda: "iteration 1 has no examples yet" in screen_text(app))
        build = run / "iteration-1/build"
        build.mkdir()
        export("trl", build, pairs=[a_pair(n) for n in range(40)], examples=[])
        await until(pilot, lambda: "example 1 of 40" in screen_text(app))
        await pilot.press("G")
        export("trl", build, pairs=[a_pair(n) for n in range(50)], examples=[])
        await until(pilot, lambda: "example 40 of 50" in screen_text(app))
        assert cursor(app) == 39


async def test_an_example_is_not_scrolled_while_the_run_goes_on(loop: Path) -> None:
    """New losses are shown; the example that is being read stays where it is."""
    async with browser(loop.parent) as (app, pilot):
        await open_training(app, pilot)
        await pilot.press("d", "J", "J")
        await until(pilot, lambda: scrolled(2, 2)(app))
        (loop / "iteration-2/dpo/metrics.jsonl").write_text(metrics([0.9, 0.5]))
        await until(pilot, lambda: "0.900 → 0.500" in screen_text(app))
        assert scrolled(2, 2)(app)


async def test_a_click_filters(loop: Path) -> None:
    """A click selects a kind."""
    async with browser(loop.parent) as (app, pilot):
        screen = await open_training(app, pilot)
        await pilot.click(Choices, offset=(14, 0))
        await until(pilot, lambda: screen.view.kind == "pair")


async def test_hostile_text_on_the_screen(tmp_path: Path) -> None:
    """Hostile names, ids, metrics and examples are shown as text."""
    run = make_loop(tmp_path / "runs/[bold]loop", iterations=1)
    bad = a_pair(chosen=EVERYTHING, rejected="[/x]").model_copy(update={"prompt_id": EVERYTHING})
    export("trl", run / "iteration-1/build", pairs=[bad], examples=[])
    (run / "run.json").write_text((run / "run.json").read_text().replace('"pass"', '"[b]\\u202e"'))
    scores = {"greedy": {"[b]\u202e": {"value": 0.5, "stderr": None}}}
    write_json(run / "iteration-1/eval/scores.json", scores)
    async with browser(tmp_path / "runs", size=(120, 40)) as (app, pilot):
        await open_training(app, pilot)
        assert "[bold]loop" in screen_text(app)
        assert "greedy [b]⟨U+202E⟩" in screen_text(app)
        assert not unseen(screen_text(app))
        await pilot.press("d", "p")
        assert not unseen(screen_text(app))


def test_standing_is_equal_while_nothing_changes(loop: Path) -> None:
    """The status of an unchanged folder is equal, so nothing is redrawn."""
    assert read_status(loop) == read_status(loop)


def press(*keys: str) -> Callable[[Any], Any]:
    """Press keys, each when the screen is idle."""

    async def pressing(pilot: Any) -> None:
        await open_training(pilot.app, pilot)
        for key in keys:
            await pilot.press(key)
            await until(pilot, lambda: settled(pilot.app))

    return pressing


SCREENS = {
    "pairs": [],
    "judgement": ["4"],
    "refinement": ["3", "v"],
    "whole": ["d"],
    "chart": ["v", "v"],
}


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("screen", SCREENS)
def test_screen(snap_compare: Compare, loop: Path, screen: str, size: tuple[int, int]) -> None:
    """The screen matches its snapshot."""
    app = SparApp(Inputs(paths=(loop.parent,)))
    assert snap_compare(app, run_before=press(*SCREENS[screen]), terminal_size=size)
