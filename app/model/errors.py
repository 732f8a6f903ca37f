"""Which failure an endpoint's error is. Bodies come as Databricks', OpenAI's, a proxy's HTML, or nothing at all."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from app.model import failures
from app.model.json_values import items, mapping, text

QUOTED_CHARACTERS = 500
_SECRET = re.compile(r"(?i)bearer\s+[^\s\"'<>,]+|\b(?:dapi|dose|dkea)[0-9a-f]{16,}\S*|\beyJ[\w-]+\.[\w-]+(?:\.[\w-]*)?")
_TOO_LONG = re.compile(
    r"(?i)context[ _](?:length|window)|maximum context|prompt is too long|input is too long|too many (?:input )?tokens"
    r"|exceed\w* (?:the )?(?:max\w*|model'?s?|limit of)[^.]{0,60}tokens|(?:request|payload) (?:size|too large)"
    r"|max_(?:total_tokens|seq_len|model_len)"
)
_NOT_READY = re.compile(
    r"(?i)not[ _]ready|provisioning|scaled? to zero|is (?:still )?(?:starting|being created|updating)"
)
_BAD_TOKEN = re.compile(r"(?i)invalid access token|token (?:is|has) expired|invalid token|unable to parse token")
_BLOCKED_ADDRESS = re.compile(r"(?i)ip (?:acl|access list)|source ip address")
_LOGIN = re.compile(r"(?i)log-?in|oauth2?|authorize|signin|saml")
_STATUS_OF_CODE = {
    "unauthenticated": 401,
    "invalid_api_key": 401,
    "permission_denied": 403,
    "resource_does_not_exist": 404,
    "endpoint_not_found": 404,
    "not_found": 404,
    "model_not_found": 404,
    "context_length_exceeded": 413,
    "string_above_max_length": 413,
    "request_limit_exceeded": 429,
    "rate_limit_exceeded": 429,
    "rate_limit_error": 429,
    "resource_exhausted": 429,
    "too_many_requests": 429,
    "temporarily_unavailable": 503,
    "unavailable": 503,
    "overloaded_error": 503,
    "deadline_exceeded": 504,
}


@dataclass(frozen=True, slots=True)
class ErrorReply:
    """An HTTP answer that is not a success."""

    status: int
    body: str
    retry_after: str | None = None
    location: str | None = None


def failure_of_reply(reply: ErrorReply, *, now: datetime | None = None) -> failures.ModelFailure:
    error = _parsed(reply.body)
    code, message = _code_and_message(error, reply.body)
    if 300 <= reply.status < 400:
        return _redirected(reply)
    if filtered := _content_filter(error, message, side="input"):
        return filtered
    status = _STATUS_OF_CODE.get(code.lower(), reply.status) if reply.status in (400, 500) else reply.status
    said = f"HTTP {reply.status} {_name(code)}".rstrip()
    failure = _failure_of_status(status, said, message, retry_after_seconds(reply.retry_after, now=now))
    failure.detail = quoted(message)
    return failure


def failure_of_payload(error: object) -> failures.ModelFailure:
    """An error inside a stream or a Responses object; what has no other name cuts the stream."""
    code, message = _code_and_message(error, error if isinstance(error, str) else "")
    if filtered := _content_filter(error, message, side="output"):
        return filtered
    said = f"the endpoint reported {_name(code) or 'an error'}"
    status = _STATUS_OF_CODE.get(code.lower(), 413 if _TOO_LONG.search(message) else 0)
    failure = _failure_of_status(status, said, message, None) if status else failures.StreamCut(said)
    failure.detail = quoted(message)
    return failure


def retry_after_seconds(value: str | None, *, now: datetime | None = None) -> float | None:
    """Seconds or an HTTP date, RFC 9110 section 10.2.3; None when absent or unreadable."""
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            at = parsedate_to_datetime(value)
        except ValueError:
            return None
        if at.tzinfo is None:
            at = at.replace(tzinfo=UTC)
        seconds = (at - (now or datetime.now(UTC))).total_seconds()
    return max(0.0, seconds) if seconds < 1e9 else None


def quoted(said: str) -> str:
    """Short, on one line, and without anything that looks like a credential."""
    line = " ".join(_SECRET.sub("[secret]", said[: 4 * QUOTED_CHARACTERS]).split())
    return line if len(line) <= QUOTED_CHARACTERS else line[:QUOTED_CHARACTERS] + "…"


def _name(code: str) -> str:
    """An error's code where it looks like one: some proxies put sentences there."""
    return code if re.fullmatch(r"[\w.:-]{1,80}", code) else ""


def _failure_of_status(status: int, said: str, message: str, retry_after: float | None) -> failures.ModelFailure:
    if status == 401 or (status == 403 and _BAD_TOKEN.search(message)):
        return failures.SignInFailed(said)
    if status == 403:
        return failures.AddressBlocked(said) if _BLOCKED_ADDRESS.search(message) else failures.NoPermission(said)
    if status == 404:
        return failures.WakingUp(said) if _NOT_READY.search(message) else failures.UnknownModel(said)
    if status == 413 or (status in (400, 422) and _TOO_LONG.search(message)):
        return failures.ConversationTooLong(said)
    if status == 429:
        return failures.Busy(said, retry_after=retry_after)
    if status == 408:
        return failures.ModelTimedOut(said)
    if status in (502, 503, 504):
        return failures.WakingUp(said, retry_after=retry_after)
    return failures.RequestRefused(said)


def _redirected(reply: ErrorReply) -> failures.ModelFailure:
    target = quoted((reply.location or "nowhere").partition("?")[0])
    said = f"HTTP {reply.status}: redirected to {target}; is DATABRICKS_BASE_URL the workspace's own address?"
    return failures.SignInFailed(said) if _LOGIN.search(target) else failures.RequestRefused(said)


def _parsed(body: str) -> object:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _code_and_message(error: object, fallback: str) -> tuple[str, str]:
    """From `{"error_code", "message"}`, `{"error": {"code", "message"}}` or `{"error": "text"}`."""
    outer = mapping(error)
    inner = mapping(outer.get("error")) or outer
    code = text(inner.get("error_code")) or text(inner.get("code")) or text(inner.get("type"))
    message = text(inner.get("message")) or text(outer.get("error")) or text(outer.get("message")) or fallback
    return code, re.sub(r"(?s)<(script|style).*?</\1>|<[^>]+>", " ", message) if "<" in message else message


def _content_filter(error: object, message: str, *, side: str) -> failures.ContentFiltered | None:
    """A guardrail writes JSON with its side into `message`; OpenAI's filter, passed through, names itself in `code`."""
    start = message.find("{")
    embedded = _parsed(message[start:]) if start >= 0 else None
    nodes = [*_mappings(error), *_mappings(embedded)]
    reasons = {text(node.get(key)) for node in nodes for key in ("finishReason", "finish_reason", "code", "error_code")}
    for guarded in ("input", "output"):
        if f"{guarded}_guardrail_triggered" in reasons:
            return _filtered(guarded, _guardrail_categories(nodes, f"{guarded}_guardrail"))
    if reasons & {"content_filter", "ResponsibleAIPolicyViolation"}:
        return _filtered(side, content_filter_categories(nodes))
    return None


def _filtered(side: str, categories: tuple[str, ...]) -> failures.ContentFiltered:
    named = ", ".join(categories) or "nothing named"
    return failures.ContentFiltered(f"a guardrail on the {side}: {named}", side=side, categories=categories)


def _guardrail_categories(nodes: list[dict[str, Any]], key: str) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for verdict in (mapping(each) for node in nodes for each in items(node.get(key))):
        if verdict.get("flagged") is False:
            continue
        named = verdict.get("categories")
        if isinstance(named, dict):
            found.update(dict.fromkeys(str(name) for name, hit in named.items() if hit))
        found.update(dict.fromkeys(name for name in items(named) if isinstance(name, str)))
        if verdict.get("pii_detection"):
            found["personal data"] = None
    return tuple(quoted(name) for name in found)[:20]


def content_filter_categories(nodes: list[dict[str, Any]]) -> tuple[str, ...]:
    """From Azure OpenAI's `content_filter_result(s)`: `{"hate": {"filtered": true, "severity": "high"}}`."""
    found: dict[str, None] = {}
    for node in nodes:
        for key in ("content_filter_result", "content_filter_results"):
            results = mapping(node.get(key)).items()
            found.update(dict.fromkeys(name for name, result in results if mapping(result).get("filtered")))
    return tuple(quoted(name) for name in found)[:20]


def _mappings(value: object, depth: int = 6) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    if depth and isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _mappings(each, depth - 1)
