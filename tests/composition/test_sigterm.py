"""A worker that Azure ends with SIGTERM closes first, and ends by the signal."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import textwrap
import threading

import pytest

from app.composition.sigterm import SigtermHandler

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGTERM on Windows")


def ended(close: str) -> subprocess.CompletedProcess[str]:
    """A process that sends itself SIGTERM, twice, while it serves."""
    program = f"""
        import asyncio, os, signal
        from app.composition.sigterm import SigtermHandler

        async def close():
            {close}

        async def main():
            stop = SigtermHandler(close)
            stop.install()
            stop.install()
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.sleep(60)
            print("never")

        asyncio.run(main())
    """
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=30, check=False
    )


def test_what_is_running_is_closed_first_and_once() -> None:
    process = ended("await asyncio.sleep(0.1); print('closed', flush=True)")
    assert process.stdout == "closed\n", process.stderr
    assert process.returncode == -signal.SIGTERM


def test_a_close_that_fails_does_not_keep_the_process() -> None:
    process = ended("raise OSError('broken')")
    assert process.returncode == -signal.SIGTERM
    assert "did not close cleanly" in process.stderr


async def test_where_no_signal_handler_can_be_installed_the_worker_works_on() -> None:
    async def close() -> None:
        raise AssertionError("nothing ends")

    async def serve() -> None:
        SigtermHandler(close).install()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    await asyncio.to_thread(thread.join)
