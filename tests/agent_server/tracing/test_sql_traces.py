"""Traces that are written to MLflow's tables many at once: nothing is there that MLflow would not write, or missing."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from app.telemetry.gen_ai import ModelCall, end_tool_call, start_tool_call
from app.telemetry.spans import as_current
from tests.fakes.mlflow_store import MlflowStore, an_mlflow_store

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

# What only repeats the previews, counts bytes, or counts how often a trace was written.
_NOT_COMPARED = {"mlflow.traceInputs", "mlflow.traceOutputs", "mlflow.trace.sizeStats", "mlflow.trace.sizeBytes"}


@pytest.fixture
def finished(mlflow_store: MlflowStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Filled with the traces that end, which are written nowhere."""
    from agent_server.tracing.batch_exporter import BatchExporter

    mlflow_store.setup.flush(60.0)
    traces: list[Any] = []
    with monkeypatch.context() as patch:
        patch.setattr(BatchExporter, "_write", lambda _, some: traces.extend(each.trace for each in some))
        yield traces
        mlflow_store.setup.flush(60.0)


async def test_the_rows_are_those_that_mlflow_makes_of_the_same_traces(
    mlflow_store: MlflowStore, finished: list[Any]
) -> None:
    from agent_server.tracing.sql_traces import insert_traces

    await asyncio.create_task(_turn(mlflow_store))
    await asyncio.create_task(_failed_turn(mlflow_store))
    contextvars.Context().run(_trace_of_a_handlers_own)
    mlflow_store.setup.flush(60.0)
    assert len(finished) == 3
    experiment_id = finished[0].info.experiment_id
    store = _store()

    for trace in finished:
        store.log_spans(experiment_id, trace.data.spans)
        store.start_trace(trace.info)
    by_mlflow = _rows(store, finished)
    store.delete_traces(experiment_id, trace_ids=[each.info.trace_id for each in finished])
    assert _rows(store, finished) == []
    insert_traces(store, experiment_id, finished)

    assert _rows(store, finished) == by_mlflow
    assert len(by_mlflow) > 40
    told = str(by_mlflow)
    for value in (
        "'session_id': 'of a span'",
        "'total_tokens': 10",
        "'total_tokens': 25",
        "'total_cost': 0.3",
        "größer",
    ):
        assert value in told, "one of the traces has it"


async def test_of_a_batch_with_a_trace_that_is_there_already_nothing_is_written(
    mlflow_store: MlflowStore, finished: list[Any]
) -> None:
    from mlflow.exceptions import MlflowException

    from agent_server.tracing.sql_traces import insert_traces

    for _ in range(2):
        await asyncio.create_task(_turn(mlflow_store))
    mlflow_store.setup.flush(60.0)
    first, second = finished
    insert_traces(_store(), first.info.experiment_id, [first])
    before = _rows(_store(), finished)

    with pytest.raises(MlflowException):
        insert_traces(_store(), first.info.experiment_id, [second, first])

    assert _rows(_store(), finished) == before


async def test_characters_that_a_database_does_not_take_hold_up_no_trace(
    mlflow_store: MlflowStore, finished: list[Any]
) -> None:
    from agent_server.tracing.sql_traces import insert_traces

    for asked in ("half \ud800 of a pair", "a \0 in it"):
        await asyncio.create_task(_turn(mlflow_store, asked))
    mlflow_store.setup.flush(60.0)
    insert_traces(_store(), finished[0].info.experiment_id, finished)

    previews = [row["request_preview"] for row in _rows(_store(), finished) if "request_preview" in row]
    assert sorted(previews) == ["a  in it", "half ? of a pair"]


@pytest.mark.parametrize("kind", ["plain", "subclass", "rollups"])
def test_only_a_store_that_keeps_nothing_else_of_a_trace_is_written_to_directly(
    mlflow_store: MlflowStore, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    from agent_server.tracing.sql_traces import can_insert

    store = _store()
    if kind == "subclass":
        monkeypatch.setattr(store, "__class__", type("WorkspaceStore", (type(store),), {}))
    if kind == "rollups":
        monkeypatch.setenv("MLFLOW_SQL_TRACE_ROLLUPS_ENABLED", "true")

    assert can_insert(store) is (kind == "plain")


@pytest.mark.parametrize("known", [True, False])
async def test_the_pinned_mlflow_is_written_to_in_batches_and_another_one_writes_its_traces_itself(
    mlflow_store: MlflowStore, monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    import mlflow
    import mlflow.tracing.provider
    from mlflow.entities import TraceInfo
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    started: list[str] = []
    original = SqlAlchemyStore.start_trace

    def start_trace(store: SqlAlchemyStore, trace_info: TraceInfo) -> TraceInfo:
        started.append(trace_info.trace_id)
        return original(store, trace_info)

    monkeypatch.setattr(SqlAlchemyStore, "start_trace", start_trace)
    if not known:
        monkeypatch.setattr(mlflow, "__version__", "3.99.0")
        monkeypatch.setitem(sys.modules, "agent_server.tracing.batch_exporter", None)
        monkeypatch.setattr(mlflow.tracing.provider, "_get_mlflow_span_processor", _mlflows_own_processor())
    with an_mlflow_store(mlflow_store.folder, MLFLOW_EXPERIMENT_NAME=f"known {known}") as store:
        await asyncio.create_task(_turn(store))
        store.setup.flush(60.0)

        (trace,) = mlflow.search_traces(return_type="list")
        assert [span.name for span in trace.data.spans] == ["responses", "chat gpt", "execute_tool send"]
        assert trace.info.tags["response_id"] == "resp_1"
        assert started == ([] if known else [trace.info.trace_id])


async def _turn(store: MlflowStore, asked: str = "Was ist größer? 😀") -> None:
    question: dict[str, Any] = {"input": [{"role": "user", "content": asked}]}
    trace = store.setup.start("responses", question, response_id="resp_1", conversation_id="conv_1", owner="7@8")
    with ModelCall("gpt") as call:
        call.asked([("user", "How many?")])
        call.chunk("Forty-two")
        call.completed("tool_calls", (7, 3))
    with start_tool_call("send", '{"to": "jo"}') as tool, as_current(tool):
        end_tool_call(tool, "sent", None)
    trace.end({"status": "completed", "output": [{"type": "message"}]})


async def _failed_turn(store: MlflowStore) -> None:
    import mlflow

    trace = store.setup.start("responses", {"input": "?"}, response_id="", conversation_id="", owner="7@8")

    @mlflow.trace  # type: ignore[untyped-decorator]
    def fail() -> None:
        mlflow.update_current_trace(
            tags={"of": "it"}, metadata={"tenant": "north"}, client_request_id="r1", request_preview="größer"
        )
        raise ValueError("no")

    with pytest.raises(ValueError, match="no") as failure:
        fail()
    trace.end(None, failure.value)


def _trace_of_a_handlers_own() -> None:
    """Outside of a request, with what autologging and OpenTelemetry set."""
    import mlflow
    from mlflow.entities import Link

    with mlflow.start_span("nightly") as root:
        root.set_attribute("session.id", "of a span")
        root.set_attribute("user.id", "night")
        root.add_link(Link("tr-" + "1" * 32, "2" * 16))
        with mlflow.start_span("call") as span:
            span.set_attribute("gen_ai.usage.input_tokens", 20)
            span.set_attribute("gen_ai.usage.output_tokens", 5)
            span.set_attribute("mlflow.llm.cost", {"input_cost": 0.1, "output_cost": 0.2, "total_cost": 0.3})
            span.set_attribute("gen_ai.request.model", "gpt-x")
            span.set_inputs({"messages": [{"role": "user", "content": "größer?"}]})


def _store() -> Any:
    from mlflow.tracing.client import TracingClient

    return TracingClient().store


def _rows(store: Any, traces: list[Any]) -> list[dict[str, Any]]:
    from mlflow.store.tracking.dbmodels.models import SqlSpan, SqlTraceInfo, SqlTraceMetadata, SqlTraceTag
    from sqlalchemy import select

    ids = [each.info.trace_id for each in traces]
    found = []
    with store.ManagedSessionMaker() as session:
        for model in (SqlTraceInfo, SqlTraceTag, SqlTraceMetadata, SqlSpan):
            of_trace = model.trace_id if model is SqlSpan else model.request_id
            rows = session.execute(select(model.__table__).where(of_trace.in_(ids))).mappings()
            found += [dict(row) for row in rows if row.get("key") not in _NOT_COMPARED]
    for row in found:
        row.pop("db_payload_generation", None)
    return sorted(found, key=str)


def _mlflows_own_processor() -> Any:
    import mlflow.tracing.provider

    found = mlflow.tracing.provider._get_mlflow_span_processor
    while wrapped := inspect.getclosurevars(found).nonlocals.get("original"):
        found = wrapped
    return found
