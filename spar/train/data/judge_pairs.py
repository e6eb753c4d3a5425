"""Pairs of judgements, from which a judge learns by preference. Pure but for reading the two runs.

Source: Meta-Rewarding (arXiv 2407.19594). Wins are weighted against the position that the meta-judge prefers: a win of the
judgement shown first counts `wins_second / (wins_first + wins_second)` and the other way round, over all comparisons
of the iteration. The strengths of one response's judgements maximise the likelihood of their weighted wins (Bradley and
Terry); the strongest is preferred to the weakest. Ours: a tenth of a win either way between each two, without which a
judgement that always wins has no finite strength.

Without a meta-judge (`verifier`) a judgement with the verdict of the programs is preferred to one with the other: a
teacher for models that cannot compare judgements.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from spar.record.training_data import JudgePairs, Pair
from spar.templates import NARROW
from spar.templates.verdicts import Answers, find_answer, parse_verdict
from spar.train.data.pairs import make_pair
from spar.types import Node, SearchTree
from spar.verifiers import passes

BETTER = Answers(
    "[12]", label="judgement|judgment|number", followers="is|because|since|as|due|the|it|this"
)
"""What the meta-judge says."""
OF, ORDER, RESPONSE = "judgements_of", "order", "response"
"""Fields of the runs' prompts (`spar.run.meta_judge`)."""
_PRIOR = 0.1
_STEPS = 500

Win = tuple[int, int]
"""The judgement that is shown first, and the one that is shown second."""


@dataclass(slots=True)
class Comparisons:
    """What the meta-judge said about the judgements of many responses."""

    wins: defaultdict[str, Counter[tuple[Win, int]]] = field(
        default_factory=lambda: defaultdict(Counter)
    )
    """Prompt to the order that was shown with the position (0 or 1) that won, counted."""
    unread: int = 0
    """Replies that name neither."""

    def add(self, tree: SearchTree) -> None:
        """Count one comparison."""
        first, second = tree.prompt.meta[ORDER]
        better = parse_better(tree.answer or "")
        if better is None:
            self.unread += 1
        else:
            self.wins[tree.prompt.meta[OF]][(first, second), better - 1] += 1

    @property
    def won_by_position(self) -> tuple[int, int]:
        """Wins of the first and of the second position."""
        counts: Counter[int] = Counter()
        for wins in self.wins.values():
            for (_, position), number in wins.items():
                counts[position] += number
        return counts[0], counts[1]

    def weighted(self, prompt_id: str) -> dict[Win, float]:
        """Winner and loser to the weighted number of wins."""
        first, second = self.won_by_position
        weights = (second / (first + second), first / (first + second))
        won: defaultdict[Win, float] = defaultdict(float)
        for (order, position), number in self.wins[prompt_id].items():
            winner, loser = order[position], order[1 - position]
            won[winner, loser] += weights[position] * number
        return dict(won)


def judge_pairs(
    judgements: Iterable[SearchTree],
    compared: Iterable[SearchTree] | None,
    *,
    seed: int = 0,
    max_characters: int | None = None,
) -> tuple[list[Pair], JudgePairs]:
    """A pair of judgements of each response that has one, in the order of the prompts' ids, and what became of the rest.

    Parameters
    ----------
    compared:
        The meta-judge's comparisons; None where programs decide.
    max_characters:
        A pair whose chosen judgement is longer is left out.
    """
    comparisons = Comparisons()
    for tree in compared or ():
        comparisons.add(tree)
    pairs, counts = [], Counter[str]()
    for tree in sorted(judgements, key=lambda tree: tree.prompt.id):
        counts["responses"] += 1
        sides = _sides(tree, None if compared is None else comparisons, seed)
        if sides is None:
            counts["undecided"] += 1
        elif max_characters is not None and len(sides[0].response) > max_characters:
            counts["long"] += 1
        else:
            pairs.append(make_pair(tree, "judgements", *sides))
    first, second = comparisons.won_by_position
    decided = first + second
    return pairs, JudgePairs(
        by="verifier" if compared is None else "model",
        responses=counts["responses"],
        pairs=len(pairs),
        undecided=counts["undecided"],
        long=counts["long"],
        comparisons=decided + comparisons.unread,
        unread=comparisons.unread,
        first_wins=first / decided if decided else None,
    )


def _sides(
    tree: SearchTree, comparisons: Comparisons | None, seed: int
) -> tuple[Node, Node] | None:
    """The chosen and the rejected judgement of a response, by the comparisons or else by programs; None where neither decides."""
    if comparisons is None:
        return _by_programs(tree, seed)
    if tree.prompt.id not in comparisons.wins:
        return None
    return _by_strength(tree.nodes, comparisons.weighted(tree.prompt.id))


def parse_better(text: str) -> int | None:
    """Which judgement a comparison prefers, 1 or 2; None where it says neither for certain."""
    span = find_answer(text, BETTER)
    return None if span is None else int(text[slice(*span)].translate(NARROW))


def strengths(won: Mapping[Win, float]) -> dict[int, float]:
    """The strength of each judgement, from winner and loser to the weighted number of wins."""
    names = sorted({name for pair in won for name in pair})
    battles = {(a, b): won.get((a, b), 0.0) + _PRIOR for a in names for b in names if a != b}
    strength = dict.fromkeys(names, 1.0)
    for _ in range(_STEPS):  # minorisation and maximisation (Hunter, 2004)
        new = {}
        for a in names:
            wins = sum(battles[a, b] for b in names if b != a)
            met = sum(
                (battles[a, b] + battles[b, a]) / (strength[a] + strength[b])
                for b in names
                if b != a
            )
            new[a] = wins / met
        total = sum(new.values()) / len(names)
        new = {name: value / total for name, value in new.items()}
        if max(abs(new[name] - strength[name]) for name in names) < 1e-9:
            break
        strength = new
    return strength


def _by_strength(nodes: Sequence[Node], won: Mapping[Win, float]) -> tuple[Node, Node] | None:
    strength = strengths(won)
    best = max(strength, key=lambda name: (strength[name], -name))
    worst = min(strength, key=lambda name: (strength[name], name))
    if strength[best] - strength[worst] < 1e-6:
        return None
    return nodes[best], nodes[worst]


def _by_programs(tree: SearchTree, seed: int) -> tuple[Node, Node] | None:
    """A judgement with the programs' verdict and one with the other, drawn by `seed`."""
    response = tree.prompt.meta[RESPONSE]
    truth = passes(response, tree.prompt)
    if truth is None:
        return None
    rng = random.Random(f"{seed}|judgements|{tree.prompt.id!a}")
    by_verdict = {
        verdict: [n for n in tree.nodes if parse_verdict(n.response, response) is verdict]
        for verdict in (True, False)
    }
    if not all(by_verdict.values()):
        return None
    return rng.choice(by_verdict[truth]), rng.choice(by_verdict[not truth])
