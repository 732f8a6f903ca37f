"""Azurite, Microsoft's own emulator of Azure storage, installed once into .data/ with npm; in memory, on free ports."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import pytest

from app.storage.storage_account import EMULATOR_ACCOUNT, EMULATOR_KEY
from tests.fakes.npm import npm_installed

ROOT = Path(__file__).parents[2]
_LOCK = ROOT / "app" / "local" / "npm_azurite"
_TRIES = 3


def installed(folder: Path = ROOT / ".data" / "azurite") -> Path:
    """The program; takes half a minute the first time."""
    return npm_installed(folder, "azurite", _LOCK) / "dist" / "src" / "azurite.js"


def started() -> Iterator[Azurite]:
    """For a fixture: runs until the tests that share it are over."""
    if shutil.which("npm") is None:
        pytest.skip("there is no npm to install Azurite with")
    with Azurite(installed()) as running:
        yield running


@dataclass
class Azurite:
    """Runs while it is a context. `options` are added to its command line."""

    program: Path
    ports: dict[str, int] = field(default_factory=dict)
    options: tuple[str, ...] = ()
    _process: subprocess.Popen[bytes] | None = None

    def address(self, service: str, scheme: str = "http", host: str = "127.0.0.1") -> str:
        return f"{scheme}://{host}:{self.ports[service]}/{EMULATOR_ACCOUNT}"

    @property
    def connection_string(self) -> str:
        endpoints = "".join(f"{name.title()}Endpoint={self.address(name)};" for name in self.ports)
        return f"DefaultEndpointsProtocol=http;AccountName={EMULATOR_ACCOUNT};AccountKey={EMULATOR_KEY};{endpoints}"

    def __enter__(self) -> Self:
        given = bool(self.ports)
        # A port that was free a moment ago may be somebody's connection now.
        for _ in range(1 if given else _TRIES):
            self.ports = self.ports if given else free_ports()
            self._process = self._start()
            if self._serves(self._process):
                return self
        raise AssertionError("Azurite ended at once")

    def _start(self) -> subprocess.Popen[bytes]:
        node = shutil.which("node")
        assert node, "there is no Node.js"
        options = ["--inMemoryPersistence", "--skipApiVersionCheck", "--silent", "--disableTelemetry", *self.options]
        for name, port in self.ports.items():
            options += [f"--{name}Host", "127.0.0.1", f"--{name}Port", str(port)]
        silent = subprocess.DEVNULL
        return subprocess.Popen([node, self.program, *options], stdin=silent, stdout=silent, stderr=silent)

    def _serves(self, process: subprocess.Popen[bytes]) -> bool:
        deadline = time.monotonic() + 60
        while not all(map(_listens, self.ports.values())):
            if process.poll() is not None:
                return False
            assert time.monotonic() < deadline, "Azurite did not start within a minute"
            time.sleep(0.05)
        return True

    def __exit__(self, *_: object) -> None:
        assert self._process
        self._process.kill()
        self._process.wait()

    def pause(self) -> None:
        """Connections stay, answers do not come."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process
        os.kill(self._process.pid, number)


def free_ports() -> dict[str, int]:
    return {name: free_port() for name in ("blob", "queue", "table")}


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _listens(port: int) -> bool:
    with closing(socket.socket()) as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
