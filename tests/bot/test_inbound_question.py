"""What a question is, for the ledger, for the memory and for another worker."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botbuilder.schema import Activity

from app.agent.turn import EmptyReason, Quotation
from app.bot.inbound.activity import parse_activity
from app.bot.inbound.conversation_key import conversation_of
from app.bot.inbound.inbound_question import InboundQuestion, turn_id_of
from app.common.caller import Caller

QUOTED = {"type": "quotedReply", "quotedReply": {"preview": "It failed.", "senderName": "Bob"}}


def activity(**fields: Any) -> Activity:
    message = {
        "type": "message",
        "id": "1",
        "channelId": "msteams",
        "serviceUrl": "https://smba.trafficmanager.net/emea/",
        "from": {"id": "29:ann"},
        "recipient": {"id": "28:bot"},
        "conversation": {"id": "19:x;messageid=7", "conversationType": "channel", "tenantId": "t"},
        **fields,
    }
    return parse_activity(json.dumps(message).encode())


def html(text: str) -> list[dict[str, str]]:
    return [{"contentType": "text/html", "content": text}]


def test_a_quotation_goes_with_the_question_to_another_worker() -> None:
    asked = InboundQuestion.model_validate_json(
        InboundQuestion.of(activity(text="why?", entities=[QUOTED])).model_dump_json()
    )
    turn = asked.turn("1", conversation_of(activity()))

    assert turn.quotations == (Quotation("It failed.", "Bob"),)
    assert turn.prompt.endswith("> It failed.\n\nwhy?")


def test_the_reason_for_an_empty_question_goes_to_another_worker_too() -> None:
    asked = InboundQuestion.model_validate_json(InboundQuestion.of(activity(value={"choice": 1})).model_dump_json())

    assert asked.turn("1", conversation_of(activity())).empty_reason is EmptyReason.CARD


ANN = {"id": "29:ann", "aadObjectId": "a1", "name": "Ann"}


@pytest.mark.parametrize(
    ("channel_id", "person", "caller"),
    [
        ("msteams", ANN, Caller("t", "29:ann", "a1", "Ann")),
        ("msteams:COPILOT", ANN, Caller("t", "29:ann", "a1", "Ann")),
        # A client of Direct Line writes these fields itself.
        ("directline", ANN, Caller("t", "29:ann", "", "Ann")),
        ("msteams", {"id": "29:ann", "name": "x" * 5000}, Caller("t", "29:ann", "", "x" * 200)),
    ],
)
def test_a_resumed_turn_knows_who_asked(channel_id: str, person: dict[str, str], caller: Caller) -> None:
    asked = InboundQuestion.of(activity(text="why?", channelId=channel_id, **{"from": person}))
    resumed = InboundQuestion.model_validate_json(asked.model_dump_json())

    assert resumed.turn("1", conversation_of(activity())).caller == caller


def test_a_caller_whom_the_channel_does_not_name_is_unknown() -> None:
    assert InboundQuestion.of(activity(text="why?", **{"from": None})).caller == Caller("t")


def test_what_an_earlier_version_wrote_can_still_be_read() -> None:
    written = json.loads(InboundQuestion.of(activity(text="why?")).model_dump_json())
    del written["quotations"], written["empty_reason"]

    assert InboundQuestion.model_validate(written).turn("1", conversation_of(activity())).prompt == "why?"


def test_targeted_messages_of_each_person_are_a_conversation_of_their_own() -> None:
    unseen = {"id": "28:bot", "isTargeted": True}
    keys = [
        conversation_of(activity()),
        conversation_of(activity(recipient=unseen)),
        conversation_of(activity(recipient=unseen, **{"from": {"id": "29:bob"}})),
    ]

    assert len(set(keys)) == 3
    assert len({(key.tenant, key.conversation) for key in keys}) == 1, "removal of the app deletes them all"


@pytest.mark.parametrize("changed", [{"text": "b"}, {"text": "", "attachments": html("<p>b</p>")}])
def test_another_text_is_another_question_and_the_same_is_a_repeat(changed: dict[str, Any]) -> None:
    first = {"text": "a"} if changed["text"] else {"text": "", "attachments": html("<p>a</p>")}

    assert turn_id_of(activity(**first)) == turn_id_of(activity(**first))
    assert turn_id_of(activity(**first)) != turn_id_of(activity(**changed))
