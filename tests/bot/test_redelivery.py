"""What is not done is not acknowledged: through the endpoint."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from app.access_tokens.access_token import AuthenticationUnavailableError
from app.bot.connector.send_errors import DeliveryUnknownError, NotDeliveredError, SendError
from app.bot.handler import AgentHandler
from app.storage.conversations import ConversationKey
from app.storage.storage_errors import StorageError
from tests.fakes.bots import MakeBot


async def test_a_removal_is_not_acknowledged_before_storage_has_deleted(
    make_bot: MakeBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    bot = make_bot("Four.", acknowledge_after_seconds=1.5)
    assert (await bot.send(bot.activity())).status in (200, 202)
    await bot.connector.next_message()
    gate, removal = asyncio.Event(), bot.activity(type="installationUpdate", action="remove")

    async def slowly(*_: Any, **__: Any) -> None:
        await gate.wait()
        raise StorageError("TimeoutError")

    with monkeypatch.context() as down:
        down.setattr(bot.store, "forget", slowly)
        assert (await bot.send(removal)).status == 503, "Teams is told that all was deleted, and nothing was"
        gate.set()
    assert (await bot.send(removal)).status == 200
    assert await bot.store.recent(ConversationKey("", "emulator/c1"), 9) == []


async def test_the_bot_welcomes_once_while_storage_hangs(make_bot: MakeBot, monkeypatch: pytest.MonkeyPatch) -> None:
    bot, gate = make_bot(acknowledge_after_seconds=0.5), asyncio.Event()
    added = bot.activity(type="conversationUpdate", membersAdded=[{"id": "28:bot"}])

    async def slowly(*_: Any, **__: Any) -> None:
        await gate.wait()
        raise StorageError("TimeoutError")

    monkeypatch.setattr(bot.documents, "put", slowly)
    assert (await bot.send(added)).status == 202, "each repeat brings another welcome"
    gate.set()
    await bot.connector.next_message()
    assert len(bot.messages) == 1


@pytest.mark.parametrize("failure", [NotDeliveredError("HTTP 503"), DeliveryUnknownError("HTTP 500")])
async def test_a_question_that_was_not_entered_is_redelivered_if_the_person_was_not_told(
    make_bot: MakeBot, monkeypatch: pytest.MonkeyPatch, failure: SendError
) -> None:
    bot = make_bot("Four.")
    question = bot.activity()

    async def fails(_: Any, **__: Any) -> Any:
        raise StorageError("down")

    async def takes_nothing(*_: Any, **__: Any) -> Any:
        raise failure

    with monkeypatch.context() as down:
        down.setattr(bot.store, "begin", fails)
        down.setattr(bot.app.connector, "send", takes_nothing)
        assert (await bot.send(question)).status == 503, "nobody has the question, and nobody knows"
    assert (await bot.send(question)).status == 200
    assert bot.messages == ["Four."]


async def test_an_invoke_that_breaks_says_so_in_its_body(make_bot: MakeBot, monkeypatch: pytest.MonkeyPatch) -> None:
    bot = make_bot()

    async def breaks(*_: Any) -> None:
        raise ConnectionError("the workspace is away")

    monkeypatch.setattr(AgentHandler, "on_invoke_activity", breaks)
    answer = await bot.send({**bot.activity(name="adaptiveCard/action", value={}), "type": "invoke"})
    assert (answer.status, answer.body) == (503, "This was not done. Please try again.")


@pytest.mark.parametrize("kind", ["message", "invoke"])
async def test_a_call_whose_sender_cannot_be_authenticated_now_gets_503(
    make_bot: MakeBot, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    bot = make_bot("Four.")

    async def unknown(*_: Any) -> Any:
        raise AuthenticationUnavailableError("the signing keys could not be fetched")

    with monkeypatch.context() as down:
        down.setattr(bot.app.adapter, "authenticate", unknown)
        answer = await bot.send({**bot.activity(name="message/submitAction", value={}), "type": kind})
    assert answer.status == 503, "a refusal is final, and the question is gone without a word"
    assert bot.messages == []


async def test_an_invoke_is_answered_in_time_though_the_signing_keys_are_not(
    make_bot: MakeBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    bot, hanging = make_bot(), asyncio.Event()

    async def slowly(*_: Any) -> Any:
        await hanging.wait()

    monkeypatch.setattr(bot.app.adapter, "authenticate", slowly)
    monkeypatch.setattr("app.bot.inbound.messages_endpoint._INVOKE_SECONDS", 0.1)
    assert (await bot.send({**bot.activity(name="x", value={}), "type": "invoke"})).status == 503
