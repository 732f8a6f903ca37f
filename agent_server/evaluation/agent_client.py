"""Asks an agent server over HTTP, synchronously as MLflow wants it: the one in this process, or a deployed app."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx

JsonObject = dict[str, Any]

_TIMEOUT = httpx.Timeout(300.0, connect=30.0)
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}


class AgentClientError(Exception):
    """The agent gave no answer. `str()` is a sentence with what to do."""


class AgentClient:
    """`headers` are asked for with each request, since tokens end. An app's documented path for tokens is `/api`."""

    def __init__(
        self,
        url: str,
        headers: Callable[[], Mapping[str, str]] = dict,
        *,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._url = f"{url.rstrip('/')}/api/responses"
        self._headers = headers
        self._http = httpx.Client(timeout=_TIMEOUT, transport=transport)

    def ask(self, request: JsonObject) -> JsonObject:
        """The Response object. Raises `AgentClientError`."""
        try:
            # The app's own trace is then named in the answer's metadata.
            headers = {**self._headers(), "x-mlflow-return-trace-id": "true"}
            reply = self._http.post(self._url, json={**request, "store": False}, headers=headers)
        except httpx.HTTPError as error:
            raise AgentClientError(f"{self._url} does not answer ({type(error).__name__}).") from None
        _check(reply, reply.text)
        try:
            answer = reply.json()
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise AgentClientError(f"{self._url} answers with something else than a response.")
        return answer

    def events(self, request: JsonObject) -> Iterator[JsonObject]:
        """The events of the answer, as they come. Raises `AgentClientError`."""
        body = {**request, "store": False, "stream": True}
        try:
            with self._http.stream("POST", self._url, json=body, headers=self._headers()) as reply:
                if reply.status_code != httpx.codes.OK:
                    reply.read()
                    _check(reply, reply.text)
                for line in reply.iter_lines():
                    if line.startswith("data: {"):
                        yield json.loads(line.removeprefix("data: "))
        except httpx.HTTPError as error:
            raise AgentClientError(f"{self._url} broke off ({type(error).__name__}).") from None


def databricks_headers(url: str) -> Callable[[], Mapping[str, str]]:
    """The OAuth token of whom the Databricks SDK finds signed in; none for a server on this machine.

    Raises `AgentClientError`.
    """
    if urlsplit(url).hostname in _LOOPBACK:
        return dict
    from databricks.sdk.core import Config  # noqa: PLC0415 - only where an app is asked

    try:
        config = Config()
    except ValueError as error:
        raise AgentClientError(f"Sign in with `databricks auth login` first: {error}") from None
    return config.authenticate


def _check(reply: httpx.Response, text: str) -> None:
    if reply.is_redirect:
        raise AgentClientError(
            "The app redirects to its sign-in page: it takes OAuth tokens only, no personal access token. "
            "Sign in with `databricks auth login`."
        )
    if reply.status_code != httpx.codes.OK:
        try:
            said = json.loads(text)["error"]["message"]
        except (ValueError, TypeError, KeyError):
            said = text[:200]
        raise AgentClientError(f"The agent answered with {reply.status_code}: {said}")
