"""`spar decode`: search an answer to every prompt and keep every tree.

    spar decode --strategy bfs --budget 15
    spar decode prompts.jsonl --model DIR --out runs/mine
    spar decode --prompt "Write something short. Use exactly 9 words."

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
    vote_rule: Annotated[str | None, typer.Option(help="full or majority.")] = None,
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
    engine: Annotated[str | None, typer.Option(help="auto, hf or fake.")] = None,
    dtype: Annotated[str | None, typer.Option(help="auto, bf16 or fp32.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu or cuda:N.")] = None,
    rows: Annotated[int | None, typer.Option(help="Most rows in a batch.")] = None,
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
    from spar.config import DecodeConfig, load_decode

    settings = {name: value for name, value in flags.items() if name in DecodeConfig.model_fields}
    recipe = recipe or ("paper" if model or actor_model or engine not in (None, "auto") else "nano")
    config = load_decode(recipe, settings)
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
