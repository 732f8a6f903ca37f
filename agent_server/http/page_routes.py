"""What the page asks beside the Responses API."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from agent_server.http.answer_routes import PREFIXES
from agent_server.http.json_encoding import json_bytes
from agent_server.http.request_body import read_body, read_json_object
from agent_server.http.request_frame import headers_of
from agent_server.identity.server_caller import ServerCaller
from agent_server.page.conversation_export import content_disposition, json_export, markdown_export
from agent_server.page.conversation_json import conversation_json, summary_json
from agent_server.page.conversations import Conversations
from agent_server.page.file_uploads import FileUploads, file_json
from agent_server.page.response_feedback import ResponseFeedback
from agent_server.page.signed_in import SignedIn
from agent_server.protocol.api_error import ApiError
from app.files.uploads import MAX_UPLOAD_BYTES

MAX_UPLOAD_BODY_BYTES = MAX_UPLOAD_BYTES + 64 * 1024
"""A file with what multipart puts around it."""

_PAGE = ("/api",)
_NO_STORE = {"Cache-Control": "no-store"}
_FORM = "multipart/form-data"


@dataclass(frozen=True, slots=True)
class PageServices:
    signed_in: SignedIn
    conversations: Conversations
    feedback: ResponseFeedback
    uploads: FileUploads


def page_routes(page: PageServices, identify: Callable[[Mapping[str, str]], ServerCaller]) -> APIRouter:
    """`identify` is given the headers of a request, in lower case."""
    asked = _PageRequests(page, identify)
    # What OpenAI's clients ask for is under any of their base addresses.
    routes: list[tuple[tuple[str, ...], str, str, Callable[..., Awaitable[Response]], str]] = [
        (_PAGE, "GET", "/me", asked.me, "me"),
        (_PAGE, "GET", "/conversations", asked.list_conversations, "conversations"),
        (PREFIXES, "POST", "/conversations", asked.create_conversation, "conversations"),
        (_PAGE, "GET", "/conversations/{id}", asked.read_conversation, "conversation"),
        (_PAGE, "PATCH", "/conversations/{id}", asked.rename_conversation, "conversation"),
        (PREFIXES, "DELETE", "/conversations/{id}", asked.delete_conversation, "conversation"),
        (_PAGE, "GET", "/conversations/{id}/export", asked.export_conversation, "conversation_export"),
        (_PAGE, "POST", "/responses/{response_id}/feedback", asked.give_feedback, "feedback"),
        (PREFIXES, "POST", "/files", asked.upload_file, "files"),
        (PREFIXES, "GET", "/files/{id}", asked.read_file, "file"),
        (PREFIXES, "DELETE", "/files/{id}", asked.delete_file, "file"),
    ]
    router = APIRouter()
    for prefixes, method, path, answer, name in routes:
        for prefix in prefixes:
            router.add_api_route(f"{prefix}{path}", answer, methods=[method], name=name)
    return router


class _PageRequests:
    def __init__(self, page: PageServices, identify: Callable[[Mapping[str, str]], ServerCaller]) -> None:
        self._page = page
        self._identify = identify

    def _caller_of(self, request: Request) -> ServerCaller:
        return self._identify(headers_of(request.scope))

    async def me(self, request: Request) -> Response:
        return _json(await self._page.signed_in.describe(self._caller_of(request)))

    async def list_conversations(self, request: Request) -> Response:
        asked = request.query_params
        search, cursor = asked.get("search", ""), asked.get("cursor", "")
        found, following = await self._page.conversations.list_page(
            self._caller_of(request), search=search, cursor=cursor
        )
        return _json({"conversations": [summary_json(each) for each in found], "next": following or None})

    async def create_conversation(self, request: Request) -> Response:
        caller = self._caller_of(request)
        body = await read_json_object(request) if await read_body(request) else {}
        if wrong := next((name for name, value in body.items() if value and name != "title"), None):
            raise ApiError(
                400, f"A conversation begins without {wrong[:80]}.", param=wrong, code="unsupported_parameter"
            )
        record = await self._page.conversations.create(caller, _title(body, required=False))
        return _json({**summary_json(record), "object": "conversation", "metadata": {}}, 201)

    async def read_conversation(self, request: Request, id: str) -> Response:
        return _json(conversation_json(await self._page.conversations.read(self._caller_of(request), id)))

    async def rename_conversation(self, request: Request, id: str) -> Response:
        caller = self._caller_of(request)
        title = _title(await read_json_object(request), required=True)
        return _json(summary_json(await self._page.conversations.rename(caller, id, title)))

    async def delete_conversation(self, request: Request, id: str) -> Response:
        await self._page.conversations.delete(self._caller_of(request), id)
        return _json({"id": id, "deleted": True})

    async def export_conversation(self, request: Request, id: str) -> Response:
        format = request.query_params.get("format", "markdown")
        if format not in ("markdown", "json"):
            raise ApiError(400, "format must be markdown or json.", param="format", code="invalid_value")
        conversation = await self._page.conversations.read(self._caller_of(request), id)
        is_markdown = format == "markdown"
        content = markdown_export(conversation) if is_markdown else json_export(conversation)
        name = content_disposition(conversation.record.title, "md" if is_markdown else "json")
        kind = "text/markdown; charset=utf-8" if is_markdown else "application/json"
        return Response(content.encode(), media_type=kind, headers={**_NO_STORE, "Content-Disposition": name})

    async def give_feedback(self, request: Request, response_id: str) -> Response:
        caller = self._caller_of(request)
        return _json(await self._page.feedback.give(caller, response_id, await read_json_object(request)))

    async def upload_file(self, request: Request) -> Response:
        caller = self._caller_of(request)
        name, content = await _uploaded(request, self._page.uploads)
        return _json(file_json(await self._page.uploads.save(caller, name, content)), 201)

    async def read_file(self, request: Request, id: str) -> Response:
        return _json(file_json(await self._page.uploads.find(self._caller_of(request), id)))

    async def delete_file(self, request: Request, id: str) -> Response:
        await self._page.uploads.delete(self._caller_of(request), id)
        return _json({"id": id, "object": "file", "deleted": True})


def _json(content: Mapping[str, Any], status: int = 200) -> Response:
    return Response(json_bytes(content), status, _NO_STORE, "application/json")


def _title(body: Mapping[str, Any], *, required: bool) -> str:
    title = body.get("title")
    if not isinstance(title, str) and (required or title is not None):
        raise ApiError(400, "title must be a text.", param="title", code="invalid_value")
    return title or ""


async def _uploaded(request: Request, uploads: FileUploads) -> tuple[str, bytes]:
    """The name and the content of the part `file`."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
        raise ApiError(415, f"Send the file as {_FORM}, in a part with the name file.", code="unsupported_media_type")
    try:
        async with request.form(max_files=1, max_fields=10, max_part_size=8_192) as form:
            part = form.get("file")
            if not isinstance(part, UploadFile):
                raise ApiError(400, "The part file is missing, or has no file name.", param="file")
            uploads.check(part.filename or "")
            return part.filename or "", await part.read()
    except ClientDisconnect:
        raise ApiError(400, "The body ended before it was complete.", code="incomplete_body") from None
    except HTTPException:
        # What Starlette raises for a form that it cannot read.
        raise ApiError(400, "The form could not be read: send one file, in a part with the name file.") from None
