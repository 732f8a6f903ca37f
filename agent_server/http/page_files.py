"""The built page, read once and served from memory."""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
from dataclasses import dataclass
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

_INDEX = "index.html"
# Vite puts a digest of the content into the names of these.
_HASHED_FOLDER = "assets/"
_MIN_COMPRESSED_BYTES = 1024
_COMPRESSED_TYPES = ("text/", "application/javascript", "application/json", "application/manifest+json", "image/svg")
_NOT_BUILT = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>Agent server</title></head>
<body>
<h1>The agent server is running</h1>
<p>Its chat page is not built. Run <code>npm ci</code> and <code>npm run build</code> in
<code>agent_server/ui</code>, then restart the server.</p>
<p>Programs need no page: <code>POST /invocations</code>; <a href="agent/info">agent/info</a> has the details.</p>
</body>
</html>
"""


@dataclass(frozen=True, slots=True)
class _File:
    content: bytes
    compressed: bytes | None
    media_type: str
    etag: str
    cache_control: str


class PageFiles:
    """An ASGI application: the file that the path names, the page itself at `/`."""

    name = "page"

    def __init__(self, folder: Path | None) -> None:
        is_built = folder is not None and (folder / _INDEX).is_file()
        self._files = _read(folder) if folder is not None and is_built else {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        await self._response(request, scope["path"].lstrip("/"))(scope, receive, send)

    def _response(self, request: Request, path: str) -> Response:
        file = self._files.get(path or _INDEX)
        if file is None and path:
            raise HTTPException(404)
        if request.method not in ("GET", "HEAD"):
            raise HTTPException(405, headers={"Allow": "GET, HEAD"})
        request.scope["route"] = self
        if file is None:
            return Response(_NOT_BUILT, media_type="text/html", headers={"Cache-Control": "no-store"})
        return _answer(file, request)


def _answer(file: _File, request: Request) -> Response:
    headers = {"Cache-Control": file.cache_control, "ETag": file.etag, "Vary": "Accept-Encoding"}
    if file.etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    content = file.content
    if file.compressed is not None and "gzip" in request.headers.get("accept-encoding", ""):
        content = file.compressed
        headers["Content-Encoding"] = "gzip"
    return Response(content, headers=headers, media_type=file.media_type)


def _read(folder: Path) -> dict[str, _File]:
    return {path.relative_to(folder).as_posix(): _file(folder, path) for path in folder.rglob("*") if path.is_file()}


def _file(folder: Path, path: Path) -> _File:
    content = path.read_bytes()
    media_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    # Windows' registry calls scripts text/plain, which no browser runs.
    if path.suffix in (".js", ".mjs"):
        media_type = "application/javascript"
    compressed = None
    if len(content) >= _MIN_COMPRESSED_BYTES and media_type.startswith(_COMPRESSED_TYPES):
        compressed = gzip.compress(content, 9, mtime=0)
    is_hashed = path.relative_to(folder).as_posix().startswith(_HASHED_FOLDER)
    return _File(
        content,
        compressed,
        media_type,
        f'"{hashlib.sha256(content).hexdigest()[:32]}"',
        "public, max-age=31536000, immutable" if is_hashed else "no-cache",
    )
