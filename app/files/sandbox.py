"""Runs `app.files.sandbox_process`, which a time limit ends whatever it is doing."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

LOAD_SECONDS = 30.0
QUERY_SECONDS = 10.0
_MAX_REPLY_BYTES = 64 * 1024 * 1024
_MAX_PROCESSES = 2
_READ_BYTES = 256 * 1024
# The app's own environment holds secrets.
_ENVIRONMENT = ("PATH", "LD_LIBRARY_PATH", "PYTHONHOME", "SYSTEMROOT", "TEMP", "TMP", "TMPDIR")

Json = dict[str, Any]


class SandboxError(Exception):
    """`str()` says why, for the model."""


class SandboxTimeoutError(SandboxError):
    pass


@dataclass(frozen=True, slots=True)
class LoadedTable:
    """`content` is Parquet; `described` is what `app.files.table_loading.load_table` tells of it."""

    described: Json
    content: bytes


class Sandbox:
    """At most two processes at a time: each may take half a gigabyte."""

    def __init__(self, *, load_seconds: float = LOAD_SECONDS, query_seconds: float = QUERY_SECONDS) -> None:
        self._load_seconds = load_seconds
        self._query_seconds = query_seconds
        self._free = asyncio.Semaphore(_MAX_PROCESSES)

    async def load(self, text: str, kind: str) -> LoadedTable:
        """`kind` is one of those of `app.files.table_loading`. Raises `SandboxError`."""
        async with self._free, _folder() as folder:
            file, table = folder / "file.txt", folder / "table.parquet"
            await asyncio.to_thread(lambda: file.write_bytes(text.encode()))
            request = {"load": {"path": str(file), "kind": kind, "to": str(table)}}
            described = await self._reply(request, folder, self._load_seconds)
            return LoadedTable(described, await asyncio.to_thread(table.read_bytes))

    async def query(self, tables: Mapping[str, bytes], sql: str) -> Json:
        """`tables` are Parquet, by name. Returns `columns` with their DuckDB types, `rows` of text or null, and whether
        they are `truncated`. Raises `SandboxError`.
        """
        async with self._free, _folder() as folder:
            paths = await asyncio.to_thread(_written, tables, folder)
            return await self._reply({"query": {"tables": paths, "sql": sql}}, folder, self._query_seconds)

    async def _reply(self, request: Json, folder: Path, seconds: float) -> Json:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-s", "-B", "-m", "app.files.sandbox_process"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            cwd=folder,
            env=_environment(os.environ),
        )
        try:
            async with asyncio.timeout(seconds):
                content = await _exchange(process, json.dumps({**request, "seconds": seconds}).encode())
                await process.wait()
        except TimeoutError:
            raise SandboxTimeoutError(f"it did not end within {seconds:g} seconds") from None
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        if process.returncode or not content:
            raise SandboxError("it took more memory or time than there is")
        reply: Json = json.loads(content)
        if "error" in reply:
            raise SandboxError(str(reply["error"]))
        return reply


async def _exchange(process: asyncio.subprocess.Process, request: bytes) -> bytes:
    assert process.stdin is not None
    assert process.stdout is not None
    with suppress(BrokenPipeError, ConnectionResetError):
        process.stdin.write(request)
        await process.stdin.drain()
        process.stdin.close()
    content = bytearray()
    while part := await process.stdout.read(_READ_BYTES):
        content += part
        if len(content) > _MAX_REPLY_BYTES:
            raise SandboxError("its result is too large")
    return bytes(content)


@asynccontextmanager
async def _folder() -> AsyncIterator[Path]:
    folder = await asyncio.to_thread(lambda: TemporaryDirectory(prefix="files-", ignore_cleanup_errors=True))
    try:
        yield Path(folder.name)
    finally:
        await asyncio.to_thread(folder.cleanup)


def _written(tables: Mapping[str, bytes], folder: Path) -> dict[str, str]:
    paths = {}
    for number, (table, content) in enumerate(tables.items()):
        path = folder / f"{number}.parquet"
        path.write_bytes(content)
        paths[table] = str(path)
    return paths


def _environment(own: Mapping[str, str]) -> dict[str, str]:
    kept = {name: own[name] for name in _ENVIRONMENT if name in own}
    path = [str(Path(each).resolve()) for each in sys.path if each or each == ""]
    return {**kept, "PYTHONPATH": os.pathsep.join(path), "PYTHONUTF8": "1"}
