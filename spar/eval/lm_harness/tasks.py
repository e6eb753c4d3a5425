"""Tasks of lm-eval with their documents: loaded, requested, and scored by lm-eval itself.

Everything here is the preparation of lm-eval's `simple_evaluate`, in its order and with its seeds, and
its `evaluate`; what it prints meanwhile does not reach the terminal.
"""

from __future__ import annotations

import functools
import random
import re
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence, Sized
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TextIO, cast

from spar.config import EvalConfig
from spar.errors import MissingExtra, SparError, UsageError, first_line
from spar.eval.lm_harness.local_data import local_data
from spar.eval.lm_harness.requests import to_chat

FEWSHOT_SEED = 1234
"""lm-eval's own draw of worked examples; a run's seed is added, so that seed 0 gives it."""


@dataclass(frozen=True, slots=True)
class HarnessTasks:
    """One task, or every task of a group or a tag, with the run's settings."""

    tasks: Mapping[str, Any]
    """Name to lm-eval's task."""
    groups: Mapping[str, Any]
    """Name to lm-eval's group."""
    documents: Mapping[str, range]
    """Task to the numbers of its documents that are used; lm-eval looks each number up in it."""
    chat: bool
    """Whether prompts are conversations."""
    seed: int
    """Of the worked examples."""
    fixed_zero_shot: tuple[str, ...] = ()
    """Tasks that show no worked example because they set 0 themselves, where a number was asked for."""

    def requests(self) -> list[Any]:
        """lm-eval's requests of all tasks, in order; one that needs several replies is repeated."""
        with quiet():
            self._reseed()
            return [request for name in self.tasks for request in self._built(name)]

    def evaluate(self, model: Any) -> dict[str, Any]:
        """lm-eval's results and samples for a model.

        Parameters
        ----------
        model:
            An lm-eval model, or an object with its methods.
        """
        from lm_eval.evaluator import evaluate

        with quiet():
            self._reseed()
            results = evaluate(
                model,
                {"tasks": dict(self.tasks), "groups": dict(self.groups)},
                samples=dict(self.documents),
                bootstrap_iters=0,  # standard errors are computed from the examples
                apply_chat_template=self.chat,
                fewshot_as_multiturn=self.chat,
            )
        return dict(results)

    def _reseed(self) -> None:
        _seed_globals()
        for task in self.tasks.values():
            task.set_fewshot_seed(seed=self.seed)

    def _built(self, name: str) -> Iterator[Any]:
        task = self.tasks[name]
        task.build_all_requests(
            samples=self.documents[name],
            rank=0,
            world_size=1,
            apply_chat_template=self.chat,
            fewshot_as_multiturn=self.chat,
            chat_template=to_chat if self.chat else None,
        )
        for instance in task.instances:
            yield from [instance] * (instance.repeats or 1)


def open_tasks(name: str, config: EvalConfig, folder: str = "") -> HarnessTasks:
    """Find a task and read its documents.

    Parameters
    ----------
    name:
        A task, group or tag of lm-eval.
    folder:
        The folder of lm-eval's tasks that has it, which is faster than a search of all; "" for all.

    Raises
    ------
    UsageError
        The task cannot run here, or its data are not available.
    """
    loaded = _load(name, config.data, folder)
    tasks = loaded["tasks"]
    for task_name, task in tasks.items():
        _refuse(task_name, task)
        _set_fewshot(task, config.num_fewshot)
        _check_fewshot(task_name, task, config.num_fewshot)
    sizes = {task_name: len(task.eval_docs) for task_name, task in tasks.items()}
    documents = {n: range(count) for n, count in spread(sizes, config.limit).items() if count}
    return HarnessTasks(
        tasks={task_name: tasks[task_name] for task_name in documents},
        groups=loaded.get("groups") or {},
        documents=documents,
        chat=config.chat_template,
        seed=FEWSHOT_SEED + (config.seed or 0),
        fixed_zero_shot=tuple(
            task_name
            for task_name in documents
            if config.num_fewshot and tasks[task_name].get_config("num_fewshot") == 0
        ),
    )


def is_mentioned(name: str) -> bool:
    """Whether any file of lm-eval's tasks has this name in it, which is known sooner than their index: without one it is no task."""
    word = re.compile(rb"(?<![\w-])" + re.escape(name.encode()) + rb"(?![\w-])")
    return any(word.search(path.read_bytes()) for path in _task_files())


def _task_files() -> Iterator[Path]:
    spec = find_spec("lm_eval")
    for folder in (spec.submodule_search_locations if spec else None) or ():
        yield from Path(folder, "tasks").rglob("*.yaml")


def known_tasks() -> Sequence[str]:
    """Names of all tasks, groups and tags of lm-eval."""
    return tuple(_manager("").all_tasks)


def spread(sizes: Mapping[str, int], limit: int | None) -> dict[str, int]:
    """How many documents of each task are used: all, or so many in all, as evenly as sizes permit."""
    if limit is None:
        return dict(sizes)
    counts, left = dict.fromkeys(sizes, 0), limit
    while left and any(counts[name] < sizes[name] for name in sizes):
        for name in sizes:
            if left and counts[name] < sizes[name]:
                counts[name] += 1
                left -= 1
    return counts


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress logs, progress bars and messages of lm-eval and datasets in this thread; one thread at a time does so."""
    with _QUIET:
        thread = threading.get_ident()
        with (
            redirect_stdout(cast("TextIO", _OfOthers(sys.stdout, thread))),
            redirect_stderr(cast("TextIO", _OfOthers(sys.stderr, thread))),
        ):
            yield


_QUIET = threading.RLock()
"""Two threads would put each other's streams back."""


class _OfOthers:
    """A stream without what one thread writes: the caller's own loop may go on in another."""

    def __init__(self, stream: TextIO, silent: int) -> None:
        self._stream, self._silent = stream, silent

    def write(self, text: str) -> int:
        """Write, or only say so."""
        return len(text) if threading.get_ident() == self._silent else self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@functools.cache
def _manager(folder: str) -> Any:
    try:
        import lm_eval.tasks
    except ImportError as error:
        raise MissingExtra(error.name or "lm_eval", "eval", "a task of lm-eval") from error
    with quiet():
        if not folder:
            return lm_eval.tasks.TaskManager()
        path = Path(lm_eval.tasks.__file__).parent / folder
        return lm_eval.tasks.TaskManager(include_path=str(path), include_defaults=False)


def _load(name: str, data: str, folder: str) -> Mapping[str, Any]:
    manager = _manager(folder)
    try:
        with quiet(), local_data(data):
            _seed_globals()
            loaded: Mapping[str, Any] = manager.load([name])
    except SparError:
        raise
    except Exception as error:  # a task may be third-party code, and raise anything
        raise UsageError(
            f"lm-eval's task {name}: cannot be made ready ({first_line(error)})"
        ) from error
    return loaded


def _refuse(name: str, task: Any) -> None:
    """Raise `UsageError` for a task that runs a model's code or needs more than text."""
    if getattr(task, "UNSAFE_CODE", False):
        raise UsageError(
            f"lm-eval's task {name} runs code that a model wrote, without limits; use spar eval "
            "humaneval, or lm-eval's own command line (python -m spar.eval.lm_harness)"
        )
    if getattr(task, "MULTIMODAL", False):
        raise UsageError(f"lm-eval's task {name} asks about images or sounds; engines read text")


def _check_fewshot(name: str, task: Any, num_fewshot: int | None) -> None:
    """Raise `UsageError` if a task has not as many worked examples as it shall show."""
    if not num_fewshot or task.get_config("num_fewshot") == 0:
        return
    examples = task.fewshot_docs()
    if not isinstance(examples, Sized):
        return
    # Among the test's own documents lm-eval draws one more, to leave out the one that is asked about.
    room = len(examples) - _draws_from_test(task)
    if num_fewshot > room:
        raise UsageError(
            f"--num-fewshot {num_fewshot:,}: lm-eval's task {name} can show {max(room, 0):,} at most, of the "
            f"{len(examples):,} that it draws from; give fewer"
        )


def _draws_from_test(task: Any) -> bool:
    """Whether a document may be among its task's worked examples."""
    if hasattr(task, "fewshot_cfg"):
        return bool(task.fewshot_cfg.split == task.config.test_split)
    return not task.has_training_docs()


def _set_fewshot(task: Any, num_fewshot: int | None) -> None:
    """lm-eval's rule: a task that sets 0 is left at 0, one that sets nothing gets 0 by default."""
    own = task.get_config("num_fewshot")
    if own is None or (num_fewshot is not None and own != 0):
        task.set_config(key="num_fewshot", value=num_fewshot or 0)


def _seed_globals() -> None:
    import numpy as np

    # Some tasks draw while they are loaded or scored; these are lm-eval's seeds.
    random.seed(0)
    np.random.seed(FEWSHOT_SEED)
