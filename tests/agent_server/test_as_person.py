"""The Databricks agent in an app: the model is asked as whom the settings and the request say, and failures are said so
that the one who reads them can do something.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from agent_server.agent import answer
from tests.agent_server.app_server import app_server
from tests.fakes.serving_endpoint import TOKEN, HttpReply, ServingEndpoint, databricks_error

PERSON = "token-of-ann"
APP_SIGN_IN = "Databricks did not accept this agent's sign-in."
TOO_LONG = databricks_error(400, "BAD_REQUEST", "This model's maximum context length is 8192 tokens")
FORBIDDEN = databricks_error(403, "PERMISSION_DENIED", "Provided OAuth token does not have required scopes")


@asynccontextmanager
async def app(model: ServingEndpoint, folder: Path, **settings: str) -> AsyncIterator[httpx.AsyncClient]:
    environment = {
        "DATABRICKS_APP_NAME": "an-app",
        "DATABRICKS_BASE_URL": model.base_url,
        "DATABRICKS_MODEL_NAME": model.name,
        "DATABRICKS_TOKEN": TOKEN,
        "DATA_DIR": str(folder),
        **settings,
    }
    async with app_server(answer, environment, databricks_agent=True) as (_, http):
        yield http


async def ask(http: httpx.AsyncClient, token: str = "", **body: Any) -> Any:
    headers = {"X-Forwarded-User": "4711@99"} | ({"X-Forwarded-Access-Token": token} if token else {})
    asked = await http.post("/api/responses", json={"input": "Hello?", **body}, headers=headers)
    return asked.json()


@pytest.mark.parametrize(
    ("identity", "token", "asked_with"),
    [("auto", PERSON, PERSON), ("auto", "", TOKEN), ("app", PERSON, TOKEN), ("person", PERSON, PERSON)],
)
async def test_the_model_is_asked_with_the_token_of_the_person_or_of_the_app(
    identity: str, token: str, asked_with: str, tmp_path: Path
) -> None:
    async with ServingEndpoint() as model, app(model, tmp_path, AGENT_SERVER_IDENTITY=identity) as http:
        model.accepted_tokens.add(PERSON)
        for kept in (True, False):
            answered = await ask(http, token, store=kept)
            assert answered["status"] == "completed"
        assert [each.token for each in model.asked] == [asked_with] * 2


async def test_without_a_token_a_person_is_refused_before_anything_is_asked(tmp_path: Path) -> None:
    async with ServingEndpoint() as model, app(model, tmp_path, AGENT_SERVER_IDENTITY="person") as http:
        refused = await ask(http)
        assert refused["error"]["code"] == "sign_in_required"
        assert model.asked == []


@pytest.mark.parametrize(
    ("token", "accepted", "reply", "says"),
    [
        (PERSON, False, None, "Databricks did not accept your sign-in. Please load the page again"),
        (PERSON, True, FORBIDDEN, "You are not allowed to use the model."),
        (PERSON, True, FORBIDDEN, "the scope model-serving in the app's user_api_scopes"),
        (PERSON, True, TOO_LONG, "Begin a new conversation"),
        ("", False, HttpReply(401, {"error_code": "UNAUTHENTICATED"}), APP_SIGN_IN),
        ("", False, FORBIDDEN, "This agent is not allowed to use the model."),
        ("", False, TOO_LONG, "Begin a new conversation"),
    ],
)
async def test_a_failure_says_what_the_one_who_asks_can_do(
    token: str, accepted: bool, reply: HttpReply | None, says: str, tmp_path: Path
) -> None:
    async with ServingEndpoint() as model, app(model, tmp_path) as http:
        model.accepted_tokens |= {PERSON} if accepted else set()
        for kept in (True, False):
            model.replies.extend([reply] * 3 if reply else ())
            failed = await ask(http, token, store=kept)
            error = failed["error"]
            assert says in error["message"]
            assert "/forget" not in error["message"]
            assert "error id" in error["message"]
            model.replies.clear()
