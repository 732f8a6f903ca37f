"""The Azure CLI, as a function."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterable
from itertools import takewhile
from pathlib import Path
from typing import Any

from ops.deploy import DeployError, NotAllowedError

LIMIT_SECONDS = 600.0

_NOT_SIGNED_IN = re.compile(r"az login|AADSTS\d+|not logged in", re.IGNORECASE)
# For some of storage's error codes the Azure CLI prints sentences of its own instead.
_NOT_ALLOWED_IN_STORAGE = re.compile(
    r"AuthorizationPermissionMismatch|AuthorizationFailure|required permissions|blocked by network rules", re.IGNORECASE
)
_NOT_ALLOWED = re.compile(r"Authorization ?failed|not authorized", re.IGNORECASE)
# Windows runs az.cmd through cmd.exe, to which these mean something.
_UNSAFE = re.compile(r"[\"&|<>^%!\r\n]")


class AzureCli:
    """Raises `DeployError` at once where there is no Azure CLI."""

    def __init__(self, subscription: str) -> None:
        program = shutil.which("az")
        if program is None:
            raise DeployError(
                "The Azure CLI (az) is not installed, or not on the PATH. "
                "https://learn.microsoft.com/cli/azure/install-azure-cli says how to install it; then: az login"
            )
        self._program = program
        self._subscription = subscription

    def run(
        self, *arguments: str, folder: Path | None = None, secret: bool = False, limit: float = LIMIT_SECONDS
    ) -> Any:  # noqa: ANN401
        """The command's answer, from JSON; None if it has none. Runs in `folder`, for `limit` seconds at most.

        Raises `DeployError`, and `NotAllowedError` where storage refuses whoever is signed in.
        """
        command = [*arguments, "--subscription", self._subscription, "--only-show-errors", "--output", "json"]
        for argument in command:
            if _UNSAFE.search(argument):
                raise DeployError(f"{argument!r} cannot be handed to the Azure CLI")
        code, answer, said = self._finish(command, folder, limit)
        if code:
            raise _explain(arguments, code, said.strip())
        try:
            return json.loads(answer) if answer.strip() else None
        except ValueError:
            shown = "" if secret else f": {answer.strip()[:300]}"
            raise DeployError(f"az {_name(arguments)} did not answer with JSON{shown}") from None

    def _finish(self, command: list[str], folder: Path | None, limit: float) -> tuple[int, str, str]:
        with subprocess.Popen(
            [self._program, *command],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        ) as process:
            try:
                answer, said = process.communicate(timeout=limit)
            except subprocess.TimeoutExpired:
                _end(process)
                raise DeployError(
                    f"az {_name(command)} had not ended after {limit:.0f} s and was stopped. What it began in "
                    "Azure may still go on: look there, then try again."
                ) from None
            except BaseException:
                _end(process)
                raise
            return process.returncode, answer, said


def _name(command: Iterable[str]) -> str:
    return " ".join(takewhile(lambda argument: not argument.startswith("-"), command))


def _end(process: subprocess.Popen[str]) -> None:
    """With its children: az is a script, and the program that it starts would live on and hold its output open."""
    if os.name == "nt":
        subprocess.run(["taskkill", "/T", "/F", "/PID", str(process.pid)], capture_output=True)
    else:
        os.killpg(process.pid, signal.SIGKILL)


def _explain(arguments: tuple[str, ...], code: int, said: str) -> DeployError:
    sentence = f"az {' '.join(arguments)} failed with exit code {code}."
    storage = arguments[0] == "storage"
    refused = False
    if _NOT_SIGNED_IN.search(said):
        sentence = "The Azure CLI is not signed in, or no longer: az login"
    elif _NOT_ALLOWED_IN_STORAGE.search(said) or _NOT_ALLOWED.search(said):
        refused = storage and _NOT_ALLOWED_IN_STORAGE.search(said) is not None
        needed = "Storage Blob Data Contributor on the storage account" if storage else "Contributor"
        if "roleAssignments" in said:
            needed = "Role Based Access Control Administrator"
        sentence += f" Whoever is signed in needs the role {needed} (a new one takes some minutes to work)"
        sentence += ", and must be let in by its network rules." if storage else "."
    return (NotAllowedError if refused else DeployError)(f"{sentence}\n\n{said}" if said else sentence)
