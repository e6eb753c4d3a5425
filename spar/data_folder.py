"""Where the data of benchmarks and verifiers lies on this machine, and where spar's cache is.

The data folder is that of `--data`, else of the environment variable `SPAR_DATA`, else the cache, to which
`spar data fetch` downloads. It holds one folder for each data set (`spar.eval.datasets`).
"""

from __future__ import annotations

import os
from pathlib import Path

from spar.files import expand_home, user_folder

VARIABLE = "SPAR_DATA"
"""Environment variable that names the data folder."""


def data_root(data: str = "") -> Path:
    """The data folder, whether or not it exists: `data`, else `SPAR_DATA`, else the cache."""
    chosen = data or os.environ.get(VARIABLE, "")
    return expand_home(Path(chosen)) if chosen else cache_root()


def cache_root(content: str = "data") -> Path:
    """The folder of spar's cache for one kind of content: `~/.cache/spar/data`, `~/.cache/spar/models`."""
    return user_folder("XDG_CACHE_HOME", ".cache") / content
