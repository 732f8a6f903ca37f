"""A request becomes a stored response: what it refers to is looked up, and refused where it is unknown."""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Final

from agent_server.handlers.input_text import file_ids_of, question_of
from agent_server.handlers.request_context import RequestContext
from agent_server.protocol.api_error import ApiError
from agent_server.protocol.response_assembler import ResponseAssembler
from agent_server.protocol.responses_request import ResponsesRequest
from agent_server.responses.conversation_records import (
    ConversationRecord,
    ConversationResponse,
    new_conversation_id,
)
from agent_server.responses.response_records import ResponseRecord
from agent_server.responses.response_stores import ResponseStores, log_key
from app.agent.history import MAX_HISTORY_MESSAGES
from app.common.concurrency import gather_or_cancel
from app.common.identity import UserIdentity
from app.files.uploads import Uploads
from app.storage.storage_errors import ConcurrentUpdateError

_MAX_ANCESTORS: Final = MAX_HISTORY_MESSAGES // 2
_FIRST_BATCH_WRITER: Final = "request"


class NewResponses:
    def __init__(self, stores: ResponseStores, uploads: Uploads, *, clock: Callable[[], float] = time.time) -> None:
        self._stores = stores
        self._uploads = uploads
        self._clock = clock

    async def find(self, context: RequestContext) -> ResponseRecord | None:
        """That of an earlier request with the same idempotency key. Raises `StorageError`."""
        if not context.headers.get("idempotency-key"):
            return None
        return await self._stores.records.find(context.caller.tenant, _response_id(context))

    async def create(self, request: ResponsesRequest, context: RequestContext, *, turn: str = "") -> ResponseRecord:
        """The record, the first events and the place in the conversation are stored when this returns; what an earlier
        request with the same idempotency key has left out is done now. `turn` is the response whose turn it continues.
        Raises `ApiError` and `StorageError`.
        """
        tenant = context.caller.tenant
        record = await self.find(context)
        if record is None:
            record = await self._stores.records.create(tenant, await self._record(request, context, turn))
        if record.request != request.body:
            raise ApiError(
                422,
                "This Idempotency-Key came with another request before; use a new one for each request.",
                code="idempotency_key_reused",
            )
        first = ResponseAssembler(
            record.id, round(record.created_at), replace(request, conversation_id=record.conversation)
        )
        await gather_or_cancel(
            [
                self._stores.log.append(
                    log_key(tenant, record), 0, first.begin(queued=record.background), writer=_FIRST_BATCH_WRITER
                ),
                self._join(tenant, record),
            ]
        )
        return record

    async def _record(self, request: ResponsesRequest, context: RequestContext, turn: str) -> ResponseRecord:
        caller, id = context.caller, _response_id(context)
        await self._check_files(request, context)
        conversation, previous = await self._place(request, context)
        return ResponseRecord(
            id=id,
            conversation=conversation.id,
            turn=turn or id,
            created_at=self._clock(),
            question=question_of(request.input),
            previous=previous,
            ancestors=conversation.branch(previous)[-_MAX_ANCESTORS:],
            background=request.background,
            user_id=caller.identity.user_id if isinstance(caller.identity, UserIdentity) else "",
            user_name=caller.name,
            request=request.body,
        )

    async def _join(self, tenant: str, record: ResponseRecord) -> None:
        conversations = self._stores.conversations
        response = ConversationResponse(record.id, record.previous)
        if await conversations.add_response(tenant, record.conversation, response, record.question):
            return
        with suppress(ConcurrentUpdateError):
            await conversations.create(tenant, id=record.conversation)
        await conversations.add_response(tenant, record.conversation, response, record.question)

    async def _check_files(self, request: ResponsesRequest, context: RequestContext) -> None:
        for index, item in enumerate(request.input):
            for id in file_ids_of(item):
                if await self._uploads.find(context.caller.tenant, id) is None:
                    raise _unknown(f"input[{index}]", "file", id)

    async def _place(self, request: ResponsesRequest, context: RequestContext) -> tuple[ConversationRecord, str]:
        """The conversation, and the response that it answers after. A new conversation has no time."""
        tenant, previous = context.caller.tenant, request.previous_response_id
        conversation: ConversationRecord | None = None
        if previous:
            before = await self._stores.records.find(tenant, previous)
            if before is not None:
                conversation = await self._stores.conversations.find(tenant, before.conversation)
            if before is None or conversation is None:
                raise _unknown("previous_response_id", "response", previous)
            if request.conversation_id not in ("", conversation.id):
                raise ApiError(400, "previous_response_id is of another conversation.", param="previous_response_id")
            return conversation, previous
        if not request.conversation_id:
            return ConversationRecord(new_conversation_id(), "", 0.0, 0.0), ""
        conversation = await self._stores.conversations.find(tenant, request.conversation_id)
        if conversation is None:
            raise _unknown("conversation", "conversation", request.conversation_id)
        replaced = (request.body.get("metadata") or {}).get("replaces")
        for each in conversation.responses:
            if each.id == replaced:
                # An edited question stands where the old one stood.
                return conversation, each.previous
        return conversation, conversation.last


def _unknown(param: str, what: str, id: str) -> ApiError:
    return ApiError(404, f"There is no {what} with the id {id[:80]!r}.", code=f"{what}_not_found", param=param)


def _response_id(context: RequestContext) -> str:
    """A request that is repeated with its idempotency key gets the id of the first."""
    key = context.headers.get("idempotency-key", "")
    if not key:
        return f"resp_{uuid.uuid4().hex}"
    named = "\0".join((context.caller.owner, key))
    return f"resp_{hashlib.sha256(named.encode()).hexdigest()[:32]}"
