"""A queue that fails or hangs is left alone for a while, and used again once it answers."""

from __future__ import annotations

import asyncio

import pytest

from app.resilience.circuit_breaker import CircuitBreaker
from app.storage.breaker_queue import BreakerQueue
from app.storage.storage_errors import StorageError
from tests.fakes.memory_receiver import MemoryReceiver
from tests.fakes.virtual_time import VirtualTimeLoop


def test_it_fails_at_once_while_the_queue_is_away_and_works_again_once_it_is_back() -> None:
    async def scenario() -> None:
        clock = asyncio.get_running_loop().time
        behind = MemoryReceiver()
        queue = BreakerQueue(behind, CircuitBreaker("output queues", clock=clock))
        receipt = await queue.put("first", visibility_timeout=0)
        receipt = await queue.update_visibility(receipt, visibility_timeout=30)
        behind.fails = True
        for _ in range(12):
            with pytest.raises(StorageError):
                await queue.delete(receipt)
            await asyncio.sleep(1)
        behind.fails = False
        # Still open: the queue is not asked, though it answers.
        with pytest.raises(StorageError, match="circuit breaker of the output queues"):
            await queue.put("second", visibility_timeout=0)
        await asyncio.sleep(5)
        await queue.ping()
        await queue.delete(receipt)
        await queue.put("third", visibility_timeout=0)
        assert behind.bodies == ["third"]
        await queue.close()
        assert behind.closed

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(scenario())
