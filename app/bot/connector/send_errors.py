"""Why a channel did not take an activity, split by what the sender must do."""

from __future__ import annotations


class SendError(Exception):
    """The activity was not delivered, or nobody knows whether it was."""


class StoppedByUserError(SendError):
    """The person pressed Stop: end the work, send nothing more into this stream."""


class StreamTimeLimitError(SendError):
    """The channel closed the stream because of its age: what remains goes another way."""


class StreamAlreadyEndedError(SendError):
    """The stream's final message has arrived before."""


class StreamNotAllowedError(SendError):
    """This channel, person or bot cannot stream: send one message."""


class StreamContentRefusedError(SendError):
    """An update did not contain what was streamed before it."""


class MessageTooLargeError(SendError):
    """Send it in smaller parts."""


class ThrottledError(SendError):
    """Not delivered; `retry_after` in seconds if the channel said so."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ChannelUnreachableError(SendError):
    """No connection, no answer in time, or a fault on the channel's side."""


class SendRefusedError(SendError):
    """The channel refuses it for a reason that sending again does not cure."""
