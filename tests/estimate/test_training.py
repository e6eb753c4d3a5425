"""What a loop will take, before it begins: counts, steps, disk and memory, worked out by hand."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from spar.errors import UsageError
from spar.estimate import preflight as checks
from spar.estimate import training as train_estimate
from spar.estimate.fit import Resources, format_bytes, processes_of
from spar.estimate.memory import Machine, Processes
from spar.estimate.training import Estimate, check_disk, estimate, estimate_on, lines
from spar.store import MANIFEST
from spar.train.loop import _manifest
from spar.train.loop_stages import Origin, loop_stages
from spar.train.recipe import load_train
from spar.train.settings import LaunchSettings
from spar.train.specs import TrainingSpec

GIB = 1 << 30
LLAMA3_8B: dict[str, Any] = {
    "vocab_size": 128256,
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
}
LLAMA3_70B = LLAMA3_8B | {
    "hidden_size": 8192,
    "intermediate_size": 28672,
    "num_hidden_layers": 80,
    "num_attention_heads": 64,
}
ONE_BENCHMARK = "benchmarks=[{benchmark: nano-if}]"
LAPTOP = Resources(Machine((), 8 * GIB), Processes(1))


def gpus(number: int, memory: int = 900, processes: int | None = None) -> Resources:
    """Free GPUs of 79 GiB, so much memory in GiB, and a process a GPU."""
    return Resources(Machine((79 * GIB,) * number, memory * GIB), Processes(processes or number))


def loop(recipe: str = "nano", *sets: str, run: Path = Path("/nowhere/run")) -> Any:
    """A loop's settings and its stages."""
    config = load_train(recipe, {}, sets)
    return config, loop_stages(config, run, Origin.of_config(config))


def estimate_of(
    resources: Resources, recipe: str = "nano", *sets: str, known: int | None = None
) -> Estimate:
    """The estimate of a whole loop."""
    config, stages = loop(recipe, *sets)
    return estimate_on(config, stages, known, resources)


def estimate_here(*sets: str) -> Estimate:
    """The estimate of a whole loop on this machine."""
    config, stages = loop("nano", *sets)
    return estimate(config, stages, None)


def model(folder: Path, shape: dict[str, Any]) -> str:
    """A folder with a configuration only; its name for `--set`."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(shape))
    return f"decode.model={folder}"


def fit_of(found: Estimate, begin: str) -> str:
    """The line on whether something fits."""
    return next(line for line in found.fits if line.startswith(begin))


def test_generations_are_upper_bounds() -> None:
    """40 prompts: 5 drafts each with 5 votes; 3 + 6 + 6 refinements each, with 5 votes."""
    sets = ("iterations=1", "prompts_per_iteration=40", "measure_start=false", ONE_BENCHMARK)
    found = estimate_of(LAPTOP, "nano", *sets)
    counts = found.counts
    assert (counts.drafts, counts.draft_votes) == (200, 1000)
    assert (counts.refinements, counts.search_votes) == (600, 3000)
    assert (found.prompts, counts.evaluations) == (40, 1)
    assert found.stages == tuple(f"1/{n}" for n in "draft judge search build dpo rft eval".split())


class Case(NamedTuple):
    sets: tuple[str, ...]
    refinements: int
    votes: int


@pytest.mark.parametrize(
    "case",
    [
        Case(
            ("decode.budget=100",), 150, 750
        ),  # the tree ends before the budget: 15 below the root
        Case(("decode.budget=7",), 70, 350),
        Case(("decode.strategy=dfs", "decode.budget=30"), 210, 1050),  # 21 below the root
        Case(("search.strategy=iterative", "search.budget=4"), 40, 200),
        Case(("decode.judge=verifier",), 150, 0),
        Case(("decode.judge=logprob",), 150, 150),
        Case(("decode.votes=3",), 150, 450),
    ],
)
def test_the_root_of_a_search_is_free(case: Case) -> None:
    """Ten prompts, a failing draft of each at the root, which is free."""
    wide = ("iterations=1", "prompts_per_iteration=10", *case.sets)
    counts = estimate_of(LAPTOP, "nano", *wide).counts
    assert (counts.refinements, counts.search_votes) == (case.refinements, case.votes)


def test_steps_follow_from_pairs_and_quotas() -> None:
    """400 pairs in 32s are 13 steps a pass. Of 400 prompts come 400 refinements and 2,400 judgements each
    way at most: 5,200 examples, 163 steps of 32."""
    sets = ("iterations=2", "prompts_per_iteration=400", "dpo.batch=32", "rft.batch=32")
    counts = estimate_of(LAPTOP, "nano", *sets, "dpo.epochs=3", "rft.epochs=2").counts
    assert (counts.steps["dpo"], counts.steps["rft"]) == (2 * 13 * 3, 2 * 163 * 2)
    fewer = estimate_of(
        LAPTOP, "nano", *sets, "dpo.epochs=1", "max_pairs=64", "rft.max_steps=7"
    ).counts
    assert (fewer.steps["dpo"], fewer.steps["rft"]) == (2 * 2, 2 * 7)


def test_the_papers_quotas_bound_the_refiner() -> None:
    """10,000 prompts: 4,000 + 1,500 + 1,000 + 2,500 + 500 examples as coded, 9,500 balanced: 149 steps of 64."""
    for quotas in ("official", "balanced"):
        found = estimate_of(gpus(8), "llama3-8b", "iterations=1", f"quotas={quotas}")
        assert found.counts.steps["rft"] == 3 * 149
        assert found.counts.steps["dpo"] == 313


def test_built_data_are_counted(tmp_path: Path) -> None:
    """A training whose pairs are there has as many steps as they make."""
    config, stages = loop("nano", "dpo.batch=4", "dpo.micro_batch=4", "dpo.epochs=2", run=tmp_path)
    training = next(stage for stage in stages if stage.title == "1/dpo")
    assert isinstance(training.spec, TrainingSpec)
    data = Path(training.spec.settings.data)
    data.parent.mkdir(parents=True)
    data.write_text("{}\n" * 10)
    assert estimate_on(config, [training], None, LAPTOP).counts.steps["dpo"] == 6


def test_a_file_with_fewer_prompts_bounds_an_iteration() -> None:
    """300 prompts per iteration from a file of 20 are 20; all at once, three iterations' prompts are one's."""
    assert estimate_of(LAPTOP, "nano", "prompts_per_iteration=300", known=20).prompts == 20
    whole = estimate_of(LAPTOP, "nano", "prompts_per_iteration=300", "iterative=false", known=5000)
    assert (whole.prompts, whole.counts.drafts) == (900, 4500)


def test_the_embedded_model_fits_a_laptop() -> None:
    """2,472,000 parameters in fp32: 16 bytes each to train, 4 more for DPO's reference."""
    found = estimate_of(LAPTOP)
    assert "2.5 M parameters" in fit_of(found, "inference")
    assert fit_of(found, "training (dpo").endswith("47 MiB of memory, 8.0 GiB free: fits")
    assert fit_of(found, "training (rft").endswith("38 MiB of memory, 8.0 GiB free: fits")


def test_8b_under_zero3_over_eight_gpus(tmp_path: Path) -> None:
    """18 / 8 bytes of 8.03 B parameters are 16.83 GiB; 4 bytes of the embedding's 525 M, gathered, 1.96;
    DPO's reference 1.87. To answer: 14.96 GiB in bf16 and a quarter more."""
    found = estimate_of(gpus(8), "llama3-8b", model(tmp_path / "8b", LLAMA3_8B))
    assert "without activations 20.7 GiB of each GPU, 79.0 GiB free: fits" in fit_of(
        found, "training (dpo, full, zero3, 8 processes)"
    )
    assert "without activations 18.8 GiB of each GPU" in fit_of(found, "training (rft")
    assert "8.03 B parameters, with a KV cache 18.7 GiB of each GPU" in fit_of(found, "inference")


def test_disk_space_of_8b(tmp_path: Path) -> None:
    """Six models of 16.06 GB, and three checkpoints of 14 bytes a parameter while one trains."""
    disk = estimate_of(gpus(8), "llama3-8b", model(tmp_path / "8b", LLAMA3_8B)).disk
    parameters = 8_030_261_248
    assert (disk.models, disk.num_models) == (6 * 2 * parameters, 6)
    assert disk.checkpoints == 3 * 14 * parameters
    assert disk.models is not None and disk.checkpoints is not None
    assert disk.total == disk.models + disk.checkpoints + disk.texts
    sets = ("dpo.checkpoint_steps=0", "rft.checkpoint_steps=0", "dpo.save_dtype=fp32")
    spared = estimate_of(gpus(8), "llama3-8b", f"decode.model={tmp_path / '8b'}", *sets).disk
    assert (spared.checkpoints, spared.models) == (0, 3 * 6 * parameters)


def test_only_written_checkpoints_count(tmp_path: Path) -> None:
    """Four steps with one every three are two checkpoints; kept, they stay beside the model."""
    sets = ("iterations=1", "dpo.checkpoint_steps=3", "rft.checkpoint_steps=0", "dpo.max_steps=4")
    keep = estimate_of(LAPTOP, "nano", *sets, "dpo.save_dtype=bf16", "rft.save_dtype=bf16").disk
    assert keep.checkpoints == 2 * 12 * 2_472_000
    assert keep.models == 2 * 2 * 2_472_000
    kept = estimate_of(
        LAPTOP, "nano", *sets, "dpo.keep_checkpoints=true", "dpo.save_dtype=bf16"
    ).disk
    assert kept.models == (2 + 4 + 2 * 12) * 2_472_000


def test_70b_does_not_fit_one_gpu(tmp_path: Path) -> None:
    """141 GB of weights are more than 80, to answer and to train."""
    name = model(tmp_path / "70b", LLAMA3_70B)
    found = estimate_of(gpus(1), "single-80gb", name, "dpo.deepspeed=", "rft.deepspeed=")
    assert "does not fit; spread a copy over more GPUs" in fit_of(found, "inference")
    assert "does not fit; partition it" in fit_of(found, "training (dpo, full)")
    assert "70.55 B parameters" in fit_of(found, "inference")


@pytest.mark.parametrize(("memory", "verdict"), [(2000, "fits"), (1200, "does not fit")])
def test_70b_fits_eight_gpus_with_offloading(tmp_path: Path, memory: int, verdict: str) -> None:
    """18 bytes a parameter are 1,183 GiB, 2 more of the reference 131: all in the machine's memory."""
    found = estimate_of(gpus(8, memory), "llama3-70b", model(tmp_path / "70b", LLAMA3_70B))
    line = fit_of(found, "training (dpo, full, zero3-offload")
    assert "3.9 GiB of each GPU and 1,314 GiB of memory" in line
    assert line.partition(" free: ")[2].startswith(verdict)
    assert "with a KV cache 20.5 GiB of each GPU" in fit_of(found, "inference")


def test_70b_fits_four_machines_without_offloading(tmp_path: Path) -> None:
    """18 / 32 bytes, 36.96 GiB, and 3.92 of the embedding; the reference 4.11."""
    name = model(tmp_path / "70b", LLAMA3_70B)
    sets = (name, "dpo.deepspeed=zero3", "rft.deepspeed=zero3")
    resources = Resources(Machine((79 * GIB,) * 8, 900 * GIB), Processes(32, machines=4))
    line = fit_of(estimate_of(resources, "llama3-70b", *sets), "training (dpo")
    assert "without activations 45.0 GiB of each GPU, 79.0 GiB free: fits" in line


def test_adapters_over_four_bits_fit_24_gb(tmp_path: Path) -> None:
    """Rank 64 over 2,621,440 sides is 168 M numbers of 16 bytes; 6.98 B of the base in 4.127 bits, its ends in 16."""
    resources = Resources(Machine((23 * GIB,), 64 * GIB), Processes(1))
    found = estimate_of(resources, "lora-24gb", model(tmp_path / "8b", LLAMA3_8B))
    # 2.5 + 3.35 + 1.96 GiB
    assert "without activations 7.8 GiB of each GPU, 23.0 GiB free: fits" in fit_of(
        found, "training (dpo, qlora)"
    )
    assert fit_of(found, "inference").endswith("18.7 GiB of each GPU, 23.0 GiB free: fits")
    assert found.disk.checkpoints == 3 * 12 * 64 * 2_621_440


def test_fewer_gpus_than_the_recipe_needs(tmp_path: Path) -> None:
    """Eight copies and eight processes on two GPUs are reported before the start."""
    found = estimate_of(gpus(2, processes=8), "llama3-8b", model(tmp_path / "8b", LLAMA3_8B))
    assert "the engine needs 8, there are 2" in fit_of(found, "inference")
    assert "8 processes need as many, there are 2" in fit_of(found, "training (dpo")


def test_a_missing_model_is_unknown() -> None:
    """Neither memory nor disk space is estimated."""
    found = estimate_of(gpus(8), "llama3-8b")
    assert len(found.fits) == 3
    assert all("unknown: the model is not on this machine yet" in line for line in found.fits)
    assert found.disk.total is None and check_disk(Path("/nowhere"), found) is None
    assert "6 models with their checkpoints, whose size is unknown" in "\n".join(lines(found))


@pytest.mark.parametrize(
    ("recipe", "change"),
    [
        ("humpback", "iterations=1"),
        ("nano", "methods=[rft,sft]"),
        ("nano", "methods=[sft]"),
        ("autoif", "iterations=2"),
    ],
)
def test_a_model_that_any_training_makes_is_as_large_as_what_it_is_trained_from(
    recipe: str, change: str
) -> None:
    """Not that of `dpo` alone: the backward model of a loop that has no other for the actor, and that of `sft`."""
    found = estimate_of(LAPTOP, recipe, change)
    assert fit_of(found, "inference").startswith("inference: 2.5 M parameters, ")
    _, stages = loop(recipe, change)
    trainings = dict.fromkeys(s.name for s in stages if isinstance(s.spec, TrainingSpec))
    lines = [line for line in found.fits if line.startswith("training (")]
    assert [line.split(",")[0].removeprefix("training (") for line in lines] == [*trainings]
    assert all(line.endswith("fits") for line in found.fits)


def test_a_separate_judge_is_loaded_beside_the_refiner(tmp_path: Path) -> None:
    """The search loads both; a judge on a server is not loaded."""
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.json").write_text(json.dumps(LLAMA3_8B))
    both = estimate_of(gpus(1), "nano", f"decode.judge_model={tmp_path / 'other'}")
    assert "2.5 M and 8.03 B" in fit_of(both, "inference").replace(
        "8.03 B and 2.5 M", "2.5 M and 8.03 B"
    )
    served = estimate_of(gpus(1), "nano", "decode.judge_url=['http://host:1/v1']")
    assert "inference: 2.5 M parameters" in fit_of(served, "inference")


def test_toy_prompts_are_noted_for_other_models() -> None:
    """Another model is not trained on nano-if's prompts without a note."""
    assert estimate_of(gpus(8), "llama3-8b").toy_prompts
    assert not estimate_of(LAPTOP, "nano").toy_prompts
    assert not estimate_of(gpus(8), "llama3-8b", "prompts=mine.jsonl").toy_prompts


@pytest.mark.parametrize(
    ("recipe", "sets", "roles"),
    [
        ("nano", ["prompts=mine.jsonl"], ("actor", "refiner")),
        ("nano", ["checkable={n: 50}"], ("actor", "refiner")),
        ("nano", ["prompts=mine.jsonl", "decode.actor_model=/models/a"], ("refiner",)),
        ("nano", ["prompts=mine.jsonl", "decode.refiner=rewrite"], ("actor", "judge")),
        ("nano", ["prompts=mine.jsonl", "decode.model=/models/a"], ()),
        ("nano", [], ()),
        ("self-rewarding", ["prompts=mine.jsonl", "decode.actor_model=/models/a"], ()),
        ("humpback", ["backtranslation.texts=mine.txt"], ("actor", "refiner")),
        ("humpback", [], ()),
    ],
)
def test_prompts_that_the_embedded_model_does_not_know_are_noted(
    recipe: str, sets: list[str], roles: tuple[str, ...]
) -> None:
    """It knows nano-if's alone; the line is that of `spar decode`, or names the role's flag."""
    found = estimate_of(LAPTOP, recipe, *sets)
    assert (found.toy_roles, found.toy_prompts) == (roles, False)
    noted = [line for line in lines(found) if "knows only the small language of nano-if" in line]
    flags = (
        ["--model"] if len(roles) > 1 and "refiner" in roles else [f"--{r}-model" for r in roles]
    )
    assert [line.rpartition(" ")[2] for line in noted] == flags


def test_texts_of_ones_own_are_no_toy_prompts() -> None:
    """A named model that learns from a file of texts does not learn nano-if's language."""
    sets = ("decode.model=/models/a", "backtranslation.texts=mine.txt")
    assert not estimate_of(LAPTOP, "humpback", *sets).toy_prompts


def test_a_loop_that_continues_one_of_the_embedded_model_trains_that(tmp_path: Path) -> None:
    """Also where that one continues another; the toy prompts teach it what they are for."""
    other = f"decode.model={tmp_path / 'model'}"
    for name, start, sets in (("first", "", []), ("second", "first", []), ("other", "", [other])):
        config = load_train("nano", {"start": str(tmp_path / start) if start else ""}, sets)
        (tmp_path / name).mkdir()
        manifest = _manifest(config, Origin("", ""))
        (tmp_path / name / MANIFEST).write_text(manifest.model_dump_json())
    for name, is_toy in (("first", False), ("second", False), ("other", True), ("gone", False)):
        config = load_train("nano", {"start": str(tmp_path / name)})
        assert estimate_on(config, [], None, LAPTOP).toy_prompts is is_toy, name


def test_lines() -> None:
    """One line for each subject."""
    text = lines(estimate_of(LAPTOP, "nano", "prompts_per_iteration=400", ONE_BENCHMARK))
    assert text[0] == "22 stages to run, 0/eval to 3/eval, over 400 prompts per iteration"
    assert text[1] == (
        "generation: 6,000 drafts, 30,000 votes on drafts, in searches at most 18,000 refinements "
        "and 90,000 votes"
    )
    assert text[3] == "evaluation: 4 benchmarks"
    assert [line.partition(" ")[0] for line in text[4:]] == [
        "disk:",
        "inference:",
        "training",
        "training",
    ]
    assert not any("\n" in line for line in text)


def test_finished_stages_are_not_counted() -> None:
    """With a training and an evaluation left, nothing is generated."""
    config, stages = loop("nano", "iterations=1")
    found = estimate_on(config, stages[-2:], None, LAPTOP)
    assert (found.counts.drafts, found.disk.num_models) == (0, 1)
    assert found.counts.steps["dpo"] == 0 and found.counts.steps["rft"] > 0
    assert [line.partition(":")[0] for line in found.fits] == ["training (rft, full)"]
    assert "generation" not in "\n".join(lines(found))
    last = estimate_on(config, stages[-1:], None, LAPTOP)
    assert lines(last)[0].startswith("1 stage to run, 1/eval, over")


def test_a_small_disk_is_a_warning(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The warning has both numbers; a folder that does not exist yet is on its parent's disk."""
    found = estimate_of(LAPTOP)
    needed = found.disk.total
    assert needed is not None
    free = {"free": needed - 1}
    monkeypatch.setattr(shutil, "disk_usage", lambda path: _usage(path, tmp_path, free["free"]))
    warning = check_disk(tmp_path / "a" / "b", found)
    assert warning is not None and format_bytes(needed) in warning and "\n" not in warning
    free["free"] = needed
    assert check_disk(tmp_path / "a" / "b", found) is None


def _usage(path: Path, expected: Path, free: int) -> Any:
    assert path == expected
    return type("Usage", (), {"free": free})


def test_a_hostfile_sets_the_number_of_processes(tmp_path: Path) -> None:
    """Slots are summed over machines; comments are none."""
    hosts = tmp_path / "hosts"
    hosts.write_text("# all\nworker-1 slots=8\nworker-2 slots=4  # half\n\n")
    found = processes_of(LaunchSettings(hostfile=str(hosts)), Machine((), 0))
    assert (found.total, found.machines, found.per_machine) == (12, 2, 6)
    for line in ("worker-1\n", "worker-1 slots=\u00b2\n"):
        hosts.write_text(line, encoding="utf-8")
        with pytest.raises(UsageError, match="names no machine"):
            processes_of(LaunchSettings(hostfile=str(hosts)), Machine((), 0))
    with pytest.raises(UsageError, match="no such file"):
        processes_of(LaunchSettings(hostfile="none"), Machine((), 0))


def test_by_default_one_process_trains_on_each_gpu() -> None:
    """The same number as the launcher starts."""
    four = Machine((GIB,) * 4, GIB)
    assert processes_of(LaunchSettings(), four).total == 4
    assert processes_of(LaunchSettings(processes=2), four).total == 2
    assert processes_of(LaunchSettings(), Machine((), GIB)).total == 1


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        (("dpo.batch=30",), "dpo: batch 30 cannot be divided"),
        (("rft.deepspeed=zero9",), "rft: deepspeed 'zero9': no such file, nor a preset"),
        (("launch.hostfile=none",), "hostfile 'none': no such file"),
        (("search.stratgy=dfs",), "stage 1/search: there is no setting 'stratgy'"),
        (("search.strategy=bsf",), "did you mean 'bfs'"),
        (("decode.engine=vlm",), "unknown engine 'vlm'"),
        (("decode.vote_rule=race", "decode.threshold=0.6"), "search: --vote-rule race stops"),
        (("search.judge=checklist", "search.judge_args={bogus: 1}"), "unknown option of checklist"),
        (("benchmarks=[{benchmark: nano-if}, {benchmark: nano-if}]",), "called 'nano-if'"),
        (
            ("benchmarks=[{benchmark: nano-if, settings: {limt: 3}}]",),
            "benchmark 'nano-if': there is no setting 'limt'",
        ),
        (
            ("benchmarks=[{benchmark: nano-if, settings: {limit: 0}}]",),
            "limit is 0: input should be greater than or equal to 1",
        ),
    ],
)
def test_specifications_are_checked_before_anything_runs(
    sets: tuple[str, ...], message: str
) -> None:
    """Batches, presets, hostfiles, searches and evaluations."""
    with pytest.raises(UsageError) as caught:
        estimate_here(*sets)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_deepspeed_file_that_writes_no_weights_is_refused_before_anything_runs(
    tmp_path: Path,
) -> None:
    """As its trainer would, hours later; adapters are written all the same."""
    path = tmp_path / "zero.json"
    path.write_text('{"zero_optimization": {"stage": 3}}')
    with pytest.raises(UsageError, match=r"^rft: .*zero.json: set zero_optimization.stage3_gather"):
        estimate_here(f"rft.deepspeed={path}")
    assert estimate_here(f"rft.deepspeed={path}", "rft.method=lora").stages


@pytest.fixture
def harness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """lm-eval with one file of tasks."""
    folder = tmp_path / "lm_eval" / "tasks" / "some"
    folder.mkdir(parents=True)
    (folder / "some.yaml").write_text("group: 'some_group'\ntask: [some_task, other-task]\n")
    monkeypatch.setattr(checks, "harness_folders", lambda: [tmp_path / "lm_eval"])
    return folder


@pytest.mark.parametrize("name", ["some_group", "some_task", "other-task"])
def test_a_task_of_lm_eval_is_a_benchmark(harness: Path, name: str) -> None:
    """A name that is not in the table is searched in lm-eval's files."""
    config, stages = loop("nano", f"benchmarks=[{{benchmark: {name}}}]")
    assert estimate(config, stages, None).counts.evaluations == 4


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("nano-fi", "; did you mean 'nano-if'? (accepted: ifeval, "),
        ("some", " (accepted"),
    ],
)
def test_an_unknown_benchmark_is_rejected(harness: Path, name: str, hint: str) -> None:
    """A part of a task's name is not a task."""
    config, stages = loop("nano", f"benchmarks=[{{benchmark: {name}}}]")
    with pytest.raises(UsageError) as caught:
        estimate(config, stages, None)
    assert f"unknown benchmark {name!r}{hint}" in str(caught.value)


def test_an_installed_lm_eval_is_found() -> None:
    """Its package's folder has the tasks."""
    pytest.importorskip("lm_eval")
    (folder,) = checks.harness_folders()
    assert (folder / "tasks").is_dir()


def test_this_machine_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """`estimate` uses the free memory of this machine."""
    monkeypatch.setattr(train_estimate, "read_machine", lambda: Machine((), 30 << 20))
    config, stages = loop()
    assert "does not fit" in fit_of(estimate(config, stages, None), "training (dpo")


def test_the_estimate_imports_nothing_heavy() -> None:
    """The estimate of the default loop imports neither torch nor transformers."""
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from spar.estimate.training import estimate\n"
        "from spar.train.recipe import load_train\n"
        "from spar.train.loop_stages import Origin, loop_stages\n"
        "config = load_train('nano', {})\n"
        "estimate(config, loop_stages(config, Path('x'), Origin.of_config(config)), None)\n"
        "print({'torch', 'transformers', 'vllm', 'lm_eval'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_refinements_by_a_program_are_not_counted_as_a_models() -> None:
    """Nor are votes of a judge that is a program."""
    programs = ("decode.judge=verifier", "search.refiner=rewrite")
    by_model, by_program = estimate_here().counts, estimate_here(*programs).counts
    assert (by_model.program_refinements, by_program.refinements) == (0, 0)
    assert by_program.program_refinements == by_model.refinements > 0
    (line,) = [each for each in lines(estimate_here(*programs)) if each.startswith("generation")]
    assert line.endswith(f"in searches at most {by_model.refinements:,} refinements by a program")
