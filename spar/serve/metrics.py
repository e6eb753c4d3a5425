"""What `/metrics` says, in Prometheus' format: requests, trees, nodes, tokens, the queue, latency."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spar.listener import Listener
from spar.serve.http import Ending
from spar.types import Role, SearchTree, Usage

if TYPE_CHECKING:
    from spar.serve.searching import SearchService

BUCKETS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320, 640)
"""Upper bounds of latencies in seconds."""


class Metrics(Listener):
    """Counts; a registry of its own, so that several servers in one process do not share counts."""

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "spar_requests", "Requests by their status.", ["status"], registry=registry
        )
        self._seconds = Histogram(
            "spar_request_seconds",
            "Seconds from a request to the end of its reply.",
            buckets=BUCKETS,
            registry=registry,
        )
        self._trees = Counter(
            "spar_trees", "Searches that ended.", ["strategy", "stop"], registry=registry
        )
        self._solved = Counter(
            "spar_trees_solved",
            "Searches in which a response passed.",
            ["strategy"],
            registry=registry,
        )
        self._nodes = Counter("spar_nodes", "Responses.", ["strategy"], registry=registry)
        self._faults = Counter(
            "spar_faults", "Attempts without a response.", ["strategy"], registry=registry
        )
        self._calls = Counter("spar_calls", "Requests to models.", ["role"], registry=registry)
        self._tokens = Counter("spar_tokens", "Tokens.", ["role", "kind"], registry=registry)
        self._tree_seconds = Histogram(
            "spar_tree_seconds",
            "Seconds of a search.",
            ["strategy"],
            buckets=BUCKETS,
            registry=registry,
        )
        self._gauges = {
            name: Gauge(f"spar_{name}", meaning, registry=registry)
            for name, meaning in (
                ("requests_in_flight", "Requests that are being answered or wait."),
                ("trees_running", "Searches in flight."),
                ("trees_waiting", "Searches that wait for a free place."),
                ("trees_stored", "Trees in run directories, since the start."),
                ("trees_not_stored", "Trees that could not be stored, since the start."),
            )
        }

    def reply(self, ending: Ending, seconds: float) -> None:
        """Count a request whose reply ended."""
        self._requests.labels(str(ending.status)).inc()
        self._seconds.observe(seconds)
        self._count("actor", ending.usage)

    def tree(self, tree: SearchTree) -> None:
        """Count a search that ended."""
        self._trees.labels(tree.strategy, tree.stop).inc()
        self._solved.labels(tree.strategy).inc(tree.solved)
        self._nodes.labels(tree.strategy).inc(len(tree.nodes))
        self._faults.labels(tree.strategy).inc(len(tree.faults))
        self._tree_seconds.labels(tree.strategy).observe(tree.seconds)
        for role, usage in tree.usage_by_role.items():
            self._count(role, usage)

    def text(self, service: SearchService) -> bytes:
        """All metrics at this moment."""
        from prometheus_client import generate_latest

        admission, recorder = service.admission, service.recorder
        values = {
            "requests_in_flight": admission.requests,
            "trees_running": admission.running,
            "trees_waiting": admission.waiting,
            "trees_stored": recorder.num_stored if recorder else 0,
            "trees_not_stored": recorder.num_failed if recorder else 0,
        }
        for name, value in values.items():
            self._gauges[name].set(value)
        return generate_latest(self._registry)

    def _count(self, role: Role, usage: Usage) -> None:
        self._calls.labels(role).inc(usage.calls)
        self._tokens.labels(role, "prompt").inc(usage.prompt_tokens)
        self._tokens.labels(role, "completion").inc(usage.completion_tokens)
