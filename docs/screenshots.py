"""The pictures of `spar tui` and of a run as a page in README and docs: `make screenshots` searches a few built-in prompts and draws them.

    python docs/screenshots.py --out docs/images
    python docs/screenshots.py --loop runs/mine          the training screen of another loop than the stored one of the tests
    python docs/screenshots.py --runs runs               of runs that are there, whose newest has a search worth showing
    python docs/screenshots.py --page runs/mine          the page of another run, and nothing else

The runs are made in a temporary folder, with the embedded model, but for `real-tree`: that is SmolLM2-135M-Instruct on everyday
instructions, as `make demo-real` (a few minutes; the model is fetched). The page is drawn by the distribution's Chromium. What is
missing is reported, and its pictures stay as they are.
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
from dataclasses import replace
from pathlib import Path

from textual.pilot import Pilot

from spar.cli.run_tui import make_inputs
from tui.app import SparApp

SIZE = (120, 40)
WAIT_SECONDS, PAUSE_SECONDS = 1.0, 0.1
"""How long nothing goes on before a picture is drawn, and how often that is looked at."""
ROOT = Path(__file__).resolve().parents[1]
LOOP = ROOT / "tests/compat/data/runs/train-39e2db12"
RUNS = (("greedy", "1"), ("bfs", "15"))
REAL_RUN = (
    *("examples/everyday.jsonl", "--model", "smollm2-135m", "--judge", "verifier"),
    *("--refiner", "rewrite", "--strategy", "bfs", "--budget", "7", "--max-new-tokens", "160"),
)
REAL_SIZE = (120, 32)
REAL_TREE = ("enter", "slash", *"oak", "enter", "enter", "a")
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
    "tree": ("enter", "4", "s", "s", "s", "s", "enter", "a"),
    "compare": ("j", "space", "home", "space", "C"),
}
"""Picture to the keys that lead to it from the list of runs, the newest of which is first. The tree is the largest of those
that the search fixed."""


def main() -> None:
    """Make the runs and the pictures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    parser.add_argument("--loop", type=Path, default=LOOP, help="a training loop to draw")
    parser.add_argument("--runs", type=Path, help="runs to draw in place of new ones")
    parser.add_argument("--page", type=Path, help="a run to draw as a page, and nothing else")
    parser.add_argument("--real", action="store_true", help="draw real-tree, and nothing else")
    given = parser.parse_args()
    if given.page is not None:
        _draw_page(given.page, given.out)
        return
    out, loop = given.out.resolve(), given.loop.resolve()
    runs = given.runs.resolve() if given.runs else None
    out.mkdir(parents=True, exist_ok=True)
    if runs is None:
        _draw_real(out)
    if given.real:
        return
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        if runs is not None:
            Path("runs").symlink_to(runs)
        else:
            for strategy, budget in RUNS:
                search = ("--strategy", strategy, "--budget", budget, "--limit", "24")
                _decode(*search, out=Path("runs", f"{strategy}-{budget}"))
            shutil.copytree(loop, "runs/loop", ignore=shutil.ignore_patterns("run.lock"))
        for name, keys in SHOTS.items():
            asyncio.run(_draw(Path("runs"), keys, out / f"{name}.svg"))
        if runs is None:
            strategy, budget = RUNS[-1]
            _draw_page(Path("runs", f"{strategy}-{budget}"), out)
        Path("loop").symlink_to(loop)
        asyncio.run(_draw(Path("loop"), (), out / "training.svg"))


def _decode(*flags: str, out: Path, cwd: Path | None = None) -> None:
    command = (sys.executable, "-m", "spar", "decode", *flags, "--display", "none")
    where = ("--out", str(out))
    subprocess.run([*command, *where], cwd=cwd, check=True, stdout=subprocess.DEVNULL)


def _draw_real(out: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "everyday"
        try:
            _decode(*REAL_RUN, out=run, cwd=ROOT)
        except subprocess.CalledProcessError:
            print("no picture of a real model: spar decode failed", file=sys.stderr)
            return
        asyncio.run(_draw(run.parent, REAL_TREE, out / "real-tree.svg", size=REAL_SIZE))


async def _draw(
    path: Path, keys: Sequence[str], picture: Path, *, size: tuple[int, int] = SIZE
) -> None:
    app = SparApp(replace(make_inputs((path,)), state_file=None))
    async with app.run_test(size=size) as pilot:
        await _settle(pilot)
        for key in keys:
            await pilot.press(key)
            await _settle(pilot)
        drawing = without_remote_fonts(app.export_screenshot(title="spar tui"))
        picture.write_text(drawing, encoding="utf-8")


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


async def _settle(pilot: Pilot[None]) -> None:
    """Wait until no work of the screen goes on."""
    quiet = 0.0
    while quiet < WAIT_SECONDS:
        await pilot.pause(PAUSE_SECONDS)
        working = any(not worker.is_finished for worker in pilot.app.workers)
        quiet = 0.0 if working else quiet + PAUSE_SECONDS


def without_remote_fonts(svg: str) -> str:
    """A drawing that asks no server for its font: Fira Code where it is installed, else monospace."""
    return re.sub(r",(?:\s*url\(\"https?://[^)]*\) format\(\"\w+\"\)[,;])+", ";", svg)


if __name__ == "__main__":
    main()
