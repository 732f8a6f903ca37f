"""The virtual environment of dev.py's commands. Standard library only: it is needed before anything is installed."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from ops.pip_install import PipError, install_lock

PYTHON_VERSION = f"{sys.version_info[0]}.{sys.version_info[1]}"


class SetupError(Exception):
    """`str()` is what the person at the terminal must know."""


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


class VirtualEnvironment:
    """In the repository, of the Python that runs dev.py."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder.parent
        self.bin = folder / ("Scripts" if os.name == "nt" else "bin")
        self.python = self.bin / ("python.exe" if os.name == "nt" else "python")

    @classmethod
    def find(cls, root: Path) -> VirtualEnvironment:
        """`.venv` in `root`, unless that one is of another Python version."""
        version = _version_of(root / ".venv")
        return cls(root / (".venv" if version in {None, PYTHON_VERSION} else f".venv-{PYTHON_VERSION}"))

    def create(self) -> None:
        """Unless it is there and works. Raises `SetupError`."""
        if self._works("pip"):
            return
        say(f"Making {self.folder.name} with Python {PYTHON_VERSION} ...")
        base = getattr(sys, "_base_executable", None) or sys.executable
        clear = [] if self._works("sys") else ["--clear"]
        made = subprocess.run([base, "-m", "venv", *clear, str(self.folder)], capture_output=True, text=True)
        if made.returncode or not self._works("pip"):
            say((made.stdout + made.stderr).strip())
            raise SetupError(
                f"{base} could not make a virtual environment. "
                f"On Debian and Ubuntu this helps: sudo apt install python{PYTHON_VERSION}-venv"
            )

    def _works(self, module: str) -> bool:
        if _version_of(self.folder) != PYTHON_VERSION or not self.python.exists():
            return False
        return subprocess.run([self.python, "-c", f"import {module}"], capture_output=True).returncode == 0

    def install(self, *locks: str) -> None:
        """Installs each lock that is new or has changed. Raises `SetupError`."""
        for lock in locks:
            content = (self.root / lock).read_bytes()
            fingerprint = hashlib.sha256(content + sys.version.encode()).hexdigest()
            stamp = self.folder / f"installed-{lock.replace('/', '-')}.stamp"
            if stamp.exists() and stamp.read_text() == fingerprint and self.python.exists():
                continue
            self.create()
            stamp.unlink(missing_ok=True)
            self._install(lock, packages_in(content.decode()))
            # The stamp is written last, in one step, so that an interrupted install is repeated.
            fresh = stamp.with_suffix(".new")
            fresh.write_text(fingerprint)
            fresh.replace(stamp)

    def _install(self, lock: str, packages: int) -> None:
        try:
            install_lock(self.python, self.root / lock, lock, packages, say)
        except PipError as error:
            raise SetupError(str(error)) from None

    def run(self, *command: str | Path) -> int:
        """Runs `command` to its end and returns its exit code. A signal that ends dev.py is passed on."""
        child = subprocess.Popen([str(part) for part in command], cwd=self.root, env=self._variables())
        interrupted = False

        def interrupt(*_: object) -> None:
            nonlocal interrupted
            interrupted = True
            if os.name != "nt" and not sys.stdin.isatty():  # a terminal has told the child already
                child.send_signal(signal.SIGINT)

        signal.signal(signal.SIGINT, interrupt)
        signal.signal(signal.SIGTERM, lambda *_: child.terminate())
        code = child.wait()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if interrupted:
            raise KeyboardInterrupt
        return code if code >= 0 else 128 - code

    def run_each(
        self, commands: Sequence[Sequence[str | Path]], *, at_once: int
    ) -> Iterator[tuple[Sequence[str | Path], int, str]]:
        """Runs the commands, at most `at_once` at a time. Each comes when it has ended, with its exit code and what it
        wrote.
        """
        pool = ThreadPoolExecutor(at_once)
        try:
            running = {pool.submit(self._run_captured, command): command for command in commands}
            for ended in as_completed(running):
                yield running[ended], *ended.result()
        finally:
            pool.shutdown(cancel_futures=True)

    def _run_captured(self, command: Sequence[str | Path]) -> tuple[int, str]:
        ended = subprocess.run(
            [str(part) for part in command],
            cwd=self.root,
            env=self._variables(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
        )
        return ended.returncode, ended.stdout

    def become(self, module: str, *arguments: str) -> int:
        """The last step of a command. Where the system can, `module` takes this process over, signals and all."""
        command = [str(self.python), "-m", module, *arguments]
        if os.name != "nt":
            os.chdir(self.root)
            os.execve(command[0], command, self._variables())
        return self.run(*command)

    def _variables(self) -> dict[str, str]:
        path = os.pathsep.join([str(self.bin), os.environ.get("PATH", "")])
        return {**os.environ, "VIRTUAL_ENV": str(self.folder), "PATH": path, "PYTHONUTF8": "1"}


def packages_in(lock: str) -> int:
    """The number of packages in a lock; indented lines are the hashes of the package above."""
    return sum(line[:1].isalnum() for line in lock.splitlines())


def _version_of(folder: Path) -> str | None:
    try:
        lines = (folder / "pyvenv.cfg").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    settings = dict(line.replace(" ", "").split("=", 1) for line in lines if "=" in line)
    return ".".join(settings.get("version", "").split(".")[:2])
