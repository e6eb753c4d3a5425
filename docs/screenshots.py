"""The README's pictures of `spar tui`: `make screenshots` searches a few built-in prompts and draws the screens.

    python docs/screenshots.py --out docs/images
    python docs/screenshots.py --loop runs/mine          the training screen as well, of a loop that is there

The runs are made in a temporary folder.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from spar.cli.run_tui import make_inputs
from tui.app import SparApp

SIZE = (110, 32)
WAIT_SECONDS = 2.0
"""Long enough for a small run to be read."""
RUNS = (("greedy", "1"), ("bfs", "15"))
SHOTS: dict[str, tuple[str, ...]] = {
    "runs": (),
    "trees": ("enter",),
    "tree": ("enter", "1", "G", "n", "enter", "a"),
    "compare": ("space", "j", "space", "C"),
}
"""Picture to the keys that lead to it from the list of runs."""


def main() -> None:
    """Make the runs and the pictures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    parser.add_argument("--loop", type=Path, help="a training loop to draw as well")
    given = parser.parse_args()
    out, loop = given.out.resolve(), given.loop.resolve() if given.loop else None
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for strategy, budget in RUNS:
            _decode(strategy, budget)
        for name, keys in SHOTS.items():
            asyncio.run(_draw(Path("runs"), keys, out / f"{name}.svg"))
        if loop is not None:
            Path("loop").symlink_to(loop)
            asyncio.run(_draw(Path("loop"), (), out / "training.svg"))


def _decode(strategy: str, budget: str) -> None:
    search = ("--strategy", strategy, "--budget", budget, "--limit", "24")
    command = (sys.executable, "-m", "spar", "decode", *search, "--display", "none")
    where = ("--out", f"runs/{strategy}-{budget}")
    subprocess.run([*command, *where], check=True, stdout=subprocess.DEVNULL)


async def _draw(path: Path, keys: Sequence[str], picture: Path) -> None:
    app = SparApp(make_inputs((path,)))
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause(WAIT_SECONDS)
        for key in keys:
            await pilot.press(key)
            await pilot.pause(WAIT_SECONDS / 2)
        picture.write_text(without_remote_fonts(app.export_screenshot(title="spar tui")))


def without_remote_fonts(svg: str) -> str:
    """A drawing that asks no server for its font: Fira Code where it is installed, else monospace."""
    return re.sub(r",(?:\s*url\(\"https?://[^)]*\) format\(\"\w+\"\)[,;])+", ";", svg)


if __name__ == "__main__":
    main()
