"""Whatever people write, what is made of it keeps its form."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote

from hypothesis import given
from hypothesis import strategies as st

from agent_server.identity.request_caller import SignInError, caller_of
from agent_server.page.conversation_export import content_disposition, markdown_export
from agent_server.page.conversations import Conversation, ConversationTurn
from agent_server.responses.conversation_records import MAX_TITLE_CHARACTERS, ConversationRecord, clean_title
from agent_server.settings import AppEnvironment, load_server_settings

HEADER = re.compile(r"attachment; filename=\"([^\"\\\r\n]*)\.md\"; filename\*=UTF-8''([A-Za-z0-9%._~-]+)\.md")
LINES = st.text(st.sampled_from("a# >`*-=|[]()<!\\ \n\r\t\v\u2028\x85\x0c"), max_size=60)


@given(st.text())
def test_a_header_names_the_file_whatever_the_title(title: str) -> None:
    title = title.encode("utf-8", "replace").decode()
    header = HEADER.fullmatch(content_disposition(title, "md"))
    assert header, title
    assert header[0].isascii()
    named = unquote(header[2])
    assert not set(named) & set('/\\:*?"<>|\r\n\0')
    assert named


@given(st.text())
def test_a_title_is_one_short_line(text: str) -> None:
    title = clean_title(text)
    assert len(title) <= MAX_TITLE_CHARACTERS + 2
    assert title == " ".join(title.split())
    assert bool(title) == bool(text[: 4 * MAX_TITLE_CHARACTERS].split())


@given(LINES, LINES, LINES)
def test_no_question_comment_or_title_passes_for_a_part_of_the_export(question: str, comment: str, title: str) -> None:
    feedback: dict[str, Any] = {"value": "up", "comment": comment}
    turn = ConversationTurn("resp_1", question, (), 0.0, {"status": "completed", "output": []}, feedback)
    exported = markdown_export(Conversation(ConversationRecord("conv_1", title, 0.0, 0.0), (turn,)))
    headings = [line for line in re.split(r"\r\n|\n|\r", exported) if re.match(r" {0,3}#", line)]
    asked = ["## Question, "] if question else []
    assert [heading for heading in headings[1:] if heading.startswith("## ")] == [*asked, "## Answer"]
    assert len(headings) == 2 + len(asked)


@given(st.dictionaries(st.sampled_from(("x-forwarded-user", "x-forwarded-email")), st.text(max_size=300)))
def test_any_headers_give_a_caller_who_can_be_shown_or_none(headers: dict[str, str]) -> None:
    try:
        caller = caller_of(headers, load_server_settings({}).server, AppEnvironment("an-app"))
    except SignInError:
        return
    assert caller.owner == headers["x-forwarded-user"].strip()
    assert (caller.owner + caller.email).isprintable()
    assert len(caller.owner) <= 200
