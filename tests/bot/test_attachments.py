"""Which attachments are files that can be read, as the channels send them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botbuilder.schema import Activity

from app.agent.turn import UnreadReason
from app.agent.user_messages import FILE_WITHOUT_QUESTION
from app.bot.inbound.activity import parse_activity
from app.bot.inbound.attachments import Attachments
from app.bot.inbound.conversation_key import conversation_of
from app.bot.inbound.inbound_question import InboundQuestion, parse_inbound_question
from app.bot.inbound.message_text import read_message
from app.tools.attached_files import AttachedFile

URL = "https://contoso-my.sharepoint.com/personal/ann/_layouts/15/download.aspx?UniqueId=1&tempauth=x"
LOCAL = "http://localhost:5/a"
KIND = "application/vnd.microsoft.teams.file.download.info"
GROUP = {"id": "19:g@thread.v2", "conversationType": "groupChat"}
CHANNEL = {"id": "19:c@thread.tacv2;messageid=1", "conversationType": "channel"}


def file(name: str, url: Any = URL, **more: Any) -> dict[str, Any]:
    content = {"downloadUrl": url, "uniqueId": "1", "fileType": name.rpartition(".")[2], **more}
    return {"contentType": KIND, "contentUrl": "https://contoso-my.sharepoint.com/x", "name": name, "content": content}


def html(text: str) -> dict[str, Any]:
    return {"contentType": "text/html", "content": text}


def message(*attachments: Any, text: str = "What is this?", **more: Any) -> Activity:
    activity = {
        "type": "message",
        "id": "1",
        "channelId": "msteams",
        "serviceUrl": "https://smba.trafficmanager.net/emea/",
        "from": {"id": "29:ann"},
        "recipient": {"id": "28:bot"},
        "conversation": {"id": "a:1", "conversationType": "personal", "tenantId": "t"},
        "text": text,
        "attachments": list(attachments),
        **more,
    }
    return parse_activity(json.dumps(activity).encode())


CSV = AttachedFile("a_b.csv", URL)


@pytest.mark.parametrize(
    ("activity", "read"),
    [
        (message(file("a_b.csv"), html("<p>What is this?</p>")), Attachments((CSV,))),
        (message(file("a.TXT"), file("b.xlsx")), Attachments((AttachedFile("a.TXT", URL),), ("`b.xlsx`",))),
        (message(file("sales", fileType="csv")), Attachments((AttachedFile("sales.csv", URL),))),
        (message(file('q"`\n.csv')), Attachments((AttachedFile("q.csv", URL),))),
        (message(file("x" * 200 + ".csv")), Attachments((AttachedFile("x" * 70 + "…" + "xxxxx.csv", URL),))),
        # As odd as they come: no address, one that is none, one without end.
        (message(file("a.csv", None)), Attachments((), ("`a.csv`",))),
        (message(file("a.csv", 7)), Attachments((), ("`a.csv`",))),
        (message(file("a.csv", "https://x/" + "y" * 5_000)), Attachments((), ("`a.csv`",))),
        (message({**file("a.csv"), "content": "none"}), Attachments((), ("`a.csv`",))),
        (message({"contentType": KIND}), Attachments((), ("an attachment without a name",))),
        (message(file("a.csv", fileType={"a": 1})), Attachments((AttachedFile("a.csv", URL),))),
        (
            message({"contentType": "text/csv", "contentUrl": LOCAL, "name": "a.csv"}, channelId="emulator"),
            Attachments((AttachedFile("a.csv", LOCAL),)),
        ),
        (message(file("a_b.csv"), conversation=GROUP), Attachments((), ("`ab.csv`",), UnreadReason.NOT_ONE_TO_ONE)),
        (message(file("b.pdf"), conversation=GROUP), Attachments((), ("`b.pdf`",))),
        (
            message(html('<p>Hi</p><attachment id="1"></attachment>'), conversation=CHANNEL),
            Attachments((), ("a file",), UnreadReason.NOT_ONE_TO_ONE),
        ),
        (
            message(
                html('<attachment id="1"></attachment><p>Hi</p>'),
                {"id": "1", "contentType": "messageReference", "content": '{"messagePreview": "Hm."}'},
                conversation=GROUP,
            ),
            Attachments(),
        ),
    ],
)  # fmt: skip
def test_files_that_can_be_read_are_told_from_what_cannot(activity: Activity, read: Attachments) -> None:
    assert read_message(activity).attachments == read


def test_of_many_files_the_first_are_read_and_the_others_named() -> None:
    read = read_message(message(*(file(f"{number}.csv") for number in range(12)))).attachments
    assert (len(read.files), read.unread) == (10, ("`10.csv`", "`11.csv`"))


def test_a_file_goes_with_the_question_to_another_worker_and_may_stand_alone() -> None:
    activity = message(file("a_b.csv"), text="")
    question = parse_inbound_question(InboundQuestion.of(activity).model_dump_json())
    turn = question.turn("1", conversation_of(activity))
    assert (turn.files, turn.receives_files) == ((CSV,), True)
    assert turn.prompt == f'Attached file: "a_b.csv"\n\n{FILE_WITHOUT_QUESTION}'


def test_why_a_file_is_not_read_goes_to_another_worker_too() -> None:
    activity = message(file("a.csv"), conversation=GROUP)
    question = parse_inbound_question(InboundQuestion.of(activity).model_dump_json())
    turn = question.turn("1", conversation_of(activity))
    assert (turn.unread_reason, turn.receives_files) == (UnreadReason.NOT_ONE_TO_ONE, False)
