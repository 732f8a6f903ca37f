"""The conversations of a caller: their titles, and the tree of their responses."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Final

from pydantic import TypeAdapter, ValidationError

from app.storage.documents import MAX_PAGE_SIZE, Collection, Document, DocumentKey, DocumentStore
from app.storage.storage_errors import ConcurrentUpdateError

_log = logging.getLogger(__name__)

# With the beginnings of their questions they have to fit into one document.
MAX_RESPONSES: Final = 300
_MAX_QUESTION_CHARACTERS: Final = 60
MAX_TITLE_CHARACTERS: Final = 120
_MAX_LISTED: Final = 2_000
_MAX_TRIES = 12
# The others' ids go on with a hexadecimal digit: programs may make many of them.
_LISTED: Final = "conv_p"


@dataclass(frozen=True, slots=True)
class ConversationResponse:
    """`previous` is the response that it answers after; empty for the first. `question` is how its question begins."""

    id: str
    previous: str = ""
    question: str = ""


@dataclass(frozen=True, slots=True)
class ConversationRecord:
    """`running` is the response that is being made, as far as is known. Times are in seconds since 1970."""

    id: str
    title: str
    created_at: float
    updated_at: float
    running: str = ""
    responses: tuple[ConversationResponse, ...] = ()

    @property
    def last(self) -> str:
        return self.responses[-1].id if self.responses else ""

    def has_words(self, words: Iterable[str]) -> bool:
        """Whether each of the `words`, which are casefolded, is in its title or in the beginning of a question."""
        text = "\n".join([self.title, *(each.question for each in self.responses)]).casefold()
        return all(word in text for word in words)

    def branch(self, last: str) -> tuple[str, ...]:
        """The ids of the responses that lead to `last`, itself included, oldest first."""
        previous = {each.id: each.previous for each in self.responses}
        ids: list[str] = []
        while last in previous and len(ids) < MAX_RESPONSES:
            ids.append(last)
            last = previous[last]
        return tuple(reversed(ids))


_ADAPTER: Final = TypeAdapter(ConversationRecord)


def new_conversation_id() -> str:
    """Of one that holds what `previous_response_id` needs, and is in nobody's list."""
    return f"conv_{uuid.uuid4().hex}"


class ConversationRecords:
    """Every method raises `StorageError`."""

    def __init__(
        self, documents: DocumentStore, *, retention_days: float, clock: Callable[[], float] = time.time
    ) -> None:
        self._documents = documents
        self._collection = Collection("server_conversations", retention_days)
        self._clock = clock

    async def create(self, tenant: str, *, title: str = "", id: str = "") -> ConversationRecord:
        """A person sees it in their list, unless it has an `id` of `new_conversation_id`."""
        now = self._clock()
        record = ConversationRecord(id or f"{_LISTED}{uuid.uuid4().hex}", clean_title(title), now, now)
        await self._documents.put(self._document(tenant, record))
        return record

    async def find(self, tenant: str, id: str) -> ConversationRecord | None:
        return _parse(await self._documents.get(DocumentKey(self._collection, tenant, id)))

    async def add_response(self, tenant: str, id: str, response: ConversationResponse, question: str) -> bool:
        """It is the running one from now on, and gives a conversation without a title of its own the first question.
        False for an unknown conversation.
        """

        def change(record: ConversationRecord) -> ConversationRecord:
            if any(each.id == response.id for each in record.responses):
                return record
            line = clean_title(question)
            title = record.title or line
            asked = replace(response, question=line[:_MAX_QUESTION_CHARACTERS])
            responses = (*record.responses, asked)[-MAX_RESPONSES:]
            return replace(record, title=title, responses=responses, running=response.id, updated_at=self._clock())

        return await self.update(tenant, id, change) is not None

    async def ended(self, tenant: str, id: str, response_id: str) -> None:
        """The response is no longer being made."""

        def change(record: ConversationRecord) -> ConversationRecord:
            return replace(record, running="", updated_at=self._clock()) if record.running == response_id else record

        await self.update(tenant, id, change)

    async def update(
        self, tenant: str, id: str, change: Callable[[ConversationRecord], ConversationRecord]
    ) -> ConversationRecord | None:
        """`change` is called again where another worker wrote meanwhile. None for an unknown conversation."""
        for _ in range(_MAX_TRIES):
            document = await self._documents.get(DocumentKey(self._collection, tenant, id))
            record = _parse(document)
            if document is None or record is None:
                return None
            changed = change(record)
            if changed == record:
                return record
            try:
                await self._documents.put(replace(document, value=_ADAPTER.dump_json(changed).decode()))
            except ConcurrentUpdateError:
                continue
            return changed
        raise ConcurrentUpdateError

    async def delete(self, tenant: str, id: str) -> None:
        await self._documents.delete(DocumentKey(self._collection, tenant, id))

    async def listed(self, tenant: str) -> list[ConversationRecord]:
        """Those that a person sees, the latest first: at most `_MAX_LISTED` are looked at."""
        documents: list[Document] = []
        continuation = ""
        while len(documents) < _MAX_LISTED:
            page = await self._documents.list_page(
                self._collection, tenant, prefix=_LISTED, limit=MAX_PAGE_SIZE, continuation=continuation
            )
            documents += page.documents
            continuation = page.continuation
            if not continuation:
                break
        return _latest_first(documents)

    def _document(self, tenant: str, record: ConversationRecord) -> Document:
        return Document(DocumentKey(self._collection, tenant, record.id), _ADAPTER.dump_json(record).decode())


def clean_title(text: str) -> str:
    """One line, cut at a word."""
    line = " ".join(text[: 4 * MAX_TITLE_CHARACTERS].split())
    if len(line) <= MAX_TITLE_CHARACTERS:
        return line
    cut = line[:MAX_TITLE_CHARACTERS].rsplit(" ", 1)[0] or line[:MAX_TITLE_CHARACTERS]
    return f"{cut} …"


def _latest_first(documents: Iterable[Document]) -> list[ConversationRecord]:
    records = [record for each in documents if (record := _parse(each)) is not None]
    return sorted(records, key=lambda record: record.updated_at, reverse=True)


def _parse(document: Document | None) -> ConversationRecord | None:
    if document is None:
        return None
    try:
        return _ADAPTER.validate_json(document.value)
    except ValidationError:
        _log.warning("A stored conversation cannot be read; it counts as unknown")
        return None
