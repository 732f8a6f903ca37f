"""Writes finished traces to a SQL store or a tracking server in batches, by one transaction or call each.

MLflow writes each trace twice, spans first, and finds out by a failed transaction that the trace is there already:
38 ms of CPU for a trace of one span. Databricks keeps traces as files, which MLflow writes well.
"""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import mlflow.tracing.provider
from mlflow.entities import Span, Trace
from mlflow.exceptions import MlflowException
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from mlflow.tracing.export.mlflow_v3 import MlflowV3SpanExporter
from mlflow.tracing.processor.mlflow_v3 import MlflowV3SpanProcessor
from mlflow.tracing.trace_manager import InMemoryTraceManager, ManagerTrace
from mlflow.tracing.utils import maybe_get_request_id
from mlflow.tracing.utils.otlp import should_export_otlp_metrics
from mlflow.utils.uri import is_databricks_uri
from opentelemetry.sdk.trace import ReadableSpan

from agent_server.tracing.sql_traces import can_insert, insert_traces

_log = logging.getLogger(__name__)

# As MLflow's own exporter for OpenTelemetry names them; a tracking server makes the trace's fields of them.
_TAG = "mlflow.traceTag."
_NAME = "mlflow.traceName"
_METADATA = {
    "mlflow.trace.session": "session.id",
    "mlflow.trace.user": "user.id",
    "mlflow.modelId": _TAG + "model_id",
}


class BatchExporter(MlflowV3SpanExporter):  # type: ignore[misc]
    def __init__(self, tracking_uri: str) -> None:
        super().__init__(tracking_uri)
        self._finished: list[ManagerTrace] = []

    def export(self, spans: Sequence[ReadableSpan]) -> None:
        """Called by one thread, with what ended in the last seconds."""
        if not self._store_supports_log_spans or maybe_get_request_id(is_evaluate=True):
            # An evaluation reads each trace as soon as it has ended.
            super().export(spans)
            return
        self._export_traces(spans)
        finished, self._finished = self._finished, []
        self._write(finished)

    def _do_export_trace(self, manager: InMemoryTraceManager, span: ReadableSpan) -> None:
        if not self._store_supports_log_spans or maybe_get_request_id(is_evaluate=True):
            super()._do_export_trace(manager, span)
        elif (finished := manager.pop_trace(span.context.trace_id)) is not None:
            self._finished.append(finished)

    def _write(self, finished: Sequence[ManagerTrace]) -> None:
        batches: dict[str, list[ManagerTrace]] = defaultdict(list)
        for each in finished:
            if self._takes_batches() and _fits_in_spans(each):
                batches[each.trace.info.experiment_id].append(each)
            else:
                self._write_alone(each)
        for experiment_id, traces in batches.items():
            try:
                self._write_batch(experiment_id, traces)
            except Exception as failure:
                lost = _is_outage(failure)
                told = "they are lost" if lost else "each is written alone"
                _log.warning("MLflow did not take %d traces (%s); %s", len(traces), type(failure).__name__, told)
                for each in () if lost else traces:
                    self._write_alone(each)

    def _takes_batches(self) -> bool:
        store = self._client.store
        return can_insert(store) or not isinstance(store, SqlAlchemyStore)

    def _write_batch(self, experiment_id: str, traces: Sequence[ManagerTrace]) -> None:
        if can_insert(self._client.store):
            insert_traces(self._client.store, experiment_id, [each.trace for each in traces])
            return
        spans = [
            _with_attributes(span, _fields_of(each.trace)) if span.parent_id is None else span
            for each in traces
            for span in each.trace.data.spans
        ]
        self._client.log_spans(experiment_id, spans)

    def _write_alone(self, finished: ManagerTrace) -> None:
        """As MLflow does. It logs its failures itself."""
        trace = finished.trace
        if self._store_supports_log_spans:
            self._log_spans(trace.info.experiment_id, trace.data.spans)
        self._log_trace(trace, finished.prompts)


def install() -> None:
    """From now on MLflow makes its span processor with this exporter, whatever the tracking URI is set to."""
    original = mlflow.tracing.provider._get_mlflow_span_processor

    def with_batches(tracking_uri: str) -> Any:  # noqa: ANN401 - MLflow's own type
        if is_databricks_uri(tracking_uri):
            return original(tracking_uri)
        exporter = BatchExporter(tracking_uri)
        return MlflowV3SpanProcessor(
            span_exporter=exporter, export_metrics=should_export_otlp_metrics(), use_batch_processor=True
        )

    mlflow.tracing.provider._get_mlflow_span_processor = with_batches


def _is_outage(failure: Exception) -> bool:
    """MLflow has tried for minutes then, and would for each trace again."""
    if isinstance(failure, MlflowException):
        return int(failure.get_http_status_code()) >= 500 and "not supported" not in str(failure)
    return isinstance(failure, OSError | TimeoutError)


def _fits_in_spans(finished: ManagerTrace) -> bool:
    """Whether all that is known of a trace can be written as its spans and fields."""
    info = finished.trace.info
    has_attachments = any(span._attachments for span in finished.trace.data.spans)
    is_remote = finished.is_remote_trace or info.trace_location is None
    return not (info.assessments or finished.prompts or has_attachments or is_remote)


def _fields_of(trace: Trace) -> dict[str, str]:
    """OTLP has no metadata: the model's id becomes a tag."""
    metadata, tags = trace.info.trace_metadata, trace.info.tags
    told = {_TAG + key: str(value) for key, value in tags.items() if not key.startswith("mlflow.")}
    told[_TAG + _NAME] = tags.get(_NAME, "")
    for key, attribute in _METADATA.items():
        if key in metadata:
            told[attribute] = metadata[key]
    return told


def _with_attributes(span: Span, attributes: Mapping[str, str]) -> Span:
    """What has ended cannot be changed."""
    ended = span._span
    return Span(
        ReadableSpan(
            ended.name,
            context=ended.context,
            parent=ended.parent,
            resource=ended.resource,
            attributes={**ended.attributes, **{name: json.dumps(value) for name, value in attributes.items()}},
            events=ended.events,
            links=ended.links,
            kind=ended.kind,
            status=ended.status,
            start_time=ended.start_time,
            end_time=ended.end_time,
            instrumentation_scope=ended.instrumentation_scope,
        )
    )
