"""Mail through Microsoft Graph, over HTTP against what it answers."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.policy import default

import pytest
from aiohttp import web

from app.jobs.mail.graph_transport import GraphTransport
from app.jobs.mail.mail_content import MailContent, MailSection
from app.jobs.mail.mail_transport import MailError, PermanentMailError, TemporaryMailError
from app.jobs.mail.mime_message import mime_message

SENDER, ANN, BOB = "watch@contoso.com", "ann@contoso.com", "bob@contoso.com"
CONTENT = MailContent(subject="Größe: nightly_etl", sections=(MailSection(paragraphs=("表 failed",)),))


@dataclass
class Graph:
    status: int = 202
    body: str = ""
    requests: list[tuple[str, str, bytes]] = field(default_factory=list)
    url: str = ""

    async def answer(self, request: web.Request) -> web.Response:
        self.requests.append((request.path, request.headers["Authorization"], await request.read()))
        assert request.content_type == "text/plain"
        return web.Response(status=self.status, text=self.body)


@asynccontextmanager
async def running(graph: Graph) -> AsyncIterator[Graph]:
    app = web.Application()
    app.router.add_post("/v1.0/users/{sender}/sendMail", graph.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    graph.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield graph
    finally:
        await runner.cleanup()


async def token() -> str:
    return "a-token"


async def send(graph: Graph) -> None:
    message = mime_message(
        CONTENT, message_key="incident-1", sender=SENDER, recipients=[ANN, BOB], sent_at_seconds=1_800_000_000
    )
    assert await GraphTransport(SENDER, token, graph_url=graph.url).send(message, [BOB]) == ()


async def test_graph_gets_the_mail_with_those_whom_it_still_goes_to() -> None:
    async with running(Graph()) as graph:
        await send(graph)
    ((path, authorization, body),) = graph.requests
    assert (path, authorization) == ("/v1.0/users/watch@contoso.com/sendMail", "Bearer a-token")
    mail = message_from_bytes(base64.b64decode(body, validate=True), policy=default)
    assert (mail["To"], mail["From"], mail["Subject"]) == (BOB, SENDER, CONTENT.subject)
    html = mail.get_body(("html",))
    assert html is not None
    assert "表 failed" in html.get_content()


@pytest.mark.parametrize(
    ("status", "body", "kind", "may_have_arrived"),
    [
        (200, "", PermanentMailError, False),
        (301, "", PermanentMailError, False),
        (400, '{"error": {"code": "ErrorInvalidRecipients", "message": "x"}}', PermanentMailError, False),
        (401, '{"error": "odd"}', PermanentMailError, False),
        (403, '{"error": {"code": "ErrorSendAsDenied", "message": null}}', PermanentMailError, False),
        (404, "<html>", PermanentMailError, False),
        (429, "[" * 20_000, TemporaryMailError, False),
        (503, "", TemporaryMailError, False),
        (504, "", TemporaryMailError, True),
    ],
)
async def test_what_graph_answers_decides_whether_the_mail_is_tried_again(
    status: int, body: str, kind: type[MailError], may_have_arrived: bool
) -> None:
    async with running(Graph(status, body)) as graph:
        with pytest.raises(kind, match=str(status)) as failure:
            await send(graph)
    assert getattr(failure.value, "may_have_arrived", False) == may_have_arrived
    assert "Mail.Send" in str(failure.value) or status not in {401, 403}


async def test_graph_that_is_away_and_an_identity_without_token_are_tried_again() -> None:
    async def no_token() -> str:
        raise RuntimeError("no secret here")

    async with running(Graph()) as graph:
        pass
    with pytest.raises(TemporaryMailError, match="could not be reached") as absence:
        await send(graph)
    assert not absence.value.may_have_arrived
    with pytest.raises(TemporaryMailError, match="No access token"):
        await GraphTransport(SENDER, no_token).test_connection()
    await GraphTransport(SENDER, token).test_connection()
    with pytest.raises(ValueError, match="SENDER_EMAIL"):
        GraphTransport("nobody", token)
