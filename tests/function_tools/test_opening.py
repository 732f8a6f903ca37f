"""What a function's queue needs before its first question, such as a token, is fetched before the call is recorded."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from app.function_tools.function_calls import CALLS
from tests.fakes.function_queues import MemoryRemoteQueue
from tests.function_tools.function_workers import LISBON, Workers, context, ended, run, told


def test_a_worker_that_dies_while_it_signs_in_to_a_queue_leaves_the_question_to_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(_: MemoryRemoteQueue) -> None:
        await asyncio.Event().wait()

    async def scenario(workers: Workers) -> None:
        with monkeypatch.context() as signing_in:
            signing_in.setattr(MemoryRemoteQueue, "open", hang)
            first = asyncio.create_task((await workers.registry()).run(LISBON, context()))
            await asyncio.sleep(1)
            assert not (await workers.documents.list_page(CALLS, "function_tools")).documents
            await ended(first)
        serving = asyncio.create_task(workers.queues.serve(lambda _: "Sunny"))
        assert told(await (await workers.registry()).run(LISBON, context())) == "Sunny"
        await ended(serving)

    run(tmp_path, scenario)
