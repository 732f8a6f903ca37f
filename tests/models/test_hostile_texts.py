"""What an endpoint says costs time in proportion to its length, and reaches no log unchecked."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from app.common.log_text import one_line, quoted
from app.databricks.workspace_url import WorkspaceUrl
from app.models.error_bodies import without_markup
from app.models.error_replies import ErrorReply, failure_of_payload, failure_of_reply, field_names
from app.models.model_errors import ContentFilteredError
from app.models.repeated_text import RepeatedText
from app.models.visible_text import VisibleText

LENGTH = 100_000
SECONDS = 0.05
SEEDS = (
    *("a", " ", "-", ".", "<", "{", "'", "0", "é", "\n", "\t", "[", "a.", "a-", "(", "https://"),
    *("eyJ", "eyJ-", "eyJ.", "eyJa.b", "bearer ", "bearer\t", "dapi0", "dapi0123456789abcdef", "<script", "<script>"),
    *("<style>x", "</script", "exceed", "exceed the max", "exceeds the limit of ", "not ", "doesn't ", "is still "),
    *("tool ", "tool_", "role ", "max_tokens ", "streaming ", "ip access ", "log-", "oauth", "token is "),
)
HOSTILE = [(seed * LENGTH)[:LENGTH] for seed in SEEDS]


def seconds_of(work: Callable[[], object]) -> float:
    """The least of three: other work on the machine is not the text's fault."""
    taken = []
    for _ in range(3):
        before = time.thread_time()
        work()
        taken.append(time.thread_time() - before)
        if taken[-1] < SECONDS:
            break
    return min(taken)


def fed(text: VisibleText | RepeatedText, whole: str) -> None:
    for at in range(0, len(whole), 100):
        text.add(whole[at : at + 100])
    text.end_message()


def repeating(whole: str) -> RepeatedText:
    text = RepeatedText()
    text.add(whole)
    text.tool_called()
    return text


@pytest.mark.parametrize(
    "read",
    [
        quoted,
        one_line,
        without_markup,
        lambda text: failure_of_reply(ErrorReply(400, text, retry_after=text, location=text)),
        lambda text: failure_of_reply(ErrorReply(302, text, location=text)),
        lambda text: failure_of_reply(ErrorReply(400, json.dumps({"message": text, "param": text}))),
        lambda text: failure_of_payload({"error": {"message": text, "code": text, "param": text, "loc": [text]}}),
        lambda text: fed(VisibleText(drops_names=True), text),
        lambda text: fed(repeating(text), text),
    ],
)
def test_no_text_of_an_endpoint_blocks_the_event_loop(read: Callable[[str], object]) -> None:
    for text in HOSTILE:
        assert seconds_of(lambda text=text: read(text)) < SECONDS, text[:20]  # type: ignore[misc]


def test_no_base_url_takes_long_to_parse() -> None:
    for text in HOSTILE:
        assert seconds_of(lambda text=text: _parsed(text)) < SECONDS, text[:20]  # type: ignore[misc]


def _parsed(text: str) -> object:
    try:
        return WorkspaceUrl.parse(text)
    except ValueError:
        return None


ESCAPES = "\x1b]0;owned\x07\x1b[2J\r\nINFO forged line\u202e\u2066"


@pytest.mark.parametrize(
    "body",
    [
        {"error_code": ESCAPES, "message": ESCAPES},
        {"error": {"code": f"rate_limit_exceeded{ESCAPES}", "message": ESCAPES}},
        {
            "finishReason": "input_guardrail_triggered",
            "input_guardrail": [{"categories": {ESCAPES: True, "hate": True}}],
        },
        {
            "code": "content_filter",
            "content_filter_result": {ESCAPES: {"filtered": True}, "x" * 9000: {"filtered": True}},
        },
        {ESCAPES: 1},
    ],
)
def test_what_reaches_a_log_or_a_person_is_short_and_printable(body: dict[str, Any]) -> None:
    for failure in (
        failure_of_reply(ErrorReply(400, json.dumps(body))),
        failure_of_reply(ErrorReply(302, "", location=ESCAPES)),
        failure_of_payload(body),
    ):
        for said in (str(failure), failure.detail, *getattr(failure, "categories", ())):
            assert said.isprintable()
            assert len(said) < 2000
            assert "forged line" not in said or said == failure.detail or "redirected" in said
    assert field_names(body).isprintable()


def test_an_ordinary_category_keeps_its_name() -> None:
    body = {
        "finishReason": "input_guardrail_triggered",
        "input_guardrail": [{"categories": ["self-harm", "Hate (mild)"]}],
    }
    filtered = failure_of_reply(ErrorReply(400, json.dumps(body)))
    assert isinstance(filtered, ContentFilteredError)
    assert filtered.categories == ("self-harm", "Hate (mild)")
