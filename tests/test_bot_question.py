"""The model gets exactly what was typed, without the mention, and nobody's attachment is ignored in silence."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botbuilder.schema import Activity

from app.bot.activity import parse_activity
from app.bot.question import is_for_bot, question_of, unread_attachments


def activity(text: str, **more: Any) -> Activity:
    received = {"type": "message", "text": text, "recipient": {"id": "28:bot"}, **more}
    return parse_activity(json.dumps(received).encode())


def mention(of: str = "28:bot", text: str = "<at>Bricks</at>") -> dict[str, Any]:
    return {"type": "mention", "text": text, "mentioned": {"id": of, "name": "Bricks"}}


@pytest.mark.parametrize("text", ["  two  spaces ", "<at>Bricks</at> typed by hand", "a@b.c", "line\n\nline\t", "ÄÖ😀"])
def test_what_was_typed_is_what_is_asked(text: str) -> None:
    assert question_of(activity(text)) == text


def test_the_mention_of_the_bot_is_taken_out_and_no_other() -> None:
    said = "<at>Bricks</at> ask <at>Ann</at> about <at>Bricks</at>s"
    asked = question_of(activity(said, entities=[mention(), mention("29:ann", "<at>Ann</at>")]))
    assert asked == "ask <at>Ann</at> about <at>Bricks</at>s"


def test_in_a_group_the_bot_answers_only_when_mentioned() -> None:
    assert is_for_bot(activity("<at>Bricks</at> hi", entities=[mention()]), needs_mention=True)
    assert not is_for_bot(activity("hi all"), needs_mention=True)
    assert not is_for_bot(activity("<at>Ann</at>", entities=[mention("29:ann", "<at>Ann</at>")]), needs_mention=True)
    assert is_for_bot(activity("hi"), needs_mention=False)


@pytest.mark.parametrize("entity", [{"type": "mention"}, {"type": "mention", "mentioned": 5, "text": []}])
def test_a_malformed_mention_is_no_mention(entity: dict[str, Any]) -> None:
    assert question_of(activity("hi", entities=[entity])) == "hi"
    assert not is_for_bot(activity("hi", entities=[entity]), needs_mention=True)


def test_attachments_are_named_but_for_the_messages_own_html() -> None:
    attachments = [
        {"contentType": "text/html", "content": "<p>hi</p>"},
        {"contentType": "application/vnd.microsoft.teams.file.download.info", "name": "Q3 report.xlsx"},
        {"contentType": "image/png", "contentUrl": "https://x/y"},
        {"contentType": "application/vnd.microsoft.card.adaptive"},
        {"contentType": "application/pdf"},
    ]
    assert unread_attachments(activity("hi", attachments=attachments)) == (
        "`Q3 report.xlsx`", "an image", "a card", "an attachment without a name",
    )  # fmt: skip


def test_a_name_cannot_smuggle_markdown_into_our_words() -> None:
    names = [{"contentType": "a/b", "name": "`](https://evil)\n# x" + "y" * 500}]
    (name,) = unread_attachments(activity("", attachments=names))
    assert name.startswith("`https://evil x")
    assert len(name) <= 82
    assert "\n" not in name


def test_a_flood_of_attachments_is_counted() -> None:
    names = unread_attachments(activity("", attachments=[{"contentType": "a/b", "name": f"f{n}"} for n in range(40)]))
    assert names[-1] == "and 30 more"
