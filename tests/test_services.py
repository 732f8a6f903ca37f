"""What is built from which settings."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import pytest

from app.config import load_settings
from app.services import Services
from app.storage.late import LateQueue, LateStore
from app.storage.sqlite import SqliteStore

WORKSPACE = {"DATABRICKS_BASE_URL": "https://w.example/serving-endpoints", "DATABRICKS_MODEL_NAME": "m"}
GUID = "11111111-2222-3333-4444-555555555555"
ACCOUNT = {
    "AzureWebJobsStorage__tableServiceUri": "https://a.table.core.windows.net",
    "AzureWebJobsStorage__queueServiceUri": "https://a.queue.core.windows.net",
    "AzureWebJobsStorage__clientId": GUID,
}
IN_AZURE = {"WEBSITE_INSTANCE_ID": "i", "MicrosoftAppId": GUID, "MicrosoftAppTenantId": GUID, **ACCOUNT}


def services(folder: Path, **settings: str) -> Services:
    return Services(load_settings({**WORKSPACE, "DATA_DIR": str(folder), "DATABRICKS_TOKEN": "t", **settings}))


def test_without_a_storage_account_all_is_in_one_file(tmp_path: Path) -> None:
    made = services(tmp_path)
    assert isinstance(made.store, SqliteStore)


@pytest.mark.parametrize("account", [ACCOUNT, {"AzureWebJobsStorage": "UseDevelopmentStorage=true"}])
def test_with_a_storage_account_all_is_in_it(tmp_path: Path, account: dict[str, str]) -> None:
    made = services(tmp_path, **account)
    assert isinstance(made.store, LateStore)
    assert isinstance(made.queue, LateQueue)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGTERM on Windows")
@pytest.mark.parametrize(("where", "listens"), [(IN_AZURE, True), ({}, False)])
async def test_in_azure_turns_are_handed_over_at_sigterm(tmp_path: Path, where: dict[str, str], listens: bool) -> None:
    made = services(tmp_path, **where)
    assert made.messages is made.bot.messages
    assert asyncio.get_running_loop().remove_signal_handler(signal.SIGTERM) is listens
    await made.close()


async def test_what_is_older_than_conversations_are_kept_is_deleted(tmp_path: Path) -> None:
    made = services(tmp_path, CONVERSATION_RETENTION_DAYS="1")
    assert await made.delete_old() == 0
    await made.close()
