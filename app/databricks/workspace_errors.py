"""Why the workspace did not do what it was asked, split by what the caller can do about it."""

from __future__ import annotations

from dataclasses import dataclass

from app.common.http_body import json_object
from app.common.json_values import text
from app.common.log_text import name_or_empty, quoted
from app.resilience.retry_after import retry_after_seconds


@dataclass(frozen=True, slots=True)
class WorkspaceReply:
    """An HTTP answer. `location` and `retry_after` are the headers of these names."""

    status: int
    content: bytes
    location: str | None = None
    retry_after: str | None = None

    @property
    def body(self) -> str:
        return self.content.decode(errors="replace")


class WorkspaceError(Exception):
    """`str()` is for the log: it quotes nothing that a person could have written, and no credential.

    `error_code` is Databricks' own, such as RESOURCE_DOES_NOT_EXIST; `detail` is what the workspace said about it,
    for a person; `reply` is None where no answer came; `retry_after_seconds` is what the workspace asked for, or None.
    """

    def __init__(self, message: str, reply: WorkspaceReply | None = None) -> None:
        super().__init__(message)
        body = (reply and json_object(reply.body)) or {}
        self.reply = reply
        self.error_code = name_or_empty(text(body.get("error_code")))
        self.detail = quoted(text(body.get("message")))
        self.retry_after_seconds = retry_after_seconds(reply.retry_after) if reply is not None else None


class CredentialError(WorkspaceError):
    """No token could be had, so the workspace was not asked."""


class WorkspaceSignInError(WorkspaceError):
    """The token was refused, and a renewed one too (401)."""


class WorkspacePermissionError(WorkspaceError):
    """The identity is known and may not do this (403)."""


class WorkspaceNotFoundError(WorkspaceError):
    """There is nothing of that name or id, or the identity may not see it (404)."""


class WorkspaceRequestError(WorkspaceError):
    """The workspace refuses the request itself: asking again changes nothing (400 and the other 4xx)."""


class WorkspaceRateLimitError(WorkspaceError):
    """Too many requests, in every try (429). This one was not carried out."""


class WorkspaceUnavailableError(WorkspaceError):
    """The workspace failed, in every try (5xx). Whether the request was carried out is not known."""


class WorkspaceUnreachableError(WorkspaceError):
    """No connection, in every try: nothing was sent."""


class WorkspaceInterruptedError(WorkspaceError):
    """The connection broke before the answer was whole. Whether the request was carried out is not known."""


class WorkspaceTimeoutError(WorkspaceInterruptedError):
    """No answer within the time limit. Whether the request was carried out is not known."""


class WorkspaceReplyError(WorkspaceError):
    """The answer is none of the workspace's API: a page, a redirect, or more than the caller takes."""


_ERROR_OF_STATUS: dict[int, type[WorkspaceError]] = {
    401: WorkspaceSignInError,
    403: WorkspacePermissionError,
    404: WorkspaceNotFoundError,
    429: WorkspaceRateLimitError,
}


def error_of_reply(request: str, reply: WorkspaceReply) -> WorkspaceError:
    """For an answer that is not a success; `request` names what was asked, for the log."""
    if reply.status < 400:
        target = quoted((reply.location or "nowhere").partition("?")[0])
        return WorkspaceReplyError(f"{request}: HTTP {reply.status}, redirected to {target}", reply)
    otherwise = WorkspaceUnavailableError if reply.status >= 500 else WorkspaceRequestError
    error = _ERROR_OF_STATUS.get(reply.status, otherwise)("", reply)
    error.args = (f"{request}: HTTP {reply.status} {error.error_code}".rstrip(),)
    return error
