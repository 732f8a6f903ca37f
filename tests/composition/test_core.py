"""What is built from which settings, in every host."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from app.agent.events import Answer
from app.agent.turn import Turn
from app.common.caller import UNKNOWN_CALLER
from app.composition.core import Core
from app.config import CoreSettings, load_sections
from app.storage.conversations import ConversationKey
from app.storage.documents import Collection, Document, DocumentKey
from app.storage.lazy import LazyEngine
from app.storage.ledger import TurnKey, TurnRecord, TurnState
from app.storage.sqlite.sqlite_store import SqliteStore
from app.storage.storage_errors import StorageError
from tests.fakes.function_queues import FunctionQueues
from tests.fakes.mcp_server import FakeMcpServer
from tests.fakes.serving_endpoint import DONE, TOKEN, ServingEndpoint, Stream, chat_chunk, chat_stream
from tests.function_tools.function_workers import WEATHER

ROOT = Path(__file__).resolve().parents[2]
WORKSPACE = {"DATABRICKS_BASE_URL": "https://w.example/serving-endpoints", "DATABRICKS_MODEL_NAME": "m"}
ACCOUNT = {
    "AzureWebJobsStorage__tableServiceUri": "https://a.table.core.windows.net",
    "AzureWebJobsStorage__queueServiceUri": "https://a.queue.core.windows.net",
    "AzureWebJobsStorage__blobServiceUri": "https://a.blob.core.windows.net",
    "AzureWebJobsStorage__clientId": "11111111-2222-3333-4444-555555555555",
}


def core(folder: Path, **settings: str) -> Core:
    environment = {**WORKSPACE, "DATA_DIR": str(folder), "DATABRICKS_TOKEN": "t", **settings}
    return Core(load_sections(CoreSettings, environment))


def test_without_a_storage_account_all_is_in_one_file(tmp_path: Path) -> None:
    made = core(tmp_path)
    assert isinstance(made.store, SqliteStore)


@pytest.mark.parametrize("account", [ACCOUNT, {"AzureWebJobsStorage": "UseDevelopmentStorage=true"}])
def test_with_a_storage_account_all_is_in_it(tmp_path: Path, account: dict[str, str]) -> None:
    made = core(tmp_path, **account)
    assert isinstance(made.store, LazyEngine)
    assert isinstance(made.queue, LazyEngine)
    assert isinstance(made.storage.documents, LazyEngine)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("tools", "offered"), [("", True), ("true", True), ("false", False)])
async def test_a_setting_turns_tools_off_and_another_limits_an_answer(
    tmp_path: Path, tools: str, offered: bool
) -> None:
    async with ServingEndpoint("m") as endpoint:
        endpoint.replies.append(chat_stream("x" * 800, "y" * 800))
        address = {"DATABRICKS_BASE_URL": endpoint.base_url, "DATABRICKS_TOKEN": TOKEN}
        made = core(tmp_path, **address, DATABRICKS_TOOLS=tools, MAX_ANSWER_CHARACTERS="1000")
        turn = Turn("1", ConversationKey("tenant", "conversation"), "Why?")
        *_, end = [event async for event in made.agent.answer(turn, [])]
        await made.close()
    assert ("tools" in endpoint.asked[0].body) is offered
    assert end == Answer("x" * 800 + "y" * 200, truncated=True)


async def test_a_models_tool_call_goes_back_to_it_with_all_its_fields(tmp_path: Path) -> None:
    signed = {"extra_content": {"google": {"thought_signature": "c2ln"}}}
    called = {"name": "current_time", "arguments": '{"time_zone": "UTC"}'}
    call = {"index": 0, "id": "c1", "type": "function", "function": called, **signed}
    async with ServingEndpoint("m") as endpoint:
        endpoint.replies.append(Stream([chat_chunk({"tool_calls": [call]}), chat_chunk({}, "tool_calls"), DONE]))
        made = core(tmp_path, DATABRICKS_BASE_URL=endpoint.base_url, DATABRICKS_TOKEN=TOKEN)
        turn = Turn("1", ConversationKey("tenant", "conversation"), "What time is it?")
        *_, end = [event async for event in made.agent.answer(turn, [])]
        await made.close()
    assert isinstance(end, Answer)
    assert end.text == "Hello"
    _, _, asked, result = endpoint.asked[1].body["messages"]
    assert asked["tool_calls"] == [{"id": "c1", "type": "function", "function": called, **signed}]
    assert result["tool_call_id"] == "c1"


async def test_what_is_older_than_conversations_and_documents_are_kept_is_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, now = core(tmp_path, CONVERSATION_RETENTION_DAYS="3"), time.time()
    question = TurnRecord(TurnKey(ConversationKey("t", "c"), "a"), 0, TurnState.STARTED, "worker", 0.0)
    assert await made.store.begin(question, history_limit=0)
    await made.storage.documents.put(Document(DocumentKey(Collection("watches", retention_days=0), "t", "w"), "v"))
    for day, deleted in ((2.9, 1), (3.1, 1)):
        with monkeypatch.context() as later:
            later.setattr("app.composition.core.time.time", lambda day=day: now + day * 24 * 3600)
            assert await made.delete_expired() == deleted, f"after {day} days"
    await made.close()


_WITHOUT_A_BOT = """
import asyncio, sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"botbuilder", "botframework", "msrest"} or name.startswith("azure.functions"):
            raise ImportError(f"{name} is not installed here")

sys.meta_path.insert(0, Blocked())

import app.agent.agent, app.agent.commands, app.tools.clock, app.tools.registry, app.databricks_client
import app.models.chat_completions, app.models.responses
import app.storage.factory, app.storage.azure.azure_clients, app.storage.sqlite.sqlite_store
from app.composition.core import Core
from app.config import CoreSettings, load_sections

async def main():
    core = Core(load_sections(CoreSettings, dict(argument.split("=", 1) for argument in sys.argv[1:])))
    await core.store.ping()
    await core.close()
    print(sorted(name for name in sys.modules if name.startswith(("app.bot", "app.local"))))

asyncio.run(main())
"""


def test_the_agent_its_tools_models_and_storage_run_where_neither_bot_framework_nor_azure_functions_is_installed(
    tmp_path: Path,
) -> None:
    settings = [f"{name}={value}" for name, value in {**WORKSPACE, "DATA_DIR": str(tmp_path)}.items()]
    process = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(_WITHOUT_A_BOT), *settings],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert process.stdout == "[]\n", process.stderr


_NOT_ON_THE_WAY_TO_THE_FIRST_ANSWER = {
    *("app.content.blocks", "app.bot.rendering.adaptive_card", "app.data", "app.genie", "app.sql"),
    *("app.jobs", "app.composition.job_triggers", "app.settings.job_watch_settings", "app.settings.mail_settings"),
    *("app.files", "app.mcp_tools", "app.specialists", "duckdb", "mcp", "sqlglot", "databricks", "azure.storage"),
    *("app.foundry", "app.composition.foundry", "app.function_tools", "app.mcp_server", "starlette"),
    *("oauthlib.oauth2.rfc6749", "requests_oauthlib.oauth2_session", "charset_normalizer.api"),
}


def test_what_only_data_needs_is_not_imported_when_the_app_starts() -> None:
    program = "import sys, function_app; print(*sorted(sys.modules))"
    process = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    imported = process.stdout.split()
    assert "app.agent.agent" in imported, "the program imports nothing"
    assert not {*imported} & _NOT_ON_THE_WAY_TO_THE_FIRST_ANSWER


_WITH_ITS_TOOLS = """
import asyncio, sys
from app.common.caller import UNKNOWN_CALLER
from app.composition.core import Core
from app.composition.tool_providers import ToolServices, tool_providers
from app.config import CoreSettings, load_sections

async def main():
    settings = load_sections(CoreSettings, dict(argument.split("=", 1) for argument in sys.argv[1:]))
    core = Core(settings)
    services = ToolServices(
        settings, core.workspace, core.storage, core.storage_credential, core.stored_results, core.files
    )
    offered = [tool.name for each in tool_providers(services) for tool in await each.tools(UNKNOWN_CALLER)]
    await core.close()
    print(*offered, *sorted(sys.modules))

asyncio.run(main())
"""


def test_what_a_tool_needs_is_imported_when_it_is_called_not_when_the_model_is_told_of_it(tmp_path: Path) -> None:
    configured = {"GENIE_SPACES": "01ef", "GENIE_AGENT_MODE": "true", "SQL_WAREHOUSE_ID": "abc"}
    settings = [f"{name}={value}" for name, value in {**WORKSPACE, **configured, "DATA_DIR": str(tmp_path)}.items()]
    process = subprocess.run(
        [sys.executable, "-c", _WITH_ITS_TOOLS, *settings],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    found = {*process.stdout.split()}
    assert {"run_sql", "genie_01ef", "app.genie.provider"} <= found
    assert not found & {"sqlglot", "duckdb", "mcp", "databricks", "app.genie.agent_mode", "app.sql.read_only"}


def test_what_the_sdk_would_have_imported_works_for_whoever_uses_it() -> None:
    program = """
        import app.bot
        import botframework.connector, requests, requests_oauthlib
        from oauthlib import oauth2
        answer = requests.Response()
        answer._content = "Grüße aus Köln, größer".encode()
        print(answer.text, requests_oauthlib.OAuth2Session("id").client_id, oauth2.OAuth2Error("x").description)
    """
    process = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", textwrap.dedent(program)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )
    assert process.stdout == "Grüße aus Köln, größer id x\n", process.stderr


@pytest.mark.parametrize(
    ("url", "is_another"), [("", False), ("https://w.example", False), ("https://jobs.example", True)]
)
async def test_jobs_may_be_in_another_workspace_than_the_model(tmp_path: Path, url: str, *, is_another: bool) -> None:
    environment = {**WORKSPACE, "DATA_DIR": str(tmp_path), "DATABRICKS_TOKEN": "t"}
    made = Core(load_sections(CoreSettings, environment), job_workspace_url=url)
    assert (made.job_workspace is not made.workspace) is is_another
    await made.close()


async def test_everything_is_closed_in_reverse_even_where_one_part_fails(tmp_path: Path) -> None:
    made = core(tmp_path)
    closed: list[str] = []

    class Part:
        def __init__(self, name: str) -> None:
            self._name = name

        async def close(self) -> None:
            closed.append(self._name)
            if self._name == "queue":
                raise OSError("broken")

    for name in ("telemetry", "storage", "queue", "model"):
        setattr(made, name, Part(name))
    with pytest.raises(OSError, match="broken"):
        await made.close()
    assert closed == ["model", "queue", "storage", "telemetry"]


async def test_mcp_servers_and_specialists_bring_their_tools_and_are_closed(tmp_path: Path) -> None:
    async with FakeMcpServer() as server:
        made = core(
            tmp_path,
            MCP_SERVERS=json.dumps(
                [{"name": "calc", "url": server.url}, {"name": "gone", "url": "http://127.0.0.1:9"}]
            ),
            SPECIALISTS=json.dumps([{"name": "legal", "endpoint": "agents_legal"}]),
        )
        for _ in range(20):
            registry = await made.agent.tools_for(UNKNOWN_CALLER)
            if registry.find("calc__add"):
                break
        assert {"current_time", "ask_legal", "calc__add"} <= {tool.name for tool in registry.tools}
        assert [each.name for each in registry.unavailable] == ["gone"]
        await made.close()
        assert not any("McpConnection" in repr(task.get_coro()) for task in asyncio.all_tasks())


async def test_functions_bring_their_tools_and_are_checked_swept_and_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queues = FunctionQueues()
    monkeypatch.setattr(
        "app.composition.tool_providers.open_remote_queue", lambda endpoint, name, *_: queues.open(endpoint, name)
    )
    made, without = core(tmp_path, FUNCTION_TOOLS=json.dumps([WEATHER])), core(tmp_path)
    assert (await made.agent.tools_for(UNKNOWN_CALLER)).find("weather") is not None
    assert (await without.check_tools(), await made.check_tools()) == (False, True)
    await queues.answer({"Value": "late", "CorrelationId": "of-nobody"})
    await made.delete_expired()
    assert queues.named("fn-out").messages.bodies == []
    queues.named("fn-out").fails = StorageError("ServerBusy")
    await made.delete_expired()
    with pytest.raises(StorageError, match="ServerBusy"):
        await made.check_tools()
    await made.close()
    await without.close()
    assert queues.named("fn-out").closed == 1


_CHATS_WATCH_JOBS = """
import asyncio, sys
from app.composition.core import Core
from app.config import CoreSettings, load_sections

async def main():
    settings = load_sections(CoreSettings, dict(argument.split("=", 1) for argument in sys.argv[1:]))
    core = Core(settings, job_watch=lambda: 1 / 0)
    print(*core.job_chat.commands, *(handler.verb for handler in core.job_chat.action_handlers), *sorted(sys.modules))
    await core.close()

asyncio.run(main())
"""


def test_what_chats_need_to_watch_jobs_is_imported_when_one_first_does(tmp_path: Path) -> None:
    settings = [f"{name}={value}" for name, value in {**WORKSPACE, "DATA_DIR": str(tmp_path)}.items()]
    program = [sys.executable, "-c", _CHATS_WATCH_JOBS, *settings]
    process = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    found = {*process.stdout.split()}
    assert {"/watch", "/unwatch", "/jobs", "approve_job_retry"} <= found
    assert not {name for name in found if name.startswith(("app.jobs", "app.bot", "app.databricks.jobs_api"))}
