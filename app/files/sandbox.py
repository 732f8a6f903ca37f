"""Runs `app.files.sandbox_process`, which a time limit ends whatever it is doing."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

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
class SandboxFile:
    """`text` is the whole file; `kind` is one of those of `app.files.table_loading`."""

    table: str
    kind: str
    text: str


class Sandbox:
    """At most two processes at a time: each may take half a gigabyte."""

    def __init__(self, seconds: float = QUERY_SECONDS) -> None:
        self._seconds = seconds
        self._free = asyncio.Semaphore(_MAX_PROCESSES)

    async def describe(self, file: SandboxFile) -> Json:
        """As `app.files.table_loading.load_table` tells it. Raises `SandboxError`."""
        described: Json = (await self._run([file], ""))["tables"][0]
        return described

    async def query(self, files: Sequence[SandboxFile], sql: str) -> Json:
        """`columns` with their DuckDB types, `rows` of text or null, and whether they are `truncated`.

        Raises `SandboxError`.
        """
        return await self._run(files, sql)

    async def _run(self, files: Sequence[SandboxFile], sql: str) -> Json:
        async with self._free:
            folder = TemporaryDirectory(prefix="files-", ignore_cleanup_errors=True)
            try:
                tables = await asyncio.to_thread(_written, files, Path(folder.name))
                request = {"tables": tables, "sql": sql, "seconds": self._seconds}
                reply = await self._reply(json.dumps(request).encode(), folder.name)
            finally:
                await asyncio.to_thread(folder.cleanup)
        if "error" in reply:
            raise SandboxError(str(reply["error"]))
        return reply

    async def _reply(self, request: bytes, folder: str) -> Json:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-s", "-B", "-m", "app.files.sandbox_process"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            cwd=folder,
            env=_environment(os.environ),
        )
        try:
            async with asyncio.timeout(self._seconds):
                content = await _exchange(process, request)
                await process.wait()
        except TimeoutError:
            raise SandboxTimeoutError(f"it did not end within {self._seconds:g} seconds") from None
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        if process.returncode or not content:
            raise SandboxError("it took more memory or time than there is")
        reply: Json = json.loads(content)
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


def _written(files: Sequence[SandboxFile], folder: Path) -> list[Json]:
    tables = []
    for number, file in enumerate(files):
        path = folder / f"{number}.txt"
        path.write_bytes(file.text.encode())
        tables.append({"table": file.table, "kind": file.kind, "path": str(path)})
    return tables


def _environment(own: Mapping[str, str]) -> dict[str, str]:
    kept = {name: own[name] for name in _ENVIRONMENT if name in own}
    path = [str(Path(each).resolve()) for each in sys.path if each or each == ""]
    return {**kept, "PYTHONPATH": os.pathsep.join(path), "PYTHONUTF8": "1"}
