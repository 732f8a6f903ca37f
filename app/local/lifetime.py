"""Ports of this machine, and how a local process learns that it has to end."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import socket
from contextlib import suppress

LOOPBACK = "127.0.0.1"
DEFAULT_PORT = 7071
"""Of Azure Functions on a developer's machine."""

_HIGHEST_PORT = 65535
_PARENT_CHECK_SECONDS = 1.0


class PortInUseError(Exception):
    """Something else listens on the port; `str()` says what to do."""


def listen(port: int) -> socket.socket:
    """A listening socket on loopback; port 0 takes a free one. Raises `PortInUseError`."""
    try:
        return socket.create_server((LOOPBACK, port), backlog=128)
    except OSError as error:
        raise PortInUseError(
            f"Port {port} cannot be used: {os.strerror(error.errno or 0)}. "
            "If the bot already runs in another terminal, stop it there; or choose another port with --port."
        ) from None


def port_number(text: str) -> int:
    """For argparse."""
    if not text.isdecimal() or not text.isascii() or int(text[:6]) > _HIGHEST_PORT:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: they are numbers from 0 to {_HIGHEST_PORT}")
    return int(text)


def port_of(listener: socket.socket) -> int:
    port: int = listener.getsockname()[1]
    return port


async def stop_requested(parent: int | None = None) -> None:
    """Returns at Ctrl-C or SIGTERM, when the terminal is closed, or when the parent process `parent` has ended."""
    requested = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), lambda *_: loop.call_soon_threadsafe(requested.set))
    while not requested.is_set():
        if parent is None:
            await requested.wait()
        elif os.name == "posix" and os.getppid() != parent:
            return
        else:
            with suppress(TimeoutError):
                await asyncio.wait_for(requested.wait(), _PARENT_CHECK_SECONDS)
