"""Takes in the files that come with a question, and says what of them could not be read."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Sequence
from typing import Any

from app.files.decoding import NoTextError, decode, is_html
from app.files.download import (
    DownloadError,
    Downloads,
    FileGoneError,
    FileTooLargeError,
    NotTheFileError,
    UntrustedAddressError,
)
from app.files.query_tool import FileQueries
from app.files.sandbox import SandboxError
from app.files.stored_files import StoredFile, table_name
from app.files.table_loading import CSV, TEXT
from app.files.uploads import Uploads, upload_id
from app.storage.conversations import ConversationKey
from app.storage.storage_errors import StorageError
from app.tools.attached_files import MAX_FILES_PER_QUESTION, TABLE_TYPES, AttachedFile, file_type
from app.tools.base import AnyTool, ToolContext
from app.translation import Sentence

_log = logging.getLogger(__name__)

_WEB_PAGE = Sentence(
    "Instead of the file {name} came a web page, as some Teams apps on phones send it. Please attach it on a computer."
)
_TOO_LARGE = Sentence("The file {name} is larger than 10 MB. Please attach a part of it.")
_GONE = Sentence("The file {name} can no longer be downloaded. Please attach it again.")
_UNTRUSTED = Sentence("The file {name} is kept neither in SharePoint nor in OneDrive, so I have not read it.")
_NOT_DOWNLOADED = Sentence("The file {name} could not be downloaded. Please attach it again.")
_NO_TEXT = Sentence("The file {name} holds no text. Please save it as CSV or text, and attach it again.")
_TOO_MANY = Sentence("The files of one question are five at most, so I have not read {name}.")
_EMPTY = Sentence("The file {name} is empty.")
_NOT_READ = Sentence("The file {name} could not be read. Please save it as CSV with UTF-8, and attach it again.")
_NOT_KEPT = Sentence("The files cannot be kept at the moment. Please attach them again in a minute.")
_ROWS_LEFT_OUT = Sentence("Of the file {name} I have read the first {count} rows.")
_ABOVE_LEFT_OUT = Sentence(
    "The table in the file {name} seems to begin below line {line}, so what is above has been left out."
)
_COLUMNS_LEFT_OUT = Sentence("Of the file {name} I have read the first {count} columns.")
_LINES_LEFT_OUT = Sentence("{count} lines of the file {name} could not be read and are left out.")
_OPEN_QUOTE = Sentence(
    "The last row of the file {name} has many lines in one value: a quotation mark may be missing, and rows with it."
)
_CHARACTERS_LEFT_OUT = Sentence("Some characters of the file {name} could not be read and show as \ufffd.")
_DOWNLOAD_ERRORS: tuple[tuple[type[DownloadError], Sentence], ...] = (
    (NotTheFileError, _WEB_PAGE),
    (FileTooLargeError, _TOO_LARGE),
    (FileGoneError, _GONE),
    (UntrustedAddressError, _UNTRUSTED),
    (DownloadError, _NOT_DOWNLOADED),
)


class FileRefusedError(Exception):
    """The file cannot be asked about; `sentence` says why."""

    def __init__(self, sentence: Sentence) -> None:
        super().__init__(sentence.english)
        self.sentence = sentence


class StoredConversationFiles:
    """A `app.tools.attached_files.ConversationFiles`."""

    def __init__(self, downloads: Downloads, uploads: Uploads, queries: FileQueries) -> None:
        self._downloads = downloads
        self._uploads = uploads
        self._queries = queries
        self._files = queries.files
        self._sandbox = queries.sandbox

    async def add(self, files: Sequence[AttachedFile], context: ToolContext) -> Sequence[str]:
        try:
            return await self._add_all(files, context)
        except StorageError:
            _log.exception("Attached files could not be kept")
            return [context.translate(_NOT_KEPT)]

    async def _add_all(self, files: Sequence[AttachedFile], context: ToolContext) -> Sequence[str]:
        known = {each.id for each in await self._files.find_all(context.conversation)}
        ids = [_id(context, number) for number in range(len(files))]
        wanted = [(id, file) for id, file in zip(ids, files, strict=True) if id not in known]
        wanted, too_many = wanted[:MAX_FILES_PER_QUESTION], wanted[MAX_FILES_PER_QUESTION:]
        contents = await asyncio.gather(*(self._content(file, context.conversation.tenant) for _, file in wanted))
        said: list[str] = []
        # One after the other: the list of a conversation's files is one artifact.
        for (id, file), content in zip(wanted, contents, strict=True):
            try:
                said += [
                    context.translate(sentence, name=_as_code(file.name), **values)
                    for sentence, values in await self._add(id, file, content, context.conversation)
                ]
            except FileRefusedError as error:
                said.append(context.translate(error.sentence, name=_as_code(file.name)))
        return said + [context.translate(_TOO_MANY, name=_as_code(file.name)) for _, file in too_many]

    async def tools(self, conversation: ConversationKey) -> Sequence[AnyTool]:
        files = await self._files.find_all(conversation)
        return [self._queries.tool(files)] if files else []

    async def _content(self, file: AttachedFile, tenant: str) -> bytes | FileRefusedError:
        if uploaded := upload_id(file):
            content = await self._uploads.read(tenant, uploaded)
            return FileRefusedError(_GONE) if content is None else content
        try:
            return await self._downloads.get(file.url)
        except DownloadError as error:
            _log.warning("An attached file was not downloaded: %s (%s)", type(error).__name__, error)
            return FileRefusedError(next(text for kind, text in _DOWNLOAD_ERRORS if isinstance(error, kind)))

    async def _add(
        self, id: str, file: AttachedFile, content: bytes | FileRefusedError, conversation: ConversationKey
    ) -> list[tuple[Sentence, dict[str, Any]]]:
        """What was left out. Raises `FileRefusedError` and `StorageError`."""
        if isinstance(content, FileRefusedError):
            raise content
        kind = CSV if file_type(file.name) in TABLE_TYPES else TEXT
        table = table_name(file.name)
        try:
            text, is_whole = await asyncio.to_thread(decode, content)
        except NoTextError:
            raise FileRefusedError(_NO_TEXT) from None
        if not text.strip():
            raise FileRefusedError(_EMPTY)
        if is_html(text):
            raise FileRefusedError(_WEB_PAGE)
        try:
            loaded = await self._sandbox.load(text, kind)
        except SandboxError as error:
            _log.warning("An attached file could not be read (%s)", type(error).__name__)
            raise FileRefusedError(_NOT_READ) from error
        described = loaded.described
        rows, columns = described["rows"], tuple((name, type_name) for name, type_name in described["columns"])
        stored = StoredFile(id=id, name=file.name, table=table, columns=columns, rows=rows)
        try:
            await self._files.save(conversation, stored, loaded.content)
        except ValueError:
            raise FileRefusedError(_TOO_LARGE) from None
        left_out: list[tuple[Sentence, dict[str, Any]]] = []
        if described["left_out_above"]:
            left_out.append((_ABOVE_LEFT_OUT, {"line": described["left_out_above"]}))
        if described["has_more_rows"]:
            left_out.append((_ROWS_LEFT_OUT, {"count": f"{rows:,}"}))
        if described["columns_left_out"]:
            left_out.append((_COLUMNS_LEFT_OUT, {"count": len(columns)}))
        if described["lines_left_out"]:
            left_out.append((_LINES_LEFT_OUT, {"count": f"{described['lines_left_out']:,}"}))
        if described["has_open_quote"]:
            left_out.append((_OPEN_QUOTE, {}))
        if not is_whole:
            left_out.append((_CHARACTERS_LEFT_OUT, {}))
        return left_out


def _id(context: ToolContext, number: int) -> str:
    return hashlib.sha256(f"{context.idempotency_key}/{number}".encode()).hexdigest()[:16]


def _as_code(name: str) -> str:
    return f"`{name}`"
