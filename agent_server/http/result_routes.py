"""Results of queries as files."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from agent_server.http.request_frame import headers_of
from agent_server.identity.server_caller import ServerCaller
from agent_server.page.conversation_export import content_disposition
from agent_server.protocol.api_error import ApiError
from app.messaging.result_files import NoResultFileError, ResultFiles
from app.storage.conversations import ConversationKey
from app.translation import ENGLISH


def result_routes(files: ResultFiles, identify: Callable[[Mapping[str, str]], ServerCaller]) -> APIRouter:
    """`GET /api/conversations/{id}/results/{result}`: what a button `send_file` names, as a CSV file."""

    async def download(request: Request, id: str, result: str) -> Response:
        caller = identify(headers_of(request.scope))
        try:
            file = await files.make(ConversationKey(caller.tenant, id), result, caller.identity)
        except NoResultFileError as error:
            raise ApiError(404, ENGLISH(error.sentence), code="result_not_found") from None
        title, _, ending = file.name.rpartition(".")
        headers = {"Cache-Control": "no-store", "Content-Disposition": content_disposition(title, ending)}
        return Response(file.content, 200, headers, "text/csv; charset=utf-8")

    router = APIRouter()
    router.add_api_route("/api/conversations/{id}/results/{result}", download, methods=["GET"], name="result_file")
    return router
