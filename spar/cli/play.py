"""What the play screen of the browser searches with: a `spar.run.interactive.Session` for the model that was typed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from spar.cli.plugin_errors import describe_plugin_error
from spar.config import DecodeConfig
from spar.embedded import CHECKPOINT
from spar.errors import RunStopped, SparError, UsageError
from spar.listener import Listener
from spar.plugins import JUDGES, STRATEGIES
from spar.rows.row import error_line
from spar.types import Prompt, SearchTree
from spar.view.node_detail import ConstraintCheck
from tui.play import PlaySettings, Sample

if TYPE_CHECKING:
    from spar.run.interactive import Session

SOURCE = "play"
"""What a stored run has in place of a file of prompts."""
OFFERED_JUDGES = ("votes", "verifier", "hybrid")
"""The judges to choose from, beside the one that was passed."""
EMBEDDED = "embedded"
"""How the embedded model is typed."""
RETRY_SECONDS = 10.0
"""How long a server may fail before a search does, if the settings leave it to spar: somebody is waiting."""
_ALL_ROLES: Mapping[str, Any] = {
    **dict.fromkeys(("actor_model", "judge_model", "refiner_model"), ""),
    **dict.fromkeys(("actor_url", "judge_url", "refiner_url"), ()),
}
"""What gives all roles to the model that is typed."""

ConfigOf = Callable[[Mapping[str, Any]], DecodeConfig]
"""The configuration with some settings in place of what was passed, such as another model."""


class SessionPlay:
    """A `tui.play.Play` over spar's engines, whose modules are imported when the screen is opened.

    Parameters
    ----------
    folder:
        Where stored runs go.
    config_of:
        Makes the configuration for another model; without it, all other settings stay.
    """

    def __init__(
        self, config: DecodeConfig, folder: Path = Path("runs"), config_of: ConfigOf | None = None
    ) -> None:
        self._first_config = self._config = _for_play(config)
        self._config_of = config_of or config.changed
        self._current: Session[DecodeConfig] | None = None
        self._closed = False
        self._first = self._model = typed_model(config)
        self._owners: dict[str, Session[DecodeConfig]] = {}
        """Digest of the settings of a tree to the session that made it."""
        self._earlier_tokens = 0
        self._folder = folder

    @property
    def strategies(self) -> Sequence[str]:
        """The names of all strategies."""
        return tuple(STRATEGIES)

    @property
    def judges(self) -> Sequence[str]:
        """The judge that was passed, and those that need no options."""
        return tuple(dict.fromkeys([self._config.judge, *OFFERED_JUDGES]))

    @property
    def settings(self) -> PlaySettings:
        """Those of the configuration."""
        config = self._config
        return PlaySettings(
            config.strategy, config.budget, config.seed, judge=config.judge, model=self._first
        )

    @property
    def gate(self) -> float:
        """The configuration's."""
        return self._config.threshold

    @property
    def description(self) -> str:
        """The models, each named once."""
        return self._session.description

    @property
    def tokens(self) -> int:
        """Tokens generated so far."""
        return self._earlier_tokens + self._session.generated_tokens

    @property
    def check(self) -> ConstraintCheck:
        """By the programs that know the samples."""
        from spar.export.run import check_constraints

        return check_constraints

    def is_embedded(self, model: str) -> bool:
        """Whether a model, as it was typed, is the embedded one."""
        return (model.strip() or self._first) in (EMBEDDED, str(CHECKPOINT))

    async def samples(self, model: str) -> Sequence[Sample]:
        """Instructions that a model understands."""
        from spar.cli.play_samples import plain_samples

        if self.is_embedded(model):
            return await asyncio.to_thread(lambda: self._embedded_samples)
        return plain_samples()

    async def load(self, settings: PlaySettings, listener: Listener) -> str:
        """Load the model in the session's thread; returns what it is."""
        with _errors_in_one_line():
            session = await self._open(settings.model, listener)
            await session.prepare_async(**self._changes(settings))
            return session.description

    async def search(
        self, instruction: str, settings: PlaySettings, listener: Listener
    ) -> SearchTree:
        """Search in the session's thread."""
        with _errors_in_one_line():
            prompt = await asyncio.to_thread(self._prompt, instruction, settings)
            session = await self._open(settings.model, listener)
            tree = await session.search_async(prompt, listener, **self._changes(settings))
            self._owners[tree.config] = session
            return tree

    async def keep(self, tree: SearchTree) -> Path:
        """Add the tree to the run of its settings, `play-STRATEGY-BUDGET-DIGEST`."""
        owner = self._owners.get(tree.config, self._session)
        return await asyncio.to_thread(owner.store_tree, tree, self._folder, SOURCE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._closed = True
        if self._current is not None:
            self._current.close()

    @property
    def _session(self) -> Session[DecodeConfig]:
        from spar.run.interactive import Session

        if self._current is None:
            self._current = Session(self._config)
            if self._closed:  # it refuses searches, and says why
                self._current.close()
        return self._current

    @cached_property
    def _embedded_samples(self) -> tuple[Sample, ...]:
        from spar.cli.play_samples import embedded_samples

        return embedded_samples()

    def _prompt(self, instruction: str, settings: PlaySettings) -> Prompt:
        from spar.cli.play_samples import plain_samples, prompt_of

        samples = (*self._embedded_samples, *plain_samples())
        prompt = prompt_of(instruction, samples, SOURCE)
        spec = JUDGES.spec(settings.judge)
        if spec.check_prompts is not None and not spec.uses_model and not prompt.meta:
            raise UsageError(
                f"judge {settings.judge}: no program knows the constraints of an instruction that was typed; take a sample "
                "(^o), or choose votes or hybrid"
            )
        return prompt

    def _changes(self, settings: PlaySettings) -> dict[str, Any]:
        changes: dict[str, Any] = {
            "strategy": settings.strategy,
            "budget": settings.budget,
            "seed": settings.seed,
        }
        if settings.judge and settings.judge != self._config.judge:
            changes |= {"judge": settings.judge, "judge_args": {}}
        return changes

    async def _open(self, model: str, listener: Listener) -> Session[DecodeConfig]:
        """The session of a model as it was typed; the one before it is freed, once this one can be found."""
        model = model.strip() or self._first
        if model == self._model:
            return self._session

        from spar.run.interactive import Session
        from spar.run.resolve import required_roles, resolve_config

        def make_config() -> DecodeConfig:
            config = self._first_config
            if model != self._first:
                config = _for_play(self._config_of({**_ALL_ROLES, **model_settings(model)}))
            resolve_config(config, listener.note, interactive=True, roles=required_roles(config))
            return config

        config = await asyncio.to_thread(make_config)
        before, self._current = self._session, Session(config)
        self._config, self._model = config, model
        self._earlier_tokens += before.generated_tokens
        await asyncio.to_thread(before.close)
        return self._session


@contextmanager
def _errors_in_one_line() -> Iterator[None]:
    """Turn any exception of a search into a `SparError`: the browser, with all that is open in it, goes on."""
    try:
        yield
    except SparError:
        raise
    except Exception as error:  # a judge, strategy or refiner of the user's may raise anything
        unexpected = f"unexpected error: {type(error).__name__}: {error_line(error)}; run spar decode with the same settings to see where"
        raise RunStopped(describe_plugin_error(error) or unexpected) from error


def _for_play(config: DecodeConfig) -> DecodeConfig:
    is_default = config.retry_for == DecodeConfig.model_fields["retry_for"].default
    retry_for = RETRY_SECONDS if is_default else config.retry_for
    return config.model_copy(
        update={"prompts": SOURCE, "retry_for": retry_for, "total_budget": None}
    )


def model_settings(typed: str) -> dict[str, Any]:
    """The settings of a model as it is typed: a folder, a file, a name; `URL` or `URL NAME` of a server."""
    if typed.startswith(("http://", "https://")):
        url, _, name = typed.partition(" ")
        return {"base_url": (url,), "model": name.strip()}
    return {"base_url": (), "model": "" if typed == EMBEDDED else typed}


def typed_model(config: DecodeConfig) -> str:
    """How the model of a configuration would be typed."""
    if config.base_url:
        return f"{config.base_url[0]} {config.model}".strip()
    own = bool(config.actor_model or config.actor_url)  # the roles have models of their own
    return config.model or ("" if own else EMBEDDED)
