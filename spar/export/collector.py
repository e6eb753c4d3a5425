"""Send spans to a collector of OpenTelemetry: OTLP over HTTP, in JSON.

    send(requests(trees, origin, annotations), "http://localhost:4318")

Source: https://opentelemetry.io/docs/specs/otlp/#otlphttp, and the environment variable as every exporter has it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from urllib.parse import unquote, urlsplit

from spar.errors import RunStopped, UsageError
from spar.export.otlp import Json, json_line
from spar.view.text import one_line

TRACES = "/v1/traces"
"""Path of a collector, added to a URL without one."""
HEADERS = "OTEL_EXPORTER_OTLP_HEADERS"
"""Environment variable with `name=value,...` for each request, such as a key."""
BATCH_BYTES = 2 << 20
"""A request to a collector is sent when its spans are this large."""
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def send(traces: Iterable[Json], url: str) -> int:
    """Send requests to a collector, several trees at once, and return the number of trees.

    Raises
    ------
    UsageError
        The URL, or a header in the environment, is not valid.
    RunStopped
        The collector cannot be reached, or refuses them. What was sent so far is there; sending it again changes nothing.
    """
    import httpx

    url = _address(url)
    shown, num_sent = one_line(url, 200), 0
    with httpx.Client(timeout=60, headers=_headers()) as client:
        for batch in _batches(traces):
            body = {"resourceSpans": [span for each in batch for span in each["resourceSpans"]]}
            try:
                answer = client.post(url, json=body)
                answer.raise_for_status()
            except httpx.HTTPStatusError as error:
                reason = f"{error.response.status_code} {one_line(error.response.text, 200)}"
                raise RunStopped(
                    f"{shown} refused the spans: {reason}; a key goes into {HEADERS}"
                ) from error
            except httpx.HTTPError as error:
                raise RunStopped(
                    f"cannot send to {shown}: {one_line(str(error), 200)}; check the address"
                ) from error
            num_sent += len(batch)
    return num_sent


def _address(url: str) -> str:
    """The URL that spans are posted to: with `TRACES` if it has no path of its own."""
    import httpx

    try:
        path, host = urlsplit(url).path, httpx.URL(url).raw_host.decode("ascii")
        host.encode("idna")  # as the connection does; it refuses empty and long parts of a name
        if not host:
            raise ValueError("no host")
    except (ValueError, httpx.InvalidURL) as error:
        raise UsageError(
            f"--out {one_line(url, 200)!r} is not a URL of a collector: {one_line(str(error), 200)}; pass one such as "
            "http://localhost:4318"
        ) from error
    return url.rstrip("/") + TRACES if path in ("", "/") else url


def _headers() -> dict[str, str]:
    """Those of the environment; an error names a header without its value, which may be a key."""
    pairs = (part.partition("=") for part in os.environ.get(HEADERS, "").split(",") if "=" in part)
    headers = {name.strip(): unquote(value.strip()) for name, _, value in pairs}
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name) or not (value.isascii() and value.isprintable()):
            raise UsageError(
                f"{HEADERS}: the header {one_line(name, 60)!r} cannot be sent; set name=value,... with ASCII letters, digits "
                "and - in names, and printable ASCII in values"
            )
    return headers


def _batches(traces: Iterable[Json]) -> Iterator[list[Json]]:
    batch: list[Json] = []
    size = 0
    for trace in traces:
        batch.append(trace)
        size += len(json_line(trace))
        if size > BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
