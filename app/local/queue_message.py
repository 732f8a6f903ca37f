"""What a function gets of a queue message: the Functions host reads it, and the Python worker makes a QueueMessage."""

from __future__ import annotations

import base64
import binascii
import json
from datetime import UTC, datetime
from typing import Any

from azure.functions import QueueMessage
from azure.functions.meta import Datum
from azure.functions.queue import QueueMessageInConverter

from app.local.host_json import MessageEncoding
from app.storage.queue import ReceivedMessage


def text_for_function(content: str, encoding: MessageEncoding) -> str | None:
    """None for a message that the host cannot read: it is moved to the poison queue, and no function is started.

    https://github.com/Azure/azure-sdk-for-net/pull/18326
    """
    if encoding == "none":
        return content
    try:
        return base64.b64decode("".join(content.split()), validate=True).decode(errors="replace")
    except (binascii.Error, ValueError):
        return None


def queue_message(received: ReceivedMessage, text: str, *, binary: bool) -> QueueMessage:
    """Raises `ValueError` where the worker does: text that is a JSON object has its members put over the message's own
    properties, unless the function asks for bytes.

    https://github.com/Azure/azure-functions-python-worker/issues/1373
    """
    inserted = datetime.fromtimestamp(received.inserted_at, UTC)
    metadata = {
        "Id": Datum(received.receipt.message_id, "string"),
        "PopReceipt": Datum(received.receipt.pop_receipt, "string"),
        "DequeueCount": Datum(received.dequeue_count, "int"),
        "InsertionTime": Datum(json.dumps(inserted.strftime("%Y-%m-%dT%H:%M:%S+00:00")), "json"),
    }
    known = {name.lower(): name for name in (*metadata, "ExpirationTime", "NextVisibleTime")}
    for member, value in [] if binary else _members(text):
        if (name := known.get(member.lower())) and value is not None and not isinstance(value, list):
            metadata[name] = Datum(json.dumps(value), "json")
    body = Datum(text.encode(), "bytes") if binary else Datum(text, "string")
    message: QueueMessage = QueueMessageInConverter.decode(body, trigger_metadata=metadata)
    return message


def _members(text: str) -> list[tuple[str, Any]]:
    try:
        value = json.loads(text)
    except ValueError:
        return []
    return list(value.items()) if isinstance(value, dict) else []
