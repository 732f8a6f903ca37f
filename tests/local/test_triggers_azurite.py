"""The function host on Azurite: what another client of the storage account puts on a queue starts its function."""

from __future__ import annotations

import asyncio
import base64
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from azure.core.exceptions import ResourceNotFoundError
from azure.storage.queue.aio import QueueClient, QueueServiceClient

from tests.fakes.azurite import Azurite, installed
from tests.fakes.host_process import HostProcess

APP = """
import azure.functions as func

app = func.FunctionApp()


@app.route("alive")
async def alive(req: func.HttpRequest) -> str:
    return "yes"


@app.queue_trigger("msg", "turns", "AzureWebJobsStorage")
async def resume(msg: func.QueueMessage) -> None:
    print(msg.get_body().decode(), msg.dequeue_count, flush=True)
    if b"bad" in msg.get_body():
        raise ValueError("this will never do")
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (shutil.which("npm") and shutil.which("node")), reason="there is no Node.js"),
]


@pytest.fixture(scope="module")
def azurite() -> Iterator[Azurite]:
    with Azurite(installed()) as running:
        yield running


@pytest.fixture
async def service(azurite: Azurite) -> AsyncIterator[QueueServiceClient]:
    async with QueueServiceClient.from_connection_string(azurite.connection_string) as service:
        yield service


@pytest.fixture
def process(tmp_path: Path, azurite: Azurite) -> Iterator[HostProcess]:
    (tmp_path / "function_app.py").write_text(APP)
    process = HostProcess(
        "--root",
        str(tmp_path),
        AzureWebJobsStorage=azurite.connection_string,
        AzureFunctionsJobHost__extensions__queues__maxPollingInterval="00:00:00.2",
    )
    yield process
    process.kill()


def on_the_wire(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


async def bodies(queue: QueueClient) -> list[str]:
    try:
        return [message.content async for message in queue.receive_messages()]
    except ResourceNotFoundError:
        return []


async def test_messages_of_other_clients_are_served_or_moved_to_the_poison_queue(
    process: HostProcess, service: QueueServiceClient
) -> None:
    await asyncio.to_thread(process.address)
    turns, poison = (service.get_queue_client(name) for name in ("turns", "turns-poison"))
    await turns.create_queue()
    for content in (on_the_wire("ä good one"), on_the_wire("bad"), "never encoded: bad"):
        await turns.send_message(content)
    said = [await asyncio.to_thread(process.line) for _ in range(6)]
    assert sorted(said) == [*(f"bad {number}\n" for number in range(1, 6)), "ä good one 1\n"]
    aside: list[str] = []
    async with asyncio.timeout(20):
        while len(aside) < 2:
            aside += await bodies(poison)
            await asyncio.sleep(0.1)
    assert sorted(aside) == sorted([on_the_wire("bad"), "never encoded: bad"])
    assert (await turns.get_queue_properties()).approximate_message_count == 0
    code, log = await asyncio.to_thread(process.end)
    assert code == 0
    assert log.count("Message has reached MaxDequeueCount of 5. Moving message to queue 'turns-poison'.") == 2
