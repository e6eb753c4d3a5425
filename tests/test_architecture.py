"""Who may import whom (docs/design.md), and that heavy packages stay inside function bodies."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = {
    "torch",
    "vllm",
    "transformers",
    "trl",
    "deepspeed",
    "textual",
    "lm_eval",
    "ray",
    "pandas",
    "matplotlib",
    "aiohttp",
    "httpx",
    "starlette",
    "uvicorn",
    "prometheus_client",
    "jsonschema",
    "regex",
    "xgrammar",
}
MAY_IMPORT_HEAVY_AT_TOP = {
    "spar/infer/engines/attention.py",
    "spar/infer/engines/continuous_batching.py",
    "spar/infer/engines/grammar.py",
    "spar/infer/engines/kv_cache.py",
    "spar/infer/engines/sampling.py",
    "spar/eval/lm_harness/model.py",
    "spar/serve/app.py",
    "spar/serve/http.py",
    "spar/serve/server.py",
}
"""Modules of tensors, the one that extends a class of lm-eval, and those of the server; imported inside functions only."""
OF_THE_TERMINAL = (
    "tui/app.py",
    "tui/clipboard.py",
    "tui/colours.py",
    "tui/commands.py",
    "tui/screens/",
    "tui/widgets/",
)
"""Where textual may be imported at the top: what is only needed once `spar tui` runs."""


def modules() -> list[Path]:
    return sorted([*ROOT.glob("spar/**/*.py"), *ROOT.glob("tui/**/*.py")])


def imports(path: Path, *, top_level: bool = False) -> set[str]:
    """Dotted names a module imports; with `top_level`, only those that run when it is imported."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return _import_names(_eager(tree) if top_level else ast.walk(tree))


def _import_names(nodes: Iterable[ast.AST]) -> set[str]:
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def _without_typing(node: ast.AST) -> Iterator[ast.AST]:
    """Every node but those that only type checkers see."""
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test)):
            yield child
            yield from _without_typing(child)


def _eager(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        typing_only = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test)
        if not typing_only and not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield child
            yield from _eager(child)


def offenders(pattern: str, forbidden: tuple[str, ...], allowed: tuple[str, ...] = ()) -> list[str]:
    found = []
    for path in sorted(ROOT.glob(pattern)):
        for name in imports(path):
            inside = any(name == f or name.startswith(f"{f}.") for f in forbidden)
            if inside and not any(name == a or name.startswith(f"{a}.") for a in allowed):
                found.append(f"{path.relative_to(ROOT)} imports {name}")
    return found


@pytest.mark.parametrize(
    ("pattern", "forbidden", "allowed"),
    [
        ("spar/errors.py", ("spar", "tui"), ()),
        ("spar/types.py", ("spar", "tui"), ()),
        ("spar/infer/strategy.py", ("spar", "asyncio"), ("spar.errors", "spar.types")),
        ("spar/infer/rank.py", ("spar", "asyncio"), ("spar.types",)),
        (
            "spar/infer/strategies/*.py",
            ("spar", "asyncio"),
            ("spar.types", "spar.infer.strategy", "spar.infer.rank"),
        ),
        ("spar/templates/**/*.py", ("spar",), ("spar.errors", "spar.types", "spar.templates")),
        (
            "spar/infer/engines/**/*.py",
            ("spar.infer.roles", "spar.infer.search", "spar.templates"),
            (),
        ),
        (
            "spar/train/**/*.py",
            (
                *("spar.infer", "spar.run", "spar.eval", "spar.evolve", "spar.cli", "tui"),
                *("spar.estimate", "spar.worker", "spar.stage_processes"),
                *("spar.train_runner", "spar.bootstrap_runner"),
            ),
            (),
        ),
        (
            "spar/infer/**/*.py",
            ("spar.run", "spar.train", "spar.eval", "spar.evolve", "spar.nano", "spar.cli", "tui"),
            (),
        ),
        (
            "spar/run/**/*.py",
            ("spar.train", "spar.eval", "spar.evolve", "spar.cli", "tui"),
            (),
        ),
        (
            "spar/serve/**/*.py",
            (
                *("spar.train", "spar.eval", "spar.evolve", "spar.experiments", "spar.estimate"),
                *("spar.api", "spar.cli", "tui"),
            ),
            (),
        ),
        ("spar/eval/**/*.py", ("spar.train", "spar.evolve", "spar.cli", "tui"), ()),
        ("spar/evolve/**/*.py", ("spar.train", "spar.cli", "tui"), ()),
        (
            "spar/nano/*.py",
            ("spar.train", "spar.eval", "spar.cli", "tui"),
            (),
        ),
        ("spar/record/*.py", ("spar.infer", "spar.run", "spar.eval", "spar.train", "tui"), ()),
        (
            "spar/rewrite/**/*.py",
            ("spar",),
            *[
                (
                    "spar.types",
                    "spar.verifiers",
                    "spar.own_verifiers",
                    "spar.ifeval_verifiers",
                    "spar.instruction_checks",
                    "spar.keyword_observations",
                    "spar.rewrite",
                    "spar.repetition",
                )
            ],
        ),
        ("spar/[!_c]*/**/*.py", ("spar.cli", "tui"), ()),
        ("spar/view/*.py", ("spar", "textual"), ("spar.types", "spar.view", "spar.record")),
        (
            "spar/export/**/*.py",
            ("spar", "textual"),
            (
                "spar.types",
                "spar.store",
                "spar.errors",
                "spar.templates",
                "spar.verifiers",
                "spar.record",
                "spar.view",
                "spar.export",
            ),
        ),
        ("spar/*[!_]*.py", ("tui",), ()),
        (
            "tui/**/*.py",
            ("spar",),
            (
                "spar.types",
                "spar.store",
                "spar.files",
                "spar.errors",
                "spar.listener",
                "spar.record",
                "spar.view",
                "spar.export",
            ),
        ),
    ],
)
def test_layers(pattern: str, forbidden: tuple[str, ...], allowed: tuple[str, ...]) -> None:
    """No module reaches above its layer."""
    assert list(ROOT.glob(pattern))
    assert offenders(pattern, forbidden, allowed) == []


def test_heavy_packages_are_imported_inside_functions_only() -> None:
    """Nothing that any command imports at its top brings in a heavy package."""
    found = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in modules()
        if str(path.relative_to(ROOT)) not in MAY_IMPORT_HEAVY_AT_TOP
        for name in imports(path, top_level=True)
        if name.split(".")[0] in HEAVY - _allowed(path)
    ]
    assert found == []


def _allowed(path: Path) -> set[str]:
    of_terminal = str(path.relative_to(ROOT)).startswith(OF_THE_TERMINAL)
    return {"textual"} if of_terminal else set()


def test_help_imports_nothing_heavy() -> None:
    """`spar --help` loads none of the heavy packages, nor numpy or pydantic."""
    code = (
        "import sys, spar.cli.app\n"
        "try:\n    spar.cli.app.app(['--help'])\nexcept SystemExit:\n    pass\n"
        f"print(sorted(set({sorted(HEAVY | {'numpy', 'pydantic'})!r}) & sys.modules.keys()))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == "[]"


def test_the_browser_starts_without_what_other_screens_need() -> None:
    """Its first screen imports no search, no formats of export, no conversion of models: half a second on a slow machine."""
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from spar.cli.play import SessionPlay\n"
        "from spar.cli.run_tui import make_inputs\n"
        "from spar.config import load_decode\n"
        "from tui.app import SparApp\n"
        "SessionPlay(load_decode('nano', {}), Path('runs'))\n"
        "SparApp(make_inputs((Path('runs'),)))\n"
        "later = ('spar.infer', 'spar.run', 'spar.nano', 'spar.export.page', 'spar.models.gguf', 'tui.screens.play')\n"
        "print([name for name in sys.modules if name.startswith(later)])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == "[]"


def test_every_module_has_a_docstring_and_stays_readable() -> None:
    """A docstring first, and no file beyond the house's limit of about 300 lines."""
    for path in modules():
        text = path.read_text()
        assert ast.get_docstring(ast.parse(text)), path
        assert text.count("\n") <= 380, path


PLUGIN_NAMES = {
    *(
        "greedy",
        "best-of-n",
        "iterative",
        "bfs",
        "dfs",
        "best-first",
        "beam",
        "merge",
        "mcts",
        "ab-mcts",
    ),
    *("hf", "vllm", "openai", "ray", "fake"),
    *("votes", "logprob", "verifier", "hybrid", "scale", "checklist"),
}
SETTING_NAMES = {("spar/run/keywords.py", "verifier")}
"""A keyword argument of the API that is called as a judge is."""


def test_no_line_tests_the_name_of_a_plugin() -> None:
    """Comparisons, look-ups in literal tables and `match` name no strategy, engine or judge."""
    named = {
        (str(path.relative_to(ROOT)), name)
        for path in modules()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        for part in _tested(node)
        for name in _strings(part) & PLUGIN_NAMES
    }
    assert named - SETTING_NAMES == set()


def _tested(node: ast.AST) -> list[ast.AST]:
    """The parts of a node that a value is compared with."""
    if isinstance(node, ast.Compare | ast.MatchValue):
        return [node]
    if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Dict):
        return [node.value]
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        return [node.func.value] if isinstance(node.func.value, ast.Dict) else []
    return []


def _strings(node: ast.AST) -> set[str]:
    constants = (child for child in ast.walk(node) if isinstance(child, ast.Constant))
    return {constant.value for constant in constants if isinstance(constant.value, str)}


def test_text_files_name_their_encoding() -> None:
    """Without it a file is read in the encoding of the locale: a name with an umlaut is garbled, or an error."""
    scripts = [*ROOT.glob("benchmarks/**/*.py"), *ROOT.glob("examples/**/*.py")]
    paths = [*modules(), *scripts, *ROOT.glob("docs/**/*.py")]
    places = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in paths
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and _takes_the_encoding_of_the_locale(node)
    ]
    assert places == []


@pytest.mark.parametrize(
    ("code", "is_found"),
    [
        ("path.read_text()", True),
        ("path.read_text(errors='replace')", True),
        ("path.write_text(text)", True),
        ("open(name)", True),
        ("open(name, 'a')", True),
        ("path.open()", True),
        ("path.open('w')", True),
        ("gzip.open(path, mode='rt')", True),
        ("io.TextIOWrapper(stream)", True),
        ("os.fdopen(number)", True),
        ("path.read_text('utf-8')", False),
        ("path.write_text(text, encoding='utf-8')", False),
        ("open(name, 'rb')", False),
        ("path.open('wb')", False),
        ("path.open(mode='ab')", False),
        ("path.open('w', encoding='utf-8')", False),
        ("gzip.open(path, 'rb')", False),
        ("RunStore.open(directory, manifest)", False),
        ("TreeIndex.open('runs/a')", False),
        ("os.open(path, os.O_RDONLY)", False),
        ("read_text(message)", False),
    ],
)
def test_the_check_of_encodings_knows_texts(code: str, is_found: bool) -> None:
    """Functions of the same name that read no text are left alone."""
    call = ast.parse(code, mode="eval").body
    assert isinstance(call, ast.Call)
    assert _takes_the_encoding_of_the_locale(call) is is_found


def _takes_the_encoding_of_the_locale(call: ast.Call) -> bool:
    is_method = isinstance(call.func, ast.Attribute)
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    arguments = {keyword.arg: keyword.value for keyword in call.keywords}
    if "encoding" in arguments:
        return False
    if name in ("read_text", "write_text"):
        return is_method and len(call.args) <= (name == "write_text")
    if name == "TextIOWrapper":
        return len(call.args) < 2
    if name not in ("open", "fdopen"):
        return False
    modes = [
        str(value.value)
        for value in (*call.args[:2], arguments.get("mode"))
        if isinstance(value, ast.Constant) and set(str(value.value)) <= set("rwaxbt+")
    ]
    is_of_this_library = is_method and name == "open" and bool(call.args)
    return not any("b" in mode for mode in modes) and (bool(modes) or not is_of_this_library)


def test_no_class_is_written_twice() -> None:
    """Of one name and with the same fields or methods in two modules: one of them imports the other's."""
    places: dict[tuple[str, str], list[str]] = {}
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                # A docstring says nothing of what a class is.
                body = [ast.dump(part) for part in node.body if not isinstance(part, ast.Expr)]
                if body:
                    places.setdefault((node.name, "".join(body)), []).append(str(path))
    assert [paths for paths in places.values() if len(paths) > 1] == []


def test_no_circle_of_imports() -> None:
    """Neither of modules nor of packages, imports inside functions and names of modules in strings included."""
    names = {_module(path): path for path in modules()}
    graph = {name: _imported(path, names) - {name} for name, path in names.items()}
    assert _circles(graph) == []
    packages: dict[str, set[str]] = {}
    for name, targets in graph.items():
        packages.setdefault(_package(name), set()).update(map(_package, targets))
    packages = {name: targets - {name} for name, targets in packages.items()}
    assert _circles(packages) == []


def _module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def _package(module: str) -> str:
    """`spar.infer.engines.hf` to `spar.infer`; all of the terminal UI is one package."""
    return ".".join(module.split(".")[:2]) if module.startswith("spar.") else module.split(".")[0]


def _imported(path: Path, names: Mapping[str, Path]) -> set[str]:
    """The modules that one imports, or names in a string; tables of plug-ins are names, not imports."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = _import_names(_without_typing(tree))
    if path.name not in ("plugins.py", "__init__.py"):
        docstrings = {
            ast.get_docstring(node, clean=False)
            for node in ast.walk(tree)
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        }
        found |= _strings(tree) - docstrings
    # `from a import b` names both `a` and `a.b`: the package itself only where it is no more than that.
    deepest = {name for name in found if name in names}
    return {
        n for n in deepest if not any(other.startswith(f"{n}.") for other in found & set(names))
    }


def _circles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """Groups of more than one node that reach one another (Tarjan's algorithm)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    circles: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for target in graph.get(node, ()):
            if target not in index:
                visit(target)
            if target in stack:
                low[node] = min(low[node], low[target])
        if low[node] == index[node]:
            position = stack.index(node)
            group = stack[position:]
            del stack[position:]
            if len(group) > 1:
                circles.append(sorted(group))

    for node in graph:
        if node not in index:
            visit(node)
    return circles
