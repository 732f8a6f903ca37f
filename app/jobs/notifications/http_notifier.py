"""Tells a program somewhere else by an HTTP POST."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

import aiohttp

from app.common.http_body import read_beginning
from app.common.http_session import HttpSession
from app.common.log_text import quoted
from app.common.net import secure_origin
from app.jobs.notifications.digest import Digest
from app.jobs.notifications.incident_message import IncidentMessage, incident_message
from app.jobs.notifications.notifier import Notice, NotifyError
from app.resilience.retry_after import retry_after_seconds
from app.tools.redaction import REMOVED

_POST_SECONDS = 15.0
_CONNECT_SECONDS = 5.0
_MAX_ERROR_BYTES = 16 * 1024
_MAX_REASON_CHARACTERS = 200
# A part of a path that is as long is a key; what is shorter is a word.
_MIN_KEY_CHARACTERS = 12
_MIN_VALUE_CHARACTERS = 4
_TOLD_TO_WAIT: Final = {408, 425, 429, 503}
_GATEWAY_ERRORS: Final = {502, 504}


@dataclass(frozen=True, slots=True)
class Post:
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Target:
    """Where a post goes, and what it says. `url` and `secrets` are never told to anybody.

    `render` makes the post, at that moment in seconds since 1970; None where this target need not know. Without
    `render_digest` it gets no digests. `may_repeat`: the same post twice does no harm. `tells_once`: one post for an
    incident, whatever happens to it later. Raises `ValueError` for a URL that is not https, or holds a password.
    """

    name: str
    url: str = field(repr=False)
    render: Callable[[IncidentMessage, float], Post | None]
    render_digest: Callable[[Digest, float], Post] | None = None
    secrets: tuple[str, ...] = field(default=(), repr=False)
    may_repeat: bool = True
    tells_once: bool = False

    def __post_init__(self) -> None:
        secure_origin(self.url)

    def post_of(self, message: IncidentMessage | Digest, now: float) -> Post | None:
        if isinstance(message, IncidentMessage):
            return self.render(message, now)
        return None if self.render_digest is None else self.render_digest(message, now)


class HttpNotifier:
    """A `Notifier` that tries once. `clock` is in seconds since 1970."""

    def __init__(
        self, target: Target, *, clock: Callable[[], float] = time.time, post_seconds: float = _POST_SECONDS
    ) -> None:
        self.target = target
        self._clock = clock
        self._post_seconds = post_seconds

    @property
    def name(self) -> str:
        return self.target.name

    async def notify(self, notice: Notice) -> None:
        await self.tell(incident_message(notice))

    async def tell(self, message: IncidentMessage | Digest) -> None:
        """Raises `NotifyError`."""
        if (post := self.target.post_of(message, self._clock())) is not None:
            await self.post(post)

    async def post(self, post: Post) -> None:
        """Raises `NotifyError`, in whose text and causes there is neither the URL nor a secret."""
        url, failure = self.target.url, None
        http = HttpSession(proxy_for=url)
        try:
            async with http.get().post(
                url,
                data=post.body,
                headers={"Content-Type": "application/json", "User-Agent": "databricks-job-watch", **post.headers},
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=self._post_seconds, sock_connect=_CONNECT_SECONDS),
            ) as response:
                if not 200 <= response.status < 300:
                    failure = await self._refusal(response)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            # Its text may hold the URL.
            failure = NotifyError(
                f"{self.name} could not be reached or did not answer ({type(error).__name__}).",
                is_temporary=True,
                may_have_arrived=not isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError),
                is_unreachable=True,
            )
        finally:
            await http.close()
        if failure is not None:
            raise failure

    async def _refusal(self, response: aiohttp.ClientResponse) -> NotifyError:
        status = response.status
        if 300 <= status < 400:
            return NotifyError(
                f"{self.name} answered {status}: redirects are not followed; set the address that it leads to.",
                is_temporary=False,
            )
        try:
            body = (await read_beginning(response, _MAX_ERROR_BYTES)).decode("utf-8", "replace")
        except (aiohttp.ClientError, TimeoutError):
            body = ""
        said = f"{self.name} answered {status}: {self._reason(body) or 'no reason given'}"
        is_told_to_wait = status in _TOLD_TO_WAIT
        return NotifyError(
            said,
            is_temporary=is_told_to_wait or status >= 500,
            retry_after_seconds=retry_after_seconds(response.headers.get("Retry-After")) or 0.0,
            may_have_arrived=status in _GATEWAY_ERRORS,
            is_unreachable=is_told_to_wait,
        )

    def _reason(self, body: str) -> str:
        """What the server said, which may repeat what it was sent."""
        for secret in sorted(_secrets(self.target), key=len, reverse=True):
            body = body.replace(secret, REMOVED)
        reason = quoted(body)
        return reason if len(reason) <= _MAX_REASON_CHARACTERS else reason[:_MAX_REASON_CHARACTERS] + "…"


def _secrets(target: Target) -> set[str]:
    parts = urlsplit(target.url)
    values = (value for pair in parts.query.split("&") for value in pair.split("=")[1:])
    known = {each for each in (*target.secrets, parts.query, *values) if len(each) >= _MIN_VALUE_CHARACTERS}
    return known | {target.url} | {each for each in parts.path.split("/") if len(each) >= _MIN_KEY_CHARACTERS}
