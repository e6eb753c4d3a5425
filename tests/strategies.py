"""Hypothesis strategies: any legal text, any legal tree, any search."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from spar.infer.search import Budget, SearchSettings
from spar.infer.strategy import SearchConfig
from spar.plugins import STRATEGIES, strategy_with
from spar.types import (
    ROLES,
    Fault,
    Finding,
    Judgement,
    Message,
    Node,
    Prompt,
    SearchTree,
    Usage,
    best,
)
from tests.fakes import World

any_text = st.text(st.characters(exclude_categories=()))
"""Any Python string, lone surrogates and control characters included."""

marker_text = st.lists(
    st.sampled_from(
        [
            *("Final", "final", "FINAL", " ", "\n", "Judgement", "judgment", "Refined", "Output"),
            *(":", "Yes", "no", "[", "]", "[[start]]", "[[END]]", "start", "end", "\u2060", "x"),
            *("Final Judgement: Yes", "Final Refined Output:", "### Verification", "{response}"),
        ]
    )
).map("".join)
"""Texts of mostly markers of verdicts and refinements, whole and in parts."""

json_values: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | any_text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(any_text, inner, max_size=3),
    max_leaves=5,
)

messages = st.builds(
    Message, role=st.sampled_from(["system", "user", "assistant"]), content=any_text
)

prompts = st.builds(
    Prompt,
    id=any_text,
    messages=st.lists(messages, min_size=1, max_size=3).map(tuple),
    source=any_text,
    meta=st.dictionaries(any_text, json_values, max_size=2),
)

usages = st.builds(
    Usage,
    calls=st.integers(0, 99),
    prompt_tokens=st.integers(0, 9999),
    completion_tokens=st.integers(0, 9999),
    cut_calls=st.integers(0, 2),
    seconds=st.floats(0, 1e6),
)

findings = st.builds(
    Finding,
    type=any_text,
    constraint=any_text,
    met=st.booleans(),
    found=any_text,
    share=st.none() | st.floats(0, 1),
)

judgements = st.builds(
    Judgement,
    verdicts=st.lists(st.sampled_from([True, False, None]), max_size=5).map(tuple),
    critique=any_text,
    dissent=st.none() | any_text,
    probability=st.none() | st.floats(0, 1),
    cut=st.lists(st.integers(0, 4), max_size=2).map(tuple),
    findings=st.lists(findings, max_size=3).map(tuple),
)


statistics = (
    st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | any_text
)
"""What a strategy may record of a choice."""


@st.composite
def trees(draw: st.DrawFn) -> SearchTree:
    """A consistent tree: ids by position, parents before children, correct depths."""
    nodes: list[Node] = []
    for index in range(draw(st.integers(0, 5))):
        parent = draw(st.sampled_from([None, *nodes]))
        node = Node(
            id=index,
            parent=parent.id if parent else None,
            depth=parent.depth + 1 if parent else 0,
            response=draw(any_text),
            reflection=draw(st.none() | any_text),
            text=draw(st.none() | any_text) if parent else None,
            judgement=draw(st.none() | judgements),
            usage=draw(usages),
            judge_usage=draw(usages),
            seed=draw(st.none() | st.integers(0, 2**63 - 1)),
            second_parent=draw(st.none() | st.integers(0, index)) if parent else None,
            statistics=draw(st.dictionaries(any_text, statistics, max_size=2)),
        )
        nodes.append(node)
    fault = st.builds(
        Fault,
        parent=st.sampled_from([None, *(node.id for node in nodes)]),
        stage=st.sampled_from(["draft", "judge", "refine"]),
        reason=any_text,
        text=any_text,
        usage=usages,
        judge_usage=usages,
    )
    answer = best(tuple(nodes))
    return SearchTree(
        prompt=draw(prompts),
        strategy=draw(any_text),
        config=draw(any_text),
        gate=draw(st.floats(0, 1, exclude_max=True)),
        nodes=tuple(nodes),
        faults=tuple(draw(st.lists(fault, max_size=2))),
        selected=answer[0].id if answer else None,
        stop=draw(st.sampled_from(["solved", "exhausted", "budget"])),
        cancelled=draw(st.integers(0, 9)),
        cancelled_usage=draw(st.dictionaries(st.sampled_from(ROLES), usages)),
        seconds=draw(st.floats(0, 1e6)),
    )


worlds = st.builds(
    World,
    seed=st.integers(0, 10**6),
    yes=st.sampled_from([0.0, 0.3, 0.6, 1.0]),
    mute=st.sampled_from([0.0, 0.2, 0.7]),
    dressed=st.sampled_from([0.0, 0.5]),
    broken=st.sampled_from([0.0, 0.2, 0.7]),
    variety=st.sampled_from([1, 2, 5, 1000]),
)


SEARCHED: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in sorted(STRATEGIES)),
    ("best-of-n", {"waves": "growing"}),
    ("iterative", {"restart_after": 1}),
    ("iterative", {"restart_after": 3}),
    ("beam", {"drafts": 2}),
    ("mcts", {"exploration": 0.2}),
    ("ab-mcts", {"posterior": "gaussian"}),
    ("ab-mcts", {"batch": 3}),
]
"""Every listed strategy, and those with options also with other ones."""


@st.composite
def searches(draw: st.DrawFn) -> SearchSettings:
    """Settings of a search by any listed strategy, with any small shape."""
    name, options = draw(st.sampled_from(SEARCHED))
    return SearchSettings(
        strategy=strategy_with(name, options).plan,
        name=name,
        shape=SearchConfig(*(draw(st.integers(1, 4)) for _ in range(3))),
        budget=Budget(draw(st.integers(1, 16))),
        seed=draw(st.none() | st.integers(0, 99)),
    )
