"""What asking an agent server over HTTP may come to."""

from __future__ import annotations

import json
from collections.abc import Mapping

import httpx
import pytest

from agent_server.evaluation.agent_client import AgentClient, AgentClientError, databricks_headers

APP = "https://agent-1.aws.databricksapps.com"


def client(reply: httpx.Response | Exception, asked: list[httpx.Request] | None = None) -> AgentClient:
    def answer(request: httpx.Request) -> httpx.Response:
        if asked is not None:
            asked.append(request)
        if isinstance(reply, Exception):
            raise reply
        return reply

    def headers() -> Mapping[str, str]:
        return {"Authorization": "Bearer of-the-moment"}

    return AgentClient(f"{APP}/", headers, transport=httpx.MockTransport(answer))


def test_a_question_goes_to_the_path_for_tokens_with_one_and_nothing_is_kept() -> None:
    asked: list[httpx.Request] = []

    answer = client(httpx.Response(200, json={"status": "completed"}), asked).ask({"input": "Hi", "store": True})

    assert answer == {"status": "completed"}
    (request,) = asked
    assert str(request.url) == f"{APP}/api/responses"
    assert request.headers["Authorization"] == "Bearer of-the-moment"
    assert json.loads(request.content) == {"input": "Hi", "store": False}


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (httpx.Response(302, headers={"Location": "https://login"}), "takes OAuth tokens only"),
        (httpx.Response(400, json={"error": {"message": "input is missing."}}), "400: input is missing."),
        (httpx.Response(502, text="<html>Bad gateway"), "502: <html>Bad gateway"),
        (httpx.Response(500, json=["no"]), "500: "),
        (httpx.Response(200, text="<html>"), "something else than a response"),
        (httpx.Response(200, json=[1]), "something else than a response"),
        (httpx.ConnectError("refused"), f"{APP}/api/responses does not answer (ConnectError)"),
    ],
)
def test_a_failure_is_a_sentence(reply: httpx.Response | Exception, said: str) -> None:
    with pytest.raises(AgentClientError) as failure:
        client(reply).ask({"input": "Hi"})

    assert said in str(failure.value)


def test_events_come_as_they_are_and_a_refusal_is_a_sentence() -> None:
    stream = ': alive\n\ndata: {"type": "response.created"}\n\ndata: {"type": "response.completed"}\n\ndata: [DONE]\n\n'

    events = list(client(httpx.Response(200, text=stream)).events({"input": "Hi"}))

    assert [event["type"] for event in events] == ["response.created", "response.completed"]
    with pytest.raises(AgentClientError, match="429: Later"):
        list(client(httpx.Response(429, json={"error": {"message": "Later."}})).events({"input": "Hi"}))


def test_a_server_on_this_machine_needs_no_token() -> None:
    assert databricks_headers("http://127.0.0.1:8000")() == {}
    assert databricks_headers("http://localhost:8000")() == {}
