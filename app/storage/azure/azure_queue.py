"""Queues of an Azure storage account. Bodies are base64 on the wire, as the Functions host expects them.

https://learn.microsoft.com/azure/azure-functions/functions-bindings-storage-queue-trigger#host-json-settings
"""

from __future__ import annotations

import base64
import binascii
import math
from contextlib import suppress

from azure.core.credentials_async import AsyncTokenCredential
from azure.core.exceptions import HttpResponseError, ResourceExistsError
from azure.storage.queue import QueueMessage
from azure.storage.queue.aio import QueueClient

from app.storage.azure.azure_calls import code_of, storage_call
from app.storage.queue import MESSAGE_LIFETIME_SECONDS, PopReceiptMismatchError, Receipt, ReceivedMessage, check_size

# Azure's limit.
_MAX_RECEIVED = 32
# Azure answers an old receipt with the first code, whether the message was deleted or received again. The second one is
# documented too: https://learn.microsoft.com/rest/api/storageservices/queue-service-error-codes
_OLD_RECEIPT_CODES = {"MessageNotFound", "PopReceiptMismatch"}


class AzureQueue:
    """Creates the queue if it is missing. Times are rounded up to seconds. `credential` is closed with the queue."""

    def __init__(self, queue: QueueClient, *, credential: AsyncTokenCredential | None = None) -> None:
        self._queue = queue
        self._credential = credential

    async def create(self) -> None:
        with suppress(ResourceExistsError):
            await self._queue.create_queue()

    @storage_call()
    async def put(self, body: str, *, visibility_timeout: float) -> Receipt:
        check_size(body)
        content = base64.b64encode(body.encode()).decode()
        sent = await self._queue.send_message(
            content,
            visibility_timeout=math.ceil(visibility_timeout),
            time_to_live=int(MESSAGE_LIFETIME_SECONDS),
        )
        return _receipt(sent)

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
        return Receipt(receipt.message_id, str(changed.pop_receipt))

    @storage_call()
    async def delete(self, receipt: Receipt) -> None:
        try:
            await self._queue.delete_message(receipt.message_id, receipt.pop_receipt)
        except HttpResponseError as error:
            if code_of(error) not in _OLD_RECEIPT_CODES:
                raise

    @storage_call()
    async def receive(self, max_messages: int, *, visibility_timeout: float) -> list[ReceivedMessage]:
        pages = self._queue.receive_messages(
            messages_per_page=min(max_messages, _MAX_RECEIVED), visibility_timeout=max(1, math.ceil(visibility_timeout))
        ).by_page()
        async for page in pages:
            return [
                ReceivedMessage(_receipt(message), _text(message.content), message.dequeue_count or 1)
                async for message in page
            ]
        return []

    @storage_call()
    async def ping(self) -> None:
        await self._queue.peek_messages(max_messages=1)

    async def close(self) -> None:
        await self._queue.close()
        if self._credential is not None:
            await self._credential.close()


def _receipt(message: QueueMessage) -> Receipt:
    return Receipt(str(message.id), str(message.pop_receipt))


def _text(content: str) -> str:
    try:
        return base64.b64decode(content, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError):
        # Not put there by this program: the reader of the message reports it.
        return content
