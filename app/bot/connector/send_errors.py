"""Why a channel did not take an activity, split by what the sender has to do."""

from __future__ import annotations


class SendError(Exception):
    """The activity was not delivered, or nobody knows whether it was."""


class StoppedByUserError(SendError):
    """The person pressed Stop: the turn ends, and nothing more is sent into this stream."""


class StreamTimeLimitError(SendError):
    """The channel closed the stream because of its age: the rest is sent outside of it."""


class StreamAlreadyEndedError(SendError):
    """The final message of the stream arrived earlier."""


class StreamNotAllowedError(SendError):
    """Streaming is not available in this channel or to this person: one message is sent instead."""


class StreamContentRefusedError(SendError):
    """An update did not begin with what was streamed before it."""


class MessageTooLargeError(SendError):
    """It has to be sent in smaller parts."""


class ThrottledError(SendError):
    """Not delivered. `retry_after_seconds` if the channel said so."""

    def __init__(self, message: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class ChannelUnreachableError(SendError):
    """No connection, no answer in time, or a fault on the channel's side."""


class NotDeliveredError(ChannelUnreachableError):
    """The channel has certainly not taken it: sending it again cannot post it twice."""


class DeliveryUnknownError(ChannelUnreachableError):
    """It was sent, and nobody knows whether the channel took it: sending it again may post it twice."""


class SendRefusedError(SendError):
    """The channel refuses it, and would refuse it again."""


class ConversationClosedError(SendRefusedError):
    """The bot may not write to this conversation any more: it was removed, blocked or disabled, or the chat is gone."""
