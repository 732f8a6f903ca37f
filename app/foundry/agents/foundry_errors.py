"""What can go wrong with Foundry, split by what the caller must do; each says it in a sentence for a person."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

_DATA_ACTION = re.compile(r"principal `?([^`\s]{1,100})`? lacks the required data action `?([A-Za-z0-9./*]{1,200})")
# Not of an agent whose name holds the word: https://github.com/microsoft/agent-framework/issues/4117
_NO_PROJECT = re.compile(r"(?:the )?project (?:\S{1,150} )?(?:was )?(?:not found|does not exist)", re.IGNORECASE)
# https://github.com/microsoft/microsoft-foundry-for-vscode/issues/436
_NO_PARENT = re.compile(r"parent resource '\S{1,500}' could not be found", re.IGNORECASE)
_MAX_QUOTED_CHARACTERS = 300
_MAX_DETAILS = 3
STANDARD_SETUP = (
    "Azure Functions tools need the standard set-up of Foundry's agent service, with a storage account, Azure AI "
    "Search and Cosmos DB of your own; the basic one has none. Or set FOUNDRY_MCP_URL to use MCP."
)


class FoundryError(Exception):
    """`str()` is a sentence for a person, without secrets."""


class RefusedError(FoundryError):
    """Foundry, or the configuration, says no; the same again is refused again. `status` is HTTP's, 0 without one."""

    def __init__(self, sentence: str, *, status: int = 0) -> None:
        super().__init__(sentence)
        self.status = status


class NotFoundError(RefusedError):
    """It is not there."""


class UnavailableError(FoundryError):
    """Foundry gave no answer, or said that it cannot: whether the request was carried out may be unknown.

    `retry_after_seconds` is what it asked for. `was_refused` where the request was certainly not carried out.
    """

    def __init__(self, sentence: str, *, retry_after_seconds: float | None = None, was_refused: bool = False) -> None:
        super().__init__(sentence)
        self.retry_after_seconds = retry_after_seconds
        self.was_refused = was_refused


class NoEndError(FoundryError):
    """What was asked has no end that is known: the time limit, or an end without an answer."""


@contextmanager
def question_was_put() -> Iterator[None]:
    """Of a request that fails inside, nobody can say any more that nothing was carried out."""
    try:
        yield
    except (UnavailableError, RefusedError) as error:
        if isinstance(error, RefusedError) and not error.status:
            # An end of the question itself.
            raise
        raise NoEndError(str(error)) from error


def refusal(status: int, body: object, what: str) -> RefusedError:
    """For an HTTP status from 400 to 499, with the body as it was read."""
    code, message = error_of(body)
    if status == 404 and (_NO_PROJECT.match(message) or _NO_PARENT.search(message)):
        # Everything in it would be missing too.
        return RefusedError(f"Foundry has no such project: check PROJECT_ENDPOINT_ENT. {message}", status=status)
    sentence = _sentence(status, code, message, what)
    return NotFoundError(sentence, status=status) if status == 404 else RefusedError(sentence, status=status)


def _sentence(status: int, code: str, message: str, what: str) -> str:
    if lacking := _DATA_ACTION.search(message):
        return (
            f"Foundry refused to {what}: the identity {lacking[1]} lacks the data action {lacking[2]}. Give it the "
            "role Foundry User (Azure AI User) on the project; a new role takes up to ten minutes."
        )
    if "does not match resource tenant" in message:
        # With 400: https://github.com/Azure-Samples/Azure-Language-OpenAI-Conversational-Agent-Accelerator/issues/49
        return f"Foundry did not take the sign-in: run az login --tenant with the project's own tenant. {message}"
    if "azure_function" in message and re.search("invalid tool|standard", message, re.IGNORECASE):
        return f"Foundry refused to {what}. {STANDARD_SETUP}"
    if "deployment" in f"{code} {message}".lower() and (status == 404 or "notfound" in code.lower()):
        return f"Foundry refused to {what}: the project has no such deployment; check MODEL_DEPLOYMENT_NAME."
    if status == 401:
        return (
            f"Foundry did not take the sign-in: run az login, or check the identity of this machine. {message}".strip()
        )
    if status == 403 and "cosmos" in f"{code} {message}".lower():
        # https://github.com/microsoft-foundry/foundry-samples/issues/397, and 449
        return (
            f"Foundry refused to {what}: the project has no access to its Cosmos DB. Check the roles of the project's "
            f"identity there, and Cosmos DB's network rules. {message}"
        )
    if status == 403:
        return (
            f"Foundry refused to {what}: the identity has no access. Give it the role Foundry User (Azure AI User) on "
            f"the project, and check the project's network rules. {message}"
        ).strip()
    said = ": ".join(part for part in (code, message) if part)
    return f"Foundry refused to {what} (HTTP {status}{f', {said}' if said else ''})."


def error_of(body: object) -> tuple[str, str]:
    """Code and message, in Azure's form and in OpenAI's. Some messages say no more than that something is wrong, and
    the details what: https://github.com/microsoft/agent-framework/issues/3003
    """
    error: Any = body.get("error", body) if isinstance(body, Mapping) else None
    if not isinstance(error, Mapping):
        return "", ""
    said = [_quoted(error.get("message"), 2000 if "data action" in str(error) else _MAX_QUOTED_CHARACTERS)]
    listed = error.get("details")
    details = [each for each in listed if isinstance(each, Mapping)] if isinstance(listed, list) else []
    for each in details[:_MAX_DETAILS]:
        where, what = _quoted(each.get("param"), 80), _quoted(each.get("message"), _MAX_QUOTED_CHARACTERS)
        said.append(f"{where} {what}".strip())
    return _quoted(error.get("code"), 80), "; ".join(filter(None, said))


def _quoted(value: object, most: int) -> str:
    text = " ".join(value.split()) if isinstance(value, str) else ""
    return text if len(text) <= most else f"{text[:most]}…"
