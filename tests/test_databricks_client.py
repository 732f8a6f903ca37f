"""What a serving endpoint is asked, how its answer comes, and how it is ended."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import SecretStr

from app.common.identity import APP_IDENTITY, RequestIdentity, UserIdentity
from app.databricks.credentials import ServicePrincipal
from app.databricks.workspace_url import WorkspaceUrl
from app.databricks_client import DatabricksModel
from app.models.model import Completed, ModelRequest, TextDelta, ToolDefinition, Usage
from app.models.model_errors import SignInError, StreamInterruptedError
from tests.fakes.endpoint_model import QUESTION, answer, asking, shown_before, text_of
from tests.fakes.serving_endpoint import (
    DONE,
    TOKEN,
    HttpReply,
    ServingEndpoint,
    Stream,
    agent_stream,
    chat_chunk,
    chat_stream,
    databricks_error,
    event,
)


async def test_a_question_is_answered_as_it_streams() -> None:
    async with ServingEndpoint() as endpoint, asking(endpoint, max_tokens=50, temperature=0.1) as model:
        endpoint.replies.append(chat_stream("Hel", "lo"))
        events = await answer(model)
    assert text_of(events) == "Hello"
    assert events[-1] == Completed(usage=Usage(7, 2))
    asked = endpoint.asked[0]
    assert asked.path == "/serving-endpoints/chat/completions"
    assert asked.token == TOKEN
    assert asked.headers["Accept-Encoding"] == "identity"
    assert asked.body["messages"] == [{"role": "user", "content": "Hi"}]
    assert (asked.body["max_tokens"], asked.body["temperature"]) == (50, 0.1)


async def test_text_is_shown_before_the_answer_is_complete() -> None:
    more = asyncio.Event()
    async with ServingEndpoint() as endpoint, asking(endpoint) as model:
        endpoint.replies.append(Stream([chat_chunk({"content": "Wait"}), more, *chat_stream(" for it").steps]))
        stream = model.stream(QUESTION)
        assert await anext(stream) == TextDelta("Wait")
        more.set()
        assert text_of([event async for event in stream]) == " for it"


async def test_an_agent_endpoint_is_asked_through_the_responses_api_and_looked_up_once() -> None:
    async with ServingEndpoint(task="agent/v1/responses") as endpoint, asking(endpoint) as model:
        endpoint.replies.extend([agent_stream("Hel", "lo"), agent_stream("again")])
        assert text_of(await answer(model)) == "Hello"
        assert text_of(await answer(model)) == "again"
        assert model.api == "Responses"
    assert [asked.path for asked in endpoint.asked] == ["/serving-endpoints/responses"] * 2
    assert endpoint.asked[0].body["input"] == [{"role": "user", "content": "Hi"}]
    assert len(endpoint.lookups) == 1


@pytest.mark.parametrize("lookup", [databricks_error(403, "PERMISSION_DENIED", "no"), HttpReply(200, "<html>")])
async def test_an_endpoint_that_cannot_be_looked_up_is_asked_for_chat_completions(lookup: HttpReply) -> None:
    async with ServingEndpoint(task="agent/v1/responses") as endpoint, asking(endpoint) as model:
        endpoint.lookup_replies.append(lookup)
        assert text_of(await answer(model)) == "Hello"
    assert endpoint.asked[0].path == "/serving-endpoints/chat/completions"


async def test_an_endpoint_that_wants_input_instead_of_messages_gets_it() -> None:
    wants_input = "'messages' field is not supported. Please use 'input' field instead."
    async with ServingEndpoint(task="") as endpoint, asking(endpoint) as model:
        endpoint.replies.extend([databricks_error(400, "BAD_REQUEST", wants_input), agent_stream("Hello")])
        assert text_of(await answer(model)) == "Hello"
        endpoint.replies.append(agent_stream("again"))
        assert text_of(await answer(model)) == "again"
    assert [asked.path.rpartition("/")[2] for asked in endpoint.asked] == ["completions", "responses", "responses"]


async def test_an_api_that_was_set_is_not_looked_up() -> None:
    async with ServingEndpoint(task="agent/v1/responses") as endpoint, asking(endpoint, api="chat") as model:
        await answer(model)
        assert model.api == "chat completions"
    assert endpoint.lookups == []


async def test_an_endpoint_that_refuses_stream_options_is_asked_without_them_from_then_on() -> None:
    refusal = databricks_error(400, "BAD_REQUEST", "stream_options: Extra inputs are not permitted")
    async with ServingEndpoint() as endpoint, asking(endpoint) as model:
        endpoint.replies.append(refusal)
        await answer(model)
        await answer(model)
    assert ["stream_options" in asked.body for asked in endpoint.asked] == [True, False, False]


async def test_a_whole_json_answer_is_accepted() -> None:
    body = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}]}
    async with ServingEndpoint() as endpoint, asking(endpoint) as model:
        endpoint.replies.append(HttpReply(200, body))
        assert await answer(model) == [TextDelta("Hi"), Completed()]


async def test_a_cut_stream_keeps_what_arrived() -> None:
    async with ServingEndpoint() as endpoint, asking(endpoint) as model:
        held = asyncio.Event()
        endpoint.replies.append(Stream([chat_chunk({"content": "Half an ans"}), held, "cut"]))
        asyncio.get_running_loop().call_later(0.05, held.set)
        assert await shown_before(StreamInterruptedError, model) == "Half an ans"
    assert len(endpoint.asked) == 1


async def test_a_connection_that_breaks_after_the_finish_reason_has_lost_nothing() -> None:
    async with ServingEndpoint() as endpoint, asking(endpoint) as model:
        held = asyncio.Event()
        endpoint.replies.append(Stream([chat_chunk({"content": "All"}), chat_chunk({}, "stop"), held, "cut"]))
        asyncio.get_running_loop().call_later(0.05, held.set)
        assert await answer(model) == [TextDelta("All"), Completed()]


async def test_nothing_is_waited_for_after_done() -> None:
    async with ServingEndpoint() as endpoint, asking(endpoint) as model:
        endpoint.replies.append(Stream([chat_chunk({"content": "All"}), DONE, "hang"]))
        async with asyncio.timeout(5):
            assert await answer(model) == [TextDelta("All"), Completed()]


async def test_a_stream_that_is_left_open_after_the_end_holds_an_answer_up_once_and_then_less(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("app.models.endpoint_capabilities.WAIT_AFTER_END_SECONDS", 0.2)
    monkeypatch.setattr("app.models.endpoint_capabilities.SHORT_WAIT_AFTER_END_SECONDS", 0.01)
    async with ServingEndpoint() as endpoint, asking(endpoint) as model:
        for _ in range(3):
            endpoint.replies.append(Stream([chat_chunk({"content": "All"}), chat_chunk({}, "stop"), "hang"]))
            async with asyncio.timeout(5):
                assert await answer(model) == [TextDelta("All"), Completed()]
    assert [line.partition(":")[0] for line in caplog.messages if "stream open" in line] == [
        "The endpoint leaves its stream open after the end of an answer"
    ]


async def test_heartbeats_after_the_end_do_not_hold_an_answer_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.models.endpoint_capabilities.WAIT_AFTER_END_SECONDS", 0.1)
    async with ServingEndpoint() as endpoint, asking(endpoint) as model:
        endpoint.replies.append(Stream([chat_chunk({"content": "All"}), chat_chunk({}, "stop"), "heartbeats"]))
        async with asyncio.timeout(5):
            assert await answer(model) == [TextDelta("All"), Completed()]


async def test_an_agent_whose_own_tool_takes_long_is_waited_for_after_the_end_of_its_models_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("app.models.endpoint_capabilities.WAIT_AFTER_END_SECONDS", 0.0)
    result = asyncio.Event()
    call = {"type": "function_call", "id": "f", "call_id": "c", "name": "genie", "arguments": "{}"}
    end = event({"type": "response.completed", "response": {"status": "completed"}})
    async with ServingEndpoint() as endpoint, asking(endpoint, api="responses") as model:
        called = event({"type": "response.output_item.done", "item": call})
        answered = event({"type": "function_call_output", "call_id": "c", "output": "rows"})
        endpoint.replies.append(Stream([called, end, result, answered, *agent_stream("It is 5.").steps]))
        asyncio.get_running_loop().call_later(0.1, result.set)
        assert text_of(await answer(model)) == "It is 5."


async def test_a_connection_that_breaks_while_an_agents_tool_runs_has_cut_the_answer() -> None:
    held = asyncio.Event()
    call = {"type": "function_call", "id": "f", "call_id": "c", "name": "genie", "arguments": "{}"}
    said = event({"type": "response.output_text.delta", "item_id": "m", "delta": "I will ask."})
    called = event({"type": "response.output_item.done", "item": call})
    end = event({"type": "response.completed", "response": {"status": "completed"}})
    async with ServingEndpoint() as endpoint, asking(endpoint, api="responses") as model:
        endpoint.replies.append(Stream([said, called, end, held, "cut"]))
        asyncio.get_running_loop().call_later(0.05, held.set)
        assert await shown_before(StreamInterruptedError, model) == "I will ask."


async def test_what_goes_on_after_its_end_is_an_answer_that_can_be_cut() -> None:
    held = asyncio.Event()
    async with ServingEndpoint() as endpoint, asking(endpoint) as model:
        steps = [
            chat_chunk({"content": "First, "}),
            chat_chunk({}, "stop"),
            chat_chunk({"content": "sec"}),
            held,
            "cut",
        ]
        endpoint.replies.append(Stream(steps))  # type: ignore[arg-type]
        asyncio.get_running_loop().call_later(0.05, held.set)
        assert await shown_before(StreamInterruptedError, model) == "First, sec"


async def leave_by_closing(model: DatabricksModel, _: ServingEndpoint) -> None:
    stream = model.stream(QUESTION)
    await anext(stream)
    await stream.aclose()


async def leave_by_cancelling(model: DatabricksModel, endpoint: ServingEndpoint) -> None:
    task = asyncio.create_task(answer(model))
    await endpoint.began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("leave", [leave_by_closing, leave_by_cancelling])
async def test_pressing_stop_ends_the_request_at_once(leave: Callable[[DatabricksModel, ServingEndpoint], Any]) -> None:
    async with ServingEndpoint() as endpoint, asking(endpoint) as model:
        endpoint.replies.append(Stream([chat_chunk({"content": "Half"}), "hang"]))
        await leave(model, endpoint)
        await asyncio.wait_for(endpoint.disconnected.wait(), 5)


async def test_pressing_stop_before_the_first_word_ends_the_request_too() -> None:
    async with ServingEndpoint() as endpoint, asking(endpoint) as model:
        endpoint.replies.append(Stream(["hang"]))
        await leave_by_cancelling(model, endpoint)
        await asyncio.wait_for(endpoint.disconnected.wait(), 5)


async def test_one_connection_serves_turn_after_turn() -> None:
    async with ServingEndpoint() as endpoint, asking(endpoint) as model:
        for _ in range(3):
            await answer(model)
            await asyncio.sleep(0.02)
    assert len({asked.client_port for asked in endpoint.asked}) == 1


async def test_many_questions_at_once_are_all_answered() -> None:
    async with ServingEndpoint() as endpoint, asking(endpoint) as model:
        answers = await asyncio.gather(*(answer(model) for _ in range(20)))
    assert {text_of(events) for events in answers} == {"Hello"}
    assert len(endpoint.lookups) == 1


async def test_preparing_opens_nothing_but_the_lookup() -> None:
    async with ServingEndpoint() as endpoint, asking(endpoint) as model:
        await model.prepare()
        assert endpoint.asked == []
        assert len(endpoint.lookups) == 1


async def test_a_model_that_was_never_asked_can_be_closed() -> None:
    async with asking("https://adb-1.2.azuredatabricks.net") as model:
        assert model.name == "my-model"


async def test_an_abandoned_stream_leaves_no_open_connection() -> None:
    async with ServingEndpoint() as endpoint, asking(endpoint) as model:
        endpoint.replies.append(Stream([chat_chunk({"content": "Half"}), "hang"]))
        stream = model.stream(QUESTION)
        await anext(stream)
        del stream
        gc.collect()
        await asyncio.wait_for(endpoint.disconnected.wait(), 5)


async def test_tools_are_offered_and_their_calls_come_back() -> None:
    request = ModelRequest(QUESTION.messages, (ToolDefinition("time", "", {"type": "object"}),))
    call = {"index": 0, "id": "a", "type": "function", "function": {"name": "time", "arguments": "{}"}}
    async with ServingEndpoint() as endpoint, asking(endpoint) as model:
        endpoint.replies.append(Stream([chat_chunk({"tool_calls": [call]}), chat_chunk({}, "tool_calls"), DONE]))
        events = await answer(model, request)
    assert isinstance(events[-1], Completed)
    assert [call.name for call in events[-1].tool_calls] == ["time"]
    assert "strict" not in json.dumps(endpoint.asked[0].body)


async def test_each_request_goes_out_with_the_token_of_its_own_identity() -> None:
    people = [UserIdentity(name, SecretStr(f"token-of-{name}")) for name in ("ann", "bob")]
    async with ServingEndpoint() as endpoint, asking(endpoint) as model:
        endpoint.accepted_tokens |= {person.token.get_secret_value() for person in people}
        identities: list[RequestIdentity] = [APP_IDENTITY, *people, APP_IDENTITY]
        requests = [ModelRequest(QUESTION.messages, identity=identity) for identity in identities]
        await asyncio.gather(*(answer(model, request) for request in requests))
    assert sorted(asked.token for asked in endpoint.asked) == sorted([TOKEN, TOKEN, "token-of-ann", "token-of-bob"])


async def test_a_persons_refused_token_is_neither_renewed_nor_replaced_by_the_apps() -> None:
    expired = UserIdentity("ann", SecretStr("expired-token"))
    async with ServingEndpoint() as endpoint:
        credential = ServicePrincipal(endpoint.host, "id", SecretStr("s3cret"))
        async with asking(endpoint, api="chat", credential=credential) as model:
            await answer(model)
            with pytest.raises(SignInError) as caught:
                await answer(model, ModelRequest(QUESTION.messages, identity=expired))
            assert text_of(await answer(model)) == "Hello"
    assert [asked.token for asked in endpoint.asked] == ["oauth-token-1", "expired-token", "oauth-token-1"]
    assert "expired-token" not in str(caught.value) + repr(expired)


async def test_no_cookie_passes_from_one_persons_request_to_the_next() -> None:
    body = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}]}
    endpoint = ServingEndpoint()
    # No client keeps a cookie of an address that is a number.
    async with endpoint, asking(endpoint.base_url.replace("127.0.0.1", "localhost"), api="chat") as model:
        endpoint.replies.append(HttpReply(200, body, {"Set-Cookie": "session=ann"}))
        await answer(model)
        await answer(model)
    assert [asked.headers.get("Cookie") for asked in endpoint.asked] == [None, None]


async def test_the_first_question_goes_out_on_the_connection_of_the_look_up() -> None:
    async with ServingEndpoint() as endpoint, asking(endpoint) as model:
        await answer(model)
        assert endpoint.asked[0].client_port == endpoint.lookups[0].client_port


@pytest.mark.parametrize(
    ("task", "api", "asks"),
    [
        ("llm/v1/chat", "auto", False),
        ("agent/v2/chat", "auto", True),
        ("agent/v1/responses", "auto", True),
        ("", "auto", False),
        ("", "responses", True),
    ],
)
async def test_an_agent_is_asked_for_its_trace_and_a_foundation_model_is_not(task: str, api: str, asks: bool) -> None:
    async with ServingEndpoint(task=task) as endpoint, asking(endpoint, api=api) as model:
        last = {"databricks_output": {"trace": {"info": {"trace_id": "tr-1"}}}, "choices": [], "type": "x"}
        reply = chat_stream("Hi") if "chat" in task or (not task and api == "auto") else agent_stream("Hi")
        endpoint.replies.append(Stream([*reply.steps[:-1], event(last), DONE]))
        *_, completed = await answer(model)
    (asked,) = endpoint.asked
    assert asked.body.get("databricks_options") == ({"return_trace": True} if asks else None)
    assert asked.headers["x-mlflow-return-trace-id"] == "true"
    assert isinstance(completed, Completed)
    assert completed.trace_id == "tr-1"


async def test_an_endpoint_that_knows_no_databricks_options_is_asked_without_them() -> None:
    async with ServingEndpoint() as endpoint, asking(endpoint, api="responses") as model:
        message = "databricks_options: Extra inputs are not permitted"
        endpoint.replies.extend([databricks_error(400, "BAD_REQUEST", message), agent_stream("Hi")])
        assert text_of(await answer(model)) == "Hi"
    assert ["databricks_options" in asked.body for asked in endpoint.asked] == [True, False]


@pytest.mark.parametrize("is_app", [True, False])
async def test_an_app_is_told_not_to_keep_what_a_chat_may_forget(is_app: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WorkspaceUrl, "is_app", is_app)
    async with ServingEndpoint(task="agent/v1/responses") as endpoint, asking(endpoint, api="responses") as model:
        endpoint.replies.append(agent_stream("Hello"))
        assert text_of(await answer(model)) == "Hello"
    assert endpoint.asked[0].body.get("store") is (False if is_app else None)
