"""Takes Databricks' job notifications over HTTP, so that a pass looks at the run that failed at once.

https://docs.databricks.com/aws/en/admin/workspace-settings/notification-destinations
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import logging
from collections.abc import Mapping
from hashlib import sha256
from http import HTTPStatus
from typing import Final

from pydantic import SecretStr

from app.http import HttpAnswer
from app.jobs.runs.job_notification import MAX_BODY_BYTES, job_notification
from app.messaging.job_messages import JOB_RUN_KIND
from app.storage.queue import Queue
from app.storage.storage_errors import StorageError

_MAX_HEADER_CHARACTERS: Final = 4096
_NO_STORE: Final = {"Cache-Control": "no-store"}
_log = logging.getLogger(__name__)


class NotificationEndpoint:
    """Puts a message of the kind `JOB_RUN_KIND` with the `run_id` on `queue`; nothing else of the body is used."""

    def __init__(self, username: str, password: SecretStr, queue: Queue) -> None:
        self._credentials = _digest(f"{username}:{password.get_secret_value()}".encode())
        self._queue = queue

    async def receive(self, method: str, headers: Mapping[str, str], body: bytes) -> HttpAnswer:
        if method != "POST":
            return HttpAnswer(HTTPStatus.METHOD_NOT_ALLOWED, "POST only", headers={"Allow": "POST", **_NO_STORE})
        if not self._is_signed_in(headers):
            challenge = {"WWW-Authenticate": 'Basic realm="job notifications", charset="UTF-8"', **_NO_STORE}
            return HttpAnswer(HTTPStatus.UNAUTHORIZED, "Unauthorized", headers=challenge)
        if len(body) > MAX_BODY_BYTES:
            return HttpAnswer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "Too large", headers=_NO_STORE)
        notification = job_notification(body)
        # A test of the destination names no run.
        if notification is not None:
            message = json.dumps({"v": 1, "kind": JOB_RUN_KIND, "run_id": notification.run_id})
            try:
                await self._queue.put(message, visibility_timeout=0)
            except StorageError:
                _log.exception("A job notification could not be put on the queue; a pass finds the run later")
                return HttpAnswer(HTTPStatus.SERVICE_UNAVAILABLE, "Try again later", headers=_NO_STORE)
        return HttpAnswer(HTTPStatus.ACCEPTED, headers=_NO_STORE)

    def _is_signed_in(self, headers: Mapping[str, str]) -> bool:
        header = next((value for name, value in headers.items() if name.lower() == "authorization"), "")
        scheme, _, encoded = header[:_MAX_HEADER_CHARACTERS].partition(" ")
        try:
            given = base64.b64decode(encoded.strip(), validate=True)
        except (binascii.Error, ValueError):
            given = b""
        # Digests are of one length, so that the comparison takes as long for every guess.
        is_right = hmac.compare_digest(_digest(given), self._credentials)
        return is_right and scheme.lower() == "basic"


def _digest(credentials: bytes) -> bytes:
    return sha256(credentials).digest()
