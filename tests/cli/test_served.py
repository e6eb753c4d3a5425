"""`spar decode` against servers, end to end: resuming, errors, and where the API key goes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from spar.store import read_trees
from tests.answers import Script
from tests.cli.test_decode import comparable, spar
from tests.servers import ScriptedServer

pytestmark = pytest.mark.slow

KEY = "sk-not-for-anyone-0123456789"


def decode(server: ScriptedServer, out: Path, *flags: str, check: int) -> str:
    """Decode ten prompts; returns standard error."""
    args = ("--base-url", server.url, "--limit", "10", "--display", "plain", "--out", out)
    return spar("decode", *args, *flags, check=check).stderr


def test_a_run_whose_server_fails_stops_and_resumes(
    tmp_path: Path,
) -> None:
    """Exit code 1 and how to resume; the resumed run has every prompt once, with the trees of an uninterrupted run."""
    with ScriptedServer() as server:
        decode(server, tmp_path / "whole", "--concurrency", "2", check=0)

        last = server.num_requests + 40

        def die(number: int) -> None:
            if number == last:
                server.kill()

        server.on_request = die
        flags = ("--concurrency", "2", "--retry-for", "1")
        stderr = decode(server, tmp_path / "run", *flags, check=1)
        assert "rerun the command to resume" in stderr
        written = len(list(read_trees(tmp_path / "run")))
        assert 0 < written < 10
        server.on_request = lambda _: None
        server.start()
        assert f"resuming: {written} trees" in decode(server, tmp_path / "run", *flags, check=0)
    ids = [tree.prompt.id for tree in read_trees(tmp_path / "run")]
    assert len(ids) == len(set(ids)) == 10
    whole = comparable(tmp_path / "whole")
    assert comparable(tmp_path / "run") == whole


def test_the_api_key_is_sent_but_never_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not in the manifest, the log, the trees or the output, even if the server rejects it."""
    monkeypatch.setenv("MY_KEY", KEY)
    with ScriptedServer(Script(key=KEY)) as server:
        stderr = decode(server, tmp_path / "right", "--api-key-env", "MY_KEY", check=0)
    with ScriptedServer(Script(key="another")) as server:
        stderr += decode(server, tmp_path / "wrong", "--api-key-env", "MY_KEY", check=2)
    assert "MY_KEY" in stderr
    assert KEY not in stderr
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or KEY not in path.read_text(), path


@pytest.mark.parametrize(
    ("script", "flags", "message"),
    [
        (Script(key="k"), (), "--api-key-env"),
        (Script(), ("--model", "huge"), "huge"),
        (Script(models=("a", "b")), (), "--model"),
        (Script(), ("--judge", "logprob", "--api-key-env", "NOT_SET"), "NOT_SET"),
    ],
)
def test_usage_errors_come_first(
    script: Script, flags: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    """One line and exit code 2, before a run directory is created."""
    assert "NOT_SET" not in os.environ
    with ScriptedServer(script) as server:
        stderr = decode(server, tmp_path / "run", *flags, check=2)
    assert message in stderr.splitlines()[-1]
    assert not (tmp_path / "run").exists()


def test_the_servers_model_is_recorded(tmp_path: Path) -> None:
    """The manifest has the name of the server's model; the run may be resumed with another URL."""
    with ScriptedServer(Script(models=("its-own",))) as server:
        decode(server, tmp_path / "run", check=0)
        manifest = json.loads((tmp_path / "run" / "run.json").read_text())
        assert set(manifest["models"].values()) == {"its-own"}
        assert manifest["config"]["base_url"] == [server.url]
    with ScriptedServer(Script(models=("its-own",))) as elsewhere:
        assert "resuming: 10" in decode(elsewhere, tmp_path / "run", check=0)
    with ScriptedServer(Script(models=("another",))) as other:
        assert "another configuration" in decode(other, tmp_path / "run", check=2)
    assert "the run is complete: all 10 trees" in decode(other, tmp_path / "run", check=0)


@pytest.mark.model
def test_a_judge_on_a_server_beside_a_local_model(tmp_path: Path) -> None:
    """Drafts and refinements are generated in process, votes by the server, and the record has both."""
    pytest.importorskip("transformers")
    with ScriptedServer(Script(models=("its-own",))) as server:
        args = ("--judge-url", server.url, "--limit", "4", "--device", "cpu", "--budget", "3")
        run = spar("decode", *args, "--out", tmp_path / "run", "--json", check=0)
        summary = json.loads(run.stdout)
        assert "a server is the judge" in run.stderr
        assert summary["roles"]["judge"]["calls"] == sum(
            seen.body.get("n", 1) for seen in server.seen
        )
    manifest = json.loads((tmp_path / "run" / "run.json").read_text())
    assert manifest["models"] == {"actor": "embedded", "judge": "its-own", "refiner": "embedded"}
    assert manifest["config"]["engine"] in ("hf", "vllm")
    assert len(summary["engines"]) == 2


def test_faults_of_a_server_are_logged(tmp_path: Path) -> None:
    """Every prompt is still answered, and log.txt has the faults."""
    with ScriptedServer(Script(fault_share=0.2, faults=("500", "cut", "half"))) as server:
        decode(server, tmp_path / "run", check=0)
    assert len(list(read_trees(tmp_path / "run"))) == 10
    log = (tmp_path / "run" / "log.txt").read_text()
    assert "500" in log
    assert "retrying" in log
