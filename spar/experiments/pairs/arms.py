"""The kinds of pairs of Figure 1: made of drafts of the same prompts, with the same rejected sides; trained, measured.

    prompt -> several drafts -> one that fails (rejected), and by kind of pair the chosen side:
        refined          the failing draft, edited until it passes
        half rewritten   that text with every other sentence replaced, in the same style
        independent      another draft of the prompt, which passes by itself

Only prompts that have all of them count. The judge is the truth: programs.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

from spar.config import load_eval
from spar.eval.perplexity import PER_TOKEN
from spar.experiments.evaluations import run_evaluation
from spar.experiments.experiment import Plan
from spar.experiments.pairs.subjects import (
    ADORNED,
    PLAIN,
    RIGHT,
    WRONG,
    Subject,
    dpo_settings,
    subject_of,
)
from spar.experiments.pairs.trainings import run_training
from spar.record.evaluation import Example, Share, shares_of
from spar.record.training import read_metrics
from spar.record.training_data import Pair
from spar.train.data.export import trl_pair
from spar.train.data.measure import measure_pairs
from spar.train.stage_runner import write_prompts
from spar.types import Prompt
from spar.verifiers import passes

REFINED, HALF, INDEPENDENT = "refined", "half rewritten", "independent"
_LAST = 3
"""Steps whose training metrics are averaged."""

Shares = dict[str, Share]


@dataclass(frozen=True, slots=True)
class Treatment:
    """One training: a kind of pairs, a learning rate as a part of the recipe's, and a number of steps."""

    arm: str = ""
    """"" for the start."""
    part: float = 1.0
    steps: int = 0


START = Treatment()


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is drafted, trained and tested."""

    parts: tuple[float, ...]
    """Learning rates, as parts of the recipe's."""
    steps: tuple[int, ...]
    """Optimizer steps of a training each."""
    prompts: int
    """Training prompts of a seed; those that have pairs of every kind are used."""
    limit: int
    """Test prompts."""
    samples: int = 5
    """Drafts of a training prompt."""

    @classmethod
    def of(cls, plan: Plan) -> Sizes:
        """Those of the report, or small ones."""
        return cls(
            (1.0,) if plan.quick else (1.0, 0.5),
            (4,) if plan.quick else (4, 12),
            plan.num_prompts(320, quick=20),
            plan.num_prompts(200, quick=12),
        )

    def treatments(self, arms: Iterable[str]) -> list[Treatment]:
        """Every training; half rewritten pairs have one, at the first learning rate and the last number of steps."""
        return [
            Treatment(arm, part, steps)
            for arm in arms
            for part in self.parts
            for steps in self.steps
            if arm != HALF or (part, steps) == (self.parts[0], self.steps[-1])
        ]


@dataclass(frozen=True, slots=True)
class Measures:
    """What a model does, and of a trained one what its own pairs say."""

    passed: Shares
    traits: Mapping[str, Shares]
    """Trait to each answer's share of it."""
    logprobs: Mapping[str, float]
    """Id of a text to its log-probability, in nats."""
    accuracy: float | None = None
    """Share of its own pairs whose chosen side has gained more than the rejected one, at the end of its training."""
    margin: float | None = None
    """By how many nats, times beta."""
    cut: Shares = field(default_factory=dict)
    """Answers that end at the token limit."""

    def margin_growth(self, start: Measures) -> Shares:
        """By how many nats a text that meets its prompt has gained on the same text with one constraint violated, since the start."""
        right, wrong = self._growth(start, RIGHT), self._growth(start, WRONG)
        return {name: (right[name] - wrong[name], 1.0) for name in right}

    def likelier(self, start: Measures) -> Shares:
        """By how many nats a text that meets its prompt has become likelier since the start."""
        return {name: (value, 1.0) for name, value in self._growth(start, RIGHT).items()}

    def style_moved(self, start: Measures) -> Shares:
        """By how many nats, up or down, the choice between two texts that differ in style alone has moved since the start."""
        adorned, plain = self._growth(start, ADORNED), self._growth(start, PLAIN)
        return {name: (abs(adorned[name] - plain[name]), 1.0) for name in adorned}

    def _growth(self, start: Measures, text: str) -> dict[str, float]:
        """Test prompt to how much likelier its text of this name is than at the start."""
        return {
            name.removesuffix(f"/{text}"): logprob - start.logprobs[name]
            for name, logprob in self.logprobs.items()
            if name.endswith(f"/{text}")
        }


@dataclass(frozen=True, slots=True)
class Arms:
    """The pairs of one seed, and the models that are trained on them."""

    plan: Plan
    seed: int
    subject: Subject
    home: Path
    start: str
    """The model that every training starts from."""
    tests: tuple[Prompt, ...]
    pairs: Mapping[str, tuple[Pair, ...]]
    """Arm to its pairs, in the same order of prompts."""

    async def measure(self, treatment: Treatment) -> Measures:
        """A model's answers to the test prompts and its likelihoods of the texts; it is trained where it is missing."""
        home = self.home / _name(treatment)
        model = self.start if treatment == START else await self._train(home, treatment)
        answers = await _answers(self.plan, self.subject, self.tests, model, home, seed=self.seed)
        traits = {
            name: {each.id: trait(each.response or "") for each in answers}
            for name, trait in self.subject.traits.items()
        }
        logprobs = await self._logprobs(model, home)
        own = (None, None) if treatment == START else _own_pairs(home / "dpo")
        cut = {each.id: (float(each.usage.cut_calls > 0), 1.0) for each in answers}
        return Measures(shares_of(answers, "pass"), traits, logprobs, *own, cut=cut)

    async def _train(self, home: Path, treatment: Treatment) -> str:
        settings = dpo_settings(self.subject)
        changes = {
            "learning_rate": treatment.part * settings["learning_rate"],
            "max_steps": treatment.steps,
            "seed": self.seed,
            "model": self.start,
        }
        rows = map(trl_pair, self.pairs[treatment.arm])
        return await run_training(home, "dpo", rows, {**settings, **changes})

    async def _logprobs(self, model: str, home: Path) -> dict[str, float]:
        texts, file = list(self.subject.texts(self.tests)), home / "texts.jsonl"
        if not texts:
            return {}
        write_prompts(file, texts)
        settings = {**_settings(self.plan, self.subject, model, self.seed), "prompts": str(file)}
        config = load_eval(self.subject.answering, settings)
        examples = await run_evaluation(self.plan, "perplexity", config, home / "texts")
        return {name: -nats for name, (nats, _) in shares_of(examples, PER_TOKEN).items()}


async def open_arms(plan: Plan, seed: int, *, prompts: int, samples: int, tests: int) -> Arms:
    """Take drafts of a seed's prompts and make the pairs of every kind.

    Parameters
    ----------
    prompts, tests:
        How many prompts of either kind.
    samples:
        Drafts of a training prompt.
    """
    subject = subject_of(plan)
    start = await subject.start(plan)
    asked = subject.training_prompts(plan, seed, prompts)
    if subject.written_drafts is None:
        by_prompt = await _sampled_drafts(plan, subject, asked, samples, seed)
    else:
        by_prompt = {
            prompt.id: subject.written_drafts(prompt, samples, _rng(seed, prompt))
            for prompt in asked
        }
    pairs: dict[str, list[Pair]] = defaultdict(list)
    for prompt in asked:
        texts = sides(subject, prompt, by_prompt.get(prompt.id, ()), seed)
        for arm, (chosen, rejected) in texts.items():
            pairs[arm].append(_pair(prompt, chosen, rejected))
    return Arms(
        plan=plan,
        seed=seed,
        subject=subject,
        home=_home(plan, seed),
        start=start,
        tests=tuple(subject.test_prompts(plan, tests)),
        pairs={arm: tuple(each) for arm, each in pairs.items()},
    )


def sides(
    subject: Subject, prompt: Prompt, drafts: Sequence[str], seed: int
) -> dict[str, tuple[str, str]]:
    """Arm to the chosen and the rejected side of a prompt's pair; {} where the prompt has not every kind."""
    rng = _rng(seed, prompt)
    texts = [draft.strip() for draft in drafts]
    passing = [text for text in texts if passes(text, prompt)]
    failing = [text for text in texts if text and text not in passing]
    if not passing or not failing:
        return {}
    rejected = rng.choice(failing)
    chosen = {INDEPENDENT: rng.choice(passing), REFINED: subject.refine(prompt, rejected, rng)}
    if subject.rewrite_half is not None and (refined := chosen[REFINED]) is not None:
        chosen[HALF] = subject.rewrite_half(prompt, refined, rng)
    made = {arm: (text, rejected) for arm, text in chosen.items() if text is not None}
    return made if len(made) == len(chosen) else {}


@dataclass(frozen=True, slots=True)
class PairFacts:
    """How alike the sides of an arm's pairs are."""

    pairs: int
    similarity: float
    """Mean edit similarity."""
    words_more: float
    """Mean number of words of the chosen side less those of the rejected one."""
    traits: Mapping[str, float]
    """Trait to the mean distance of the sides in it."""


def facts_of(subject: Subject, pairs: Sequence[Pair]) -> PairFacts:
    """The facts of some pairs, of which there is at least one."""
    measured = measure_pairs(pairs)
    assert measured.edit_similarity is not None and measured.words_more is not None
    distances = {
        name: fmean(abs(_ratio(trait(p.chosen)) - _ratio(trait(p.rejected))) for p in pairs)
        for name, trait in subject.traits.items()
    }
    return PairFacts(len(pairs), measured.edit_similarity.mean, measured.words_more.mean, distances)


async def _sampled_drafts(
    plan: Plan, subject: Subject, prompts: Sequence[Prompt], samples: int, seed: int
) -> Mapping[str, Sequence[str]]:
    """Prompt's id to the start's drafts, without those that were cut at the token limit."""
    copies = [
        prompt.model_copy(update={"id": f"{prompt.id}-{number}"})
        for prompt in prompts
        for number in range(samples)
    ]
    home = _home(plan, seed) / "drafts"
    start = await subject.start(plan)
    drafts = await _answers(plan, subject, copies, start, home, seed=seed)
    by_prompt: dict[str, list[str]] = defaultdict(list)
    for example in sorted(drafts, key=lambda each: each.id):
        if not example.usage.cut_calls:
            by_prompt[example.id.rpartition("-")[0]].append(example.response or "")
    return by_prompt


def _home(plan: Plan, seed: int) -> Path:
    return plan.folder("figure1") / f"seed-{seed}"


def _rng(seed: int, prompt: Prompt) -> random.Random:
    return random.Random(f"figure1/{seed}/{prompt.id}")


async def _answers(
    plan: Plan, subject: Subject, prompts: Iterable[Prompt], model: str, home: Path, *, seed: int
) -> list[Example]:
    """One sampled answer to each prompt, with the truth of it."""
    file = home / "prompts.jsonl"
    home.mkdir(parents=True, exist_ok=True)
    write_prompts(file, prompts)
    settings = {**_settings(plan, subject, model, seed), "prompts": str(file)}
    config = load_eval(subject.answering, {**settings, "greedy_first": False})
    return await run_evaluation(plan, "checkable", config, home / "answers")


def _settings(plan: Plan, subject: Subject, model: str, seed: int) -> dict[str, object]:
    return {**subject.settings, "engine": plan.engine, "seed": seed, "actor_model": model}


def _pair(prompt: Prompt, chosen: str, rejected: str) -> Pair:
    return Pair(
        run="drafts",
        prompt_id=prompt.id,
        chosen_node=0,
        rejected_node=0,
        prompt=prompt.messages,
        chosen=chosen,
        rejected=rejected,
    )


def _name(treatment: Treatment) -> str:
    if treatment == START:
        return "start"
    return f"{treatment.arm.replace(' ', '-')}-{treatment.part:g}-{treatment.steps}"


def _own_pairs(training: Path) -> tuple[float | None, float | None]:
    """Accuracy and margin of the rewards on the pairs that were trained on, over its last steps."""
    rows = read_metrics(training)[-_LAST:]

    def mean(metric: str) -> float | None:
        known = [value for row in rows if (value := row.values.get(metric)) is not None]
        return fmean(known) if known else None

    return mean("rewards/accuracies"), mean("rewards/margins")


def _ratio(share: Share) -> float:
    return share[0] / share[1]
