"""A real PostgreSQL, from the machine's packages, in a temporary folder on a free port."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import asyncpg
import pytest

from app.storage.postgres_database import PostgresDatabase
from tests.fakes.azurite import free_port
from tests.fakes.certificate import localhost

USER = "agent"
PASSWORD = "as good as any"
# Nothing has to survive a test.
_FAST = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_connections=60", "shared_buffers=16MB")


def programs() -> Path | None:
    """The folder with the server, which Debian does not put on the PATH."""
    found = shutil.which("postgres")
    if found:
        return Path(found).resolve().parent
    return max(Path("/usr/lib/postgresql").glob("*/bin"), default=None, key=lambda each: float(each.parent.name))


def started() -> Iterator[Postgres]:
    """For a fixture: runs until the tests that share it are over."""
    folder = programs()
    if folder is None:
        pytest.skip("there is no PostgreSQL")
    with Postgres(folder) as running:
        yield running


@dataclass
class Postgres:
    """Runs while it is a context. The role `agent` signs in with a password, and owns the database `agent`."""

    programs: Path
    port: int = 0
    _folder: Path = field(default_factory=Path)

    def __enter__(self) -> Self:
        self._folder = Path(tempfile.mkdtemp(prefix="postgres-"))
        if _is_root():
            # The server refuses to run as root.
            shutil.chown(self._folder, "nobody")
        (self._folder / "password").write_text(PASSWORD)
        (self._folder / "password").chmod(0o644)
        options = ["--auth=password", "--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions"]
        self._run("initdb", "-D", self._data, "-U", USER, f"--pwfile={self._folder / 'password'}", *options)
        localhost(self._folder)
        (self._folder / "private.pem").chmod(0o600)
        if _is_root():
            shutil.chown(self._folder / "private.pem", "nobody")
        self.port = free_port()
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def start(self) -> None:
        settings = [
            f"port={self.port}",
            "listen_addresses=127.0.0.1",
            f"unix_socket_directories={self._folder}",
            "ssl=on",
            f"ssl_cert_file={self.certificate}",
            f"ssl_key_file={self._folder / 'private.pem'}",
            *_FAST,
        ]
        options = " ".join(f"-c {setting}" for setting in settings)
        self._run("pg_ctl", "-D", self._data, "-l", self._folder / "log", "-w", "-t", "60", "-o", options, "start")

    def stop(self) -> None:
        """Closes every connection."""
        self._run("pg_ctl", "-D", self._data, "-m", "immediate", "stop")

    def database(self, **changed: Any) -> PostgresDatabase:
        """With a schema of its own."""

        async def password() -> str:
            return PASSWORD

        parts: dict[str, Any] = {
            "host": "127.0.0.1",
            "port": self.port,
            "database": "postgres",
            "user": USER,
            "password": password,
            "ssl_mode": "disable",
            "schema": f"t{uuid.uuid4().hex}",
        }
        return PostgresDatabase(**{**parts, **changed})

    @property
    def certificate(self) -> Path:
        """Of the server, as `localhost`."""
        return self._folder / "trusted.pem"

    @property
    def url(self) -> str:
        return f"postgresql://{USER}:{quote(PASSWORD)}@127.0.0.1:{self.port}/postgres?sslmode=disable"

    async def execute(self, statement: str, *arguments: object) -> list[Any]:
        connection = await asyncpg.connect(
            host="127.0.0.1", port=self.port, database="postgres", user=USER, password=PASSWORD, ssl="disable"
        )
        try:
            return list(await connection.fetch(statement, *arguments))
        finally:
            await connection.close()

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    def _run(self, program: str, *arguments: str | Path) -> None:
        as_nobody: dict[str, Any] = {"user": "nobody", "extra_groups": []} if _is_root() else {}
        ran = subprocess.run(
            [self.programs / program, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            timeout=90,
            cwd=self._folder,
            **as_nobody,
        )
        assert ran.returncode == 0, ran.stderr


def _is_root() -> bool:
    return os.name == "posix" and os.geteuid() == 0
