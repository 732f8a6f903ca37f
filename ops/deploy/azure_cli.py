"""The Azure CLI, as a function."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from ops.deploy import DeployError

_NOT_SIGNED_IN = re.compile(r"az login|AADSTS\d+|not logged in", re.IGNORECASE)
_NOT_ALLOWED = re.compile(
    r"AuthorizationPermissionMismatch|AuthorizationFailed|required permissions|not authorized", re.IGNORECASE
)
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

    def run(self, *arguments: str, folder: Path | None = None, secret: bool = False) -> Any:  # noqa: ANN401
        """The command's answer, from JSON; None if it has none. Runs in `folder`. Raises `DeployError`."""
        command = [*arguments, "--subscription", self._subscription, "--only-show-errors", "--output", "json"]
        for argument in command:
            if _UNSAFE.search(argument):
                raise DeployError(f"{argument!r} cannot be handed to the Azure CLI")
        done = subprocess.run(
            [self._program, *command],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
        )
        if done.returncode:
            raise DeployError(_explain(arguments, done.returncode, done.stderr.strip()))
        try:
            return json.loads(done.stdout) if done.stdout.strip() else None
        except ValueError:
            said = "" if secret else f": {done.stdout.strip()[:300]}"
            raise DeployError(f"az {' '.join(arguments[:3])} did not answer with JSON{said}") from None


def _explain(arguments: tuple[str, ...], code: int, said: str) -> str:
    sentence = f"az {' '.join(arguments)} failed with exit code {code}."
    if _NOT_SIGNED_IN.search(said):
        sentence = "The Azure CLI is not signed in, or no longer: az login"
    elif _NOT_ALLOWED.search(said):
        needed = "Storage Blob Data Contributor on the storage account" if "storage" in arguments else "Contributor"
        sentence += f" Whoever is signed in needs the role {needed} (a new one takes some minutes to work)"
        sentence += ", and must be let in by its network rules." if "storage" in arguments else "."
    return f"{sentence}\n\n{said}" if said else sentence
