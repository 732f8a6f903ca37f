from __future__ import annotations

import asyncio
from contextlib import suppress
from itertools import pairwise

import pytest

from agent_server.protocol.api_error import ApiError
from agent_server.responses.event_log import LogKey
from app.storage.conversations import ConversationKey
from app.storage.sqlite.sqlite_store import SqliteStore
from tests.agent_server.responses.instances import (
    ANN,
    ANSWER,
    BEN,
    Instance,
    Speaker,
    in_virtual_time,
    streamed_text,
    text_of,
)


@in_virtual_time
async def test_a_background_response_has_an_id_at_once_and_its_answer_later(store: SqliteStore) -> None:
    instance = Instance(store, Speaker())
    response = await instance.ask()
    assert response.response["status"] in ("queued", "in_progress")
    assert (await instance.service.get(response.id, ANN))["output"] == []
    finished = await response.finished()
    assert (finished["status"], text_of(finished)) == ("completed", ANSWER)
    assert await instance.service.get(response.id, ANN) == finished


@in_virtual_time
async def test_who_follows_late_or_again_gets_the_same_events_with_the_same_numbers(store: SqliteStore) -> None:
    instance, other = Instance(store, Speaker()), Instance(store, Speaker())
    response = await instance.ask()
    live, elsewhere = await asyncio.gather(instance.events(response.id), other.events(response.id))
    assert live == elsewhere == await other.events(response.id)
    assert [event["sequence_number"] for event in live] == list(range(len(live)))
    assert (live[0]["type"], live[-1]["type"]) == ("response.created", "response.completed")
    assert streamed_text(live) == ANSWER
    for number in range(-1, len(live)):
        assert await other.events(response.id, number) == live[number + 1 :]


@in_virtual_time
async def test_what_is_said_reaches_followers_while_it_is_said(store: SqliteStore) -> None:
    instance, other = Instance(store, Speaker(seconds=20)), Instance(store, Speaker())
    response = await instance.ask()
    clock = asyncio.get_running_loop().time
    began, seen = clock(), []
    following = await other.service.follow(response.id, ANN)
    async for events in following:
        seen += [clock() - began for event in events if event["type"] == "response.output_text.delta"]
    assert seen[0] < 3
    assert max(after - before for before, after in pairwise(seen)) < 3.5


@in_virtual_time
async def test_a_cancelled_response_keeps_what_was_said_and_its_handler_ends(store: SqliteStore) -> None:
    for elsewhere in (False, True):
        speaker = Speaker(seconds=30)
        instance, other = Instance(store, speaker), Instance(store, Speaker())
        response = await instance.ask()
        await asyncio.sleep(5)
        cancelled = await (other if elsewhere else instance).service.cancel(response.id, ANN)
        assert cancelled["status"] == "cancelled"
        said = text_of(cancelled)
        assert said
        assert ANSWER.startswith(said)
        await asyncio.sleep(5)
        assert speaker.ended == 1, "the handler went on though nobody wants its answer"
        events = await other.events(response.id)
        assert (events[-1]["type"], events[-1]["response"]["status"]) == ("response.incomplete", "cancelled")
        assert streamed_text(events) == said
        assert await instance.service.cancel(response.id, ANN) == cancelled
        again = await instance.answered("And now?", previous_response_id=response.id)
        assert again["status"] == "completed", "the conversation is stuck behind the cancelled question"


@in_virtual_time
async def test_a_finished_response_is_not_cancelled_any_more(store: SqliteStore) -> None:
    instance = Instance(store, Speaker())
    finished = await instance.answered()
    assert await instance.service.cancel(finished["id"], ANN) == finished


@in_virtual_time
async def test_another_callers_response_looks_unknown(store: SqliteStore) -> None:
    instance = Instance(store, Speaker())
    finished = await instance.answered()
    service, id = instance.service, finished["id"]
    for call in (
        service.get(id, BEN),
        service.follow(id, BEN),
        service.cancel(id, BEN),
        service.delete(id, BEN),
        service.input_items(id, BEN),
        service.forget_conversation(finished["conversation"]["id"], BEN),
        instance.ask("And?", BEN, previous_response_id=id),
        instance.ask("And?", BEN, conversation=finished["conversation"]["id"]),
        instance.ask([{"type": "mcp_approval_response", "approval_request_id": "1", "approve": True}], BEN,
                     previous_response_id=id),
    ):  # fmt: skip
        with pytest.raises(ApiError) as refusal:
            await call
        assert refusal.value.status == 404
    assert text_of(await service.get(id, ANN)) == ANSWER


@in_virtual_time
async def test_a_response_remembers_those_before_it_and_no_other_branch(store: SqliteStore) -> None:
    speaker = Speaker()
    instance = Instance(store, speaker)

    def said_before() -> list[str]:
        items = speaker.requests[-1]["input"]
        return [item["content"] if isinstance(item["content"], str) else item["content"][0]["text"] for item in items]

    first = await instance.answered("One?")
    second = await instance.answered("Two?", previous_response_id=first["id"])
    assert said_before() == ["One?", ANSWER, "Two?"]
    edited = await instance.answered("Two, edited?", previous_response_id=first["id"])
    assert said_before() == ["One?", ANSWER, "Two, edited?"]
    await instance.answered("Three?", conversation=edited["conversation"]["id"])
    assert said_before() == ["One?", ANSWER, "Two, edited?", ANSWER, "Three?"]
    await instance.answered("Three, of the first branch?", previous_response_id=second["id"])
    assert said_before() == ["One?", ANSWER, "Two?", ANSWER, "Three, of the first branch?"]
    await instance.answered(
        "One, edited?", conversation=first["conversation"]["id"], metadata={"replaces": first["id"]}
    )
    assert said_before() == ["One, edited?"]


@in_virtual_time
async def test_unknown_references_are_refused_with_their_name(store: SqliteStore) -> None:
    instance = Instance(store, Speaker())
    for body, param in (
        ({"previous_response_id": "resp_unknown"}, "previous_response_id"),
        ({"conversation": "conv_unknown"}, "conversation"),
        ({"context": {"conversation_id": "conv_unknown"}}, "conversation"),
        ({"question": [_with_file("file-unknown")]}, "input[0]"),
    ):
        with pytest.raises(ApiError) as refusal:
            await instance.ask(**body)
        assert (refusal.value.status, refusal.value.param) == (404, param)
    assert not speaker_was_asked(instance)


@in_virtual_time
async def test_requests_at_the_same_moment_are_no_way_around_the_limit(store: SqliteStore) -> None:
    instance = Instance(store, Speaker())
    made = await asyncio.gather(*(instance.ask() for _ in range(55)), return_exceptions=True)
    refused = [each.status for each in made if isinstance(each, ApiError)]
    assert refused == [429] * 5
    await instance.service.close()


@in_virtual_time
async def test_a_decision_about_an_unknown_conversation_names_it(store: SqliteStore) -> None:
    instance = Instance(store, Speaker())
    decision = {"type": "mcp_approval_response", "approval_request_id": "call_1", "approve": True}
    with pytest.raises(ApiError, match="conv_unknown") as refusal:
        await instance.ask([decision], conversation="conv_unknown")
    assert refusal.value.status == 404


def _with_file(id: str) -> dict[str, object]:
    return {"role": "user", "content": [{"type": "input_file", "file_id": id}]}


def speaker_was_asked(instance: Instance) -> bool:
    assert isinstance(instance.handler, Speaker)
    return bool(instance.handler.requests)


@in_virtual_time
async def test_a_deleted_response_is_unknown_and_not_remembered(store: SqliteStore) -> None:
    speaker = Speaker()
    instance = Instance(store, speaker)
    first = await instance.answered("One?")
    second = await instance.answered("Two?", previous_response_id=first["id"])
    assert (await instance.service.delete(first["id"], ANN))["deleted"]
    with pytest.raises(ApiError):
        await instance.service.get(first["id"], ANN)
    await instance.answered("Three?", previous_response_id=second["id"])
    assert "One?" not in str(speaker.requests[-1])
    await instance.service.forget_conversation(second["conversation"]["id"], ANN)
    for id in (second["id"], first["id"]):
        with pytest.raises(ApiError):
            await instance.service.get(id, ANN)


@in_virtual_time
async def test_what_is_deleted_at_another_instance_while_it_is_made_leaves_nothing(store: SqliteStore) -> None:
    answering, other = Instance(store, Speaker()), Instance(store, Speaker())
    for deletes_conversation in (False, True):
        response = await answering.ask()
        await asyncio.sleep(1)
        conversation = (await other.service.get(response.id, ANN))["conversation"]["id"]
        if deletes_conversation:
            await other.service.forget_conversation(conversation, ANN)
        else:
            await other.service.delete(response.id, ANN)
        await asyncio.sleep(60)
        assert await other.stores.log.read_all(LogKey(ANN.tenant, conversation, response.id)) == []
        assert await other.stores.store.recent(ConversationKey(ANN.tenant, conversation), 10) == []


@in_virtual_time
async def test_a_handler_that_fails_ends_the_response_with_a_sentence_and_an_error_id(store: SqliteStore) -> None:
    class Fails(Speaker):
        async def stream(self, request):  # type: ignore[no-untyped-def]
            yield {"type": "response.output_text.delta", "item_id": "msg", "delta": "The"}
            raise RuntimeError("token dapi123")

    instance = Instance(store, Fails())
    events = await instance.events((await instance.ask()).id)
    assert [event["type"] for event in events[-2:]] == ["error", "response.failed"]
    assert "error id" in events[-2]["message"]
    assert "dapi123" not in str(events)
    assert text_of(events[-1]["response"]) == "The"


@in_virtual_time
async def test_a_handler_that_ignores_its_cancellation_ends_with_the_time_limit_too(store: SqliteStore) -> None:
    class Stubborn(Speaker):
        async def stream(self, request):  # type: ignore[no-untyped-def]
            try:
                while True:
                    with suppress(asyncio.CancelledError):
                        await asyncio.sleep(1)
                    yield {"type": "response.output_text.delta", "item_id": "msg", "delta": "more "}
            finally:
                self.ended += 1

    speaker = Stubborn()
    instance = Instance(store, speaker)
    finished, stopped = await instance.ask(), await instance.ask()
    await asyncio.sleep(2)
    await stopped.cancel()
    response = await finished.finished()
    assert (response["status"], "longer than allowed" in response["error"]["message"]) == ("failed", True)
    await asyncio.sleep(10)
    assert (speaker.ended, instance.turns.running_count) == (2, 0)


@in_virtual_time
async def test_of_a_response_that_failed_or_was_stopped_the_trace_is_kept_for_its_feedback(store: SqliteStore) -> None:
    class Trace:
        trace_id = "tr-1"

        def end(self, output: object, error: BaseException | None = None) -> None: ...

    class Tracer:
        def start(self, name: str, request: object, **_: str) -> Trace:
            return Trace()

    class Fails(Speaker):
        async def stream(self, request):  # type: ignore[no-untyped-def]
            yield {"type": "error", "message": "The model is away.", "code": "server_error"}

    class Raises(Speaker):
        async def stream(self, request):  # type: ignore[no-untyped-def]
            yield {"type": "response.output_text.delta", "item_id": "msg", "delta": "The"}
            raise RuntimeError("away")

    async def trace_id(instance: Instance, id: str) -> str:
        await asyncio.sleep(5)
        record = await instance.stores.records.find(ANN.tenant, id)
        return record.trace_id if record else "gone"

    for handler in (Fails(), Raises()):
        instance = Instance(store, handler, tracer=Tracer())
        failed = await instance.answered()
        assert (failed["status"], await trace_id(instance, failed["id"])) == ("failed", "tr-1")
    instance = Instance(store, Speaker(seconds=30), tracer=Tracer())
    stopped = await instance.ask()
    await asyncio.sleep(5)
    await instance.service.cancel(stopped.id, ANN)
    assert await trace_id(instance, stopped.id) == "tr-1"


@in_virtual_time
async def test_a_request_that_is_repeated_with_its_idempotency_key_is_answered_once(store: SqliteStore) -> None:
    speaker = Speaker()
    first, second = Instance(store, speaker), Instance(store, speaker)
    made, again = await asyncio.gather(first.ask("One?", key="k"), second.ask("One?", key="k"))
    assert made.id == again.id
    assert await made.finished() == await again.finished()
    assert (await first.ask("One?", key="k")).id == made.id
    await asyncio.sleep(60)
    assert len(speaker.requests) == 1
    with pytest.raises(ApiError) as refusal:
        await first.ask("Two?", key="k")
    assert refusal.value.code == "idempotency_key_reused"
    assert (await first.ask("One?", BEN, key="k")).id != made.id
