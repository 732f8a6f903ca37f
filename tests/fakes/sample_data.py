"""Small sample data for the stand-in workspace: made once a test run, copied where a test changes it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

from aiohttp.test_utils import TestServer

from app.local.genie_agent_stand_in import GenieAgentStandIn
from app.local.genie_stand_in import GenieStandIn
from app.local.sample_data import SampleDatabase, make_sample_data
from app.local.stand_in_replies import api_application
from app.local.warehouse_stand_in import WarehouseStandIn

DATA_TOKEN = "dapi-data"
_SCALE_FACTOR = 0.002


@cache
def small_sample_data() -> Path:
    """3,000 orders; shared, so copy it before you change it."""
    file = Path(mkdtemp(prefix="tpch-")) / "tpch.duckdb"
    make_sample_data(file, _SCALE_FACTOR)
    return file


class DataWorkspace:
    """A workspace at `url`, with DATA_TOKEN, that has a Genie space and a warehouse over real data."""

    def __init__(self, file: Path, rows_per_chunk: int = 1000) -> None:
        self.database = SampleDatabase(file)
        self.warehouse = WarehouseStandIn(self.database, rows_per_chunk=rows_per_chunk)
        self.genie = GenieStandIn(self.warehouse)
        self.genie_agents = GenieAgentStandIn(self.genie, pause_seconds=0.002)
        self.parts = (self.warehouse, self.genie, self.genie_agents)
        self.url = ""


@asynccontextmanager
async def data_workspace(file: Path | None = None, *, rows_per_chunk: int = 1000) -> AsyncIterator[DataWorkspace]:
    data = file if file is not None else await asyncio.to_thread(small_sample_data)
    workspace = DataWorkspace(data, rows_per_chunk)
    application = api_application(DATA_TOKEN, workspace.parts)
    async with TestServer(application, host="127.0.0.1", handler_cancellation=True) as server:
        workspace.url = f"http://127.0.0.1:{server.port}"
        try:
            yield workspace
        finally:
            workspace.database.close()
