"""Opens requests with the official openai package and hands over the raw response.

The package is imported on first use, in a thread: it takes half a second. Its aiohttp transport costs half of what its
default one does for each streamed chunk.
"""

from __future__ import annotations

import asyncio
import gc
import ssl
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TYPE_CHECKING, Any

from app.common.http_session import HttpSession
from app.models.error_replies import ErrorReply, failure_of_reply
from app.models.model_errors import ModelError, ModelTimeoutError
from app.models.openai_import import import_openai
from app.models.transport_errors import failure_of_exception

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterator

    import httpx2
    import openai

# Of an error's body: what says why stands at its beginning.
MAX_ERROR_BYTES = 64 * 1024
# A body that is read to its end leaves its connection open for the next request.
BODY_END_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class _Package:
    client: openai.AsyncOpenAI
    status_error: type[openai.APIStatusError]
    response_type: type[httpx2.Response]
    stream_type: type[openai.AsyncStream[Any]]


class OpenAiStreams:
    """`connect_seconds` covers name, connection and TLS; `silence_seconds` every wait for bytes, the first included."""

    def __init__(
        self,
        base_url: str,
        http: HttpSession,
        *,
        connect_seconds: float,
        silence_seconds: float,
    ) -> None:
        self._base_url = base_url
        self._http = http
        self._connect_seconds = connect_seconds
        self._silence_seconds = silence_seconds
        self._package: _Package | None = None
        self._importing = asyncio.Lock()
        self._ending: dict[asyncio.Task[None], httpx2.Response] = {}

    async def prepare(self) -> None:
        await self._imported()

    @asynccontextmanager
    async def open(
        self, path: str, body: dict[str, Any], *, token: str, time_limit_seconds: float
    ) -> AsyncIterator[httpx2.Response]:
        """The successful response, its body not read. An exception inside closes the connection at once.

        Raises ModelError.
        """
        try:
            async with asyncio.timeout(time_limit_seconds):
                response = await self._post(await self._imported(), path, body, token)
        except TimeoutError as error:
            raise ModelTimeoutError("no answer within the time limit") from error
        try:
            yield response
        except BaseException:
            await response.aclose()
            raise
        self._end_body(response)

    async def close(self) -> None:
        ending = dict(self._ending)
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)
        for response in ending.values():
            await response.aclose()  # a task cancelled before its first step has not done so
        if self._package is not None:
            await self._package.client.close()

    async def _post(self, package: _Package, path: str, body: dict[str, Any], token: str) -> httpx2.Response:
        try:
            response: httpx2.Response = await package.client.post(
                path,
                cast_to=package.response_type,
                body=body,
                options={"headers": {"Authorization": f"Bearer {token}"}},
                stream=True,
                stream_cls=package.stream_type,
            )
            return response
        except ModelError:
            raise
        except package.status_error as error:
            # Without its cause: that one's text is the body as it came, which may repeat the question.
            raise failure_of_reply(_reply(error.response)) from None
        except Exception as error:
            raise failure_of_exception(error, answer_began=False) from error

    async def _imported(self) -> _Package:
        if self._package is None:
            async with self._importing:
                if self._package is None:
                    self._package = await asyncio.to_thread(self._import)
        return self._package

    def _import(self) -> _Package:
        with _garbage_collection_paused():
            openai = import_openai()
            import httpx2  # noqa: PLC0415
            from openai._vendor.httpx_aiohttp import transport as aiohttp_transport  # noqa: PLC0415

        client = openai.AsyncOpenAI(
            base_url=self._base_url,
            api_key="none",  # each request brings its own token
            max_retries=0,
            # A compressing proxy would hold tokens back.
            # MLflow's agent server then returns the id of its trace; other servers ignore it.
            default_headers={"Accept-Encoding": "identity", "x-mlflow-return-trace-id": "true"},
            http_client=openai.DefaultAioHttpClient(
                timeout=httpx2.Timeout(
                    connect=self._connect_seconds,
                    pool=self._connect_seconds,
                    read=self._silence_seconds,
                    write=self._silence_seconds,
                ),
                follow_redirects=False,
                event_hooks={"response": [_limit_error]},
                # Neither keeps cookies: the next request may be another person's.
                cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
                transport=aiohttp_transport.AiohttpTransport(
                    client=self._http.get,
                    # Unused, and it has no certificate authority: the session has a context of its own.
                    verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
                ),
            ),
        )
        return _Package(client, openai.APIStatusError, httpx2.Response, openai.AsyncStream)

    def _end_body(self, response: httpx2.Response) -> None:
        if not response.is_closed:
            task = asyncio.create_task(_read_to_end(response))
            self._ending[task] = response
            task.add_done_callback(self._ending.pop)


@contextmanager
def _garbage_collection_paused() -> Iterator[None]:
    """An import makes so many objects that a full garbage collection follows, which stops the event loop for 20 ms and
    longer, in any thread. They are modules and classes, which stay: later collections skip them too.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()


def body_of(response: httpx2.Response) -> AsyncGenerator[bytes, None]:
    """The bytes as they arrive. Closing this leaves the response open, unless it is compressed."""
    if response.headers.get("content-encoding", "identity") == "identity":
        return response.stream.__aiter__()  # type: ignore[union-attr,return-value]
    return response.aiter_bytes()


async def _limit_error(response: httpx2.Response) -> None:
    """openai reads an error's whole body, however long it is: this leaves only the beginning of it."""
    if response.is_success:
        return
    import httpx2  # noqa: PLC0415 - the client has imported it

    body = bytearray()
    sent = response.stream
    assert isinstance(sent, httpx2.AsyncByteStream)
    try:
        async for chunk in sent:
            body += chunk[: MAX_ERROR_BYTES - len(body)]
            if len(body) == MAX_ERROR_BYTES:
                break
    finally:
        await sent.aclose()
    response.stream = httpx2.ByteStream(bytes(body))


async def _read_to_end(response: httpx2.Response) -> None:
    try:
        async with asyncio.timeout(BODY_END_SECONDS):
            async for _ in response.stream:  # type: ignore[union-attr]
                pass
    except Exception:  # noqa: S110 - the answer is complete, only the connection is lost
        pass
    finally:
        await response.aclose()


def _reply(response: httpx2.Response) -> ErrorReply:
    return ErrorReply(
        response.status_code,
        response.text,
        retry_after=response.headers.get("retry-after"),
        location=response.headers.get("location"),
    )
