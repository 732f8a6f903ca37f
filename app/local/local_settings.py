"""`local.settings.json`, read as Azure Functions Core Tools reads it.

Standard library only: dev.py needs it before anything is installed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, MutableMapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FILE_NAME = "local.settings.json"


class LocalSettingsError(Exception):
    """`local.settings.json` cannot be used; `str()` says what to change in it."""


def read_local_settings(root: Path) -> dict[str, str]:
    """The `Values` of the file; empty without one. Raises `LocalSettingsError`."""
    try:
        text = (root / FILE_NAME).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return {}
    try:
        content = json.loads(text)
    except ValueError as error:
        raise LocalSettingsError(f"{FILE_NAME} is not valid JSON: {error}") from None
    if not isinstance(content, dict) or not isinstance(values := content.get("Values"), dict):
        raise LocalSettingsError(f'{FILE_NAME} must look like {{"Values": {{"NAME": "value"}}}}')
    if content.get("IsEncrypted"):
        raise LocalSettingsError(f"{FILE_NAME} is encrypted; run `func settings decrypt` first")
    nested = [name for name, value in values.items() if isinstance(value, dict | list)]
    if nested:
        raise LocalSettingsError(f"{FILE_NAME}: these values must be strings: {', '.join(sorted(nested))}")
    return {name: _as_text(value) for name, value in values.items() if value is not None}


def _as_text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def add_local_settings(environment: MutableMapping[str, str], root: Path) -> None:
    """Adds the file's values; those in the environment win. Raises `LocalSettingsError`."""
    for name, value in read_local_settings(root).items():
        environment.setdefault(name, value)


def workspace_is_configured(environment: Mapping[str, str]) -> bool:
    """Whether a real workspace is meant; where one of the two settings is missing, `app.config` reports it."""
    return bool(environment.get("DATABRICKS_BASE_URL") or environment.get("DATABRICKS_MODEL_NAME"))
