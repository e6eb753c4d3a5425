"""The name of the variable that holds an API key, keys that were passed in its place, and names of fields that hold one.

A key is not accepted as a name, since names are printed and stored. What cannot be told from a key is
accepted only if a variable of that name is set.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from spar.errors import UsageError

_VARIABLE_NAME = re.compile("[A-Za-z_][A-Za-z0-9_]*")
_PLAIN_NAME = re.compile("[A-Z][A-Z0-9]*(_[A-Z0-9]+)+")
"""As people name such variables, and no known service its keys."""
_MAX_PLAIN_NAME = 40
_HEADER_NAME = re.compile(r"[A-Za-z0-9_-]{1,100}")
_HEADER_VALUE = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*")

_CREDENTIALS = frozenset(
    "key apikey token authtoken accesstoken secret password passwd passphrase credential credentials authorization "
    "bearer".split()
)
"""Last words of the names of fields that hold a credential."""
_PUBLIC = frozenset(
    "prompt_cache_key cache_key extra_key bos_token eos_token pad_token unk_token stop_token".split()
)
"""Fields of servers and engines whose names end alike and that hold none."""


def names_credential(name: str) -> bool:
    """Whether a field of this name holds a key or a password, as `api_key` and `hf_token` do and `stop_token_ids` does not."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|[^A-Za-z0-9]+", "_", name).lower().strip("_").split("_")
    if words[-1] in _CREDENTIALS:
        return "_".join(words) not in _PUBLIC
    return bool({"secret", "password"} & set(words))


def check_key_name(name: str, flag: str = "--api-key-env") -> None:
    """Raise `UsageError` if `name`, the value of a flag, may be a key itself; the message does not repeat it."""
    if not name or name in os.environ:
        return
    if not _VARIABLE_NAME.fullmatch(name):
        raise UsageError(
            f"{flag}: expected the name of an environment variable that holds the key (letters, "
            "digits and underscores, such as MY_API_KEY), not the key itself"
        )
    if not _PLAIN_NAME.fullmatch(name) or len(name) > _MAX_PLAIN_NAME:
        raise UsageError(
            f"{flag}: no environment variable of this name is set, and it is not repeated here since it "
            "may be the key itself; expected the name of the variable that holds the key, such as MY_API_KEY"
        )


def check_headers(headers: Mapping[str, Any]) -> None:
    """Raise `UsageError` unless every value of `--header` names an environment variable; none is repeated."""
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name):
            raise UsageError("--header: expected NAME=env:VARIABLE with the name of an HTTP header")
        if not isinstance(value, str) or not _HEADER_VALUE.fullmatch(value):
            raise UsageError(
                f"--header {name}: expected {name}=env:VARIABLE, the environment variable that holds the value, "
                "which then stays out of files and process lists"
            )
