"""`spar decode`: search an answer to every prompt and keep every tree.

    spar decode --strategy bfs --budget 15
    spar decode prompts.jsonl --model DIR --out runs/mine
    spar decode --prompt "Write something short. Use exactly 9 words."
    spar decode prompts.jsonl --base-url http://host:8000/v1 --out runs/served

Flags override the recipe; the recipe overrides the defaults in `spar.config.DecodeConfig`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def decode(
    prompts: Annotated[
        str, typer.Argument(help=".jsonl or .txt file, or - for standard input; none: built-in.")
    ] = "",
    prompt: Annotated[
        str | None, typer.Option(help="One prompt; prints its answer and tree.")
    ] = None,
    strategy: Annotated[
        str | None, typer.Option(help="greedy, best-of-n, iterative, bfs or dfs.")
    ] = None,
    budget: Annotated[int | None, typer.Option(help="Most responses a prompt.")] = None,
    branch: Annotated[int | None, typer.Option(help="Refinements of a node.")] = None,
    keep: Annotated[int | None, typer.Option(help="Nodes of a level that go on.")] = None,
    depth: Annotated[int | None, typer.Option(help="Levels of refinement.")] = None,
    votes: Annotated[int | None, typer.Option(help="Votes a judgement.")] = None,
    vote_rule: Annotated[str | None, typer.Option(help="full, majority or race.")] = None,
    judge: Annotated[str | None, typer.Option(help="votes, logprob or verifier.")] = None,
    stop: Annotated[str | None, typer.Option(help="wave or first.")] = None,
    gate: Annotated[float | None, typer.Option(help="A node passes above this score.")] = None,
    max_calls: Annotated[int | None, typer.Option(help="Most requests a prompt.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Most generated tokens a prompt.")] = None,
    max_seconds: Annotated[float | None, typer.Option(help="Most seconds a prompt.")] = None,
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
    speculate: Annotated[
        str | None, typer.Option(help="n-gram speculation: auto, on, off.")
    ] = None,
    base_url: Annotated[
        list[str] | None, typer.Option(help="OpenAI-compatible server; repeat for replicas.")
    ] = None,
    actor_url: Annotated[list[str] | None, typer.Option(help="The actor's own server.")] = None,
    judge_url: Annotated[list[str] | None, typer.Option(help="The judge's own server.")] = None,
    refiner_url: Annotated[list[str] | None, typer.Option(help="The refiner's own server.")] = None,
    api_key_env: Annotated[
        str | None, typer.Option(help="Environment variable with the servers' key.")
    ] = None,
    request_seconds: Annotated[
        float | None, typer.Option(help="Time-out of a request to a server.")
    ] = None,
    retry_seconds: Annotated[
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
    dtype: Annotated[str | None, typer.Option(help="auto, bf16 or fp32.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu or cuda:N.")] = None,
    rows: Annotated[int | None, typer.Option(help="Most sequences at once, in process.")] = None,
    concurrency: Annotated[int | None, typer.Option(help="Most trees in flight.")] = None,
    seed: Annotated[int | None, typer.Option(help="Run seed.")] = None,
    limit: Annotated[int | None, typer.Option(help="Only the first so many prompts.")] = None,
    templates: Annotated[
        str | None, typer.Option(help="Folder with judge.txt, refine.txt.")
    ] = None,
    recipe: Annotated[str | None, typer.Option(help="YAML file or shipped recipe.")] = None,
    out: Annotated[Path | None, typer.Option(help="Run directory.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start the run over.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show prompts and cost only.")] = False,
    json_summary: Annotated[
        bool, typer.Option("--json", help="Print the summary as JSON.")
    ] = False,
    show_tree: Annotated[bool, typer.Option("--show-tree", help="Draw one solved tree.")] = False,
    display: Annotated[str, typer.Option(help="auto, rich, plain or none.")] = "auto",
) -> None:
    """Search an answer to every prompt and keep every tree. The same command resumes."""
    flags = dict(locals())
    from spar.cli.run_decode import Invocation, run
    from spar.cli.values import parse_adapters, parse_arguments
    from spar.config import DecodeConfig, load_decode

    settings = {name: value for name, value in flags.items() if name in DecodeConfig.model_fields}
    settings["engine_args"] = parse_arguments(engine_arg or []) or None
    settings["adapter"] = parse_adapters(adapter or []) or None
    own_model = model or actor_model or base_url or actor_url or engine in ("openai", "fake")
    config = load_decode(recipe or ("paper" if own_model else "nano"), settings)
    run(
        config,
        Invocation(
            prompt=prompt,
            out=out,
            fresh=fresh,
            dry_run=dry_run,
            json_summary=json_summary,
            show_tree=show_tree,
            display=display,
        ),
    )
