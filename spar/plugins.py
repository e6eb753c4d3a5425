"""Plug-ins: strategies, engines, judges, refiners and benchmarks by name.

    name                            found in
    bfs                             the tables below
    ucb                             an entry point `ucb = "spar_ucb:SPEC"` of an installed package
    mypackage.search:ucb            a module that can be imported

A name resolves to a spec (`StrategySpec`, `EngineSpec`, `JudgeSpec`, `RefinerSpec`, `BenchmarkSpec`), or
a plain function, class or object that the kind's `as_spec` wraps with safe defaults. A spec declares what
spar would otherwise have to guess: the roles that a strategy uses, whether an engine is remote, what a
judgement costs, which options there are. Nothing outside the specs tests a plug-in's name.

Names are strings in settings, records and the orders of worker processes, so a plug-in works everywhere a
built-in does. Tables hold "module:attribute" and nothing is imported before it is used.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, MutableMapping
from functools import cache
from importlib import import_module
from inspect import isroutine
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from spar.errors import UsageError, did_you_mean
from spar.plugin_objects import PluginObjects

if TYPE_CHECKING:
    from spar.eval.benchmark import BenchmarkSpec
    from spar.infer.engine import EngineSpec
    from spar.infer.judges import JudgeSpec
    from spar.infer.roles import RefinerSpec
    from spar.infer.strategy import StrategySpec

S = TypeVar("S")

LOADED_MODULES: set[str] = set()
"""Modules outside spar that a name led to: an exception from their code is the plug-in author's."""


class PluginTable(MutableMapping[str, Any], Generic[S]):
    """The plug-ins of one kind, by name. A value is "module:attribute", or the object itself.

    Parameters
    ----------
    kind:
        What they are, in messages: "strategy".
    group:
        The group of entry points that packages add to.
    as_spec:
        "module:attribute" of the function that turns the object behind a name into a spec.
    builtin:
        Name to "module:attribute".
    """

    def __init__(self, kind: str, group: str, as_spec: str, builtin: Mapping[str, str]) -> None:
        self.kind, self.group = kind, group
        self._as_spec = as_spec
        self._targets: dict[str, Any] = dict(builtin)
        self._objects = PluginObjects()

    def __getitem__(self, name: str) -> Any:
        if name in self._targets:
            return self._targets[name]
        return _entry_points(self.group)[name]

    def __setitem__(self, name: str, target: Any) -> None:
        self._targets[name] = target

    def __delitem__(self, name: str) -> None:
        del self._targets[name]

    def __iter__(self) -> Iterator[str]:
        yield from self._targets
        yield from (name for name in _entry_points(self.group) if name not in self._targets)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, name: object) -> bool:
        return name in self._targets or name in _entry_points(self.group)

    def check(self, name: str, option: str = "", more: str = "or module:attribute") -> None:
        """Check a name without importing anything.

        Parameters
        ----------
        option:
            What the message calls the value; "" for the kind.
        more:
            What else is accepted, for the message.

        Raises
        ------
        UsageError
            The name is neither in the table nor of the form `module:attribute`.
        """
        if name not in self._objects and not is_path(name):
            check_name(self, option or self.kind, name, more)

    def spec(self, name: str) -> S:
        """The spec behind a name; imports it.

        Raises
        ------
        UsageError
            There is no such name, module or attribute, or it is not of this kind.
        """
        self.check(name)
        target = self._objects[name] if name in self._objects else self.get(name, name)
        return self.spec_of(load(target, self.kind) if isinstance(target, str) else target)

    def spec_of(self, target: object) -> S:
        """The spec of an object: itself, or what the kind's `as_spec` makes of it.

        Raises
        ------
        UsageError
            The object is not of this kind.
        """
        spec: S = load(self._as_spec, self.kind)(target)
        return spec

    def is_registered(self, name: str) -> bool:
        """Whether a name is that of an object which `name_of` registered."""
        return name in self._objects

    def name_of(self, target: object) -> str:
        """The name under which an object can be used in settings of this process.

        A string is its own name. Any other object is registered as `module:attribute`, which worker
        processes can import as well if the module can be imported and is not `__main__`. Registered
        objects are not listed.
        """
        if isinstance(target, str):
            is_function = target in self._objects and isroutine(self._objects[target])
            if not is_function or not is_path(target):
                return target
            target = load(target, self.kind)  # the module may have another function by now
        self.spec_of(target)
        return self._objects.name_of(target)

    def parameters(self, name: str) -> dict[str, Any]:
        """What the object behind a name was made with, and the digest of its code, for the record; {} for spar's own and for
        those of installed packages.

        Raises
        ------
        UsageError
            As `spec`.
        """
        if name in self._objects:
            return self._objects.description(name).parameters
        target = self._targets.get(name, name)
        if isinstance(target, str):
            if name in self or not is_path(name):
                return {}
            target = load(target, self.kind)
        return self._objects.describe_as(name, target).parameters

    def recorded_name(self, name: str) -> str:
        """The name for the record: without its number where `parameters` tell objects of one class apart."""
        return self._objects.recorded_name(name)


def is_path(name: str) -> bool:
    """Whether a name has the form `module:attribute`."""
    module, colon, attribute = name.partition(":")
    return bool(colon) and all(
        part.isidentifier() for part in (module + "." + attribute).split(".")
    )


def safe_name(name: str) -> str:
    """A plug-in's name as part of a directory's name: `module:attribute` without its colon."""
    return name if name.replace("-", "").isalnum() else re.sub(r"[^\w-]+", "-", name).strip("-")


def load(path: str, kind: str) -> Any:
    """Import `module:attribute`.

    Parameters
    ----------
    kind:
        What it should be, for the message.

    Raises
    ------
    UsageError
        There is no such module or attribute.
    """
    module_name, _, attribute = path.partition(":")
    if not attribute.split(".")[0].isidentifier():
        raise UsageError(f"{kind} {path!r} is defined inside a function; define it in a module")
    if not module_name.startswith("spar."):
        LOADED_MODULES.add(module_name)
    try:
        module = import_module(module_name)  # waits where another thread is importing it
    except ModuleNotFoundError as error:
        if not f"{module_name}.".startswith(f"{error.name}."):
            raise  # the module is there, and lacks a package of its own
        raise UsageError(
            f"{kind} {path!r}: there is no module {module_name!r}; install its package, or put its folder on the "
            "path (PYTHONPATH=.)"
        ) from error
    except SyntaxError as error:
        where = f"{error.filename}, line {error.lineno}"
        raise UsageError(f"{kind} {path!r}: {where}: {error.msg}") from error
    value: Any = module
    for part in attribute.split("."):
        if not hasattr(value, part):
            raise UsageError(f"{kind} {path!r}: module {module_name!r} has no {attribute!r}")
        value = getattr(value, part)
    return value


def check_name(table: Mapping[str, Any], kind: str, name: str, more: str = "") -> None:
    """Raise `UsageError` unless `name` is in `table`; the message has the closest name and all others.

    Parameters
    ----------
    more:
        What else is accepted, at the end of the message.
    """
    if name in table:
        return
    hint = did_you_mean(name, table, cutoff=0.5)
    accepted = ", ".join([*table, *([more] if more else [])])
    raise UsageError(f"unknown {kind} {name!r}{hint} (accepted: {accepted})")


def parse_options(model: Any, values: Mapping[str, Any], *, flag: str, name: str) -> Any:
    """Validate a plug-in's own options.

    Parameters
    ----------
    model:
        The pydantic model that the spec declares, None where it has no options.
    values:
        Option to value, as given.
    flag:
        The flag that gives them, such as `--strategy-arg`.
    name:
        The plug-in's name.

    Returns
    -------
    An instance of `model`, None where there is none.

    Raises
    ------
    UsageError
        An unknown option, or a value that the model refuses.
    """
    if model is None:
        if values:
            raise UsageError(f"{flag} {next(iter(values))}: {name} has no options")
        return None
    from pydantic import ValidationError

    unknown = [option for option in values if option not in model.model_fields]
    if unknown:
        check_name(model.model_fields, f"option of {name} ({flag})", unknown[0])
    try:
        return model(**values)
    except ValidationError as error:
        detail = error.errors(include_url=False)[0]
        option = ".".join(map(str, detail["loc"]))
        raise UsageError(
            f"{flag} {option}={detail['input']!r}: {detail['msg'][:1].lower()}{detail['msg'][1:]}"
        ) from error


def strategy_with(name: str, arguments: Mapping[str, Any]) -> StrategySpec:
    """The strategy of a name with its options set: what it does and its limits.

    Raises
    ------
    UsageError
        There is no such strategy, or an option that it does not take.
    """
    spec = STRATEGIES.spec(name)
    return spec.with_options(
        parse_options(spec.options, arguments, flag="--strategy-arg", name=name)
    )


@cache
def _entry_points(group: str) -> dict[str, str]:
    """Name to "module:attribute" of the entry points that installed packages declare."""
    from importlib.metadata import entry_points

    return {point.name: point.value for point in entry_points(group=group)}


STRATEGIES: PluginTable[StrategySpec] = PluginTable(
    "strategy",
    "spar.strategies",
    "spar.infer.strategy:as_spec",
    {
        "greedy": "spar.infer.strategies.greedy:SPEC",
        "best-of-n": "spar.infer.strategies.best_of_n:SPEC",
        "iterative": "spar.infer.strategies.iterative:SPEC",
        "bfs": "spar.infer.strategies.bfs:SPEC",
        "dfs": "spar.infer.strategies.dfs:SPEC",
        "best-first": "spar.infer.strategies.best_first:SPEC",
        "beam": "spar.infer.strategies.beam:SPEC",
        "merge": "spar.infer.strategies.merge:SPEC",
        "mcts": "spar.infer.strategies.mcts:SPEC",
        "ab-mcts": "spar.infer.strategies.ab_mcts:SPEC",
    },
)
"""Name to `spar.infer.strategy.StrategySpec`, or a plain strategy function."""

ENGINES: PluginTable[EngineSpec] = PluginTable(
    "engine",
    "spar.engines",
    "spar.infer.engines.specs:as_spec",
    {
        "hf": "spar.infer.engines.specs:HF",
        "vllm": "spar.infer.engines.specs:VLLM",
        "openai": "spar.infer.engines.specs:OPENAI",
        "ray": "spar.infer.engines.specs:RAY",
        "fake": "spar.infer.engines.specs:FAKE",
    },
)
"""Name to `spar.infer.engine.EngineSpec`, or a function that opens an engine, or an engine."""

JUDGES: PluginTable[JudgeSpec] = PluginTable(
    "judge",
    "spar.judges",
    "spar.infer.judges:as_spec",
    {
        "votes": "spar.infer.judges:VOTES",
        "logprob": "spar.infer.judges:LOGPROB",
        "verifier": "spar.infer.verifier_judge:VERIFIER",
        "hybrid": "spar.infer.hybrid_judge:HYBRID",
        "scale": "spar.infer.scale_judge:SCALE",
        "curation": "spar.infer.scale_judge:CURATION",
        "functions": "spar.infer.functions_judge:FUNCTIONS_JUDGE",
        "checklist": "spar.infer.checklist_judge:CHECKLIST",
    },
)
"""Name to `spar.infer.judges.JudgeSpec`, or a function of a prompt and a response, or a judge."""

REFINERS: PluginTable[RefinerSpec] = PluginTable(
    "refiner",
    "spar.refiners",
    "spar.infer.roles:as_refiner_spec",
    {"model": "spar.infer.roles:MODEL", "rewrite": "spar.infer.rewriter:REWRITE"},
)
"""Name to `spar.infer.roles.RefinerSpec`, or a function, or a refiner."""

BENCHMARKS: PluginTable[BenchmarkSpec] = PluginTable(
    "benchmark",
    "spar.benchmarks",
    "spar.eval.benchmark:as_spec",
    {
        "ifeval": "spar.eval.ifeval:IFEval",
        "ifbench": "spar.eval.ifbench:IFBench",
        "followbench": "spar.eval.followbench.benchmark:FollowBench",
        "llmbar": "spar.eval.llmbar.pointwise:Pointwise",
        "llmbar-pairwise": "spar.eval.llmbar.pairwise:Pairwise",
        "refinement": "spar.eval.refinement:Refinement",
        "checkable": "spar.eval.checkable:Checkable",
        "perplexity": "spar.eval.perplexity:Perplexity",
        "nano-if": "spar.eval.nano_if:NanoIF",
        "nano-if-answers": "spar.eval.nano_if:NanoAnswers",
        "gsm8k": "spar.eval.lm_harness.benchmark:GSM8K",
        "mmlu": "spar.eval.lm_harness.benchmark:MMLU",
        "triviaqa": "spar.eval.lm_harness.benchmark:TRIVIAQA",
        "humaneval": "spar.eval.humaneval.benchmark:HumanEval",
    },
)
"""Name to `spar.eval.benchmark.BenchmarkSpec`, or a benchmark's class. Any other name may be a task of
lm-eval."""
