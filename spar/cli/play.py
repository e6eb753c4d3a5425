"""What the play screen of the browser searches with: a `spar.run.interactive.Session`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from spar.config import DecodeConfig
from spar.listener import Listener
from spar.plugins import STRATEGIES
from spar.prompts import prompt_from_text
from spar.run.interactive import Session
from spar.types import SearchTree
from tui.play import PlaySettings

SOURCE = "play"
"""What a stored run has in place of a file of prompts."""


class SessionPlay:
    """A `tui.play.Play` over spar's engines.

    Parameters
    ----------
    folder:
        Where stored runs go.
    """

    def __init__(self, config: DecodeConfig, folder: Path = Path("runs")) -> None:
        self._config = config.model_copy(update={"prompts": SOURCE})
        self._session = Session(self._config)
        self._folder = folder

    @property
    def strategies(self) -> Sequence[str]:
        """The names of all strategies."""
        return tuple(STRATEGIES)

    @property
    def settings(self) -> PlaySettings:
        """Those of the configuration."""
        return PlaySettings(self._config.strategy, self._config.budget, self._config.seed)

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
        return self._session.generated_tokens

    async def search(
        self, instruction: str, settings: PlaySettings, listener: Listener
    ) -> SearchTree:
        """Search in the session's thread."""
        return await self._session.search_async(
            prompt_from_text(instruction, SOURCE),
            listener,
            strategy=settings.strategy,
            budget=settings.budget,
            seed=settings.seed,
        )

    async def keep(self, tree: SearchTree) -> Path:
        """Add the tree to the run of its settings, `play-STRATEGY-BUDGET-DIGEST`."""
        return await asyncio.to_thread(self._session.store_tree, tree, self._folder, SOURCE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()
