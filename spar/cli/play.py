"""Searches for the browser's play screen: any engine, loaded once, in a thread that has its own event loop.

    with open_play(load_decode("nano", {}), Path("runs")) as play:
        SparApp(Inputs(play=play)).run()

A model takes long to load, and the requests of a search keep an event loop busy: neither happens in the
thread that draws the screen. Models stay loaded from one search to the next.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

from spar.cli.begun import summary_so_far
from spar.cli.course import in_thread
from spar.config import DecodeConfig
from spar.errors import EngineError, SparError, UsageMistake
from spar.infer.deploy import (
    Engines,
    close_all,
    deployments,
    models,
    roles_asked,
    settle,
    shown_model,
)
from spar.infer.engine import TREE, Deployment, Tell
from spar.infer.meter import Meter
from spar.infer.search import Roles, SearchSettings, run_search
from spar.infer.setup import make_manifest, open_roles, search_settings
from spar.manifest import Manifest
from spar.prompts import prompt_from_text
from spar.registry import STRATEGIES
from spar.store import RunStore
from spar.types import SPEAKERS, Prompt, SearchTree
from tui.play import PlaySettings, Watch

SOURCE = "play"
"""What a kept run has in place of a file of prompts."""
CLOSE_SECONDS = 10.0
"""An engine that takes longer to close is left to the end of the process."""

T = TypeVar("T")


@contextmanager
def open_play(config: DecodeConfig, folder: Path = Path("runs")) -> Iterator[EnginePlay]:
    """Searches with the models of a configuration, which are loaded when the first one is asked for.

    Parameters
    ----------
    folder:
        Where kept runs go.
    """
    play = EnginePlay(config, folder)
    try:
        yield play
    finally:
        play.close()


@dataclass(frozen=True, slots=True)
class _Ready:
    """What a search needs."""

    roles: Roles
    settings: SearchSettings


class EnginePlay:
    """A `tui.play.Play` over spar's engines. Made by `open_play`."""

    def __init__(self, config: DecodeConfig, folder: Path) -> None:
        self._config, self._folder = config.model_copy(update={"prompts": SOURCE}), folder
        self._opened: dict[Deployment, Meter] = {}
        self._manifests: dict[str, Manifest] = {}
        """Digest to the manifest of the searches that were begun."""
        self._loading = threading.Lock()
        self._engines: Engines | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._running: set[Future[Any]] = set()
        self._closed = False
        self._numbers = count(1)

    @property
    def strategies(self) -> Sequence[str]:
        """Every strategy that there is."""
        return tuple(STRATEGIES)

    @property
    def settings(self) -> PlaySettings:
        """Those of the configuration."""
        return PlaySettings(self._config.strategy, self._config.budget, self._config.seed)

    @property
    def gate(self) -> float:
        """The configuration's."""
        return self._config.gate

    @property
    def description(self) -> str:
        """The models, each named once."""
        return ", ".join(dict.fromkeys(shown_model(m) for m in models(self._config).values()))

    @property
    def tokens(self) -> int:
        """Generated so far."""
        return sum(meter.completion_tokens for meter in tuple(self._opened.values()))

    async def search(self, instruction: str, settings: PlaySettings, watch: Watch) -> SearchTree:
        """Search in the other thread; what is told there is said here."""
        here = asyncio.get_running_loop()
        prompt = prompt_from_text(instruction, SOURCE)
        seen = Watch(_from_thread(here, watch.on_node), _from_thread(here, watch.tell))
        work = self._search(prompt, settings, seen)
        future = asyncio.run_coroutine_threadsafe(work, self._start())
        self._running.add(future)
        future.add_done_callback(self._running.discard)
        return await asyncio.wrap_future(future)

    async def keep(self, tree: SearchTree) -> Path:
        """Add the tree to the run of its settings, `play-STRATEGY-BUDGET-DIGEST`."""
        return await asyncio.to_thread(self._keep, tree)

    def close(self) -> None:
        """Give up what goes on and free the models; a model that is being loaded is freed after that."""
        self._closed = True
        if self._engines is not None:
            self._engines.closed = True
        if self._loop is None:
            return
        for future in tuple(self._running):
            future.cancel()
        closing = asyncio.run_coroutine_threadsafe(
            close_all(self._opened, _say_nothing), self._loop
        )
        with suppress(TimeoutError):
            closing.result(CLOSE_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._loop = None

    def _start(self) -> asyncio.AbstractEventLoop:
        """The other thread's event loop."""
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            threading.Thread(
                target=_run_forever, args=(self._loop,), name="spar-play", daemon=True
            ).start()
        return self._loop

    async def _search(self, prompt: Prompt, settings: PlaySettings, watch: Watch) -> SearchTree:
        TREE.set(next(self._numbers))
        ready = await in_thread(lambda: self._get_ready(settings, watch.tell))
        watch.tell("the model is loaded")
        return await run_search(prompt, ready.roles, ready.settings, on_node=watch.on_node)

    def _get_ready(self, settings: PlaySettings, tell: Tell) -> _Ready:
        # A search that was given up may still be loading: whoever comes next waits and finds its model.
        with self._loading:
            try:
                return self._open(settings, tell)
            except SparError:
                raise
            except Exception as error:  # whatever a model's library says, the person sees one line
                why = " ".join(str(error).split())
                name = type(error).__name__
                raise EngineError(f"the model cannot be loaded: {name}: {why}") from error

    def _open(self, settings: PlaySettings, tell: Tell) -> _Ready:
        if self._closed:
            raise EngineError("the play is over, its engines are closed")
        chosen = {"strategy": settings.strategy, "budget": settings.budget, "seed": settings.seed}
        config = self._config.model_copy(update=chosen)
        asked = roles_asked(config)
        config = settle(config, tell, interactive=True, asked=asked)
        engines = Engines(config, tell, _shares(config), roles=asked, opened=self._opened)
        self._engines = engines
        if set(engines.wanted.values()) - set(engines.meters):
            tell("loading the model ...")
        manifest = make_manifest(config)
        self._manifests[manifest.digest] = manifest
        return _Ready(open_roles(config, engines), search_settings(config, manifest.digest))

    def _keep(self, tree: SearchTree) -> Path:
        manifest = self._manifests[tree.config]
        name = f"{SOURCE}-{tree.strategy}-{manifest.config['budget']}-{manifest.digest[:8]}"
        directory = self._folder / name
        with RunStore.open(directory, manifest) as store:
            if tree.prompt.id in store.done:
                raise UsageMistake(f"{directory} has a tree of this instruction and seed already")
            store.append(tree)
            summary = summary_so_far(directory)
            summary.seconds += tree.seconds
            store.write_summary(summary.as_dict())
        return directory


def _shares(config: DecodeConfig) -> Mapping[str, float]:
    """Model to its share of the memory, where several are loaded in this process.

    Raises
    ------
    UsageMistake
        They do not fit side by side.
    """
    served = deployments(config)
    names = list(dict.fromkeys(served[role].model for role in SPEAKERS if not served[role].urls))
    if len(names) < 2 or config.engine not in ("hf", "vllm"):
        return {}
    from spar.infer.placement import placement, shares, weight_bytes

    placed = placement(names, device=config.device, dtype=config.dtype)
    if placed.arrangement == "in turn":
        raise UsageMistake(
            f"{placed.why}; play with one model for all roles, or with one of them on a server"
        )
    sizes = {name: weight_bytes(name, 2) for name in names}
    return shares(sizes) if config.engine == "vllm" else {}


def _from_thread(loop: asyncio.AbstractEventLoop, told: Callable[[T], None]) -> Callable[[T], None]:
    """`told`, called in the thread of an event loop; nobody is told where that is closed."""

    def tell(value: T) -> None:
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(told, value)

    return tell


def _run_forever(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    loop.run_forever()
    loop.close()


def _say_nothing(_: str) -> None:
    """Nobody reads any more."""
