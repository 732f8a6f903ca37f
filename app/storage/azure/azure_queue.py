"""Queues of an Azure storage account. Bodies are written as base64, which may hold any character."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import replace
from http import HTTPStatus

from azure.core.exceptions import AzureError, HttpResponseError, ResourceExistsError, ServiceRequestError
from azure.core.pipeline.transport import AsyncHttpResponse
from azure.storage.queue import QueueMessage
from azure.storage.queue.aio import QueueClient

from app.storage.azure.azure_calls import code_of, storage_call
from app.storage.queue import MESSAGE_LIFETIME_SECONDS, PopReceiptMismatchError, Receipt, ReceivedMessage, check_size
from app.storage.queue_encoding import encode_message, text_of

# Azure's limit.
_MAX_RECEIVED = 32
# Azure answers an old receipt with the first code, whether the message was deleted or received again. The second one is
# documented too: https://learn.microsoft.com/rest/api/storageservices/queue-service-error-codes
_OLD_RECEIPT_CODES = {"MessageNotFound", "PopReceiptMismatch"}


class AzureQueue:
    """Creates the queue if it is missing. Times are rounded up to seconds."""

    def __init__(self, queue: QueueClient) -> None:
        self._queue = queue

    async def create(self) -> None:
        with suppress(ResourceExistsError):
            await self._queue.create_queue()

    @storage_call()
    async def put(
        self, body: str, *, visibility_timeout: float, time_to_live_seconds: float = MESSAGE_LIFETIME_SECONDS
    ) -> Receipt:
        check_size(body)
        return await self._send(encode_message(body), visibility_timeout, time_to_live_seconds)

    @storage_call()
    async def put_content(self, content: str, *, visibility_timeout: float) -> Receipt:
        return await self._send(content, visibility_timeout, MESSAGE_LIFETIME_SECONDS)

    @storage_call()
    async def update_visibility(self, receipt: Receipt, *, visibility_timeout: float) -> Receipt:
        try:
            changed = await self._queue.update_message(
                receipt.message_id, receipt.pop_receipt, visibility_timeout=math.ceil(visibility_timeout)
            )
        except HttpResponseError as error:
            if code_of(error) in _OLD_RECEIPT_CODES:
                raise PopReceiptMismatchError from error
            raise
        return Receipt(receipt.message_id, str(changed.pop_receipt), receipt.inserted_at)

    @storage_call()
    async def delete(self, receipt: Receipt) -> None:
        await delete_message(self._queue, receipt)

    @storage_call()
    async def receive(self, max_messages: int, *, visibility_timeout: float) -> list[ReceivedMessage]:
        return await receive_messages(self._queue, max_messages, visibility_timeout)

    @storage_call()
    async def ping(self) -> None:
        await self._queue.peek_messages(max_messages=1)

    async def close(self) -> None:
        await self._queue.close()

    async def _send(self, content: str, visibility_timeout: float, time_to_live_seconds: float) -> Receipt:
        repeats = 0

        def tried_again(error: AzureError | None, response: AsyncHttpResponse | None, **_: object) -> None:
            nonlocal repeats
            repeats += _may_have_been_done(error, response)

        sent = await self._queue.send_message(
            content,
            visibility_timeout=math.ceil(visibility_timeout),
            time_to_live=math.ceil(time_to_live_seconds),
            retry_hook=tried_again,
        )
        return replace(_receipt_of(sent), repeats=repeats)


async def receive_messages(queue: QueueClient, max_messages: int, visibility_timeout: float) -> list[ReceivedMessage]:
    pages = queue.receive_messages(
        messages_per_page=min(max_messages, _MAX_RECEIVED), visibility_timeout=max(1, math.ceil(visibility_timeout))
    ).by_page()
    async for page in pages:
        return [
            ReceivedMessage(_receipt_of(message), text_of(message.content), message.dequeue_count or 1, message.content)
            async for message in page
        ]
    return []


async def delete_message(queue: QueueClient, receipt: Receipt) -> None:
    """A message that is gone, or that somebody else has received since, is no error."""
    try:
        await queue.delete_message(receipt.message_id, receipt.pop_receipt)
    except HttpResponseError as error:
        if code_of(error) not in _OLD_RECEIPT_CODES:
            raise


def _may_have_been_done(error: AzureError | None, response: AsyncHttpResponse | None) -> bool:
    """Not what did not reach storage, or what it was too busy for. It was seen to do what it answered with 500:
    https://github.com/Azure/azure-sdk-for-net/issues/37014
    """
    if response is None:
        return not isinstance(error, ServiceRequestError)
    return response.status_code != HTTPStatus.SERVICE_UNAVAILABLE


def _receipt_of(message: QueueMessage) -> Receipt:
    inserted_at = message.inserted_on.timestamp() if message.inserted_on is not None else 0.0
    return Receipt(str(message.id), str(message.pop_receipt), inserted_at)
