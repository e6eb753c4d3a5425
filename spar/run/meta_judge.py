"""The two runs from which a judge learns by preference: judgements of one response, and comparisons of them.

Source: Meta-Rewarding (arXiv 2407.19594). Of each prompt the response on which its judgements disagree most is taken.
Its judgements are sampled anew, as the drafts of a tree whose prompt is the judge's conversation, so that every one of them
is stored. The judge's model, as meta-judge, then compares each two of them, in both orders: a tree of one draft for each
comparison. What follows from the comparisons is in `spar.train.data.judge_pairs`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from itertools import permutations
from pathlib import Path
from statistics import pvariance

from spar.config import DecodeConfig
from spar.errors import UsageError
from spar.infer.roles import Actor, Roles
from spar.infer.strategy import Strategy
from spar.plugins import JUDGES
from spar.run.build import open_templates
from spar.run.job import Job
from spar.run.resolve import model_roles
from spar.run.sampling import sampling_of
from spar.store import read_trees
from spar.templates import read_template, render
from spar.types import Judgement, Message, Node, Prompt, Role, SearchTree

OF, ORDER = "judgements_of", "order"
"""Fields of a comparison's meta: the id of the prompt, and the numbers of the two judgements as they are shown."""
NODE = "node"
"""Field of a judged conversation's meta: the node whose response is judged."""


def judge_conversation(config: DecodeConfig) -> Callable[[Prompt, str], tuple[Message, ...]]:
    """How the judge of these settings asks for one judgement of a response.

    Raises
    ------
    UsageError
        Its judgements cannot be told apart: it is a program, or a plug-in without `JudgeSpec.conversation`.
    """
    spec, templates = JUDGES.spec(config.judge), open_templates(config)
    ask = spec.conversation
    if ask is None:
        raise UsageError(
            f"judge_pairs trains the judge on its own judgements, and --judge {config.judge} has no conversation for one; "
            "use --judge votes or --judge scale, or set judge_pairs=false"
        )
    return lambda prompt, response: ask(templates, prompt, response)


def judged_again(run: Path, config: DecodeConfig) -> Iterator[Prompt]:
    """The judge's conversation about one response of each prompt of a judged run, with the prompt's id."""
    ask = judge_conversation(config)
    for tree in sorted(read_trees(run), key=lambda tree: tree.prompt.id):
        node = most_disputed(tree.nodes)
        if node is not None:
            meta = {**tree.prompt.meta, NODE: node.id, "response": node.response}
            messages = ask(tree.prompt, node.response)
            yield Prompt(id=tree.prompt.id, messages=messages, source=tree.prompt.source, meta=meta)


def most_disputed(nodes: Sequence[Node]) -> Node | None:
    """The node whose judgements vary most, the first of several; None where no judgements differ."""
    judged = [(dispute(node.judgement), -node.id, node) for node in nodes if node.judgement]
    best = max(judged, default=None, key=lambda each: each[:2])
    return best[2] if best and best[0] > 0 else None


def dispute(judgement: Judgement) -> float:
    """The variance of the points, or of the votes, of a judgement."""
    given: Iterable[float | bool | None] = judgement.points or judgement.verdicts
    values = [float(value) for value in given if value is not None]
    return pvariance(values) if values else 0.0


def comparisons(run: Path) -> Iterator[Prompt]:
    """Each two judgements of each tree of a run of judgements, in both orders; equal texts are not compared."""
    for tree in sorted(read_trees(run), key=lambda tree: tree.prompt.id):
        yield from _comparisons(tree)


def _comparisons(tree: SearchTree) -> Iterator[Prompt]:
    request = tree.prompt.messages[-1].content
    unique = {node.response: node for node in reversed(tree.nodes)}
    nodes = sorted(unique.values(), key=lambda node: node.id)
    for first, second in permutations(nodes, 2):
        text = render(_template(), request=request, first=first.response, second=second.response)
        yield Prompt(
            id=f"{tree.prompt.id}/{first.id}/{second.id}",
            messages=(Message(role="user", content=text),),
            meta={OF: tree.prompt.id, ORDER: [first.id, second.id]},
        )


@cache
def _template() -> str:
    return read_template("meta", ("request", "first", "second"))


def judges_writing(config: DecodeConfig, strategy: Strategy, name: str) -> Job:
    """A job in which the judge's model writes the drafts, as it votes."""
    sampling = sampling_of(config, config.vote)
    roles: tuple[Role, ...] = ("judge",)

    def by_judge(roles: Roles) -> Roles:
        return replace(roles, actor=Actor(roles.judge_engine(), sampling, greedy_first=False))

    return Job(
        "",
        (),
        roles=model_roles(config, roles),
        strategy=strategy,
        strategy_name=name,
        change=by_judge,
        limits={"actor": "vote.max_tokens"},
    )
