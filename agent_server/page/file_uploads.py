"""Takes in the files that people upload, to be named in a question by their id."""

from __future__ import annotations

from typing import Any

from agent_server.identity.server_caller import ServerCaller
from agent_server.protocol.api_error import ApiError, not_found
from app.files.uploads import MAX_UPLOAD_BYTES, UploadedFile, Uploads
from app.tools.attached_files import TABLE_TYPES, TEXT_TYPES, is_readable, shown_file_name

_MEGABYTES = MAX_UPLOAD_BYTES // (1024 * 1024)


class FileUploads:
    """`is_on`: the agent reads files."""

    def __init__(self, uploads: Uploads, *, is_on: bool) -> None:
        self._uploads = uploads
        self._is_on = is_on

    async def save(self, caller: ServerCaller, name: str, content: bytes) -> UploadedFile:
        """What is read of the file is said with the answer. Raises `ApiError` and `StorageError`."""
        self.check(name)
        if len(content) > MAX_UPLOAD_BYTES:
            raise ApiError(
                413,
                f"The file is larger than {_MEGABYTES} MB. Upload a part of it.",
                param="file",
                code="file_too_large",
            )
        if not content.strip():
            raise ApiError(400, "The file is empty.", param="file", code="empty_file")
        return await self._uploads.save(caller.tenant, _shown(name), content)

    async def find(self, caller: ServerCaller, id: str) -> UploadedFile:
        """As `save`; another's file looks unknown."""
        if (found := await self._uploads.find(caller.tenant, id)) is None:
            raise not_found("file", id)
        return found

    async def delete(self, caller: ServerCaller, id: str) -> None:
        """As `find`."""
        await self.find(caller, id)
        await self._uploads.delete(caller.tenant, id)

    def check(self, name: str) -> None:
        """Raises `ApiError` for a file that nobody would read."""
        if not self._is_on:
            raise ApiError(400, "This agent reads no files.", param="file", code="unsupported_file")
        if not is_readable(_shown(name)):
            known = ", ".join(f".{each}" for each in sorted(TABLE_TYPES | TEXT_TYPES))
            raise ApiError(
                400,
                f"Files of this kind are not read. The name of one that is ends with one of {known}.",
                param="file",
                code="unsupported_file",
            )


def file_json(file: UploadedFile) -> dict[str, Any]:
    """With the fields of OpenAI's File object: https://platform.openai.com/docs/api-reference/files/object"""
    return {**file.model_dump(), "object": "file", "filename": file.name, "purpose": "user_data", "status": "processed"}


def _shown(name: str) -> str:
    """Without the folders that some clients send."""
    return shown_file_name(name.replace("\\", "/").rpartition("/")[2])
