"""Presses on the card of an incident, through the endpoint: who may, once, and what everybody sees of it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from app.jobs.history.decision_record import DecisionRecord
from app.jobs.history.decision_records import DecisionRecords, record_key
from app.jobs.incidents.incident import Incident, IncidentState
from app.jobs.job_policy import Person
from tests.bot.job_chats import (
    CHANNEL,
    GROUP,
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
    tell,
)
from tests.fakes.bots import Bot
from tests.jobs.chat.sample_incidents import ANN, BOB, PROPOSAL, RUN, TENANT

ADA = Person(TENANT, "d0000000-0000-4000-8000-00000000000d", "Ada", "ada@example.com")


@pytest.fixture
def chats(chats: JobChats) -> JobChats:
    chats.policy = replace(chats.policy, approvers=(ANN, ADA))
    return chats


async def proposed(chats: JobChats, conversation: Any = GROUP) -> tuple[Bot, dict[str, dict[str, Any]]]:
    """A bot in a chat with the card of a proposal, and the buttons on it."""
    bot = chats.bot()
    await say(bot, ANN, "/watch nightly_etl", conversation)
    await tell(bot, chats.incident())
    return bot, buttons(cards(bot)[-1])


async def stored(bot: Bot, chats: JobChats) -> Incident:
    incident = await incidents_of(bot).find(chats.incident().id)
    assert incident is not None
    return incident


async def test_an_approval_is_answered_at_once_carried_out_from_the_queue_and_shown_to_everybody(
    chats: JobChats,
) -> None:
    bot, button = await proposed(chats)
    assert "Ann Approver approved the retry" in await press(bot, ANN, button["Approve"])
    assert chats.carried_out == [], "the press was answered first"
    await handle_all(bot)
    assert chats.carried_out == [chats.incident().id]
    incident = await stored(bot, chats)
    assert (incident.state, incident.decided_by and incident.decided_by.name) == (IncidentState.APPROVED, ANN.name)
    edit = cards(bot)[-1]
    assert (edit.method, edit.activity_id) == ("PUT", id_of(bot, cards(bot)[0]))
    assert "Approve" not in buttons(edit)
    assert replies(bot)[-1] == "Ann Approver approved: Retry with changed parameters: batch_size: 500 → 100."


async def test_twice_at_once_by_two_people_in_two_chats_one_thing_is_done_and_all_read_the_same(
    chats: JobChats,
) -> None:
    bot, other = chats.bot(), chats.bot()
    await say(bot, ANN, "/watch nightly_etl", GROUP)
    await say(bot, ANN, "/watch nightly_etl", CHANNEL)
    await tell(bot, chats.incident())
    first, second = (buttons(card) for card in cards(bot))
    said = await asyncio.gather(
        press(bot, ANN, first["Approve"], GROUP),
        press(other, ADA, second["Approve"], CHANNEL),
        press(bot, ANN, first["Approve"], GROUP),
        press(other, ADA, second["Skip"], CHANNEL),
    )
    assert len({*said}) == 1, said
    await handle_all(bot)
    incident = await stored(bot, chats)
    name = incident.decided_by.name if incident.decided_by else ""
    assert name
    assert said[0].startswith(name)
    assert len(chats.carried_out) == (incident.state is IncidentState.APPROVED)
    edits = [card for card in cards(bot) if card.method == "PUT"]
    assert {card.conversation_id.partition(";")[0] for card in edits} == {GROUP["id"], CHANNEL["id"]}
    assert all("Approve" not in buttons(card) for card in edits)


async def test_what_the_queue_delivers_again_is_carried_out_until_it_succeeds_and_told_once(chats: JobChats) -> None:
    failures = [ConnectionError("the workspace is away")]

    async def carry_out(_: str) -> None:
        if failures:
            raise failures.pop()

    chats.carry_out = carry_out
    bot, button = await proposed(chats)
    await press(bot, ANN, button["Approve"])
    (message,) = bot.on_the_queue()
    with pytest.raises(ConnectionError):
        await bot.app.queue.dispatch(message)
    for _ in range(2):
        await bot.app.queue.dispatch(message)
    await handle_all(bot)
    assert {*chats.carried_out} == {chats.incident().id}
    assert len([text for text in replies(bot) if "approved" in text]) == 1


@pytest.mark.parametrize(
    "stranger",
    [BOB, Person("another tenant", ANN.entra_object_id, "Ann Approver"), Person(TENANT, "", "Ann Approver")],
)
async def test_who_is_no_approver_gets_a_polite_no_and_an_approver_still_may(chats: JobChats, stranger: Person) -> None:
    bot, button = await proposed(chats)
    data = {"channelData": {"tenant": {"id": stranger.tenant_id}}}
    conversation, inputs = {**GROUP, "tenantId": stranger.tenant_id}, {"parameter_0": "50", "hours": "1"}
    for title in {*button} - {"Wrong diagnosis"}:
        said = await press(bot, stranger, button[title], conversation, inputs, **data)
        assert "not an approver" in said or "cannot accept your decision" in said, (title, said)
    await handle_all(bot)
    assert await stored(bot, chats) == chats.incident()
    for title in ("Snooze now", "Acknowledge now", "Retry with these"):
        assert " not " not in await press(bot, ANN, button[title], inputs=inputs), title


async def test_a_no_names_those_who_may(chats: JobChats) -> None:
    bot, button = await proposed(chats)
    assert "Ann Approver, Ada" in await press(bot, BOB, button["Approve"])
    chats.policy = replace(chats.policy, approvers=())
    assert "JOB_APPROVERS" in await press(bot, ANN, button["Approve"])


async def test_changed_parameters_are_checked_and_then_carried_out_exactly(chats: JobChats) -> None:
    bot, button = await proposed(chats)
    too_many = await press(bot, ANN, button["Retry with these"], inputs={"parameter_0": "9000", "parameter_1": "full"})
    assert "batch_size may not be 9000" in too_many
    none = await press(bot, ANN, button["Retry with these"], inputs={"parameter_0": "500", "parameter_7": "x"})
    assert "No parameter was changed" in none
    assert "did not send what you entered" in await press(bot, ANN, button["Retry with these"], inputs={"hours": "1"})
    await handle_all(bot)
    assert await stored(bot, chats) == chats.incident()
    said = await press(bot, ANN, button["Retry with these"], inputs={"parameter_0": " 50 ", "parameter_1": "new"})
    assert "with changed parameters" in said
    await handle_all(bot)
    incident = await stored(bot, chats)
    assert incident.proposal is not None
    assert incident.proposal.parameters == {"batch_size": "50", "mode": "new"}
    assert chats.carried_out == [incident.id]


async def test_a_client_that_leaves_out_what_was_not_touched_keeps_what_was_proposed(chats: JobChats) -> None:
    bot, button = await proposed(chats)
    await press(bot, ANN, button["Retry with these"], inputs={"parameter_1": "new"})
    await press(bot, ANN, button["Snooze now"])
    await handle_all(bot)
    incident = await stored(bot, chats)
    assert incident.proposal is not None
    assert incident.proposal.parameters == {"batch_size": "100", "mode": "new"}
    assert incident.state is IncidentState.APPROVED


async def test_after_its_time_a_proposal_cannot_be_approved_and_a_press_in_time_counts_though_the_queue_was_slow(
    chats: JobChats,
) -> None:
    bot, button = await proposed(chats)
    expires = PROPOSAL.expires_at_seconds
    chats.now = expires
    assert "expired at 2026-11-27 15:01 UTC" in await press(bot, ANN, button["Approve"])
    chats.now = expires - 1
    assert "approved the retry" in await press(bot, ANN, button["Approve"])
    chats.now = expires + 60
    await handle_all(bot)
    assert chats.carried_out == [chats.incident().id]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"state": IncidentState.APPROVED, "decided_by": BOB}, "Bob has already decided this."),
        ({"state": IncidentState.RECOVERED}, "The job has recovered"),
        ({"state": IncidentState.CLOSED, "proposal": None}, "no longer waiting for a decision"),
        ({"proposal": PROPOSAL.model_copy(update={"id": "p-2"})}, "no longer waiting for a decision"),
    ],
)
async def test_what_happened_meanwhile_is_said_to_who_presses_an_old_card(
    chats: JobChats, changes: dict[str, Any], said: str
) -> None:
    bot, button = await proposed(chats)
    await incidents_of(bot).update(chats.incident().id, lambda incident: incident.model_copy(update=changes))
    for title in ("Approve", "Escalate"):
        assert said in await press(bot, ANN, button[title])
    await handle_all(bot)
    assert chats.carried_out == []


async def test_a_decision_elsewhere_between_the_press_and_the_queue_wins_and_the_chat_is_told(chats: JobChats) -> None:
    bot, button = await proposed(chats)
    assert "approved the retry" in await press(bot, ANN, button["Approve"])
    update = {"state": IncidentState.SKIPPED, "decided_by": BOB}
    await incidents_of(bot).update(chats.incident().id, lambda incident: incident.model_copy(update=update))
    await handle_all(bot)
    assert chats.carried_out == []
    assert replies(bot)[-1] == "Ann Approver pressed a button too late: Bob has already decided this."


async def test_escalating_and_skipping_work_with_and_without_a_proposal(chats: JobChats) -> None:
    bot, button = await proposed(chats)
    assert await press(bot, ANN, button["Escalate"]) == "Ann Approver escalated it."
    await handle_all(bot)
    assert (await stored(bot, chats)).state is IncidentState.ESCALATED
    assert replies(bot)[-1] == "Ann Approver escalated it."
    button = buttons(cards(bot)[-1])
    assert "Escalate" not in button
    assert "skipped it" in await press(bot, ADA, button["Skip"])
    await handle_all(bot)
    assert (await stored(bot, chats)).state is IncidentState.SKIPPED
    assert {*buttons(cards(bot)[-1])} == {"Wrong diagnosis"}
    assert chats.carried_out == []


async def test_a_run_that_takes_too_long_is_canceled_by_the_same_press(chats: JobChats) -> None:
    bot = chats.bot()
    await say(bot, ANN, "/watch nightly_etl")
    cancel = PROPOSAL.model_copy(update={"action": "CANCEL", "parameters": {}})
    await tell(bot, chats.incident(kind="too_long", proposal=cancel))
    (card,) = cards(bot)
    assert card.text.startswith("**nightly_etl has been running too long.**")
    assert {*buttons(card)} == {"Approve", "Escalate", "Skip", "Snooze now", "Acknowledge now"}
    assert "It is being canceled now." in await press(bot, ANN, buttons(card)["Approve"])
    await handle_all(bot)
    assert replies(bot)[-1] == "Ann Approver approved: Cancel the run."
    assert chats.carried_out == [chats.incident().id]


async def test_what_is_open_again_can_be_decided_again(chats: JobChats) -> None:
    bot, button = await proposed(chats)
    store, id = incidents_of(bot), chats.incident().id
    for number in range(2):
        last = PROPOSAL.model_copy(update={"id": f"p-{number}"})
        update = {"state": IncidentState.OPEN, "proposal": last, "decided_by": None}
        await store.update(id, lambda incident, update=update: incident.model_copy(update=update))  # type: ignore[misc]
        await tell(bot, chats.incident(), "expired", f"n-{number}")
        button = buttons(cards(bot)[-1])
        assert "escalated it" in await press(bot, ANN, button["Escalate"])
        await handle_all(bot)
        assert (await stored(bot, chats)).state is IncidentState.ESCALATED


async def test_acknowledging_assigns_and_snoozing_keeps_quiet_and_both_stand_on_the_card(chats: JobChats) -> None:
    bot, button = await proposed(chats)
    inputs = {"assigned_to": "Bob", "note": "Disk\nis *full*" + "x" * 1000}
    assert "Acknowledged" in await press(bot, ANN, button["Acknowledge now"], inputs=inputs)
    assert "Please choose" in await press(bot, ANN, button["Snooze now"], inputs={"hours": "1000000"})
    for inputs in ({"hours": "1"}, {}):
        assert "Snoozed" in await press(bot, ANN, button["Snooze now"], inputs=inputs)
        await handle_all(bot)
    incident = await stored(bot, chats)
    assert incident.acknowledged_by is not None
    assert (incident.assigned_to, incident.note[:14], len(incident.note)) == ("Bob", "Disk is *full*", 300)
    assert incident.snoozed_until_seconds == chats.now + 4 * 3600.0
    assert incident.state is IncidentState.PROPOSED
    shown = str(cards(bot)[-1].activity["attachments"])
    assert "Acknowledged by" in shown
    assert "Snoozed until" in shown
    assert "Approve" in buttons(cards(bot)[-1])


async def test_a_wrong_diagnosis_counts_once_for_each_person_and_stands_in_the_history(chats: JobChats) -> None:
    bot, button = await proposed(chats)
    records, key = DecisionRecords(bot.documents, workspace=WORKSPACE), record_key(RUN.ended_at_seconds, RUN.key)
    record = DecisionRecord(
        key=key, pass_id="p", at="", workspace=WORKSPACE, mode="approve", run_id=70, job_id=11, job_name="nightly_etl",
        decision="RETRY", cause="", reason="", source="model", action="proposed",
    )  # fmt: skip
    await records.add(record)
    assert "Thank you" in await press(bot, BOB, button["Wrong diagnosis"])
    await handle_all(bot)
    assert "already reported" in await press(bot, BOB, button["Wrong diagnosis"])
    await press(bot, ANN, button["Wrong diagnosis"])
    await handle_all(bot)
    assert [person.name for person in (await stored(bot, chats)).wrong_diagnosis_by] == ["Bob", "Ann Approver"]
    found = await records.find(key)
    assert found is not None
    assert found.wrong_diagnosis == 2


@pytest.mark.parametrize(
    "data", [{}, {"incident": "x"}, {"incident": "../" * 300}, {"incident": 5}, {"action_id": "p-4711"}]
)
async def test_a_press_that_was_made_up_decides_nothing(chats: JobChats, data: dict[str, Any]) -> None:
    bot, _ = await proposed(chats)
    assert "nothing left to decide here" in await press(bot, ANN, {"verb": "approve_job_retry", "data": data})
    other = {"verb": "approve_job_retry", "data": {"incident": chats.incident().id, "action_id": "p-1"}}
    assert "no longer waiting" in await press(bot, ANN, other)
    await handle_all(bot)
    assert await stored(bot, chats) == chats.incident()
