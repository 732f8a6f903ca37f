"""From a failed run to a green one: a pass finds it, a chat is asked, a press repairs it, its thread is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from app.jobs.chat.job_notice import ChatNotifier
from app.jobs.decisions.decision import Decision
from app.jobs.decisions.similar_incident import SimilarIncident
from app.jobs.history.decision_records import DecisionRecords
from app.jobs.job_policy import JobPolicy, WatchMode
from app.jobs.repairs.job_repairs import JobRepairs
from app.jobs.runs.run_evidence import RunEvidence
from app.jobs.runs.run_failure import RunFailure
from app.jobs.runs.run_watch import RunWatch
from app.jobs.watching.failure_reader import FailureReader, Strategies
from app.jobs.watching.incident_retries import IncidentRetries
from app.jobs.watching.job_watch import JobWatch
from app.local.job_plans import SUCCESS, Attempt, Outcome, TaskPlan, failure
from tests.bot.job_chats import (
    CHANNEL,
    WORKSPACE,
    JobChats,
    buttons,
    cards,
    handle_all,
    id_of,
    incidents_of,
    press,
    replies,
    say,
)
from tests.fakes.bots import Bot
from tests.jobs.chat.sample_incidents import ANN, BOB, DECISION


class SmallerBatches:
    """Decides to retry with a batch of 100."""

    model = "scripted"

    def begin_pass(self) -> None:
        pass

    async def decide(self, failure: RunFailure, policy: JobPolicy, similar: Sequence[SimilarIncident] = ()) -> Decision:
        return DECISION


def fits_fifty(attempt: Attempt) -> Outcome:
    """A batch above fifty is too large."""
    return SUCCESS if int(attempt.parameters["batch_size"]) <= 50 else failure("OutOfMemoryError: Java heap space")


@pytest.fixture
def chats(chats: JobChats) -> JobChats:
    task = TaskPlan("load_orders", fits_fifty)
    settings = {"parameters": {"batch_size": "500"}, "viewers": ("bob@example.com",)}
    chats.job_id = chats.jobs.add(task, name="hourly_orders", **settings)
    chats.policy = replace(chats.policy, owners=())
    return chats


def watch_of(bot: Bot, chats: JobChats) -> JobWatch:
    """A pass over the store of the bot, and its handing over of what was approved."""
    documents, api, incidents = bot.documents, chats.jobs.api, incidents_of(bot)
    records = DecisionRecords(documents, workspace=WORKSPACE)

    def clock() -> float:
        return chats.jobs.now

    def policy_of(*_: object) -> JobPolicy:
        return chats.policy

    async def similar_to(_: RunFailure) -> Sequence[SimilarIncident]:
        return ()

    repairs = JobRepairs(api, documents, workspace=WORKSPACE, clock=clock)
    retries = IncidentRetries(repairs, incidents, records, clock=clock)
    reader = FailureReader(
        RunEvidence(api, WORKSPACE),
        Strategies(SmallerBatches()),
        repairs,
        incidents,
        records,
        policy_of,
        similar_to,
        breaker_jobs=10,
        most_mode=WatchMode.APPROVE,
    )
    runs = RunWatch(api, documents, workspace=WORKSPACE, policy_of=policy_of, clock=clock)
    notifiers = [ChatNotifier(bot.queue)]
    watch = JobWatch(
        runs, reader, retries, incidents, records, policy_of, notifiers,
        most_mode=WatchMode.APPROVE, clock=clock, workspace=WORKSPACE,
    )  # fmt: skip
    chats.carry_out = watch.begin_retry
    return watch


async def passes(watch: JobWatch, bot: Bot, chats: JobChats, minutes: float) -> None:
    """Some time later a pass runs, and what it puts on the queue is done."""
    chats.jobs.now += minutes * 60
    chats.now = chats.jobs.now
    await watch.run_pass()
    await handle_all(bot)


async def test_a_failed_run_is_repaired_by_a_press_and_its_thread_says_how_that_ended(chats: JobChats) -> None:
    bot = chats.bot()
    watch = watch_of(bot, chats)
    await say(bot, BOB, "/watch hourly_orders", CHANNEL)
    run = chats.jobs.store.start(chats.job_id)
    await passes(watch, bot, chats, 60)
    (card,) = cards(bot)
    assert "hourly_orders failed" in card.text.replace("\\", "")
    thread = f"{CHANNEL['id']};messageid={id_of(bot, card)}"

    # The approver knows better than what is proposed.
    button = buttons(card)["Retry with these"]
    assert "approved the retry with changed parameters" in await press(bot, ANN, button, CHANNEL, {"parameter_0": "50"})
    assert chats.jobs.stand_in.repairs == []
    await handle_all(bot)
    ((repair),) = chats.jobs.stand_in.repairs
    assert (repair["run_id"], repair["job_parameters"]) == (run.run_id, {"batch_size": "50"})
    await passes(watch, bot, chats, 10)
    await passes(watch, bot, chats, 10)

    assert len(chats.jobs.stand_in.repairs) == 1
    assert [card.method for card in cards(bot)].count("POST") == 1
    assert {call.conversation_id for call in cards(bot)[1:]} == {thread}
    told = replies(bot)
    assert told == [
        "Ann Approver approved: Retry with changed parameters: batch_size: 500 → 50.",
        "**hourly_orders** has recovered.",
    ]
    assert {*buttons(cards(bot)[-1])} == {"Wrong diagnosis"}


async def test_a_retry_that_fails_too_is_told_and_asks_again_or_escalates(chats: JobChats) -> None:
    bot = chats.bot()
    watch = watch_of(bot, chats)
    await say(bot, BOB, "/watch hourly_orders", CHANNEL)
    chats.jobs.store.start(chats.job_id)
    await passes(watch, bot, chats, 60)
    await press(bot, ANN, buttons(cards(bot)[-1])["Approve"], CHANNEL)
    await handle_all(bot)
    for _ in range(3):
        await passes(watch, bot, chats, 10)
    assert [card.method for card in cards(bot)].count("POST") == 1
    assert any("The retry failed, too." in text for text in replies(bot)), replies(bot)
    assert "Approve" not in buttons(cards(bot)[-1])
    assert len(chats.jobs.stand_in.repairs) == 1
