"""The real command line of the Microsoft 365 Agents Toolkit (`atk`), installed once into .data/ with npm."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.fakes.npm import npm_installed

ROOT = Path(__file__).parents[2]
PACKAGE = "@microsoft/m365agentstoolkit-cli"
# What the workflow and docs/deploying.md install; `cssomnom` in it, which linkedom asks for, is not in every registry.
LOCK = ROOT / ".github" / "atk"


@dataclass(frozen=True, slots=True)
class AgentsToolkit:
    program: Path

    @classmethod
    def installed(cls, folder: Path = ROOT / ".data" / "atk") -> AgentsToolkit:
        """Takes minutes the first time."""
        return cls(npm_installed(folder, PACKAGE, LOCK) / "cli.js")

    def run(self, project: Path, *arguments: str, given: Mapping[str, str] | None = None) -> tuple[int, str]:
        """The exit code and what was printed. Asks nobody and knows no account."""
        node = shutil.which("node")
        assert node, "there is no Node.js"
        home = project.parent / "home"
        home.mkdir(exist_ok=True)
        environment = {"PATH": os.environ["PATH"], "HOME": str(home), "USERPROFILE": str(home), "CI": "true"}
        environment |= {name: os.environ[name] for name in ("SYSTEMROOT", "TEMP") if name in os.environ}
        ended = subprocess.run(
            [node, str(self.program), *arguments, "--interactive", "false", "--telemetry", "false"],
            cwd=project,
            env=environment | dict(given or {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            timeout=180,
        )
        return ended.returncode, ended.stdout
