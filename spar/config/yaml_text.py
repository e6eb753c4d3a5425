"""Reads YAML as it is meant: nothing has two values, nothing is guessed, nothing grows without limit.

PyYAML follows YAML 1.1, where `yes` is true, `010` is 8, `1:30` is 90 and `2020-01-01` is a date, and keeps the last
of two equal keys. Here these are refused, or texts as in YAML 1.2, which the setting's own type then checks.
"""

from __future__ import annotations

import math
import re
from functools import cache
from typing import Any

MAX_NODES = 100_000
"""Most values of a text once its references are written out: a few lines of them can stand for billions."""
MAX_DIGITS = 1_000
"""Most characters of a number."""

_LEGACY_NUMBER = re.compile(r"[-+]?0[0-9_]+")
_TAG = "tag:yaml.org,2002:"


def load_yaml(text: str) -> Any:
    """The value of a YAML text.

    Raises
    ------
    ValueError
        It is not YAML, a key stands twice in a mapping, a number starts with 0 or is not finite, or the text is
        nested too deeply or too large.
    """
    import yaml

    loader = _loader()(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _num_nodes(node, {})
        return loader.construct_document(node)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except (
        AttributeError,
        TypeError,
        OverflowError,
    ) as error:  # an explicit tag, such as !!timestamp x
        raise ValueError(f"a tag does not fit its value: {error}") from error
    finally:
        loader.dispose()


@cache
def _loader() -> Any:
    import yaml

    class Loader(yaml.SafeLoader):
        """PyYAML's safe loader, stricter."""

    Loader.yaml_implicit_resolvers = {
        first: [
            (tag, pattern)
            for tag, pattern in resolvers
            if tag not in {f"{_TAG}{name}" for name in ("int", "float", "timestamp")}
        ]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    Loader.add_implicit_resolver(
        f"{_TAG}int",
        re.compile(r"[-+]?(?:[0-9][0-9_]*|0x[0-9a-fA-F_]+)\Z"),
        list("-+0123456789"),
    )
    Loader.add_implicit_resolver(  # as YAML 1.2 has them: 1e-3 is a number, 1:30.5 is none
        f"{_TAG}float",
        re.compile(
            r"[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?\Z"
            r"|[-+]?\.(?:inf|Inf|INF)\Z|\.(?:nan|NaN|NAN)\Z"
        ),
        list("-+.0123456789"),
    )
    Loader.add_constructor(f"{_TAG}bool", _boolean)
    Loader.add_constructor(f"{_TAG}int", _integer)
    Loader.add_constructor(f"{_TAG}float", _finite)
    Loader.add_constructor(f"{_TAG}map", _mapping)
    return Loader


def _line(node: Any) -> str:
    """Where a value stands; "" in the first line, which is all that the value of a flag has."""
    line = node.start_mark.line + 1
    return f" in line {line}" if line > 1 else ""


def _boolean(loader: Any, node: Any) -> bool:
    import yaml

    text: str = loader.construct_scalar(node)
    if text.lower() not in ("true", "false"):
        raise yaml.YAMLError(f"{text}{_line(node)}: write true or false, or quote it as a text")
    return text.lower() == "true"


def _integer(loader: Any, node: Any) -> int:
    import yaml

    text = loader.construct_scalar(node)
    if _LEGACY_NUMBER.fullmatch(text):
        raise yaml.YAMLError(
            f"{text}{_line(node)}: a number does not start with 0; write {text.lstrip('+-0') or 0}, or quote it"
        )
    if len(text) > MAX_DIGITS:
        raise yaml.YAMLError(f"a number of {len(text):,} digits{_line(node)}")
    try:
        value: int = loader.construct_yaml_int(node)
    except ValueError as error:
        raise yaml.YAMLError(f"not a whole number{_line(node)}: {error}") from error
    return value


def _finite(loader: Any, node: Any) -> float:
    """A number, but neither infinity nor NaN, which no file of a run and no request to a server can hold."""
    import yaml

    try:
        value: float = loader.construct_yaml_float(node)
    except ValueError as error:
        raise yaml.YAMLError(f"not a number: {error}") from error
    if not math.isfinite(value):
        raise yaml.YAMLError(f"{node.value}: not a finite number; quote it as a text")
    return value


def _mapping(loader: Any, node: Any) -> Any:
    import yaml

    seen: dict[Any, int] = {}
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode) or key.value == "<<":
            continue
        line = key.start_mark.line + 1
        if key.value in seen:
            raise yaml.YAMLError(
                f"the key {key.value!r} stands twice, in lines {seen[key.value]} and {line}; delete one"
            )
        seen[key.value] = line
    return loader.construct_yaml_map(node)


def _num_nodes(node: Any, known: dict[int, int]) -> int:
    """Values of a node once references are written out; a reference into itself is refused."""
    import yaml

    if id(node) in known:
        if known[id(node)] < 0:
            raise yaml.YAMLError("a reference leads into itself")
        return known[id(node)]
    known[id(node)] = -1
    children = node.value if isinstance(node, yaml.CollectionNode) else ()
    total = 1
    for child in children:
        for part in child if isinstance(child, tuple) else (child,):
            total += _num_nodes(part, known)
    if total > MAX_NODES:
        raise yaml.YAMLError(
            f"it has more than {MAX_NODES:,} values once its references are written out"
        )
    known[id(node)] = total
    return total
