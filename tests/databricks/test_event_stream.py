"""A POST that is answered with server-sent events: read as it comes, with a typed error for each way to fail."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from app.databricks.workspace_client import WorkspaceClient
from app.databricks.workspace_errors import (
    WorkspaceError,
    WorkspaceInterruptedError,
    WorkspacePermissionError,
    WorkspaceReplyError,
    WorkspaceTimeoutError,
    WorkspaceUnavailableError,
)
from tests.fakes.workspaces import workspace_at

PATH = "/api/2.0/genie/agents/1/responses"


class Stream:
    """Answers as `answers` say, in turn: a status, or what is done with an open stream."""

    def __init__(self, *answers: int | str) -> None:
        self.answers = list(answers)
        self.requests = 0
        self.client_left = asyncio.Event()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.requests += 1
        answer = self.answers.pop(0)
        if isinstance(answer, int):
            return web.json_response({"error_code": "X", "message": "no"}, status=answer, headers={"Retry-After": "1"})
        if answer == "page":
            return web.Response(text="<html>", content_type="text/html")
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        await response.prepare(request)
        await response.write(b"data: 1\n\n")
        if answer == "cut":
            assert request.transport is not None
            request.transport.abort()
        elif answer == "silent":
            try:
                await asyncio.Event().wait()
            finally:
                self.client_left.set()
        return response


@asynccontextmanager
async def streamed(*answers: int | str) -> AsyncIterator[tuple[Stream, WorkspaceClient]]:
    stream, application = Stream(*answers), web.Application()
    application.router.add_post(PATH, stream.answer)

    async def at_once(_: float) -> None:
        await asyncio.sleep(0)

    async with TestServer(application, host="127.0.0.1", handler_cancellation=True) as server:
        address = f"http://127.0.0.1:{server.port}"
        async with workspace_at(address, sleep=at_once) as workspace:
            yield stream, workspace


async def read(workspace: WorkspaceClient) -> bytes:
    async with workspace.event_stream(PATH, json_body={}, silence_seconds=0.1) as chunks:
        return b"".join([chunk async for chunk in chunks])


@pytest.mark.parametrize("answers", [("end",), (429, 429, "end"), (401, "end")])
async def test_a_stream_is_opened_again_only_where_nothing_was_done(answers: tuple[int | str, ...]) -> None:
    async with streamed(*answers) as (stream, workspace):
        if 401 in answers:
            workspace.forget_token = lambda identity, token: True  # type: ignore[method-assign]
        assert await read(workspace) == b"data: 1\n\n"
        assert stream.requests == len(answers)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (403, WorkspacePermissionError),
        (503, WorkspaceUnavailableError),
        ("page", WorkspaceReplyError),
        ("cut", WorkspaceInterruptedError),
        ("silent", WorkspaceTimeoutError),
    ],
)
async def test_each_failure_is_an_error_of_its_type_and_nothing_is_sent_twice(
    answer: int | str, error: type[WorkspaceError]
) -> None:
    async with streamed(answer) as (stream, workspace):
        with pytest.raises(error):
            await read(workspace)
        assert stream.requests == 1


async def test_a_reader_that_leaves_ends_the_request() -> None:
    async with streamed("silent") as (stream, workspace):
        async with workspace.event_stream(PATH, json_body={}) as chunks:
            async for _chunk in chunks:
                break
        await asyncio.wait_for(stream.client_left.wait(), 5)
