"""What came with a question besides its words: files that are read, and attachments that are not."""

from __future__ import annotations

from collections.abc import Sequence

from app.agent.turn import Turn, UnreadReason
from app.common.caller import Caller
from app.storage.conversations import ConversationKey, StoredMessage
from app.tools.attached_files import ConversationFiles, tells_of_files
from app.tools.base import AnyTool
from app.translation import Sentence, Translator

READING_FILES = Sentence("Reading the files…")
_NOT_ONE_TO_ONE = Sentence("I read files in one-to-one chats in Teams alone, so I have not read: {names}")
_NOT_READABLE = Sentence("I read CSV and text files alone, so I have not read: {names}")
_NO_FILES = Sentence("I cannot read files here, so I have not read: {names}")

# In most groups Teams passes on no trace of a file.
_MAY_BE_HIDDEN = (
    "\n\nFiles that people attach in this chat do not reach you. Where somebody asks about one that you do not see, "
    "say that CSV and text files can be attached in a one-to-one chat with you in Teams."
)


class FileTools:
    """A `app.tools.registry.ToolProvider` of one conversation."""

    def __init__(self, files: ConversationFiles, conversation: ConversationKey) -> None:
        self._files = files
        self._conversation = conversation

    async def tools(self, caller: Caller) -> Sequence[AnyTool]:
        return await self._files.tools(self._conversation)


def may_have_files(turn: Turn, history: Sequence[StoredMessage]) -> bool:
    """Whether it is worth to ask the storage: a question in a chat without files does not wait for it."""
    return bool(turn.files or turn.call) or any(each.role == "user" and tells_of_files(each.text) for each in history)


def files_note(turn: Turn, *, reads_files: bool) -> str:
    """For the model."""
    return _MAY_BE_HIDDEN if reads_files and not turn.receives_files else ""


def unread_note(turn: Turn, translate: Translator, *, reads_files: bool) -> str:
    names = list(turn.unread)
    if not reads_files:
        names += [f"`{file.name}`" for file in turn.files]
    if not names:
        return ""
    if turn.unread_reason is UnreadReason.NOT_ONE_TO_ONE:
        sentence = _NOT_ONE_TO_ONE
    else:
        sentence = _NOT_READABLE if reads_files else _NO_FILES
    return translate(sentence, names=", ".join(names))
