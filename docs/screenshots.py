"""The README's pictures of `spar tui` and of a run as a page: `make screenshots` searches a few built-in prompts and draws them.

    python docs/screenshots.py --out docs/images
    python docs/screenshots.py --loop runs/mine          the training screen as well, of a loop that is there
    python docs/screenshots.py --page runs/mine          the page of another run, and nothing else

The runs are made in a temporary folder. The page is drawn by the distribution's Chromium; without one its pictures stay as they are.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import shutil
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
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
PAGE_SIZE = {"width": 1280, "height": 800}
PAGES: dict[str, tuple[str, ...]] = {
    "page-run": (),
    "page-tree": (".chip[data-filter=fixed]", ".row:nth-child(1)"),
}
"""Picture of the page to what is clicked first."""
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
    parser.add_argument("--page", type=Path, help="a run to draw as a page, and nothing else")
    given = parser.parse_args()
    if given.page is not None:
        _draw_page(given.page, given.out)
        return
    out, loop = given.out.resolve(), given.loop.resolve() if given.loop else None
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for strategy, budget in RUNS:
            _decode(strategy, budget)
        for name, keys in SHOTS.items():
            asyncio.run(_draw(Path("runs"), keys, out / f"{name}.svg"))
        strategy, budget = RUNS[-1]
        _draw_page(Path("runs", f"{strategy}-{budget}"), out)
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


def _draw_page(run: Path, out: Path) -> None:
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        print(
            f"no picture of the page: none of {', '.join(BROWSERS)} is installed", file=sys.stderr
        )
        return
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        file = Path(folder) / "run.html"
        command = (sys.executable, "-m", "spar", "export", str(run), "--format", "html")
        subprocess.run([*command, "--out", str(file)], check=True)
        opened = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        for name, clicks in PAGES.items():
            page = opened.new_page(viewport=PAGE_SIZE, color_scheme="light")
            page.goto(file.as_uri())
            for selector in clicks:
                page.locator(selector).first.click()
            page.wait_for_selector(".drawing" if clicks else ".dashboard .big")
            page.screenshot(path=out / f"{name}.png")
        opened.close()


def without_remote_fonts(svg: str) -> str:
    """A drawing that asks no server for its font: Fira Code where it is installed, else monospace."""
    return re.sub(r",(?:\s*url\(\"https?://[^)]*\) format\(\"\w+\"\)[,;])+", ";", svg)


if __name__ == "__main__":
    main()
