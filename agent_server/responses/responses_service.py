"""Stored responses, as the routes of the Responses API need them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace
from typing import Final

from agent_server.handlers.handler import JsonObject
from agent_server.handlers.request_context import RequestContext
from agent_server.identity.server_caller import ServerCaller
from agent_server.protocol.api_error import ApiError, not_found
from agent_server.protocol.responses_request import ResponsesRequest
from agent_server.responses.event_log import ResponseEvents
from agent_server.responses.following import follow
from agent_server.responses.new_response import NewResponses
from agent_server.responses.queue_worker import QueueWorker
from agent_server.responses.response_records import ResponseRecord
from agent_server.responses.response_stores import ResponseStores, log_key
from agent_server.responses.response_turns import LOST, STORAGE_UNAVAILABLE, ResponseTurns
from agent_server.responses.stored_response import StoredResponse
from app.files.uploads import Uploads
from app.storage.conversations import ConversationKey
from app.storage.ledger import TurnState
from app.storage.queue import MessageReceiver
from app.storage.storage_errors import StorageError

_CREATE_SECONDS: Final = 15.0
_ENTERED_AFTER_SECONDS: Final = 60.0
_NOT_PENDING: Final = "Nothing waits for this decision any more."
_MESSAGE_LIFETIME_SECONDS: Final = 24 * 3600.0


class ResponsesService:
    """Whatever belongs to another caller is unknown. Every method raises `ApiError`. `dispatch` gets what is received
    from the queue, and `forget` deletes what else is kept of a conversation; it raises `StorageError`.
    """

    def __init__(
        self,
        stores: ResponseStores,
        turns: ResponseTurns,
        queue: MessageReceiver,
        dispatch: Callable[[bytes], Awaitable[None]],
        uploads: Uploads,
        *,
        forget: Callable[[ConversationKey], Awaitable[None]],
        max_concurrent: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._stores = stores
        self._turns = turns
        self._new = NewResponses(stores, uploads, clock=clock)
        self._worker = QueueWorker(queue, dispatch)
        self._forget = forget
        self._max_concurrent = max_concurrent
        self._clock = clock
        self._is_closing = False
        self._being_stored = 0

    def start(self) -> None:
        """Goes on with responses whose worker is gone."""
        self._worker.start()

    async def close(self) -> None:
        """Hands over what is running, and takes nothing more."""
        self._is_closing = True
        await self._worker.close()
        await self._turns.close()

    async def create(self, request: ResponsesRequest, context: RequestContext) -> StoredResponse:
        """It is being made when this returns, whether or not anybody follows it."""
        self._worker.wake()
        if self._is_closing:
            raise ApiError(
                503, "This instance is shutting down; please try again.", retryable=True, type="server_error"
            )
        if self._turns.running_count + self._being_stored >= self._max_concurrent:
            raise ApiError(
                429, "Too many answers are being made at the moment; please try again.", retryable=True, code="busy"
            )
        self._being_stored += 1
        try:
            async with asyncio.timeout(_CREATE_SECONDS):
                return await self._create(request, context)
        except (StorageError, TimeoutError):
            raise _unavailable() from None
        finally:
            self._being_stored -= 1

    async def get(self, response_id: str, caller: ServerCaller) -> JsonObject:
        """The Response object as it is now."""
        self._worker.wake()
        try:
            record = await self._find(response_id, caller)
            assembler = await self._stores.response(caller.tenant, record)
            if not assembler.has_ended and await self._is_lost(caller.tenant, record):
                return await self._end_as_lost(caller.tenant, record)
            return assembler.response
        except StorageError:
            raise _unavailable() from None

    async def follow(
        self, response_id: str, caller: ServerCaller, *, starting_after: int | None = None
    ) -> AsyncGenerator[ResponseEvents, None]:
        """Its events, from the one after the number `starting_after`, as they come together. Raises before the
        generator is returned.
        """
        self._worker.wake()
        try:
            record = await self._find(response_id, caller)
        except StorageError:
            raise _unavailable() from None
        return self._follow(caller.tenant, record, starting_after)

    async def cancel(self, response_id: str, caller: ServerCaller) -> JsonObject:
        """The Response object, cancelled, or as it had ended before."""
        try:
            record = await self._find(response_id, caller)
            response = await self._stores.end(caller.tenant, record, lambda assembler: assembler.cancel())
        except StorageError:
            raise _unavailable() from None
        await self._turns.look(record.id)
        return response

    async def delete(self, response_id: str, caller: ServerCaller) -> JsonObject:
        await self.cancel(response_id, caller)
        try:
            await self._stores.delete(caller.tenant, await self._find(response_id, caller))
        except StorageError:
            raise _unavailable() from None
        return {"id": response_id, "object": "response", "deleted": True}

    async def input_items(self, response_id: str, caller: ServerCaller) -> JsonObject:
        try:
            record = await self._find(response_id, caller)
        except StorageError:
            raise _unavailable() from None
        items = [
            {**item, "id": item.get("id") or f"item_{index}"} for index, item in enumerate(record.request["input"])
        ]
        ids = [item["id"] for item in items]
        first, last = (ids[0], ids[-1]) if ids else (None, None)
        return {"object": "list", "data": items, "first_id": first, "last_id": last, "has_more": False}

    async def forget_conversation(self, conversation_id: str, caller: ServerCaller) -> None:
        """Deletes it with all its responses."""
        tenant = caller.tenant
        try:
            conversation = await self._stores.conversations.find(tenant, conversation_id)
            if conversation is None:
                raise not_found("conversation", conversation_id)
            for each in conversation.responses:
                if (record := await self._stores.records.find(tenant, each.id)) is not None:
                    if conversation.running == each.id:
                        await self._stores.end(tenant, record, lambda assembler: assembler.cancel())
                        await self._turns.look(each.id)
                    await self._stores.delete(tenant, record)
            await self._forget(ConversationKey(tenant, conversation_id))
            await self._stores.conversations.delete(tenant, conversation_id)
        except StorageError:
            raise _unavailable() from None

    async def _create(self, request: ResponsesRequest, context: RequestContext) -> StoredResponse:
        if request.approvals:
            record = await self._continue(request, context)
        else:
            record = await self._new.create(request, context)
            # The ledger knows a turn that has been entered before.
            self._turns.start(record, context)
        tenant, caller = context.caller.tenant, context.caller
        return StoredResponse(
            record.id,
            (await self._stores.response(tenant, record)).response,
            lambda: self._follow(tenant, record, None),
            lambda: self.cancel(record.id, caller),
        )

    async def _continue(self, request: ResponsesRequest, context: RequestContext) -> ResponseRecord:
        """The turn that waits for the decision goes on, in a response of its own."""
        tenant, caller = context.caller.tenant, context.caller
        if not request.previous_response_id and not request.conversation_id:
            raise ApiError(400, "An approval needs the previous_response_id that asked for it.", param="input")
        if len(request.approvals) != 1:
            raise ApiError(400, "One approval at a time can be decided.", param="input")
        (approval,) = request.approvals
        previous = request.previous_response_id
        if not previous:
            conversation = await self._stores.conversations.find(tenant, request.conversation_id)
            if conversation is None:
                raise not_found("conversation", request.conversation_id)
            previous = conversation.last
            request = replace(request, previous_response_id=previous)
        asked = await self._find(previous, caller)
        if not await self._turns.waits_for(tenant, asked, approval.request_id):
            if (decided := await self._new.find(context)) is not None:
                return decided
            raise ApiError(409, _NOT_PENDING, param="input", code="approval_not_pending")
        written, before = await self._new.create(request, context, turn=asked.turn), asked.writes_to

        def redirect(root: ResponseRecord) -> ResponseRecord:
            return replace(root, writes_to=written.id)

        def redirect_back(root: ResponseRecord) -> ResponseRecord:
            return replace(root, writes_to=before) if root.writes_to == written.id else root

        # Before the turn goes on: it writes there.
        await self._stores.records.update(tenant, asked.turn, redirect)
        if not await self._turns.resume_suspended(tenant, asked, approval.request_id, approval.approve):
            # Somebody else has just decided.
            await self._stores.records.update(tenant, asked.turn, redirect_back)
            await self._stores.end(tenant, written, lambda assembler: assembler.fail(_NOT_PENDING))
            raise ApiError(409, _NOT_PENDING, param="input", code="approval_not_pending")
        return written

    async def _follow(
        self, tenant: str, record: ResponseRecord, starting_after: int | None
    ) -> AsyncGenerator[ResponseEvents, None]:
        async def end_if_lost() -> None:
            self._worker.wake()
            if await self._is_lost(tenant, record):
                await self._end_as_lost(tenant, record)

        following = follow(
            self._stores.log, log_key(tenant, record), starting_after=starting_after, end_if_lost=end_if_lost
        )
        try:
            async with aclosing(following) as batches:
                async for events in batches:
                    yield events
                    self._worker.wake()
        except StorageError:
            raise _unavailable() from None

    async def _is_lost(self, tenant: str, record: ResponseRecord) -> bool:
        """Whether no worker will ever end it: its turn was not entered, or is closed, or its message has expired."""
        age = self._clock() - record.created_at
        found = await self._stores.store.find(record.turn_key(tenant))
        if found is None:
            return age > _ENTERED_AFTER_SECONDS
        if found.state is TurnState.STARTED:
            return self._clock() - found.lease_until > _MESSAGE_LIFETIME_SECONDS
        return age > _ENTERED_AFTER_SECONDS

    async def _end_as_lost(self, tenant: str, record: ResponseRecord) -> JsonObject:
        return await self._stores.end(tenant, record, lambda assembler: assembler.fail(LOST))

    async def _find(self, response_id: str, caller: ServerCaller) -> ResponseRecord:
        record = await self._stores.records.find(caller.tenant, response_id)
        if record is None:
            raise not_found("response", response_id)
        return record


def _unavailable() -> ApiError:
    return ApiError(503, STORAGE_UNAVAILABLE, type="server_error", code="storage_unavailable", retryable=True)
