"""Requests of Foundry's agents through the host that Azure Functions starts, on a file, with a model over HTTP."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import re
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from azure.storage.queue.aio import QueueClient

from app.composition.functions_host import FunctionsHost
from app.config import load_settings
from app.foundry.requests.tool_message import UNREADABLE_ARGUMENTS
from app.foundry.requests.tool_requests import POISONED
from app.storage.breaker_queue import BreakerQueue
from app.storage.factory import open_storage
from app.storage.storage_errors import StorageError
from app.turns.queue_dispatcher import ShuttingDownError
from tests.fakes.azurite import Azurite
from tests.fakes.deployed_app import deployed_in
from tests.fakes.foundry_requests import RecordedTelemetry
from tests.fakes.serving_endpoint import TOKEN, ServingEndpoint, Stream, chat_stream

OURS = "azure-function-sales-output"


@pytest.fixture
async def endpoint() -> AsyncIterator[ServingEndpoint]:
    async with ServingEndpoint() as endpoint:
        endpoint.replies += [chat_stream("It is 7.")] * 9
        yield endpoint


@pytest.fixture
async def host(endpoint: ServingEndpoint, tmp_path: Path) -> AsyncIterator[FunctionsHost]:
    made = opened(endpoint, tmp_path)
    yield made
    await made.close()


def opened(endpoint: ServingEndpoint, folder: Path, **more: str) -> FunctionsHost:
    settings = {
        "DATABRICKS_BASE_URL": endpoint.base_url,
        "DATABRICKS_MODEL_NAME": "my-model",
        "DATABRICKS_TOKEN": TOKEN,
        "DATA_DIR": str(folder),
        "FOUNDRY_TOOL_NAME": "sales",
        "FOUNDRY_CACHE_SECONDS": "0",
        **more,
    }
    return FunctionsHost(load_settings(settings))


def message(id: str | None = "c1", **more: Any) -> bytes:
    body = {"function_args": {"query": "Sales?"}, **({"CorrelationId": id} if id else {}), **more}
    return json.dumps(body).encode()


async def receive(host: FunctionsHost, content: bytes, id: str = "m1") -> None:
    await host.receive_foundry_request("ask", content, id, time.time())


async def on_queue(folder: Path, name: str = OURS) -> list[Any]:
    queue = open_storage(folder / "conversations.sqlite").open_queue(name)
    return [json.loads(each.body) for each in await queue.receive(32, visibility_timeout=60)]


async def test_a_request_is_answered_on_the_output_queue_and_nowhere_else(
    host: FunctionsHost, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    for number, uri in enumerate(["https://evil.example/azure-function-other-output", "http://127.0.0.1/a/" + OURS]):
        await receive(
            host,
            base64.b64encode(
                message(f"c{number}", outputqueueuri="x", function_args={"query": "Sales?", "outputqueueuri": uri})
            ),
        )
    assert sorted(map(str, await on_queue(tmp_path))) == [
        str({"Value": "It is 7.", "CorrelationId": f"c{number}"}) for number in range(2)
    ]
    assert caplog.text.count("names another output queue") == 1
    assert not re.search("Sales|evil|It is 7", caplog.text), "what was asked or answered is in the log"
    with closing(sqlite3.connect(tmp_path / "conversations.sqlite")) as file:
        assert file.execute("SELECT queue FROM queue_message").fetchall() == [(OURS,)] * 2
        assert file.execute("SELECT COUNT(*) FROM message").fetchone() == (0,), "the history holds what was said"


async def test_a_poisoned_request_is_answered_and_one_that_nobody_can_be_answered_is_dropped_with_its_id(
    host: FunctionsHost, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await host.receive_poisoned_foundry_request("ask", message("c1"), "m1", time.time())
    await host.receive_poisoned_foundry_request("ask", b"no message", "m2", time.time())
    await receive(host, message(None, secret="SECRET"), "m3")
    await receive(host, message("c4", function_args="Sales?"), "m4")
    answers = {each["CorrelationId"]: each["Value"] for each in await on_queue(tmp_path)}
    assert answers == {"c1": POISONED, "c4": UNREADABLE_ARGUMENTS}
    logged = [each.getMessage() for each in caplog.records if each.levelno == logging.ERROR]
    assert [line.split()[1] for line in logged] == ["m1", "m2", "m2", "m3"]
    assert "SECRET" not in caplog.text
    assert "poison" in logged[0]
    assert logged[3].endswith("it has no CorrelationId")


async def test_an_answered_request_that_comes_from_the_poison_queue_keeps_its_value(
    host: FunctionsHost, tmp_path: Path
) -> None:
    await receive(host, message())
    await host.receive_poisoned_foundry_request("ask", message(), "m2", time.time())
    assert [each["Value"] for each in await on_queue(tmp_path)] == ["It is 7."]


async def test_health_says_whether_the_queues_answer_once_a_request_has_come(
    host: FunctionsHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def state() -> object:
        host.health._dependencies._check_again_at = 0.0  # type: ignore[union-attr]
        return json.loads((await host.health.answer_with_dependencies("GET")).body)["foundry"]["state"]

    assert await state() == "not checked"
    await receive(host, message())
    assert await state() == "answers"
    assert host._foundry is not None
    break_off(host._foundry._outputs[0])
    assert await state() == "circuit open"
    seen = RecordedTelemetry()
    # What is recorded goes elsewhere once telemetry has been imported, at some time after the first answer.
    monkeypatch.setattr(host.core.telemetry._recorder, "measured", seen.measured)
    host._foundry._outputs[0]._breaker._open_until = 0.0
    assert await state() == "answers"
    changes = {
        "agent.circuit_breaker.name": f"queue {OURS}",
        "agent.circuit_breaker.state": "closed",
    }
    assert seen.counted("agent.circuit_breaker.changes", **changes) == 1


def break_off(queue: BreakerQueue) -> None:
    queue._breaker._failing_seconds = 0.0
    for _ in range(5):
        with queue._breaker.call() as call:
            call.failed()


async def test_a_queue_that_takes_no_answers_holds_up_no_other_tools(host: FunctionsHost, tmp_path: Path) -> None:
    foundry = await host._foundry_host()
    foundry._open_output("diagnose_job")
    break_off(foundry._outputs[0])
    await receive(host, message())
    assert [each["Value"] for each in await on_queue(tmp_path)] == ["It is 7."]


async def test_a_worker_that_ends_hands_its_requests_over_and_takes_no_more(
    endpoint: ServingEndpoint, tmp_path: Path
) -> None:
    host = opened(endpoint, tmp_path)
    endpoint.replies.appendleft(Stream(["hang"]))
    receiving = asyncio.create_task(receive(host, message()))
    await endpoint.began.wait()
    await host.close()
    # The host may delete the message: another worker has the request.
    await receiving
    with pytest.raises(ShuttingDownError):
        await receive(host, message("c2"))
    other = opened(endpoint, tmp_path)
    (envelope,) = await envelopes(tmp_path)
    await other.process_foundry_message(base64.b64encode(envelope.encode()))
    await other.close()
    assert [each["Value"] for each in await on_queue(tmp_path)] == ["It is 7."]


async def envelopes(folder: Path) -> list[str]:
    queue = open_storage(folder / "conversations.sqlite").open_queue("foundry-requests")
    return [each.body for each in await queue.receive(32, visibility_timeout=60)]


async def test_a_poisoned_envelope_is_answered_once_and_left_to_the_host_by_a_worker_that_ends(
    endpoint: ServingEndpoint, tmp_path: Path
) -> None:
    first, second, third = (opened(endpoint, tmp_path) for _ in range(3))
    endpoint.replies.appendleft(Stream(["hang"]))
    receiving = asyncio.create_task(receive(first, message()))
    await endpoint.began.wait()
    await first.close()
    await receiving
    (envelope,) = await envelopes(tmp_path)
    content = base64.b64encode(envelope.encode())
    await second._foundry_host()
    await second.close()
    with pytest.raises(ShuttingDownError):
        await second.process_poisoned_foundry_message(content, "m1")
    assert await on_queue(tmp_path) == []
    for _ in range(2):
        await third.process_poisoned_foundry_message(content, "m1")
    await third.close()
    assert await on_queue(tmp_path) == [{"Value": POISONED, "CorrelationId": "c1"}]


async def test_an_envelope_that_cannot_be_read_is_moved_to_the_poison_queue_and_dropped_there(
    endpoint: ServingEndpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    deployed = deployed_in(monkeypatch, tmp_path)
    async with deployed(endpoint, AzureFunctionsJobHost__extensions__queues__visibilityTimeout="00:00:00"):
        storage = open_storage(tmp_path / "kept here" / "conversations.sqlite")
        queue, poison = (storage.open_queue(f"foundry-requests{end}") for end in ("", "-poison"))
        await queue.put("SECRET", visibility_timeout=0)
        async with asyncio.timeout(20):
            while "is dropped, without an answer" not in caplog.text:  # noqa: ASYNC110 - the host polls
                await asyncio.sleep(0.02)
    assert await queue.receive(5, visibility_timeout=1) == await poison.receive(5, visibility_timeout=1) == []
    assert re.search(r"Message \S+ on the poison queue of foundry-requests is dropped", caplog.text)
    assert "SECRET" not in caplog.text


async def test_a_function_ends_before_its_time_limit_and_the_answer_is_sent_all_the_same(
    host: FunctionsHost, endpoint: ServingEndpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.composition.foundry._WAITING_SECONDS", 0.05)
    goes_on = asyncio.Event()
    endpoint.replies.appendleft(Stream([goes_on, *chat_stream("It took long.").steps]))
    await receive(host, message())
    assert await on_queue(tmp_path) == []
    goes_on.set()
    for _ in range(500):
        if answers := await on_queue(tmp_path):
            break
        await asyncio.sleep(0.02)
    assert [each["Value"] for each in answers] == ["It took long."]


async def test_a_request_that_is_not_recorded_when_its_worker_ends_is_left_to_the_host(
    endpoint: ServingEndpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host, asked = opened(endpoint, tmp_path), asyncio.Event()

    async def hang(*_: object, **__: object) -> None:
        asked.set()
        await asyncio.sleep(60)

    monkeypatch.setattr("app.turns.runner._CLAIM_GRACE_SECONDS", 0.01)
    monkeypatch.setattr(host.core.storage.conversations, "begin", hang)
    receiving = asyncio.create_task(receive(host, message()))
    await asked.wait()
    await host.close()
    with pytest.raises(ShuttingDownError):
        await receiving


async def test_a_request_that_cannot_be_recorded_is_left_to_the_host(
    host: FunctionsHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object, **__: object) -> None:
        raise StorageError("ServerBusy")

    with monkeypatch.context() as broken:
        broken.setattr(host.core.storage.conversations, "begin", refuse)
        with pytest.raises(StorageError):
            await receive(host, message())
    await receive(host, message())
    assert len(await on_queue(tmp_path)) == 1


@pytest.mark.slow
async def test_a_long_answer_is_cut_for_its_queue_and_all_of_it_is_behind_a_link_that_only_reads(
    endpoint: ServingEndpoint, azurite: Azurite
) -> None:
    endpoint.replies.appendleft(chat_stream("Größe 7\n" * 7_000))
    host = opened(
        endpoint,
        Path(),
        AzureWebJobsStorage=azurite.connection_string,
        FOUNDRY_ANSWER_LINKS="true",
    )
    await receive(host, message("long"))
    await host.close()
    async with QueueClient.from_connection_string(azurite.connection_string, OURS) as queue:
        received = await queue.receive_message()
    assert received is not None
    answer = json.loads(base64.b64decode(received.content))
    assert answer["CorrelationId"] == "long"
    found = re.search(r"All of it, for an hour: (\S+)\]$", answer["Value"])
    assert found, answer["Value"][-400:]
    async with httpx.AsyncClient() as client:
        whole = await client.get(found[1])
        written = await client.put(found[1], content="x", headers={"x-ms-blob-type": "BlockBlob"})
    assert (whole.status_code, whole.text) == (200, ("Größe 7\n" * 7_000).strip())
    assert written.status_code == 403
