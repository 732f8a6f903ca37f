from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.common.log_text import quoted
from app.models.error_replies import ErrorReply, failure_of_reply
from app.models.model_errors import (
    AddressBlockedError,
    ContentFilteredError,
    ConversationTooLongError,
    EndpointFailedError,
    EndpointUnavailableError,
    ModelError,
    ModelTimeoutError,
    PermissionDeniedError,
    RateLimitedError,
    RequestRefusedError,
    SignInError,
    UnknownModelError,
)


def failure(status: int, body: Any = "", **reply: Any) -> ModelError:
    return failure_of_reply(ErrorReply(status, body if isinstance(body, str) else json.dumps(body), **reply))


def databricks(code: str, message: str) -> dict[str, str]:
    return {"error_code": code, "message": message}


GUARDRAIL = {
    "usage": {"prompt_tokens": 9},
    "input_guardrail": [
        {"flagged": True, "categories": {"violence": True, "hate": False}, "pii_detection": True},
        {"flagged": False, "categories": {"self-harm": True}},
    ],
    "finishReason": "input_guardrail_triggered",
}
AZURE_FILTER = {
    "external_model_provider": "azure-openai",
    "external_model_error": {
        "error": {
            "code": "content_filter",
            "innererror": {"content_filter_result": {"sexual": {"filtered": True}, "hate": {"filtered": False}}},
        }
    },
}


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (401, databricks("UNAUTHENTICATED", "Credential was not sent"), SignInError),
        (403, databricks("403", "Invalid access token. [ReqId: 1]"), SignInError),
        (403, databricks("PERMISSION_DENIED", "You do not have permission to query endpoint m"), PermissionDeniedError),
        (403, databricks("403", "Source IP address: 1.2.3.4 is blocked by Databricks IP ACL"), AddressBlockedError),
        (404, databricks("RESOURCE_DOES_NOT_EXIST", "The given endpoint does not exist"), UnknownModelError),
        (404, databricks("NOT_FOUND", "Endpoint m is not ready"), EndpointUnavailableError),
        (
            400,
            databricks("BAD_REQUEST", "This model's maximum context length is 8192 tokens."),
            ConversationTooLongError,
        ),
        (
            400,
            databricks("BAD_REQUEST", "prompt is too long: 210000 tokens > 200000 maximum"),
            ConversationTooLongError,
        ),
        (413, "Request Entity Too Large", ConversationTooLongError),
        (429, databricks("REQUEST_LIMIT_EXCEEDED", "Exceeded workspace QPS rate limit"), RateLimitedError),
        (
            503,
            databricks("TEMPORARILY_UNAVAILABLE", "The service is temporarily unavailable"),
            EndpointUnavailableError,
        ),
        (504, "<html><title>504</title></html>", EndpointUnavailableError),
        (408, "", ModelTimeoutError),
        (400, databricks("INVALID_PARAMETER_VALUE", "'messages' field is not supported"), RequestRefusedError),
        (500, databricks("INTERNAL_ERROR", "KeyError: 'x'"), EndpointFailedError),
        (418, "", RequestRefusedError),
        (400, {"error": {"code": "context_length_exceeded", "message": "too much"}}, ConversationTooLongError),
        (400, [1, 2], RequestRefusedError),
    ],
)
def test_a_refusal_is_told_apart_by_what_can_be_done_about_it(
    status: int, body: Any, expected: type[ModelError]
) -> None:
    assert type(failure(status, body)) is expected


def test_a_guardrail_on_the_question_names_its_categories() -> None:
    filtered = failure(400, databricks("BAD_REQUEST", json.dumps(GUARDRAIL)))
    assert isinstance(filtered, ContentFilteredError)
    assert (filtered.side, filtered.categories) == ("input", ("violence", "personal data"))


def test_a_guardrail_on_the_answer_is_on_the_other_side() -> None:
    verdict = {"finishReason": "output_guardrail_triggered", "output_guardrail": [{"categories": ["hate"]}]}
    filtered = failure(400, databricks("BAD_REQUEST", json.dumps(verdict)))
    assert isinstance(filtered, ContentFilteredError)
    assert (filtered.side, filtered.categories) == ("output", ("hate",))


def test_azure_openais_filter_is_seen_through_the_external_model() -> None:
    filtered = failure(400, databricks("BAD_REQUEST", json.dumps(AZURE_FILTER)))
    assert isinstance(filtered, ContentFilteredError)
    assert (filtered.side, filtered.categories) == ("input", ("sexual",))


def test_what_a_guardrail_saw_is_not_in_the_log() -> None:
    verdict = {**GUARDRAIL, "anonymized_input": "my name is <NAME>, call me"}
    assert "call me" not in str(failure(400, databricks("BAD_REQUEST", json.dumps(verdict))))


def test_a_redirect_to_a_sign_in_page_is_a_failed_sign_in() -> None:
    refused = failure(302, "", location="https://adb-1.azuredatabricks.net/login.html?next_url=secret")
    assert isinstance(refused, SignInError)
    assert "secret" not in str(refused)


def test_any_other_redirect_points_at_the_setting() -> None:
    refused = failure(302, "<html>moved</html>", location="https://proxy.example/hello")
    assert type(refused) is RequestRefusedError
    assert "DATABRICKS_BASE_URL" in str(refused)


def test_a_proxys_page_is_quoted_without_its_markup() -> None:
    page = "<html><style>p{}</style><body><h1>403</h1><p>Blocked by\n policy</p></body></html>"
    assert failure(403, page).detail == "403 Blocked by policy"


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_carried_along(status: int) -> None:
    refused = failure(status, retry_after="7")
    assert isinstance(refused, RateLimitedError | EndpointUnavailableError)
    assert refused.retry_after_seconds == 7


@pytest.mark.parametrize(
    "secret",
    [
        "Bearer abc.def-ghi",
        "dapi0123456789abcdef0123456789abcdef-2",
        "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl",
        "authorization: bearer    hidden",
    ],
)
def test_what_looks_like_a_credential_is_not_quoted(secret: str) -> None:
    said = quoted(f"the proxy saw {secret} and said no")
    assert secret.split()[-1] not in said
    assert "[secret]" in said


@given(st.integers(300, 599), st.text() | st.binary().map(repr), st.text(max_size=20))
def test_any_error_body_becomes_a_failure_of_one_short_line(status: int, body: str, header: str) -> None:
    said = str(failure(status, body, retry_after=header, location=header))
    assert "\n" not in said
    assert len(said) < 700


@pytest.mark.parametrize(
    ("error", "parameter"),
    [
        ({"message": "Unsupported parameter: 'temperature'", "param": "temperature"}, "temperature"),
        ({"message": "Invalid value", "param": "messages[1].content"}, "messages[1].content"),
        ({"message": 'json: unknown field "tools"'}, "tools"),
    ],
)
def test_the_log_says_which_parameter_is_refused(error: dict[str, str], parameter: str) -> None:
    assert str(failure(400, {"error": error})).endswith(f"it refuses {parameter}")
