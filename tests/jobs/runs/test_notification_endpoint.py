"""Databricks' job notifications over HTTP: who may call, and what is taken from the body."""

from __future__ import annotations

import base64
import json

import pytest
from pydantic import SecretStr

from app.jobs.runs.job_notification import MAX_BODY_BYTES
from app.jobs.runs.notification_endpoint import NotificationEndpoint
from app.storage.queue import MESSAGE_LIFETIME_SECONDS, Receipt
from app.storage.storage_errors import StorageError

FAILED = {"event_type": "jobs.on_failure", "run": {"run_id": "455116"}, "job": {"job_id": "11"}, "cause": "<script>"}


class Bodies:
    """A queue that only takes."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.put_bodies: list[str] = []
        self._failure = failure

    async def put(
        self, body: str, *, visibility_timeout: float, time_to_live_seconds: float = MESSAGE_LIFETIME_SECONDS
    ) -> Receipt:
        if self._failure is not None:
            raise self._failure
        assert visibility_timeout == 0
        self.put_bodies.append(body)
        return Receipt("1", "1")

    async def update_visibility(self, receipt: Receipt, *, visibility_timeout: float) -> Receipt:
        raise NotImplementedError

    async def delete(self, receipt: Receipt) -> None:
        raise NotImplementedError

    async def ping(self) -> None:
        raise NotImplementedError

    async def close(self) -> None:
        raise NotImplementedError


def endpoint(queue: Bodies) -> NotificationEndpoint:
    return NotificationEndpoint("databricks", SecretStr("pässword: with colon"), queue)


def basic(text: str) -> dict[str, str]:
    return {"authorization": f"Basic {base64.b64encode(text.encode()).decode()}"}


RIGHT = basic("databricks:pässword: with colon")


async def test_a_failed_run_is_looked_at_at_once_and_nothing_else_of_the_body_is_taken() -> None:
    queue = Bodies()
    answer = await endpoint(queue).receive("POST", RIGHT, json.dumps(FAILED).encode())
    assert (answer.status, answer.body) == (202, "")
    assert [json.loads(body) for body in queue.put_bodies] == [{"v": 1, "kind": "job_run", "run_id": 455116}]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        basic("databricks:wrong"),
        basic("databricks"),
        basic(":pässword: with colon"),
        {"authorization": RIGHT["authorization"].replace("Basic", "Bearer")},
        {"authorization": "Basic"},
        {"authorization": "Basic äöü"},
        {"authorization": f"Basic {'A' * 100_000}"},
        {"authorization": RIGHT["authorization"] + "====" + "x"},
        {"x-authorization": RIGHT["authorization"]},
    ],
)
async def test_whoever_is_not_signed_in_is_asked_to(headers: dict[str, str]) -> None:
    queue = Bodies()
    answer = await endpoint(queue).receive("POST", headers, json.dumps(FAILED).encode())
    assert (answer.status, queue.put_bodies) == (401, [])
    assert answer.headers["WWW-Authenticate"].startswith("Basic realm=")


@pytest.mark.parametrize("scheme", ["Basic", "basic", "BASIC"])
async def test_the_scheme_is_read_in_any_case(scheme: str) -> None:
    headers = {"Authorization": RIGHT["authorization"].replace("Basic", scheme)}
    assert (await endpoint(Bodies()).receive("POST", headers, b"")).status == 202


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"run": {"run_id": "../1"}}', b"\xff\xfe", b'{"run": 1}'])
async def test_a_body_that_names_no_run_is_taken_and_starts_nothing(body: bytes) -> None:
    queue = Bodies()
    assert (await endpoint(queue).receive("POST", RIGHT, body)).status == 202
    assert queue.put_bodies == []


async def test_a_body_that_is_too_large_is_refused() -> None:
    assert (await endpoint(Bodies()).receive("POST", RIGHT, b" " * (MAX_BODY_BYTES + 1))).status == 413


async def test_databricks_is_asked_to_come_again_where_the_queue_takes_nothing() -> None:
    queue = Bodies(StorageError("the account is away"))
    assert (await endpoint(queue).receive("POST", RIGHT, json.dumps(FAILED).encode())).status == 503


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
async def test_only_posts_are_taken(method: str) -> None:
    answer = await endpoint(Bodies()).receive(method, RIGHT, b"")
    assert (answer.status, answer.headers["Allow"]) == (405, "POST")
