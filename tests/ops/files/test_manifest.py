"""The app package: what `atk validate` (test_toolkit_cli) does not know of this app."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
from PIL import Image

from app.settings.storage_settings import StorageSettings
from ops.parameters import placeholders_in
from tests.ops.files.deployments import ROOT

FOLDER = ROOT / "appPackage"
MANIFEST: dict[str, Any] = json.loads((FOLDER / "manifest.json").read_text(encoding="utf-8"))
BOT = MANIFEST["bots"][0]
LANGUAGES: dict[str, str] = {
    each["languageTag"]: each["file"] for each in MANIFEST["localizationInfo"]["additionalLanguages"]
}
# https://learn.microsoft.com/microsoftteams/platform/concepts/build-and-test/apps-package#app-icons
ICON_SIZES = {"color": 192, "outline": 32, "color32x32": 32}
# Keys of texts that people read.
READ = re.compile(r"(name|description)\.\w+|.*\.(title|description|prompt|text)")


def texts(value: object, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from texts(inner, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from texts(inner, f"{path}[{index}]")


def translations(language: str) -> dict[str, str]:
    return dict(json.loads((FOLDER / LANGUAGES[language]).read_text(encoding="utf-8")))


def test_its_version_is_the_programs_and_its_schema_its_own() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert MANIFEST["version"] == project["version"]
    assert f"/v{MANIFEST['manifestVersion']}/" in MANIFEST["$schema"]


def test_its_ids_are_those_of_whichever_environment_it_is_packaged_for() -> None:
    assert MANIFEST["id"] == "${{TEAMS_APP_ID}}"
    assert [BOT["botId"], MANIFEST["copilotAgents"]["customEngineAgents"][0]["id"]] == ["${{BOT_ID}}"] * 2
    assert MANIFEST["webApplicationInfo"]["resource"] == "api://botid-${{BOT_ID}}"
    guid = r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
    assert [text for _, text in texts(MANIFEST) if re.search(guid, text)] == []


def test_its_addresses_are_safe_and_the_bots_host_is_among_them() -> None:
    assert "${{BOT_DOMAIN}}" in MANIFEST["validDomains"]
    assert [each for each in MANIFEST["validDomains"] if "/" in each or each.startswith("*")] == []
    pages = (MANIFEST["developer"][key] for key in ("websiteUrl", "privacyUrl", "termsOfUseUrl"))
    assert [page for page in pages if not page.startswith(("https://", "${{"))] == []


def test_it_asks_for_no_resource_specific_permissions() -> None:
    """They want an app registration; with a managed identity installing fails: MicrosoftDocs/msteams-docs#14285."""
    assert "authorization" not in MANIFEST


@pytest.mark.parametrize("name", ["m365agents.yml", "m365agents.local.yml", "appPackage", "infra"])
def test_every_placeholder_is_one_that_the_toolkit_fills(name: str) -> None:
    files = [ROOT / name] if name.endswith(".yml") else sorted((ROOT / name).glob("*.json"))
    for file in files:
        lines = [line for line in file.read_text(encoding="utf-8").splitlines() if not line.lstrip().startswith("#")]
        assert [line for line in lines if re.search(r"\$\{(?!\{)|(?<!\$)\{\{", line) and '"query"' not in line] == []


def test_the_bot_is_everywhere_and_each_place_has_one_list_of_commands() -> None:
    assert set(BOT["scopes"]) == {"personal", "team", "groupChat", "copilot"}
    listed = [scope for each in BOT["commandLists"] for scope in each["scopes"]]
    assert sorted(listed) == sorted(BOT["scopes"])


def test_people_can_attach_files_and_take_results_as_files() -> None:
    assert BOT["supportsFiles"] is True


@pytest.mark.parametrize("index", range(len(BOT["commandLists"])))
def test_a_list_offers_every_command_of_the_agent_and_prompts_that_have_words(index: int) -> None:
    commands = BOT["commandLists"][index]["commands"]
    titles = [each["title"] for each in commands]
    # Those about jobs are not in every installation: /help tells of them where they are.
    commands_py, core_py = (
        (ROOT / name).read_text(encoding="utf-8") for name in ("app/agent/commands.py", "app/composition/core.py")
    )
    known = {*re.findall(r'case "(/\w+)"', commands_py), *re.findall(r'"(/\w+)": self\.', core_py)}
    assert {title for title in titles if title.startswith("/")} == known
    assert len(set(titles)) == len(titles)
    assert [each for each in commands if (each.get("type") == "prompt") != bool(each.get("prompt"))] == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_language_says_everything_that_people_read_with_the_same_variables(language: str) -> None:
    # A command such as /help is what the agent understands, in every language.
    wanted = {key: text for key, text in texts(MANIFEST) if READ.fullmatch(key) and not text.startswith("/")}
    wanted = {key: text for key, text in wanted.items() if not key.startswith("developer.")}
    said = {key: text for key, text in translations(language).items() if key != "$schema"}
    assert set(said) == set(wanted)
    assert [key for key in said if sorted(placeholders_in(said[key])) != sorted(placeholders_in(wanted[key]))] == []


def test_every_file_is_of_a_language_that_the_manifest_names_once() -> None:
    assert len(set(LANGUAGES.values())) == len(LANGUAGES)
    assert MANIFEST["localizationInfo"]["defaultLanguageTag"] not in LANGUAGES
    assert {file.name for file in FOLDER.glob("*.json")} == {"manifest.json", *LANGUAGES.values()}


def test_every_language_says_how_long_conversations_are_kept_and_how_to_delete_them() -> None:
    """The days can be set, so that the text may only name them as what holds where nobody has."""
    days = StorageSettings.model_fields["retention_days"].default
    full = {"en": MANIFEST["description"]["full"]}
    full |= {language: translations(language)["description.full"] for language in LANGUAGES}
    assert [tag for tag, text in full.items() if f" {days} " not in text or "/forget" not in text] == []


@pytest.mark.parametrize("kind", ICON_SIZES)
def test_an_icon_is_one_that_teams_takes(kind: str) -> None:
    with Image.open(FOLDER / MANIFEST["icons"][kind]) as image:
        assert (image.format, image.mode, image.size) == ("PNG", "RGBA", (ICON_SIZES[kind], ICON_SIZES[kind]))
        content = image.tobytes()
    transparent = min(content[3::4]) < 255
    assert transparent == (kind != "color"), "the colour icon fills its square, the others do not"
    if kind == "outline":
        visible = {content[at : at + 3] for at in range(0, len(content), 4) if content[at + 3]}
        assert visible == {b"\xff\xff\xff"}
