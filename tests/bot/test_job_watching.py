"""`/watch`, `/unwatch` and `/jobs`, through the endpoint, before a stand-in of the Jobs API."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.bot.connector.send_errors import ThrottledError
from app.databricks.jobs_api import JobsApi
from app.databricks.workspace_users import WorkspaceUser, WorkspaceUsers
from app.jobs.incidents.incident import IncidentState
from app.jobs.job_policy import Person
from tests.bot.job_chats import (
    CHANNEL,
    GROUP,
    PERSONAL,
    JobChats,
    cards,
    handle_all,
    incidents_of,
    job_chats,
    member,
    say,
    tell,
    unhurried,
)
from tests.jobs.chat.sample_incidents import ANN, BOB, TENANT

STRANGER = Person(TENANT, "e0000000-0000-4000-8000-00000000000e", "Eve", "eve@example.com")
DONE = "Done. I will post here when **nightly_etl** fails."


@pytest.fixture
async def chats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[JobChats]:
    unhurried(monkeypatch)
    async with job_chats(tmp_path, viewers=("Bob@Example.com",)) as made:
        made.policy = replace(made.policy, owners=())
        yield made


async def test_who_may_view_a_job_watches_it_by_name_or_id_and_is_told_of_its_failures(chats: JobChats) -> None:
    bot = chats.bot()
    assert await say(bot, BOB, "/watch NIGHTLY_ETL") == DONE
    assert "already" in await say(bot, BOB, f"/watch {chats.job_id}")
    await tell(bot, chats.incident())
    (card,) = cards(bot)
    assert card.conversation_id == GROUP["id"]
    assert "**nightly_etl** fails" not in card.text
    assert card.text.startswith("**nightly_etl failed.**")


async def test_what_failed_before_anybody_watched_comes_with_the_watch_once(
    chats: JobChats, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.jobs.chat.job_command._AFTER_THE_ANSWER_SECONDS", 0.0)
    bot = chats.bot()
    await incidents_of(bot).create(chats.incident())
    for _ in range(2):
        await say(bot, BOB, "/watch nightly_etl")
        await handle_all(bot)
    (card,) = cards(bot)
    assert card.text.startswith("**nightly_etl failed.**")


async def test_unwatching_ends_it_by_name_or_id_for_this_chat_alone(chats: JobChats) -> None:
    bot = chats.bot()
    for conversation in (GROUP, {**CHANNEL, "id": f"{CHANNEL['id']};messageid=77"}, PERSONAL):
        await say(bot, BOB, "/watch nightly_etl", conversation)
    assert "no longer" in await say(bot, ANN, "/unwatch Nightly_ETL", GROUP)
    assert "no longer" in await say(bot, BOB, f"/unwatch {chats.job_id}", PERSONAL)
    assert "does not watch **nightly_etl**" in await say(bot, BOB, "/unwatch nightly_etl", GROUP)
    await tell(bot, chats.incident())
    assert [card.conversation_id for card in cards(bot)] == [CHANNEL["id"]]


async def test_policy_names_viewers_besides_those_of_the_workspace(chats: JobChats) -> None:
    bot = chats.bot()
    bot.connector.members.append(member(STRANGER))
    assert "I found no job **nightly_etl** that you may see" in await say(bot, STRANGER, "/watch nightly_etl")
    chats.policy = replace(chats.policy, viewers=(STRANGER,))
    assert await say(bot, STRANGER, "/watch nightly_etl") == DONE


@pytest.mark.parametrize("words", ["no_such_job", "999", "9" * 40, "²", "x" * 5_000])
async def test_a_job_that_is_not_there_is_answered_like_one_that_may_not_be_seen(chats: JobChats, words: str) -> None:
    bot = chats.bot()
    assert "that you may see" in await say(bot, BOB, f"/watch {words}")


async def test_a_job_that_the_bot_may_not_see_does_not_exist(chats: JobChats) -> None:
    hidden = chats.jobs.add(name="payroll", is_hidden=True, viewers=("bob@example.com",))
    bot = chats.bot()
    assert "that you may see" in await say(bot, BOB, f"/watch {hidden}")


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"userRole": "guest"}, "Guests cannot see jobs."),
        ({"userRole": "anonymous"}, "Guests cannot see jobs."),
        ({"tenantId": "another"}, "Guests cannot see jobs."),
        ({"userPrincipalName": "bob_contoso.com#EXT#@example.com"}, "Guests cannot see jobs."),
        ({"aadObjectId": "somebody else"}, "I cannot tell who you are here"),
        ({"id": "29:other", "aadObjectId": "other"}, "I cannot tell who you are here"),
    ],
)
async def test_guests_and_people_whom_nobody_knows_watch_nothing_even_if_the_policy_names_them(
    chats: JobChats, told: dict[str, Any], said: str
) -> None:
    chats.policy = replace(chats.policy, viewers=(BOB,), approvers=(BOB,))
    bot = chats.bot()
    bot.connector.members = [member(BOB, **told)]
    assert said in await say(bot, BOB, "/watch nightly_etl")
    assert "watches no job" in await say(bot, BOB, "/jobs")


async def test_whom_the_channel_does_not_name_is_asked_to_come_to_teams(chats: JobChats) -> None:
    bot = chats.bot()
    said = await say(bot, BOB, "/watch nightly_etl", **{"from": {"id": "29:b", "name": "Bob"}})
    assert "I cannot tell who you are here" in said


async def test_groups_of_the_workspace_count(chats: JobChats, monkeypatch: pytest.MonkeyPatch) -> None:
    async def permissions(_: object, __: int) -> dict[str, Any]:
        levels = [{"permission_level": "CAN_MANAGE_RUN"}]
        return {"access_control_list": [{"group_name": "data", "all_permissions": levels}]}

    async def find(_: object, user_names: tuple[str, ...]) -> WorkspaceUser | None:
        return WorkspaceUser(user_names[0], frozenset({"data"} if "ann" in user_names[0] else {"sales"}))

    monkeypatch.setattr(JobsApi, "permissions", permissions)
    monkeypatch.setattr(WorkspaceUsers, "find", find)
    bot = chats.bot()
    assert await say(bot, ANN, "/watch nightly_etl") == DONE
    assert "that you may see" in await say(bot, BOB, "/watch nightly_etl", PERSONAL)


async def test_a_channel_that_does_not_tell_who_somebody_is_is_said_so(
    chats: JobChats, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def member(*_: Any, **__: Any) -> Any:
        raise ThrottledError("429")

    monkeypatch.setattr("app.bot.connector.connector_client.ConnectorClient.member", member)
    bot = chats.bot()
    assert "did not tell me who you are" in await say(bot, BOB, "/watch nightly_etl")


@pytest.mark.parametrize("call", ["list", "permissions"])
async def test_a_workspace_that_does_not_answer_is_said_so(chats: JobChats, call: str) -> None:
    bot = chats.bot()
    chats.jobs.stand_in.faults[call] += ["unavailable"] * 9
    assert "Databricks did not answer" in await say(bot, BOB, "/watch nightly_etl")


async def test_of_several_jobs_of_one_name_buttons_ask_which(chats: JobChats) -> None:
    other = chats.jobs.add(name="Nightly_ETL", viewers=("bob@example.com",))
    chats.jobs.add(name="nightly_etl", viewers=())
    bot = chats.bot()
    assert "several jobs" in await say(bot, BOB, "/watch nightly_etl")
    (drawn,) = bot.connector.calls[-1].activity["attachments"]
    asked = [action["data"]["question"] for action in drawn["content"]["actions"]]
    assert sorted(asked) == [f"/watch {chats.job_id}", f"/watch {other}"]


async def test_a_job_name_that_is_markdown_is_shown_as_it_is(chats: JobChats) -> None:
    name = "**[x](https://evil.example)** <at>all</at>"
    job_id = chats.jobs.add(name=name, viewers=("bob@example.com",))
    bot = chats.bot()
    said = [await say(bot, BOB, f"/watch {job_id}"), await say(bot, BOB, f"/unwatch {job_id}")]
    assert all("\\*\\*\\[x\\](https" in text and "<at>" not in text for text in said)


async def test_jobs_lists_what_the_chat_watches_and_what_is_open(chats: JobChats) -> None:
    bot = chats.bot()
    assert "watches no job" in await say(bot, BOB, "/jobs")
    assert "**/watch** and the name" in await say(bot, BOB, "/watch")
    chats.jobs.add(name="hourly_ingest", viewers=("bob@example.com",))
    await say(bot, BOB, "/watch nightly_etl")
    await say(bot, BOB, "/watch hourly_ingest")
    await incidents_of(bot).create(chats.incident())
    closed = chats.incident(id="closed", error_fingerprint="f2", state=IncidentState.CLOSED)
    await incidents_of(bot).create(closed)
    await say(bot, BOB, "/jobs")
    shown = str(bot.connector.calls[-1].activity["attachments"])
    assert "hourly" in shown
    assert "No open failures" in shown
    assert "Waiting for a decision" in shown
    assert shown.count("ran out of memory") == 2, "on the card, and in what stands for it in a notification"
    assert "/unwatch" in shown


async def test_a_chat_watches_so_many_jobs_and_no_more(chats: JobChats, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.jobs.chat.watches.MAX_WATCHES", 1)
    chats.jobs.add(name="other", viewers=("bob@example.com",))
    bot = chats.bot()
    await say(bot, BOB, "/watch nightly_etl")
    assert "which is the limit" in await say(bot, BOB, "/watch other")
    assert await say(bot, BOB, "/watch nightly_etl", PERSONAL) == DONE


async def test_nobody_watches_in_what_one_person_of_a_group_sees_alone(chats: JobChats) -> None:
    bot = chats.bot()
    targeted = {"recipient": {"id": "28:bot", "name": "Bricks", "isTargeted": True}}
    assert "cannot post here" in await say(bot, BOB, "/watch nightly_etl", **targeted)


async def test_forgetting_a_chat_and_removing_the_app_end_its_watches(chats: JobChats) -> None:
    bot = chats.bot()
    for conversation in (GROUP, PERSONAL):
        await say(bot, BOB, "/watch nightly_etl", conversation)
    await say(bot, BOB, "/forget", PERSONAL)
    await tell(bot, chats.incident())
    assert [card.conversation_id for card in cards(bot)] == [GROUP["id"]]


async def test_forgetting_a_thread_of_a_channel_keeps_the_channels_watches(chats: JobChats) -> None:
    bot = chats.bot()
    thread = {**CHANNEL, "id": f"{CHANNEL['id']};messageid=77"}
    await say(bot, BOB, "/watch nightly_etl", thread)
    await say(bot, BOB, "/forget", thread)
    await tell(bot, chats.incident())
    assert [card.conversation_id for card in cards(bot)] == [CHANNEL["id"]], "a message of its own, in no thread"


async def test_help_tells_of_watching_where_jobs_are_watched(chats: JobChats) -> None:
    bot = chats.bot()
    assert "/watch" in await say(bot, BOB, "/help")
    assert "Did you mean **/watch**" in await say(bot, BOB, "/wacth")
    await handle_all(bot)
