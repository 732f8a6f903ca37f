"""Stores a file at the address that Teams names after a person's consent."""

from __future__ import annotations

import io
from http import HTTPStatus

import aiohttp
from yarl import URL

from app.common.http_session import HttpSession
from app.common.sharepoint_url import UntrustedFileUrlError, check_file_url

# Less than the 20 seconds that an idempotent action has.
_UPLOAD_SECONDS = 18.0


class FileUploadError(Exception):
    """The file could not be stored. Says why, without the address, which grants access."""


async def upload_file(session: HttpSession, content: bytes, address: str, *, allows_loopback: bool) -> None:
    """Without a token: the address grants access. Raises `FileUploadError`."""
    try:
        url = check_file_url(address, allows_loopback=allows_loopback)
    except UntrustedFileUrlError as error:
        raise FileUploadError(f"its address is not trusted: {error}") from None
    size = len(content)
    headers = {"Content-Type": "application/octet-stream", "Content-Range": f"bytes 0-{size - 1}/{size}"}
    try:
        async with session.get().put(
            # As it came: it is signed.
            URL(url, encoded=True),
            data=io.BytesIO(content),
            headers=headers,
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=_UPLOAD_SECONDS),
        ) as response:
            status = response.status
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        # Without its text, which may quote the address.
        raise FileUploadError(type(error).__name__) from None
    if status not in {HTTPStatus.OK, HTTPStatus.CREATED}:
        raise FileUploadError(f"HTTP status {status}")
