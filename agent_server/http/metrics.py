"""What `/metrics` says, in Prometheus' text format."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

CONTENT_TYPE = CONTENT_TYPE_LATEST
_SECONDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class Metrics:
    """`open_answers` is called for each scrape."""

    def __init__(self, open_answers: Callable[[], int]) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        by_route = ("method", "route")
        self._requests = Counter(
            "agent_server_requests", "Requests that were answered.", (*by_route, "status"), registry=self._registry
        )
        self._seconds = Histogram(
            "agent_server_request_seconds",
            "From the request to the end of its answer.",
            by_route,
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._first_byte_seconds = Histogram(
            "agent_server_first_event_seconds",
            "From the request to the first bytes of its answer's body.",
            by_route,
            buckets=_SECONDS,
            registry=self._registry,
        )
        Gauge(
            "agent_server_open_answers", "Answers that are being made or streamed.", registry=self._registry
        ).set_function(open_answers)

    def answered(self, method: str, route: str, status: int, seconds: float, first_byte_seconds: float) -> None:
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(seconds)
        self._first_byte_seconds.labels(method, route).observe(first_byte_seconds)

    def text(self) -> bytes:
        return generate_latest(self._registry)
