"""Files that come with a question: downloaded once, kept with the conversation, asked; what cannot be read is said."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from app.common.http_session import HttpSession
from app.data.stored_results import StoredResults
from app.files import stored_files
from app.files.conversation_files import StoredConversationFiles
from app.files.decoding import decode
from app.files.download import MAX_FILE_BYTES, Downloads
from app.files.query_tool import FileQueries, FileQueryArguments
from app.files.sandbox import Sandbox
from app.files.stored_files import StoredFiles, table_name
from app.files.uploads import Uploads
from app.storage.artifacts import Artifact
from app.storage.factory import Storage, open_storage
from app.storage.storage_errors import StorageError
from app.tools.attached_files import AttachedFile, tells_of_files
from app.tools.base import AnyTool, ToolContext, ToolError
from tests.fakes.tools import tool_context

CSV = "region;revenue\nPorto;1.234,50\nLyon;-2,25\n"


class SharePoint:
    def __init__(self) -> None:
        self.url = ""
        self.files: dict[str, bytes] = {}
        self.requests: list[Mapping[str, str]] = []

    async def get(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(dict(request.headers))
        match request.match_info["what"]:
            case "page":
                return web.Response(text="<!DOCTYPE html><html>Sign in</html>", content_type="text/html")
            case "elsewhere":
                raise web.HTTPFound("https://evil.example/sales.csv")
            case "moved":
                raise web.HTTPFound("/sales.csv")
            case "circle":
                raise web.HTTPFound("/circle")
            case "endless":
                response = web.StreamResponse()
                await response.prepare(request)
                for _ in range(MAX_FILE_BYTES // 1_000_000 + 2):
                    await response.write(b"1,2\n" * 250_000)
                return response
            case name if name.isdigit():
                return web.Response(status=int(name))
            case name:
                return web.Response(body=self.files.get(name, CSV.encode()), content_type="application/octet-stream")


@asynccontextmanager
async def share_point() -> AsyncIterator[SharePoint]:
    made, application = SharePoint(), web.Application()
    application.add_routes([web.get("/{what}", made.get)])
    async with TestServer(application) as server:
        made.url = f"http://127.0.0.1:{server.port}"
        yield made


class Chat:
    """The files of one conversation, as the agent has them."""

    def __init__(self, storage: Storage, session: HttpSession, point: SharePoint) -> None:
        self.storage = storage
        self.point = point
        self.stored = StoredFiles(storage.artifacts)
        queries = FileQueries(self.stored, StoredResults(storage.artifacts), Sandbox())
        self.uploads = Uploads(storage.artifacts)
        self.files = StoredConversationFiles(Downloads(session, allows_loopback=True), self.uploads, queries)
        self.turns = 0

    def turn(self) -> ToolContext:
        self.turns += 1
        return replace(tool_context(), idempotency_key=f"turn-{self.turns}")

    async def add(self, *names: str, content: str | bytes = CSV) -> list[str]:
        self.point.files |= {name: content if isinstance(content, bytes) else content.encode() for name in names}
        attached = [AttachedFile(name, f"{self.point.url}/{quote(name)}") for name in names]
        return list(await self.files.add(attached, self.turn()))

    async def tool(self) -> AnyTool:
        (tool,) = await self.files.tools(tool_context().conversation)
        return tool

    async def ask(self, sql: str, **more: Any) -> Any:
        return await (await self.tool()).run(FileQueryArguments.model_validate({"sql": sql, **more}), self.turn())


@pytest.fixture
async def chat(tmp_path: Path) -> AsyncIterator[Chat]:
    storage, session = open_storage(tmp_path / "files.db"), HttpSession()
    async with share_point() as point:
        yield Chat(storage, session, point)
    await session.close()
    await storage.close()


async def test_a_file_is_downloaded_without_a_token_and_asked_in_sql(chat: Chat) -> None:
    assert await chat.add("Sales 2024.csv") == []
    assert "Authorization" not in chat.point.requests[0]
    tool = await chat.tool()
    assert (
        '- "sales_2024" from the file "Sales 2024.csv", 2 rows: "region" VARCHAR, "revenue" DECIMAL' in tool.description
    )
    output = await chat.ask("SELECT region, revenue FROM sales_2024 ORDER BY 2", title="Revenue")
    assert '["Lyon", "-2.25"]' in output.text.replace("'", '"')
    assert {type(block).__name__ for block in output.blocks} >= {"Table", "Folded", "Actions"}
    unseen = await chat.ask("SELECT * FROM sales_2024", shown=False)
    assert (unseen.blocks, "the person sees" in unseen.text) == ((), False)


async def test_a_resumed_turn_does_not_download_again(chat: Chat) -> None:
    context = chat.turn()
    attached = [AttachedFile("a.csv", f"{chat.point.url}/a.csv")]
    await chat.files.add(attached, context)
    chat.point.url = "http://127.0.0.1:9"
    assert await chat.files.add(attached, context) == []
    assert len(chat.point.requests) == 1


async def test_a_file_of_the_same_name_takes_the_place_of_the_older_and_of_many_the_newest_are_kept(
    chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_files, "MAX_FILES", 2)
    await chat.add("a.csv", content="n\n1\n")
    await chat.add("a.csv", content="n\n2\n")
    assert (await chat.ask("SELECT n FROM a")).blocks[0].rows == ((2,),)
    await chat.add(*(f"b{number}.txt" for number in range(2)))
    kept = await chat.stored.find_all(tool_context().conversation)
    assert [each.table for each in kept] == [f"b{number}" for number in range(2)]


async def test_forgotten_files_are_gone(chat: Chat) -> None:
    await chat.add("a.csv")
    tool = await chat.tool()
    await chat.storage.conversations.forget(tool_context().conversation)
    assert await chat.files.tools(tool_context().conversation) == []
    with pytest.raises(ToolError) as gone:
        await tool.run(FileQueryArguments.model_validate({"sql": "SELECT * FROM a"}), chat.turn())
    assert "attach it again" in gone.value.sentence


@pytest.mark.parametrize(
    ("where", "says"),
    [
        ("page", "came a web page"),
        ("404", "no longer be downloaded"),
        ("403", "no longer be downloaded"),
        ("500", "could not be downloaded"),
        ("circle", "could not be downloaded"),
        ("endless", "larger than 10 MB"),
        ("elsewhere", "neither in SharePoint"),
        ("https://evil.example/sales.csv", "neither in SharePoint"),
        ("http://169.254.169.254/metadata", "neither in SharePoint"),
        ("data:text/csv,a", "neither in SharePoint"),
        ("http://127.0.0.1:9/sales.csv", "could not be downloaded"),
    ],
)
async def test_what_cannot_be_downloaded_is_said_without_its_address(
    where: str, says: str, chat: Chat, caplog: pytest.LogCaptureFixture
) -> None:
    url = where if ":" in where else f"{chat.point.url}/{where}"
    (said,) = await chat.files.add([AttachedFile("sales.csv", f"{url}?tempauth=secret")], chat.turn())
    assert says in said
    assert "`sales.csv`" in said
    assert "secret" not in caplog.text + said
    assert await chat.files.tools(tool_context().conversation) == []


async def test_a_file_is_followed_to_another_address_that_is_trusted(chat: Chat) -> None:
    assert await chat.files.add([AttachedFile("a.csv", f"{chat.point.url}/moved")], chat.turn()) == []


async def test_an_uploaded_file_is_read_from_storage_by_its_own_tenant_alone(chat: Chat) -> None:
    tenant = tool_context().conversation.tenant
    own = await chat.uploads.save(tenant, "own.csv", CSV.encode())
    assert await chat.files.add([own.attached], chat.turn()) == []
    assert await chat.uploads.find(tenant, own.id) == own
    others = await chat.uploads.save("another", "others.csv", CSV.encode())
    assert await chat.uploads.find(tenant, others.id) is None
    deleted = await chat.uploads.save(tenant, "deleted.csv", CSV.encode())
    await chat.uploads.delete(tenant, deleted.id)
    assert await chat.uploads.find(tenant, deleted.id) is None
    said = await chat.files.add([others.attached, deleted.attached], chat.turn())
    assert ["no longer" in each for each in said] == [True, True]
    assert [each.name for each in await chat.stored.find_all(tool_context().conversation)] == ["own.csv"]
    assert chat.point.requests == []


async def test_uploads_are_deleted_with_what_is_older_than_the_retention(chat: Chat) -> None:
    file = await chat.uploads.save("tenant", "a.csv", CSV.encode())
    await chat.storage.conversations.delete_before(time.time() + 1)
    assert await chat.uploads.find("tenant", file.id) is None
    assert await chat.uploads.read("tenant", file.id) is None


@pytest.mark.parametrize("id", ["", "file-unknown", "../x", "a" * 10_000, "\ud800"])
async def test_an_unknown_upload_is_not_found(id: str, chat: Chat) -> None:
    assert await chat.uploads.find("tenant", id) is None


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"PK\x03\x04\x00\x00", "holds no text"),
        (b"\xef\xbb\xbf <HTML><body>Sign in", "came a web page"),
        ("größe\nß\n".encode() + b"\xff\n", "Some characters"),
        ("name\nMüller, Anna\nSchmidt, Bob\n".encode(), "below line 1"),
        (b'a,b\n"x,1\n' + b"y,2\n" * 30, "quotation mark"),
        ((",".join(f"c{n}" for n in range(250)) + "\n").encode(), "first 200 columns"),
    ],
)
async def test_what_of_a_file_cannot_be_read_is_said(content: bytes, says: str, chat: Chat) -> None:
    (said,) = await chat.add("a.csv", content=content)
    assert says in said


@pytest.mark.slow
async def test_a_million_rows_are_asked_and_the_limit_is_said(chat: Chat) -> None:
    (said,) = await chat.add("big.csv", content="n\n" + "7\n" * 1_000_001)
    assert "first 1,000,000 rows" in said
    assert (await chat.ask("SELECT sum(n) AS total FROM big")).blocks[0].rows == ((7_000_000,),)


async def test_where_nothing_can_be_kept_the_person_is_told_so(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(artifact: Artifact) -> None:
        raise StorageError("away")

    monkeypatch.setattr(chat.storage.artifacts, "put", fail)
    (said,) = await chat.add("a.csv")
    assert "cannot be kept" in said


async def test_a_query_that_fails_tells_the_model_why(chat: Chat) -> None:
    await chat.add("a.csv")
    with pytest.raises(ToolError, match="nothing"):
        await chat.ask("SELECT nothing FROM a")


@pytest.mark.parametrize(
    ("content", "text", "whole"),
    [
        (b"\xef\xbb\xbfa\r\nb\rc", "a\nb\nc", True),
        ("größe".encode(), "größe", True),
        ("größe".encode("cp1252"), "größe", True),
        ("商品,りんご".encode("cp932"), "商品,りんご", True),
        ("点検連番,型式\r\n1,2".encode("cp932"), "点検連番,型式\n1,2", True),
        ("処理区分,件数".encode("cp932"), "処理区分,件数", True),
        ("éléphant,it’s,l’été".encode("cp1252"), "éléphant,it’s,l’été", True),
        ("it’s".encode("cp1252"), "it’s", True),
        ("größe".encode("utf-16"), "größe", True),
        ("größe €".encode() + b"\xff", "größe €\ufffd", False),
        (b"", "", True),
    ],
)
def test_a_text_is_read_in_the_encoding_that_it_is_written_in(content: bytes, text: str, whole: bool) -> None:
    assert decode(content) == (text, whole)


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("Sales 2024.csv", "sales_2024"),
        ("2024.csv", "file_2024"),
        ("größe.txt", "gr_e"),
        ("???.csv", "file"),
        (".csv", "csv"),
    ],
)
def test_the_name_of_a_file_becomes_that_of_a_table(name: str, table: str) -> None:
    assert table_name(name) == table


def test_a_prompt_tells_of_files() -> None:
    assert tells_of_files(AttachedFile("a.csv", "").prompt)
    assert tells_of_files(f"> quoted\n\n{AttachedFile('a.csv', '').prompt}\n\nWhat is this?")
    assert not tells_of_files("What is this?")
