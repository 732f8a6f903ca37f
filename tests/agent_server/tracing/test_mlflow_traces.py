"""Traces in the real MLflow on SQLite: of the agent, of handlers of one's own, and what people say of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from agent_server.tracing.span_content import MASKED_ADDRESS, NOT_RECORDED
from agent_server.tracing.span_processor import span_processor
from agent_server.tracing.store_assessments import StoreAssessments
from app.databricks.mlflow_assessments import HumanFeedback
from app.databricks.workspace_errors import WorkspaceNotFoundError
from app.telemetry.gen_ai import ModelCall, end_tool_call, start_tool_call
from app.telemetry.spans import as_current, new_error_id
from app.tools.redaction import REMOVED
from app.turns import rating_queue
from tests.agent_server.page.whole_server import whole_server
from tests.fakes.mlflow_store import MlflowStore, an_mlflow_store

# MLflow imports much when it is first used, and warns.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

DAPI = "dapi" + "0123456789abcdef" * 2
QUESTION: dict[str, Any] = {"input": [{"role": "user", "content": "Mail jo@example.com"}], "api_key": "k"}


def start(store: MlflowStore, *, response_id: str = "resp_1") -> Any:
    return store.setup.start("responses", QUESTION, response_id=response_id, conversation_id="conv_1", owner="7@8")


async def agent() -> None:
    with ModelCall("gpt") as call:
        call.asked([("user", "Mail jo@example.com")])
        call.chunk(f"with {DAPI}")
        call.completed("tool_calls", (7, 3))
    with start_tool_call("send", '{"to": "jo@example.com"}') as tool, as_current(tool):
        end_tool_call(tool, "sent", None)


async def test_a_turn_has_its_model_calls_and_tools_and_is_found_by_response_session_and_commit(
    mlflow_store: MlflowStore,
) -> None:
    import mlflow

    trace = start(mlflow_store)
    error_id = new_error_id()
    await asyncio.create_task(agent())
    trace.end({"status": "completed", "output": [{"type": "message"}]})

    written = mlflow_store.trace(trace.trace_id)
    root, model, tool = written.data.spans
    assert (root.span_type, model.span_type, tool.span_type) == ("AGENT", "CHAT_MODEL", "TOOL")
    assert model.parent_id == tool.parent_id == root.span_id
    assert root.inputs == QUESTION | {"api_key": REMOVED}
    assert root.outputs["status"] == "completed"
    assert model.outputs["choices"][0]["message"]["content"] == f"with {REMOVED}"
    assert tool.inputs == {"to": "jo@example.com"}
    assert DAPI not in str(written.to_dict())
    assert trace.trace_id.endswith(error_id), "the error id that a person is shown finds the trace"
    metadata, tags = written.info.trace_metadata, written.info.tags
    assert (metadata["mlflow.trace.session"], metadata["mlflow.trace.user"]) == ("conv_1", "7@8")
    assert '"total_tokens": 10' in metadata["mlflow.trace.tokenUsage"]
    assert (written.info.state, tags["response_id"], len(tags["git_commit"])) == ("OK", "resp_1", 40)
    assert mlflow.get_logged_model(metadata["mlflow.modelId"]).tags["git_commit"] == tags["git_commit"]
    (found,) = mlflow.search_traces(filter_string="tags.response_id = 'resp_1'", return_type="list")
    assert found.info.trace_id == trace.trace_id


async def test_spans_of_a_handler_are_children_of_the_request_also_where_the_client_left_early(
    mlflow_store: MlflowStore,
) -> None:
    import mlflow

    @mlflow.trace  # type: ignore[untyped-decorator]
    def look_up(headers: dict[str, str]) -> str:
        mlflow.update_current_trace(tags={"of": "the handler"})
        return f"token {DAPI}"

    @mlflow.trace  # type: ignore[untyped-decorator]
    async def stream() -> AsyncGenerator[str, None]:
        yield await asyncio.to_thread(look_up, {"Authorization": "Basic eA=="})
        yield "never asked for"

    trace = start(mlflow_store)

    async def handler() -> None:
        async for _ in stream():
            break

    await asyncio.create_task(handler())
    trace.end(None, asyncio.CancelledError())

    written = mlflow_store.trace(trace.trace_id)
    spans = {span.name: span for span in written.data.spans}
    assert spans["stream"].parent_id == spans["responses"].span_id
    assert spans["look_up"].parent_id == spans["stream"].span_id
    assert spans["look_up"].inputs == {"headers": {"Authorization": REMOVED}}
    assert spans["responses"].attributes["agent.cancelled"]
    assert written.info.state == "OK", "a client that leaves is no failure"
    assert written.info.tags["of"] == "the handler"
    assert DAPI not in str(written.to_dict()), "nor in the pieces of a traced generator"


async def test_metadata_of_a_handler_and_its_failure_are_kept(mlflow_store: MlflowStore) -> None:
    import mlflow

    trace = start(mlflow_store)

    @mlflow.trace  # type: ignore[untyped-decorator]
    def fail() -> None:
        mlflow.update_current_trace(metadata={"tenant": "north"})
        raise ValueError(f"refused {DAPI}")

    with pytest.raises(ValueError, match="refused") as failure:
        fail()
    trace.end(None, failure.value)

    written = mlflow_store.trace(trace.trace_id)
    assert written.info.state == "ERROR"
    assert written.info.trace_metadata["tenant"] == "north"
    spans = {span.name: span for span in written.data.spans}
    assert {span.status.status_code for span in spans.values()} == {"ERROR"}
    assert trace.trace_id.endswith(spans["responses"].attributes["agent.error_id"])
    assert spans["fail"].status.description == f"ValueError: refused {REMOVED}"
    assert DAPI not in str(written.to_dict())


async def test_a_response_that_failed_without_an_exception_is_an_error_too(mlflow_store: MlflowStore) -> None:
    trace = start(mlflow_store)
    trace.end({"status": "failed", "error": {"code": "server_error", "message": "No."}})

    assert mlflow_store.trace(trace.trace_id).info.state == "ERROR"


@pytest.mark.parametrize(("content", "shown"), [("masked", MASKED_ADDRESS), ("none", NOT_RECORDED)])
async def test_content_that_is_not_to_be_recorded_is_in_no_span_event_or_preview(
    mlflow_store: MlflowStore, content: Any, shown: str
) -> None:
    import mlflow

    with mlflow.tracing.configure(span_processors=[span_processor(content)]):
        trace = start(mlflow_store)
        await asyncio.create_task(agent())
        with suppress(ValueError), mlflow.start_span("own") as span:
            span.set_attribute("who", "jo@example.com")
            span.set_attribute("rows", 3)
            raise ValueError("no jo@example.com")
        trace.end({"output_text": "jo@example.com"})
        written = mlflow_store.trace(trace.trace_id)

    told = str(written.to_dict())
    assert "jo@" not in told
    assert shown in told
    own = next(span for span in written.data.spans if span.name == "own")
    assert own.attributes["rows"] == 3


async def test_each_of_many_requests_at_once_and_of_one_worker_has_a_trace_of_its_own(
    mlflow_store: MlflowStore,
) -> None:
    async def ask() -> Any:
        trace = start(mlflow_store)
        await agent()
        trace.end({})
        return trace

    traces = [await ask(), await ask(), *await asyncio.gather(*[ask() for _ in range(30)])]

    assert len({trace.trace_id for trace in traces}) == 32
    for trace in (traces[0], traces[1], traces[-1]):
        assert [span.name for span in mlflow_store.trace(trace.trace_id).data.spans] == [
            "responses",
            "chat gpt",
            "execute_tool send",
        ]


@pytest.mark.parametrize(("failure", "kept"), [("outage", 0), ("refusal", 3)])
async def test_where_a_batch_is_refused_each_trace_is_written_alone_and_an_outage_holds_nothing_up(
    mlflow_store: MlflowStore, monkeypatch: pytest.MonkeyPatch, failure: str, kept: int
) -> None:
    import mlflow
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import INTERNAL_ERROR, INVALID_PARAMETER_VALUE

    from agent_server.tracing.batch_exporter import BatchExporter

    def refuse(*_: object) -> None:
        raise MlflowException("no", INTERNAL_ERROR if failure == "outage" else INVALID_PARAMETER_VALUE)

    mlflow_store.setup.flush(60.0)
    with monkeypatch.context() as patch:
        patch.setattr(BatchExporter, "_write_batch", refuse)
        for _ in range(3):
            start(mlflow_store, response_id=f"resp_{failure}").end({})
        mlflow_store.setup.flush(60.0)

    found = mlflow.search_traces(filter_string=f"tags.response_id = 'resp_{failure}'", return_type="list")
    assert len(found) == kept


async def test_feedback_waits_for_the_traces_export_and_changes_in_place(mlflow_store: MlflowStore) -> None:
    assessments = StoreAssessments()
    trace = start(mlflow_store)
    feedback = HumanFeedback(True, "", "user-1")
    with pytest.raises(WorkspaceNotFoundError):
        await assessments.create(trace.trace_id, feedback)
    trace.end({})
    mlflow_store.setup.flush(60.0)
    assert await assessments.find(trace.trace_id, "user-1") is None

    id = await assessments.create(trace.trace_id, feedback)
    await assessments.create(trace.trace_id, HumanFeedback(True, "", "user-2"))
    await assessments.update(trace.trace_id, id, HumanFeedback(False, "Größe 😀 fehlt.", "user-1"))

    assert await assessments.find(trace.trace_id, "user-1") == id
    first, second = sorted(mlflow_store.trace(trace.trace_id).info.assessments, key=lambda each: each.source.source_id)
    assert (first.name, first.value, first.rationale) == ("user_feedback", False, "Größe 😀 fehlt.")
    assert (first.source.source_type, second.value, first.overrides) == ("HUMAN", True, None)

    await assessments.delete(trace.trace_id, id)
    with pytest.raises(WorkspaceNotFoundError):
        await assessments.update(trace.trace_id, id, feedback)
    assert len(mlflow_store.trace(trace.trace_id).info.assessments) == 1


async def test_thumbs_on_the_page_stand_at_the_trace_of_the_answer_change_in_place_and_are_taken_back(
    mlflow_store: MlflowStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    monkeypatch.setattr(rating_queue, "_RETRY_SECONDS", (0.2,) * 20)
    with mlflow_store.in_use():
        async with whole_server(tmp_path, MLFLOW_TRACKING_URI=mlflow.get_tracking_uri()) as server:
            conversation = await server.begin("7@8")
            asked = await server.ask("7@8", "How are sales?", conversation=conversation)
            await server.ended("7@8", asked)

            async def rated(said: dict[str, Any], value: bool | None) -> None:
                await server.send("7@8", "POST", f"/api/responses/{asked}/feedback", said)
                async with asyncio.timeout(30):
                    while True:
                        await asyncio.to_thread(mlflow_store.setup.flush, 60.0)
                        found = mlflow.search_traces(filter_string=f"tags.response_id = '{asked}'", return_type="list")
                        kept = [each for trace in found for each in trace.info.assessments]
                        if [each.value for each in kept] == ([] if value is None else [value]):
                            assert [each.rationale for each in kept] == ([] if value is None else [said["comment"]])
                            return
                        await asyncio.sleep(0.1)

            await rated({"value": "up", "comment": "Right."}, True)
            await rated({"value": "down", "comment": "Wrong year."}, False)
            await rated({"value": None}, None)


def test_a_request_that_is_not_sampled_and_all_below_it_leaves_no_trace(mlflow_store: MlflowStore) -> None:
    import mlflow

    sampled = {"MLFLOW_TRACE_SAMPLING_RATIO": "0", "MLFLOW_EXPERIMENT_NAME": "not sampled"}
    with an_mlflow_store(mlflow_store.folder, **sampled) as store:
        trace = start(store)
        with mlflow.start_span("own"), ModelCall("gpt"):
            pass
        trace.end({})
        store.setup.flush(60.0)

        assert trace.trace_id == ""
        assert mlflow.search_traces(return_type="list") == []
