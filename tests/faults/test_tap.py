"""The tap knows who has a turn, from what the workers write and nothing else."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from pydantic import SecretStr

from app.storage.azure.table_store import TableStore
from app.storage.ledger import TurnRecord, TurnState
from app.storage.storage_account import StorageAccount
from app.storage.storage_errors import ConcurrentUpdateError
from tests.fakes.azurite import Azurite
from tests.fakes.stores import conversations_table
from tests.faults.plan import make_plan
from tests.faults.storage import key_of
from tests.faults.tap import Tap

pytestmark = pytest.mark.slow


def store_of(tap: Tap, worker: str) -> TableStore:

    return conversations_table(StorageAccount(SecretStr(tap.connection_string_for(worker))), "conversations")


async def test_who_takes_a_turn_over_is_known_and_who_is_refused_it_is_not_taken_for_it(azurite: Azurite) -> None:
    question, other = make_plan(1, questions=2, conversations=1, seconds=5, workers=1).questions
    async with Tap(azurite, time.monotonic) as tap:
        stores = {name: store_of(tap, name) for name in ("1.1", "2.1", "3.1")}
        try:
            entered = TurnRecord(key_of(question), 0, TurnState.STARTED, "a" * 32, time.time() + 3)
            payload = await stores["1.1"].begin(entered, history_limit=10)
            assert payload
            assert tap.worker_of("a" * 32) == "1.1"
            # Delivered again: nothing is entered.
            assert await stores["2.1"].begin(replace(entered, owner="b" * 32), history_limit=10) is None
            assert not tap.takeovers(question)
            taken = await stores["3.1"].change(payload.record.changed(owner="c" * 32, attempt_count=2))
            with pytest.raises(ConcurrentUpdateError):
                await stores["2.1"].change(payload.record.changed(owner="d" * 32, attempt_count=2))
            await stores["3.1"].end(taken, TurnState.ANSWERED, ())
            assert await stores["2.1"].begin(replace(entered, owner="e" * 32), history_limit=10) is None
        finally:
            for store in stores.values():
                await store.close()
    assert [(taken.before, taken.after) for taken in tap.takeovers(question)] == [("1.1", "3.1")]
    assert tap.worker_of("c" * 32) == "3.1"
    assert not tap.takeovers(other)
