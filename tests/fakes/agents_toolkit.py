"""The real command line of the Microsoft 365 Agents Toolkit (`atk`), installed once into .data/ with npm."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = "@microsoft/m365agentstoolkit-cli"
VERSION = "1.1.17"
# `cssomnom`, which linkedom asks for, is not in every registry; rrweb-cssom does the same.
REQUEST = {
    "private": True,
    "dependencies": {PACKAGE: VERSION},
    "overrides": {"cssomnom": "npm:rrweb-cssom@0.8.0"},
}


@dataclass(frozen=True, slots=True)
class AgentsToolkit:
    program: Path

    @classmethod
    def installed(cls, folder: Path = ROOT / ".data" / "atk") -> AgentsToolkit:
        """Takes minutes the first time."""
        toolkit = cls(folder / "node_modules" / PACKAGE / "cli.js")
        if toolkit._version() == VERSION:
            return toolkit
        npm = shutil.which("npm")
        assert npm, "there is no npm"
        # Into another folder first: what an interrupted install leaves behind is never taken for the real one.
        fresh = folder.with_name(f"{folder.name}.new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        (fresh / "package.json").write_text(json.dumps(REQUEST))
        options = ["--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier", "--loglevel", "error"]
        ended = subprocess.run(
            [npm, "install", *options], cwd=fresh, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=900
        )
        assert ended.returncode == 0, f"npm could not install {PACKAGE}:\n{ended.stderr[-2000:]}"
        shutil.rmtree(folder, ignore_errors=True)
        fresh.replace(folder)
        return toolkit

    def _version(self) -> str | None:
        try:
            version: str = json.loads((self.program.parent / "package.json").read_text(encoding="utf-8"))["version"]
        except (OSError, ValueError, LookupError):
            return None
        return version

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
