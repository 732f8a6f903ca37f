"""A storage account on bad days: answers get lost, storage stands still, tables are missing, keys are not allowed."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jwt
import pytest
from azure.core.exceptions import HttpResponseError, ServiceRequestError
from azure.data.tables.aio import TableServiceClient
from pydantic import SecretStr

from app.storage.artifacts import Artifact, ArtifactKey
from app.storage.azure.azure_calls import storage_call
from app.storage.azure.azure_clients import (
    find_remote_queues,
    open_azure_queue,
    open_azure_remote_queue,
    open_container,
    open_documents_table,
)
from app.storage.azure.azure_queue import AzureQueue
from app.storage.azure.table_store import TableStore
from app.storage.documents import Collection, Document, DocumentKey
from app.storage.ledger import BeginResult, TurnState
from app.storage.queue import PopReceiptMismatchError
from app.storage.storage_account import StorageAccount
from app.storage.storage_credential import StorageCredential
from app.storage.storage_errors import StorageError
from tests.fakes import stores
from tests.fakes.azurite import Azurite, free_ports, installed
from tests.fakes.certificate import localhost
from tests.fakes.entra import IDENTITY_HEADER, Entra
from tests.fakes.stores import ANN, Wire, account, conversations_table, exchange, turn

pytestmark = pytest.mark.slow


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
async def store(azurite: Azurite, wire: Wire) -> AsyncIterator[TableStore]:
    store = conversations_table(account(azurite), f"t{uuid.uuid4().hex}", transport=wire)
    await store.ping()
    yield store
    await store.close()


@pytest.fixture
async def queue(azurite: Azurite, wire: Wire) -> AsyncIterator[AzureQueue]:
    queue = open_azure_queue(account(azurite), f"q{uuid.uuid4().hex}", transport=wire)
    await queue.create()
    yield queue
    await queue.close()


async def test_a_queue_with_a_wrong_key_fails_its_ping(azurite: Azurite) -> None:
    text = azurite.connection_string.replace("AccountKey=", "AccountKey=AAAA")
    queue = open_azure_queue(StorageAccount(SecretStr(text)), "turns")
    with pytest.raises(StorageError):
        await queue.ping()
    await queue.close()


async def begin(store: TableStore, activity: str = "a1", owner: str = "worker-1") -> BeginResult:
    return await stores.begin(store, turn(activity, owner=owner))


async def test_a_turn_costs_three_round_trips_before_the_model_is_asked(
    store: TableStore, queue: AzureQueue, wire: Wire
) -> None:
    for n in range(3):
        await store.end((await begin(store, f"a{n}")).record, TurnState.ANSWERED, exchange(n))
    wire.requests.clear()
    entered, _ = await asyncio.gather(begin(store, "a9"), queue.put("a turn", visibility_timeout=31))
    assert len(entered.history) == 6
    assert len(wire.requests) == 3, wire.requests


async def test_renewing_and_closing_a_turn_cost_one_round_trip_each(
    store: TableStore, queue: AzureQueue, wire: Wire
) -> None:
    record, receipt = (await begin(store)).record, await queue.put("a turn", visibility_timeout=31)
    wire.requests.clear()
    record = await store.change(record.changed(lease_until=99))
    receipt = await queue.update_visibility(receipt, visibility_timeout=31)
    assert len(wire.requests) == 2, wire.requests
    await store.end(record, TurnState.ANSWERED, exchange(1))
    await queue.delete(receipt)
    assert len(wire.requests) == 4, wire.requests


async def test_a_turn_whose_entry_got_no_answer_is_not_taken_for_a_repeat(store: TableStore, wire: Wire) -> None:
    await store.end((await begin(store, "a0")).record, TurnState.ANSWERED, exchange(0))
    wire.lost = 1
    entered = await begin(store)
    assert wire.lost == 0
    assert (entered.has_predecessor, list(entered.history)) == (False, exchange(0))
    assert await store.find(entered.record.key) == entered.record
    assert await store.begin(turn(owner="worker-2"), history_limit=1) is None


async def test_a_renewal_that_got_no_answer_keeps_the_lease(store: TableStore, wire: Wire) -> None:
    record = (await begin(store)).record
    wire.lost = 1
    renewed = await store.change(record.changed(lease_until=99))
    assert (wire.lost, renewed.lease_until) == (0, 99)
    await store.change(renewed.changed(checkpoint="goes on"))


async def test_an_end_that_got_no_answer_is_stored_once(store: TableStore, wire: Wire) -> None:
    record = (await begin(store)).record
    wire.lost = 1
    await store.end(record, TurnState.ANSWERED, exchange(1))
    assert wire.lost == 0
    assert await store.recent(ANN, 9) == exchange(1)
    assert not (await begin(store, "a2")).has_predecessor


async def test_a_document_write_that_got_no_answer_is_no_conflict(azurite: Azurite, wire: Wire) -> None:
    documents = open_documents_table(account(azurite), f"t{uuid.uuid4().hex}", transport=wire)
    await documents.create()
    key = DocumentKey(Collection("watches"), "tenant", "w")
    wire.lost = 1
    first = await documents.put(Document(key, "1", due_at=1.0))
    wire.lost = 1
    second = await documents.put(replace(first, value="2", due_at=2.0))
    assert wire.lost == 0
    assert await documents.get(key) == second
    wire.lost = 1
    await documents.delete(key)
    assert (wire.lost, await documents.get(key)) == (0, None)
    await documents.close()


async def test_a_deletion_that_got_no_answer_is_made_once_more(
    store: TableStore, queue: AzureQueue, wire: Wire
) -> None:
    await store.end((await begin(store)).record, TurnState.ANSWERED, exchange(1))
    receipt = await queue.put("m", visibility_timeout=0)
    wire.lost = 1
    await store.forget(ANN)
    wire.lost = 1
    await queue.delete(receipt)
    assert wire.lost == 0
    assert await store.recent(ANN, 9) == []
    assert await queue.receive(9, visibility_timeout=1) == []


async def test_a_queue_message_is_not_lost_when_an_answer_is(queue: AzureQueue, wire: Wire) -> None:
    wire.lost = 1
    receipt = await queue.put("m", visibility_timeout=60)
    wire.lost = 1
    with pytest.raises(PopReceiptMismatchError):
        await queue.update_visibility(receipt, visibility_timeout=0)
    assert wire.lost == 0
    assert {message.body for message in await queue.receive(9, visibility_timeout=60)} == {"m"}


class Unreachable(Wire):
    async def send(self, request: Any, **options: Any) -> Any:
        if self.lost:
            self.lost -= 1
            raise ServiceRequestError("there is no way to it")
        return await super().send(request, **options)


class Failing(Wire):
    """Does what it says that it has not done."""

    async def send(self, request: Any, **options: Any) -> Any:
        lost, self.lost = self.lost, 0
        response = await super().send(request, **options)
        if lost:
            self.lost = lost - 1
            response.status_code = 500
        return response


@pytest.mark.parametrize(("wire", "messages"), [(Wire(), 3), (Failing(), 3), (Unreachable(), 1)])
async def test_a_message_that_may_be_on_the_queue_more_than_once_says_so(
    queue: AzureQueue, wire: Wire, messages: int
) -> None:
    await queue.create()
    wire.lost = 2
    receipt = await queue.put("m", visibility_timeout=0)
    assert wire.lost == 0
    assert receipt.repeats == messages - 1
    assert len(await queue.receive(9, visibility_timeout=60)) == messages


async def test_a_failed_call_can_be_repeated(azurite: Azurite, wire: Wire) -> None:
    once: dict[str, Any] = {"retry_total": 1, "retry_backoff_factor": 0}
    store = conversations_table(account(azurite), f"t{uuid.uuid4().hex}", transport=wire, **once)
    await store.create()
    wire.lost = 4
    with pytest.raises(StorageError, match="ServiceResponseError"):
        await store.begin(turn(), history_limit=1)
    wire.lost = 0
    record = (await begin(store)).record
    for lease_until in (1.5, 2.5):
        renewal = record.changed(lease_until=lease_until)
        wire.lost = 4
        with pytest.raises(StorageError):
            await store.change(renewal)
        wire.lost = 0
        record = await store.change(renewal)
    wire.lost = 4
    with pytest.raises(StorageError):
        await store.end(record, TurnState.ANSWERED, exchange(1))
    wire.lost = 0
    await store.end(record, TurnState.ANSWERED, exchange(1))
    assert await store.recent(ANN, 9) == exchange(1)
    await store.close()


async def test_an_outage_of_five_seconds_only_delays_calls(
    azurite: Azurite, store: TableStore, queue: AzureQueue
) -> None:
    record, receipt = (await begin(store)).record, await queue.put("m", visibility_timeout=60)
    azurite.pause()
    try:
        calls = asyncio.gather(
            begin(store, "a2"),
            store.change(record.changed(lease_until=99)),
            queue.put("n", visibility_timeout=60),
            queue.update_visibility(receipt, visibility_timeout=60),
        )
        await asyncio.sleep(5)
        assert not calls.done()
    finally:
        azurite.resume()
    entered, changed, _, _ = await asyncio.wait_for(calls, 5)
    assert entered.has_predecessor
    await store.end(changed, TurnState.ANSWERED, exchange(1))
    assert await store.start(entered.record) is None


async def test_calls_before_storage_has_started_are_retried() -> None:
    azurite = Azurite(installed(), free_ports())
    starting = asyncio.create_task(asyncio.to_thread(azurite.__enter__))
    store, queue = conversations_table(account(azurite), "conversations"), open_azure_queue(account(azurite), "turns")
    try:
        await asyncio.gather(begin(store), queue.put("m", visibility_timeout=0))
    finally:
        await starting
        azurite.__exit__()
        await store.close()
        await queue.close()


async def test_a_deleted_table_is_created_again(azurite: Azurite) -> None:
    name = f"t{uuid.uuid4().hex}"
    store = conversations_table(account(azurite), name)
    async with TableServiceClient.from_connection_string(azurite.connection_string) as service:
        for call in (
            lambda: store.begin(turn(), history_limit=1),
            lambda: store.recent(ANN, 1),
            lambda: store.find(turn().key),
            lambda: store.forget(ANN, threads=True),
            lambda: store.delete_before(time.time()),
            store.ping,
        ):
            await call()
            await store.ping()
            await service.delete_table(name)
    await store.close()


async def test_a_deleted_queue_is_created_again(azurite: Azurite) -> None:
    queue = open_azure_queue(account(azurite), f"q{uuid.uuid4().hex}")
    assert await queue.receive(1, visibility_timeout=1) == []
    await queue._queue.delete_queue()
    receipt = await queue.put("m", visibility_timeout=0)
    await queue._queue.delete_queue()
    with pytest.raises(PopReceiptMismatchError):
        await queue.update_visibility(receipt, visibility_timeout=1)
    await queue.close()


async def test_a_refused_call_fails_with_azures_error_code(azurite: Azurite) -> None:
    text = account(azurite).connection_string
    assert text is not None
    wrong = StorageAccount(type(text)(text.get_secret_value().replace("AccountKey=E", "AccountKey=A")))
    store, queue = conversations_table(wrong, "conversations"), open_azure_queue(wrong, "turns")
    for call in (store.begin(turn(), history_limit=1), store.ping(), queue.put("m", visibility_timeout=0)):
        with pytest.raises(StorageError) as caught:
            await call
        assert isinstance(caught.value.__cause__, HttpResponseError)
        assert "Auth" in str(caught.value)
    await store.close()
    await queue.close()


async def test_a_call_is_ended_at_its_time_limit() -> None:
    class Endless:
        async def create(self) -> None: ...

        @storage_call(0.01)
        async def wait(self) -> None:
            await asyncio.Event().wait()

    with pytest.raises(StorageError, match="TimeoutError"):
        await Endless().wait()


async def test_a_managed_identity_opens_tables_queues_and_blobs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, trusted = localhost(tmp_path)
    options = ("--oauth", "basic", "--cert", str(trusted), "--key", str(tmp_path / "private.pem"))
    now = int(time.time())
    claims = {"aud": "https://storage.azure.com", "iss": "https://sts.windows.net/tenant/", "exp": now + 3600}
    token = jwt.encode({**claims, "iat": now, "nbf": now - 60}, "k" * 32)
    async with Entra() as entra:
        given = {"access_token": token, "expires_on": str(now + 3600), "token_type": "Bearer"}
        entra.answer = (200, {**given, "resource": "https://storage.azure.com"})
        monkeypatch.setenv("IDENTITY_ENDPOINT", entra.managed_identity_endpoint)
        monkeypatch.setenv("IDENTITY_HEADER", IDENTITY_HEADER)
        with Azurite(installed(), options=options) as azurite:
            tables, queues, blobs = (azurite.address(each, "https", "localhost") for each in ("table", "queue", "blob"))
            identity = StorageAccount(tables=tables, queues=queues, blobs=blobs, client_id="the-bots-identity")
            tls, credential = str(trusted), StorageCredential(identity.client_id)
            remote = open_azure_remote_queue(queues, "turns", identity, credential, connection_verify=tls)
            await remote.open()
            assert len(entra.asked) == 1, "the token is there before the first call"
            store = conversations_table(identity, "conversations", credential=credential, connection_verify=tls)
            queue = open_azure_queue(identity, "turns", credential=credential, connection_verify=tls)
            artifacts = open_container(identity, "artifacts", credential=credential, connection_verify=tls)
            await store.end((await begin(store)).record, TurnState.ANSWERED, exchange(1))
            await queue.put("m", visibility_timeout=0)
            table = Artifact(ArtifactKey(ANN, "table"), b"a,b", "text/csv")
            await artifacts.put(table)
            assert await artifacts.get(table.key) == table
            assert await store.recent(ANN, 2) == exchange(1)
            assert [message.body for message in await queue.receive(1, visibility_timeout=60)] == ["m"]
            await remote.put("question", time_to_live_seconds=60)
            assert [message.body for message in await remote.receive(1, visibility_timeout=60)] == ["question"]
            found = await find_remote_queues(queues, ["turns", "other"], credential, connection_verify=tls)
            assert found == {"turns": True, "other": False}
            await remote.close()
            await store.close()
            await queue.close()
            await artifacts.close()
            await credential.close()
        asked = [(request["client_id"], request["resource"].rstrip("/")) for request in entra.asked]
        assert asked == [("the-bots-identity", "https://storage.azure.com")]
