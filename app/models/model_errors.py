"""Why a model did not answer, split by what the person who asked can do about it."""

from __future__ import annotations


class ModelError(Exception):
    """`str()` is for the log: it quotes nothing that a person could have written, and no credential.

    `detail` is what the endpoint itself said, which may repeat the question. `parameters` are the parts of the request
    that it refuses, by their names in the chat completions API, the likeliest first.
    """

    detail: str = ""
    parameters: tuple[str, ...] = ()


class SignInError(ModelError):
    """The credential was refused or could not be had (401)."""


class MissingCredentialError(SignInError):
    """No token could be had, so the endpoint was never asked."""


class PermissionDeniedError(ModelError):
    """The identity is known but may not query the endpoint (403)."""


class UnknownModelError(ModelError):
    """There is no endpoint of that name (404)."""


class ConversationTooLongError(ModelError):
    """The request does not fit the model's context or the endpoint's payload limit."""


class ContentFilteredError(ModelError):
    """A guardrail stopped the question or the answer; `categories` says what it named, if it did."""

    def __init__(self, message: str, *, side: str = "input", categories: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.side = side
        self.categories = categories


class RateLimitedError(ModelError):
    """Rate limited after every retry (429); `retry_after_seconds` if the endpoint said so."""

    def __init__(self, message: str, *, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class EndpointUnavailableError(ModelError):
    """The endpoint is scaled to zero, provisioning or temporarily unavailable (502, 503, 504)."""

    def __init__(self, message: str, *, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class ModelTimeoutError(ModelError):
    """No answer within the time limit."""


class StreamInterruptedError(ModelError):
    """The stream ended before the endpoint said it was complete; what arrived has been yielded."""


class UnreadableAnswerError(ModelError):
    """The endpoint answered, and not as a model does: asking again would cost the same and change nothing."""


class EndpointUnreachableError(ModelError):
    """No connection could be made: wrong host, no network, or an IP access list."""


class AddressBlockedError(EndpointUnreachableError):
    """The workspace's IP access list does not hold the app's address: asking again changes nothing."""


class RequestRefusedError(ModelError):
    """The endpoint rejects the request (400 and anything unforeseen): for the operator, not the person."""


class EndpointFailedError(RequestRefusedError):
    """The endpoint broke over the request (500), for whatever reason."""
