"""Statistics of training data: the similarity of the sides of its pairs, and how its judges voted.

Sides that are similar differ only in what had to change, which is the purpose of refinement (paper, section 2.3;
secondary source: a string similarity of about 0.90 refined, 0.85 independent).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean, quantiles
from typing import Any

from spar.errors import MissingExtra, UsageError
from spar.record.training_data import JudgementMeasures, Pair, PairMeasures, Spread
from spar.train.data.refiner_data import is_split, majority, matches_majority
from spar.types import Judgement, Node


@dataclass(slots=True)
class VoteCounter:
    """Counts judgements, tree by tree."""

    scores: list[bool] = field(default_factory=list)
    agreements: list[float] = field(default_factory=list)
    split: int = 0
    unparsed: int = 0
    mismatched: int = 0

    def add(self, nodes: Sequence[Node]) -> None:
        """Count a tree's judgements, one for each response."""
        judged = {node.response: node.judgement for node in nodes if node.judgement}
        for judgement in judged.values():
            self._count(judgement)

    def measures(self) -> JudgementMeasures:
        """The statistics so far."""
        agreements = self.agreements
        return JudgementMeasures(
            judgements=len(self.scores),
            yes_share=fmean(self.scores) if self.scores else None,
            unanimous_share=agreements.count(1.0) / len(agreements) if agreements else None,
            pairwise_agreement=fmean(agreements) if agreements else None,
            split=self.split,
            unparsed_votes=self.unparsed,
            mismatched=self.mismatched,
        )

    def _count(self, judgement: Judgement) -> None:
        self.scores.append(majority(judgement))
        agreement = pairwise_agreement(judgement)
        if agreement is not None:
            self.agreements.append(agreement)
        self.split += is_split(judgement)
        self.unparsed += len(judgement.verdicts) - judgement.num_parsed
        self.unparsed += judgement.points.count(None)
        # A judgement on the scale has no verdict in its text.
        self.mismatched += not judgement.points and not matches_majority(judgement)


def pairwise_agreement(judgement: Judgement) -> float | None:
    """Share of the pairs of parsed votes that agree, None below two votes."""
    votes, yes = judgement.num_parsed, judgement.num_yes
    if votes < 2:
        return None
    return (math.comb(yes, 2) + math.comb(votes - yes, 2)) / math.comb(votes, 2)


def measure_pairs(pairs: Sequence[Pair], embedding_model: str = "") -> PairMeasures:
    """Similarity and length differences of the pairs' sides.

    Raises
    ------
    MissingExtra
        rapidfuzz is not installed; or a model is named and sentence-transformers is not.
    """
    similarity = open_similarity()
    return PairMeasures(
        pairs=len(pairs),
        swapped=sum(pair.swapped for pair in pairs),
        cut=sum(map(is_cut, pairs)),
        edit_similarity=spread([similarity(pair.chosen, pair.rejected) for pair in pairs]),
        characters_more=spread([len(pair.chosen) - len(pair.rejected) for pair in pairs]),
        words_more=spread(
            [len(pair.chosen.split()) - len(pair.rejected.split()) for pair in pairs]
        ),
        embedding_similarity=_embedding_similarity(pairs, embedding_model)
        if embedding_model
        else None,
    )


def is_cut(pair: Pair) -> bool:
    """Whether the chosen side is the beginning of the rejected one, and shorter."""
    chosen, rejected = pair.chosen.rstrip(), pair.rejected.rstrip()
    return len(chosen) < len(rejected) and rejected.startswith(chosen)


def open_similarity() -> Any:
    """rapidfuzz's normalised edit similarity of two texts, in [0, 1]."""
    try:
        from rapidfuzz.distance import Levenshtein
    except ImportError as error:
        raise MissingExtra("rapidfuzz", "train", "measuring pairs") from error
    return Levenshtein.normalized_similarity


def spread(values: Sequence[float]) -> Spread | None:
    """Mean and quantiles; None for no values."""
    if not values:
        return None
    cuts = quantiles(values, n=10, method="inclusive") if len(values) > 1 else [values[0]] * 9
    return Spread(mean=fmean(values), p10=cuts[0], median=cuts[4], p90=cuts[8])


def _embedding_similarity(pairs: Sequence[Pair], model: str) -> Spread | None:
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise MissingExtra("sentence_transformers", "embeddings", "--embedding-model") from error
    try:
        encoder = SentenceTransformer(model)
    except (OSError, ValueError) as error:
        raise UsageError(
            f"--embedding-model {model!r} cannot be loaded ({error}); give a sentence-transformers "
            "model's folder or name"
        ) from error
    chosen, rejected = (
        encoder.encode([getattr(pair, side) for pair in pairs], normalize_embeddings=True)
        for side in ("chosen", "rejected")
    )
    return spread([float(a @ b) for a, b in zip(chosen, rejected, strict=True)])
