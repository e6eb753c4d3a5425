"""`spar decode` against servers, as a person runs it: resuming, refusals, and where the key goes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from spar.store import read_trees
from tests.answers import Script
from tests.cli.test_decode import comparable, spar
from tests.servers import ScriptedServer

KEY = "sk-not-for-anyone-0123456789"


def decode(server: ScriptedServer, out: Path, *flags: str, check: int) -> str:
    """Run over ten prompts; what the command said on standard error."""
    args = ("--base-url", server.url, "--limit", "10", "--display", "plain", "--out", out)
    return spar("decode", *args, *flags, check=check).stderr


def test_a_server_that_stays_away_stops_the_run_and_the_resumed_run_is_whole(
    tmp_path: Path,
) -> None:
    """Exit code 1, how to go on, and then every prompt once, with the trees of an undisturbed run."""
    with ScriptedServer() as server:
        decode(server, tmp_path / "whole", "--concurrency", "2", check=0)

        last = server.num_requests + 40

        def die(number: int) -> None:
            if number == last:
                server.kill()

        server.on_request = die
        flags = ("--concurrency", "2", "--retry-for", "1")
        said = decode(server, tmp_path / "run", *flags, check=1)
        assert "run the same command again to resume" in said
        written = len(list(read_trees(tmp_path / "run")))
        assert 0 < written < 10
        server.on_request = lambda _: None
        server.start()
        assert f"resuming: {written} trees" in decode(server, tmp_path / "run", *flags, check=0)
    ids = [tree.prompt.id for tree in read_trees(tmp_path / "run")]
    assert len(ids) == len(set(ids)) == 10
    whole = comparable(tmp_path / "whole")
    assert comparable(tmp_path / "run") == whole


def test_a_key_is_sent_and_written_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not in the manifest, the log, the trees or what is printed; nor when the server refuses it."""
    monkeypatch.setenv("MY_KEY", KEY)
    with ScriptedServer(Script(key=KEY)) as server:
        said = decode(server, tmp_path / "right", "--api-key-env", "MY_KEY", check=0)
    with ScriptedServer(Script(key="another")) as server:
        said += decode(server, tmp_path / "wrong", "--api-key-env", "MY_KEY", check=2)
    assert "MY_KEY" in said
    assert KEY not in said
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or KEY not in path.read_text(), path


@pytest.mark.parametrize(
    ("script", "flags", "said"),
    [
        (Script(key="k"), (), "--api-key-env"),
        (Script(), ("--model", "huge"), "huge"),
        (Script(models=("a", "b")), (), "--model"),
        (Script(), ("--judge", "logprob", "--api-key-env", "NOT_SET"), "NOT_SET"),
    ],
)
def test_what_the_person_can_mend_is_told_at_once(
    script: Script, flags: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    """Before a run directory is made: one line, exit code 2."""
    assert "NOT_SET" not in os.environ
    with ScriptedServer(script) as server:
        told = decode(server, tmp_path / "run", *flags, check=2)
    assert said in told.splitlines()[-1]
    assert not (tmp_path / "run").exists()


def test_the_servers_model_and_url_are_on_record(tmp_path: Path) -> None:
    """The manifest has the model that the server named; another URL may resume the run."""
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
def test_a_judge_on_a_server_for_a_model_of_this_machine(tmp_path: Path) -> None:
    """Drafts and refinements are written here, votes come from there, and the record says so."""
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


def test_faults_of_a_server_reach_the_log(tmp_path: Path) -> None:
    """Every prompt is answered all the same, and log.txt says what happened."""
    with ScriptedServer(Script(fault_share=0.2, faults=("500", "cut", "half"))) as server:
        decode(server, tmp_path / "run", check=0)
    assert len(list(read_trees(tmp_path / "run"))) == 10
    log = (tmp_path / "run" / "log.txt").read_text()
    assert "500" in log
    assert "sent again" in log
