"""A clock, and a store of each engine in which conversations are kept."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.storage.ledger import ConversationStore
from tests.fakes.clock import Clock
from tests.fakes.stores import ENGINES, opened_store


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=ENGINES)
async def store(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> AsyncIterator[ConversationStore]:
    async with opened_store(request, tmp_path, clock) as store:
        yield store
