"""How much the stages of a training loop generate and train, at most, and how long what they write gets.

Upper bounds: a prompt all of whose drafts pass is not searched, identical drafts are voted on once, and a
draft is paired once. Lengths of texts are typical ones.
"""

from __future__ import annotations

from dataclasses import dataclass

from spar.config import DecodeConfig
from spar.estimate.calls import most_calls, most_responses
from spar.estimate.preflight import searched, trained
from spar.train.data.selection import QUOTAS
from spar.train.recipe import TrainConfig
from spar.train.stages import Stage
from spar.train.status import num_steps, steps_of

NODE_BYTES, TREE_BYTES = 650, 800
"""A node and a tree without their texts."""
TYPICAL_SHARE, BYTES_A_TOKEN = 0.2, 4
"""Of its limit, what a reply mostly uses."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What is generated and trained, at most."""

    drafts: int = 0
    draft_votes: int = 0
    refinements: int = 0
    search_votes: int = 0
    dpo_steps: int = 0
    rft_steps: int = 0
    evaluations: int = 0
    text_bytes: int = 0
    """Trees, data and what is written with them."""

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(getattr(self, n) + getattr(other, n) for n in Counts.__slots__))


def counted(config: TrainConfig, stage: Stage, prompts: int) -> Counts:
    """What one stage generates or trains."""
    if stage.name in ("draft", "judge", "search"):
        return _generated(stage, searched(stage), prompts)
    if stage.name == "build":
        examples = _most_examples(config, prompts)
        decode = config.decode
        pair = 2 * _reply(decode.draft.max_tokens) + TREE_BYTES
        example = pair + _reply(decode.vote.max_tokens) + _reply(decode.refine.max_tokens)
        return Counts(text_bytes=int(prompts * pair + examples * example))
    if stage.name == "eval":
        return Counts(evaluations=len(stage.order["items"]))
    steps = num_steps(stage) or _most_steps(config, stage, prompts)
    return Counts(**{f"{stage.name}_steps": steps})


def _generated(stage: Stage, config: DecodeConfig, prompts: int) -> Counts:
    vote = 2 * _reply(config.vote.max_tokens)  # the critique that is kept, and one that dissents
    trees = prompts * TREE_BYTES
    if stage.name == "search":
        # The root is given and free of the budget: one response more, less the root.
        free = config.model_copy(update={"budget": config.budget + 1})
        refined = prompts * (most_responses(free) - 1)
        # Reflection, response, and the whole reply where these are not all of it.
        node = NODE_BYTES + 2 * _reply(config.refine.max_tokens) + vote
        votes = refined * _votes_each(config)
        return Counts(
            refinements=refined, search_votes=votes, text_bytes=int(trees + refined * node)
        )
    drafts = prompts * config.budget
    node = NODE_BYTES + _reply(config.draft.max_tokens)
    if stage.name == "draft":
        return Counts(drafts=drafts, text_bytes=int(trees + drafts * node))
    votes = drafts * _votes_each(config)
    return Counts(draft_votes=votes, text_bytes=int(trees + drafts * (node + vote)))


def _votes_each(config: DecodeConfig) -> int:
    one = config.model_copy(update={"strategy": "best-of-n", "budget": 1})
    return most_calls(one, 1)[0] - 1


def _reply(max_tokens: int) -> float:
    return max_tokens * TYPICAL_SHARE * BYTES_A_TOKEN


def _most_examples(config: TrainConfig, prompts: int) -> int:
    """The refiner's examples: within the quotas, and of a tree one refinement and one judgement each way."""
    quotas = QUOTAS[config.quotas]
    drafted = prompts * config.samples
    most = min(quotas.refine, prompts)
    if quotas.each_verdict is not None:
        return most + 2 * min(quotas.each_verdict, prompts + drafted)
    trees = min(quotas.tree_yes, prompts) + min(quotas.tree_no, prompts)
    return most + trees + min(quotas.draft_yes, drafted) + min(quotas.draft_no, drafted)


def _most_steps(config: TrainConfig, stage: Stage, prompts: int) -> int:
    settings = trained(stage)
    pairs = min(prompts, config.max_pairs or prompts)
    examples = pairs if stage.name == "dpo" else _most_examples(config, prompts)
    return settings.max_steps or steps_of(examples, settings.batch, settings.epochs)
