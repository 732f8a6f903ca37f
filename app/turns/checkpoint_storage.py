"""Where a turn's checkpoint is kept: in its row, or as an artifact that the row names."""

from __future__ import annotations

import json
import logging
import uuid

from app.storage.artifacts import Artifact, ArtifactKey, ArtifactStore
from app.storage.ledger import TurnKey
from app.turns.checkpoint import Checkpoint, CheckpointUnreadableError

_log = logging.getLogger(__name__)

_ARTIFACT = "artifact"
_CONTENT_TYPE = "application/json"


class CheckpointStorage:
    """A row has room for about 75,000 characters. A checkpoint beyond that (an answer of more than some 35,000, which
    is in it once as what was shown and once as the end) is written as an artifact first, each time under another name,
    so that a worker that has lost the turn cannot overwrite it. Every method raises `StorageError`.
    """

    def __init__(self, artifacts: ArtifactStore) -> None:
        self._artifacts = artifacts

    async def save(self, key: TurnKey, checkpoint: Checkpoint, *, max_characters: int) -> str:
        """What the row is to hold."""
        text = checkpoint.to_json()
        if len(text) <= max_characters:
            return text
        return json.dumps({_ARTIFACT: await self.save_text(key, text)})

    async def load(self, key: TurnKey, row: str) -> Checkpoint:
        """What cannot be read counts as nothing: then the turn begins again."""
        try:
            name = _artifact_in(row)
            return Checkpoint.from_json(row if name is None else await self.load_text(key, name) or "")
        except CheckpointUnreadableError as error:
            _log.warning("The checkpoint of a turn cannot be read (%s); the turn begins again", error)
            return Checkpoint()

    async def save_text(self, key: TurnKey, text: str) -> str:
        """The name of the artifact."""
        name = f"turn/{uuid.uuid4().hex}"
        content = text.encode("utf-8", "replace")
        await self._artifacts.put(Artifact(ArtifactKey(key.conversation, name), content, _CONTENT_TYPE))
        return name

    async def load_text(self, key: TurnKey, name: str) -> str | None:
        """None if it is gone, as after `/forget`."""
        artifact = await self._artifacts.get(ArtifactKey(key.conversation, name))
        return None if artifact is None else artifact.content.decode()

    async def delete_text(self, key: TurnKey, name: str) -> None:
        await self._artifacts.delete(ArtifactKey(key.conversation, name))

    async def delete(self, key: TurnKey, row: str) -> None:
        """The artifact that the row names, if it names one."""
        if (name := _artifact_in(row)) is not None:
            await self.delete_text(key, name)


def _artifact_in(row: str) -> str | None:
    if not row.startswith(f'{{"{_ARTIFACT}"'):
        return None
    name = json.loads(row)[_ARTIFACT]
    return name if isinstance(name, str) else None
