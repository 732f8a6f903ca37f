"""`python dev.py docs`: writes docs/settings.md from the sections of settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from agent_server.settings import ServerSettings
from app.config import Settings
from app.jobs.environment import WatchSettings
from app.settings.section import Section

PAGE = "docs/settings.md"
_ROOT = Path(__file__).resolve().parents[1]
_INTRODUCTION = """\
# Settings

Application settings in Azure, `Values` in `local.settings.json`, or environment variables; the variables win over
the file. All of them are checked at start, and everything that is wrong is reported at once. An empty setting counts as
left out. In Azure, Bicep sets most of them: `infra/azure.parameters.json` holds what you choose.

This page is written by `python3 dev.py docs` from `app/config.py`, `agent_server/settings.py` and the sections in
`app/settings`, which is where a setting is described. The agent server reads its own, at the end, and those of all that
its agent uses; in Databricks Apps `app.yaml` and `databricks.yml` set them.
"""


def settings_page() -> str:
    tables = (line for section in [*sections(), *server_sections()] for line in _table(section))
    return "\n".join([_INTRODUCTION, *tables])


def sections() -> list[type[Section]]:
    """Those of the Function App, then those of its job watch alone."""
    of_the_app = list(Settings.sections().values())
    return of_the_app + [each for each in WatchSettings.sections().values() if not issubclass(each, tuple(of_the_app))]


def server_sections() -> list[type[Section]]:
    """Those of the agent server alone."""
    elsewhere = sections()
    return [each for each in ServerSettings.sections().values() if each not in elsewhere]


def _table(section: type[Section]) -> Iterator[str]:
    schema = section.model_json_schema()
    yield f"## {section.title}\n"
    yield "| setting | what to put there | if left out |"
    yield "| --- | --- | --- |"
    for name, field in schema["properties"].items():
        left_out = _left_out(field, required=name in schema.get("required", ()))
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
