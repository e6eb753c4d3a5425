"""Flags that several commands take, declared once, as the parameters of functions that nobody calls.

    @takes(search_flags, model_flags)
    def command(names: Annotated[...], **settings: Any) -> None: ...

typer reads flags from a signature; `takes` puts the declared ones in place of `**settings`.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

Command = Callable[..., None]


class DefaultGroup(TyperGroup):
    """A group with a command that needs no name: the first word is its argument, unless it names another."""

    default = "run"

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the default command in front where none is named."""
        if not args or args[0] not in self.commands:
            args = [self.default, *self.without_arguments(args)]
        return super().parse_args(ctx, args)

    def without_arguments(self, args: list[str]) -> list[str]:
        """What a command line that says nothing stands for."""
        return args

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Leave the default command's name out of the usage line."""
        name, command, rest = super().resolve_command(ctx, args)
        return "" if name == self.default else name, command, rest


class HelpedGroup(DefaultGroup):
    """One whose default command needs an argument: without any it explains itself."""

    def without_arguments(self, args: list[str]) -> list[str]:
        """The help."""
        return args or ["--help"]


RENAMED = {
    "--start": "--continue-from",
    "--from": "--rerun-from",
    "--fresh": "--overwrite",
    "--compat": "--official-scoring",
}
"""Flags of the last version that are no settings, and their new names."""


class SparCommand(TyperCommand):
    """A command that accepts the flags of the last version under their old names, with a warning."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Replace old flags that this command has under a new name."""
        from spar.config import EvalConfig, specs

        renamed = RENAMED | {old: s.flag for s in specs(EvalConfig) for old in s.old_flags}
        own = {flag for parameter in self.params for flag in parameter.opts}
        current: list[str] = []
        for index, arg in enumerate(args):
            if arg == "--":
                return super().parse_args(ctx, [*current, *args[index:]])
            old, equals, value = arg.partition("=")
            new = renamed.get(old, old)
            if old not in own and new in own and old != new:
                print(f"{old} is deprecated; use {new}", file=sys.stderr)
                arg = f"{new}{equals}{value}"
            current.append(arg)
        return super().parse_args(ctx, current)


def takes(*declared: Command) -> Callable[[Command], Command]:
    """Replace a command's `**settings` by the parameters of the functions given."""

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def called(**flags: Any) -> None:
            command(**flags)

        signature = inspect.signature(command, eval_str=True)
        own = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
        more = [
            p for one in declared for p in _parameters(one) if p.name not in {o.name for o in own}
        ]
        parameters = [p.replace(kind=p.KEYWORD_ONLY) for p in (*own, *more)]
        called.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        called.__annotations__ = {p.name: p.annotation for p in parameters} | {"return": None}
        return called

    return decorate


def _parameters(declared: Command) -> list[inspect.Parameter]:
    return list(inspect.signature(declared, eval_str=True).parameters.values())


def settings_of(flags: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    """The flags that are settings of a run, `--engine-arg` and `--adapter` read into dictionaries.

    Raises
    ------
    UsageError
        One of the two has not the form that it needs.
    """
    from spar.cli.parsers import parse_adapters, parse_arguments

    settings = {name: value for name, value in flags.items() if name in fields}
    settings["engine_args"] = parse_arguments(flags.get("engine_arg") or []) or None
    settings["adapter"] = parse_adapters(flags.get("adapter") or []) or None
    return settings


def default_recipe(flags: Mapping[str, Any]) -> str:
    """The paper's settings for a model of the user's, the embedded model's own else."""
    given = ("model", "actor_model", "base_url", "actor_url")
    own = any(flags.get(name) for name in given) or flags.get("engine") in ("openai", "fake")
    return "paper" if own else "nano"


def search_flags(
    *,
    strategy: Annotated[
        str | None, typer.Option(help="greedy, best-of-n, iterative, bfs or dfs.")
    ] = None,
    budget: Annotated[int | None, typer.Option(help="Most responses a prompt.")] = None,
) -> None:
    """Which search."""


def shape_flags(
    *,
    branching: Annotated[int | None, typer.Option(help="Refinements of a node.")] = None,
    beam_width: Annotated[int | None, typer.Option(help="Nodes of a level that go on.")] = None,
    depth: Annotated[int | None, typer.Option(help="Levels of refinement.")] = None,
    votes: Annotated[int | None, typer.Option(help="Votes a judgement.")] = None,
    vote_rule: Annotated[str | None, typer.Option(help="full, majority or race.")] = None,
    judge: Annotated[str | None, typer.Option(help="votes, logprob or verifier.")] = None,
    early_stop: Annotated[str | None, typer.Option(help="wave or first.")] = None,
    threshold: Annotated[float | None, typer.Option(help="A node passes above this score.")] = None,
    max_calls: Annotated[int | None, typer.Option(help="Most requests a prompt.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Most generated tokens a prompt.")] = None,
    max_seconds: Annotated[float | None, typer.Option(help="Most seconds a prompt.")] = None,
) -> None:
    """How the search goes."""


def model_flags(
    *,
    model: Annotated[str | None, typer.Option(help="Folder or hub name; none: embedded.")] = None,
    actor_model: Annotated[str | None, typer.Option(help="The actor's own model.")] = None,
    judge_model: Annotated[str | None, typer.Option(help="The judge's own model.")] = None,
    refiner_model: Annotated[str | None, typer.Option(help="The refiner's own model.")] = None,
    engine: Annotated[str | None, typer.Option(help="auto, hf, vllm, openai, ray or fake.")] = None,
    engine_arg: Annotated[
        list[str] | None, typer.Option(help="vLLM's own, name=value; repeatable.")
    ] = None,
    adapter: Annotated[
        list[str] | None, typer.Option(help="LoRA folder, or role=folder; repeatable.")
    ] = None,
    speculative_decoding: Annotated[
        str | None, typer.Option(help="n-gram speculation: auto, on, off.")
    ] = None,
    dtype: Annotated[str | None, typer.Option(help="auto, bf16 or fp32.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu or cuda:N.")] = None,
    max_batch_size: Annotated[
        int | None, typer.Option(help="Most sequences at once, in process.")
    ] = None,
) -> None:
    """Which models, and what runs them here."""


def server_flags(
    *,
    base_url: Annotated[
        list[str] | None, typer.Option(help="OpenAI-compatible server; repeat for replicas.")
    ] = None,
    actor_url: Annotated[list[str] | None, typer.Option(help="The actor's own server.")] = None,
    judge_url: Annotated[list[str] | None, typer.Option(help="The judge's own server.")] = None,
    refiner_url: Annotated[list[str] | None, typer.Option(help="The refiner's own server.")] = None,
    api_key_env: Annotated[
        str | None, typer.Option(help="Environment variable with the servers' key.")
    ] = None,
    timeout: Annotated[
        float | None, typer.Option(help="Time-out of a request to a server.")
    ] = None,
    retry_for: Annotated[
        float | None, typer.Option(help="How long a failing server is tried again.")
    ] = None,
    replicas: Annotated[
        int | None, typer.Option(help="Copies of the model on a Ray cluster.")
    ] = None,
    replica_engine: Annotated[
        str | None, typer.Option(help="What a copy runs: auto, hf or vllm.")
    ] = None,
    ray_address: Annotated[
        str | None, typer.Option(help="Ray cluster: auto or host:port; none: this machine.")
    ] = None,
) -> None:
    """Servers and clusters."""


def run_flags(
    *,
    concurrency: Annotated[int | None, typer.Option(help="Most trees in flight.")] = None,
    seed: Annotated[int | None, typer.Option(help="Run seed.")] = None,
    limit: Annotated[int | None, typer.Option(help="Only the first so many prompts.")] = None,
    templates: Annotated[
        str | None, typer.Option(help="Folder with judge.txt, refine.txt.")
    ] = None,
    recipe: Annotated[str | None, typer.Option(help="YAML file or shipped recipe.")] = None,
    out: Annotated[Path | None, typer.Option(help="Run directory.")] = None,
    fresh: Annotated[bool, typer.Option("--overwrite", help="Start the run over.")] = False,
    display: Annotated[str, typer.Option(help="auto, rich, plain or none.")] = "auto",
) -> None:
    """The run itself."""


def benchmark_flags(
    *,
    data: Annotated[
        str | None, typer.Option(help="Folder with the data; none: SPAR_DATA, else the cache.")
    ] = None,
    grader_model: Annotated[str | None, typer.Option(help="The grader's own model.")] = None,
    grader_url: Annotated[list[str] | None, typer.Option(help="The grader's own server.")] = None,
    grader_engine: Annotated[str | None, typer.Option(help="The grader's own engine.")] = None,
    judge_votes: Annotated[
        int | None, typer.Option(help="llmbar, grading: votes a judgement; 0: one, greedy.")
    ] = None,
    num_fewshot: Annotated[
        int | None, typer.Option(help="lm-eval's tasks: worked examples before a question.")
    ] = None,
    max_gen_toks: Annotated[
        int | None, typer.Option(help="lm-eval's tasks: most tokens of a reply.")
    ] = None,
    chat_template: Annotated[
        bool | None, typer.Option(help="lm-eval's tasks, humaneval: ask as a chat.")
    ] = None,
    prompt_seed: Annotated[int | None, typer.Option(help="nano-if: which draw of prompts.")] = None,
    compat: Annotated[
        bool,
        typer.Option(
            "--official-scoring", help="followbench: an unread grade is -1, as published."
        ),
    ] = False,
    allow_code_execution: Annotated[
        bool, typer.Option("--allow-code-execution", help="humaneval: run what the model wrote.")
    ] = False,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Score what --responses has; unanswered fails.")
    ] = False,
) -> None:
    """What benchmarks take."""


DECODING: tuple[Command, ...] = (search_flags, shape_flags, model_flags, server_flags, run_flags)
"""Every flag of a search."""
