"""Downloads a file that a person attached in Teams, without a token: its address grants access for some minutes.

https://learn.microsoft.com/microsoftteams/platform/bots/how-to/bots-filesv4
"""

from __future__ import annotations

from http import HTTPStatus
from urllib.parse import urljoin

import aiohttp
from yarl import URL

from app.common.http_session import HttpSession
from app.common.sharepoint_url import UntrustedFileUrlError, check_file_url

MAX_FILE_BYTES = 10 * 1024 * 1024
_SECONDS = 30.0
_MAX_REDIRECTS = 3
_PART_BYTES = 64 * 1024
_REDIRECTS = {
    HTTPStatus.MOVED_PERMANENTLY,
    HTTPStatus.FOUND,
    HTTPStatus.SEE_OTHER,
    HTTPStatus.TEMPORARY_REDIRECT,
    HTTPStatus.PERMANENT_REDIRECT,
}
_GONE = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND, HTTPStatus.GONE}


class DownloadError(Exception):
    """The file was not downloaded. `str()` says why, without its address."""


class FileGoneError(DownloadError):
    """Its address grants no access any more."""


class FileTooLargeError(DownloadError):
    pass


class NotTheFileError(DownloadError):
    """A web page came instead, as behind the links that Teams on phones sends:
    https://github.com/OfficeDev/Microsoft-Teams-Samples/issues/1314
    """


class UntrustedAddressError(DownloadError):
    pass


class Downloads:
    """`allows_loopback`: from this machine too, as a laptop's stand-ins are there."""

    def __init__(self, session: HttpSession, *, allows_loopback: bool = False) -> None:
        self._session = session
        self._allows_loopback = allows_loopback

    async def get(self, url: str) -> bytes:
        """Raises `DownloadError`."""
        timeout = aiohttp.ClientTimeout(total=_SECONDS)
        try:
            for _ in range(_MAX_REDIRECTS + 1):
                trusted = check_file_url(url, allows_loopback=self._allows_loopback)
                # As it came: it is signed.
                address = URL(trusted, encoded=True)
                async with self._session.get().get(address, allow_redirects=False, timeout=timeout) as response:
                    if response.status not in _REDIRECTS:
                        return await _content(response)
                    url = urljoin(trusted, response.headers.get("Location", ""))
        except UntrustedFileUrlError as error:
            raise UntrustedAddressError(str(error)) from None
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            # Without its text, which may quote the address.
            raise DownloadError(type(error).__name__) from None
        raise DownloadError("too many redirects")


async def _content(response: aiohttp.ClientResponse) -> bytes:
    if response.status in _GONE:
        raise FileGoneError(f"HTTP status {response.status}")
    if response.status != HTTPStatus.OK:
        raise DownloadError(f"HTTP status {response.status}")
    if response.content_type == "text/html":
        raise NotTheFileError("it is a web page")
    if (response.content_length or 0) > MAX_FILE_BYTES:
        raise FileTooLargeError(f"{response.content_length} bytes")
    content = bytearray()
    async for part in response.content.iter_chunked(_PART_BYTES):
        content += part
        if len(content) > MAX_FILE_BYTES:
            raise FileTooLargeError(f"more than {MAX_FILE_BYTES} bytes")
    return bytes(content)
