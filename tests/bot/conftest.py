"""Bots, chats that watch jobs, and the channel."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.bot.job_chats import JobChats, job_chats, unhurried
from tests.fakes.bots import MakeBot, bots
from tests.fakes.open_channel import Channel, a_channel


@pytest.fixture
async def make_bot(tmp_path: Path) -> AsyncIterator[MakeBot]:
    async with bots(tmp_path) as make:
        yield make


@pytest.fixture
async def chats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[JobChats]:
    unhurried(monkeypatch)
    async with job_chats(tmp_path) as made:
        yield made


@pytest.fixture
async def channel() -> AsyncIterator[Channel]:
    async with a_channel() as opened:
        yield opened
