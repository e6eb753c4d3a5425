"""What the verdicts of an evaluation rest on besides its answers: where two evaluations differ in it, `spar eval compare` says so."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from pydantic_core import to_jsonable_python

from spar.eval.benchmark import GRADES, PYTHON, Benchmark
from spar.eval.datasets.local import DataFolder
from spar.eval.job_outputs import RunOutputs
from spar.manifest import leaves
from spar.store import MANIFEST, read_manifest
from spar.types import Prompt, Role

_OF_THE_MODEL = ("engine", "adapter", "chat_template_args", "reasoning_effort", "extra_body")
"""Settings of a grader's stage that decide its replies, whatever it is asked."""
_OF_A_ROLE: Mapping[Role | None, tuple[str, ...]] = {
    "actor": ("draft",),
    "judge": ("judge", "judge_args", "votes", "vote", "vote_rule"),
    "refiner": ("refine",),
    None: (),
}
"""Those that decide the replies of a grader in this role."""

_UNUSED = frozenset({"refine", "merge"})
"""Templates of a stage by which nothing is judged."""


def verifiers(
    benchmark: Benchmark, examples: Sequence[Prompt], data: Sequence[DataFolder]
) -> dict[str, str]:
    """Package to its version, `data/NAME` to the data set's digest."""
    versions = {package: _version(package) for package in benchmark.packages_of(examples)}
    return {f"data/{folder.name}": folder.digest for folder in data} | versions


def grading(
    benchmark: Benchmark, options: Mapping[str, Any], outputs: RunOutputs
) -> dict[str, str]:
    """The benchmark's options, and the grader with the settings that decide its replies; each value as JSON.

    Parameters
    ----------
    outputs:
        Those of a benchmark that is graded, if it is to be.
    """
    options = to_jsonable_python(dict(options), fallback=str)
    if outputs.external_grades is not None:
        return leaves({**options, "grader": "replies from a file"})
    directory = outputs.directory / GRADES
    if not benchmark.uses_grader or not (directory / MANIFEST).is_file():
        return leaves(options)
    manifest, role = read_manifest(directory), benchmark.grader_role
    names = (*_OF_THE_MODEL, *_OF_A_ROLE[role])
    grader = {name: manifest.config[name] for name in names if name in manifest.config}
    grader["model"] = manifest.models.get(role or "actor")  # the grader has all roles
    if role == "judge":  # a grader in another role has a conversation of the benchmark's own
        grader["templates"] = {
            name: digest for name, digest in manifest.templates.items() if name not in _UNUSED
        }
    return leaves({**options, "grader": grader})


def _version(package: str) -> str:
    if package == PYTHON:
        return platform.python_version()
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
