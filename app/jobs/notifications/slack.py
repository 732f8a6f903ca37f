"""Messages of Slack's incoming webhooks: https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, Final

from app.jobs.notifications.digest import Digest, DigestSection
from app.jobs.notifications.http_notifier import Post, Target
from app.jobs.notifications.incident_message import IncidentMessage

MAX_TEXT_CHARACTERS: Final = 3_000
MAX_BLOCKS: Final = 50
_MAX_FIELDS = 10
_MAX_FIELD_CHARACTERS = 2_000
_LEFT_OUT_CHARACTERS = 40
_SHOWN_ELSEWHERE: Final = {"Cause", "Error"}
# Slack's own escapes, and no others: https://docs.slack.dev/messaging/formatting-message-text#escaping
_ESCAPES: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def slack_target(url: str) -> Target:
    """Raises `ValueError` as `Target` does."""
    return Target(
        "slack",
        url,
        lambda message, now: _post(slack_message(message)),
        render_digest=lambda digest, now: _post(slack_digest(digest)),
    )


def slack_message(message: IncidentMessage) -> dict[str, Any]:
    said = [f"*{mrkdwn(message.title, 300).replace('*', '∗')}*", mrkdwn(message.outcome, 1_200)]
    if message.cause not in message.outcome:
        said.append(mrkdwn(message.cause, 1_000))
    blocks = [section("\n".join(filter(None, said)))]
    facts = [(name, value) for name, value in message.facts if name not in _SHOWN_ELSEWHERE]
    blocks += field_sections(facts)
    if message.error and message.kind in {"opened", "proposed", "escalated", "retry_failed"}:
        # Three backticks would end the code.
        blocks.append(section(f"```\n{mrkdwn(message.error.replace('`', 'ˋ'), MAX_TEXT_CHARACTERS - 10)}\n```"))
    if message.links:
        blocks.append(section("\n".join(link(label, url) for label, url in message.links)))
    return {"text": mrkdwn(f"{message.title} {message.outcome}".strip(), MAX_TEXT_CHARACTERS), "blocks": blocks}


def slack_digest(digest: Digest) -> dict[str, Any]:
    blocks = [section(f"*Job digest of {mrkdwn(digest.workspace, 200)}*\n{mrkdwn(digest.title, 500)}")]
    blocks += [section(_digest_lines(part)) for part in digest.sections]
    return {"text": mrkdwn(digest.title, MAX_TEXT_CHARACTERS), "blocks": blocks}


def mrkdwn(text: str, most: int) -> str:
    """Text in which nothing is a mention, a link or an escape, at most `most` characters long, with whole escapes."""
    shown: list[str] = []
    left = most
    for character in text:
        escaped = _ESCAPES.get(character, character)
        if len(escaped) > left:
            break
        shown.append(escaped)
        left -= len(escaped)
    else:
        return "".join(shown)
    while shown and left < 1:
        left += len(shown.pop())
    return "".join(shown) + "…"


def section(text: str) -> dict[str, Any]:
    """Of text that is escaped, at most `MAX_TEXT_CHARACTERS`."""
    return {"type": "section", "text": _verbatim(text)}


def field_sections(facts: Sequence[tuple[str, str]]) -> Iterable[dict[str, Any]]:
    for start in range(0, len(facts), _MAX_FIELDS):
        shown = [
            _verbatim(f"*{mrkdwn(name, 100)}*\n{mrkdwn(value, _MAX_FIELD_CHARACTERS - 110)}")
            for name, value in facts[start : start + _MAX_FIELDS]
        ]
        yield {"type": "section", "fields": shown}


def link(label: str, url: str) -> str:
    """`url` is one that `clean_url` let pass."""
    shown = mrkdwn(label, 300).replace("|", "∣")
    return f"<{url.replace('&', '&amp;').replace('|', '%7C')}|{shown}>" if url else shown


def _digest_lines(part: DigestSection) -> str:
    lines = [f"*{mrkdwn(part.title, 100)} ({part.count})*"]
    left = MAX_TEXT_CHARACTERS - len(lines[0]) - _LEFT_OUT_CHARACTERS
    shown = 0
    for line in part.lines:
        text = f"• {link(line.job, line.url)}: {mrkdwn(line.text, 400)}"
        left -= len(text) + 1
        if left < 0:
            break
        lines.append(text)
        shown += 1
    return "\n".join(filter(None, (*lines, part.left_out(shown))))


def _post(message: dict[str, Any]) -> Post:
    return Post(json.dumps(message, ensure_ascii=False).encode())


def _verbatim(text: str) -> dict[str, Any]:
    # Else Slack makes links of what looks like a URL or the name of a channel.
    return {"type": "mrkdwn", "text": text, "verbatim": True}
