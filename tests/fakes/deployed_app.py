"""The function app as it is deployed, served over HTTP with a fake workspace behind it."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from aiohttp import ClientSession

from app.config import setting_names
from app.local import host
from app.local.host_json import HostJson
from app.local.indexing import index
from app.local.lifetime import listen, port_of
from tests.fakes.serving_endpoint import TOKEN, ServingEndpoint

ROOT = Path(__file__).resolve().parents[2]
HEALTH, DEPENDENCIES = "/api/health", "/api/health/dependencies"
MODEL = "confidential-model-name"

Deployed = Callable[..., AbstractAsyncContextManager["Client"]]


class Client:
    def __init__(self, address: str, http: ClientSession) -> None:
        self.address, self._http = address, http

    async def ask(self, path: str, method: str = "GET") -> tuple[int, dict[str, Any]]:
        async with self._http.request(method, self.address + path) as answer:
            assert answer.headers["Cache-Control"] == "no-store"
            return answer.status, await answer.json()

    def request(self, path: str, method: str, **options: Any) -> Any:
        return self._http.request(method, self.address + path, **options)


def function_app() -> ModuleType:
    """As a worker imports it, with whatever the environment says now."""
    spec = importlib.util.spec_from_file_location("function_app_under_test", ROOT / "function_app.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def deployed_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Deployed:
    for name in [*setting_names(), "AZURE_FUNCTIONS_ENVIRONMENT", "WEBSITE_SITE_NAME"]:
        monkeypatch.delenv(name, raising=False)
    settings = {"DATABRICKS_MODEL_NAME": MODEL, "DATABRICKS_TOKEN": TOKEN, "DATA_DIR": str(tmp_path / "kept here")}

    @asynccontextmanager
    async def start(endpoint: ServingEndpoint | None = None, **more: str) -> AsyncIterator[Client]:
        base_url = {"DATABRICKS_BASE_URL": endpoint.base_url} if endpoint else {}
        for name, value in (settings | base_url | more).items():
            monkeypatch.setenv(name, value)
        listener = listen(0)
        module = await asyncio.to_thread(function_app)
        queues = HostJson.read(ROOT, os.environ).queues
        async with host.serving(index(module, ""), listener, queues=queues), ClientSession() as http:
            yield Client(f"http://127.0.0.1:{port_of(listener)}", http)

    return start


def assert_nothing_leaks(body: object, *more: str) -> None:
    said = json.dumps(body)
    for secret in (MODEL, TOKEN, "127.0.0.1", "kept here", "sqlite", "https://", *more):
        assert secret not in said, f"a caller would read {secret!r} in {said}"
