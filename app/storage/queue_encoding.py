"""The text of a queue message, which a storage account keeps as base64 or plain, as its sender likes.

host.json's `messageEncoding` holds for every queue of the Function App, and with `base64` the Functions host puts a
plain message on the poison queue without starting the function. So it is `none`: functions decode what is stored.

https://learn.microsoft.com/azure/azure-functions/functions-bindings-storage-queue-trigger#host-json-settings
"""

from __future__ import annotations

import base64
import binascii

# JSON's white space, and the byte order mark that .NET may write.
_BEFORE_JSON = " \t\r\n\ufeff"


class UnreadableContentError(ValueError):
    """A message is neither a JSON object nor base64 of UTF-8. Says nothing of what is in it."""


def encode_message(body: str) -> str:
    return base64.b64encode(body.encode()).decode()


def decode_message(content: str) -> str:
    """`content` itself where it is a JSON object, else the text that is encoded in it. Raises `UnreadableContentError`.

    No base64 begins with `{`.
    """
    if content.lstrip(_BEFORE_JSON).startswith("{"):
        return content.lstrip(_BEFORE_JSON)
    try:
        return base64.b64decode("".join(content.split()), validate=True).decode()
    except (binascii.Error, ValueError):
        raise UnreadableContentError("a queue message is neither a JSON object nor base64 of UTF-8") from None


def text_of(content: str) -> str:
    """As `decode_message`, and `content` itself where it cannot be read: the reader of the message reports it."""
    try:
        return decode_message(content)
    except UnreadableContentError:
        return content
