"""spar: inference scaling and self-improvement of instruction following by tree-search refinement.

    import spar

    tree = spar.search("Write two lines about rain.", model="Qwen/Qwen2.5-7B-Instruct", budget=15)
    print(tree.answer)

`docs/api.md` documents every name below. Names are imported when they are first used, so `import spar` is fast.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from spar.api import Evaluation as Evaluation
    from spar.api import compare as compare
    from spar.api import compare_async as compare_async
    from spar.api import decode as decode
    from spar.api import decode_async as decode_async
    from spar.api import evaluate as evaluate
    from spar.api import evaluate_async as evaluate_async
    from spar.api import open_session as open_session
    from spar.api import read_trees_async as read_trees_async
    from spar.api import search as search
    from spar.api import search_async as search_async
    from spar.api import sweep as sweep
    from spar.api import sweep_async as sweep_async
    from spar.api import train as train
    from spar.api import train_async as train_async
    from spar.errors import ConfigChanged as ConfigChanged
    from spar.errors import EngineError as EngineError
    from spar.errors import PromptTooLong as PromptTooLong
    from spar.errors import RunStopped as RunStopped
    from spar.errors import SparError as SparError
    from spar.errors import UsageError as UsageError
    from spar.eval.benchmark import Benchmark as Benchmark
    from spar.eval.benchmark import BenchmarkSpec as BenchmarkSpec
    from spar.eval.benchmark import JobOutputs as JobOutputs
    from spar.infer.engine import Completion as Completion
    from spar.infer.engine import Deployment as Deployment
    from spar.infer.engine import Engine as Engine
    from spar.infer.engine import EngineSpec as EngineSpec
    from spar.infer.engine import Request as Request
    from spar.infer.engine import Sampling as Sampling
    from spar.infer.engine import StructuredOutputs as StructuredOutputs
    from spar.infer.judges import JudgeSettings as JudgeSettings
    from spar.infer.judges import JudgeSpec as JudgeSpec
    from spar.infer.roles import AttemptFailed as AttemptFailed
    from spar.infer.roles import Generation as Generation
    from spar.infer.roles import Judge as Judge
    from spar.infer.roles import RefinerProtocol as RefinerProtocol
    from spar.infer.roles import RefinerSpec as RefinerSpec
    from spar.infer.strategy import Expand as Expand
    from spar.infer.strategy import Plan as Plan
    from spar.infer.strategy import SearchConfig as SearchConfig
    from spar.infer.strategy import Strategy as Strategy
    from spar.infer.strategy import StrategySpec as StrategySpec
    from spar.listener import Activity as Activity
    from spar.listener import AttemptProgress as AttemptProgress
    from spar.listener import Listener as Listener
    from spar.progress import PlainProgress as PlainProgress
    from spar.progress import ProgressBar as ProgressBar
    from spar.record.evaluation import Example as Example
    from spar.record.evaluation import Results as Results
    from spar.record.evaluation import Scored as Scored
    from spar.run.decoding import DecodeResult as DecodeResult
    from spar.run.interactive import Session as Session
    from spar.store import read_trees as read_trees
    from spar.train_runner import TrainResult as TrainResult
    from spar.types import Fault as Fault
    from spar.types import Finding as Finding
    from spar.types import Judgement as Judgement
    from spar.types import Message as Message
    from spar.types import Node as Node
    from spar.types import Prompt as Prompt
    from spar.types import SearchTree as SearchTree
    from spar.types import Usage as Usage

_MODULES = {
    "spar.api": (
        "Evaluation compare compare_async decode decode_async evaluate evaluate_async "
        "open_session read_trees_async search search_async sweep sweep_async train train_async"
    ),
    "spar.errors": "ConfigChanged EngineError PromptTooLong RunStopped SparError UsageError",
    "spar.eval.benchmark": "Benchmark BenchmarkSpec JobOutputs",
    "spar.infer.engine": "Completion Deployment Engine EngineSpec Request Sampling StructuredOutputs",
    "spar.infer.judges": "JudgeSettings JudgeSpec",
    "spar.infer.roles": "AttemptFailed Generation Judge RefinerProtocol RefinerSpec",
    "spar.infer.strategy": "Expand Plan SearchConfig Strategy StrategySpec",
    "spar.listener": "Activity AttemptProgress Listener",
    "spar.progress": "PlainProgress ProgressBar",
    "spar.record.evaluation": "Example Results Scored",
    "spar.run.decoding": "DecodeResult",
    "spar.run.interactive": "Session",
    "spar.store": "read_trees",
    "spar.train_runner": "TrainResult",
    "spar.types": "Fault Finding Judgement Message Node Prompt SearchTree Usage",
}
_HOME = {name: module for module, names in _MODULES.items() for name in names.split()}

__all__ = sorted(_HOME)


class _Package(ModuleType):
    """The package `spar`, in which the name `train` is both the subpackage and the function."""

    @property
    def train(self) -> ModuleType:
        """The subpackage `spar.train`, which `spar.api` makes callable."""
        import_module("spar.api")
        return sys.modules["spar.train"]

    @train.setter
    def train(self, module: ModuleType) -> None:
        """Set by the import system; read from `sys.modules`."""


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'spar' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
