"""Traces of requests in MLflow: the request's own span is MLflow's from the start, so that spans of handlers
(`mlflow.trace`, autologging) become its children; what the agent did is added when the request has ended, in a thread.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from agent_server.tracing.agent_spans import AgentSpan, SpanCollector, agent_spans
from agent_server.tracing.request_trace import NO_TRACING, RequestTrace
from agent_server.tracing.span_content import Content, person_of
from app.telemetry.span_records import SpanKind
from app.telemetry.spans import Span, current_span, error_id_of, is_cancellation, make_current

if TYPE_CHECKING:
    from mlflow.entities import LiveSpan

JsonObject = dict[str, Any]

_log = logging.getLogger(__name__)

# What waits beyond this loses the spans of model calls and tools; the request's own span is kept.
_MAX_WAITING = 500
_AGENT = "AGENT"


class MlflowTracer:
    """To be made when MLflow has been set up (`agent_server.mlflow_config`).

    `metadata` and `tags` are those of every trace.
    """

    def __init__(
        self, content: Content, *, metadata: Mapping[str, str] | None = None, tags: Mapping[str, str] | None = None
    ) -> None:
        self._content = content
        self._metadata = dict(metadata or {})
        self._tags = dict(tags or {})
        self._finishing = ThreadPoolExecutor(max_workers=1, thread_name_prefix="mlflow-traces")
        self._waiting = threading.BoundedSemaphore(_MAX_WAITING)
        self._has_failed = False

    def start(
        self, name: str, request: JsonObject, *, response_id: str, conversation_id: str, owner: str
    ) -> RequestTrace:
        try:
            return self._start(name, request, response_id, conversation_id, owner)
        except Exception:
            # A trace is worth no answer, and one line in the log is enough.
            if not self._has_failed:
                self._has_failed = True
                _log.exception("A request could not be traced")
            return NO_TRACING.start(name, {}, response_id="", conversation_id="", owner="")

    def _start(
        self, name: str, request: JsonObject, response_id: str, conversation_id: str, owner: str
    ) -> RequestTrace:
        import mlflow  # noqa: PLC0415 - imported long ago, by `setup_mlflow`
        from mlflow.tracing.provider import get_context_api, set_span_in_context  # noqa: PLC0415
        from opentelemetry.context import Context  # noqa: PLC0415

        surrounding = current_span()
        if surrounding is not None and surrounding.ended:
            # That of an earlier request in this context.
            surrounding = None
        # A worker answers one request after the other in one context: none is the child of the one before.
        get_context_api().attach(Context())
        metadata = {**self._metadata, "mlflow.trace.user": person_of(owner, self._content)}
        if conversation_id:
            metadata["mlflow.trace.session"] = conversation_id
        tags = {**self._tags, "response_id": response_id} if response_id else self._tags
        root = mlflow.start_span_no_context(name, span_type=_AGENT, inputs=request, metadata=metadata, tags=tags)
        set_span_in_context(root)
        if not root.trace_id.startswith("tr") or not root._span.is_recording():
            # Not sampled: what a handler traces is not recorded either.
            return NO_TRACING.start(name, {}, response_id="", conversation_id="", owner="")
        return _MlflowTrace(self, root, surrounding, records_text=self._content != "none")

    def finish(self, trace: _MlflowTrace) -> None:
        """Writes what the agent did, then ends the request's span. Returns at once."""
        has_room = self._waiting.acquire(blocking=False)

        def finish() -> None:
            try:
                trace.write(with_agent_spans=has_room)
            except Exception:
                _log.exception("A trace could not be finished")
            finally:
                if has_room:
                    self._waiting.release()

        self._finishing.submit(finish)

    def flush(self, time_limit_seconds: float = 5.0) -> None:
        """Blocks until everything that has ended is written, or the time is over."""
        flushing = threading.Thread(target=self._flush, name="mlflow-flush", daemon=True)
        flushing.start()
        flushing.join(time_limit_seconds)

    def _flush(self) -> None:
        import mlflow  # noqa: PLC0415

        self._finishing.submit(lambda: None).result()
        mlflow.flush_trace_async_logging()


class _MlflowTrace:
    def __init__(self, tracer: MlflowTracer, root: LiveSpan, surrounding: Span | None, *, records_text: bool) -> None:
        self.trace_id: str = root.trace_id
        self._tracer = tracer
        self._root = root
        self._collector = SpanCollector(surrounding)
        # The same trace id, so that the error id that a person is shown is the end of MLflow's.
        self._span = Span(
            root.name,
            SpanKind.SERVER,
            {},
            self._collector,
            trace_id=root._span.context.trace_id,
            records_text=records_text,
        )
        self._collector.root_id = self._span.span_id
        make_current(self._span)
        self._ended_at = 0
        self._output: JsonObject | None = None
        self._error: BaseException | None = None

    def end(self, output: JsonObject | None, error: BaseException | None = None) -> None:
        if self._ended_at:
            return
        self._ended_at, self._output, self._error = time.time_ns(), output, error
        self._span.discard()
        self._tracer.finish(self)

    def write(self, *, with_agent_spans: bool) -> None:
        """Called once, in the tracer's thread."""
        if with_agent_spans:
            self._write_agent_spans()
        self._end_open_spans()
        self._set_outcome()
        self._root.end(outputs=self._output, end_time_ns=self._ended_at)

    def _write_agent_spans(self) -> None:
        import mlflow  # noqa: PLC0415

        written: dict[int, LiveSpan] = {}
        for span in agent_spans(self._collector.spans):
            parent = self._root if span.parent is None else written[span.parent]
            written[span.id] = live = mlflow.start_span_no_context(
                span.name,
                span_type=span.type,
                parent_span=parent,
                inputs=span.inputs,
                attributes=span.attributes,
                start_time_ns=span.started_at,
            )
            _end(live, span)

    def _end_open_spans(self) -> None:
        """MLflow keeps back a trace while one of its spans is open, as one is whose traced generator was left early:
        https://github.com/mlflow/mlflow/issues/25790
        """
        from mlflow.tracing.trace_manager import InMemoryTraceManager  # noqa: PLC0415

        with InMemoryTraceManager.get_instance().get_trace(self.trace_id) as trace:
            spans = list(trace.span_dict.values()) if trace is not None else []
        for span in spans:
            if span.end_time_ns is None and span.span_id != self._root.span_id:
                span.end(attributes={"agent.cancelled": True}, end_time_ns=self._ended_at)

    def _set_outcome(self) -> None:
        error, response = self._error, self._output or {}
        if is_cancellation(error):
            self._root.set_attribute("agent.cancelled", True)
            return
        if isinstance(error, Exception):
            self._root.record_exception(error)
        elif error is not None or response.get("status") == "failed":
            self._root.set_status("ERROR")
        else:
            return
        self._root.set_attribute("agent.error_id", error_id_of(self._span.trace_id))


def _end(live: LiveSpan, span: AgentSpan) -> None:
    from mlflow.entities import SpanStatus, SpanStatusCode  # noqa: PLC0415

    status = SpanStatus(SpanStatusCode.OK) if span.error is None else SpanStatus(SpanStatusCode.ERROR, span.error)
    live.end(outputs=span.outputs, status=status, end_time_ns=span.ended_at)
