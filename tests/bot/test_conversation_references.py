"""Where the bot may speak first: recorded by any activity, gone with /forget and with the app. Through the endpoint."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from app.bot.inbound.activity import parse_activity
from app.bot.inbound.conversation_reference import reference_of, target_of
from app.messaging.conversation_references import ConversationReference
from app.storage.conversations import ConversationKey
from app.storage.storage_errors import StorageError
from tests.fakes.bots import Bot, MakeBot

CHAT = ConversationKey("t", "msteams/a:1")
IN_TEAMS: dict[str, Any] = {
    "channelId": "msteams",
    "conversation": {"id": "a:1", "conversationType": "personal", "tenantId": "t"},
    "from": {"id": "29:ann", "aadObjectId": "a1", "name": "Ann"},
    "locale": "de-DE",
}
IN_A_CHANNEL: dict[str, Any] = {
    **IN_TEAMS,
    "conversation": {"id": "19:x;messageid=77", "conversationType": "channel", "tenantId": "t"},
}


async def found(bot: Bot, key: ConversationKey = CHAT) -> ConversationReference | None:
    await bot.references.flush()
    return await bot.references.find(key)


@pytest.mark.parametrize("kind", ["message", "typing", "messageReaction", "conversationUpdate", "invoke", "event"])
async def test_any_activity_tells_where_the_bot_can_speak_first(make_bot: MakeBot, kind: str) -> None:
    bot = make_bot("Because.")
    await bot.send({**bot.activity(**IN_TEAMS), "type": kind})

    reference = await found(bot)
    assert reference is not None
    assert reference.model_dump(exclude={"saved_at"}) == {
        "tenant_id": "t",
        "conversation": "msteams/a:1",
        "channel_id": "msteams",
        "conversation_id": "a:1",
        "conversation_type": "personal",
        "service_url": bot.connector.service_url,
        "bot_id": "28:bot",
        "bot_name": "Bricks",
        "user_id": "29:ann",
        "entra_object_id": "a1",
        "locale": "de-DE",
    }


async def test_a_channel_has_one_reference_for_all_its_threads_and_it_names_nobody(make_bot: MakeBot) -> None:
    bot = make_bot()
    await bot.send({**bot.activity(**IN_A_CHANNEL), "type": "messageReaction"})

    reference = await found(bot, ConversationKey("t", "msteams/19:x", "another thread"))
    assert reference is not None
    assert (reference.user_id, reference.entra_object_id, reference.locale) == ("", "", "")
    assert target_of(reference, "77").fields["conversation"]["id"] == "19:x;messageid=77"
    assert target_of(reference).conversation == "19:x"


async def test_forget_deletes_it_until_the_next_activity(make_bot: MakeBot) -> None:
    bot = make_bot("one", "two")
    await bot.send(bot.activity("here", **IN_TEAMS))
    assert await found(bot) is not None
    await bot.send(bot.activity("/forget", **IN_TEAMS))
    assert await found(bot) is None
    await bot.send(bot.activity("again", **IN_TEAMS))
    assert await found(bot) is not None


@pytest.mark.parametrize(
    "removal",
    [
        {"type": "installationUpdate", "action": "remove"},
        {"type": "conversationUpdate", "membersRemoved": [{"id": "28:bot"}]},
    ],
)
async def test_removal_of_the_app_deletes_it(make_bot: MakeBot, removal: dict[str, Any]) -> None:
    bot = make_bot("one")
    await bot.send(bot.activity("here", **IN_TEAMS))
    assert await found(bot) is not None
    assert (await bot.send(bot.activity(**IN_TEAMS, **removal))).status == 200
    assert await found(bot) is None


async def test_a_removal_whose_reference_could_not_be_deleted_is_not_acknowledged(
    make_bot: MakeBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    bot = make_bot()

    async def fails(*_: Any) -> None:
        raise StorageError("down")

    monkeypatch.setattr(bot.documents, "delete", fails)
    removal = bot.activity(**IN_TEAMS, type="installationUpdate", action="remove")
    assert (await bot.send(removal)).status == 503


async def test_a_question_is_answered_while_its_reference_cannot_be_saved(
    make_bot: MakeBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    bot, gate = make_bot("Because."), asyncio.Event()

    async def stands_still(*_: Any) -> None:
        await gate.wait()

    monkeypatch.setattr(bot.documents, "get", stands_still)
    await bot.send(bot.activity())
    assert bot.messages == ["Because."]
    gate.set()


@pytest.mark.parametrize(
    "changes",
    [
        {"entities": [{"type": "ProductInfo", "id": "COPILOT"}]},
        {"deliveryMode": "expectReplies"},
        {"conversation": {}},
        {"serviceUrl": None},
    ],
)
def test_where_nobody_can_speak_first_there_is_no_reference(changes: dict[str, Any]) -> None:
    activity = {"type": "message", "serviceUrl": "https://smba.trafficmanager.net/emea/", **IN_TEAMS}
    assert reference_of(parse_activity(json.dumps(activity).encode())) is not None
    assert reference_of(parse_activity(json.dumps({**activity, **changes}).encode())) is None
