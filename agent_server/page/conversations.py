"""The conversations of a caller, as the page lists and shows them. Another's looks unknown."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol, TypeVar

from agent_server.identity.server_caller import ServerCaller
from agent_server.page.response_feedback import feedback_json
from agent_server.protocol.api_error import ApiError, not_found
from agent_server.responses.conversation_records import ConversationRecord, ConversationRecords, clean_title
from agent_server.responses.response_records import ResponseRecord, ResponseRecords
from app.common.concurrency import gather_or_cancel
from app.feedback.rating_keys import answer_id
from app.feedback.rating_records import RatingRecord
from app.feedback.ratings import Ratings
from app.files.uploads import Uploads
from app.storage.conversations import ConversationKey

PAGE_SIZE: Final = 50
_MAX_SEARCH_CHARACTERS = 200
# Of one conversation, from storage.
_CONCURRENT_READS = 8

_S = TypeVar("_S")
_T = TypeVar("_T")


class KeptResponses(Protocol):
    """What `agent_server.responses` does with whole responses and conversations. Each method raises `ApiError`."""

    async def get(self, response_id: str, caller: ServerCaller) -> dict[str, Any]:
        """The Response object as it is now."""
        ...

    async def forget_conversation(self, conversation_id: str, caller: ServerCaller) -> None:
        """Cancels what is running, and deletes all that is kept of the conversation."""
        ...


@dataclass(frozen=True, slots=True)
class ConversationTurn:
    """A question and its response. `files` and `feedback` are JSON, the latter None where nothing was said."""

    response_id: str
    question: str
    files: tuple[dict[str, Any], ...]
    created_at: float
    response: dict[str, Any]
    feedback: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Conversation:
    """`turns` are those of the newest branch, oldest first."""

    record: ConversationRecord
    turns: tuple[ConversationTurn, ...]


class Conversations:
    """Every method raises `ApiError` and `StorageError`. `ratings` is called when the first conversation is read."""

    def __init__(
        self,
        records: ConversationRecords,
        requests: ResponseRecords,
        responses: KeptResponses,
        uploads: Uploads,
        ratings: Callable[[], Ratings],
    ) -> None:
        self._records = records
        self._requests = requests
        self._responses = responses
        self._uploads = uploads
        self._ratings = ratings

    async def list_page(
        self, caller: ServerCaller, *, search: str = "", cursor: str = ""
    ) -> tuple[list[ConversationRecord], str]:
        """The latest first, `PAGE_SIZE` at most, and the cursor of the next page, which is empty after the last.

        Every word of `search` is in their titles, or in the beginnings of their questions.
        """
        words = search[:_MAX_SEARCH_CHARACTERS].casefold().split()
        after = _read_cursor(cursor)
        found = [
            record
            for record in await self._records.listed(caller.tenant)
            if (after is None or _place(record) < after) and record.has_words(words)
        ]
        found.sort(key=_place, reverse=True)
        page = found[:PAGE_SIZE]
        checked = await _map(lambda record: self._checked(caller, record), page)
        return checked, _cursor(page[-1]) if len(found) > PAGE_SIZE else ""

    async def create(self, caller: ServerCaller, title: str) -> ConversationRecord:
        return await self._records.create(caller.tenant, title=title)

    async def rename(self, caller: ServerCaller, id: str, title: str) -> ConversationRecord:
        if not (clean := clean_title(title)):
            raise ApiError(400, "title must not be empty.", param="title", code="invalid_value")

        def named(record: ConversationRecord) -> ConversationRecord:
            return replace(record, title=clean)

        renamed = await self._records.update(caller.tenant, id, named)
        if renamed is None:
            raise not_found("conversation", id)
        return renamed

    async def delete(self, caller: ServerCaller, id: str) -> None:
        """With its responses, its files and what was said of its answers."""
        record = await self._find(caller, id)
        requests = await self._requests_of(caller, (each.id for each in record.responses))
        for file_id in {file["file_id"] for request in requests for file in _input_files(request)}:
            await self._uploads.delete(caller.tenant, file_id)
        await self._ratings().forget(ConversationKey(caller.tenant, id))
        await self._responses.forget_conversation(id, caller)

    async def read(self, caller: ServerCaller, id: str) -> Conversation:
        record = await self._checked(caller, await self._find(caller, id))
        requests = await self._requests_of(caller, record.branch(record.last))
        said = await self._ratings().find_all(ConversationKey(caller.tenant, id), caller.owner)
        turns = await _map(lambda request: self._turn(caller, request, said), requests)
        return Conversation(record, tuple(each for each in turns if each is not None))

    async def _find(self, caller: ServerCaller, id: str) -> ConversationRecord:
        if (record := await self._records.find(caller.tenant, id)) is None:
            raise not_found("conversation", id)
        return record

    async def _checked(self, caller: ServerCaller, record: ConversationRecord) -> ConversationRecord:
        """A worker that vanished may have left a response marked as running that has ended, or is ended now."""
        if not record.running:
            return record
        try:
            response = await self._responses.get(record.running, caller)
        except ApiError as error:
            if error.status != 404:
                raise
            response = {}
        if response.get("status") in ("queued", "in_progress"):
            return record

        def ended(found: ConversationRecord) -> ConversationRecord:
            return replace(found, running="") if found.running == record.running else found

        return await self._records.update(caller.tenant, record.id, ended) or replace(record, running="")

    async def _requests_of(self, caller: ServerCaller, ids: Iterable[str]) -> list[ResponseRecord]:
        found = await _map(lambda id: self._requests.find(caller.tenant, id), ids)
        return [each for each in found if each is not None]

    async def _turn(
        self, caller: ServerCaller, request: ResponseRecord, said: Mapping[str, RatingRecord]
    ) -> ConversationTurn | None:
        """None for a response that was deleted meanwhile."""
        try:
            response = await self._responses.get(request.id, caller)
        except ApiError as error:
            if error.status == 404:
                return None
            raise
        rating = said.get(answer_id(ConversationKey(caller.tenant, request.conversation), request.id))
        return ConversationTurn(
            request.id,
            request.question,
            tuple([await self._file(caller, part) for part in _input_files(request)]),
            request.created_at,
            response,
            feedback_json(rating),
        )

    async def _file(self, caller: ServerCaller, part: Mapping[str, Any]) -> dict[str, Any]:
        found = await self._uploads.find(caller.tenant, part["file_id"])
        if found is None:
            return {"id": part["file_id"], "name": str(part.get("filename") or "a file"), "bytes": 0}
        return found.model_dump()


def _input_files(request: ResponseRecord) -> list[dict[str, Any]]:
    """Those of the last message, as the question is."""
    messages = [item for item in request.request.get("input", ()) if item.get("role") == "user"]
    content = messages[-1].get("content") if messages else ()
    parts = content if isinstance(content, list) else ()
    return [part for part in parts if part.get("type") == "input_file" and isinstance(part.get("file_id"), str)]


async def _map(call: Callable[[_S], Awaitable[_T]], values: Iterable[_S]) -> list[_T]:
    slots = asyncio.Semaphore(_CONCURRENT_READS)

    async def one(value: _S) -> _T:
        async with slots:
            return await call(value)

    return await gather_or_cancel(one(value) for value in values)


_Place = tuple[float, str]


def _place(record: ConversationRecord) -> _Place:
    return record.updated_at, record.id


def _cursor(record: ConversationRecord) -> str:
    return f"{record.updated_at!r}_{record.id}"


def _read_cursor(cursor: str) -> _Place | None:
    if not cursor:
        return None
    updated_at, _, id = cursor.partition("_")
    try:
        return float(updated_at[:40]), id
    except ValueError:
        raise ApiError(400, "cursor is not one that this server gave.", param="cursor", code="invalid_value") from None
