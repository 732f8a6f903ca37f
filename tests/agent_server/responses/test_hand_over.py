from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from pydantic import SecretStr

from agent_server.identity.server_caller import ServerCaller
from app.common.identity import UserIdentity
from app.storage.sqlite.sqlite_store import SqliteStore
from tests.agent_server.responses.instances import (
    ANN,
    ANSWER,
    Instance,
    Speaker,
    in_virtual_time,
    streamed_text,
    text_of,
)


async def _answered_after_kill(store: SqliteStore, kill_after_seconds: float) -> int:
    """Returns how often the two instances asked the handler. Fails with what a follower would have seen."""
    first, second = Instance(store, Speaker()), Instance(store, Speaker())
    response = await first.ask()
    following = asyncio.create_task(second.events(response.id))
    await asyncio.sleep(kill_after_seconds)
    await first.vanish()
    events = await following
    assert [event["sequence_number"] for event in events] == list(range(len(events))), "numbers are missing or repeated"
    assert events == await second.events(response.id), "the log says something else than what was followed"
    finished = events[-1]["response"]
    messages = [item for item in finished["output"] if item["type"] == "message"]
    assert (finished["status"], messages[-1]["content"][0]["text"]) == ("completed", ANSWER)
    *cut, last = messages
    assert last["status"] == "completed"
    for message in cut:
        assert message["status"] == "incomplete"
        assert ANSWER.startswith(message["content"][0]["text"])
    assert streamed_text(events) == text_of(finished), "streamed text was taken back"
    again = await second.answered("And?", previous_response_id=response.id)
    assert again["status"] == "completed"
    for instance in (first, second):
        assert isinstance(instance.handler, Speaker)
    return len(first.handler.requests) + len(second.handler.requests) - 1  # type: ignore[attr-defined]


@pytest.mark.parametrize("seconds", [0.0, 0.01, 0.02, 0.03, 0.05, 0.1, 0.3, 0.4, 1.0, 2.5, 3.9, 4.0, 4.1, 4.2, 5.0])
def test_a_background_answer_survives_its_instance(tmp_path: Path, seconds: float) -> None:
    async def script(store: SqliteStore) -> None:
        assert await _answered_after_kill(store, seconds) <= 2

    in_virtual_time(script)(tmp_path)


@in_virtual_time
async def test_an_instance_that_stalls_and_wakes_again_appends_nothing(store: SqliteStore) -> None:
    first, second = Instance(store, Speaker(seconds=60)), Instance(store, Speaker(seconds=20))
    response = await first.ask()
    await asyncio.sleep(10)
    first.wire.cut()
    await asyncio.sleep(45)
    first.wire.join()
    events = await second.events(response.id)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert text_of(events[-1]["response"]).endswith(ANSWER)
    assert streamed_text(events) == text_of(events[-1]["response"])
    assert await first.events(response.id) == events


@in_virtual_time
async def test_an_instance_that_is_told_to_stop_hands_its_answers_over_at_once(store: SqliteStore) -> None:
    first, second = Instance(store, Speaker(seconds=20)), Instance(store, Speaker())
    response = await first.ask()
    await asyncio.sleep(5)
    began = asyncio.get_running_loop().time()
    await first.service.close()
    assert asyncio.get_running_loop().time() - began < 10
    finished = (await second.events(response.id))[-1]["response"]
    assert finished["output"][-1]["content"][0]["text"] == ANSWER
    assert asyncio.get_running_loop().time() - began < 20, "the second instance waited for the lease to end"


@in_virtual_time
async def test_a_response_that_was_never_entered_ends_with_a_sentence(store: SqliteStore) -> None:
    first, second = Instance(store, Speaker()), Instance(store, Speaker())
    first.turns.start = lambda record, context: None  # type: ignore[method-assign]
    response = await first.ask()
    events = await second.events(response.id)
    assert (events[-1]["type"], events[-2]["type"]) == ("response.failed", "error")
    assert (await second.service.get(response.id, ANN))["status"] == "failed"


@in_virtual_time
async def test_an_answer_for_a_person_waits_for_their_next_token_and_never_is_the_apps(
    store: SqliteStore,
) -> None:
    person = ServerCaller("ann", "Ann", identity=UserIdentity("ann", SecretStr("token")))
    asked_as: list[object] = []

    class Looks(Speaker):
        async def stream(self, request):  # type: ignore[no-untyped-def]
            from agent_server.handlers.request_context import current_request

            asked_as.append(current_request().caller.identity)
            async for event in Speaker.stream(self, request):
                yield event

    first, second = Instance(store, Looks(seconds=20)), Instance(store, Looks())
    response = await first.ask(caller=person)
    await asyncio.sleep(5)
    await first.vanish()
    await asyncio.sleep(300)
    waiting = await second.service.get(response.id, ANN)
    assert (waiting["status"], waiting["metadata"]["waiting_for"]) == ("queued", "sign_in")
    assert len(asked_as) == 1
    second.tokens.remember(person)
    finished = (await second.events(response.id))[-1]["response"]
    assert (finished["status"], finished["metadata"]) == ("completed", {})
    assert asked_as == [person.identity, person.identity]


@in_virtual_time
async def test_an_answer_that_waits_for_a_person_who_never_comes_back_is_given_up(store: SqliteStore) -> None:
    person = ServerCaller("ann", identity=UserIdentity("ann", SecretStr("token")))
    first, second = Instance(store, Speaker(seconds=20)), Instance(store, Speaker())
    response = await first.ask(caller=person)
    await asyncio.sleep(5)
    await first.vanish()
    second.turns._clock = lambda: asyncio.get_running_loop().time() + 25 * 3600
    await asyncio.sleep(120)
    failed = await second.service.get(response.id, ANN)
    assert failed["status"] == "failed"
    assert "ask again" in failed["error"]["message"]


@in_virtual_time
async def test_a_server_that_nobody_asks_lets_its_database_sleep_and_wakes_with_the_next_request(
    store: SqliteStore,
) -> None:
    first, second = Instance(store, Speaker(seconds=20)), Instance(store, Speaker())
    looks: list[float] = []
    queue = second.service._worker._queue

    class Counted:
        async def receive(self, limit: int, *, visibility_timeout: float) -> object:
            looks.append(asyncio.get_running_loop().time())
            return await queue.receive(limit, visibility_timeout=visibility_timeout)

        def __getattr__(self, name: str) -> object:
            return getattr(queue, name)

    second.service._worker._queue = Counted()  # type: ignore[assignment]
    await asyncio.sleep(600)
    looks.clear()
    await asyncio.sleep(7200)
    assert len(looks) <= 8, "the database is asked again and again though nobody is there"
    response = await first.ask()
    await asyncio.sleep(5)
    await first.vanish()
    events = await second.events(response.id)
    assert events[-1]["type"] == "response.completed", "nobody went on with the answer of the dead instance"
