"""Rows of a data set of the Hugging Face hub."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from spar.errors import MissingExtra, UsageError
from spar.offline import is_offline
from spar.rows.row import Row, cut, error_line, reject
from spar.rows.tables import plain_rows

HUB_SCHEME = "hf://"
_HUB_NAME = re.compile(
    r"(?P<name>[A-Za-z0-9][\w.-]*/[\w.-]+)(/(?P<config>[\w.-]+))?(:(?P<split>[\w.%:\[\]-]+))?"
)


def is_hub_name(source: str) -> bool:
    """Whether a text could name a data set: `NAME/OF[/CONFIG][:SPLIT]`."""
    return _HUB_NAME.fullmatch(source) is not None


def hub_rows(source: str) -> Iterator[Row]:
    """The rows of `NAME/OF[/CONFIG][:SPLIT]`; they are downloaded when the first one is requested."""
    match = _HUB_NAME.fullmatch(source)
    if match is None:
        raise UsageError(f"{HUB_SCHEME}{source} is no data set; accepted: NAME/OF[/CONFIG][:SPLIT]")
    name, config, split = match["name"], match["config"], match["split"]
    return plain_rows(_hub_dataset(name, config, split), f"{HUB_SCHEME}{source}")


def _hub_dataset(name: str, config: str | None, split: str | None) -> Iterator[dict[str, Any]]:
    """The rows of a split: the one that is named, `train`, or the only one."""
    try:
        import datasets
        import httpx
    except ImportError as error:
        what = (
            f"there is no file {name}; reading the data set of that name from the Hugging Face hub"
        )
        raise MissingExtra("datasets", "train", what) from error
    from spar.models.hub import hub_failure
    from spar.models.loading import quiet_hub

    quiet_hub()
    failure = "" if is_offline() else hub_failure()
    try:
        with _from_cache() if failure else nullcontext():
            data = datasets.load_dataset(name, config, split=split)
        if split is None:
            names = list(data)
            if "train" not in names and len(names) != 1:
                reject(name, f"no split named among {', '.join(names)}", f"{name}:{names[0]}")
            data = data["train" if "train" in names else names[0]]
        yield from data
    except UsageError:
        raise
    except (
        *(OSError, ValueError, KeyError, RuntimeError, httpx.HTTPError),
        datasets.exceptions.DatasetsError,
    ) as error:
        # What is wrong with a file of a data set is only said by the cause.
        is_summary = isinstance(error, datasets.exceptions.DatasetsError)
        reason = failure or error_line((error.__cause__ if is_summary else None) or error)
        raise UsageError(
            f"there is no file {name}, and the data set of that name cannot be read from the Hugging Face "
            f"hub: {cut(reason)}; check the name and the network, or pass a file"
        ) from error


@contextmanager
def _from_cache() -> Iterator[None]:
    """Have the library look in its cache only: it would wait half a minute for a hub that does not answer."""
    from datasets import config

    config.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        config.HF_HUB_OFFLINE = False
