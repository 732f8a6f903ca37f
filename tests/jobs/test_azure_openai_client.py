"""Azure OpenAI over HTTP, asked with the real openai package, and what it answers oddly."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from pydantic import SecretStr

from app.config import SettingsError
from app.databricks.workspace_errors import CredentialError
from app.jobs.azure_openai_client import AzureOpenAIClient, openai_base_url
from app.jobs.decisions.model_answer import DECISION_ANSWER
from app.jobs.error_decision_engine import ErrorDecisionEngine
from app.models.model_errors import ModelTimeoutError, SignInError
from app.settings.azure_openai_settings import AzureOpenAISettings
from tests.fakes.serving_endpoint import DONE, HttpReply, ServingEndpoint, Stream, chat_chunk, chat_stream, event
from tests.jobs.decisions.test_model_answer import written

KEY = "0123456789abcdef0123456789abcdef"
RETRY = written(decision="RETRY", suggested_params=[], reason="It passes.", cause="A reset connection")
ERROR: dict[str, Any] = {"error_message": "ConnectionResetError: reset", "job_context": {"job_id": 1}}

Reply = Stream | HttpReply


class AzureOpenAI:
    """A resource; `replies` are given in turn."""

    def __init__(self) -> None:
        self.replies: deque[Reply] = deque()
        self.asked: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        app = web.Application()
        app.router.add_post("/openai/v1/chat/completions", self._complete)
        self._server = TestServer(app, host="127.0.0.1")

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(await request.json())
        self.headers.append(dict(request.headers))
        reply = self.replies.popleft()
        if isinstance(reply, HttpReply):
            body = reply.body if isinstance(reply.body, str) else json.dumps(reply.body)
            kind = "application/json" if not isinstance(reply.body, str) else "text/html"
            return web.Response(status=reply.status, text=body, headers=reply.headers, content_type=kind)
        answer = web.StreamResponse(headers={"Content-Type": reply.content_type})
        await answer.prepare(request)
        for step in reply.steps:
            assert isinstance(step, bytes)
            await answer.write(step)
        await answer.write_eof()
        return answer

    @property
    def host(self) -> str:
        return f"http://127.0.0.1:{self._server.port}"

    def client(self, **options: Any) -> AzureOpenAIClient:
        return AzureOpenAIClient(settings(self.host), **options)


@asynccontextmanager
async def azure(*replies: Reply) -> AsyncIterator[AzureOpenAI]:
    resource = AzureOpenAI()
    resource.replies.extend(replies)
    await resource._server.start_server(shutdown_timeout=0.1)
    try:
        yield resource
    finally:
        await resource._server.close()


def settings(endpoint: str, key: str | None = KEY) -> AzureOpenAISettings:
    given = {"AZURE_OPENAI_ENDPOINT": endpoint, "AZURE_OPENAI_DEPLOYMENT": "gpt-4o", "AZURE_OPENAI_KEY": key}
    return AzureOpenAISettings.model_validate(given)


def refused(status: int, message: str, code: str = "BadRequest", **headers: str) -> HttpReply:
    return HttpReply(status, {"error": {"message": message, "code": code}}, headers)


FILTERED = {"jailbreak": {"filtered": True, "detected": True}}
FILTERED_INPUT = {
    "error": {
        "code": "content_filter",
        "message": "The response was filtered due to the prompt triggering Azure OpenAI's content management policy.",
        "innererror": {"code": "ResponsibleAIPolicyViolation", "content_filter_result": FILTERED},
    }
}
PROMPT_RESULTS = event({"id": "", "model": "", "choices": [], "prompt_filter_results": [{"prompt_index": 0}]})
PARTS = [{"type": "reasoning", "summary": [{"type": "summary_text", "text": "{"}]}, {"type": "text", "text": RETRY}]
ONLY_EMPTY = Stream([PROMPT_RESULTS, DONE])
REFUSAL = Stream([chat_chunk({"refusal": "I'm sorry, I cannot assist with that."}), chat_chunk({}, "stop"), DONE])
CUT = Stream([chat_chunk({"content": RETRY[:50]}), chat_chunk({}, "length"), DONE])
FILTERED_OUTPUT = Stream([chat_chunk({"content": "{"}), chat_chunk({}, "content_filter"), DONE])
WHOLE = HttpReply(200, {"choices": [{"message": {"role": "assistant", "content": RETRY}, "finish_reason": "stop"}]})
NO_SCHEMA = "response_format value as json_schema is enabled only for api versions 2024-08-01-preview and later"


async def test_a_deployment_is_asked_with_its_key_and_a_strict_schema() -> None:
    async with azure(Stream([PROMPT_RESULTS, *chat_stream(RETRY[:30], RETRY[30:]).steps])) as resource:
        decision = await ErrorDecisionEngine(resource.client()).analyze_and_decide_async(**ERROR)
    assert (decision["decision"], decision["source"]) == ("RETRY", "model")
    (body,) = resource.asked
    assert body["model"] == "gpt-4o"
    assert body["response_format"]["json_schema"]["strict"] is True
    assert body["response_format"]["json_schema"]["schema"] == DECISION_ANSWER.schema
    assert resource.headers[0]["Authorization"] == f"Bearer {KEY}"


async def test_an_identity_gives_the_token_where_there_is_no_key() -> None:
    async def token() -> str:
        return "an-entra-token"

    async with azure(chat_stream(RETRY)) as resource:
        client = AzureOpenAIClient(settings(resource.host, None), token_provider=token)
        await client.complete("s", "u", DECISION_ANSWER)
        assert await client.token() == "an-entra-token"
    assert resource.headers[0]["Authorization"] == "Bearer an-entra-token"


async def test_a_provider_that_fails_is_a_failed_sign_in_without_its_words() -> None:
    async def token() -> str:
        raise RuntimeError("secret words")

    client = AzureOpenAIClient(settings("http://127.0.0.1:9", None), token_provider=token)
    with pytest.raises(SignInError) as failure:
        await client.complete("s", "u", DECISION_ANSWER)
    assert "secret words" not in str(failure.value)
    with pytest.raises(CredentialError):
        await client.token()


@pytest.mark.parametrize(
    ("replies", "source", "says", "calls"),
    [
        ([chat_stream(f"```json\n{RETRY}\n```")], "model", "It passes.", 1),
        ([chat_stream(json.dumps(json.loads(RETRY) | {"extra": 1, "severity": "low"}))], "model", "It passes.", 1),
        ([chat_stream(f"<think>The log says {{}}</think>{RETRY}")], "model", "It passes.", 1),
        ([WHOLE], "model", "It passes.", 1),
        ([Stream([chat_chunk({"content": PARTS}, "stop"), DONE])], "model", "It passes.", 1),
        ([REFUSAL, chat_stream(RETRY)], "model", "It passes.", 2),
        ([REFUSAL, REFUSAL], "prior", "could not be read", 2),
        ([CUT, chat_stream(RETRY)], "model", "It passes.", 2),
        ([CUT, CUT], "prior", "could not be read", 2),
        ([ONLY_EMPTY, chat_stream(RETRY)], "model", "It passes.", 2),
        ([HttpReply(200, {"choices": []})], "prior", "gave no answer", 1),
        ([HttpReply(400, FILTERED_INPUT)], "prior", "content filter", 1),
        ([FILTERED_OUTPUT], "prior", "content filter", 1),
        ([refused(429, "slow down", "429", **{"Retry-After": "0"}), chat_stream(RETRY)], "model", "It passes.", 2),
        ([refused(429, "quota", "429", **{"Retry-After": "86400"})], "prior", "gave no answer", 1),
        ([refused(400, NO_SCHEMA), chat_stream(RETRY)], "model", "It passes.", 2),
        ([refused(400, "Unknown parameter: 'response_format'."), chat_stream(RETRY)], "model", "It passes.", 2),
        ([refused(422, "Extra inputs are not permitted"), chat_stream(RETRY)], "model", "It passes.", 2),
        ([refused(400, "nonsense"), refused(400, "nonsense")], "prior", "gave no answer", 2),
        (
            [refused(400, "Unsupported parameter: 'max_tokens' is not supported with this model."), chat_stream(RETRY)],
            "model",
            "It passes.",
            2,
        ),
        ([refused(401, "Access denied due to invalid subscription key", "401")], "prior", "gave no answer", 1),
        ([refused(404, "The API deployment does not exist", "DeploymentNotFound")], "prior", "gave no answer", 1),
        ([HttpReply(200, "<html>Sign in</html>")], "prior", "gave no answer", 1),
        ([HttpReply(302, "", {"Location": "https://login.microsoftonline.com/"})], "prior", "gave no answer", 1),
    ],
)
async def test_odd_replies_end_in_a_decision(replies: list[Reply], source: str, says: str, calls: int) -> None:
    async with azure(*replies) as resource:
        decision = await ErrorDecisionEngine(resource.client()).analyze_and_decide_async(**ERROR)
    assert decision["source"] == source
    assert says in str(decision["reason"])
    assert len(resource.asked) == calls


async def test_after_a_refused_schema_plain_json_is_asked_for() -> None:
    async with azure(refused(400, NO_SCHEMA), chat_stream(RETRY), chat_stream(RETRY)) as resource:
        client = resource.client()
        for _ in range(2):
            await client.complete("s", "u", DECISION_ANSWER)
    assert ["response_format" in body for body in resource.asked] == [True, False, False]


async def test_an_endpoint_that_is_silent_is_given_up() -> None:
    async def never() -> str:
        await asyncio.Event().wait()
        return ""

    client = AzureOpenAIClient(settings("http://127.0.0.1:9", None), token_provider=never, time_limit_seconds=0.05)
    with pytest.raises(ModelTimeoutError):
        await client.complete("s", "u", DECISION_ANSWER)


@pytest.mark.parametrize(
    ("endpoint", "base_url"),
    [
        ("https://r.openai.azure.com", "https://r.openai.azure.com/openai/v1"),
        ("https://r.openai.azure.com/", "https://r.openai.azure.com/openai/v1"),
        ("https://r.openai.azure.com/openai", "https://r.openai.azure.com/openai/v1"),
        ("https://r.openai.azure.com/openai/v1/", "https://r.openai.azure.com/openai/v1"),
        (
            "https://r.openai.azure.com/openai/deployments/gpt-4o/chat/completions?api-version=2024-08-01-preview",
            "https://r.openai.azure.com/openai/v1",
        ),
        ("https://r.services.ai.azure.com/api/projects/p", "https://r.services.ai.azure.com/openai/v1"),
        ("https://r.cognitiveservices.azure.com/", "https://r.cognitiveservices.azure.com/openai/v1"),
        ("https://gateway.example.com/ai/openai/v1", "https://gateway.example.com/ai/openai/v1"),
        ("https://api.openai.com/v1", "https://api.openai.com/v1"),
    ],
)
def test_an_endpoint_may_be_written_as_azure_shows_it(endpoint: str, base_url: str) -> None:
    assert openai_base_url(endpoint) == base_url
    assert AzureOpenAIClient(settings(endpoint)).base_url == base_url


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Callable[..., None]:
    monkeypatch.chdir(tmp_path)
    for name in ("AZURE_OPENAI_ENDPOINT", "AZURE_OPENAI_DEPLOYMENT", "AZURE_OPENAI_KEY", "DATABRICKS_MODEL_NAME"):
        monkeypatch.delenv(name, raising=False)
    for name in ("DATABRICKS_HOST", "DATABRICKS_BASE_URL", "DATABRICKS_TOKEN"):
        monkeypatch.delenv(name, raising=False)

    def given(**values: str) -> None:
        for name, value in values.items():
            monkeypatch.setenv(name, value)

    return given


def test_azure_openai_needs_no_workspace(environment: Callable[..., None]) -> None:
    environment(AZURE_OPENAI_ENDPOINT="https://r.openai.azure.com", AZURE_OPENAI_DEPLOYMENT="d", AZURE_OPENAI_KEY=KEY)
    client = AzureOpenAIClient()
    assert (client.name, client.base_url) == ("d", "https://r.openai.azure.com/openai/v1")
    assert client.settings.key == SecretStr(KEY)


async def test_without_azure_openai_the_workspace_answers(environment: Callable[..., None]) -> None:
    async with ServingEndpoint() as endpoint:
        endpoint.replies.append(chat_stream(RETRY))
        token = next(iter(endpoint.accepted_tokens))
        environment(DATABRICKS_HOST=endpoint.host, DATABRICKS_TOKEN=token, DATABRICKS_MODEL_NAME=endpoint.name)
        client = AzureOpenAIClient()
        decision = await ErrorDecisionEngine(client).analyze_and_decide_async(**ERROR)
    assert (client.name, client.base_url, decision["decision"]) == (endpoint.name, "", "RETRY")
    assert endpoint.asked[0].body["response_format"]["type"] == "json_schema"


def test_a_workspace_without_a_model_leaves_the_codes_to_decide(environment: Callable[..., None]) -> None:
    environment(DATABRICKS_HOST="https://w.example.com", DATABRICKS_TOKEN="t")
    engine = ErrorDecisionEngine(AzureOpenAIClient())
    assert engine.model == ""
    assert "no model is set up" in str(engine.analyze_and_decide(**ERROR)["reason"])


def test_without_any_model_the_settings_to_make_are_named(environment: Callable[..., None]) -> None:
    with pytest.raises(SettingsError, match="AZURE_OPENAI_ENDPOINT"):
        AzureOpenAIClient()


def test_one_client_serves_callers_without_an_event_loop_again_and_again() -> None:
    async def scenario() -> list[object]:
        async with azure(chat_stream(RETRY), chat_stream(RETRY)) as resource:
            engine = ErrorDecisionEngine(resource.client())
            ask = lambda: engine.analyze_and_decide(**ERROR)["decision"]  # noqa: E731
            return [await asyncio.to_thread(ask), await asyncio.to_thread(ask)]

    assert asyncio.run(scenario()) == ["RETRY", "RETRY"]
