"""Runs the Azure CLI and reads its JSON."""

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

TIMEOUT_SECONDS = 600.0

_NOT_SIGNED_IN = re.compile(r"az login|AADSTS\d+|not logged in", re.IGNORECASE)
# For some of storage's error codes the Azure CLI prints sentences of its own instead.
_NOT_ALLOWED_IN_STORAGE = re.compile(
    r"AuthorizationPermissionMismatch|AuthorizationFailure|required permissions|blocked by network rules", re.IGNORECASE
)
_NOT_ALLOWED = re.compile(r"Authorization ?failed|not authorized", re.IGNORECASE)
# On Windows az.cmd runs in cmd.exe, which would interpret these.
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
        self,
        *arguments: str,
        folder: Path | None = None,
        secret: bool = False,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> Any:  # noqa: ANN401
        """The command's output, parsed from JSON; None if there is none. A `secret` output is never quoted in an error.

        Raises `DeployError`, and `NotAllowedError` where storage refuses the signed-in account.
        """
        command = [*arguments, "--subscription", self._subscription, "--only-show-errors", "--output", "json"]
        for argument in command:
            if _UNSAFE.search(argument):
                raise DeployError(f"{argument!r} cannot be handed to the Azure CLI")
        code, output, errors = self._finish(command, folder, timeout_seconds)
        if code:
            raise _explain(arguments, code, errors.strip())
        try:
            return json.loads(output) if output.strip() else None
        except ValueError:
            shown = "" if secret else f": {output.strip()[:300]}"
            raise DeployError(f"az {_command_name(arguments)} did not answer with JSON{shown}") from None

    def _finish(self, command: list[str], folder: Path | None, timeout_seconds: float) -> tuple[int, str, str]:
        """The exit code, standard output and standard error."""
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
                output, errors = process.communicate(timeout=timeout_seconds)
            except subprocess.TimeoutExpired:
                _kill_tree(process)
                raise DeployError(
                    f"az {_command_name(command)} had not ended after {timeout_seconds:.0f} s and was stopped. "
                    "What it began in Azure may still go on: look there, then try again."
                ) from None
            except BaseException:
                _kill_tree(process)
                raise
            return process.returncode, output, errors


def _command_name(command: Iterable[str]) -> str:
    return " ".join(takewhile(lambda argument: not argument.startswith("-"), command))


def _kill_tree(process: subprocess.Popen[str]) -> None:
    """az is a script: the program that it starts would otherwise live on and keep its output open."""
    if os.name == "nt":
        subprocess.run(["taskkill", "/T", "/F", "/PID", str(process.pid)], capture_output=True)
    else:
        os.killpg(process.pid, signal.SIGKILL)


def _explain(arguments: tuple[str, ...], code: int, errors: str) -> DeployError:
    sentence = f"az {' '.join(arguments)} failed with exit code {code}."
    storage = arguments[0] == "storage"
    refused = False
    if _NOT_SIGNED_IN.search(errors):
        sentence = "The Azure CLI is not signed in, or no longer: az login"
    elif _NOT_ALLOWED_IN_STORAGE.search(errors) or _NOT_ALLOWED.search(errors):
        refused = storage and _NOT_ALLOWED_IN_STORAGE.search(errors) is not None
        needed = "Storage Blob Data Contributor on the storage account" if storage else "Contributor"
        if "roleAssignments" in errors:
            needed = "Role Based Access Control Administrator"
        sentence += f" The signed-in account needs the role {needed} (a new one takes some minutes to work)"
        sentence += ", and must be allowed by its network rules." if storage else "."
    return (NotAllowedError if refused else DeployError)(f"{sentence}\n\n{errors}" if errors else sentence)
