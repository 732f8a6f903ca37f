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
from agent_server.http.request_body import read_json_object
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

    def caller_of(request: Request) -> ServerCaller:
        return identify(headers_of(request.scope))

    async def me(request: Request) -> Response:
        return _json(await page.signed_in.describe(caller_of(request)))

    async def list_conversations(request: Request) -> Response:
        asked = request.query_params
        search, cursor = asked.get("search", ""), asked.get("cursor", "")
        found, following = await page.conversations.list_page(caller_of(request), search=search, cursor=cursor)
        return _json({"conversations": [summary_json(each) for each in found], "next": following or None})

    async def create_conversation(request: Request) -> Response:
        caller = caller_of(request)
        body = await read_json_object(request) if await request.body() else {}
        if wrong := next((name for name, value in body.items() if value and name != "title"), None):
            raise ApiError(
                400, f"A conversation begins without {wrong[:80]}.", param=wrong, code="unsupported_parameter"
            )
        record = await page.conversations.create(caller, _title(body, required=False))
        return _json({**summary_json(record), "object": "conversation", "metadata": {}}, 201)

    async def read_conversation(request: Request, id: str) -> Response:
        return _json(conversation_json(await page.conversations.read(caller_of(request), id)))

    async def rename_conversation(request: Request, id: str) -> Response:
        caller = caller_of(request)
        title = _title(await read_json_object(request), required=True)
        return _json(summary_json(await page.conversations.rename(caller, id, title)))

    async def delete_conversation(request: Request, id: str) -> Response:
        await page.conversations.delete(caller_of(request), id)
        return _json({"id": id, "deleted": True})

    async def export_conversation(request: Request, id: str) -> Response:
        format = request.query_params.get("format", "markdown")
        if format not in ("markdown", "json"):
            raise ApiError(400, "format must be markdown or json.", param="format", code="invalid_value")
        conversation = await page.conversations.read(caller_of(request), id)
        is_markdown = format == "markdown"
        content = markdown_export(conversation) if is_markdown else json_export(conversation)
        name = content_disposition(conversation.record.title, "md" if is_markdown else "json")
        kind = "text/markdown; charset=utf-8" if is_markdown else "application/json"
        return Response(content.encode(), media_type=kind, headers={**_NO_STORE, "Content-Disposition": name})

    async def give_feedback(request: Request, response_id: str) -> Response:
        caller = caller_of(request)
        return _json(await page.feedback.give(caller, response_id, await read_json_object(request)))

    async def upload_file(request: Request) -> Response:
        caller = caller_of(request)
        name, content = await _uploaded(request, page.uploads)
        return _json(file_json(await page.uploads.save(caller, name, content)), 201)

    async def read_file(request: Request, id: str) -> Response:
        return _json(file_json(await page.uploads.find(caller_of(request), id)))

    async def delete_file(request: Request, id: str) -> Response:
        await page.uploads.delete(caller_of(request), id)
        return _json({"id": id, "object": "file", "deleted": True})

    routes: list[tuple[str, str, Callable[..., Awaitable[Response]], str]] = [
        ("GET", "/api/me", me, "me"),
        ("GET", "/api/conversations", list_conversations, "conversations"),
        ("GET", "/api/conversations/{id}", read_conversation, "conversation"),
        ("PATCH", "/api/conversations/{id}", rename_conversation, "conversation"),
        ("GET", "/api/conversations/{id}/export", export_conversation, "conversation_export"),
        ("POST", "/api/responses/{response_id}/feedback", give_feedback, "feedback"),
    ]
    router = APIRouter()
    for method, path, handle, name in routes:
        router.add_api_route(path, handle, methods=[method], name=name)
    # What OpenAI's clients ask for under any of their base addresses.
    for prefix in PREFIXES:
        router.add_api_route(f"{prefix}/conversations", create_conversation, methods=["POST"], name="conversations")
        router.add_api_route(
            f"{prefix}/conversations/{{id}}", delete_conversation, methods=["DELETE"], name="conversation"
        )
        router.add_api_route(f"{prefix}/files", upload_file, methods=["POST"], name="files")
        router.add_api_route(f"{prefix}/files/{{id}}", read_file, methods=["GET"], name="file")
        router.add_api_route(f"{prefix}/files/{{id}}", delete_file, methods=["DELETE"], name="file")
    return router


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
