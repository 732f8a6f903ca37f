"""`python dev.py docs`: writes docs/settings.md from the fields of `Settings` in app/config.py."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from app.config import Settings, setting_names
from ops.check.problem import Problem
from ops.command import DEV

PAGE = "docs/settings.md"
_ROOT = Path(__file__).resolve().parents[1]
# In the order of the page. A section begins with the field named here and goes on in the order of `Settings`.
_SECTIONS = {
    "databricks_base_url": "Workspace and credential",
    "system_prompt": "Answers and conversations",
    "bot_app_id": "The bot: who it is, who may call it, what it shows",
    "data_dir": "Where conversations are kept",
    "insights_connection_string": "Telemetry",
}
_INTRODUCTION = """\
# Settings

Application settings in Azure, `Values` in `local.settings.json`, or environment variables; the variables win over
the file. All of them are checked at start, and everything that is wrong is said at once. An empty setting counts as
left out. In Azure, Bicep sets most of them: `infra/azure.parameters.json` holds what you choose.

This page is written by `python3 dev.py docs` from `app/config.py`, which is where a setting is described.
"""


def settings_page() -> str:
    sections = sorted(_by_section(), key=lambda section: list(_SECTIONS).index(section[0]))
    return "\n".join([_INTRODUCTION, *(line for section in sections for line in _table(*section))])


def check_settings_page(root: Path) -> list[Problem]:
    page = root / PAGE
    if page.is_file() and page.read_text(encoding="utf-8") == settings_page():
        return []
    return [Problem(PAGE, 1, f"does not say what app/config.py says: {DEV} docs")]


def _by_section() -> Iterator[tuple[str, list[str]]]:
    """The field that a section begins with, and the settings in it."""
    names = setting_names()
    first = ""
    fields: list[tuple[str, str]] = []
    for field, info in Settings.model_fields.items():
        name = str(getattr(info.validation_alias, "choices", [""])[0])
        if name in names:
            first = field if field in _SECTIONS else first
            fields.append((first, name))
    for section, group in itertools.groupby(fields, key=lambda pair: pair[0]):
        yield section, [name for _, name in group]


def _table(section: str, settings: list[str]) -> Iterator[str]:
    schema = Settings.model_json_schema()
    yield f"## {_SECTIONS[section]}\n"
    yield "| setting | what to put there | if left out |"
    yield "| --- | --- | --- |"
    for name in settings:
        field = schema["properties"][name]
        left_out = _left_out(field, required=name in schema["required"])
        yield f"| `{name}` | {_cell(field['description'])} | {left_out} |"
    yield ""


def _left_out(field: Mapping[str, Any], *, required: bool) -> str:
    if required:
        return "required"
    if field["left_out"]:
        return _cell(field["left_out"])
    default = field.get("default")
    return "" if default in (None, "") else f"`{str(default).lower() if isinstance(default, bool) else default}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def main() -> None:
    (_ROOT / PAGE).write_text(settings_page(), encoding="utf-8")


if __name__ == "__main__":
    main()
