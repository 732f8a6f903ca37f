"""Which engine is opened, when, and what an import costs nobody who does not need it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from pydantic import SecretStr

from app.storage.artifacts import ArtifactKey
from app.storage.azure import azure_clients
from app.storage.azure.azure_clients import open_azure_queue, open_container
from app.storage.documents import Collection
from app.storage.factory import open_remote_queue, open_storage
from app.storage.lazy import lazy
from app.storage.ledger import ConversationStore, TurnState
from app.storage.queue import MessageReceiver
from app.storage.sqlite.sqlite_store import SqliteStore
from app.storage.storage_account import StorageAccount
from app.storage.storage_errors import StorageError
from tests.fakes.certificate import localhost
from tests.fakes.entra import IDENTITY_HEADER, Entra
from tests.fakes.memory_receiver import MemoryReceiver
from tests.fakes.stores import ANN, conversations_table, exchange, turn

ROOT = Path(__file__).parents[2]
NOBODY = "DefaultEndpointsProtocol=http;AccountName=a;AccountKey=YQ==;EndpointSuffix=127.0.0.1"


async def test_without_an_account_conversations_and_queues_are_in_one_file(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "agent.sqlite"
    storage = open_storage(path)
    store, queue = storage.conversations, storage.open_queue("turns")
    await queue.put("m", visibility_timeout=0)
    assert await store.begin(turn(), history_limit=1) is not None
    assert [message.body for message in await queue.receive(1, visibility_timeout=1)] == ["m"]
    assert [file.name for file in path.parent.glob("*.sqlite")] == ["agent.sqlite"]
    await queue.close()
    assert await store.recent(ANN, 1) == []
    assert await storage.documents.due_before(Collection("watches"), 1.0) == []
    assert await storage.artifacts.get(ArtifactKey(ANN, "a")) is None
    await storage.close()


def test_the_azure_packages_are_imported_by_the_first_call_and_never_on_the_event_loop() -> None:
    program = """
        import asyncio, sys, threading
        from pydantic import SecretStr
        from app.storage.storage_errors import StorageError
        from app.storage.factory import open_remote_queue, open_storage
        from app.storage.storage_account import StorageAccount

        class Watch:
            threads = set()
            def find_spec(self, name, path=None, target=None):
                if name.startswith(("azure", "app.storage.azure", "app.storage.azure.table_store")):
                    self.threads.add(threading.current_thread() is threading.main_thread())

        async def main():
            sys.meta_path.insert(0, Watch())
            account = StorageAccount(None, *["https://127.0.0.1:1/"] * 3, client_id="x")
            storage = open_storage(account)
            queue = storage.open_queue("turns")
            assert not [name for name in sys.modules if name.startswith("azure")], "imported too soon"
            for engine in (storage.conversations, queue, storage.documents):
                await engine.opened()
            assert "azure.storage.blob" not in sys.modules, "needed by no first answer"
            await storage.artifacts.opened()
            assert "azure.data.tables.aio" in sys.modules and "azure.storage.queue.aio" in sys.modules
            print(sorted(Watch.threads))
            await storage.close()
            await queue.close()

        asyncio.run(main())
    """
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert (ran.stdout.strip(), ran.stderr) == ("[False]", "")


async def test_all_clients_of_an_account_share_one_sign_in_which_ends_with_the_storage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    signed: list[tuple[str, str]] = []

    async def empty(request: web.Request) -> web.Response:
        signed.append((request.path, request.headers["Authorization"]))
        if "peekonly" in request.query:
            return web.Response(text="<QueueMessagesList/>", content_type="application/xml")
        if request.path.startswith("/artifacts"):
            return web.Response(status=404, headers={"x-ms-error-code": "BlobNotFound"})
        return web.json_response({"value": []})

    service = web.Application()
    service.router.add_route("*", "/{path:.*}", empty)
    tls, trusted = localhost(tmp_path)
    monkeypatch.setitem(azure_clients._TIMEOUTS, "connection_verify", str(trusted))
    server = TestServer(service, scheme="https", host="localhost")
    await server.start_server(ssl=tls)
    async with Entra() as entra, server:
        monkeypatch.setenv("IDENTITY_ENDPOINT", entra.managed_identity_endpoint)
        monkeypatch.setenv("IDENTITY_HEADER", IDENTITY_HEADER)
        address = str(server.make_url("")).rstrip("/")
        account = StorageAccount(None, address, address, address, client_id="the-bots-identity")
        storage = open_storage(account)
        queue, other = storage.open_queue("turns"), storage.open_queue("other")
        remote = open_remote_queue(address, "remote", account, storage.credential)
        await asyncio.gather(
            *(each.ping() for each in (storage.conversations, queue, other, remote)),
            storage.documents.due_before(Collection("watches"), 1.0),
            storage.artifacts.get(ArtifactKey(ANN, "a")),
        )
        await queue.close()
        await remote.close()
        later = storage.open_queue("later")
        await asyncio.gather(other.ping(), later.ping())
        assert {path.split("/")[1].split("(")[0] for path, _ in signed} == {
            *("conversations", "documents", "artifacts", "turns", "other", "remote", "later")
        }
        assert {authorization for _, authorization in signed} == {"Bearer token-1"}
        assert [each["client_id"] for each in entra.asked] == ["the-bots-identity"]
        await other.close()
        await later.close()
        await storage.close()
        with pytest.raises(StorageError, match="closed"):
            await storage.credential.get_token("https://storage.azure.com/.default")


class Made:
    """Makes an engine, or fails as often as `failures` says."""

    def __init__(self, engine: ConversationStore | MessageReceiver, failures: int = 0) -> None:
        self._engine = engine
        self.failures = failures
        self.times = 0

    def _count(self) -> None:
        assert threading.current_thread() is not threading.main_thread()
        self.times += 1
        if self.times <= self.failures:
            raise ValueError("AccountKey=secret")

    def store(self) -> ConversationStore:
        self._count()
        assert isinstance(self._engine, SqliteStore)
        return self._engine

    def queue(self) -> MessageReceiver:
        self._count()
        assert isinstance(self._engine, MemoryReceiver)
        return self._engine


async def test_concurrent_first_calls_open_the_engine_once(tmp_path: Path) -> None:
    made = Made(SqliteStore(tmp_path / "s.sqlite"))
    store = lazy(made.store)
    results = await asyncio.gather(*(store.begin(turn(f"a{n}"), history_limit=1) for n in range(5)))
    assert all(results)
    assert made.times == 1
    await store.close()


async def test_a_failed_opening_is_tried_again_and_shows_no_secret(tmp_path: Path) -> None:
    made = Made(SqliteStore(tmp_path / "s.sqlite"), failures=2)
    store = lazy(made.store)
    for _ in range(2):
        with pytest.raises(StorageError) as caught:
            await store.ping()
        assert "secret" not in str(caught.value)
        assert isinstance(caught.value.__cause__, ValueError)
    await store.ping()
    assert made.times == 3
    await store.close()


async def test_a_cancelled_first_call_does_not_cancel_the_opening() -> None:
    made, inbox = Made(MemoryReceiver(), failures=1), None
    queue = lazy(made.queue)
    gave_up = asyncio.create_task(queue.put("m", visibility_timeout=0))
    await asyncio.sleep(0)
    gave_up.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gave_up
    with pytest.raises(StorageError):
        await queue.put("m", visibility_timeout=0)
    inbox = await queue.put("m", visibility_timeout=0)
    assert (await queue.receive(1, visibility_timeout=9))[0].receipt.message_id == inbox.message_id
    assert made.times == 2
    await queue.close()


async def test_every_method_of_a_store_and_a_queue_is_forwarded(tmp_path: Path) -> None:
    store = lazy(Made(SqliteStore(tmp_path / "s.sqlite")).store)
    entered = await store.begin(turn(), history_limit=1)
    assert entered is not None
    record = await store.change(entered.record.changed(lease_until=5))
    assert await store.find(record.key) == record
    assert await store.start(record) is None
    await store.end(record, TurnState.ANSWERED, exchange(1))
    assert await store.recent(ANN, 2) == exchange(1)
    await store.forget(ANN, threads=True)
    assert await store.recent(ANN, 2) == []
    assert await store.delete_before(0) == 0
    queue = lazy(Made(MemoryReceiver()).queue)
    await queue.ping()
    receipt = await queue.update_visibility(await queue.put("m", visibility_timeout=9), visibility_timeout=0)
    await queue.delete(receipt)
    assert await queue.receive(1, visibility_timeout=1) == []
    await queue.close()
    await store.close()


async def test_a_closed_engine_is_not_opened_again(tmp_path: Path) -> None:
    made = Made(SqliteStore(tmp_path / "s.sqlite"))
    unused, used = lazy(made.store), lazy(made.store)
    await unused.close()
    await used.ping()
    await used.close()
    await used.close()
    for store in (unused, used):
        with pytest.raises(StorageError, match="closed"):
            await store.ping()
    assert made.times == 1


async def test_an_invalid_connection_string_fails_each_call() -> None:
    store = open_storage(StorageAccount(SecretStr("AccountKey=secret"))).conversations
    for _ in range(2):
        with pytest.raises(StorageError) as caught:
            await store.ping()
        assert "secret" not in str(caught.value)
    await store.close()


@pytest.mark.parametrize(
    "text", ["UseDevelopmentStorage=true", "UseDevelopmentStorage=true;", " usedevelopmentstorage=True "]
)
async def test_development_storage_is_azurite_on_its_own_ports(text: str) -> None:
    account = StorageAccount(SecretStr(text))
    store, queue = conversations_table(account, "conversations"), open_azure_queue(account, "turns")
    artifacts = open_container(account, "artifacts")
    assert store._table.url.rstrip("?") == "http://127.0.0.1:10002/devstoreaccount1"
    assert queue._queue.url.rstrip("?") == "http://127.0.0.1:10001/devstoreaccount1/turns"
    assert artifacts._container.url.rstrip("?") == "http://127.0.0.1:10000/devstoreaccount1/artifacts"
    await artifacts.close()
    await store.close()
    await queue.close()


def test_an_account_shows_no_secret() -> None:
    assert "YQ==" not in repr(StorageAccount(SecretStr(NOBODY)))
