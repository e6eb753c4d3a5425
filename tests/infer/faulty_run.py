"""A search in a process of its own, to be killed: python -m tests.infer.faulty_run URL FOLDER NUM_PROMPTS."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from tests.infer.test_openai_faults import search
from tests.servers import ScriptedServer


def main() -> None:
    """Search until done or killed."""
    url, folder, num_prompts = sys.argv[1:]
    port = int(url.rpartition(":")[2].partition("/")[0])
    asyncio.run(
        search(
            Path(folder), [ScriptedServer(port=port)], num_prompts=int(num_prompts), concurrency=24
        )
    )


if __name__ == "__main__":
    main()
