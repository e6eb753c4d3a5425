"""vLLM's processes as forks of the one that imported it, which start in a second in place of half a minute.

    python -m tests.vllm_fork --model MODEL     # what `vllm serve MODEL` runs

On a CPU vLLM starts two processes an engine, each of which imports vLLM anew. A fork is safe there as long
as torch has one thread.
"""

from __future__ import annotations

import os
import runpy
import warnings
from collections.abc import Callable
from typing import Any

from spar.infer.engines.vllm.log_capture import open_log


def fork_processes(replace: Callable[[Any, str, Any], None] = setattr) -> None:
    """Import vLLM and let its CPU build fork its processes; other builds stay as they are."""
    if log := open_log():  # sets vLLM's environment, which has to be there before the import
        log.close()
    with warnings.catch_warnings(action="ignore"):
        import vllm.v1.engine.async_llm  # noqa: F401
        from vllm.platforms.cpu import CpuPlatform
    check = CpuPlatform.check_and_update_config.__func__

    def check_and_fork(cls: Any, config: Any) -> None:
        check(cls, config)
        os.environ["VLLM_WORKER_MULTIPROC_METHOD"] = "fork"  # which the check sets to spawn

    replace(CpuPlatform, "check_and_update_config", classmethod(check_and_fork))


if __name__ == "__main__":
    fork_processes()
    runpy.run_module("vllm.entrypoints.openai.api_server", run_name="__main__")
