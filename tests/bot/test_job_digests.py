"""The digest of a day in chats that watch jobs, as the bot delivers it."""

from __future__ import annotations

import re
from zoneinfo import ZoneInfo

from app.jobs.chat.chat_digests import ChatDigests
from app.jobs.chat.watches import Watches
from app.jobs.incidents.incident import IncidentState
from app.jobs.notifications.digest import DigestPeriod
from tests.bot.job_chats import CHANNEL, GROUP, WORKSPACE, JobChats, handle_all, say
from tests.jobs.chat.sample_incidents import BOB, NOW, hostile_incident

PERIOD = DigestPeriod(NOW - 3600, NOW + 1, ZoneInfo("Europe/Berlin"))


async def test_each_chat_is_told_once_of_its_own_jobs(chats: JobChats) -> None:
    bot = chats.bot()
    await say(bot, BOB, "/watch nightly_etl", CHANNEL)
    chats.jobs.add(name="other_etl")
    await say(bot, BOB, "/watch other_etl", GROUP)
    before = len(bot.connector.calls)
    digests = ChatDigests(Watches(bot.documents, workspace=WORKSPACE), bot.queue)
    recovered = chats.incident().model_copy(update={"state": IncidentState.RECOVERED, "proposal": None})
    for _ in range(2):
        await digests.put([recovered], [], PERIOD, workspace=WORKSPACE)
    await handle_all(bot)
    (told,) = bot.connector.calls[before:]
    assert (told.method, told.conversation_id) == ("POST", CHANNEL["id"])
    assert told.activity["text"].startswith("**Jobs since 2026-11-27 03:01 (Europe/Berlin): Recovered (1)**")
    assert "**nightly_etl** ([Run](https://adb-123.azuredatabricks.net/jobs/11/runs/70?o=123))" in told.activity["text"]


async def test_names_are_no_markdown_and_a_long_list_is_cut(chats: JobChats) -> None:
    bot = chats.bot()
    await say(bot, BOB, "/watch nightly_etl", GROUP)
    hostile = hostile_incident().model_copy(update={"job_id": chats.incident().job_id})
    many = [hostile.model_copy(update={"id": f"i-{number}"}) for number in range(60)]
    digests = ChatDigests(Watches(bot.documents, workspace=WORKSPACE), bot.queue)
    await digests.put(many, [], PERIOD, workspace=WORKSPACE)
    await handle_all(bot)
    said = bot.messages[-1]
    assert "Waiting for a decision (60)" in said
    assert "… +" in said
    assert re.search(r"(?<!\\)\]\(https://evil", said) is None
    assert "<at>" not in said
    assert len(said) < 8_000
