"""The endpoint, with a channel over HTTP: what comes in, what the channel gets, what the caller is told."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.agent.commands import HELP
from app.agent.user_messages import CONTINUE_PROMPT, INTERRUPTION_NOTE
from app.bot.auth.bot_identity import BotIdentity
from app.bot.channel import DisplaySettings
from app.bot.handler import MENTION_ME, WELCOME
from app.local.connector_server import ConnectorResponse
from tests.fakes.bots import MakeBot


async def test_a_question_is_answered_in_its_conversation(make_bot: MakeBot) -> None:
    bot = make_bot("Because.")
    assert (await bot.send(bot.activity())).status == 200
    assert bot.messages == ["Because."]
    answer = bot.connector.calls[-1].activity
    assert answer["recipient"]["id"] == "29:ann"
    assert answer["from"]["id"] == "28:bot"
    assert answer["conversation"]["id"] == "c1"


async def test_teams_gets_a_stream_whose_entities_keep_their_fields(make_bot: MakeBot) -> None:
    bot = make_bot(["Because", asyncio.sleep(0.3), "."])
    teams = bot.activity(
        channelId="msteams", conversation={"id": "c1", "conversationType": "personal", "tenantId": "t"}
    )
    await bot.send(teams)
    sign, first, last = bot.connector.calls
    assert (sign.activity["type"], sign.stream) == ("typing", None)
    assert first.stream == {"type": "streaminfo", "streamType": "streaming", "streamSequence": 1}
    assert last.stream == {"type": "streaminfo", "streamType": "final", "streamId": "activity-2"}
    assert last.at - first.at >= 1.0


async def test_in_teams_an_answer_that_comes_at_once_is_one_message(make_bot: MakeBot) -> None:
    bot = make_bot("Because.")
    await bot.send(bot.activity(channelId="msteams", conversation={"id": "c1", "conversationType": "personal"}))
    sign, answer = bot.connector.calls
    assert (sign.activity["type"], answer.activity["type"], answer.stream) == ("typing", "message", None)
    assert answer.at - sign.at < 0.5


async def test_a_repeated_activity_is_acknowledged_and_does_nothing(make_bot: MakeBot) -> None:
    bot = make_bot("once", "twice")
    activity = bot.activity()
    assert [(await bot.send(activity)).status for _ in range(3)] == [200, 200, 200]
    assert bot.messages == ["once"]


async def test_the_same_words_sent_twice_are_two_questions(make_bot: MakeBot) -> None:
    bot = make_bot("once", "twice")
    await bot.send(bot.activity())
    await bot.send(bot.activity())
    assert bot.messages == ["once", "twice"]


async def test_a_slow_turn_is_acknowledged_and_goes_on(make_bot: MakeBot) -> None:
    gate = asyncio.Event()
    bot = make_bot([gate, "Late."], acknowledge_after_seconds=2.0)
    assert (await bot.send(bot.activity())).status == 202
    assert bot.messages == []
    gate.set()
    assert (await bot.connector.next_message()).text == "Late."


async def test_expected_replies_come_in_the_response_and_nowhere_else(make_bot: MakeBot) -> None:
    bot = make_bot("Because.", acknowledge_after_seconds=0.0)
    answer = await bot.send(bot.activity(deliveryMode="expectReplies", channelId="msteams"))
    (reply,) = json.loads(answer.body)["activities"]
    assert answer.status == 200
    assert reply["text"] == "Because."
    assert reply["entities"][0]["additionalType"] == ["AIGeneratedContent"]
    assert bot.connector.calls == []


async def test_a_repeat_that_expects_replies_gets_none_but_in_the_right_shape(make_bot: MakeBot) -> None:
    bot = make_bot("Because.")
    activity = bot.activity(deliveryMode="expectReplies")
    await bot.send(activity)
    repeat = await bot.send(activity)
    assert (repeat.status, json.loads(repeat.body)) == (200, {"activities": []})


async def test_expected_replies_that_take_too_long_end_in_504_and_the_model_is_stopped(
    make_bot: MakeBot,
) -> None:
    bot = make_bot(["Once", asyncio.Event()])
    bot.app.messages._time_limit_seconds = 1.0
    assert (await bot.send(bot.activity(deliveryMode="expectReplies"))).status == 504
    async with asyncio.timeout(2):
        await bot.app.messages.close()
    assert bot.model.streams_closed_early == 1


async def test_a_turn_of_a_worker_that_shuts_down_is_resumed_by_another_in_the_same_stream(
    make_bot: MakeBot,
) -> None:
    bot = make_bot(["Once upon", asyncio.Event()], acknowledge_after_seconds=3.0)
    await bot.send(bot.activity(channelId="msteams", conversation={"id": "c1", "conversationType": "personal"}))
    assert bot.connector.calls[-1].text == "Once upon"
    await bot.app.close()
    another = make_bot(" a time.")
    (message,) = await bot.queue.receive(9, visibility_timeout=60)
    await another.app.queue.dispatch(message.body.encode())
    final = bot.connector.calls[-1]
    assert final.stream == {"type": "streaminfo", "streamType": "final", "streamId": "activity-2"}
    assert final.text == f"Once upon\n\n{INTERRUPTION_NOTE.english}\n\n a time."
    asked = [(message.role, message.content) for message in another.model.requests[0].messages[1:]]
    assert asked == [("user", "Why?"), ("assistant", "Once upon"), ("user", CONTINUE_PROMPT)]
    assert bot.messages == [final.text]


async def test_a_caller_that_waits_for_replies_of_a_worker_that_shuts_down_gets_503(
    make_bot: MakeBot,
) -> None:
    asked = asyncio.Event()

    async def happening() -> None:
        asked.set()

    bot = make_bot([happening(), "Once upon", asyncio.Event()])
    asking = asyncio.create_task(bot.send(bot.activity(deliveryMode="expectReplies")))
    async with asyncio.timeout(5):
        await asked.wait()
        await bot.app.messages.close(grace_seconds=0.0)
        assert (await asking).status == 503


async def test_in_a_group_only_those_who_mention_the_bot_are_answered(make_bot: MakeBot) -> None:
    bot = make_bot("Yes?")
    group: dict[str, Any] = {"channelId": "msteams", "conversation": {"id": "g", "conversationType": "groupChat"}}
    await bot.send(bot.activity("hello all", **group))
    mention = {"type": "mention", "text": "<at>Bricks</at>", "mentioned": {"id": "28:bot"}}
    await bot.send(bot.activity("<at>Bricks</at> hello", entities=[mention], **group))
    assert bot.messages == ["Yes?"]
    assert bot.model.requests[0].messages[-1].content == "hello"


async def test_the_bot_welcomes_once_when_it_is_added_but_not_beside_prompt_starters(
    make_bot: MakeBot,
) -> None:
    bot = make_bot()
    added: dict[str, Any] = {
        "type": "conversationUpdate",
        "channelId": "webchat",
        "membersAdded": [{"id": "28:bot"}, {"id": "29:ann"}],
    }
    await bot.send(bot.activity(**added))
    await bot.send(bot.activity(**{**added, "membersAdded": [{"id": "29:ann"}]}))
    teams = {**added, "channelId": "msteams"}
    await bot.send(bot.activity(**{**teams, "conversation": {"id": "p", "conversationType": "personal"}}))
    await bot.send(bot.activity(entities=[{"type": "ProductInfo", "id": "COPILOT"}], **teams))
    await bot.send(bot.activity(**{**teams, "conversation": {"id": "g", "conversationType": "groupChat"}}))
    assert bot.messages == [WELCOME.english, f"{WELCOME.english}\n\n{MENTION_ME.english}"]


async def test_a_mention_without_a_question_is_answered_with_help(make_bot: MakeBot) -> None:
    bot = make_bot()
    mention = {"type": "mention", "text": "<at>Bricks</at>", "mentioned": {"id": "28:bot"}}
    await bot.send(bot.activity("<at>Bricks</at> ", entities=[mention]))
    assert bot.messages == [HELP.english]


async def test_what_was_quoted_is_remembered_with_the_question(make_bot: MakeBot) -> None:
    bot = make_bot("Because.", "On Sunday.")
    quoted = {"type": "quotedReply", "quotedReply": {"preview": "The load failed.", "senderName": "Bob"}}
    await bot.send(bot.activity('<quoted messageId="1"/> why?', entities=[quoted]))
    await bot.send(bot.activity("And when?"))
    first, _, second = (message.content for message in bot.model.requests[1].messages[1:])
    assert first.endswith("> The load failed.\n\nwhy?")
    assert second == "And when?"


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"])
async def test_a_wrong_method_is_answered_with_405_and_the_right_one(make_bot: MakeBot, method: str) -> None:
    answer = await make_bot().send(b"", method)
    assert answer.status == 405
    assert answer.headers["Allow"] == "POST"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400), (b"not json", 400), (b"[1]", 400), (b"{}", 400), (b'{"type": 5}', 400), (b"\xff\xfe", 400),
        (b"[" * 100_000, 400), (b'{"type": "message", "text": "' + b"x" * 300_000 + b'"}', 413),
    ],
)  # fmt: skip
async def test_bad_input_gets_a_sentence(make_bot: MakeBot, body: bytes, status: int) -> None:
    answer = await make_bot().send(body)
    assert answer.status == status
    assert answer.body.endswith(".")


async def test_bad_input_is_logged_once_for_each_reason(make_bot: MakeBot, caplog: pytest.LogCaptureFixture) -> None:
    bot = make_bot()
    for body in (b"", b"not json", b'{"type": 5, "text": "secret"}', b"x" * 300_000):
        await bot.send(body)
    assert [r.getMessage() for r in caplog.records if "refused" in r.getMessage()] == [
        "A call was refused: 400, The body must be JSON in UTF-8.",
        "A call was refused: 400, Field 'type' must be a string.",
        "A call was refused: 413, An activity may have 256 KB at most.",
    ]


async def test_a_body_is_not_parsed_before_its_sender_is_authenticated(make_bot: MakeBot) -> None:
    bot = make_bot("never", identity=BotIdentity("11111111-2222-3333-4444-555555555555", "MultiTenant"))
    bodies = [b"not json", b"x" * 300_000, b'{"type":"message","value":' + b"[" * 100_000]
    assert [(await bot.send(body, Authorization="Bearer abc")).status for body in bodies] == [401, 401, 401]


async def test_a_bot_without_an_app_id_talks_to_this_machine_only(make_bot: MakeBot) -> None:
    bot = make_bot("never")
    refused = [
        await bot.send(bot.activity(), Host="bot.example.com"),
        await bot.send(bot.activity(), Origin="https://evil.example"),
        await bot.send(bot.activity(serviceUrl="https://evil.example/")),
        await bot.send(bot.activity(serviceUrl="http://169.254.169.254/")),
        await bot.send(bot.activity(serviceUrl=None)),
        await bot.send(bot.activity(channelId=None)),
    ]
    assert [answer.status for answer in refused] == [401] * len(refused)
    assert bot.model.requests == []


async def test_a_bot_with_an_app_id_refuses_calls_without_a_token(
    make_bot: MakeBot, caplog: pytest.LogCaptureFixture
) -> None:
    bot = make_bot("never", identity=BotIdentity("11111111-2222-3333-4444-555555555555", "MultiTenant"))
    teams = bot.activity(channelId="msteams", serviceUrl="https://smba.trafficmanager.net/emea/")
    statuses = [
        (await bot.send(teams)).status,
        (await bot.send(teams, Authorization="Bearer abc")).status,
        (await bot.send(bot.activity())).status,
    ]
    assert statuses == [401, 401, 401]
    assert bot.model.requests == []
    assert [r.getMessage() for r in caplog.records if "refused" in r.getMessage()] == [
        "A call was refused: 401, there is no Authorization header",
        "A call was refused: 401, the token cannot be read",
    ]
    await bot.app.close()
    assert "1 more calls were refused within a minute: 401, there is no Authorization header" in caplog.text


@pytest.mark.parametrize("kind", ["typing", "event", "messageReaction", "installationUpdate", "messageDelete", "x-new"])
async def test_other_activities_are_acknowledged_and_reach_no_model(make_bot: MakeBot, kind: str) -> None:
    bot = make_bot("never")
    assert (await bot.send(bot.activity(type=kind))).status == 200
    assert bot.model.requests == []


@pytest.mark.parametrize("name", ["task/fetch", "signin/tokenExchange", "signin/failure", "nonsense", None])
async def test_an_unknown_invoke_is_answered_with_501(make_bot: MakeBot, name: str | None) -> None:
    bot = make_bot()
    answer = await bot.send(bot.activity(type="invoke", name=name, value={"x": 1}))
    assert (answer.status, json.loads(answer.body)["error"]["code"]) == (501, "NotImplemented")


async def test_feedback_is_acknowledged_as_teams_wants_it(make_bot: MakeBot, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    bot = make_bot()
    value = {"actionName": "feedback", "actionValue": {"reaction": "like", "feedback": '{"feedbackText":"private"}'}}
    answer = await bot.send(bot.activity(type="invoke", name="message/submitAction", value=value))
    assert (answer.status, answer.body) == (200, "{}")
    assert "Feedback: like" in caplog.text
    assert "private" not in caplog.text


@pytest.mark.parametrize("reaction", [[], {}, None, 5])
async def test_feedback_of_any_shape_is_acknowledged(make_bot: MakeBot, reaction: Any) -> None:
    bot = make_bot()
    value = {"actionName": "feedback", "actionValue": {"reaction": reaction}}
    answer = await bot.send(bot.activity(type="invoke", name="message/submitAction", value=value))
    assert (answer.status, answer.body) == (200, "{}")


async def test_a_button_of_an_unknown_verb_gets_an_error_that_teams_shows(make_bot: MakeBot) -> None:
    bot = make_bot()
    answer = await bot.send(bot.activity(type="invoke", name="adaptiveCard/action", value={"action": {"verb": "x"}}))
    assert answer.status == 200
    assert json.loads(answer.body)["value"]["message"] == "This button is no longer in use."


async def test_a_channel_that_takes_no_answer_causes_no_500(make_bot: MakeBot) -> None:
    bot = make_bot("lost")
    bot.connector.rule = lambda call: ConnectorResponse.error(400, "BadArgument", "no such conversation")
    assert (await bot.send(bot.activity())).status == 200


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from(
    [
        "type", "id", "text", "channelId", "serviceUrl", "from", "recipient", "conversation", "entities", "attachments",
        "channelData", "value", "name", "membersAdded", "deliveryMode", "replyToId", "timestamp", "locale",
    ]
)  # fmt: skip


@given(changes=st.dictionaries(FIELDS, JSON, max_size=4))
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_no_activity_whatever_its_fields_causes_a_500(make_bot: MakeBot, changes: dict[str, Any]) -> None:
    bot = make_bot("Because.")
    activity = bot.activity(**{"type": "typing", **changes}) if "type" not in changes else bot.activity(**changes)
    assert (await bot.send(activity)).status in {200, 202, 400, 401, 501}


@pytest.mark.parametrize(
    "channel", [{}, {"channelId": "msteams", "conversation": {"id": "c", "conversationType": "personal"}}]
)
async def test_images_are_links_but_from_a_host_that_is_allowed(make_bot: MakeBot, channel: dict[str, Any]) -> None:
    bot = make_bot(
        "![a](https://a.example/1) ![b](https://b.example/2)", display=DisplaySettings(frozenset({"a.example"}))
    )
    await bot.send(bot.activity(**channel))
    assert bot.messages[-1] == "![a](https://a.example/1) [b](https://b.example/2)"
    assert not any("![b]" in call.text for call in bot.connector.calls)
