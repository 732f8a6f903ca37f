from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.agent_server.page.page_server import PageServer, page_server


@pytest.fixture
async def page(tmp_path: Path) -> AsyncIterator[PageServer]:
    async with page_server(tmp_path) as made:
        yield made
