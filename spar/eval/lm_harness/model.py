"""`spar` as a model of lm-eval, for its command line and its functions.

    python -m spar.eval.lm_harness --model spar --model_args model=DIR,strategy=bfs,budget=15 \\
        --tasks gsm8k --apply_chat_template
    simple_evaluate(model=SparLM(model="DIR"), tasks=["gsm8k"])

Arguments are the settings of `spar eval` (`spar.config.EvalConfig`), `recipe`, and `out`: a directory
that stores the searches, so that the same command resumes and `spar tui` shows them. Without it each call has
a folder of its own, and all are deleted at the end. Requests come as text or, under `--apply_chat_template`, as conversations. The command line
frees the models at its end; other callers call `close`.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from lm_eval.api.model import LM

from spar.config import EvalConfig
from spar.errors import ConfigChanged, UsageError
from spar.eval.benchmark import ANSWERS
from spar.eval.lm_harness.jobs import likelihood_job, reply_job
from spar.eval.lm_harness.likelihoods import read_likelihoods
from spar.eval.lm_harness.replay import check_prompts, stored_likelihoods, stored_replies
from spar.eval.lm_harness.requests import (
    LikelihoodRequest,
    ReplyRequest,
    likelihood_requests,
    reply_requests,
    to_chat,
)
from spar.listener import LogListener
from spar.run.interactive import Session
from spar.run.job import Job
from spar.run.keywords import eval_config
from spar.run.resolve import models, shown_model
from spar.store import read_trees
from spar.types import SearchTree


class SparLM(LM):  # type: ignore[misc]  # lm-eval has no types
    """Answers by spar's search, and scores texts by its engines.

    Parameters
    ----------
    out:
        A directory for the searches, which a later call with other settings or other prompts is refused; "" gives each
        call a folder of its own and deletes all of them at the end.
    recipe:
        As `spar eval --recipe`; "" is the paper's for a model that is named, else the embedded one's.
    settings:
        Fields of `EvalConfig`. `pretrained` is another name for `model`.

    Raises
    ------
    UsageError
        An unknown setting, or one out of range.
    """

    def __init__(self, *, out: str = "", recipe: str = "", **settings: Any) -> None:
        super().__init__()
        # lm-eval's command line hands its own flags on; batches are the engine's business.
        for flag in ("batch_size", "max_batch_size"):
            settings.pop(flag, None)
        config = config_of(settings, recipe)
        self._temporary = None if out else tempfile.TemporaryDirectory(prefix="spar-")
        self._directory = Path(self._temporary.name if self._temporary else out)
        self._numbers = count(1)
        self._session = Session(config, LogListener(logging.getLogger(__name__)))

    @property
    def config(self) -> EvalConfig:
        """The settings, with nothing left open after the first request."""
        return self._session.config

    @property
    def tokenizer_name(self) -> str:
        """Identifies the chat template in lm-eval's caches of requests."""
        return shown_model(models(self.config)["actor"]).replace("/", "__") or "served"

    def apply_chat_template(
        self, chat_history: Sequence[Mapping[str, str]], add_generation_prompt: bool = True
    ) -> str:
        """The conversation itself, which the engine puts through the model's template."""
        return to_chat(chat_history, add_generation_prompt)

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """The answers of searches."""
        asks = reply_requests(requests)
        trees = self._run(reply_job(ANSWERS, asks), asks, self._folder())
        return stored_replies(asks, {tree.prompt.id: tree.answer for tree in trees})

    def loglikelihood(
        self, requests: Sequence[Any], disable_tqdm: bool = False
    ) -> list[tuple[float, bool]]:
        """Log-probabilities by the actor's engine."""
        return self._score("likelihoods", requests)

    def loglikelihood_rolling(
        self, requests: Sequence[Any], disable_tqdm: bool = False
    ) -> list[float]:
        """Log-probabilities of whole texts by the actor's engine."""
        return [logprob for logprob, _ in self._score("rolling", requests)]

    def close(self) -> None:
        """Free the models; safe to call twice."""
        self._session.close()
        if self._temporary is not None:
            self._temporary.cleanup()

    def _score(self, job: str, requests: Sequence[Any]) -> list[tuple[float, bool]]:
        asks = likelihood_requests(requests)
        directory = self._folder() / job
        with likelihood_job(job, asks, directory) as scoring:
            trees = self._run(scoring, asks, directory)
        refused = frozenset(tree.prompt.id for tree in trees if tree.answer is None)
        return stored_likelihoods(requests, read_likelihoods(directory), refused)

    def _folder(self) -> Path:
        """The user's folder, in which a call finds what an earlier one stored; else one for this call alone."""
        return self._directory / str(next(self._numbers)) if self._temporary else self._directory

    def _run(
        self, job: Job, asks: Sequence[ReplyRequest | LikelihoodRequest], directory: Path
    ) -> list[SearchTree]:
        try:
            self._session.run(job, directory)
        except ConfigChanged as error:
            advice = (
                "out (SparLM(out=DIR), --model_args out=DIR) keeps the searches of one evaluation: give another folder for "
                "other settings or other worked examples, or delete this one"
            )
            raise ConfigChanged(
                error.problem, ("\n" if "\n" in error.problem else "; ") + advice
            ) from error
        ids = {prompt.id for prompt in job.prompts}
        trees = [tree for tree in read_trees(directory) if tree.prompt.id in ids]
        check_prompts(asks, trees, directory)
        return trees


def config_of(settings: Mapping[str, Any], recipe: str = "") -> EvalConfig:
    """Settings of a run out of an lm-eval model's arguments.

    Raises
    ------
    UsageError
        An unknown setting, or one out of range.
    """
    # Names of earlier versions are accepted, as in recipes.
    arguments = EvalConfig.field_names(
        {name: value for name, value in settings.items() if value is not None}
    )
    if "pretrained" in arguments:
        arguments["model"] = arguments.pop("pretrained")
    if str(arguments.get("device", "")) in ("cuda", "cuda:0"):
        del arguments["device"]  # lm-eval's own default, also where there is no GPU
    unknown = sorted(arguments.keys() - EvalConfig.model_fields.keys())
    if unknown:
        raise UsageError(
            f"--model_args {unknown[0]}={arguments[unknown[0]]}: spar has no such setting (accepted: those "
            "of spar.config.EvalConfig, recipe, out)"
        )
    config = eval_config(recipe or None, arguments)
    if config.answer_rule != "best":
        raise UsageError(
            f"--model_args answer_rule={config.answer_rule}: a model of lm-eval does not know its task's filter; use "
            "spar eval TASK --answer"
        )
    return config
