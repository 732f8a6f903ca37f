"""What a person thinks of a response: kept here, and told to its trace in MLflow and to Genie."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

from agent_server.identity.server_caller import ServerCaller
from agent_server.protocol.api_error import ApiError, not_found
from agent_server.responses.response_records import ResponseRecords
from app.content.feedback_target import TraceTarget
from app.feedback.rating_records import RatingRecord, Reaction
from app.feedback.ratings import MAX_COMMENT_CHARACTERS, Ratings
from app.storage.conversations import ConversationKey
from app.turns.rating_queue import RatingQueue

_REACTIONS = {"up": Reaction.LIKE, "down": Reaction.DISLIKE, None: Reaction.NONE}
_VALUES = {Reaction.LIKE: "up", Reaction.DISLIKE: "down"}


class ReadableResponses(Protocol):
    async def get(self, response_id: str, caller: ServerCaller) -> dict[str, Any]:
        """The Response object as it is now. Raises `ApiError`."""
        ...


class ResponseFeedback:
    """`ratings` is called when the first one comes."""

    def __init__(
        self,
        requests: ResponseRecords,
        responses: ReadableResponses,
        ratings: Callable[[], Ratings],
        queue: RatingQueue,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._requests = requests
        self._responses = responses
        self._ratings = ratings
        self._queue = queue
        self._clock = clock

    async def give(self, caller: ServerCaller, response_id: str, said: dict[str, Any]) -> dict[str, Any]:
        """Replaces what the caller has said of the response. Another's response looks unknown.

        Raises `ApiError` and `StorageError`.
        """
        reaction, comment = _read(said)
        request = await self._requests.find(caller.tenant, response_id)
        if request is None:
            raise not_found("response", response_id)
        status = (await self._responses.get(response_id, caller))["status"]
        if status in ("queued", "in_progress"):
            raise ApiError(409, "The response is still being written: rate it when it has ended.", retryable=True)
        conversation = ConversationKey(caller.tenant, request.conversation)
        ratings = self._ratings()
        if request.trace_id and status != "completed":
            await ratings.targets.save(conversation, response_id, [TraceTarget(request.trace_id)])
        rating = await ratings.rate(conversation, response_id, caller.owner, reaction, comment, said_at=self._clock())
        await self._queue.put(caller.tenant, rating)
        return {"value": said["value"], "comment": comment}


def feedback_json(rating: RatingRecord | None) -> dict[str, Any] | None:
    """None where nothing was said, or all of it was taken back."""
    if rating is None or rating.reaction is Reaction.NONE:
        return None
    return {"value": _VALUES[rating.reaction], "comment": rating.comment}


def _read(said: dict[str, Any]) -> tuple[Reaction, str]:
    value, comment = said.get("value", ""), said.get("comment")
    if not (value is None or value in ("up", "down")):
        raise ApiError(400, 'value must be "up", "down", or null to take it back.', param="value", code="invalid_value")
    if not (comment is None or isinstance(comment, str)):
        raise ApiError(400, "comment must be a text.", param="comment", code="invalid_value")
    if comment and len(comment) > MAX_COMMENT_CHARACTERS:
        raise ApiError(
            400, f"comment is longer than {MAX_COMMENT_CHARACTERS} characters.", param="comment", code="invalid_value"
        )
    return _REACTIONS[value], "" if value is None else (comment or "").strip()
