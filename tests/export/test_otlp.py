"""A run as OpenTelemetry spans: valid by the published schema, nested like the tree, and sent to a collector."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given

from spar.cli.run_export import Export, run
from spar.errors import RunStopped, UsageError
from spar.export.collector import HEADERS
from spar.export.otlp import RunOrigin, json_line, requests
from spar.export.run import check_constraints
from spar.types import Fault, SearchTree, Usage
from spar.view.node_detail import Annotations
from tests.cli.test_decode import spar
from tests.export.pages import searched, story_run
from tests.hostile import hostile_tree
from tests.strategies import trees
from tests.train.trees import write_run
from tests.view.test_text import unseen

ORIGIN = RunOrigin("mine", 1_000_000_000_000, {"actor": "tiny", "judge": "big", "refiner": "tiny"})


def spans_of(tree: SearchTree) -> list[dict[str, Any]]:
    """The spans of one tree, with attributes as a plain mapping."""
    (request,) = requests([tree], ORIGIN, Annotations(check_constraints))
    (resource,) = request["resourceSpans"]
    found: list[dict[str, Any]] = json.loads(json.dumps(resource["scopeSpans"][0]["spans"]))
    for span in found:
        span["values"] = {
            each["key"]: next(iter(each["value"].values())) for each in span["attributes"]
        }
    return found


def test_spans_are_nested_like_the_tree() -> None:
    """The search, its draft, the refinement below the draft, and a judgement below each."""
    search, draft, judged, refined, again = spans_of(searched("p", ("a, b", 1), ("a done", 5)))
    assert "parentSpanId" not in search and len({span["traceId"] for span in (search, again)}) == 1
    assert draft["parentSpanId"] == search["spanId"]
    assert judged["parentSpanId"] == refined["parentSpanId"] == draft["spanId"]
    assert again["parentSpanId"] == refined["spanId"]
    assert [span["name"] for span in (search, draft, judged)] == [
        *("invoke_agent bfs", "chat tiny", "chat big")
    ]
    assert draft["values"]["gen_ai.usage.output_tokens"] == "10"
    assert judged["values"]["gen_ai.usage.input_tokens"] == "80"
    assert search["values"]["spar.change"] == "fixed"
    assert int(refined["startTimeUnixNano"]) == int(judged["endTimeUnixNano"])


def test_judgement_and_ground_truth_are_evaluations() -> None:
    """Each is an event with name, score, label and explanation."""
    _, draft, judged, *_ = spans_of(searched("p", ("a, b", 1), ("a done", 5)))
    events = {}
    for span in (draft, judged):
        (event,) = span["events"]
        assert event["name"] == "gen_ai.evaluation.result"
        values = {each["key"]: next(iter(each["value"].values())) for each in event["attributes"]}
        events[values["gen_ai.evaluation.name"]] = values
    assert events["judge"]["gen_ai.evaluation.score.value"] == 0.2
    assert events["judge"]["gen_ai.evaluation.score.label"] == "fail"
    assert events["ground truth"]["gen_ai.evaluation.score.label"] == "wrong"
    assert "no commas" in events["ground truth"]["gen_ai.evaluation.explanation"]


def test_a_failed_attempt_is_an_error() -> None:
    """With its reason as the status, below the node that was to be refined."""
    fault = Fault(parent=0, stage="refine", reason="no markers", usage=Usage(seconds=1.0))
    tree = searched("p", ("a", 1)).model_copy(update={"faults": (fault,)})
    _, draft, _, failed = spans_of(tree)
    assert failed["status"] == {"code": 2, "message": "no markers"}
    assert failed["parentSpanId"] == draft["spanId"]


@given(trees())
@example(hostile_tree())
def test_any_tree_is_valid_by_the_schema(tree: SearchTree) -> None:
    """The published protobuf reads every line, and ids are those of a second export."""
    service = pytest.importorskip("opentelemetry.proto.collector.trace.v1.trace_service_pb2")
    json_format = pytest.importorskip("google.protobuf.json_format")
    (trace,) = requests([tree], ORIGIN)
    parsed = json_format.Parse(json_line(trace).decode(), service.ExportTraceServiceRequest())
    spans = parsed.resource_spans[0].scope_spans[0].spans
    judged = sum(node.judgement is not None for node in tree.nodes)
    assert len(spans) == 1 + len(tree.nodes) + judged + len(tree.faults)
    assert len({span.span_id for span in spans}) == len(spans)
    assert all(span.end_time_unix_nano >= span.start_time_unix_nano for span in spans)
    assert next(requests([tree], ORIGIN)) == trace


class Collector(HTTPServer):
    """Takes spans, or refuses them."""

    def __init__(self, status: int = 200) -> None:
        super().__init__(("127.0.0.1", 0), _Collect)
        self.status = status
        self.bodies: list[dict[str, Any]] = []
        self.seen: list[tuple[str, str | None]] = []


class _Collect(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        """Keep the body."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.bodies.append(json.loads(body))
        self.server.seen.append((self.path, self.headers.get("Authorization")))
        self.send_response(self.server.status)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def collector() -> Iterator[Collector]:
    """A collector on loopback."""
    server = Collector()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_run_is_sent(
    collector: Collector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All trees, to the standard path, with the headers of the environment; a refusal is one line."""
    directory = write_run(tmp_path / "run", *story_run())
    monkeypatch.setenv(HEADERS, "Authorization=Basic%20abc,x-other=1")
    url = f"http://127.0.0.1:{collector.server_address[1]}"
    run(Export(directory, "otlp", url=url))
    assert collector.seen == [("/v1/traces", "Basic abc")]
    assert len(collector.bodies[0]["resourceSpans"]) == 5
    collector.status = 401
    with pytest.raises(RunStopped, match=f"refused the spans: 401 .* a key goes into {HEADERS}"):
        run(Export(directory, "otlp", url=f"{url}/own/path"))
    assert collector.seen[-1][0] == "/own/path"
    with pytest.raises(RunStopped, match=r"cannot send to http://127\.0\.0\.1:9/v1/traces"):
        run(Export(directory, "otlp", url="http://127.0.0.1:9"))


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:43l8",
        "http://[::1",
        "http://",
        "http://collector..example",
        "http://a\tb/",
        "http://127.0.0.1:9\udcff",
    ],
)
def test_a_mistyped_url_is_one_line(url: str, tmp_path: Path) -> None:
    """An error of usage that shows it and names one that works."""
    directory = write_run(tmp_path / "run", *story_run())
    with pytest.raises(UsageError, match=r"is not a URL of a collector: .*4318") as caught:
        run(Export(directory, "otlp", url=url))
    assert not unseen(str(caught.value))


@pytest.mark.parametrize(
    "headers", ["Schlüssel=secret", "key=secret\u00e9", "key=secret%0Ax", "a key=secret", "=secret"]
)
def test_a_header_that_cannot_be_sent_is_one_line(
    headers: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error of usage that names the variable and the header, and not the value, which may be a key."""
    directory = write_run(tmp_path / "run", *story_run())
    monkeypatch.setenv(HEADERS, headers)
    with pytest.raises(UsageError, match=f"{HEADERS}: the header .* cannot be sent") as caught:
        run(Export(directory, "otlp", url="http://127.0.0.1:9"))
    assert "secret" not in str(caught.value)


def test_a_run_is_written(tmp_path: Path) -> None:
    """A line a tree; with --id, that tree alone; a URL is for spans only."""
    directory = write_run(tmp_path / "run", *story_run())
    out = tmp_path / "spans.jsonl"
    spar("export", directory, "--format", "otlp", "--out", out, check=0)
    lines = out.read_text().splitlines()
    assert len(lines) == 5 and "resourceSpans" in json.loads(lines[0])
    one = spar("export", directory, "--format", "otlp", "--id", "fixed", check=0).stdout
    assert one.splitlines() == lines[:1]
    with pytest.raises(UsageError, match="is a URL, which --format otlp sends to; html is written"):
        run(Export(directory, "html", url="http://127.0.0.1:9"))
