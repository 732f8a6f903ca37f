from __future__ import annotations

import asyncio
import gc
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pydantic import SecretStr

from app.databricks_client import DatabricksModel, RetryPolicy, TimeLimits
from app.model.failures import (
    Busy,
    ContentFiltered,
    ConversationTooLong,
    ModelFailure,
    ModelTimedOut,
    NoPermission,
    RequestRefused,
    SignInFailed,
    StreamCut,
    UnknownModel,
    Unreachable,
    WakingUp,
)
from app.model.types import Completed, Message, ModelEvent, ModelRequest, TextDelta, ToolDefinition, Usage
from app.workspace.credentials import Credential, PersonalAccessToken, ServicePrincipal
from app.workspace.workspace import Workspace, WorkspaceAddress
from tests.fakes.serving_endpoint import (
    DONE,
    TOKEN,
    Answer,
    ServingEndpoint,
    Stream,
    agent_stream,
    chat_chunk,
    chat_stream,
    databricks_error,
)

QUESTION = ModelRequest((Message("user", "Hi"),))
PAT = PersonalAccessToken(SecretStr(TOKEN))


class Sleeper:
    """Time passes only while the model waits for its next attempt."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.waits: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.waits.append(round(seconds, 3))
        self.now += seconds

    def clock(self) -> float:
        return self.now


@asynccontextmanager
async def asking(
    endpoint: ServingEndpoint | str,
    *,
    credential: Credential = PAT,
    sleeper: Sleeper | None = None,
    limits: TimeLimits | None = None,
    **options: Any,
) -> AsyncIterator[DatabricksModel]:
    name, base_url = ("my-model", endpoint) if isinstance(endpoint, str) else (endpoint.name, endpoint.base_url)
    workspace = Workspace(WorkspaceAddress.parse(base_url), credential)
    sleeper = sleeper or Sleeper()
    model = DatabricksModel(
        name,
        workspace,
        limits=limits or TimeLimits(),
        sleep=sleeper.sleep,
        clock=sleeper.clock,
        spread=lambda: 1.0,
        **options,
    )
    try:
        yield model
    finally:
        await model.close()


async def answer(model: DatabricksModel, request: ModelRequest = QUESTION) -> list[ModelEvent]:
    return [event async for event in model.stream(request)]


def text_of(events: list[ModelEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


async def shown_before(failure: type[ModelFailure], model: DatabricksModel) -> str:
    shown: list[ModelEvent] = []

    async def watch() -> None:
        async for event in model.stream(QUESTION):
            shown.append(event)

    with pytest.raises(failure):
        await watch()
    return text_of(shown)


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


@pytest.mark.parametrize("lookup", [databricks_error(403, "PERMISSION_DENIED", "no"), Answer(200, "<html>")])
async def test_an_endpoint_that_cannot_be_looked_up_is_asked_for_chat_completions(lookup: Answer) -> None:
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
        endpoint.replies.append(Answer(200, body))
        assert await answer(model) == [TextDelta("Hi"), Completed()]


async def test_a_cut_stream_keeps_what_arrived() -> None:
    async with ServingEndpoint() as endpoint, asking(endpoint) as model:
        held = asyncio.Event()
        endpoint.replies.append(Stream([chat_chunk({"content": "Half an ans"}), held, "cut"]))
        asyncio.get_running_loop().call_later(0.05, held.set)
        assert await shown_before(StreamCut, model) == "Half an ans"
    assert len(endpoint.asked) == 1


async def test_a_connection_that_breaks_after_the_finish_reason_has_lost_nothing() -> None:
    async with ServingEndpoint() as endpoint, asking(endpoint) as model:
        held = asyncio.Event()
        endpoint.replies.append(Stream([chat_chunk({"content": "All"}), chat_chunk({}, "stop"), held, "cut"]))
        asyncio.get_running_loop().call_later(0.05, held.set)
        assert await answer(model) == [TextDelta("All"), Completed()]


@pytest.mark.parametrize("last", [chat_chunk({}, "stop"), DONE])
async def test_an_endpoint_that_hangs_after_its_last_word_is_not_waited_for(
    last: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.databricks_client.SECONDS_FOR_USAGE", 0.05)
    async with ServingEndpoint() as endpoint, asking(endpoint) as model:
        endpoint.replies.append(Stream([chat_chunk({"content": "All"}), last, "hang"]))
        async with asyncio.timeout(5):
            assert await answer(model) == [TextDelta("All"), Completed()]


async def test_a_stream_cut_before_its_first_word_is_asked_for_again() -> None:
    async with ServingEndpoint() as endpoint, asking(endpoint) as model:
        endpoint.replies.append(Stream(["cut"]))
        assert text_of(await answer(model)) == "Hello"
    assert len(endpoint.asked) == 2


@pytest.mark.parametrize(
    ("reply", "failure"),
    [
        (databricks_error(403, "PERMISSION_DENIED", "You may not query this endpoint"), NoPermission),
        (databricks_error(404, "RESOURCE_DOES_NOT_EXIST", "no such endpoint"), UnknownModel),
        (databricks_error(400, "BAD_REQUEST", "maximum context length is 4096 tokens"), ConversationTooLong),
        (
            databricks_error(400, "BAD_REQUEST", json.dumps({"finishReason": "input_guardrail_triggered"})),
            ContentFiltered,
        ),
        (Answer(302, "", {"Location": "https://login.example/oauth2/authorize"}), SignInFailed),
        (Answer(500, "<html>oops</html>", content_type="text/html"), RequestRefused),
        (Stream([b"<html>a page of the wifi</html>"], content_type="text/html"), RequestRefused),
        (Stream([b"data: garbage\n\n"]), StreamCut),
    ],
)
async def test_each_refusal_reaches_the_caller_as_its_own_failure(
    reply: Answer | Stream, failure: type[ModelFailure]
) -> None:
    async with ServingEndpoint() as endpoint, asking(endpoint, retries=RetryPolicy(attempts=1)) as model:
        endpoint.replies.append(reply)
        with pytest.raises(failure) as caught:
            await answer(model)
        assert TOKEN not in str(caught.value)
        assert caught.value.__cause__ is None or TOKEN not in str(caught.value.__cause__)


async def test_a_busy_endpoint_is_asked_again_when_it_said_to() -> None:
    sleeper = Sleeper()
    async with ServingEndpoint() as endpoint, asking(endpoint, sleeper=sleeper) as model:
        busy = databricks_error(429, "REQUEST_LIMIT_EXCEEDED", "slow down", Retry_After="3")
        endpoint.replies.extend([busy, databricks_error(503, "TEMPORARILY_UNAVAILABLE", "soon", Retry_After="1"), busy])
        assert text_of(await answer(model)) == "Hello"
    assert sleeper.waits == [3.25, 1.25, 3.25]


async def test_an_endpoint_that_says_nothing_of_when_is_asked_at_growing_distances() -> None:
    sleeper = Sleeper()
    async with ServingEndpoint() as endpoint, asking(endpoint, sleeper=sleeper) as model:
        endpoint.replies.extend([databricks_error(503, "", "scaled to zero")] * 4)
        with pytest.raises(WakingUp):
            await answer(model)
    assert sleeper.waits == [0.5, 1.0, 2.0]
    assert len(endpoint.asked) == 4


async def test_nobody_is_kept_waiting_longer_than_the_time_limit_for_another_attempt() -> None:
    sleeper = Sleeper()
    limits = TimeLimits(overall=10)
    async with ServingEndpoint() as endpoint, asking(endpoint, sleeper=sleeper, limits=limits) as model:
        endpoint.replies.append(databricks_error(429, "", "slow down", Retry_After="20"))
        with pytest.raises(Busy) as caught:
            await answer(model)
    assert caught.value.retry_after == 20
    assert sleeper.waits == []


async def test_what_was_shown_is_never_asked_for_again() -> None:
    async with ServingEndpoint() as endpoint, asking(endpoint) as model:
        busy = b'data: {"error": {"code": "rate_limit_exceeded", "message": "slow down"}}\n\n'
        endpoint.replies.append(Stream([chat_chunk({"content": "Half"}), busy]))
        assert await shown_before(Busy, model) == "Half"
    assert len(endpoint.asked) == 1


async def test_a_refused_token_is_renewed_once() -> None:
    async with ServingEndpoint() as endpoint:
        credential = ServicePrincipal(endpoint.host, "id", SecretStr("s3cret"))
        async with asking(endpoint, api="chat", credential=credential) as model:
            await answer(model)
            endpoint.accepted_tokens.clear()
            assert text_of(await answer(model)) == "Hello"
            assert [asked.token for asked in endpoint.asked] == ["oauth-token-1", "oauth-token-1", "oauth-token-2"]


async def test_a_refused_personal_token_is_a_failed_sign_in_that_does_not_show_it() -> None:
    async with ServingEndpoint() as endpoint, asking(endpoint, api="chat") as model:
        endpoint.accepted_tokens.clear()
        with pytest.raises(SignInFailed) as caught:
            await answer(model)
        assert TOKEN not in str(caught.value)
    assert len(endpoint.asked) == 1


async def test_a_credential_that_cannot_be_had_is_a_failed_sign_in() -> None:
    async with ServingEndpoint() as endpoint:
        credential = ServicePrincipal(endpoint.host, "id", SecretStr("s3cret"))
        for api in ("auto", "chat"):
            endpoint.sign_in_replies.append(Answer(401, {"error": "invalid_client"}))
            async with asking(endpoint, api=api, credential=credential) as model:
                with pytest.raises(SignInFailed, match="invalid_client"):
                    await answer(model)
    assert endpoint.asked == []


@pytest.mark.parametrize("steps", [[], [chat_chunk({"content": "Half"})]])
async def test_an_endpoint_that_falls_silent_is_a_timeout(steps: list[bytes]) -> None:
    limits = TimeLimits(silence=0.1)
    async with ServingEndpoint() as endpoint, asking(endpoint, limits=limits) as model:
        endpoint.replies.append(Stream([*steps, "hang"]))
        assert await shown_before(ModelTimedOut, model) == "Half" * len(steps)
        await asyncio.wait_for(endpoint.disconnected.wait(), 5)


async def test_an_answer_that_never_ends_is_stopped_at_the_time_limit() -> None:
    limits = TimeLimits(overall=0.2)
    async with ServingEndpoint() as endpoint, asking(endpoint, limits=limits, api="chat") as model:
        endpoint.replies.append(Stream([chat_chunk({"content": "Half"}), "hang"]))
        assert await shown_before(ModelTimedOut, model) == "Half"
        await asyncio.wait_for(endpoint.disconnected.wait(), 5)


async def test_a_port_where_nobody_listens_is_unreachable() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
        sleeper = Sleeper()
        async with asking(address, sleeper=sleeper, api="chat") as model:
            with pytest.raises(Unreachable):
                await answer(model)
    assert len(sleeper.waits) == 3


async def test_a_host_that_accepts_but_never_speaks_tls_is_unreachable_within_the_connect_limit() -> None:
    accepted: list[asyncio.StreamWriter] = []

    async def say_nothing(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.append(writer)

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    address = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    limits = TimeLimits(connect=0.1)
    async with server, asking(address, limits=limits, api="chat", retries=RetryPolicy(attempts=1)) as model:
        with pytest.raises(Unreachable):
            await answer(model)
        for writer in accepted:
            writer.close()


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
        assert model.credential_name == "personal access token"


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
