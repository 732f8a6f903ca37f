"""Runs a module as `python -m` would, with a store and a queue that do nothing: what a turn costs without storage.

python -m benchmarks.no_storage app.local --port 7071
"""

from __future__ import annotations

import runpy
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from app.storage import factory
from app.storage.conversations import ConversationKey, StoredMessage
from app.storage.keyed_records import Record, RecordKey
from app.storage.ledger import BeginResult, TurnKey, TurnRecord, TurnState
from app.storage.queue import MessageReceiver, Receipt, ReceivedMessage


class NoStore:
    """Every turn is new, and nothing is kept."""

    def __init__(self, path: Path) -> None:
        """Called as that of `SqliteStore`; there is no file."""

    def queue(self, name: str) -> MessageReceiver:
        return NoQueue()

    async def recent(self, key: ConversationKey, limit: int) -> list[StoredMessage]:
        return []

    async def forget(self, key: ConversationKey, *, threads: bool = False) -> None: ...

    async def begin(self, turn: TurnRecord, *, remember: int) -> BeginResult | None:
        return BeginResult(replace(turn, ticket=1, version="1"), (), has_predecessor=False)

    async def find(self, key: TurnKey) -> TurnRecord | None:
        return None

    async def change(self, record: TurnRecord) -> TurnRecord:
        return record

    async def end(self, record: TurnRecord, state: TurnState, messages: Sequence[StoredMessage]) -> None: ...

    async def ahead(self, record: TurnRecord) -> float | None:
        return None

    async def delete_before(self, moment: float) -> int:
        return 0

    async def read(self, key: RecordKey) -> Record | None:
        return None

    async def write(self, record: Record) -> Record:
        return record

    async def ping(self) -> None: ...

    async def close(self) -> None: ...


class NoQueue:
    async def put(self, body: str, *, visibility_timeout: float) -> Receipt:
        return Receipt("1", "1")

    async def update_visibility(self, receipt: Receipt, *, visibility_timeout: float) -> Receipt:
        return receipt

    async def delete(self, receipt: Receipt) -> None: ...

    async def take(self, most: int, *, visibility_timeout: float) -> list[ReceivedMessage]:
        return []

    async def ping(self) -> None: ...

    async def close(self) -> None: ...


def main(arguments: list[str]) -> None:
    setattr(factory, "SqliteStore", NoStore)  # noqa: B010  (to the type checker it is another class)
    module, sys.argv[1:] = arguments[0], arguments[1:]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(sys.argv[1:])
