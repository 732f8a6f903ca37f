"""Why a channel did not take an activity, split by what the sender must do."""

from __future__ import annotations


class SendFailure(Exception):
    """The activity was not delivered, or nobody knows whether it was."""


class StoppedByPerson(SendFailure):
    """The person pressed Stop: end the work, send nothing more into this stream."""


class StreamTimeIsUp(SendFailure):
    """The channel closed the stream because of its age: what remains goes another way."""


class StreamAlreadyEnded(SendFailure):
    """The stream's final message has arrived before."""


class StreamNotAllowed(SendFailure):
    """This channel, person or bot cannot stream: send one message."""


class StreamContentRefused(SendFailure):
    """An update did not contain what was streamed before it."""


class MessageTooLarge(SendFailure):
    """Send it in smaller parts."""


class Throttled(SendFailure):
    """Not delivered; `retry_after` in seconds if the channel said so."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ChannelUnreachable(SendFailure):
    """No connection, no answer in time, or a fault on the channel's side."""


class SendRefused(SendFailure):
    """The channel refuses it for a reason that sending again does not cure."""
