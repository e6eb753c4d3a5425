"""Searches for callers that know no event loop: engines in a thread of their own, opened when asked.

lm-eval calls its models as plain functions, in a main thread that may have a loop of its own (a
notebook). Whoever waits can be interrupted; the searches under way are then cancelled.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from spar.config import EvalConfig
from spar.errors import SparError
from spar.eval.benchmark import Stage
from spar.infer.decode import Observer, decode
from spar.infer.deploy import Engines, roles_asked, settle
from spar.infer.engine import Tell
from spar.infer.setup import make_manifest, open_roles, search_settings
from spar.infer.summary import Summary
from spar.store import RunStore

T = TypeVar("T")

CLOSING_SECONDS = 30.0
"""How long to wait for engines that are being closed."""


_OPEN: set[Searches] = set()


def close_all() -> None:
    """Free the models of all that were opened and not closed."""
    for searches in tuple(_OPEN):
        searches.close()


class Searches:
    """Runs stages of one configuration; models stay loaded from one to the next."""

    def __init__(self, config: EvalConfig, tell: Tell) -> None:
        self.config = config
        """Its open settings are filled in by the first run."""
        self._tell = tell
        self._engines: Engines | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def run(self, stage: Stage, directory: Path) -> None:
        """Search every prompt of a stage that has no tree in its directory yet.

        Raises
        ------
        UsageMistake
            Settings that cannot be, or a directory that holds a run of others.
        RunStopped
            A request could not be served; what is written can be resumed.
        """
        if self._engines is None:
            self.config = settle(self.config, self._tell)
            roles = roles_asked(self.config)
            self._engines = Engines(self.config, self._tell, roles=roles)
        self._wait(self._search(stage, directory, self._engines))

    def close(self) -> None:
        """Free the models and end the thread; safe to call twice."""
        _OPEN.discard(self)
        if self._loop is None:
            return
        if self._engines is not None:
            self._wait(self._engines.aclose(), CLOSING_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._loop = self._engines = None

    async def _search(self, stage: Stage, directory: Path, engines: Engines) -> None:
        config = self.config.model_copy(update=dict(stage.settings))
        with RunStore.open(directory, make_manifest(config)) as store:
            missing = [prompt for prompt in stage.prompts if prompt.id not in store.done]
            if not missing:
                return
            summary, bar = Summary(), _bar(len(missing))
            try:
                await decode(
                    missing,
                    stage.change(open_roles(config, engines)),
                    search_settings(config, store.manifest.digest),
                    store,
                    summary=summary,
                    room=engines.room,
                    observer=Observer(on_tree=lambda _: bar.update()),
                )
            finally:
                bar.close()
                store.write_summary(summary.as_dict())

    def _wait(self, work: Coroutine[Any, Any, T], seconds: float | None = None) -> T:
        future = asyncio.run_coroutine_threadsafe(work, self._opened_loop())
        try:
            return future.result(seconds)
        except SparError:
            raise
        except BaseException:  # Ctrl-C: end what is under way before the caller goes on
            future.cancel()
            raise

    def _opened_loop(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            _OPEN.add(self)
            self._loop = asyncio.new_event_loop()
            threading.Thread(target=_forever, args=(self._loop,), daemon=True).start()
        return self._loop


def _forever(loop: asyncio.AbstractEventLoop) -> None:
    loop.run_forever()
    loop.close()


def _bar(total: int) -> Any:
    from tqdm import tqdm  # type: ignore[import-untyped]  # its stubs are a package of their own

    return tqdm(total=total, desc="spar searches")
