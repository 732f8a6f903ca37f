"""The repository's own files as they were delivered: tests must not fail because somebody has filled them in."""

from __future__ import annotations

import json
import re
from pathlib import Path

DELIVERED = {"dev", "local", "playground"}
_PARAMETERS = ("resourceSuffix", "hostingPlan", "pythonVersion", "databricksBaseUrl", "databricksModelName")
_DEFAULTS = {
    "HOSTING_PLAN": "consumption",
    "PYTHON_VERSION": "3.12",
    "DEVELOPER_NAME": "Your organisation",
    "DEVELOPER_WEBSITE_URL": "https://www.example.com",
    "DEVELOPER_PRIVACY_URL": "https://www.example.com/privacy",
    "DEVELOPER_TERMS_OF_USE_URL": "https://www.example.com/terms",
}


def as_delivered(folder: Path) -> Path:
    """Puts the delivered values back into a copy."""
    for path in (folder / "env").glob(".env.*"):
        name = path.name.removeprefix(".env.")
        if name in DELIVERED:
            path.write_text(_emptied(path.read_text(encoding="utf-8"), name), encoding="utf-8")
        elif not name.endswith(".sample"):
            path.unlink()
    parameters = folder / "infra" / "azure.parameters.json"
    if parameters.is_file():
        content = json.loads(parameters.read_text(encoding="utf-8"))
        content["parameters"] = {name: content["parameters"][name] for name in _PARAMETERS}
        parameters.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return folder


def _emptied(text: str, environment: str) -> str:
    def line(assignment: re.Match[str]) -> str:
        name = assignment[1]
        kept = {"TEAMSFX_ENV": environment, "APP_NAME_SUFFIX": '" (local)"' if environment == "local" else ""}
        return f"{name}={(kept | _DEFAULTS).get(name, '')}"

    return re.sub(r"(?m)^([A-Z_0-9]+)=.*$", line, text)
