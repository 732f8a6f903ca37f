"""What an invoke is answered with.

https://learn.microsoft.com/adaptive-cards/authoring-cards/universal-action-model#response-format
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from botbuilder.core import InvokeResponse

Json = dict[str, Any]


def error_response(status: HTTPStatus, code: str, message: str) -> InvokeResponse:
    return InvokeResponse(status=status, body={"error": {"code": code, "message": message}})


def card_response(card: Json) -> InvokeResponse:
    """`card` takes the place of the one that was pressed."""
    return _to_press(HTTPStatus.OK, "application/vnd.microsoft.card.adaptive", card)


def card_message(text: str) -> InvokeResponse:
    """Teams shows `text` beside the card, which stays."""
    return _to_press(HTTPStatus.OK, "application/vnd.microsoft.activity.message", text)


def card_error(message: str) -> InvokeResponse:
    """Teams shows `message` beside the card as an error."""
    value = {"code": "BadRequest", "message": message}
    return _to_press(HTTPStatus.BAD_REQUEST, "application/vnd.microsoft.error", value)


def _to_press(status: HTTPStatus, content_type: str, value: Json | str) -> InvokeResponse:
    # The HTTP status is always 200: the press was received.
    body = {"statusCode": status.value, "type": content_type, "value": value}
    return InvokeResponse(status=HTTPStatus.OK, body=body)
