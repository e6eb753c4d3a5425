"""What `mkdocs build` asks of this project: the site has the repository's folders, and pages of the API.

Pages link to each other, to reports and to scripts as files of the repository do, so that every link works in both
places. A page of the API is made for each group of names of `spar.__all__`, from their docstrings.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

import spar

ROOT = Path(__file__).parents[2]
SOURCES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs", "reports", "examples")
SUFFIXES = {".md", ".svg", ".png", ".css", ".js", ".csv", ".json", ".jsonl", ".yaml"}

API = {
    "functions": (
        "Functions",
        "search decode evaluate sweep compare train open_session Session read_trees",
    ),
    "results": ("Results", "DecodeResult Evaluation Results Example Scored TrainResult"),
    "trees": ("Trees", "SearchTree Node Judgement Finding Fault Prompt Message Usage"),
    "strategies": ("Strategies", "Strategy StrategySpec Plan Expand SearchConfig"),
    "engines": (
        "Engines",
        "Engine EngineSpec Deployment Request Completion Sampling StructuredOutputs",
    ),
    "judges": (
        "Judges and refiners",
        "Judge JudgeSpec JudgeSettings RefinerProtocol RefinerSpec Generation AttemptFailed",
    ),
    "benchmarks": ("Benchmarks", "Benchmark BenchmarkSpec JobOutputs"),
    "listeners": ("Listeners", "Listener Activity AttemptProgress ProgressBar PlainProgress"),
    "errors": (
        "Errors",
        "SparError UsageError ConfigChanged RunStopped EngineError PromptTooLong",
    ),
}
"""Page to its title and names. The async form of a function stands with it."""

_SIGNATURES = {"train": "spar.api.training.train", "read_trees": "spar.read_trees"}
"""Functions whose blocking form is the one with the whole signature."""
_SCRIPT_LINK = re.compile(r"(\]\((?:\.\./)?(?:examples/)?[a-z_/]+)\.py\)")
_PATH_AS_TEXT = re.compile(r"\[(?:[\w.-]+/)*[\w.-]+\.md\]\(([\w./-]+\.md)(#[\w-]+)?\)")
_INDENTED = re.compile(r"(?:(?<=\n\n)|\A)(?: {4}.*\n(?:\n(?= {4}))*)+")
_NESTED = re.compile(r"^```.*?^```$|^ {2,3}(?=\S)", re.M | re.S)
"""A fenced block, which stays, or the indentation of a nested list, which Python-Markdown wants to be four spaces."""
_SHELL = re.compile(r"(spar|make|pip|python|git|curl|ray|docker|export|kubectl|kill|[A-Z_]+=\S+) ")
_PYTHON = re.compile(r"(import|from|def|class|async def|with|\w+ = |print\(|spar\.)")


def on_files(files: Files, config: Any) -> Files:
    """Replace the files of `docs/` by those of the repository, under the same paths."""
    for file in [file for file in files if file.src_dir == config.docs_dir]:
        files.remove(file)
    for path in _sources():
        files.append(File(path, str(ROOT), config.site_dir, config.use_directory_urls))
    for name, text in api_pages().items():
        files.append(File.generated(config, f"docs/api/{name}.md", content=text))
    for script in sorted((ROOT / "examples").rglob("*.py")):
        name = script.relative_to(ROOT).with_suffix(".md").as_posix()
        code = script.read_text(encoding="utf-8")
        page = f"# {script.name}\n\n```python\n{code}```\n"
        files.append(File.generated(config, name, content=page))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Colour commands and Python, name linked pages by their titles, and lead links of scripts to pages."""
    folder = Path(page.file.src_uri).parent

    def titled(match: re.Match[str]) -> str:
        path = (ROOT / folder / match[1]).resolve()
        title = _title(path) if path.is_file() else match[1]
        return f"[{title}]({match[1]}{match[2] or ''})"

    markdown = _NESTED.sub(lambda match: match[0] if "`" in match[0] else "    ", markdown)
    markdown = _INDENTED.sub(_fenced, markdown)
    return _SCRIPT_LINK.sub(r"\1.md)", _PATH_AS_TEXT.sub(titled, markdown))


def api_pages() -> dict[str, str]:
    """Name to text of the pages of the API; every name of `spar.__all__` is on one of them."""
    listed = {name for _, names in API.values() for name in names.split()}
    listed |= {f"{name}_async" for name in listed} & set(spar.__all__)
    if wrong := listed ^ set(spar.__all__):
        raise PluginError(
            f"{sorted(wrong)}: `API` in {__file__} and `spar.__all__` differ in these"
        )
    return {
        page: "\n\n".join([f"# {title}", *map(_directive, names.split())])
        for page, (title, names) in API.items()
    }


def _directive(name: str) -> str:
    """What mkdocstrings replaces; a blocking function has the signature and docstring of its async form."""
    if f"{name}_async" not in spar.__all__:
        return f"::: spar.{name}"
    source = _SIGNATURES.get(name, f"spar.{name}_async")
    heading = f"spar.{name}, spar.{name}_async"
    return f"::: {source}\n    options:\n      heading: {heading}\n      toc_label: {name}"


def _fenced(match: re.Match[str]) -> str:
    """An indented block as a fenced one with its language, if it is a command or Python."""
    code = "\n".join(line[4:] for line in match[0].rstrip("\n").split("\n"))
    language = "bash" if _SHELL.match(code) else "python" if _PYTHON.match(code) else ""
    return f"```{language}\n{code}\n```\n" if language else match[0]


def _title(path: Path) -> str:
    first = path.read_text(encoding="utf-8").split("\n", 1)[0]
    return first.removeprefix("# ").split(":")[0]


def _sources() -> Iterator[str]:
    for name in SOURCES:
        top = ROOT / name
        for path in [top] if top.is_file() else sorted(top.rglob("*")):
            if path.is_file() and path.suffix in SUFFIXES:
                yield path.relative_to(ROOT).as_posix()
