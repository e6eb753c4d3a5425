"""A build from run directories: what is written, what is refused, the same bytes whatever the order."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from spar.errors import MissingExtra, RunStopped, UsageError
from spar.infer.decode import decode
from spar.infer.engines.fake import FakeEngine
from spar.infer.search import Budget, SearchSettings
from spar.infer.summary import Summary
from spar.manifest import Manifest
from spar.record.training import BUILD_REPORT
from spar.record.training_data import BuildReport
from spar.store import MANIFEST, read_manifest, read_trees
from spar.templates import load
from spar.train.build import build, read_report, summary_lines
from spar.train.data.answers import read_answers
from spar.train.data.export import read_examples, read_pairs
from spar.train.data.scan import BuildSettings, open_sources, scan_sources
from spar.types import Node, Prompt, SearchTree, Usage
from tests.fakes import World, make_judgement, make_prompt, make_settings, real_roles
from tests.train.trees import draft, make_tree, tree_of, write_run

SOLVED = ((None, 1), (0, 2), (1, 4))
MIXED_DRAFTS = ((None, 1), (None, 3), (None, 5))


def searches(num: int) -> list[SearchTree]:
    """Solved searches of so many prompts."""
    return [make_tree(*SOLVED, prompt_id=f"p{i}") for i in range(num)]


def drafts(num: int) -> list[SearchTree]:
    """A split No, a split Yes and a unanimous Yes on so many prompts' drafts."""
    return [make_tree(*MIXED_DRAFTS, prompt_id=f"p{i}") for i in range(num)]


@pytest.fixture
def runs(tmp_path: Path) -> BuildSettings:
    """Two runs over six prompts, and a folder to build in."""
    return BuildSettings(
        out=tmp_path / "out",
        search=write_run(tmp_path / "search", *searches(6)),
        drafts=write_run(tmp_path / "drafts", *drafts(6)),
        export="jsonl",
    )


def written(folder: Path) -> dict[str, bytes]:
    """File name to bytes."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_what_a_build_writes(runs: BuildSettings) -> None:
    """By hand: a pair, a refinement and a searched Yes a prompt, of its drafts one judgement each way."""
    report = build(runs)
    assert report.pairs.pairs == report.possible_pairs == 6
    # Node 1 opens the refine example; node 0 says No in the search and, in the same words, in the drafts.
    # The drafts' split Yes, node 1, has the very judge prompt of the refine example: it goes.
    assert report.possible_examples == {
        "draft_no": 6,
        "draft_yes": 6,
        "refine": 6,
        "tree_no": 6,
        "tree_yes": 6,
    }
    assert report.examples == {"refine": 6, "tree_no": 6, "tree_yes": 6}
    assert report.yes_share == 0.5
    pairs = list(read_pairs(runs.out / "dpo.jsonl"))
    assert {pair.prompt_id for pair in pairs} == {f"p{i}" for i in range(6)}
    assert {(pair.chosen, pair.rejected) for pair in pairs} == {("r2", "r0")}
    examples = list(read_examples(runs.out / "rft.jsonl"))
    assert len(examples) == 18
    assert len({example.messages[0].content for example in examples}) == 18
    assert read_report(runs.out) == report


def test_the_report_measures_both_runs(runs: BuildSettings) -> None:
    """Votes of 1, 2 and 4 yes in the searches; of 1, 3 and 5 in the drafts."""
    report = build(runs)
    search, sampled = (report.runs[run].votes for run in ("search", "drafts"))
    assert (search.judgements, search.yes_share, search.unanimous_share) == (18, 1 / 3, 0)
    assert search.pairwise_agreement == pytest.approx((0.6 + 0.4 + 0.6) / 3)
    assert (sampled.yes_share, sampled.unanimous_share) == (2 / 3, 1 / 3)
    assert report.runs["search"].trees == report.runs["search"].solved == 6
    assert report.runs["search"].models == {"judge": "a judge"}
    assert report.pairs.edit_similarity is not None
    assert report.pairs.edit_similarity.mean == 0.5
    assert report.notes == ()
    lines = summary_lines(report, runs.out)
    assert any("edit similarity 0.500" in line for line in lines)
    assert any("18 judgements, 33.3% yes, 0.0% unanimous, votes agree 53.3%" in x for x in lines)


def test_the_order_of_trees_changes_nothing(runs: BuildSettings, tmp_path: Path) -> None:
    """Runs whose searches ended in another order, as after a kill, give the same bytes."""
    dice, mixed = random.Random(0), tmp_path / "again"
    first, second = searches(6), drafts(6)
    dice.shuffle(first)
    dice.shuffle(second)
    again = replace(
        runs,
        search=write_run(mixed / "search", *first),
        drafts=write_run(mixed / "drafts", *second),
        out=tmp_path / "other",
    )
    reports = [build(settings) for settings in (runs, again)]
    assert reports[0].files == reports[1].files
    data = [written(settings.out) for settings in (runs, again)]
    for files in data:
        del files[BUILD_REPORT]
    assert data[0] == data[1]


def test_building_again_gives_the_same_bytes(runs: BuildSettings) -> None:
    """Report included; another seed gives the same pairs in another order."""
    build(runs)
    first = written(runs.out)
    build(runs)
    assert written(runs.out) == first
    before = list(read_pairs(runs.out / "dpo.jsonl"))
    build(replace(runs, seed=1))
    after = list(read_pairs(runs.out / "dpo.jsonl"))
    assert before != after
    assert sorted(before, key=lambda pair: pair.prompt_id) == sorted(
        after, key=lambda pair: pair.prompt_id
    )


def test_independent_pairs(runs: BuildSettings) -> None:
    """The ablation takes its pairs from the drafts; the refiner's data stays as it was."""
    report = build(runs)
    ablation = build(replace(runs, pairs="independent"))
    assert ablation.examples == report.examples
    assert ablation.files["rft.jsonl"] == report.files["rft.jsonl"]
    pairs = list(read_pairs(runs.out / "dpo.jsonl"))
    assert {pair.run for pair in pairs} == {"drafts"}
    assert {(pair.chosen_node in (1, 2), pair.rejected_node) for pair in pairs} == {(True, 0)}


def test_one_run_alone(runs: BuildSettings) -> None:
    """Without drafts there are no judgements of drafts; without searches, nothing of the searches."""
    assert build(replace(runs, drafts=None)).examples == {"refine": 6, "tree_no": 6, "tree_yes": 6}
    alone = build(replace(runs, search=None, pairs="independent"))
    assert alone.examples == {"draft_no": 6, "draft_yes": 6}
    for pairing, given in (("refined", "search"), ("independent", "drafts")):
        settings = replace(runs, pairs=pairing, **{given: None})  # type: ignore[arg-type]
        with pytest.raises(
            UsageError, match=f"--pairs {pairing} needs a run directory: give --{given}"
        ):
            build(settings)


def test_the_control_swaps_sides(tmp_path: Path) -> None:
    """Shuffled labels: the same pairs, about half of them upside down, and it is written down."""
    search = write_run(tmp_path / "search", *searches(60))
    settings = BuildSettings(tmp_path / "out", search=search, export="jsonl", shuffle_labels=True)
    report = build(settings)
    pairs = list(read_pairs(settings.out / "dpo.jsonl"))
    assert report.pairs.swapped == sum(pair.chosen == "r0" for pair in pairs)
    assert 15 < report.pairs.swapped < 45
    assert report.shuffle_labels


def test_answers_alone_are_drafts(runs: BuildSettings) -> None:
    """`sft` learns a draft that passes, or has the score asked for, also where searches have made refinements."""
    settings = replace(runs, methods=("rft", "sft"))
    report = build(settings)
    answers = read_answers(settings.out / "sft.jsonl")
    assert {answer.run for answer in answers} == {"drafts"} and report.answers == len(answers) > 0


def test_answers_that_were_cut_may_be_left_out(runs: BuildSettings, tmp_path: Path) -> None:
    """As drafts of pairs are: another draft is learnt, or none, and too few of them are an error."""
    cut = Usage(cut_calls=1)
    trees = [
        tree_of(*(n.model_copy(update={"usage": cut}) if n.id in ids else n for n in tree.nodes))
        for ids, tree in (({1}, make_tree(*MIXED_DRAFTS)), ({1, 2}, make_tree(*MIXED_DRAFTS)))
    ]
    judged = write_run(
        tmp_path / "cut",
        *(
            t.model_copy(update={"prompt": make_prompt("Say.", f"p{i}")})
            for i, t in enumerate(trees)
        ),
    )
    settings = replace(runs, drafts=judged, methods=("sft",), search=None)
    assert build(settings).answers == 2
    for seed in range(8):
        report = build(replace(settings, cut_drafts=False, seed=seed))
        (answer,) = read_answers(settings.out / "sft.jsonl")
        assert (report.answers, answer.prompt_id, answer.node) == (1, "p0", 2)
    with pytest.raises(UsageError, match="1 of 2 prompts have a draft that passes and was not cut"):
        build(replace(settings, cut_drafts=False, min_pairs=2))


@pytest.mark.parametrize(
    ("judged", "cut_drafts", "reason"),
    [
        (((None, 5), (None, 4)), True, "since all 2 judged drafts pass"),
        (((None, None), (None, None)), True, "since no judgement of 2 drafts can be read"),
        (((None, 1), (None, 4)), True, "though 1 of 2 judged drafts fail"),
        (
            ((None, 1), (None, 4)),
            False,
            "1 of 2 judged drafts fail, and all .* at their token limit",
        ),
    ],
)
def test_why_nothing_was_searched(
    judged: tuple[tuple[None, int | None], ...], cut_drafts: bool, reason: str, tmp_path: Path
) -> None:
    """Without a search the drafts say why, and no lower minimum is offered, which is 1 already or would not do."""
    search = write_run(tmp_path / "search")
    (search / "trees.jsonl").touch()
    settings = BuildSettings(
        out=tmp_path / "out",
        search=search,
        drafts=write_run(tmp_path / "drafts", make_tree(*judged)),
        cut_drafts=cut_drafts,
        is_trained=True,
    )
    with pytest.raises(UsageError, match=reason) as caught:
        build(settings)
    assert str(caught.value).endswith(", and 1 are required; run more prompts")
    assert caught.value.change == ""


def test_a_folder_with_runs_below_it_is_named(runs: BuildSettings, tmp_path: Path) -> None:
    """A loop, or the folder of an evaluation, is not the run; the error has those that may be meant."""
    loop = tmp_path / "loop"
    assert runs.search is not None and runs.drafts is not None
    for number in (1, 2):
        for name, source in (("search", runs.search), ("judge", runs.drafts)):
            shutil.copytree(source, loop / f"iteration-{number}" / name)
    with pytest.raises(
        UsageError,
        match=f"--search {loop}: it holds no run; give one of {loop}/iteration-1/search, {loop}/iteration-2/search$",
    ):
        build(replace(runs, search=loop))
    shutil.rmtree(loop / "iteration-2")
    manifest = Manifest(spar_version="1", config={"begins": {}})
    (loop / MANIFEST).write_text(manifest.model_dump_json())
    with pytest.raises(
        UsageError, match=f"it holds a training loop; give {loop}/iteration-1/search$"
    ):
        build(replace(runs, search=loop))
    with pytest.raises(
        UsageError, match=f"--drafts {loop}: it holds .* give {loop}/iteration-1/judge$"
    ):
        build(replace(runs, drafts=loop))
    shutil.rmtree(loop / "iteration-1" / "search")
    with pytest.raises(UsageError, match=r"a training loop; give a run directory of searches$"):
        build(replace(runs, search=loop))
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(UsageError, match=r"it holds no run; give a run directory of searches$"):
        build(replace(runs, search=empty))


def test_too_few_pairs_are_an_error(runs: BuildSettings, tmp_path: Path) -> None:
    """Too few is an error with both numbers, and writes nothing."""
    unsolved = make_tree((None, 1), (0, 1), prompt_id="unsolved")
    search = write_run(tmp_path / "few", *searches(2), unsolved)
    with pytest.raises(
        UsageError,
        match=r"few: 2 of 3 trees turned .* 3 are required; run more .* lower --min-pairs to 2 or less$",
    ) as caught:
        build(replace(runs, search=search, min_pairs=3))
    assert caught.value.change == "min_pairs=2"
    assert not runs.out.exists()
    assert build(replace(runs, search=search, min_pairs=2)).possible_pairs == 2
    lone = write_run(tmp_path / "lone", draft_tree(5))
    with pytest.raises(
        UsageError, match="0 of 1 trees have a passing and a failing draft, and 1"
    ) as caught:
        build(replace(runs, drafts=lone, pairs="independent"))
    assert caught.value.change == ""


def test_a_refiner_without_an_example_is_an_error_before_any_training(
    runs: BuildSettings, tmp_path: Path
) -> None:
    """With the reason, and without its training as the way on; a build that no training follows has an empty file."""
    agreed = [make_tree((None, 0), (None, 5), prompt_id=f"p{i}") for i in range(3)]
    unsolved = make_tree((None, 0), (0, 0), prompt_id="p0")
    settings = replace(
        runs,
        search=write_run(tmp_path / "none", unsolved),
        drafts=write_run(tmp_path / "agreed", *agreed),
        pairs="independent",
        is_trained=True,
    )
    said = "no example to learn: none of 1 searches .* of 8 judgements 0 are split"
    with pytest.raises(UsageError, match=said) as caught:
        build(settings)
    assert caught.value.change == "methods=[dpo]"
    assert not runs.out.exists()
    with pytest.raises(UsageError, match=r"or leave its training out$") as caught:
        build(replace(settings, methods=("rft",)))
    assert caught.value.change == ""
    assert build(replace(settings, methods=("dpo",))).pairs.pairs == 3
    assert build(replace(settings, is_trained=False)).examples == {}
    answers = replace(settings, methods=("rft",), own_answers=True)
    assert build(answers).answers == 3


def test_a_run_without_trees_is_counted_as_such(runs: BuildSettings, tmp_path: Path) -> None:
    """As where every draft passes, so that there is nothing to search from."""
    settings = replace(runs, search=write_run(tmp_path / "none"), methods=("rft", "sft"))
    report = build(settings)
    assert (report.runs["search"].trees, report.runs["search"].votes.judgements) == (0, 0)
    assert report.examples == {"draft_no": 6, "draft_yes": 6}


def draft_tree(num_yes: int) -> SearchTree:
    """A lone draft."""
    return tree_of(draft(num_yes))


def test_most_pairs(runs: BuildSettings) -> None:
    """A limit draws by the seed, and says how many there were."""
    report = build(replace(runs, max_pairs=2))
    assert (report.pairs.pairs, report.possible_pairs) == (2, 6)
    few = [pair.prompt_id for pair in read_pairs(runs.out / "dpo.jsonl")]
    build(runs)
    assert [pair.prompt_id for pair in read_pairs(runs.out / "dpo.jsonl")][:2] == few


def test_the_runs_own_templates_are_used(runs: BuildSettings, tmp_path: Path) -> None:
    """Those that the run names; where they changed since, the digests tell and nothing is built."""
    folder = tmp_path / "templates"
    folder.mkdir()
    (folder / "judge.txt").write_text("Judge {response} by {instruction}\n### Verification")
    search = write_run(tmp_path / "own", *searches(3), templates=folder)
    build(replace(runs, search=search, drafts=None))
    examples = list(read_examples(runs.out / "rft.jsonl"))
    assert {example.messages[0].content.split(" by ")[0] for example in examples} == {
        "Judge r0",
        "Judge r1",
        "Judge r2",
    }
    with pytest.raises(UsageError, match=r"no judge\.txt or refine\.txt"):
        build(replace(runs, search=search, drafts=None, templates=tmp_path))
    (folder / "judge.txt").write_text("{response} {instruction}")
    load.cache_clear()
    with pytest.raises(UsageError, match=r"own was run with another judge.txt .*--templates"):
        build(replace(runs, search=search, drafts=None))


def test_other_templates_are_rejected(runs: BuildSettings) -> None:
    """A digest that is not the templates' own stops the build before anything is read."""
    assert runs.search is not None
    path = runs.search / MANIFEST
    manifest = json.loads(path.read_text())
    manifest["templates"]["refine"] = "0123456789abcdef"
    path.write_text(json.dumps(manifest))
    with pytest.raises(UsageError, match=r"another refine.txt \(digest 0123456789abcdef\)"):
        build(runs)


def spoil_twice(directory: Path) -> None:
    lines = (directory / "trees.jsonl").read_bytes().splitlines(keepends=True)
    (directory / "trees.jsonl").write_bytes(b"".join([*lines, lines[0]]))


def spoil_line(directory: Path) -> None:
    data = (directory / "trees.jsonl").read_bytes()
    (directory / "trees.jsonl").write_bytes(b"{\n" + data)


def spoil_manifest(directory: Path) -> None:
    (directory / MANIFEST).unlink()


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (spoil_twice, "'p0' has two trees"),
        (spoil_line, "trees.jsonl:1 is corrupt"),
        (spoil_manifest, "cannot read .*run.json"),
    ],
)
def test_a_corrupt_run(runs: BuildSettings, spoil: Callable[[Path], None], complaint: str) -> None:
    """What is wrong with it is said; nothing is built out of the rest."""
    assert runs.search is not None
    spoil(runs.search)
    with pytest.raises(UsageError, match=complaint):
        build(runs)
    assert not runs.out.exists()


def test_unknown_quotas(runs: BuildSettings) -> None:
    """The accepted names are told."""
    with pytest.raises(UsageError, match=r"unknown quotas 'fair'.*balanced, official"):
        build(replace(runs, quotas="fair"))


def test_texts_without_utf8_form_are_excluded(tmp_path: Path) -> None:
    """A lone surrogate cannot be learnt; what it stands in is counted and dropped."""
    odd = make_tree(*SOLVED, prompt_id="odd")
    nodes = (*odd.nodes[:2], odd.nodes[2].model_copy(update={"response": "a\ud800"}))
    search = write_run(tmp_path / "s", *searches(2), tree_of(*nodes, prompt_id="odd"))
    report = build(BuildSettings(tmp_path / "out", search=search))
    assert report.possible_pairs == 2
    assert report.without_tokens == 3  # the pair, the refinement, the judgement of it
    assert report.examples == {"refine": 2, "tree_no": 2, "tree_yes": 2}
    assert (tmp_path / "out" / "dpo.jsonl").read_bytes().isascii()


def test_notes(tmp_path: Path) -> None:
    """What a reader must know: no split votes, a rule that casts fewer, a mix without a balance."""
    agreed = [make_tree((None, 0), (0, 5), prompt_id=f"p{i}") for i in range(2)]
    search = write_run(tmp_path / "s", *agreed, vote_rule="race")
    notes = "\n".join(build(BuildSettings(tmp_path / "out", search=search)).notes)
    assert "'race'" in notes
    assert "no judgement was split" in notes
    assert "no judgement is selected" in notes


def test_the_report_is_written_last(runs: BuildSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """While files are replaced there is none; a disk that fails leaves none."""
    build(runs)

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("spar.train.build.export", full)
    with pytest.raises(RunStopped, match=r"No space left.*build again"):
        build(runs)
    with pytest.raises(UsageError, match=r"no finished build \(build.json\)"):
        read_report(runs.out)


def test_missing_packages_are_an_early_error(
    runs: BuildSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before a run is opened."""
    monkeypatch.setitem(sys.modules, "rapidfuzz.distance", None)
    with pytest.raises(MissingExtra, match="rapidfuzz"):
        build(replace(runs, search=runs.out / "nowhere"))


def test_a_scan_holds_no_texts(tmp_path: Path) -> None:
    """Reading 40 trees of 200,000 characters a node takes the memory of a few trees."""
    size, num = 200_000, 40

    def large(index: int) -> SearchTree:
        tree = make_tree(*SOLVED, prompt_id=f"p{index}")
        nodes = [n.model_copy(update={"response": n.response + "x" * size}) for n in tree.nodes]
        return tree_of(*nodes, prompt_id=f"p{index}")

    search = write_run(tmp_path / "s", *map(large, range(num)))
    settings = BuildSettings(tmp_path / "out", search=search)
    sources = open_sources(settings)
    tracemalloc.start()
    found = scan_sources(sources, settings)
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(found.pairs) == num
    assert kept < size
    assert peak < 12 * 3 * size


def run_module(*flags: str) -> subprocess.CompletedProcess[str]:
    """`python -m spar.train.build` with these flags."""
    command = [sys.executable, "-m", "spar.train.build", *flags]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_the_command(runs: BuildSettings) -> None:
    """It builds the same as the function; a user error is one line and exit code 2."""
    flags = ["--search", str(runs.search), "--drafts", str(runs.drafts), "--out", str(runs.out)]
    done = run_module(*flags, "--export", "jsonl", "--quotas", "official", "--seed", "3")
    assert done.returncode == 0, done.stderr
    assert "pairs: 6 of 6 (refined)" in done.stdout
    by_hand = build(replace(runs, quotas="official", seed=3, out=runs.out.with_name("o")))
    assert BuildReport.model_validate_json((runs.out / BUILD_REPORT).read_text()) == by_hand
    for bad, why in (
        (("--max-pairs", "0"), "0 is below 1"),
        (("--length-control", "0.5"), "0.5 is not in 0 to below 0.5"),
        (("--max-pairs", "3", "--min-pairs", "5"), "at most 3 pairs are to be drawn, and 5"),
    ):
        refused = run_module(*flags, *bad)
        assert refused.returncode == 2 and why in refused.stderr
    wrong = run_module(*flags, "--min-pairs", "7")
    assert wrong.returncode == 2
    assert wrong.stderr.startswith("spar: ")
    assert "7 are required" in wrong.stderr
    assert wrong.stderr.count("\n") == 1


async def sampled_runs(folder: Path, num: int) -> BuildSettings:
    """Drafts of a scripted model, judged, and a search from a failing draft of each prompt."""
    from spar.store import RunStore
    from spar.train.data.pairs import failing_draft

    prompts = [make_prompt(f"Write line {i}.", f"p{i}") for i in range(num)]
    roles = real_roles(FakeEngine(World(yes=0.6)))
    write_run(folder / "drafts")
    write_run(folder / "search")
    manifest = read_manifest(folder / "drafts")
    best_of = make_settings("best-of-n", budget=Budget(5))
    with RunStore.open(folder / "drafts", manifest) as store:
        await decode(prompts, roles, best_of, store, summary=Summary())
    roots = {
        tree.prompt.id: root
        for tree in read_trees(folder / "drafts")
        if (root := failing_draft(tree, 0))
    }

    async def given(prompt: Prompt) -> tuple[Node, ...]:
        return (roots[prompt.id].model_copy(update={"id": 0}),)

    failing: list[Prompt] = [prompt for prompt in prompts if prompt.id in roots]
    settings: SearchSettings = make_settings("bfs")
    with RunStore.open(folder / "search", manifest) as store:
        await decode(failing, roles, settings, store, summary=Summary(), roots=given)
    return BuildSettings(folder / "out", folder / "search", folder / "drafts", export="jsonl")


async def test_from_drafts_to_data(tmp_path: Path) -> None:
    """The whole way with a scripted model: every example's origin holds what the example says."""
    settings = await sampled_runs(tmp_path, 60)
    report = build(settings)
    trees = {
        run: {tree.prompt.id: tree for tree in read_trees(tmp_path / run)}
        for run in ("search", "drafts")
    }
    pairs = list(read_pairs(settings.out / "dpo.jsonl"))
    assert len(pairs) == report.runs["search"].solved > 20
    for pair in pairs:
        tree = trees[pair.run][pair.prompt_id]
        assert pair.chosen == tree.nodes[pair.chosen_node].response == tree.answer
        assert pair.rejected == tree.nodes[pair.rejected_node].response
        assert any(n.response == pair.rejected for n in trees["drafts"][pair.prompt_id].nodes)
    examples = list(read_examples(settings.out / "rft.jsonl"))
    assert {example.kind for example in examples} == {"refine", "tree", "draft"}
    for example in examples:
        node = trees[example.run][example.prompt_id].nodes[example.node]
        assert node.judgement is not None
        assert node.score == example.score
        if example.kind != "refine":
            assert example.messages[-1].content == node.judgement.critique
    assert report.yes_share == 0.5


def test_a_judgement_counts_once_for_each_response(tmp_path: Path) -> None:
    """Two drafts in the same words have one judgement, which is learnt once."""
    twice = draft(2, "same"), draft(2, "same").model_copy(update={"id": 1})
    other = draft(3, "other").model_copy(update={"id": 2})
    passing = draft(5, "good").model_copy(update={"id": 3, "judgement": make_judgement(5)})
    sampled = write_run(tmp_path / "d", tree_of(*twice, other, passing))
    settings = BuildSettings(tmp_path / "out", drafts=sampled, pairs="independent")
    report = build(settings)
    assert report.possible_examples == {"draft_no": 2, "draft_yes": 1}
    assert report.examples == {"draft_no": 1, "draft_yes": 1}
    assert report.runs["drafts"].votes.judgements == 3


def test_both_kinds_of_pairs(runs: BuildSettings) -> None:
    """A pair of either kind for each prompt; each kind is measured, and the rest stays as it was."""
    refined = build(runs)
    report = build(replace(runs, pairs="both"))
    assert (report.pairs.pairs, report.possible_pairs) == (12, 12)
    assert {run: of_run.pairs for run, of_run in report.pairs_by_run.items()} == {
        "search": 6,
        "drafts": 6,
    }
    assert report.pairs_by_run["search"] == refined.pairs
    assert report.files["rft.jsonl"] == refined.files["rft.jsonl"]
    pairs = list(read_pairs(runs.out / "dpo.jsonl"))
    assert {(pair.run, pair.prompt_id) for pair in pairs} == {
        (run, f"p{i}") for run in ("search", "drafts") for i in range(6)
    }
    assert [pair.run for pair in pairs] != sorted((pair.run for pair in pairs), reverse=True)
    assert any("12 of 12 (both: search 6, drafts 6)" in x for x in summary_lines(report, runs.out))
    with pytest.raises(
        UsageError, match=r"search: 6 of 6 trees turned .*drafts: 6 of 6 trees have"
    ):
        build(replace(runs, pairs="both", min_pairs=13))


@pytest.mark.parametrize(
    ("method", "files", "counts"),
    [("dpo", {"dpo.jsonl"}, (6, 0)), ("rft", {"rft.jsonl"}, (0, 18))],
)
def test_data_of_one_training(
    method: str, files: set[str], counts: tuple[int, int], runs: BuildSettings
) -> None:
    """Only its file is written; pairs are not required where no actor learns from them."""
    report = build(replace(runs, methods=(method,), min_pairs=6))
    assert report.files.keys() == files
    assert {path.name for path in runs.out.iterdir()} == {*files, BUILD_REPORT}
    assert (report.pairs.pairs, sum(report.examples.values())) == counts
    assert report.notes == ()
    if method == "rft":
        build(replace(runs, methods=(method,), min_pairs=100))


def test_pairs_alone_need_no_searches(runs: BuildSettings) -> None:
    """Two drafts make a pair without a run of searches."""
    settings = replace(runs, methods=("dpo",), pairs="independent", search=None)
    assert build(settings).pairs.pairs == 6
