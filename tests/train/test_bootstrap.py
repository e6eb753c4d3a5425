"""The data and stages of a bootstrap: selected answers and judgements, executed stages, rejected settings."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from spar.bootstrap_runner import plan_bootstrap
from spar.embedded import CHECKPOINT
from spar.errors import ConfigChanged, UsageError
from spar.listener import Listener
from spar.prompts import read_prompts
from spar.record.training import StageRecord
from spar.record.training_data import DraftCounts
from spar.templates import load
from spar.train.bootstrap.build import build, read_report, summary_lines
from spar.train.bootstrap.examples import choose_answers, count_drafts, why_few_examples
from spar.train.bootstrap.pipeline import actor_prompts, bootstrap_pipeline, refiner_prompts
from spar.train.bootstrap.recipe import BootstrapConfig, load_bootstrap
from spar.train.bootstrap.stages import STAGES, bootstrap_stages
from spar.train.data.export import read_examples
from spar.train.pipeline import StageSelection, run_pipeline
from spar.train.settings import SftSettings
from spar.train.specs import (
    BootstrapBuildSpec,
    GenerationSpec,
    TrainingSpec,
)
from spar.train.stage import Stage, write_record
from spar.types import Fault, Message, Node, SearchTree, Usage
from tests.fakes import NO, YES, make_prompt
from tests.train.trees import make_tree, tree_of, write_run

TEMPLATES = load()


def answered(text: str, prompt_id: str, tokens: int = 3, asked: str = "") -> SearchTree:
    """A prompt that the teacher answered with so many tokens."""
    node = Node(id=0, parent=None, depth=0, response=text, usage=Usage(completion_tokens=tokens))
    tree = tree_of(node, prompt_id=prompt_id)
    return tree.model_copy(update={"prompt": make_prompt(asked, prompt_id)}) if asked else tree


def unanswered(prompt_id: str) -> SearchTree:
    """A prompt that the teacher refused."""
    return tree_of(prompt_id=prompt_id)


def test_an_answer_is_the_prompt_and_the_reply() -> None:
    """All turns of the prompt, then the answer; it names its tree and node."""
    turns = (Message(role="system", content="Be brief."), Message(role="user", content="Say a."))
    tree = answered("A.", "a")
    tree = tree.model_copy(update={"prompt": tree.prompt.model_copy(update={"messages": turns})})
    (found,), counts = choose_answers([tree], seed=0, most=9, max_tokens=100)
    assert [(m.role, m.content) for m in found.messages] == [
        ("system", "Be brief."),
        ("user", "Say a."),
        ("assistant", "A."),
    ]
    assert (found.run, found.prompt_id, found.node) == ("answers", "a", 0)
    assert (counts.prompts, counts.kept, counts.left_out) == (1, 1, {})


def test_excluded_answers() -> None:
    """No answer, one truncated at the limit, one without a UTF-8 form, a second one to the same prompt."""
    trees = [
        answered("A.", "a"),
        unanswered("b"),
        answered("C, and so on", "c", tokens=100),
        answered("D \ud800", "d"),
        answered("Another A.", "e", asked="Say a."),
        answered("F.", "f", tokens=99),
    ]
    kept, counts = choose_answers(trees, seed=0, most=9, max_tokens=100)
    assert {one.prompt_id for one in kept} in ({"a", "f"}, {"e", "f"})
    assert counts.left_out == {"cut": 1, "duplicate": 1, "unanswered": 1, "without_tokens": 1}
    assert (counts.prompts, counts.kept) == (6, 2)


def test_an_answer_that_was_cut_below_the_limit_is_excluded() -> None:
    """By a full context or by a server, whose tokens may not even be known."""
    tree = answered("C, and so on", "c", tokens=3)
    usage = tree.nodes[0].usage.model_copy(update={"cut_calls": 1})
    cut = tree.model_copy(update={"nodes": (tree.nodes[0].model_copy(update={"usage": usage}),)})
    kept, counts = choose_answers([cut, answered("A.", "a")], seed=0, most=9, max_tokens=100)
    assert [answer.prompt_id for answer in kept] == ["a"]
    assert counts.left_out == {"cut": 1}


def test_prompts_that_share_a_system_turn_are_no_duplicates() -> None:
    """The whole conversation counts, not its first message."""
    system = Message(role="system", content="Be brief.")
    trees = []
    for name in "ab":
        tree = answered(name, name)
        prompt = tree.prompt.model_copy(update={"messages": (system, *tree.prompt.messages)})
        trees.append(tree.model_copy(update={"prompt": prompt}))
    assert choose_answers(trees, seed=0, most=9, max_tokens=100)[1].kept == 2


def test_the_selection_depends_on_the_seed_and_not_on_the_order() -> None:
    """Quota, duplicates and order are the same for any order of the trees."""
    trees = [answered(f"A{i}.", f"p{i}", asked=f"Say {i % 15}.") for i in range(20)]
    chosen = choose_answers(trees, seed=1, most=7, max_tokens=100)
    random.Random(0).shuffle(trees)
    assert choose_answers(trees, seed=1, most=7, max_tokens=100) == chosen
    assert choose_answers(trees, seed=2, most=7, max_tokens=100)[0] != chosen[0]
    assert chosen[1].left_out == {"above_quota": 8, "duplicate": 5}


def undecided(prompt_id: str, text: str = "I cannot say.") -> SearchTree:
    """A draft without a majority of votes."""
    fault = Fault(parent=None, stage="judge", reason="the votes decided nothing", text=text)
    return make_tree((None, None), prompt_id=prompt_id).model_copy(update={"faults": (fault,)})


def test_drafts_are_counted() -> None:
    """By outcome; the first unparsable reply is stored."""
    trees = [make_tree((None, 5), (None, 2), (None, 0)), undecided("u"), undecided("v", "Hm.")]
    found = count_drafts(trees)
    assert (found.drafts, found.passed, found.failed, found.undecided) == (5, 1, 2, 2)
    assert (found.reason, found.reply) == ("the votes decided nothing", "I cannot say.")


@pytest.mark.parametrize(
    ("counts", "solved", "said"),
    [
        ((0, 0, 0, 0), 0, "all drafts of the student are empty"),
        ((3, 0, 0, 3), 0, "'Final Judgement: Yes' or 'No'"),
        ((4, 3, 0, 1), 0, "the teacher said Yes to all 3 drafts"),
        ((4, 0, 3, 1), 0, "the teacher said No to all 3 drafts"),
        ((4, 1, 3, 0), 2, "passed 2 of its refinements"),
    ],
)
def test_why_there_are_too_few_examples(
    counts: tuple[int, int, int, int], solved: int, said: str
) -> None:
    """Each cause has words of its own."""
    named = dict(zip(("drafts", "passed", "failed", "undecided"), counts, strict=True))
    assert said in why_few_examples(DraftCounts(**named), solved)


JUDGED = [
    make_tree((None, 5), (None, 3), prompt_id="a"),  # unanimous and split, both Yes
    make_tree((None, 0), (None, 1), prompt_id="b"),  # two No; node 0 is refined below
    make_tree((None, 0), prompt_id="c"),  # refined in vain
    undecided("d"),
]


def mended() -> SearchTree:
    """The search from b's first draft, whose refinement passes."""
    root, winner = make_tree((None, 0), (0, 5)).nodes
    return tree_of(root, winner.model_copy(update={"response": "mended"}), prompt_id="b")


REFINED = [mended(), make_tree((None, 0), prompt_id="c")]


def runs(folder: Path, judged: list[SearchTree], refined: list[SearchTree]) -> BootstrapBuildSpec:
    """The three runs of a bootstrap, and the order to build from them."""
    answers = [answered(f"{name}!", name) for name in "xyz"]
    made = {"answers": answers, "judge": judged, "refine": refined}
    order: dict[str, Any] = {
        name: str(write_run(folder / name, *trees)) for name, trees in made.items()
    }
    named = {f"max_{name}": 100 for name in ("answers", "refinements", "judgements")}
    named |= {"min_answers": 1, "min_examples": 1, "max_answer_tokens": 100, "seed": 0}
    return BootstrapBuildSpec(**order, **named, out=str(folder / "build"), judgements="decided")


def test_a_build_by_hand(tmp_path: Path) -> None:
    """Every decided judgement, the refinement, no tie, one an opening, as many Yes as No."""
    order = runs(tmp_path, JUDGED, REFINED)
    report = build(order)
    found = list(read_examples(tmp_path / "build" / "refiner.jsonl"))
    assert {(e.kind, e.verdict, e.prompt_id, e.node) for e in found} >= {
        ("refine", None, "b", 1),  # its opening is that of b's draft 0, whose No gives way
        ("draft", False, "b", 1),
        ("tree", False, "c", 0),  # the same opening as the draft it was
    }
    # a's two drafts and b's refinement say Yes, of which there may be as many as No: two.
    yes = {(e.kind, e.prompt_id, e.node) for e in found if e.verdict}
    assert len(yes) == 2
    assert yes < {("draft", "a", 0), ("draft", "a", 1), ("tree", "b", 1)}
    assert len(found) == 5
    assert report.possible_examples == {
        "draft_no": 3,
        "draft_yes": 2,
        "refine": 1,
        "tree_no": 1,
        "tree_yes": 1,
    }
    assert (report.yes_share, report.judged.undecided, report.answers.kept) == (0.5, 1, 3)
    assert {path.name for path in (tmp_path / "build").iterdir()} == {
        *("actor.jsonl", "refiner.jsonl", "build.json"),
    }
    assert read_report(tmp_path / "build") == report


def test_the_words_are_the_searches_own(tmp_path: Path) -> None:
    """Judge prompt and kept vote; then the refine request and what the refiner wrote."""
    build(runs(tmp_path, JUDGED, REFINED))
    found = {
        (e.kind, e.prompt_id, e.node): [m.content for m in e.messages]
        for e in read_examples(tmp_path / "build" / "refiner.jsonl")
    }
    b = JUDGED[1].prompt.messages
    assert found["draft", "b", 1] == [TEMPLATES.judge_prompt(b, "r1"), NO]
    written = "why 1\nFinal Refined Output:\n[[start]]\nmended\n[[end]]"
    asked = TEMPLATES.judge_prompt(b, "r0")
    assert found["refine", "b", 1] == [asked, NO, TEMPLATES.refine_request(), written]
    lines = (tmp_path / "build" / "actor.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert sorted(row["messages"][-1]["content"] for row in rows) == ["x!", "y!", "z!"]
    assert YES in {words[-1] for words in found.values()}


def test_split_judgements_only(tmp_path: Path) -> None:
    """As in the loop: a's 3 of 5 is the Yes, b's 1 of 5 the No."""
    order = runs(tmp_path, JUDGED, REFINED).model_copy(update={"judgements": "split"})
    build(order)
    found = read_examples(tmp_path / "build" / "refiner.jsonl")
    assert {(e.prompt_id, e.node, e.verdict) for e in found} == {
        *(("a", 1, True), ("b", 1, False), ("b", 1, None)),
    }


def test_quotas_and_the_order_of_the_trees(tmp_path: Path) -> None:
    """An odd number of judgements is rounded down to pairs; the same bytes however the searches ended."""
    changed = {"max_judgements": 3, "max_refinements": 0, "max_answers": 2}
    first = build(runs(tmp_path / "1", JUDGED, REFINED).model_copy(update=changed))
    assert sum(first.examples.values()) == 2
    assert first.answers.left_out == {"above_quota": 1}
    order = runs(tmp_path / "2", JUDGED[::-1], REFINED[::-1])
    assert build(order.model_copy(update=changed)).files == first.files


def test_llamafactory_gets_files_of_its_own(tmp_path: Path) -> None:
    """Beside those that spar's own trainer reads, with a description."""
    order = runs(tmp_path, JUDGED, REFINED).model_copy(update={"llamafactory": True})
    assert "llamafactory/actor.jsonl" in build(order).files
    info = json.loads((tmp_path / "build" / "llamafactory" / "dataset_info.json").read_text())
    assert {name: facts["file_name"] for name, facts in info.items()} == {
        "spar_actor": "actor.jsonl",
        "spar_refiner": "refiner.jsonl",
    }
    row = json.loads((tmp_path / "build/llamafactory/actor.jsonl").read_text().splitlines()[0])
    assert [turn["from"] for turn in row["conversations"]] == ["human", "gpt"]


@pytest.mark.parametrize(
    ("judged", "refined", "changed", "said"),
    [
        (
            [make_tree((None, 5))],
            [],
            {},
            "0 examples, and 1 are required: the teacher said Yes to all",
        ),
        ([undecided("d")], [], {}, "no judgement of the teacher on 1 drafts can be parsed"),
        (JUDGED, REFINED, {"min_examples": 6}, "has 5 examples, and 6 are required"),
        (JUDGED, REFINED, {"min_answers": 4}, "the actor has 3 examples, and 4 are required"),
        (JUDGED, REFINED, {"max_answer_tokens": 2}, "were excluded: 3 cut"),
    ],
)
def test_too_few_examples_are_an_error(
    judged: list[SearchTree],
    refined: list[SearchTree],
    changed: dict[str, int],
    said: str,
    tmp_path: Path,
) -> None:
    """How many are needed and had, and why; no file is left behind that looks like a build."""
    order = runs(tmp_path, judged, refined).model_copy(update=changed)
    with pytest.raises(UsageError, match=said):
        build(order)
    assert not (tmp_path / "build").exists()


def test_summary_lines(tmp_path: Path) -> None:
    """The counts that a person asks for first."""
    lines = summary_lines(build(runs(tmp_path, JUDGED, REFINED)))
    assert lines[0] == "actor: 3 answers of 3"
    assert "passed 2, failed 3 and left 1 undecided; 1 of 2 searches fixed a draft" in lines[1]
    assert lines[2].startswith("refiner: 5 examples (")
    assert lines[2].endswith("50% of the judgements say Yes")


@pytest.mark.parametrize(
    ("known", "actor", "refiner"),
    [
        (10, "012", "3456"),  # enough for both: apart, in a row
        (6, "012", "2345"),  # not enough: the refiner's are the last
        (2, "01", "01"),
    ],
)
def test_prompts_are_shared_out(known: int, actor: str, refiner: str, tmp_path: Path) -> None:
    """The actor gets three, the refiner four, and none of the actor's as long as there are enough."""
    path = tmp_path / "prompts.txt"
    path.write_text("".join(f"{i}\n" for i in range(known)))
    config = BootstrapConfig(prompts=str(path), num_actor_prompts=3, num_refiner_prompts=4)
    assert "".join(p.messages[0].content for p in actor_prompts(config)) == actor
    assert "".join(p.messages[0].content for p in refiner_prompts(config)) == refiner


def test_prompts_are_read_from_the_named_field(tmp_path: Path) -> None:
    """In the file of the actor's and in that of the refiner's."""
    for name in ("actor", "refiner"):
        (tmp_path / f"{name}.jsonl").write_text(f'{{"question": "{name}?", "prompt": "no"}}\n')
    both = {
        "prompts": str(tmp_path / "actor.jsonl"),
        "refiner_prompts": str(tmp_path / "refiner.jsonl"),
    }
    config = load_bootstrap("nano", {**both, "prompt_field": "question"}, student={}, teacher={})
    for read, expected in ((actor_prompts, "actor?"), (refiner_prompts, "refiner?")):
        assert [p.messages[0].content for p in read(config)] == [expected]


def test_nano_ifs_prompts_are_another_draw_than_the_loops() -> None:
    """Training prompts of seed 1, the refiner's after the actor's."""
    config = BootstrapConfig(num_actor_prompts=2, num_refiner_prompts=1)
    found = [p.id for prompts in (actor_prompts, refiner_prompts) for p in prompts(config)]
    assert found == ["nano-train-1-0", "nano-train-1-1", "nano-train-1-2"]


def test_the_papers_numbers_are_the_defaults() -> None:
    """2e-6, 5 and 3 epochs, batch 64, constant after a tenth of warm-up, 4096 tokens."""
    config = BootstrapConfig()
    common: dict[str, Any] = {"learning_rate": 2e-6, "batch": 64, "warmup_ratio": 0.1}
    common |= {"schedule": "constant_with_warmup", "cutoff": 4096}
    assert {**config.actor, **common, "epochs": 5} == config.actor
    assert {**config.refiner, **common, "epochs": 3} == config.refiner
    assert (config.num_actor_prompts, config.max_refinements + config.max_judgements) == (
        8000,
        5000,
    )


def test_a_recipe_for_the_loop_is_one_for_its_bootstrap(tmp_path: Path) -> None:
    """Machine settings and twice the rate come from the refiner's training; the teacher is somebody else."""
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(
        "decode: {model: base, engine: vllm, rows: 9, vote: {temperature: 0.5}}\n"
        "train: {launch: {processes: 8}, rft: {learning_rate: 1.0e-6, deepspeed: zero3, epochs: 2}}\n"
        "bootstrap: {actor: {batch: 16}, teacher: {model: strong}}\n"
    )
    config = load_bootstrap(str(recipe), {}, ["teacher.votes=3"], student={}, teacher={})
    assert (config.actor["learning_rate"], config.refiner["learning_rate"]) == (2e-6, 2e-6)
    assert (config.actor["epochs"], config.refiner["epochs"]) == (5, 2)
    assert (config.actor["deepspeed"], config.actor["batch"]) == ("zero3", 16)
    assert config.launch.processes == 8
    assert (config.base, config.student.engine, config.student.max_batch_size) == (
        "base",
        "vllm",
        9,
    )
    assert (config.teacher.model, config.teacher.engine, config.teacher.max_batch_size) == (
        "strong",
        "auto",
        0,
    )
    assert (config.teacher.vote.temperature, config.teacher.votes) == (0.5, 3)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("search.strategy=greedy", "refines nothing"),
        ("search.strategy=bsf", "did you mean 'bfs'"),
        ("search.depht=1", "search.depht"),
        ("actor.model=x", "set by the loop"),
        ("samples=0", "samples"),
        ("prompt_field=question", "prompt_field is for prompts of a file"),
        ("samples", "expected KEY=VALUE"),
    ],
)
def test_wrong_settings_are_errors(change: str, said: str) -> None:
    """Before anything runs, in one line."""
    with pytest.raises(UsageError, match=said):
        load_bootstrap("nano", {}, [change], student={}, teacher={})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("actor.batch=30", "sft-actor: batch 30 cannot be divided"),
        ("refiner.deepspeed=zero9", "sft-refiner: deepspeed 'zero9': no such file"),
        ("launch.hostfile=none", "hostfile 'none': no such file"),
    ],
)
def test_what_a_training_would_refuse_is_refused_before_the_teacher_is_asked(
    change: str, said: str, tmp_path: Path
) -> None:
    """Unless the trainings are not run."""
    config = load_bootstrap("nano", {}, [change], student={}, teacher={})
    with pytest.raises(UsageError, match=said):
        plan_bootstrap(config, out=tmp_path / "run")
    until = StageSelection(stop_after="build")
    assert plan_bootstrap(config, out=tmp_path / "run", selection=until).stages


USER_FIRST = (
    "{% if messages[0]['role'] != 'user' %}{{ raise_exception('the user begins') }}{% endif %}"
    "{% for m in messages %}{{ '<|' + m['role'] + '|>' + m['content'] + '<|end|>' }}{% endfor %}"
)


@pytest.mark.model
def test_prompts_that_the_student_cannot_learn_are_refused_before_the_teacher_is_asked(
    tmp_path: Path,
) -> None:
    """With their line; a template that renders them, or a teacher that has answered already, is no obstacle."""
    pytest.importorskip("transformers")
    file, student, run = (tmp_path / name for name in ("prompts.jsonl", "student", "run"))
    turns = [{"role": "assistant", "content": "Hello."}, {"role": "user", "content": "Say a."}]
    rows = [{"prompt": "Say b."}, {"messages": turns}]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    shutil.copytree(CHECKPOINT, student)
    model, teacher = {"model": str(student)}, {"engine": "fake"}
    config = load_bootstrap("nano", {"prompts": str(file)}, student=model, teacher=teacher)
    assert plan_bootstrap(config, out=run).stages
    (student / "chat_template.jinja").write_text(USER_FIRST)
    said = r"prompts\.jsonl:2: the actor could not learn .*: the user begins; leave such conversations out"
    with pytest.raises(UsageError, match=said):
        plan_bootstrap(config, out=run)
    answers = bootstrap_stages(config, run)[0]
    answers.folder.mkdir(parents=True)
    answers.spec.output.touch()
    write_record(answers, StageRecord(stage="answers", iteration=0, state="done", starts=1))
    assert plan_bootstrap(config, out=run).stages


def test_the_specifications_of_the_stages(tmp_path: Path) -> None:
    """Models, strategies and data of each stage."""
    config = load_bootstrap(
        "nano", {"samples": 3}, student={"model": "base"}, teacher={"model": "strong"}
    )
    stages = {stage.name: stage for stage in bootstrap_stages(config, tmp_path)}
    assert tuple(stages) == STAGES
    configs = {
        name: (stage.spec.config.model, stage.spec.config.strategy, stage.spec.config.budget)
        for name, stage in stages.items()
        if isinstance(stage.spec, GenerationSpec)
    }
    assert configs == {
        "answers": ("strong", "greedy", 1),
        "drafts": ("base", "best-of-n", 3),
        "judge": ("strong", "best-of-n", 3),
        "refine": ("strong", "iterative", 3),
    }
    for trained in ("actor", "refiner"):
        spec = stages[f"sft-{trained}"].spec
        assert isinstance(spec, TrainingSpec)
        settings = SftSettings.model_validate(spec.stored())
        assert (settings.model, settings.out) == ("base", str(tmp_path / trained))
        assert settings.data == str(tmp_path / "build" / f"{trained}.jsonl")


@pytest.fixture
def executed() -> list[str]:
    """The stages that were executed, in order."""
    return []


CONFIG = BootstrapConfig(num_actor_prompts=2, num_refiner_prompts=2)


def bootstrap(
    executed: list[str],
    run: Path,
    config: BootstrapConfig = CONFIG,
    overwrite: bool = False,
    **selection: str,
) -> None:
    """Run a bootstrap whose stages write their output and nothing else."""

    def execute(stage: Stage, tick: Callable[[], None]) -> None:
        executed.append(stage.name)
        stage.folder.mkdir(exist_ok=True)
        stage.spec.output.write_text("made")
        if isinstance(stage.spec, BootstrapBuildSpec):
            for role in ("actor", "refiner"):
                (stage.folder / f"{role}.jsonl").write_text("made")

    run_pipeline(
        bootstrap_pipeline(config, run),
        execute,
        listener=Listener(),
        selection=StageSelection(**selection),
        overwrite=overwrite,
    )


def test_stages_run_once_and_in_order(tmp_path: Path, executed: list[str]) -> None:
    """Up to the named one, then the rest, then none; with --rerun-from, that one and those after it."""
    bootstrap(executed, tmp_path, stop_after="judge")
    assert executed == ["answers", "drafts", "judge"]
    bootstrap(executed, tmp_path)
    assert executed == list(STAGES)
    bootstrap(executed, tmp_path)
    assert executed == list(STAGES)
    bootstrap(executed, tmp_path, rerun_from="sft-actor")
    assert executed == [*STAGES, "sft-actor", "sft-refiner"]
    kept = tmp_path / "replaced" / "1"
    assert (kept / "actor" / "report.json").read_text() == "made"
    assert not (kept / "refiner.prompts.jsonl").exists()


def test_rerunning_refine_keeps_the_refiners_files(tmp_path: Path, executed: list[str]) -> None:
    """`refine` is not `refiner`."""
    bootstrap(executed, tmp_path, stop_after="refine")
    (tmp_path / "refiner").mkdir()
    bootstrap(executed, tmp_path, rerun_from="refine", stop_after="refine")
    assert sorted(path.name for path in (tmp_path / "replaced" / "1").iterdir()) == [
        *("refine", "refine.json", "refine.order.json"),
    ]
    assert (tmp_path / "refiner").is_dir()
    assert (tmp_path / "refiner.prompts.jsonl").is_file()


def write_prompts(file: Path, word: str) -> list[list[str]]:
    """A file of four prompts; returns the actor's and the refiner's."""
    texts = [f"{word} {number}" for number in range(4)]
    file.write_text("".join(f'{{"prompt": "{text}"}}\n' for text in texts))
    return [texts[:2], texts[2:]]


def kept_prompts(run: Path) -> list[list[str]]:
    """The actor's prompts and the refiner's in a folder."""
    files = [run / f"{role}.prompts.jsonl" for role in ("actor", "refiner")]
    return [[prompt.messages[0].content for prompt in read_prompts(file)] for file in files]


def test_stages_that_run_again_read_their_prompts_again(
    tmp_path: Path, executed: list[str]
) -> None:
    """Those of `answers` are the actor's, those of `drafts` the refiner's; a bootstrap that is resumed keeps them."""
    file, run = tmp_path / "prompts.jsonl", tmp_path / "run"
    config = CONFIG.model_copy(update={"prompts": str(file)})
    old = write_prompts(file, "old")
    bootstrap(executed, run, config, stop_after="answers")
    new = write_prompts(file, "new")
    bootstrap(executed, run, config, stop_after="drafts")
    assert kept_prompts(run) == old
    bootstrap(executed, run, config, rerun_from="drafts", stop_after="drafts")
    assert kept_prompts(run) == [old[0], new[1]]
    bootstrap(executed, run, config, rerun_from="answers", stop_after="drafts")
    assert kept_prompts(run) == new
    assert kept_prompts(run / "replaced" / "2") == [old[0], new[1]]


def test_prompts_of_stages_that_were_not_started_are_read_again(
    tmp_path: Path, executed: list[str]
) -> None:
    """They were written with the others, at the start."""
    file, run = tmp_path / "prompts.jsonl", tmp_path / "run"
    config = CONFIG.model_copy(update={"prompts": str(file)})
    write_prompts(file, "old")
    bootstrap(executed, run, config, stop_after="answers")
    new = write_prompts(file, "new")
    bootstrap(executed, run, config, rerun_from="answers")
    assert kept_prompts(run) == new
    assert executed == ["answers", *STAGES]


def test_settings_of_finished_stages_are_fixed(tmp_path: Path, executed: list[str]) -> None:
    """The error has a diff and the next step; free settings, and those of later stages, may change."""
    bootstrap(executed, tmp_path, stop_after="judge")
    more = CONFIG.model_copy(update={"samples": 3})
    with pytest.raises(ConfigChanged, match="samples: 2 -> 3"):
        bootstrap(executed, tmp_path, more)
    longer = CONFIG.model_copy(update={"search": {"strategy": "bfs", "budget": 15}})
    elsewhere = CONFIG.teacher.model_copy(update={"concurrency": 4})
    bootstrap(executed, tmp_path, longer.model_copy(update={"teacher": elsewhere}))
    with pytest.raises(ConfigChanged, match="--rerun-from"):
        bootstrap(executed, tmp_path, CONFIG)
    bootstrap(executed, tmp_path, CONFIG, rerun_from="refine")
    assert executed == [*STAGES, *STAGES[3:]]


def test_overwrite_deletes_only_the_bootstraps_files(tmp_path: Path, executed: list[str]) -> None:
    """Another configuration may start; a foreign file stays."""
    bootstrap(executed, tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "actor" / "model").mkdir()
    bootstrap(
        executed,
        tmp_path,
        CONFIG.model_copy(update={"samples": 3}),
        overwrite=True,
        stop_after="answers",
    )
    assert executed == [*STAGES, "answers"]
    assert {path.name for path in tmp_path.iterdir()} == {
        *("notes.txt", "run.json", "run.lock", "actor.prompts.jsonl", "refiner.prompts.jsonl"),
        *("answers", "answers.json", "answers.order.json"),
    }


@pytest.mark.parametrize("name", ["report.txt", "run.json"])
def test_foreign_folders_are_rejected(name: str, tmp_path: Path, executed: list[str]) -> None:
    """A folder that is not empty, and one of another run."""
    if name == "run.json":
        write_run(tmp_path)
    else:
        (tmp_path / name).write_text("mine")
    with pytest.raises(UsageError, match="choose another --out"):
        bootstrap(executed, tmp_path)
    assert executed == []


def test_an_unknown_stage_is_rejected(tmp_path: Path, executed: list[str]) -> None:
    """The message lists the stages."""
    with pytest.raises(UsageError, match=r"'dpo' .*answers, drafts"):
        bootstrap(executed, tmp_path, rerun_from="dpo")
    assert not (tmp_path / "run.json").exists()


def test_an_end_before_the_start_changes_nothing(tmp_path: Path, executed: list[str]) -> None:
    """`--rerun-from build --stop-after judge` is an error before anything is archived."""
    bootstrap(executed, tmp_path)
    with pytest.raises(
        UsageError,
        match="--rerun-from build starts with build, and --stop-after judge ends before it",
    ):
        bootstrap(executed, tmp_path, rerun_from="build", stop_after="judge")
    assert not (tmp_path / "replaced").exists()
