"""What people read of the program itself, through the endpoint, in the language that their client names."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from app.bot.auth.bot_identity import BotIdentity
from app.bot.handler import AgentHandler
from app.models.model import Completed, Source, ToolCall
from app.models.model_errors import PermissionDeniedError, RateLimitedError
from tests.fakes.bots import MakeBot

TEAMS: dict[str, Any] = {
    "channelId": "msteams",
    "conversation": {"id": "c1", "conversationType": "personal", "tenantId": "t"},
}
IMAGE = {"contentType": "image/png", "contentUrl": "https://x.example/1.png"}


@pytest.mark.parametrize(
    ("more", "begins"),
    [
        ({"locale": "de-CH"}, "Fragen Sie mich in Ihren eigenen Worten"),
        ({"locale": "ja-JP"}, "普段の言葉で"),
        ({"locale": "fr"}, "Posez-moi vos questions"),
        ({"locale": "es-MX"}, "Pregúnteme"),
        ({"entities": [{"type": "clientInfo", "locale": "de-DE"}]}, "Fragen Sie mich"),
        ({"locale": "", "entities": [{"type": "clientInfo", "locale": "de-DE"}]}, "Fragen Sie mich"),
        ({"locale": "nl-NL"}, "Ask me anything"),
        ({"locale": 7}, "Ask me anything"),
        ({"entities": [{"type": "clientInfo", "locale": ["de"]}]}, "Ask me anything"),
        ({}, "Ask me anything"),
    ],
)
async def test_help_is_in_the_language_of_the_activity(make_bot: MakeBot, more: dict[str, Any], begins: str) -> None:
    bot = make_bot()
    await bot.send(bot.activity("/help", **more))
    (told,) = bot.messages
    assert told.startswith(begins)


async def test_a_failure_is_told_in_german_and_logged_in_english(
    make_bot: MakeBot, caplog: pytest.LogCaptureFixture
) -> None:
    bot = make_bot(["Der Umsatz", PermissionDeniedError("HTTP 403")])
    await bot.send(bot.activity("Warum?", locale="de-DE", **TEAMS))
    final = bot.connector.calls[-1]
    assert final.text.startswith("Der Umsatz\n\n⚠️ Dieser Agent darf das Modell nicht verwenden. ")
    assert "(Fehler-ID: " in final.text
    assert "PermissionDeniedError: HTTP 403" in caplog.text
    assert "Modell" not in caplog.text


async def test_a_stream_says_in_japanese_what_is_being_done(make_bot: MakeBot) -> None:
    gate = asyncio.Event()
    bot = make_bot(
        [Completed(tool_calls=(ToolCall("1", "current_time", "{}"),))], [gate, Source("Report"), "5 時です。"]
    )
    asking = asyncio.create_task(bot.send(bot.activity("何時?", locale="ja-JP", **TEAMS)))
    while not (await bot.connector.next_call(timeout=10)).stream:
        pass
    gate.set()
    await asking
    told = [call.text for call in bot.connector.calls if call.stream]
    assert told[0] == "current time を使用しています…"
    assert told[-1] == "5 時です。\n\n出典: [1]"


async def test_another_worker_goes_on_in_the_same_language(make_bot: MakeBot) -> None:
    bot = make_bot(["Es war", asyncio.Event()], acknowledge_after_seconds=3.0)
    await bot.send(bot.activity("Erzähl!", locale="de-DE", **TEAMS))
    await bot.app.close()
    another = make_bot([" einmal", RateLimitedError("full", retry_after_seconds=40.2)])
    (message,) = await bot.queue.receive(9, visibility_timeout=60)
    await another.app.queue.dispatch(message.body.encode())
    final = bot.connector.calls[-1].text
    assert "*(Ich wurde unterbrochen und fahre hier fort.)*\n\n einmal" in final
    assert "Das Modell ist ausgelastet. Bitte fragen Sie in 41 Sekunden noch einmal. (Fehler-ID: " in final
    assert [message.content for message in another.model.requests[0].messages[1:3]] == ["Erzähl!", "Es war"]


async def test_attachments_and_commands_that_are_not_known_are_told_so_in_french(make_bot: MakeBot) -> None:
    bot = make_bot()
    await bot.send(bot.activity("/hlep", locale="fr-FR"))
    await bot.send(bot.activity(" ", locale="fr-FR", attachments=[IMAGE]))
    assert bot.messages == [
        "Je ne connais pas la commande `/hlep`. Vouliez-vous dire **/help** ?",
        "> Je ne peux pas lire de fichiers ici. Je n'ai donc pas lu : une image\n\n",
    ]


async def test_a_welcome_is_in_the_language_that_is_named_or_in_english(make_bot: MakeBot) -> None:
    bot = make_bot()
    for locale in ({"locale": "es-ES"}, {}):
        joined = bot.activity("", membersAdded=[{"id": "28:bot"}], **locale)
        await bot.send({**joined, "type": "conversationUpdate"})
    assert [told.split("!")[0] for told in bot.messages] == ["¡Hola", "Hello"]


async def test_what_goes_wrong_before_the_turn_is_told_in_the_persons_language(
    make_bot: MakeBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    bot = make_bot(identity=BotIdentity())

    async def broken(*_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(AgentHandler, "on_message_activity", broken)
    await bot.send(bot.activity(locale="de-DE"))
    (told,) = bot.messages
    assert told.startswith("⚠️ Auf unserer Seite ist ein Fehler aufgetreten. ")
