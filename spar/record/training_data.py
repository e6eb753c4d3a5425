"""Training examples, each with the tree and node it came from, and the reports about sets of them.

A `Pair` teaches the actor by preference (DPO), an `Answer` by imitation (SFT); a `RefinerExample` teaches the
refiner (SFT on filtered conversations, the paper's RFT). A line of `dpo.jsonl` in the format `jsonl` is a pair:

    {"run": "search", "prompt_id": "nano-if/test/0/0", "chosen_node": 2, "rejected_node": 0, "swapped": false,
     "prompt": [{"role": "user", "content": "Write something short. ..."}],
     "chosen": "The fox sees the owl.", "rejected": "The fox, it sees the owl."}

`build.json` is a `BuildReport` in a loop's iteration and a `BootstrapReport` in a bootstrap.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, get_args

from pydantic import Field

from spar.types import Message, Record, Text

SourceRun = Literal["search", "drafts", "judgements"]
"""The run that a tree belongs to: the searches, the judged drafts, or judgements of one response each."""
MetaJudge = Literal["model", "verifier"]
"""Who ranks judgements: the judge's model itself, or programs that know which verdict is right."""
ExampleKind = Literal["refine", "tree", "draft"]
"""A winning refinement, a judgement of a node in a search, a judgement of a draft."""
Pairing = Literal["refined", "independent", "both", "best_worst", "reference", "pass_rate"]
"""A draft and its refinement (paper), two drafts of which one passes (the paper's ablation without refinement), of each
prompt that has them a pair of either kind, the drafts with the highest and the lowest score (Self-Rewarding), the
prompt's own reply and a draft (SPIN), or a draft that passes and one with a score of 0 (AutoIF)."""
PAIR_RUNS: Mapping[Pairing, tuple[SourceRun, ...]] = {
    "refined": ("search",),
    "independent": ("drafts",),
    "both": ("search", "drafts"),
    "best_worst": ("drafts",),
    "reference": ("drafts",),
    "pass_rate": ("drafts",),
}
"""The runs that pairs come from."""
NoPair = Literal["tied", "undecided", "long", "same"]
"""Why a prompt has no pair: its drafts have one score, fewer than two of them have one, the chosen side is too long, or
the draft is the prompt's own reply."""
REFERENCE_NODE = -1
"""In place of a node's id, where a side of a pair is the prompt's own reply."""
JudgementFilter = Literal["split", "decided"]
"""Judgements to learn from: those with a majority but not unanimous (paper), or all with a majority."""
ExportFormat = Literal["trl", "llamafactory", "jsonl"]
"""The format of the files of a data set (`spar.train.data.export`)."""
EXPORT_FORMATS: tuple[ExportFormat, ...] = get_args(ExportFormat)
ExclusionReason = Literal["unanswered", "cut", "without_tokens", "duplicate", "above_quota"]
"""Why a teacher's answer is not used."""


class Pair(Record):
    """Two responses to one prompt, the first of them preferred."""

    run: SourceRun
    """The run that holds the tree."""
    prompt_id: Text
    """The tree's prompt."""
    chosen_node: int
    """Id of the node whose response is `chosen`; `REFERENCE_NODE` for the prompt's own reply."""
    rejected_node: int
    """The same of `rejected`."""
    swapped: bool = False
    """Whether the sides were swapped at random: the control with shuffled labels."""
    prompt: tuple[Message, ...]
    """The conversation that the actor answered."""
    chosen: Text
    """The response that passed the gate, has the higher score, or is the prompt's own reply."""
    rejected: Text
    """The other response."""


class RefinerExample(Record):
    """One conversation of a search, for the refiner to learn."""

    kind: ExampleKind
    """What it teaches."""
    verdict: bool | None = None
    """The verdict of the judgement, None for a refinement."""
    run: SourceRun
    """The run that holds the tree."""
    prompt_id: Text
    """The tree's prompt."""
    node: int
    """Id of the node that was written or judged."""
    score: float
    """The judge's score of that node."""
    messages: tuple[Message, ...] = Field(min_length=2)
    """The conversation; the last turn is what the model wrote."""


class Answer(Record):
    """A teacher's answer, or a model's own that passed, for the actor to learn."""

    run: Literal["answers", "search", "drafts", "seeds"] = "answers"
    """The run that holds the tree; `seeds` for one that was there before the loop."""
    prompt_id: Text
    """The tree's prompt."""
    node: int
    """Id of the node that answers."""
    messages: tuple[Message, ...] = Field(min_length=2)
    """The prompt's turns, and the answer as the last."""


Conversation = Answer | RefinerExample
"""An example for supervised training."""


def texts_of(example: Pair | Conversation) -> Iterable[str]:
    """Every text of an example."""
    if isinstance(example, Pair):
        return (*(message.content for message in example.prompt), example.chosen, example.rejected)
    return (message.content for message in example.messages)


def is_encodable(example: Pair | Conversation) -> bool:
    """Whether every text has a UTF-8 form: a lone surrogate has none, and no tokenizer accepts it."""
    try:
        for text in texts_of(example):
            text.encode()
    except UnicodeEncodeError:
        return False
    return True


class Spread(Record):
    """The distribution of a number over many items."""

    mean: float
    p10: float
    """The 10th percentile."""
    median: float
    p90: float
    """The 90th percentile."""


class PairMeasures(Record):
    """Statistics of a set of pairs."""

    pairs: int
    swapped: int
    """Pairs whose sides were swapped at random."""
    cut: int = Field(default=0, exclude_if=lambda value: not value)
    """Pairs whose chosen side is the beginning of the rejected one, cut shorter and not changed otherwise."""
    edit_similarity: Spread | None
    """1 - Levenshtein distance / length of the longer side, in characters; None without pairs."""
    characters_more: Spread | None
    """Characters of the chosen side less those of the rejected one."""
    words_more: Spread | None
    """Words, separated by whitespace, of the chosen side less those of the rejected one."""
    embedding_similarity: Spread | None = None
    """Cosine similarity of the sides' sentence embeddings, None where no model was named."""


class JudgementMeasures(Record):
    """How a run's judge voted. Identical responses of a tree share a judgement, which counts once."""

    judgements: int
    yes_share: float | None
    """Judgements whose majority is Yes; None without any."""
    unanimous_share: float | None
    """Judgements of several votes in which all agree; None without any."""
    pairwise_agreement: float | None
    """Probability that two votes on one response agree, averaged over judgements of several votes."""
    split: int
    """Judgements with a majority but not unanimous."""
    unparsed_votes: int
    """Votes without a verdict."""
    mismatched: int
    """Judgements whose stored critique contradicts the majority; these are not used for training."""


class SourceReport(Record):
    """One of the runs that a data set was built from."""

    directory: Text
    digest: Text
    """Of its configuration; its trees carry it."""
    models: dict[Text, Text]
    """Role to model."""
    trees: int
    solved: int
    """Trees in which some node passed the gate."""
    votes: JudgementMeasures


class DatasetReport(Record):
    """What the reports of both kinds of data sets hold."""

    seed: int
    possible_examples: dict[str, int]
    """The refiner's examples by kind and verdict, before deduplication and quotas."""
    examples: dict[str, int]
    """The selected ones of these."""
    yes_share: float | None
    """Share of Yes among the selected judgements, None without any."""
    without_tokens: int
    """Examples excluded since they contain a lone surrogate, which has no UTF-8 form."""
    notes: tuple[Text, ...]
    """Human-readable hints."""
    files: dict[str, str]
    """File to the SHA-256 of its bytes."""


class JudgePairs(Record):
    """The pairs of judgements of a data set, and what became of the other responses."""

    by: MetaJudge
    """Who ranked the judgements."""
    responses: int
    """Responses whose judgements were ranked."""
    pairs: int
    undecided: int
    """Responses without a better and a worse judgement."""
    long: int
    """Those whose chosen judgement is too long."""
    comparisons: int
    """Comparisons by the meta-judge, 0 for programs."""
    unread: int
    """Those that name neither judgement."""
    first_wins: float | None
    """Share of the others in which the judgement that was shown first wins; 0.5 without a bias, None without any."""


class DraftMeasures(Record):
    """The drafts of an iteration: what tells a healthy loop from a sick one.

    A share is None where there is nothing to take it of. The truth is the programs', of drafts whose constraints they can check.
    """

    prompts: int
    drafts: int
    mean_words: float | None
    """Words of a draft, separated by white space."""
    judged: int
    """Drafts with a judgement."""
    mean_score: float | None
    """Of the judged drafts, by the judge, in [0, 1]."""
    passed_share: float | None
    """Share of the judged drafts that pass the gate."""
    tied: int
    """Prompts with several judged drafts, all of one score: nothing can be preferred."""
    usable: int
    """Prompts from which a pair, or an answer of the model's own, can be taken."""
    checked: int
    """Drafts whose constraints programs can check."""
    true_share: float | None
    """Share of these that meet every constraint."""
    right_share: float | None
    """Share of the judged ones among these on which the judge agrees with the programs; a tie of votes is wrong."""
    optimism: float | None = Field(default=None, exclude_if=lambda value: value is None)
    """Share of the judged ones among these that pass the gate, less the share of them that meet every constraint."""


class BuildReport(DatasetReport):
    """The data set of a loop's iteration; `build.json`."""

    pairing: Pairing
    shuffle_labels: bool
    quotas: Text
    export: ExportFormat
    runs: dict[SourceRun, SourceReport]
    possible_pairs: int
    """Pairs before `max_pairs`."""
    without_pair: dict[NoPair, int] = Field(
        default_factory=dict, exclude_if=lambda value: not value
    )
    """Prompts without a pair by reason, where pairs are `best_worst` or `reference`."""
    pairs: PairMeasures
    """The selected pairs."""
    pairs_by_run: dict[SourceRun, PairMeasures] = Field(
        default_factory=dict, exclude_if=lambda value: not value
    )
    """Those of either kind, where both are built."""
    answers: int | None = Field(default=None, exclude_if=lambda value: value is None)
    """Answers of the model's own, for `sft` or beside the refiner's examples; None where none are taken."""
    seeds: int | None = Field(default=None, exclude_if=lambda value: value is None)
    """Answers that were there before the loop, which `sft` learns too; None where there are none."""
    judge_pairs: JudgePairs | None = Field(default=None, exclude_if=lambda value: value is None)
    """The pairs of judgements, which are not among `pairs`; None where none are built."""
    drafts: DraftMeasures | None = Field(default=None, exclude_if=lambda value: value is None)
    """The drafts that the data were made of; None where there was no run of drafts, or by an earlier version."""


class AnswerCounts(Record):
    """What became of the teacher's answers to the actor's prompts."""

    prompts: int
    """Prompts that were sent."""
    kept: int
    """Answers in the data set."""
    left_out: dict[ExclusionReason, int]
    """The other answers, by reason."""


class DraftCounts(Record):
    """How the teacher judged the student's drafts."""

    drafts: int
    """Drafts; identical ones of a prompt count each."""
    passed: int
    """Above the gate."""
    failed: int
    """Judged, and not above the gate."""
    undecided: int
    """Without a judgement: the votes tied, or no verdict could be parsed."""
    reason: Text = ""
    """Why the first of these has none."""
    reply: Text = ""
    """One of the teacher's replies about it."""


class BootstrapReport(DatasetReport):
    """The data sets of a bootstrap; `build.json`."""

    judgements: JudgementFilter
    """Which judgements are used."""
    answers: AnswerCounts
    judged: DraftCounts
    runs: dict[str, SourceReport]
    """The runs `drafts` (as judged) and `search` (refinements), and how the teacher voted in them."""
