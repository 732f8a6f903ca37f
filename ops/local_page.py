"""A program of `app/local` that serves a page, in a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PICTURES = ROOT / "docs" / "pictures"
_SECONDS_TO_START = 400
_NOT_PASSED_ON = ("DATABRICKS_", "MLFLOW_", "Microsoft", "PG")


@contextlib.asynccontextmanager
async def local_page(data: str, *command: str, name: str) -> AsyncIterator[str]:
    """The address that the module and arguments `command` say under `name`. It has the stand-in workspace."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_PASSED_ON)}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", *command),
        cwd=ROOT,
        env={**environment, "DATA_DIR": data},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdout is not None
    draining: asyncio.Task[bytes] | None = None
    try:
        output = ""
        async with asyncio.timeout(_SECONDS_TO_START):
            while "Ctrl-C ends everything" not in output:
                line = (await process.stdout.readline()).decode()
                if not line:
                    sys.exit(f"It ended early and said:\n{output}")
                output += line
        page = re.search(rf"{name}\s+(http://\S+)", output)
        if page is None:
            sys.exit(f"There is no {name}:\n{output}")
        draining = asyncio.create_task(process.stdout.read())
        yield page[1]
    finally:
        process.send_signal(signal.SIGINT)
        if draining is not None:
            await draining
        await process.wait()
