"""What one worker saves of a turn, and another reads."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.agent.events import Answer, Failure
from app.content.citation import Citation
from app.content.feedback_target import GenieTarget, TraceTarget
from app.storage.artifacts import Artifact, ArtifactKey
from app.storage.ledger import TurnKey
from app.turns.checkpoint import Checkpoint, CheckpointUnreadableError, Suspension
from app.turns.checkpoint_storage import CheckpointStorage
from tests.fakes.turn_harness import ANN

KEY = TurnKey(ANN, "1")
MOST = 75_000
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
citations = st.builds(Citation, st.integers(1, 9), texts, st.none() | texts, texts)
targets = st.builds(TraceTarget, texts) | st.builds(GenieTarget, texts, texts, texts)
ends = st.none() | st.builds(
    Answer,
    texts,
    st.lists(citations, max_size=3).map(tuple),
    st.booleans(),
    st.booleans(),
    feedback_targets=st.lists(targets, max_size=3).map(tuple),
) | st.builds(Failure, texts, texts, texts)  # fmt: skip
checkpoints = st.builds(
    Checkpoint,
    texts,
    st.dictionaries(texts, st.integers() | texts | st.lists(texts), max_size=4),
    ends,
    texts,
    texts,
    st.dictionaries(texts, st.booleans(), max_size=3),
    texts,
    st.none() | st.builds(Suspension, texts, texts, st.none() | texts),
)


class Artifacts:
    def __init__(self) -> None:
        self.kept: dict[ArtifactKey, Artifact] = {}

    async def put(self, artifact: Artifact) -> None:
        self.kept[artifact.key] = artifact

    async def get(self, key: ArtifactKey) -> Artifact | None:
        return self.kept.get(key)

    async def delete(self, key: ArtifactKey) -> None:
        self.kept.pop(key, None)


@given(checkpoints)
def test_what_is_written_is_read(checkpoint: Checkpoint) -> None:
    assert Checkpoint.from_json(checkpoint.to_json()) == checkpoint


@pytest.mark.parametrize(
    "written",
    [
        "no JSON",
        "[]",
        "{}",
        '{"text": "x"}',
        '{"v": 2, "text": "x"}',
        '{"v": 1, "reply_state": 7}',
        '{"v": 1, "answer": 7}',
        '{"v": 1, "suspension": {}}',
        "[" * 100_000,
    ],
)
async def test_what_cannot_be_read_counts_as_nothing_and_is_not_quoted(
    written: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(CheckpointUnreadableError):
        Checkpoint.from_json(written)
    assert await CheckpointStorage(cast(Any, Artifacts())).load(KEY, written) == Checkpoint()
    assert "cannot be read" in caplog.text


@pytest.mark.parametrize(
    ("answer", "in_row"),
    [("x" * 37_000, True), ("x" * 38_000, False), ("\U0001f600" * 37_000, True), ("漢" * 120_000, False)],
    ids=["as large as a row", "larger than a row", "emoji", "a very long one in Chinese"],
)
async def test_an_answer_of_any_length_is_read_whole_and_what_no_row_holds_is_an_artifact(
    answer: str, in_row: bool
) -> None:
    artifacts = Artifacts()
    storage = CheckpointStorage(cast(Any, artifacts))
    checkpoint = Checkpoint(answer, {"stream_id": "s"}, Answer(answer))
    row = await storage.save(KEY, checkpoint, max_characters=MOST)
    assert len(row) <= MOST
    assert (artifacts.kept == {}) is in_row
    assert await storage.load(KEY, row) == checkpoint
    await storage.delete(KEY, row)
    assert artifacts.kept == {}


async def test_a_worker_that_is_late_does_not_overwrite_what_another_has_saved() -> None:
    storage = CheckpointStorage(cast(Any, Artifacts()))
    late, other = Checkpoint("x" * MOST), Checkpoint("y" * MOST)
    rows = await asyncio.gather(*(storage.save(KEY, each, max_characters=MOST) for each in (other, late)))
    assert await storage.load(KEY, rows[0]) == other


async def test_a_checkpoint_whose_artifact_was_forgotten_counts_as_nothing() -> None:
    artifacts = Artifacts()
    storage = CheckpointStorage(cast(Any, artifacts))
    row = await storage.save(KEY, Checkpoint("x" * MOST), max_characters=MOST)
    artifacts.kept.clear()
    assert await storage.load(KEY, row) == Checkpoint()
