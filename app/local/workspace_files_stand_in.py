"""Files of the stand-in workspace: the Workspace API, as far as apps are deployed from there.

https://docs.databricks.com/api/workspace/workspace
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Sequence
from typing import Any

from aiohttp import web

from app.local.stand_in_replies import RefusedRequestError, invalid_parameter, json_of

MAX_FILE_BYTES = 10 * 1024 * 1024


class WorkspaceFilesStandIn:
    """`content` by path; a path that ends with / is a directory that was made."""

    def __init__(self) -> None:
        self.content: dict[str, bytes] = {}

    def routes(self) -> Sequence[web.RouteDef]:
        workspace = "/api/2.0/workspace"
        return (
            web.post(f"{workspace}/import", self._import),
            web.post(f"{workspace}/mkdirs", self._make_directory),
            web.post(f"{workspace}/delete", self._delete),
            web.get(f"{workspace}/list", self._list),
        )

    def below(self, directory: str) -> dict[str, bytes]:
        """The files of a directory by their path in it."""
        start = f"{directory}/"
        found = {path.removeprefix(start): file for path, file in self.content.items() if path.startswith(start)}
        return {path: file for path, file in found.items() if path and not path.endswith("/")}

    async def _import(self, request: web.Request) -> web.Response:
        if request.content_type == "multipart/form-data":
            form = await request.post()
            given: dict[str, Any] = {key: value for key, value in form.items() if isinstance(value, str)}
            uploaded = form["content"]
            content = uploaded.file.read() if isinstance(uploaded, web.FileField) else str(uploaded).encode()
        else:
            given = await json_of(request)
            content = base64.b64decode(given.get("content", ""))
        path = str(given["path"])
        if len(content) > MAX_FILE_BYTES:
            raise RefusedRequestError(400, "MAX_NOTEBOOK_SIZE_EXCEEDED", "File size imported is larger than 10 MB.")
        parent = path.rpartition("/")[0]
        if not any(each.startswith(f"{parent}/") for each in self.content):
            raise RefusedRequestError(404, "RESOURCE_DOES_NOT_EXIST", f"The parent folder ({parent}) does not exist.")
        if path in self.content and str(given.get("overwrite", "")).lower() != "true":
            raise RefusedRequestError(400, "RESOURCE_ALREADY_EXISTS", f"Path ({path}) already exists.")
        if given.get("format") not in {"RAW", "AUTO"} and path.endswith(".py"):
            raise invalid_parameter("It would become a notebook, which no app can import.")
        self.content[path] = content
        return web.json_response({})

    async def _make_directory(self, request: web.Request) -> web.Response:
        # The empty name stands for the directory.
        self.content.setdefault(f"{(await json_of(request))['path']}/", b"")
        return web.json_response({})

    async def _delete(self, request: web.Request) -> web.Response:
        path = str((await json_of(request))["path"])
        found = [each for each in self.content if each == path or each.startswith(f"{path}/")]
        if not found:
            raise RefusedRequestError(404, "RESOURCE_DOES_NOT_EXIST", f"Path ({path}) does not exist.")
        for each in found:
            del self.content[each]
        return web.json_response({})

    async def _list(self, request: web.Request) -> web.Response:
        path = request.query["path"]
        below = [each.removeprefix(f"{path}/") for each in self.content if each.startswith(f"{path}/")]
        if not below:
            raise RefusedRequestError(404, "RESOURCE_DOES_NOT_EXIST", f"Path ({path}) does not exist.")
        children = Counter(each.partition("/")[0] for each in below if each)
        folders = {each.partition("/")[0] for each in below if "/" in each}
        objects = [
            {"path": f"{path}/{name}", "object_type": "DIRECTORY" if name in folders else "FILE"} for name in children
        ]
        return web.json_response({"objects": objects})
