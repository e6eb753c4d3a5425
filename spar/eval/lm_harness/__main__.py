"""lm-eval's command line with the model `spar` in it, and with the data folder's documents.

    python -m spar.eval.lm_harness --model spar --model_args model=DIR,strategy=bfs,budget=15 \\
        --tasks gsm8k --apply_chat_template --limit 50

lm-eval has no hook by which its own command could find the model of another package. Everything else
is lm-eval's: its flags, its tasks, its limit (documents of each task), its tables. `SPAR_DATA` names the
data's folder.
"""

from __future__ import annotations

import os
import sys

from spar.errors import MissingExtra, SparError
from spar.subprocesses import kill_children

NAME = "spar"
"""Of the model, in lm-eval's table."""


def register() -> None:
    """Add the model to lm-eval's table; nothing of it is imported before it is used.

    Raises
    ------
    MissingExtra
        lm-eval is not installed.
    """
    try:
        import lm_eval.models  # noqa: F401  # fills the table
        from lm_eval.api.registry import model_registry
    except ImportError as error:
        raise MissingExtra(error.name or "lm_eval", "eval", "lm-eval's command line") from error
    if NAME not in model_registry:
        model_registry.register(NAME, target="spar.eval.lm_harness.model:SparLM")


def main() -> None:
    """Run lm-eval's command line; a user's mistake is one line, and Ctrl-C waits for no model."""
    try:
        _evaluate()
    except SparError as error:
        _print_error(str(error))
        raise SystemExit(error.exit_code) from error
    except KeyboardInterrupt:
        _print_error("interrupted; with out=DIR in --model_args the same command resumes")
        kill_children()
        os._exit(130)  # a thread may be in the middle of a step, or of loading a model


def _evaluate() -> None:
    register()
    from lm_eval.__main__ import cli_evaluate

    from spar.eval.lm_harness.local_data import local_data
    from spar.run.interactive import close_sessions

    with local_data():
        cli_evaluate()
    close_sessions()


def _print_error(message: str) -> None:
    print(f"spar: {message}".encode("utf-8", "backslashreplace").decode(), file=sys.stderr)
    sys.stderr.flush()


if __name__ == "__main__":
    main()
