"""Writes new traces to the tables of MLflow's SQL store: many in one transaction, by one statement for each table.

The rows are those that MLflow's own store makes (`SqlAlchemyStore.start_trace` and `log_spans`), with statements of
their own for each trace. Knows the tables of one version of MLflow: see `agent_server.mlflow_config`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from mlflow.entities import Experiment, Span, Trace
from mlflow.store.db.db_types import MSSQL
from mlflow.store.tracking.dbmodels.models import SqlSpan, SqlTraceInfo, SqlTraceMetadata, SqlTraceTag
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore, _span_aggregation_node, _try_parse_json_string
from mlflow.store.tracking.utils.sql_trace_rollups import rollups_enabled
from mlflow.store.tracking.utils.trace_analytics import (
    COST_COLUMN_BY_KEY,
    PROMOTED_TRACE_METADATA_KEYS,
    TOKEN_COLUMN_BY_KEY,
    analytics_columns_from_metadata,
    bounded_model_dimension,
    finite_float_or_none,
)
from mlflow.tracing.constant import (
    GenAiSemconvKey,
    SpanAttributeKey,
    SpansLocation,
    TraceMetadataKey,
    TraceTagKey,
)
from mlflow.tracing.otel.translation import translate_span_when_storing
from mlflow.tracing.utils import (
    TraceJSONEncoder,
    aggregate_cost_from_span_nodes,
    aggregate_usage_from_span_nodes,
)
from sqlalchemy import insert

Row = dict[str, Any]
# A span, and what is stored of it.
StoredSpan = tuple[Span, dict[str, Any]]

_MAX_FIELD_CHARACTERS = 8_000
_USER = "user.id"
# As the store leaves them out of a trace's tags.
_INTERNAL_RESOURCE = ("telemetry.sdk.", "mlflow.")
# What is in columns of the trace, and what only repeats its previews.
_IN_COLUMNS = PROMOTED_TRACE_METADATA_KEYS | {TraceMetadataKey.INPUTS, TraceMetadataKey.OUTPUTS}
_NO_ANALYTICS: Row = dict.fromkeys(("session_id", *TOKEN_COLUMN_BY_KEY.values(), *COST_COLUMN_BY_KEY.values()))


def can_insert(store: object) -> bool:
    """Whether the store keeps no more of a trace than what is written here, as one with workspaces or sums does."""
    return type(store) is SqlAlchemyStore and not rollups_enabled()


def insert_traces(store: SqlAlchemyStore, experiment_id: str, traces: Sequence[Trace]) -> None:
    """Writes all or nothing. Raises `MlflowException`, also where one of them is there already."""
    experiment = store.get_experiment(experiment_id)
    infos: list[Row] = []
    tags: list[Row] = []
    metadata: list[Row] = []
    spans: list[Row] = []
    for trace in traces:
        stored = [(span, translate_span_when_storing(span)) for span in trace.data.spans]
        known = _inferred_metadata(stored) | trace.info.trace_metadata
        infos.append(_info_row(trace, known, experiment_id))
        tags += _field_rows(trace, _tags(trace, store, experiment))
        metadata += _field_rows(trace, _metadata(known))
        spans += (_span_row(each, experiment_id, ensure_ascii=store.db_type == MSSQL) for each in stored)
    tables = ((SqlTraceInfo, infos), (SqlTraceTag, tags), (SqlTraceMetadata, metadata), (SqlSpan, spans))
    with store.ManagedSessionMaker(read_only=False) as session:
        for model, rows in tables:
            if rows:
                session.execute(insert(model.__table__), rows)


def _inferred_metadata(stored: Iterable[StoredSpan]) -> dict[str, Any]:
    """What the store reads in the spans where the trace itself does not say it."""
    found: dict[str, Any] = {}
    usage, cost = [], []
    for span, content in stored:
        attributes = content["attributes"]
        ids = span.span_id, span.parent_id
        usage.append(_span_aggregation_node(*ids, attributes, SpanAttributeKey.CHAT_USAGE))
        cost.append(_span_aggregation_node(*ids, attributes, SpanAttributeKey.LLM_COST))
        session = attributes.get(SpanAttributeKey.SESSION_ID) or attributes.get(GenAiSemconvKey.CONVERSATION_ID)
        if session:
            found.setdefault(TraceMetadataKey.TRACE_SESSION, _try_parse_json_string(session))
        if user := attributes.get(_USER):
            found.setdefault(TraceMetadataKey.TRACE_USER, _try_parse_json_string(user))
    if total_usage := aggregate_usage_from_span_nodes(usage):
        found[TraceMetadataKey.TOKEN_USAGE] = total_usage
    if total_cost := aggregate_cost_from_span_nodes(cost):
        found[TraceMetadataKey.COST] = total_cost
    return found


def _info_row(trace: Trace, metadata: Mapping[str, Any], experiment_id: str) -> Row:
    info = trace.info
    return {
        "request_id": info.trace_id,
        "experiment_id": int(experiment_id),
        "timestamp_ms": info.request_time,
        "execution_time_ms": info.execution_duration,
        "status": info.state.value,
        "client_request_id": info.client_request_id,
        "request_preview": _storable(info.request_preview or "") or None,
        "response_preview": _storable(info.response_preview or "") or None,
        # The store counts how often spans of the trace were written.
        "db_payload_generation": 1,
        "trace_name": info.tags.get(TraceTagKey.TRACE_NAME),
        **_NO_ANALYTICS,
        **analytics_columns_from_metadata(metadata),
    }


def _tags(trace: Trace, store: SqlAlchemyStore, experiment: Experiment) -> dict[str, Any]:
    resource = next((span._span.resource for span in trace.data.spans if span._span.resource), None)
    told = resource.attributes.items() if resource else ()
    artifacts = store._get_trace_artifact_location_tag(experiment, trace.info.trace_id)
    return {
        **{name: _text(value) for name, value in told if not name.startswith(_INTERNAL_RESOURCE)},
        **{name: value for name, value in trace.info.tags.items() if name != TraceTagKey.TRACE_NAME},
        artifacts.key: artifacts.value,
        TraceTagKey.SPANS_LOCATION: SpansLocation.TRACKING_STORE.value,
    }


def _metadata(known: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in known.items() if name not in _IN_COLUMNS}
    # Spans that come later do not change the trace's times and tokens any more.
    return {**kept, TraceMetadataKey.TRACE_INFO_FINALIZED: "true"}


def _field_rows(trace: Trace, fields: Mapping[str, Any]) -> Iterator[Row]:
    for key, value in fields.items():
        yield {"request_id": trace.info.trace_id, "key": key, "value": _storable(str(value)[:_MAX_FIELD_CHARACTERS])}


def _span_row(stored: StoredSpan, experiment_id: str, *, ensure_ascii: bool) -> Row:
    span, content = stored
    attributes = content["attributes"]
    cost = _cost(attributes.get(SpanAttributeKey.LLM_COST))
    return {
        "trace_id": span.trace_id,
        "experiment_id": int(experiment_id),
        "span_id": span.span_id,
        "parent_span_id": span.parent_id,
        "name": span.name,
        "type": span.span_type,
        "status": span.status.status_code,
        "start_time_unix_nano": span.start_time_ns,
        "end_time_unix_nano": span.end_time_ns,
        # Text as people write it is what the store's full text search finds.
        "content": _storable(json.dumps(content, cls=TraceJSONEncoder, ensure_ascii=ensure_ascii)),
        **{column: finite_float_or_none(cost.get(key)) for key, column in COST_COLUMN_BY_KEY.items()},
        "model_name": _dimension(attributes.get(SpanAttributeKey.MODEL)),
        "model_provider": _dimension(attributes.get(SpanAttributeKey.MODEL_PROVIDER)),
    }


def _cost(value: Any) -> dict[str, Any]:  # noqa: ANN401 - an attribute's value
    try:
        parsed = json.loads(value) if value else {}
    except (TypeError, ValueError):
        return {}
    return parsed if isinstance(parsed, dict) else {}


def _dimension(value: Any) -> str | None:  # noqa: ANN401 - an attribute's value
    return bounded_model_dimension(_try_parse_json_string(value)) if value else None


def _text(value: Any) -> str:  # noqa: ANN401 - an attribute's value
    return value if isinstance(value, str) else json.dumps(value)


def _storable(text: str) -> str:
    """Without what no UTF-8 has, or PostgreSQL does not take: the whole batch would be refused."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()
