"""Offers: searches by name, as the ids of models.

    bfs-15/NAME            the strategy bfs with a budget of 15 responses
    greedy/NAME            a strategy that answers with one response has no number
    NAME, bfs-15           the first offer of the model; the search of that name

A client may name a strategy that is not listed, and change budget and judge of a listed one, within the server's
limits. It may name plug-ins of the tables only: `module:attribute` imports code, so that the server's own offers alone
may have it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from spar.config import DecodeConfig, ServeGroup
from spar.errors import SparError, UsageError
from spar.infer.engine import NoteCallback
from spar.infer.strategy import SearchConfig
from spar.plugins import JUDGES, STRATEGIES
from spar.run.resolve import models, shown_model, urls
from spar.serve.errors import invalid, model_not_found

UNKNOWN = "model"
"""Name of a server's model that has not been asked for its own."""
GREEDY = "greedy"
"""The strategy that answers what needs no search."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A search that a client can choose."""

    strategy: str
    budget: int
    judge: str = ""
    """"" for the judge of the settings."""

    @property
    def name(self) -> str:
        """`bfs-15`; the strategy alone where it makes one response only."""
        return self.strategy if answers_once(self.strategy) else f"{self.strategy}-{self.budget}"


@dataclass(frozen=True, slots=True)
class Offers:
    """What a server offers, and what it lets clients change."""

    model: str
    """Name of the model in ids."""
    listed: tuple[Offer, ...]
    """The first is the default."""
    max_budget: int
    default_budget: int
    """Of a strategy that is named without one."""

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of `/v1/models`."""
        return tuple(map(self.id_of, self.listed))

    def id_of(self, offer: Offer) -> str:
        """The id of an offer, `bfs-15/NAME`."""
        return f"{offer.name}/{self.model}"

    def find(self, model: str) -> Offer:
        """The search that an id of a model names.

        Raises
        ------
        ApiError
            There is none.
        """
        if model in ("", self.model):
            return self.listed[0]
        name = model.removesuffix(f"/{self.model}")
        for offer in self.listed:
            if name == offer.name:
                return offer
        if "/" not in name:
            strategy, budget = split(name)
            if strategy in self._strategies:
                return Offer(strategy, self._checked(strategy, budget, "model"))
        raise model_not_found(
            f"The model {shown(model)} does not exist; this server has {', '.join(self.ids)}, and other budgets up to "
            f"{self.max_budget}"
        )

    def changed(
        self, offer: Offer, strategy: str | None, budget: int | None, judge: str | None
    ) -> Offer:
        """An offer with what a request has changed of it.

        Raises
        ------
        ApiError
            A plug-in that is not in the tables, or a budget beyond the limit.
        """
        if strategy is not None:
            if strategy not in self._strategies:
                raise invalid(
                    f"there is no strategy {shown(strategy)}; accepted: {', '.join(self._strategies)}",
                    "spar.strategy",
                )
            if budget is None and strategy != offer.strategy:
                budget = self._of_strategy(strategy)
            offer = replace(offer, strategy=strategy)
        if judge is not None:
            if judge not in JUDGES:
                accepted = ", ".join(JUDGES)
                raise invalid(
                    f"there is no judge {shown(judge)}; accepted: {accepted}", "spar.judge"
                )
            offer = replace(offer, judge=judge)
        if budget is not None:
            offer = replace(offer, budget=self._checked(offer.strategy, budget, "spar.budget"))
        return offer

    def greedy(self) -> Offer:
        """The search of requests that need none."""
        return Offer(GREEDY, 1)

    @property
    def _strategies(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys([*(offer.strategy for offer in self.listed), *STRATEGIES]))

    def _of_strategy(self, strategy: str) -> int:
        listed = (offer.budget for offer in self.listed if offer.strategy == strategy)
        return next(listed, self.default_budget)

    def _checked(self, strategy: str, budget: int | None, param: str) -> int:
        if answers_once(strategy):
            return 1
        if budget is None:
            return self._of_strategy(strategy)
        if not 1 <= budget <= self.max_budget:
            raise invalid(
                f"the budget {budget} is out of range; accepted: 1 to {self.max_budget}", param
            )
        return budget


def open_offers(
    config: DecodeConfig, serve: ServeGroup, note: NoteCallback = lambda _: None
) -> Offers:
    """The offers that are listed for a server (`serve.offer`), or else those of its settings.

    Raises
    ------
    UsageError
        A name that is no search, or a budget beyond the limit.
    """
    names = [part.strip() for text in serve.offer for part in text.split(",") if part.strip()]
    if serve.offer:
        listed: Iterable[Offer] = (_named(name, config.budget, serve.max_budget) for name in names)
    else:
        listed = _all(config, note)
    offers = tuple({offer.name: offer for offer in listed}.values())
    if not offers:
        raise UsageError("--offer names no search; expected STRATEGY-BUDGET, such as bfs-15")
    return Offers(model_name(config, serve), offers, serve.max_budget, config.budget)


def model_name(config: DecodeConfig, serve: ServeGroup) -> str:
    """The actor's model as clients see it: `--served-name`, or its own, of a folder's path the last part.

    That of a server is `UNKNOWN` until the settings are resolved.
    """
    if serve.served_name:
        return serve.served_name
    name = models(config)["actor"]
    if not name and urls(config)["actor"]:
        return UNKNOWN
    name = shown_model(name)
    is_path = name.startswith(("/", ".", "~")) or name.count("/") > 1
    return name.rstrip("/").rpartition("/")[2] if is_path else name


def split(name: str) -> tuple[str, int | None]:
    """Strategy and budget of a search's name; None where it has no budget."""
    head, _, tail = name.rpartition("-")
    if head and tail.isascii() and tail.isdecimal() and len(tail) < 8 and name not in STRATEGIES:
        return head, int(tail)
    return name, None


def answers_once(strategy: str) -> bool:
    """Whether a strategy makes one response, whatever the budget."""
    return STRATEGIES.spec(strategy).num_responses(SearchConfig(), 2) == 1


def shown(text: str) -> str:
    """What a client sent, cut for a message about it."""
    return ascii(text if len(text) <= 100 else f"{text[:100]}...")


def _named(name: str, default: int, limit: int) -> Offer:
    strategy, budget = split(name)
    STRATEGIES.check(strategy, "strategy in --offer")
    if answers_once(strategy):
        return Offer(strategy, 1)
    budget = default if budget is None else budget
    if not 1 <= budget <= limit:
        raise UsageError(
            f"--offer {name}: the budget is out of range; accepted: 1 to {limit} (--max-budget)"
        )
    return Offer(strategy, budget)


def _all(config: DecodeConfig, note: NoteCallback) -> Iterable[Offer]:
    for strategy in dict.fromkeys([config.strategy, *STRATEGIES]):
        try:
            yield Offer(strategy, 1 if answers_once(strategy) else config.budget)
        except (SparError, ImportError) as error:
            if strategy == config.strategy:
                raise
            note(f"the strategy {strategy} is not offered: {error}")
