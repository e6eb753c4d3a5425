"""Whether this process may download anything: not where `HF_HUB_OFFLINE` is set, which the hub's libraries heed too."""

import os

OFFLINE_VARIABLE = "HF_HUB_OFFLINE"
"""Environment variable of the hub's libraries, which refuses spar's own downloads too."""


def is_offline() -> bool:
    """Whether `HF_HUB_OFFLINE` is set."""
    return os.environ.get(OFFLINE_VARIABLE, "").lower() in ("1", "true", "yes", "on")
