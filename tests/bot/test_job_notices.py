"""What chats that watch a job are told: one message for an incident, then its thread, once, at the chat's pace."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from app.jobs.chat.job_notice import ChatNotifier, JobNotice
from app.jobs.incidents.incident import IncidentState, NoticeKind
from app.local.connector_server import ConnectorCall, ConnectorResponse
from app.turns.queue_message import UnreadableMessageError
from tests.bot.job_chats import (
    CHANNEL,
    GROUP,
    PERSONAL,
    JobChats,
    buttons,
    cards,
    handle_all,
    id_of,
    incidents_of,
    member,
    replies,
    say,
    tell,
)
from tests.fakes.bots import Bot
from tests.jobs.chat.sample_incidents import ANN, BOB, OLGA, PROPOSAL


async def change(bot: Bot, chats: JobChats, **changes: Any) -> None:
    await incidents_of(bot).update(chats.incident().id, lambda incident: incident.model_copy(update=changes))


async def test_in_a_channel_the_first_failure_is_a_message_and_all_else_its_thread_and_its_card(
    chats: JobChats,
) -> None:
    bot = chats.bot()
    await say(bot, BOB, "/watch nightly_etl", CHANNEL)
    await tell(bot, chats.incident())
    (card,) = cards(bot)
    assert (card.method, card.conversation_id, card.activity.get("replyToId")) == ("POST", CHANNEL["id"], None)
    thread = f"{CHANNEL['id']};messageid={id_of(bot, card)}"
    told: list[tuple[NoticeKind, dict[str, Any], str]] = [
        ("repeated", {"run_count": 2}, "It failed again with the same cause: 2 runs so far."),
        ("retry_started", {"state": IncidentState.RETRYING}, "The retry has started. I will post the result here."),
        ("retry_failed", {"state": IncidentState.OPEN}, "The retry failed, too."),
        ("escalated", {"state": IncidentState.ESCALATED}, "I escalated it."),
        ("recovered", {"state": IncidentState.RECOVERED}, "**nightly_etl** has recovered."),
    ]
    for kind, changes, words in told:
        await change(bot, chats, **changes)
        await tell(bot, chats.incident(), kind)
        edit, reply = bot.connector.calls[-2:]
        assert (edit.method, edit.activity_id, edit.conversation_id) == ("PUT", id_of(bot, card), thread)
        assert (reply.method, reply.conversation_id, reply.text) == ("POST", thread, words)
    assert "has recovered" in cards(bot)[-1].text
    assert len([call for call in cards(bot) if call.method == "POST"]) == 1


@pytest.mark.parametrize("conversation", [GROUP, PERSONAL])
async def test_where_there_are_no_threads_replies_are_messages(chats: JobChats, conversation: dict[str, str]) -> None:
    bot = chats.bot()
    await say(bot, BOB, "/watch nightly_etl", conversation)
    await tell(bot, chats.incident())
    await tell(bot, chats.incident(), "repeated")
    edit, reply = bot.connector.calls[-2:]
    assert {edit.conversation_id, reply.conversation_id} == {conversation["id"]}


async def test_a_notice_that_comes_again_or_to_two_workers_at_once_is_told_once(chats: JobChats) -> None:
    bot, other = chats.bot(), chats.bot()
    await say(bot, BOB, "/watch nightly_etl")
    incident = await incidents_of(bot).create(chats.incident())
    chat = f"msteams/{GROUP['id']}"
    whats: tuple[NoticeKind, ...] = ("opened", "repeated")
    opened, again = (
        JobNotice(id=what, incident=incident.id, what=what, tenant=GROUP["tenantId"], conversation=chat)
        .model_dump_json()
        .encode()
        for what in whats
    )
    await asyncio.gather(*(each.app.queue.dispatch(body) for each in (bot, other) for body in (opened, again, opened)))
    await handle_all(bot)
    for body in (opened, again):
        await other.app.queue.dispatch(body)
    assert len([card for card in cards(bot) if card.method == "POST"]) == 1
    assert len([text for text in replies(bot) if "failed again" in text]) <= 1


async def test_what_is_proposed_with_the_first_message_is_not_said_again_and_another_proposal_is(
    chats: JobChats,
) -> None:
    bot = chats.bot()
    await say(bot, BOB, "/watch nightly_etl")
    await tell(bot, chats.incident())
    await tell(bot, chats.incident(), "proposed")
    assert replies(bot) == []
    await change(bot, chats, proposal=PROPOSAL.model_copy(update={"id": "p-2", "parameters": {}, "action": "RETRY"}))
    await tell(bot, chats.incident(), "proposed", "n-2")
    assert replies(bot) == ["I propose: Retry unchanged. Please decide on the card above."]


async def test_two_jobs_with_one_cause_are_one_message_in_a_chat_that_watches_both(chats: JobChats) -> None:
    bot = chats.bot()
    other = chats.jobs.add(name="other", viewers=("bob@example.com",))
    await say(bot, BOB, "/watch nightly_etl")
    await say(bot, BOB, "/watch other")
    incident = chats.incident()
    more = incident.runs[0].model_copy(update={"job_id": other, "run_id": 80, "key": "80-1"})
    await tell(bot, incident.model_copy(update={"runs": (*incident.runs, more), "run_count": 2}))
    (card,) = cards(bot)
    assert "(more jobs with the same cause: 1)" in card.text


async def test_who_began_to_watch_later_is_told_of_what_is_open_but_not_of_its_end(chats: JobChats) -> None:
    bot = chats.bot()
    await tell(bot, chats.incident())
    await say(bot, BOB, "/watch nightly_etl")
    for kind in ("changed", "retry_started", "recovered"):
        await tell(bot, chats.incident(), kind)
    assert cards(bot) == []
    await tell(bot, chats.incident(), "repeated")
    assert [card.method for card in cards(bot)] == ["POST"]


async def test_owners_are_mentioned_where_they_are_members_and_named_where_not(chats: JobChats) -> None:
    stranger = replace(BOB, entra_object_id="f" * 36, name="**Fred** <b>")
    chats.policy = replace(chats.policy, owners=(OLGA, stranger, replace(ANN, tenant_id="elsewhere")))
    bot = chats.bot()
    bot.connector.members[-1] = member(OLGA, name="Olga <at>all</at> O'Neil")
    await say(bot, BOB, "/watch nightly_etl")
    await tell(bot, chats.incident())
    await tell(bot, chats.incident(), "repeated")
    first, edit = cards(bot)
    mention = "<at>Olga at all at O'Neil</at>"
    for message in (first, edit):
        assert message.activity["entities"] == [
            {"type": "mention", "text": mention, "mentioned": {"id": "29:c", "name": "Olga at all at O'Neil"}}
        ], "an edit without it would take the mention away"
        assert message.text.count("<at>") == 1
        assert f"Owners: {mention}, \\*\\*Fred\\*\\*" in message.text


async def test_nothing_waits_for_a_channel_that_does_not_tell_of_owners(
    chats: JobChats, monkeypatch: pytest.MonkeyPatch
) -> None:
    bot = chats.bot()
    await say(bot, BOB, "/watch nightly_etl")

    async def unavailable(*_: Any, **__: Any) -> Any:
        from app.messaging.conversation_members import MembersUnavailableError

        raise MembersUnavailableError

    monkeypatch.setattr("app.bot.conversation_members.ChannelMembers.find_by_entra_id", unavailable)
    await tell(bot, chats.incident())
    assert "Owners: Olga Owner" in cards(bot)[0].text


async def test_a_card_that_somebody_deleted_costs_no_reply(chats: JobChats) -> None:
    bot = chats.bot()
    await say(bot, BOB, "/watch nightly_etl", CHANNEL)
    await tell(bot, chats.incident())
    bot.connector.script(ConnectorResponse.error(403, "Unknown", "Unknown"))
    await tell(bot, chats.incident(), "recovered")
    assert "has recovered" in replies(bot)[-1]


@pytest.mark.parametrize("status", [403, 404])
async def test_a_chat_that_the_bot_was_removed_from_is_told_no_more(chats: JobChats, status: int) -> None:
    bot = chats.bot()
    await say(bot, BOB, "/watch nightly_etl", CHANNEL)
    await say(bot, BOB, "/watch nightly_etl", GROUP)

    def gone(call: ConnectorCall) -> ConnectorResponse | None:
        code = "ConversationNotFound" if status == 404 else "BotNotInConversationRoster"
        is_channel = call.conversation_id.startswith(CHANNEL["id"])
        return ConnectorResponse.error(status, code, "gone") if is_channel else None

    bot.connector.rule = gone
    await tell(bot, chats.incident())
    before = len(bot.connector.calls)
    await tell(bot, chats.incident(), "repeated")
    later = {call.conversation_id for call in bot.connector.calls[before:]}
    assert later == {GROUP["id"]}


async def test_a_throttled_chat_is_told_later_and_holds_up_no_other(chats: JobChats) -> None:
    bot = chats.bot()
    await say(bot, BOB, "/watch nightly_etl", CHANNEL)
    await say(bot, BOB, "/watch nightly_etl", GROUP)
    throttled = ConnectorResponse(429, headers={"Retry-After": "3600"})
    bot.connector.rule = lambda call: throttled if call.conversation_id.startswith(CHANNEL["id"]) else None
    await tell(bot, chats.incident())
    assert {call.conversation_id for call in cards(bot) if call.status < 300} == {GROUP["id"]}
    (waiting,) = map(json.loads, bot.on_the_queue())
    assert waiting["conversation"] == f"msteams/{CHANNEL['id']}"
    bot.connector.rule = None
    await bot.app.queue.dispatch(json.dumps(waiting).encode())
    assert {call.conversation_id for call in cards(bot) if call.status < 300} == {GROUP["id"], CHANNEL["id"]}


async def test_a_burst_for_one_chat_is_spread_over_time(chats: JobChats, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.bot.job_notices._SECONDS_BETWEEN_MESSAGES", 100.0)
    bot = chats.bot()
    await say(bot, BOB, "/watch nightly_etl")
    await tell(bot, chats.incident())
    await tell(bot, chats.incident(), "repeated")
    assert replies(bot) == []
    assert len(bot.on_the_queue()) == 1


async def test_an_edit_shows_the_newest_even_if_the_incident_changes_meanwhile(chats: JobChats) -> None:
    bot = chats.bot()
    await say(bot, BOB, "/watch nightly_etl")
    await tell(bot, chats.incident())
    changed = False

    async def meanwhile() -> None:
        await change(bot, chats, state=IncidentState.RECOVERED)

    def rule(call: ConnectorCall) -> ConnectorResponse | None:
        nonlocal changed
        if call.method == "PUT" and not changed:
            changed = True
            tasks.append(asyncio.get_running_loop().create_task(meanwhile()))
            return ConnectorResponse(200, {"id": call.activity_id}, after=0.2)
        return None

    tasks: list[asyncio.Task[None]] = []
    bot.connector.rule = rule
    await tell(bot, chats.incident(), "changed")
    await asyncio.gather(*tasks)
    assert {*buttons(cards(bot)[-1])} == {"Wrong diagnosis"}


async def test_what_a_person_added_is_said_as_data(chats: JobChats) -> None:
    bot = chats.bot()
    await say(bot, BOB, "/watch nightly_etl")
    await tell(bot, chats.incident())
    notice = JobNotice(id="n-9", incident=chats.incident().id, what="changed", text="**see** <at>all</at>")
    await ChatNotifier(bot.queue).put(notice)
    await handle_all(bot)
    assert replies(bot)[-1] == "\\*\\*see\\*\\* &lt;at\\>all&lt;/at\\>"


@pytest.mark.parametrize(
    "body", [{"what": "eaten"}, {"incident": None}, {"v": 2, "what": "opened"}, {"what": "opened", "incident": 7}]
)
async def test_a_notice_of_another_version_is_left_to_it(chats: JobChats, body: dict[str, Any]) -> None:
    bot = chats.bot()
    whole = {"v": 1, "kind": "job_notice", "id": "n", "incident": "i", "what": "opened", **body}
    with pytest.raises(UnreadableMessageError):
        await bot.app.queue.dispatch(json.dumps(whole).encode())


async def test_a_notice_of_an_incident_that_is_gone_is_dropped(chats: JobChats) -> None:
    bot = chats.bot()
    await ChatNotifier(bot.queue).put(JobNotice(id="n", incident="none", what="opened"))
    await handle_all(bot)
    assert bot.connector.calls == []


async def test_the_card_is_in_the_language_of_who_began_to_watch(chats: JobChats) -> None:
    bot = chats.bot()
    await say(bot, BOB, "/watch nightly_etl", locale="de-DE")
    await tell(bot, chats.incident())
    shown = cards(bot)[0].activity["attachments"][0]["content"]["fallbackText"]
    assert "Buttons cannot be shown here" not in shown
    assert "nightly_etl" in shown
