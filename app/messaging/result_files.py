"""Results as files: what makes them, and the button that asks for one. `bot/` sends them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from app.common.identity import RequestIdentity
from app.storage.conversations import ConversationKey
from app.translation import Sentence

if TYPE_CHECKING:
    from app.content.blocks import Action

FILE_VERB: Final = "send_file"
FILE_RESULT: Final = "result"
"""The verb of a button that sends a stored result as a file, and the field of its data that names the result."""


@dataclass(frozen=True, slots=True)
class ResultFile:
    """`rows` are those in the file, without the header."""

    name: str
    content: bytes
    rows: int


class NoResultFileError(Exception):
    """There is no such file; `sentence` says why."""

    def __init__(self, sentence: Sentence) -> None:
        super().__init__(sentence.english)
        self.sentence = sentence


class ResultFiles(Protocol):
    async def make(self, conversation: ConversationKey, result: str, identity: RequestIdentity) -> ResultFile:
        """The whole result of that id. Raises `NoResultFileError` and `StorageError`."""
        ...


def file_button(title: str, result: str) -> Action:
    from app.content.blocks import Action  # noqa: PLC0415

    return Action(FILE_VERB, title, {FILE_RESULT: result})
