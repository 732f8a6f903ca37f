"""Files that people attach to a question: which can be read, and what reads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from app.storage.conversations import ConversationKey
from app.tools.base import AnyTool, ToolContext

MAX_FILES_PER_QUESTION = 5
FILES = "files"
"""The `app.data.stored_results.Query.capability` of what is read from files."""
_MAX_NAME_CHARACTERS = 80
TABLE_TYPES = frozenset({"csv", "tsv", "tab"})
TEXT_TYPES = frozenset({"txt", "text", "md", "log", "json", "jsonl", "xml", "yaml", "yml", "ini", "sql"})


@dataclass(frozen=True, slots=True)
class AttachedFile:
    """`name` is safe to show; `url` gives the file to whoever has it, or names an upload (`app.files.uploads`)."""

    name: str
    url: str

    @property
    def prompt(self) -> str:
        """For the model, and what tells later that the conversation has files."""
        return f'{_ATTACHED}"{self.name}"'


_ATTACHED = "Attached file: "


def shown_file_name(name: str) -> str:
    """A name as people gave it, so that it can be shown as code and quoted to the model. May be empty."""
    safe = "".join(c for c in name if c.isprintable() and c not in '`"').strip()
    # Its end tells what kind of file it is.
    cut = _MAX_NAME_CHARACTERS
    return safe if len(safe) <= cut else f"{safe[: cut - 10]}…{safe[-9:]}"


class ConversationFiles(Protocol):
    """The files of a conversation. They are deleted with it."""

    async def add(self, files: Sequence[AttachedFile], context: ToolContext) -> Sequence[str]:
        """Downloads and keeps them, once in all attempts of the turn. What could not be read, or not whole, is said in
        sentences for the person.
        """
        ...

    async def tools(self, conversation: ConversationKey) -> Sequence[AnyTool]:
        """Those that ask its files; none where it has none. Raises `StorageError`."""
        ...


def is_readable(name: str) -> bool:
    return file_type(name) in TABLE_TYPES | TEXT_TYPES


def file_type(name: str) -> str:
    """The end of its name, without the point and in lower case."""
    return name.rpartition(".")[2].strip().lower() if "." in name else ""


def tells_of_files(text: str) -> bool:
    """Whether a message came with files. Somebody may have typed it: only the storage knows."""
    return text.startswith(_ATTACHED) or f"\n{_ATTACHED}" in text
