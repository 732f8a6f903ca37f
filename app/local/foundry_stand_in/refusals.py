"""How the stand-in refuses a request, as Foundry does, and what its calls have in common: bodies and pages."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from aiohttp import web

Json = dict[str, Any]

_PAGE_SIZE = 20
_LARGEST_PAGE = 100
_MAX_METADATA = 16
_MAX_KEY, _MAX_VALUE = 64, 512


class RefusedError(Exception):
    """Answered with `status` and Foundry's error body. `details` are pairs of message and parameter."""

    def __init__(
        self,
        status: int,
        code: str | None,
        message: str,
        *,
        param: str | None = None,
        kind: str = "invalid_request_error",
        details: Sequence[tuple[str, str]] = (),
        retry_after_seconds: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.param = param
        self.kind = kind
        self.details = details
        self.retry_after_seconds = retry_after_seconds

    def response(self) -> web.Response:
        details = [
            {"code": "ValidationError", "message": message, "param": param, "type": "error"}
            for message, param in self.details
        ]
        body: Json = {"code": self.code, "message": str(self), "param": self.param, "type": self.kind}
        body |= {"details": details, "additionalInfo": {"request_id": secrets.token_hex(16)}}
        headers = {} if self.retry_after_seconds is None else {"Retry-After": str(self.retry_after_seconds)}
        return web.json_response({"error": body}, status=self.status, headers=headers)


class FailedToolCallError(Exception):
    """A tool cannot be called, which ends the run."""


def invalid_payload(message: str, param: str | None = None) -> RefusedError:
    return RefusedError(400, "invalid_payload", message, param=param)


def not_found(what: str, name: str) -> RefusedError:
    return RefusedError(404, "not_found", f"{what} '{name}' not found.")


async def body_of(request: web.Request) -> Json:
    try:
        body = json.loads(await request.read() or b"{}")
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise invalid_payload("The body must be a JSON object.")
    return body


def checked_metadata(body: Mapping[str, Any]) -> dict[str, str]:
    """Raises `RefusedError` where it breaks the limits of the service."""
    metadata = body.get("metadata") or {}
    if not isinstance(metadata, dict) or len(metadata) > _MAX_METADATA:
        raise invalid_payload(f"metadata: at most {_MAX_METADATA} keys.", "/metadata")
    for key, value in metadata.items():
        if not isinstance(value, str) or len(key) > _MAX_KEY or len(value) > _MAX_VALUE:
            raise invalid_payload("metadata: keys of 64 characters, values of 512 characters.", f"/metadata/{key}")
    return dict(metadata)


def page_of(
    request: web.Request, entries: Sequence[Json], key: Callable[[Json], str] = lambda entry: str(entry["id"])
) -> web.Response:
    """One page of `entries`, which are in the order of their creation."""
    query = request.query
    limit = min(int(query.get("limit", _PAGE_SIZE)), _LARGEST_PAGE)
    found = list(entries) if query.get("order", "desc") == "asc" else list(reversed(entries))
    keys = [key(entry) for entry in found]
    if query.get("after") in keys:
        found = found[keys.index(query["after"]) + 1 :]
    elif query.get("before") in keys:
        found = found[: keys.index(query["before"])]
    page = found[:limit]
    return web.json_response(
        {
            "object": "list",
            "data": page,
            "first_id": key(page[0]) if page else None,
            "last_id": key(page[-1]) if page else None,
            "has_more": len(found) > len(page),
        }
    )
