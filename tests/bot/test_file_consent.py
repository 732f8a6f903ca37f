"""A result as a file in OneDrive: asked for by a button, consented to on a card, stored once. Through the endpoint."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from app.agent.events import Answer
from app.bot.channel import COPILOT, OTHER, TEAMS_GROUP, TEAMS_PERSONAL, Channel
from app.bot.rendering.rendered_end import RenderedEnd
from app.common.identity import RequestIdentity
from app.content.blocks import Actions
from app.data.rerun import GONE
from app.messaging.actions import ask_button, call_button
from app.messaging.result_files import NoResultFileError, ResultFile, file_button
from app.storage.conversations import ConversationKey
from app.translation import ENGLISH
from tests.bot.test_approvals import press
from tests.fakes.bots import Bot, MakeBot

CONTENT = b"\xef\xbb\xbfregion\r\nPorto\r\n"
CONSENT_CARD = "application/vnd.microsoft.teams.card.file.consent"
INFO_CARD = "application/vnd.microsoft.teams.card.file.info"
PERSONAL: dict[str, Any] = {"conversation": {"id": "c1", "conversationType": "personal"}}
FILE_BUTTON = file_button("As a CSV file", "r1")
BUTTON = {"verb": "send_file", "data": {"result": "r1"}}


class Files:
    async def make(self, conversation: ConversationKey, result: str, identity: RequestIdentity) -> ResultFile:
        if result != "r1" or conversation.conversation != "msteams/c1":
            raise NoResultFileError(GONE)
        return ResultFile("Orders.csv", CONTENT, 1)


class OneDrive:
    def __init__(self) -> None:
        self.stored: list[tuple[str, bytes, dict[str, str]]] = []
        self.status = 201
        self.url = ""

    async def put(self, request: web.Request) -> web.Response:
        if self.status == 201:
            self.stored.append((request.raw_path, await request.read(), dict(request.headers)))
        return web.Response(status=self.status, headers={"Location": f"{self.url}/elsewhere"})


@asynccontextmanager
async def one_drive() -> AsyncIterator[OneDrive]:
    drive, application = OneDrive(), web.Application()
    application.add_routes([web.put("/upload", drive.put)])
    async with TestServer(application) as server:
        drive.url = f"http://127.0.0.1:{server.port}"
        yield drive


def attachments(bot: Bot, content_type: str) -> list[dict[str, Any]]:
    sent = [each for call in bot.connector.calls for each in call.activity.get("attachments", ())]
    return [each for each in sent if each["contentType"] == content_type]


async def decide(bot: Bot, action: str, upload_url: str = "", context: object = None) -> int:
    value = {
        "type": "fileUpload",
        "action": action,
        "context": {"result": "r1"} if context is None else context,
        "uploadInfo": {
            "uploadUrl": upload_url,
            "contentUrl": "https://contoso.sharepoint.com/a/Orders.csv",
            "name": "Orders.csv",
            "uniqueId": "u1",
            "fileType": "csv",
        },
    }
    activity = bot.activity("", name="fileConsent/invoke", value=value, replyToId="consent-1", **PERSONAL)
    answer = await bot.send({**activity, "type": "invoke", "channelId": "msteams"})
    await bot.handle_queue()
    return answer.status


async def test_a_file_is_stored_once_after_the_person_has_consented(make_bot: MakeBot) -> None:
    bot = make_bot(result_files=Files())
    async with one_drive() as drive:
        assert "preparing" in await press(bot, BUTTON, **PERSONAL)
        await bot.handle_queue()
        (card,) = attachments(bot, CONSENT_CARD)
        assert card["name"] == "Orders.csv"
        assert card["content"]["sizeInBytes"] == len(CONTENT)
        assert drive.stored == []

        context = card["content"]["acceptContext"]
        for _ in range(2):
            assert await decide(bot, "accept", f"{drive.url}/upload?guid=%27a%27&t='b%2Fc%3D", context) == 200
        ((path, content, headers),) = drive.stored
        assert path == "/upload?guid=%27a%27&t='b%2Fc%3D", "a signed address stays as it is"
        assert content == CONTENT
        assert headers["Content-Range"] == f"bytes 0-{len(CONTENT) - 1}/{len(CONTENT)}"
        assert "Authorization" not in headers
        info = attachments(bot, INFO_CARD)[0]
        assert info["content"] == {"uniqueId": "u1", "fileType": "csv"}
        assert info["contentUrl"].endswith("Orders.csv")
        assert {call.activity_id for call in bot.connector.calls if call.method == "DELETE"} == {"consent-1"}


async def test_nothing_is_stored_where_the_person_declines_and_the_card_goes(make_bot: MakeBot) -> None:
    bot = make_bot(result_files=Files())
    assert await decide(bot, "decline") == 200
    assert [call.method for call in bot.connector.calls] == ["DELETE"]


@pytest.mark.parametrize("where", ["refused", "redirected", "down", "untrusted"])
async def test_a_file_that_cannot_be_stored_is_told_with_an_error_id_and_can_be_tried_again(
    where: str, make_bot: MakeBot, caplog: pytest.LogCaptureFixture
) -> None:
    bot = make_bot(result_files=Files())
    async with one_drive() as drive:
        drive.status = {"refused": 404, "redirected": 307}.get(where, 201)
        addresses = {"down": "http://127.0.0.1:9/upload?s=secret", "untrusted": "https://evil.example/?s=secret"}
        await decide(bot, "accept", addresses.get(where, f"{drive.url}/upload?s=secret"))
        (message,) = bot.messages
        assert "could not be stored" in message
        assert "rror id" in message
        assert "secret" not in caplog.text
        assert drive.stored == []
        drive.status = 201
        await decide(bot, "accept", f"{drive.url}/upload")
        assert len(drive.stored) == 1


async def test_a_result_that_is_gone_is_said_and_the_card_goes(make_bot: MakeBot) -> None:
    bot = make_bot(result_files=Files())
    await press(bot, {"verb": "send_file", "data": {"result": "old"}}, **PERSONAL)
    await bot.handle_queue()
    await decide(bot, "accept", "http://127.0.0.1:9/", {"result": "old"})
    assert bot.messages == [GONE.english] * 2
    assert bot.connector.calls[-1].method == "DELETE"


async def test_a_group_is_told_that_files_are_sent_one_to_one(make_bot: MakeBot) -> None:
    bot = make_bot(result_files=Files())
    group: dict[str, Any] = {"conversation": {"id": "c1", "conversationType": "groupChat"}}
    assert "one-to-one chats alone" in await press(bot, BUTTON, **group)
    assert await bot.handle_queue() == 0


@pytest.mark.parametrize(
    "value", [None, "x", {}, {"action": "accept"}, {"action": "other", "context": {"result": "1"}}]
)
async def test_a_decision_on_no_file_of_ours_is_refused(value: object, make_bot: MakeBot) -> None:
    bot = make_bot(result_files=Files())
    activity = bot.activity("", name="fileConsent/invoke", value=value, **PERSONAL)
    assert (await bot.send({**activity, "type": "invoke", "channelId": "msteams"})).status == 400
    assert await bot.handle_queue() == 0


def test_a_channel_without_buttons_names_those_alone_that_a_person_could_type() -> None:
    buttons = (ask_button("And in 1997?", "And in 1997?"), call_button("Run again", "run_again", {}), FILE_BUTTON)
    text = RenderedEnd(Answer("Hm.", blocks=(Actions(buttons),)), OTHER, ENGLISH).text
    assert "And in 1997?" in text
    assert "Run again" not in text
    assert "CSV" not in text


@pytest.mark.parametrize(("channel", "shown"), [(TEAMS_PERSONAL, True), (TEAMS_GROUP, False), (COPILOT, False)])
def test_the_button_is_shown_where_files_can_be_sent(channel: Channel, *, shown: bool) -> None:
    end = Answer("Hm.", blocks=(Actions((FILE_BUTTON,)),))
    message = RenderedEnd(end, channel, ENGLISH).message("Hm.", last=True)
    assert ("send_file" in json.dumps(message)) is shown
