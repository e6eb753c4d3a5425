"""The HTML document: style, script, and the data of a run in compressed blocks.

    <script type="application/json" id="run">    the run's facts and totals, and where trees are found
    <script type="text/plain" id="rows">         the rows of the list: gzip of JSON in base64
    <script type="text/plain" id="block-0">      the first `BLOCK` trees, likewise, decoded when one of them is shown

A browser does not run a script of these types, and the policy would not let it. Rows and script come before the
blocks, so the list is there before the rest of a large file is read.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from html import escape
from importlib.resources import files
from typing import Any

from spar.types import finite

BLOCK = 32
"""Trees in a block."""
_SCRIPTS = (
    *("dom.js", "data.js", "list.js", "drawing.js", "node.js", "tree.js", "dashboard.js"),
    *("runs.js", "app.js"),
)
_DARK = "/* dark.css */"
"""Where the dark palette belongs in the style sheet."""
_LEVEL = 6
"""Of compression."""


@cache
def script() -> str:
    """The page's script: the files of `assets/` in order, as one strict function."""
    parts = "\n".join(_asset(name) for name in _SCRIPTS)
    return f'(() => {{\n"use strict";\n{parts}\n}})();\n'


@cache
def style() -> str:
    """The page's style sheet; the dark palette stands in it twice: where the system is dark, and where the reader chose it."""
    return _asset("page.css").replace(_DARK, _asset("dark.css"))


@cache
def policy(connect: str = "'none'") -> str:
    """The content security policy: this script and this style alone; `connect` is what may be fetched."""
    return (
        f"default-src 'none'; script-src '{digest(script())}'; style-src '{digest(style())}'; "
        f"connect-src {connect}; base-uri 'none'; form-action 'none'"
    )


def document(
    run: dict[str, Any],
    rows: Sequence[Any] | None = None,
    blocks: Iterable[str] = (),
    *,
    connect: str = "'none'",
) -> Iterator[str]:
    """The document, part by part.

    Parameters
    ----------
    run:
        What `assets/data.js` reads first.
    rows:
        The rows of the list; None where a server has them.
    blocks:
        `compressed` lists of `BLOCK` trees, in the order of the rows.
    connect:
        See `policy`.
    """
    yield head(str(run.get("name", "runs")), policy(connect), style())
    yield (
        "<noscript>This page draws its trees with a script of its own; allow it, or use "
        "<code>spar export --format markdown</code>.</noscript>\n"
    )
    yield f'<script type="application/json" id="run">{_inert(json_text(run))}</script>\n'
    if rows is not None:
        yield f'<script type="text/plain" id="rows">{compressed(rows)}</script>\n'
    yield f"<script>{script()}</script>\n"
    for number, block in enumerate(blocks):
        yield f'<script type="text/plain" id="block-{number}">{block}</script>\n'
    yield "</body>\n</html>\n"


def head(title: str, content_policy: str, css: str) -> str:
    """The beginning of a document, up to its body."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{content_policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n<meta name="referrer" content="no-referrer">\n'
        f"<title>{escape(title)} · spar</title>\n<style>{css}</style>\n</head>\n<body>\n"
    )


def digest(text: str) -> str:
    """The digest by which a policy allows a script or a style sheet."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def json_text(value: Any) -> str:
    """Compact JSON; a number that JSON lacks is null."""
    try:
        return json.dumps(value, separators=(",", ":"), allow_nan=False)
    except ValueError:
        return json.dumps(finite(value), separators=(",", ":"))


def compressed(value: Any) -> str:
    """The gzip of a value's JSON in base64; equal for equal values."""
    packed = gzip.compress(json_text(value).encode("ascii"), _LEVEL, mtime=0)
    return base64.b64encode(packed).decode("ascii")


def _inert(text: str) -> str:
    """JSON in which no tag can begin or end."""
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _asset(name: str) -> str:
    return (files("spar.export.page") / "assets" / name).read_text(encoding="utf-8")
