"""Texts are split so that every piece fits and none is cut."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from app.storage.azure.table_entities import (
    message_entities,
    messages_of,
    turn_entity,
    turn_of,
)
from app.storage.conversations import ConversationKey, StoredMessage
from app.storage.ledger import TurnKey, TurnRecord, TurnState

KEY = ConversationKey("tenant", "conversation", "thread")

# Long texts from few decisions: a short one many times, and something after it.
# As stored: lone surrogates and NUL have been replaced.
CHARACTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
LONG = st.builds(
    lambda piece, times, rest: piece * times + rest,
    st.text(CHARACTERS, min_size=1, max_size=6),
    st.sampled_from([0, 1, 2_666, 15_999, 16_000, 16_001, 27_000]),
    st.text(CHARACTERS, max_size=3),
)


def fits(entity: Mapping[str, Any]) -> bool:
    """A property holds 64 KiB in UTF-16, an entity 1 MiB and 255 properties, a row's key 1 KiB of few characters."""
    sizes = [len(value.encode("utf-16-le")) for value in entity.values() if isinstance(value, str)]
    key = entity["RowKey"]
    return (
        max(sizes) <= 64 * 1024
        and sum(sizes) < 1024 * 1024
        and len(json.dumps(entity)) < 1024 * 1024
        and len(entity) < 252
        and len(key) < 512
        and key.replace("-", "").replace("_", "").isalnum()
        and key.isascii()
    )


@settings(max_examples=60)
@given(st.lists(LONG, min_size=1, max_size=3))
def test_messages_come_back_as_they_were_in_pieces_that_fit(texts: list[str]) -> None:
    said = [StoredMessage("assistant", text) for text in texts]
    rows = sorted(message_entities(KEY, 1_800_000_000_000, said, 1.0), key=lambda row: str(row["RowKey"]))
    assert all(map(fits, rows))
    assert len({row["RowKey"] for row in rows}) == len(rows)
    for limit in range(len(said) + 2):
        assert messages_of(rows, limit) == said[len(said) - min(limit, len(said)) :]


def test_fields_of_a_newer_version_are_left_out() -> None:
    (row,) = message_entities(KEY, 1, [StoredMessage("user", "Why?")], 1.0)
    newer = row | {"messages": row["messages"].replace('"text"', '"mood": "curious", "text"')}
    assert "mood" in newer["messages"]
    assert messages_of([newer], 9) == [StoredMessage("user", "Why?")]


@given(st.lists(st.integers(1, 2 * 10**13), min_size=2, max_size=5, unique=True))
def test_what_was_said_later_is_found_first(tickets: list[int]) -> None:
    rows = [
        row
        for ticket in tickets
        for row in message_entities(KEY, ticket, [StoredMessage("user", str(ticket)), StoredMessage("user", "")], 1.0)
    ]
    found = messages_of(sorted(rows, key=lambda row: str(row["RowKey"])), 99)
    assert [message.text for message in found[::2]] == [str(ticket) for ticket in sorted(tickets)]


@settings(max_examples=60)
@given(*[LONG.filter(lambda text: len(text) < 40_000)] * 2, st.text())
def test_a_turn_comes_back_as_it_was_in_pieces_that_fit(payload: str, checkpoint: str, name: str) -> None:
    record = TurnRecord(
        TurnKey(KEY, name), 7, TurnState.STARTED, "worker", 1.5, 2, payload, checkpoint, "a result", "version"
    )
    entity = turn_entity(record, 1.0)
    assert fits(entity)
    assert turn_of(record.key, {**entity, "etag": "version"}) == record
