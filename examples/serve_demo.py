"""Start `spar serve` on the embedded model, ask it with curl and with OpenAI's SDK, and show the tree of an answer.

    python examples/serve_demo.py [flags of spar serve]

`make demo-serve` runs it. It needs the extras hf and serve, and the package openai.
"""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from openai import OpenAI

PROMPT = (
    'Make up a line or two. Finish with these exact words: "The end." '
    '"bell" should appear under 3 times.'
)
SPAR = (sys.executable, "-m", "spar")


@contextmanager
def server(*flags: str) -> Iterator[str]:
    """A server for the length of a block; gives its base URL."""
    process = subprocess.Popen(
        [*SPAR, "serve", "--port", "0", *flags], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    try:
        for line in process.stderr:
            print(f"  {line}", end="")
            if found := re.search(r"listening on (\S+)", line):
                yield found[1]
                return
        raise SystemExit("the server did not start")
    finally:
        process.send_signal(signal.SIGTERM)  # it finishes what is in flight, and ends
        process.wait()
        process.stderr.close()


def ask_with_curl(url: str) -> None:
    """One request by hand: the reply's header has the tree's address."""
    body = json.dumps({"model": "bfs-7", "messages": [{"role": "user", "content": PROMPT}]})
    command = ["curl", "-sS", "-i", f"{url}/chat/completions"]
    command += ["-H", "Content-Type: application/json", "-d", body]
    print(f"\n$ curl -i {url}/chat/completions -H 'Content-Type: application/json' -d '{body}'")
    print(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def ask_with_sdk(url: str) -> str:
    """A streamed request: the search as it goes, then the answer. Returns the tree's address."""
    print("\n$ openai: a stream, the search's progress first")
    with (
        OpenAI(base_url=url, api_key="none") as client,
        client.chat.completions.with_streaming_response.create(
            model="bfs-15",
            messages=[{"role": "user", "content": PROMPT}],
            stream=True,
        ) as response,
    ):
        for chunk in response.parse():
            for choice in chunk.choices:
                thought = (choice.delta.model_extra or {}).get("reasoning_content")
                print(f"  {thought}" if thought else choice.delta.content or "", end="", flush=True)
        print()
        return response.headers["X-Spar-Tree"]


def main() -> None:
    """Serve, ask twice, and show the tree."""
    with server("--offer", "bfs-15,bfs-7,greedy", *sys.argv[1:]) as url:
        if shutil.which("curl"):
            ask_with_curl(url)
        address = ask_with_sdk(url)
    run, _, tree_id = address.rpartition("/")
    shown = ["export", run, "--id", tree_id, "--format", "markdown"]
    print(f"\nX-Spar-Tree: {address}\n$ spar {' '.join(shown)}")
    subprocess.run([*SPAR, *shown], check=True)


if __name__ == "__main__":
    main()
