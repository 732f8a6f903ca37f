"""A refusal or a failure as OpenAI's clients read it."""

from __future__ import annotations

from typing import Any


class ApiError(Exception):
    """`message` is a sentence for the caller. `param` names the field of the request that is at fault. With
    `retryable` the same request may succeed later.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        retryable: bool = False,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.type = type
        self.code = code
        self.param = param
        self.retryable = retryable

    def body(self) -> dict[str, Any]:
        return {"error": {"message": self.message, "type": self.type, "code": self.code, "param": self.param}}


def not_found(what: str, id: str) -> ApiError:
    """Said of what does not exist, and of what is another's."""
    return ApiError(404, f"There is no {what} with the id {id[:80]!r}.", code="not_found")
