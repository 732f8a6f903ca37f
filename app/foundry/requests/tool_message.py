"""What a message on a tool's input queue asks, in each form that is known of Foundry.

The arguments are in `function_args`, as an object or as the JSON text of one
(https://learn.microsoft.com/azure/ai-foundry/agents/how-to/tools/azure-functions), or beside `CorrelationId`, as in
https://github.com/Azure-Samples/azure-functions-ai-services-agent-python.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from app.foundry.requests.output_message import MAX_CORRELATION_ID_BYTES
from app.foundry.requests.tool_request import ToolRequest, exact_json
from app.storage.queue_encoding import UnreadableContentError, decode_message

UNREADABLE_ARGUMENTS: Final = (
    "The arguments of this call cannot be read: they have to be a JSON object. Call the tool again."
)
_MAX_CONVERSATION_CHARACTERS: Final = 1_000
_MAX_DIGITS: Final = 100
_MAX_TRACEPARENT_CHARACTERS: Final = 200
_CORRELATION_ID: Final = "correlationid"
_FUNCTION_ARGS: Final = "functionargs"
_OUTPUT_QUEUE_URI: Final = "outputqueueuri"
_TRACEPARENT: Final = "traceparent"


class UnanswerableMessageError(Exception):
    """It has no correlation id that could be answered. `str()` says why, and nothing of what is in the message."""


@dataclass(frozen=True, slots=True)
class QueuedMessage:
    """`content` is what is stored. `inserted_at` is in seconds since 1970 by storage's clock."""

    content: bytes
    id: str
    inserted_at: float
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class ToolMessage:
    """`output_queue_uri` is where the agent wants the answer: to be compared with our own queue, never to be used."""

    request: ToolRequest
    output_queue_uri: str = ""


def parse_tool_message(tool: str, message: QueuedMessage) -> ToolMessage:
    """Raises `UnanswerableMessageError`."""
    body = _object(message.content)
    correlation_id = _correlation_id(_named(body, "CorrelationId", _CORRELATION_ID))
    traceparent = body.get(_TRACEPARENT)
    if not isinstance(traceparent, str) or len(traceparent) > _MAX_TRACEPARENT_CHARACTERS:
        traceparent = message.traceparent
    arguments = _arguments(body)
    refusal = "" if arguments is not None else UNREADABLE_ARGUMENTS
    arguments = arguments or {}
    uri = _named(arguments, _OUTPUT_QUEUE_URI, _OUTPUT_QUEUE_URI)
    request = ToolRequest(
        tool,
        correlation_id,
        {name: value for name, value in arguments.items() if _plain(name) != _OUTPUT_QUEUE_URI},
        message.inserted_at,
        _conversation(arguments.get("conversation")),
        traceparent=traceparent,
        refusal=refusal,
    )
    return ToolMessage(request, uri if isinstance(uri, str) else "")


def is_queue(uri: str, queue: str, account: str = "") -> bool:
    """Whether `uri` is that of the `queue`, of the storage account whose queue endpoint is `account` where that is
    known.
    """
    try:
        asked, own = urlsplit(uri.strip()), urlsplit(account)
        same_account = not account or asked.hostname == own.hostname
    except ValueError:
        return False
    return same_account and asked.path.rstrip("/").rpartition("/")[2].lower() == queue


def _object(content: bytes) -> Mapping[str, Any]:
    try:
        # .NET may encode a byte order mark too.
        value = json.loads(decode_message(content.decode()).removeprefix("\ufeff"), parse_int=_number)
    except UnreadableContentError:
        raise UnanswerableMessageError("it is neither a JSON object nor base64 of one") from None
    except UnicodeDecodeError:
        raise UnanswerableMessageError("it is not UTF-8") from None
    except RecursionError:
        raise UnanswerableMessageError("its JSON is nested too deep") from None
    except ValueError:
        raise UnanswerableMessageError("it is no JSON") from None
    if not isinstance(value, dict):
        raise UnanswerableMessageError("it is no JSON object")
    return value


def _number(digits: str) -> int | float:
    """Python reads no integer of more than 4,300 digits."""
    return int(digits) if len(digits) <= _MAX_DIGITS else float(digits)


def _correlation_id(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if value is None or value == "":
        raise UnanswerableMessageError("it has no CorrelationId")
    if not isinstance(value, str):
        raise UnanswerableMessageError("its CorrelationId is no string")
    if len(exact_json(value).encode()) > MAX_CORRELATION_ID_BYTES:
        raise UnanswerableMessageError("its CorrelationId is too long")
    return value


def _arguments(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """None where they cannot be read."""
    value = _named(body, "function_args", _FUNCTION_ARGS)
    if isinstance(value, str):
        try:
            # Some models write the object as text twice, and line breaks as they are.
            value = json.loads(value, parse_int=_number, strict=False) if value.strip() else {}
            value = json.loads(value, parse_int=_number, strict=False) if isinstance(value, str) else value
        except (ValueError, RecursionError):
            return None
    if value is not None and not isinstance(value, dict):
        return None
    outside = (_CORRELATION_ID, _FUNCTION_ARGS, _TRACEPARENT)
    return value or {name: each for name, each in body.items() if _plain(name) not in outside}


def _conversation(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    return value.strip()[:_MAX_CONVERSATION_CHARACTERS] if isinstance(value, str) else ""


def _named(members: Mapping[str, Any], exact: str, plain: str) -> object:
    """The member of that name, or else the one that differs in case, `_` and `-` alone."""
    if exact in members:
        return members[exact]
    return next((value for name, value in members.items() if _plain(name) == plain), None)


def _plain(name: str) -> str:
    return name.replace("_", "").replace("-", "").lower()
