"""Downloads what a benchmark needs and this machine lacks, when the benchmark is first used.

Only files that are absent are downloaded, from their pinned origins into the data folder (`SPAR_DATA`, else the
cache), each checked before it gets its name. Nothing is downloaded into a folder that `--data` names, with `--offline`,
or where `HF_HUB_OFFLINE` is set.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from spar.data_folder import VARIABLE, data_root
from spar.errors import RunStopped
from spar.eval.datasets import download
from spar.eval.datasets.local import find_folder
from spar.eval.datasets.registry import DataFile, DataSet, data_set
from spar.listener import Activity, Listener
from spar.offline import is_offline


def fetch_absent(names: Sequence[str], data: str, listener: Listener, *, offline: bool) -> None:
    """Download the absent files of data sets, with a line about each data set and its licence.

    Parameters
    ----------
    data:
        `--data`; "" for the data folder.

    Raises
    ------
    UsageError
        The data folder cannot be written.
    RunStopped
        A file cannot be downloaded.
    """
    if data or offline or is_offline():
        return
    for name in names:
        if files := _absent(data_set(name)):
            _fetch(data_set(name), files, listener)


def _absent(dataset: DataSet) -> list[DataFile]:
    folder = data_root() / dataset.name
    if find_folder(dataset) not in (None, folder):
        return []  # the data folder is the set's own, or another set's, into which nothing is downloaded
    return [file for file in dataset.files.values() if not (folder / file.path).exists()]


def _fetch(dataset: DataSet, files: Sequence[DataFile], listener: Listener) -> None:
    origin = "/".join(files[0].origin.split("/")[:2])
    listener.note(
        f"{dataset.name}: {dataset.description}; licence {dataset.licence}; downloading {len(files)} "
        f"{'file' if len(files) == 1 else 'files'} from {origin} to {data_root() / dataset.name}"
    )
    activity = Activity(name=dataset.name, total=len(files), unit="files")
    listener.started(activity)
    try:
        for number, _ in enumerate(download.fetch(dataset, files=files), start=1):
            listener.progress(replace(activity, done=number))
    except RunStopped as error:
        raise RunStopped(
            f"data set {dataset.name}: {error}; or name a folder that holds {dataset.name}/ with --data DIR or {VARIABLE}"
        ) from error
    finally:
        listener.finished(activity)
