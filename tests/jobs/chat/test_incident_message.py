"""The message about an incident, to the letter. UPDATE_GOLDEN=1 writes the files anew: read them."""

from __future__ import annotations

import json

import pytest
from markdown_it import MarkdownIt

from app.bot.channel import CARD_LIMIT_UTF16
from app.bot.rendering.adaptive_card import adaptive_card
from app.bot.rendering.block_markdown import markdown
from app.bot.rendering.markdown import render, utf16_units
from app.content.blocks import Actions, Forms
from app.jobs.chat.incident_message import headline, incident_blocks, said_of
from app.jobs.incidents.incident import Incident, IncidentState
from app.messaging.job_messages import JOB_VERBS
from app.translation import ENGLISH, translator_for
from tests.fakes.golden import assert_golden, assert_golden_json
from tests.jobs.chat.sample_incidents import (
    ANN,
    BOB,
    INCIDENT,
    NOW,
    POLICY,
    PROPOSAL,
    RUN,
    an_incident,
    hostile_incident,
)

CASES = {
    "proposed": INCIDENT,
    "escalated": an_incident(state=IncidentState.ESCALATED, decided_by=ANN, acknowledged_by=BOB, note="Disk is full"),
    "observed": an_incident(state=IncidentState.OPEN, proposal=None),
    "recovered": an_incident(state=IncidentState.RECOVERED, decided_by=ANN, run_count=3),
    "late": an_incident(kind="late", state=IncidentState.OPEN, proposal=None),
    "hostile": hostile_incident(),
}


@pytest.mark.parametrize("name", CASES)
def test_an_incident_is_shown_as_it_was(name: str) -> None:
    incident = CASES[name]
    blocks = incident_blocks(incident, POLICY, ENGLISH)
    assert_golden(f"job_chat/{name}.md", render(headline(incident, ENGLISH)) + "\n")
    assert_golden_json(f"job_chat/{name}.card.json", adaptive_card(blocks, ENGLISH))


def kinds_in(text: str) -> set[str]:
    """Of what a reader of Markdown finds beside plain words."""
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    found = {token.type for token in tokens}
    return found | {child.type for token in tokens for child in token.children or []}


def test_nothing_that_comes_from_outside_is_read_as_markdown() -> None:
    incident = hostile_incident()
    said = [said_of(kind, incident, incident.note, ENGLISH) for kind in ("proposed", "decided", "recovered", "changed")]
    plain = {"paragraph_open", "paragraph_close", "inline", "text", "text_special", "softbreak"}
    for text in said:
        assert kinds_in(render(text)) <= plain | {"strong_open", "strong_close"}
    assert kinds_in(render(headline(incident, ENGLISH))) <= plain | {
        *("strong_open", "strong_close", "link_open", "link_close"),
    }
    card = adaptive_card(incident_blocks(incident, POLICY, ENGLISH), ENGLISH)
    assert card is not None
    for element in card["body"]:
        for shown in [element.get("text", ""), *(fact["value"] for fact in element.get("facts", []))]:
            assert kinds_in(shown) <= plain
    assert "\u202e" not in json.dumps(card, ensure_ascii=False)


def test_a_secret_in_a_parameter_or_an_error_is_shown_to_nobody() -> None:
    shown = json.dumps(adaptive_card(incident_blocks(INCIDENT, POLICY, ENGLISH), ENGLISH))
    assert "0123456789abcdef" not in shown
    assert "api_key" in shown


@pytest.mark.parametrize("state", IncidentState)
def test_a_card_has_the_buttons_of_what_may_be_decided_now(state: IncidentState) -> None:
    incident = an_incident(state=state)
    blocks = incident_blocks(incident, POLICY, ENGLISH)
    verbs = {action.verb for block in blocks if isinstance(block, Actions) for action in block.actions}
    verbs |= {form.action.verb for block in blocks if isinstance(block, Forms) for form in block.forms}
    expected = {
        IncidentState.PROPOSED: {*JOB_VERBS},
        IncidentState.OPEN: {"escalate_job", "skip_job", "snooze_job", "acknowledge_job"},
        IncidentState.DELAYED: {"escalate_job", "skip_job", "snooze_job", "acknowledge_job"},
        IncidentState.ESCALATED: {"skip_job", "snooze_job", "acknowledge_job"},
        IncidentState.APPROVED: {"acknowledge_job"},
        IncidentState.RETRYING: {"acknowledge_job"},
    }
    assert verbs == expected.get(state, set()) | {"wrong_job_diagnosis"}


def test_buttons_carry_ids_alone_and_what_decides_one_proposal_has_its_id() -> None:
    blocks = incident_blocks(INCIDENT, POLICY, ENGLISH)
    actions = [(block.id, action) for block in blocks if isinstance(block, Actions) for action in block.actions]
    actions += [(form.id, form.action) for block in blocks if isinstance(block, Forms) for form in block.forms]
    assert {tuple(action.data.items()) for _, action in actions} == {(("incident", INCIDENT.id),)}
    decided = {action.verb for id, action in actions if id == "p-4711"}
    assert decided == {"approve_job_retry", "change_job_retry", "escalate_job", "skip_job"}


def test_a_card_of_the_largest_incident_is_small_enough_and_keeps_its_buttons() -> None:
    long: Incident = hostile_incident().model_copy(update={"note": "ö" * 10_000, "run_count": 10**9})
    card = adaptive_card(incident_blocks(long, POLICY, translator_for("de")), translator_for("de"))
    assert card is not None
    assert utf16_units(json.dumps(card, ensure_ascii=False)) <= CARD_LIMIT_UTF16
    assert len(card["actions"]) == 4


def test_a_channel_without_cards_is_told_the_same_in_words() -> None:
    text = "\n\n".join(markdown(block, ENGLISH) for block in incident_blocks(INCIDENT, POLICY, ENGLISH))
    for words in ("Java heap space", "500 → 100", "The data has grown.", "Approve", "Change parameters"):
        assert words in text


def test_a_retry_of_several_runs_names_them() -> None:
    runs = tuple(
        RUN.model_copy(update={"run_id": 70 + n, "key": f"{n}", "job_name": f"job_{n}", "may_retry": n != 2})
        for n in range(9)
    )
    retry = PROPOSAL.model_copy(update={"action": "RETRY", "parameters": {}})
    incident = an_incident(runs=runs, run_count=9, proposal=retry)
    shown = str(incident_blocks(incident, POLICY, ENGLISH)[0])
    assert "job_0 (70), job_1 (71), job_3 (73), job_4 (74), job_5 (75), +3" in shown
    assert "Runs to retry" not in str(incident_blocks(an_incident(proposal=retry), POLICY, ENGLISH)[0])


@pytest.mark.parametrize(("by_press", "said"), [(True, "Ann Approver escalated it."), (False, "I escalated it.")])
def test_who_approved_a_retry_did_not_escalate_what_came_of_it(by_press: bool, said: str) -> None:
    escalated = an_incident(state=IncidentState.ESCALATED, decided_by=ANN)
    assert said_of("escalated", escalated, "", ENGLISH, by_press=by_press) == said
    assert "Decided by" in str(incident_blocks(escalated, POLICY, ENGLISH)[0])


def test_a_time_that_no_clock_shows_is_left_out() -> None:
    far = an_incident(snoozed_until_seconds=1e300, opened_at_seconds=NOW)
    assert adaptive_card(incident_blocks(far, POLICY, ENGLISH), ENGLISH) is not None
