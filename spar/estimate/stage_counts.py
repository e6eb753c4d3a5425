"""How much the stages of a training loop generate and train, at most, and how many bytes they write.

Upper bounds: a prompt without a failing draft is not searched, identical drafts are judged once, and a draft is
paired once. The lengths of texts are typical ones.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from spar.estimate.calls import most_responses
from spar.plugins import JUDGES, REFINERS
from spar.record.training_data import PAIR_RUNS
from spar.train.data.selection import QUOTAS
from spar.train.recipe import TrainConfig
from spar.train.specs import (
    BuildSpec,
    ComparisonSpec,
    DraftSpec,
    EvalStageSpec,
    GenerationSpec,
    GivenSpec,
    JudgementsSpec,
    SearchSpec,
    TrainingSpec,
)
from spar.train.stage import Stage

NODE_BYTES, TREE_BYTES = 650, 800
"""A node and a tree without their texts."""
TYPICAL_SHARE, BYTES_PER_TOKEN = 0.2, 4
"""The share of its token limit that a reply typically uses, and the bytes of a token."""


@dataclass(frozen=True, slots=True)
class StageCounts:
    """Upper bounds of what is generated, trained and written."""

    drafts: int = 0
    draft_votes: int = 0
    refinements: int = 0
    """By a model."""
    program_refinements: int = 0
    """By a program, without a call."""
    search_votes: int = 0
    evaluations: int = 0
    text_bytes: int = 0
    """Trees and training data."""
    steps: Counter[str] = field(default_factory=Counter)
    """Training stage to optimizer steps."""

    def __add__(self, other: StageCounts) -> StageCounts:
        return StageCounts(
            drafts=self.drafts + other.drafts,
            draft_votes=self.draft_votes + other.draft_votes,
            refinements=self.refinements + other.refinements,
            program_refinements=self.program_refinements + other.program_refinements,
            search_votes=self.search_votes + other.search_votes,
            evaluations=self.evaluations + other.evaluations,
            text_bytes=self.text_bytes + other.text_bytes,
            steps=self.steps + other.steps,
        )


def count_stage(config: TrainConfig, stage: Stage, prompts: int) -> StageCounts:
    """What one stage generates, trains and writes.

    Parameters
    ----------
    prompts:
        Of an iteration.
    """
    match stage.spec:
        case GenerationSpec():
            return _count_generation(stage.spec, _prompts_of(config, stage.name, prompts))
        case BuildSpec():
            decode = config.decode
            pair = 2 * _reply_bytes(decode.draft.max_tokens) + TREE_BYTES
            judgement = _reply_bytes(decode.vote.max_tokens)
            example = pair + judgement + _reply_bytes(decode.refine.max_tokens)
            examples = _most_examples(config, prompts) if "rft" in config.methods else 0
            pairs = _all_pairs(config, prompts) if "dpo" in config.methods else 0
            return StageCounts(text_bytes=int(pairs * pair + examples * example))
        case EvalStageSpec():
            return StageCounts(evaluations=len(stage.spec.items))
        case TrainingSpec():
            steps = stage.spec.num_steps or _most_steps(config, stage.name, stage.spec, prompts)
            return StageCounts(steps=Counter({stage.name: steps}))
    return StageCounts()


def most_pairs(config: TrainConfig, prompts: int) -> int:
    """The pairs of answers that an iteration's prompts can give: of each prompt one from a run, at most `max_pairs`.

    Two drafts make a pair, a draft and its refinement, or a draft and the prompt's own reply.
    """
    runs = PAIR_RUNS[config.pairs]
    takes_two_drafts = "drafts" in runs and config.pairs != "reference"
    num_runs = len(runs) - (takes_two_drafts and config.samples < 2)
    return min(prompts * num_runs, config.max_pairs or prompts * num_runs)


def _prompts_of(config: TrainConfig, name: str, prompts: int) -> int:
    """The prompts of a stage: an iteration's, but where functions are written and described."""
    if config.functions is None or name not in ("functions", "back", "compare"):
        return prompts
    instructions = config.functions.num_instructions
    return instructions * (1 if name == "functions" else config.functions.back_translations)


def _count_generation(spec: GenerationSpec, prompts: int) -> StageCounts:
    config = spec.config
    votes_each = JUDGES.spec(config.judge).num_calls(config)
    # A critique of either side is stored, or every vote and once more the critique.
    texts = votes_each + 1 if config.keep_votes else 2
    vote = texts * _reply_bytes(config.vote.max_tokens)
    trees = prompts * TREE_BYTES
    if isinstance(spec, SearchSpec):
        # The root is free of the budget: one response more, less the root.
        free = config.model_copy(update={"budget": config.budget + 1})
        refined = prompts * (most_responses(free) - 1)
        # A node holds reflection and response, and the whole reply where these are not all of it.
        node = NODE_BYTES + 2 * _reply_bytes(config.refine.max_tokens) + vote
        by_model = REFINERS.spec(config.refiner or "model").uses_model
        return StageCounts(
            refinements=refined if by_model else 0,
            program_refinements=0 if by_model else refined,
            search_votes=refined * votes_each,
            text_bytes=int(trees + refined * node),
        )
    if isinstance(spec, JudgementsSpec | ComparisonSpec):
        of_prompt = config.votes * (config.votes - 1 if isinstance(spec, ComparisonSpec) else 1)
        replies = prompts * of_prompt
        return StageCounts(
            draft_votes=replies, text_bytes=int(trees + replies * (NODE_BYTES + vote))
        )
    drafts = prompts * config.budget
    node = NODE_BYTES + _reply_bytes(config.draft.max_tokens)
    if isinstance(spec, GivenSpec):
        return StageCounts(text_bytes=int(trees + drafts * node))
    if isinstance(spec, DraftSpec):
        return StageCounts(drafts=drafts, text_bytes=int(trees + drafts * node))
    return StageCounts(
        draft_votes=drafts * votes_each, text_bytes=int(trees + drafts * (node + vote))
    )


def _reply_bytes(max_tokens: int) -> float:
    return max_tokens * TYPICAL_SHARE * BYTES_PER_TOKEN


def _most_examples(config: TrainConfig, prompts: int) -> int:
    """The refiner's examples: within the quotas, a tree yields a refinement and a judgement of either verdict."""
    quotas = QUOTAS[config.quotas]
    drafts = prompts * config.samples
    refinements = min(quotas.refine, prompts)
    refinements += prompts * config.own_answers
    if quotas.each_verdict is not None:
        return refinements + 2 * min(quotas.each_verdict, prompts + drafts)
    trees = min(quotas.tree_yes, prompts) + min(quotas.tree_no, prompts)
    return refinements + trees + min(quotas.draft_yes, drafts) + min(quotas.draft_no, drafts)


def _most_steps(config: TrainConfig, name: str, spec: TrainingSpec, prompts: int) -> int:
    if spec.method_name == "sft":
        seeds = 0 if config.backtranslation is None else config.backtranslation.num_seeds
        return spec.settings.num_steps(seeds + (0 if name == "backward" else prompts))
    actor = spec.role == "actor"
    return spec.settings.num_steps((_all_pairs if actor else _most_examples)(config, prompts))


def _all_pairs(config: TrainConfig, prompts: int) -> int:
    """The actor's pairs, with those of judgements."""
    return most_pairs(config, prompts) + prompts * config.judge_pairs
