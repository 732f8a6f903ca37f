"""Which ModelError an endpoint's error is. Bodies are Databricks', OpenAI's, a proxy's HTML, or empty.

Errors are shortened before they are searched, and every pattern takes time in proportion to the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

from app.common.json_values import items, mapping, text
from app.common.log_text import name_or_empty, one_line, quoted
from app.models import model_errors
from app.models.error_bodies import MAX_ERROR_CHARACTERS, ErrorBody
from app.models.refused_parameters import refused_parameters
from app.resilience.retry_after import retry_after_seconds

_TOO_LONG = (
    *("context length", "context window", "context_length", "context_window", "maximum context"),
    *("prompt is too long", "input is too long", "too many tokens", "too many input tokens"),
    *("request size", "request too large", "payload size", "payload too large"),
    *("max_total_tokens", "max_seq_len", "max_model_len"),
)
_TOO_MANY_TOKENS = re.compile(r"exceed\w{0,3} (?:the )?(?:max\w{0,8}|model'?s?|limit of)[^.]{0,60}tokens")
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
# Of an error inside a stream, where no status tells it.
_STATUSES = frozenset(map(str, (*range(400, 500), 502, 503, 504)))
_REFUSED_CODES = frozenset(
    {"bad_request", "invalid_parameter_value", "invalid_request_error", "badrequesterror", "invalid_argument"}
)


@dataclass(frozen=True, slots=True)
class ErrorReply:
    """An HTTP answer that is not a success."""

    status: int
    body: str
    retry_after: str | None = None
    location: str | None = None


def failure_of_reply(reply: ErrorReply, *, now: datetime | None = None) -> model_errors.ModelError:
    if 300 <= reply.status < 400:
        return _redirected(reply)
    error = ErrorBody.of_text(reply.body)
    if filtered := _content_filter(error, side="input"):
        return filtered
    status = _status(error, reply.status) if reply.status in (400, 500) else reply.status
    summary = f"HTTP {reply.status} {_code(error)}".rstrip()
    return _failure(status, summary, error, retry_after_seconds(reply.retry_after, now=now))


def failure_of_payload(payload: object) -> model_errors.ModelError:
    """An error inside a stream or a Responses object; StreamInterruptedError where it has no code that is known."""
    error = ErrorBody.of_json(payload)
    if filtered := _content_filter(error, side="output"):
        return filtered
    summary = f"the endpoint reported {_code(error) or 'an error'}"
    return _failure(_status(error, 413 if _is_too_long(error.message) else 0), summary, error, None)


def field_names(body: dict[str, Any]) -> str:
    """The names in an object that is not what was expected, for the log."""
    named = [name for name in map(name_or_empty, list(body)[:5]) if name]
    return f"the fields {', '.join(named)}" if named else "no field that has a name"


def content_filter_categories(nodes: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    """From Azure OpenAI's `content_filter_result(s)`: `{"hate": {"filtered": true, "severity": "high"}}`."""
    found: dict[str, None] = {}
    for node in nodes:
        for key in ("content_filter_result", "content_filter_results"):
            results = mapping(node.get(key)).items()
            found.update(dict.fromkeys(name for name, result in results if mapping(result).get("filtered")))
    return _categories(found)


def _code(error: ErrorBody) -> str:
    return next(filter(None, map(name_or_empty, error.codes)), "")


def _categories(names: Iterable[str]) -> tuple[str, ...]:
    """As people and the log may see them: letters, digits and some punctuation."""
    named = (one_line(name[:60]) for name in islice(names, 20))
    return tuple(name if re.fullmatch(r"[\w .:/&()-]{1,60}", name) else "unnamed category" for name in named)


def _is_too_long(message: str) -> bool:
    lowered = message[:MAX_ERROR_CHARACTERS].lower()
    return any(phrase in lowered for phrase in _TOO_LONG) or _TOO_MANY_TOKENS.search(lowered) is not None


def _status(error: ErrorBody, otherwise: int) -> int:
    for code in map(str.lower, error.codes):
        if known := _STATUS_OF_CODE.get(code):
            return known
        if not otherwise and code in _STATUSES:
            return int(code)
    return otherwise or (400 if _REFUSED_CODES & set(map(str.lower, error.codes)) else 0)


def _failure(status: int, summary: str, error: ErrorBody, wait_seconds: float | None) -> model_errors.ModelError:
    parameters = refused_parameters(error)
    named = (*parameters, *filter(None, map(name_or_empty, error.parameters)))
    failure = _failure_of_status(status, summary, error.message, named[0] if named else "", wait_seconds)
    failure.detail = quoted(error.message)
    failure.parameters = parameters
    return failure


def _failure_of_status(
    status: int, summary: str, message: str, parameter: str, wait_seconds: float | None
) -> model_errors.ModelError:
    if status == 0:
        return model_errors.StreamInterruptedError(summary)
    if status == 401 or (status == 403 and _BAD_TOKEN.search(message)):
        return model_errors.SignInError(summary)
    if status == 403:
        is_blocked = _BLOCKED_ADDRESS.search(message) is not None
        return (model_errors.AddressBlockedError if is_blocked else model_errors.PermissionDeniedError)(summary)
    if status == 404:
        is_starting = _NOT_READY.search(message) is not None
        return (model_errors.EndpointUnavailableError if is_starting else model_errors.UnknownModelError)(summary)
    if status == 413 or (status in (400, 422) and _is_too_long(message)):
        return model_errors.ConversationTooLongError(summary)
    if status == 429:
        return model_errors.RateLimitedError(summary, retry_after_seconds=wait_seconds)
    if status == 408:
        return model_errors.ModelTimeoutError(summary)
    if status in (502, 503, 504):
        return model_errors.EndpointUnavailableError(summary, retry_after_seconds=wait_seconds)
    refused = model_errors.EndpointFailedError if status >= 500 else model_errors.RequestRefusedError
    return refused(f"{summary}: it refuses {parameter}" if parameter else summary)


def _redirected(reply: ErrorReply) -> model_errors.ModelError:
    target = quoted((reply.location or "nowhere").partition("?")[0])
    summary = f"HTTP {reply.status}: redirected to {target}"
    if _LOGIN.search(target):
        return model_errors.SignInError(
            f"{summary}; a Databricks App takes an OAuth token, and no personal access token"
        )
    return model_errors.RequestRefusedError(f"{summary}; is DATABRICKS_BASE_URL the workspace's own address?")


def _content_filter(error: ErrorBody, *, side: str) -> model_errors.ContentFilteredError | None:
    """A guardrail writes JSON with its side into `message`; OpenAI's filter, passed through, names itself in `code`."""
    reasons = {
        reason
        for node in error.nodes
        for key in ("finishReason", "finish_reason", "code", "error_code")
        if (reason := text(node.get(key)))
    }
    for guarded in ("input", "output"):
        if f"{guarded}_guardrail_triggered" in reasons:
            return _filtered(guarded, _guardrail_categories(error, f"{guarded}_guardrail"))
    if reasons & {"content_filter", "ResponsibleAIPolicyViolation"}:
        return _filtered(side, content_filter_categories(error.nodes))
    return None


def _filtered(side: str, categories: tuple[str, ...]) -> model_errors.ContentFilteredError:
    named = ", ".join(categories) or "nothing named"
    return model_errors.ContentFilteredError(f"a guardrail on the {side}: {named}", side=side, categories=categories)


def _guardrail_categories(error: ErrorBody, key: str) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for verdict in (mapping(each) for node in error.nodes for each in items(node.get(key))):
        if verdict.get("flagged") is False:
            continue
        named = verdict.get("categories")
        if isinstance(named, dict):
            found.update(dict.fromkeys(str(name) for name, hit in named.items() if hit))
        found.update(dict.fromkeys(name for name in items(named) if isinstance(name, str)))
        if verdict.get("pii_detection"):
            found["personal data"] = None
    return _categories(found)
