"""What an invoke is answered with.

https://learn.microsoft.com/adaptive-cards/authoring-cards/universal-action-model#response-format
"""

from __future__ import annotations

from http import HTTPStatus

from botbuilder.core import InvokeResponse


def error_response(status: HTTPStatus, code: str, message: str) -> InvokeResponse:
    return InvokeResponse(status=status, body={"error": {"code": code, "message": message}})


def card_error(message: str) -> InvokeResponse:
    """Teams shows `message` below the card."""
    value = {"code": "BadRequest", "message": message}
    body = {"statusCode": HTTPStatus.BAD_REQUEST.value, "type": "application/vnd.microsoft.error", "value": value}
    return InvokeResponse(status=HTTPStatus.OK, body=body)
