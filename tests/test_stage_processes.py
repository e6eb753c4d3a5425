"""Which stages run as forks, and when the process that is forked starts and ends."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from spar import stage_processes as module
from spar.errors import RunStopped
from spar.files import replace_json
from spar.fork_server import ForkServer
from spar.stage_processes import may_fork, stage_processes
from spar.subprocesses import WATCHED
from spar.train.loop import loop_pipeline
from spar.train.recipe import load_train
from spar.train.stage import Stage

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="for Linux")


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without one."""
    monkeypatch.setattr(module, "may_see_gpu", lambda: False)


def stages(folder: Path, *changes: str) -> dict[str, Stage]:
    """Those of a loop of one iteration, by their titles."""
    config = load_train("nano", {"iterations": 1}, changes)
    return {stage.title: stage for stage in loop_pipeline(config, folder).stages}


@pytest.mark.parametrize(
    ("changes", "fresh"),
    [
        ([], ""),
        (["decode.engine=hf"], ""),
        (["decode.engine=fake"], ""),
        (["decode.engine=vllm"], "1/draft 1/judge 1/search"),
        (["eval.engine=vllm"], "0/eval 1/eval"),
        (["decode.replicas=2"], "1/draft 1/judge 1/search"),
        (["decode.ray_address=auto"], "1/draft 1/judge 1/search"),
        (["dpo.deepspeed=zero1"], "1/dpo"),
    ],
)
def test_stages_whose_fork_would_differ_are_processes_of_their_own(
    changes: list[str], fresh: str, tmp_path: Path
) -> None:
    """Engines with other packages, several replicas, a DeepSpeed training."""
    titles = [
        title for title, stage in stages(tmp_path, *changes).items() if not may_fork(stage.spec)
    ]
    assert titles == fresh.split()


def test_nothing_forks_where_torch_may_see_a_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor outside Linux."""
    every = stages(tmp_path).values()
    assert all(may_fork(stage.spec) for stage in every)
    monkeypatch.setattr(module, "may_see_gpu", lambda: True)
    assert not any(may_fork(stage.spec) for stage in every)
    monkeypatch.setattr(module, "may_see_gpu", lambda: False)
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not any(may_fork(stage.spec) for stage in every)


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, dict[str, str]]]:
    """What would be run: the stage, how, and its variables."""
    ran: list[tuple[str, str, dict[str, str]]] = []

    def note(how: str, parts: Sequence[str], environment: Mapping[str, str]) -> int:
        ran.append((Path(parts[-1]).name.split(".")[0], how, dict(environment)))
        return 0

    class Server(ForkServer):
        is_running = False

        def run_child(self, parts: Sequence[str], *_: Any, **more: Any) -> int:
            self.is_running = True
            return note("fork", parts, more["environment"])

        def close(self) -> None:
            ran.append(("", "closed", {}))

    monkeypatch.setattr(module, "ForkServer", Server)
    run_child = lambda parts, *_, **more: note("process", parts, more["environment"])  # noqa: E731
    monkeypatch.setattr(module, "run_child", run_child)
    return ran


@pytest.mark.parametrize(
    ("changes", "order", "hows"),
    [
        ([], "build draft build dpo", "process fork fork fork closed"),
        (["decode.engine=fake"], "draft dpo draft", "process fork fork closed"),
        (["decode.judge_url=[http://h/v1]"], "judge draft judge", "process fork fork closed"),
        (["decode.engine=vllm"], "draft dpo draft", "process fork process closed"),
        (["dpo.deepspeed=zero1"], "dpo draft dpo", "process fork process closed"),
    ],
)
def test_the_first_stage_that_loads_a_model_starts_the_server(
    changes: list[str],
    order: str,
    hows: str,
    tmp_path: Path,
    ran: list[tuple[str, str, dict[str, str]]],
) -> None:
    """Others use it once it runs; either way a stage has its variables."""
    of_loop = stages(tmp_path, *changes)
    with stage_processes({"OF_STAGES": "1"}) as execute:
        for name in order.split():
            stage = of_loop[f"1/{name}"]
            stage.home.mkdir(exist_ok=True)
            replace_json(stage.spec_file, stage.spec.stored())
            execute(stage, lambda: None)
    assert [name for name, *_ in ran] == [*order.split(), ""]
    assert [how for _, how, _ in ran] == hows.split()
    assert all(variables == {"OF_STAGES": "1", WATCHED: "1"} for *_, variables in ran[:-1])


def test_the_server_ends_with_the_block_whatever_the_way(
    tmp_path: Path, ran: list[tuple[str, str, dict[str, str]]]
) -> None:
    """An error of a stage, an interrupt."""
    for error in (RunStopped("the disk is full"), KeyboardInterrupt()):
        ran.clear()
        with pytest.raises(type(error)), stage_processes():
            raise error
        assert ran == [("", "closed", {})]
