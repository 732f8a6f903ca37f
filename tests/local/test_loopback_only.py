"""The Agents Playground answers with the developer's credential, so that it may answer the developer alone."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

PRELOAD = Path(__file__).resolve().parents[2] / "app" / "local" / "loopback_only.cjs"
# A server without checks of its own, as the Playground.
SERVER = """
const server = require("node:http").createServer((request, response) => response.end("taken"));
server.on("checkContinue", (request, response) => response.end("taken"));
server.on("checkExpectation", (request, response) => response.end("taken"));
server.on("upgrade", (request, socket) => socket.end("HTTP/1.1 101 Switching Protocols\\r\\n\\r\\n"));
server.on("connect", (request, socket) => socket.end("HTTP/1.1 200 OK\\r\\n\\r\\n"));
server.listen(LISTEN, () => console.log(server.address().address, server.address().port));
"""

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="there is no Node.js on this machine")


@asynccontextmanager
async def server(where: str = "0") -> AsyncIterator[tuple[str, int]]:
    """The address and the port that it listens on."""
    node = await asyncio.create_subprocess_exec(
        *("node", "--require", str(PRELOAD), "-e", SERVER.replace("LISTEN", where)), stdout=asyncio.subprocess.PIPE
    )
    assert node.stdout
    try:
        address, port = (await asyncio.wait_for(node.stdout.readline(), 30)).decode().split()
        yield address, int(port)
        assert node.returncode is None, "it has ended"
    finally:
        node.kill()
        await node.communicate()


@pytest.mark.parametrize("where", ["0", "{port: 0}", "'0', undefined", "0, '127.0.0.1'"])
async def test_it_listens_on_loopback_only(where: str) -> None:
    async with server(where) as (address, _):
        assert address == "127.0.0.1"


async def ask(port: int, method: str, headers: dict[str, str]) -> int:
    """The status of the answer, asked as browsers ask."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    target = "example.com:443" if method == "CONNECT" else "/_conversation/v1/conversations"
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
    try:
        return int((await asyncio.wait_for(reader.readline(), 10)).split()[1])
    finally:
        writer.close()
        await writer.wait_closed()


WAYS_IN: dict[str, tuple[str, dict[str, str]]] = {
    "request": ("GET", {"Connection": "close"}),
    "checkContinue": ("POST", {"Content-Length": "2", "Expect": "100-continue"}),
    "checkExpectation": ("POST", {"Content-Length": "2", "Expect": "something"}),
    "upgrade": ("GET", {"Connection": "Upgrade", "Upgrade": "websocket"}),
    "connect": ("CONNECT", {}),
}

SAME_SITE_FRAME = {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}
LINK = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
IMAGE = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}


@pytest.mark.parametrize(
    ("host", "others", "ours"),
    [
        ("localhost:{port}", {}, True),
        ("LocalHost:{port}", {}, True),
        ("127.0.0.1:{port}", {}, True),
        ("[::1]:{port}", {}, True),
        ("localhost", {}, True),
        ("localhost:{port}", {"Origin": "http://localhost:{port}"}, True),
        ("localhost:{port}", {"Sec-Fetch-Site": "same-origin"}, True),
        ("localhost:{port}", {"Sec-Fetch-Site": "none"}, True),
        ("localhost:{port}", LINK, True),
        # DNS rebinding, and names that only look right.
        ("evil.example:{port}", {}, False),
        ("evil.example:{port}", {"Origin": "http://evil.example:{port}"}, False),
        ("127.0.0.1.evil.example:{port}", {}, False),
        ("localhost.evil.example", {}, False),
        ("evil.example@localhost:{port}", {}, False),
        ("0.0.0.0:{port}", {}, False),
        ("", {}, False),
        # Another page in the same browser.
        ("localhost:{port}", {"Origin": "https://evil.example"}, False),
        ("localhost:{port}", {"Origin": "https://localhost.evil.example"}, False),
        ("localhost:{port}", {"Origin": "http://localhost:3000"}, False),
        ("localhost:{port}", {"Origin": "null"}, False),
        ("localhost:{port}", {"Origin": ""}, False),
        ("localhost:{port}", IMAGE, False),
        ("localhost:{port}", SAME_SITE_FRAME, False),
    ],
)
async def test_only_its_own_page_and_programs_of_this_machine_are_let_in(
    host: str, others: dict[str, str], ours: bool
) -> None:
    async with server() as (_, port):
        for way, (method, headers) in WAYS_IN.items():
            sent = {"Host": host, **headers, **others}
            sent = {name: value.replace("{port}", str(port)) for name, value in sent.items()}
            status = await ask(port, method, sent)
            assert (status != 403) is ours, f"{way}: {status}"


@pytest.mark.skipif(os.name != "posix", reason="on Windows a process never learns of its parent's end")
async def test_it_ends_when_its_parent_process_is_killed() -> None:
    node = f"node --require '{PRELOAD}' -e 'setInterval(() => 0, 1000); console.log(\"up\")'"
    parent = await asyncio.create_subprocess_exec("sh", "-c", f"{node}; true", stdout=asyncio.subprocess.PIPE)
    assert parent.stdout
    async with asyncio.timeout(30):
        assert await parent.stdout.readline() == b"up\n"
        parent.kill()
        # The pipe is the child's too: it ends with the last of both.
        assert await parent.stdout.read() == b""
        await parent.wait()
