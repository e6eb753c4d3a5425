"""How likely a model finds given texts: whether a training broke what it could write before.

    spar eval perplexity --model DIR                           replies to plain prompts, written by people
    spar eval perplexity --model DIR --prompts texts.txt       texts of one's own

Dataset: the replies of the data set `seed_prompts` (427 of self-instruct), or the rows of `--prompts`. A row with a reply (Alpaca's
         `output`, or the assistant's last turn) is that reply after its prompt, through the chat template; any other row is
         a text without a context.
Metric:  `nats_per_token` and `nats_per_byte`: the negative log-likelihood of all texts by their tokens, and by their bytes in
         UTF-8, which compares models of different tokenizers; lower is better. The perplexity, exp of the first, is a note.
Pattern: likelihoods are asked of the engine, and nothing is generated. An end of turn is not scored.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from spar.config import EvalConfig
from spar.conversations import REPLY
from spar.errors import UsageError
from spar.eval.benchmark import ANSWERS, Benchmark, JobOutputs, JobRunner, Work
from spar.eval.datasets import seed_prompts
from spar.eval.lm_harness.jobs import likelihood_job
from spar.eval.lm_harness.likelihoods import ScoredDocument, read_likelihoods
from spar.eval.lm_harness.requests import LikelihoodRequest
from spar.infer.engine import Continuation
from spar.prompts import read_prompts
from spar.record.evaluation import UNSCORED, Example, Scored
from spar.types import Prompt

PER_TOKEN, PER_BYTE = "nats_per_token", "nats_per_byte"


class Perplexity(Benchmark):
    """The benchmark `perplexity`; see the module's docstring."""

    reads_prompts = True
    data = (seed_prompts.NAME,)
    headline = PER_BYTE

    @property
    def likelihoods_of(self) -> str:
        """Those of a file, or of the data set."""
        return "the texts of --prompts, or people's replies"

    def load(self, config: EvalConfig) -> list[Prompt]:
        """A prompt for each text.

        Raises
        ------
        UsageError
            The data are missing, a row is malformed, or every text is blank.
        """
        if config.prompts:
            prompts = list(read_prompts(config.prompts, prompt_field=config.prompt_field))
        else:
            prompts = list(_replies(config.data))
        if not any(map(_is_scorable, prompts)):
            raise UsageError(f"perplexity: {config.prompts} has no text to score")
        return prompts

    async def respond(self, runner: JobRunner, examples: Sequence[Prompt]) -> None:
        """Have the texts scored."""
        directory = runner.outputs.directory
        if directory is None:
            return
        requests = [
            LikelihoodRequest(prompt, (_continuation(prompt),))
            for prompt in examples
            if _is_scorable(prompt)
        ]
        with likelihood_job(ANSWERS, requests, directory) as job:
            await runner.run(job)

    def work(self, config: EvalConfig, examples: Sequence[Prompt]) -> Work:
        """The texts that are not blank."""
        return Work(texts=sum(map(_is_scorable, examples)))

    def score(self, examples: Sequence[Prompt], outputs: JobOutputs) -> Scored:
        """Sum up the likelihoods; a blank text, or a reply that is longer than the context, is left out and counted."""
        documents = read_likelihoods(outputs.directory / ANSWERS) if outputs.directory else {}
        answers = outputs.answers()
        refused = {name for name, answer in answers.items() if answer.text is None}
        scored = [
            _example(prompt, None if prompt.id in refused else documents.get(prompt.id))
            for prompt in examples
        ]
        return Scored(
            examples=tuple(scored),
            counts={UNSCORED: sum(not example.scores for example in scored)},
            notes=tuple(_notes(scored)),
            units={PER_TOKEN: "nats", PER_BYTE: "nats"},
        )


def _replies(data: str) -> Iterator[Prompt]:
    """The data set's prompts that have a reply."""
    prompts = seed_prompts.seed_prompts(data)
    return (prompt for prompt in prompts if REPLY in prompt.meta and _is_scorable(prompt))


def _is_scorable(prompt: Prompt) -> bool:
    """Whether a prompt has a text that is not blank."""
    return bool(_text(prompt).strip())


def _text(prompt: Prompt) -> str:
    """The text to score."""
    reply = prompt.meta.get(REPLY)
    return reply if isinstance(reply, str) else prompt.messages[-1].content


def _continuation(prompt: Prompt) -> Continuation:
    has_reply = isinstance(prompt.meta.get(REPLY), str)
    return Continuation(prompt.messages if has_reply else "", _text(prompt))


def _example(prompt: Prompt, document: ScoredDocument | None) -> Example:
    text = _text(prompt)
    scores: dict[str, tuple[float, float]] = {}
    if document is not None:
        nats, tokens = -document.likeliest.logprob, float(document.likeliest.tokens)
        scores = {PER_TOKEN: (nats, tokens), PER_BYTE: (nats, float(len(text.encode())))}
    return Example(id=prompt.id, response=text, passed=None, scores=scores)


def _notes(examples: Sequence[Example]) -> Iterator[str]:
    shares = [example.scores[PER_TOKEN] for example in examples if example.scores]
    nats, tokens = (sum(share[part] for share in shares) for part in (0, 1))
    if tokens:
        yield f"perplexity {math.exp(min(nats / tokens, 700.0)):.2f} a token, over {tokens:,.0f} tokens"
