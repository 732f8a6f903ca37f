"""The app package's files, each broken in the ways that they break in real life."""

from __future__ import annotations

import json
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.settings.storage_settings import StorageSettings
from ops.check.icons import NotAnImageError, check_icons, read_png
from ops.check.manifest import check_manifest
from ops.render_icons import png
from tests.fakes.pristine import as_delivered

ROOT = Path(__file__).parents[2]
WHITE, CLEAR, RED = b"\xff\xff\xff\xff", b"\xff\xff\xff\x00", b"\xff\x00\x00\xff"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """What the checks read, without what a developer has of their own."""
    own = shutil.ignore_patterns("build", "*.user")
    for folder in ("appPackage", "env"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=own)
    (tmp_path / "app/agent").mkdir(parents=True)
    for file in ("pyproject.toml", "app/agent/commands.py"):
        shutil.copy(ROOT / file, tmp_path / file)
    return as_delivered(tmp_path)


def change(root: Path, name: str, edit: Callable[[dict[str, Any]], Any]) -> None:
    path = root / "appPackage" / name
    value = json.loads(path.read_text(encoding="utf-8"))
    edit(value)
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False), encoding="utf-8")


def line_of(root: Path, name: str, part: str) -> int:
    lines = (root / "appPackage" / name).read_text(encoding="utf-8").splitlines()
    return next(number for number, line in enumerate(lines, 1) if part in line)


def said(root: Path) -> list[str]:
    return [str(problem) for problem in check_manifest(root)]


def test_the_app_package_of_this_repository_has_no_problem() -> None:
    assert said(ROOT) == []
    assert check_icons(ROOT) == []


def test_a_property_that_the_manifest_does_not_have_is_named_with_its_line(copy: Path) -> None:
    change(copy, "manifest.json", lambda manifest: manifest["bots"][0].update(suportsFiles=True))
    line = line_of(copy, "manifest.json", '"botId"') - 1
    [problem] = said(copy)
    assert problem.startswith(f"appPackage/manifest.json:{line}: bots.0: ")
    assert "'suportsFiles' was unexpected" in problem


def test_a_description_that_is_too_long_is_named_with_its_line(copy: Path) -> None:
    change(copy, "manifest.json", lambda manifest: manifest["description"].update(short="x" * 81))
    line = line_of(copy, "manifest.json", '"short": "xxx')
    [problem] = said(copy)
    assert problem.startswith(f"appPackage/manifest.json:{line}: description.short: ")
    assert "is too long" in problem


def test_a_name_is_measured_with_the_suffix_of_each_environment(copy: Path) -> None:
    change(copy, "manifest.json", lambda manifest: manifest["name"].update(short="x" * 28 + "${{APP_NAME_SUFFIX}}"))
    [problem] = said(copy)
    assert "name.short" in problem
    assert "(local)" in problem


def test_a_manifest_that_is_no_json_says_where_it_stops(copy: Path) -> None:
    path = copy / "appPackage/manifest.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"version": "0.1.0",', '"version": "0.1.0"'))
    [problem] = said(copy)
    assert problem.startswith("appPackage/manifest.json:5: not valid JSON: ")


def test_a_placeholder_that_the_toolkit_would_not_fill_is_named(copy: Path) -> None:
    change(copy, "manifest.json", lambda manifest: manifest["validDomains"].append("${BOT_ENDPOINT}"))
    assert any("'${BOT_ENDPOINT}' is not of the form ${{NAME}}" in problem for problem in said(copy))


@pytest.mark.parametrize(
    ("edit", "sentence"),
    [
        (lambda m: m.update(version="0.2.0"), "version must be "),
        (lambda m: m.update(id="4d1c6f0e-8f8b-4b2e-9d67-3f2a7f1c0b11"), "is of one environment; use a variable"),
        (lambda m: m["bots"][0].update(botId="${{TEAMS_APP_ID}}"), "bots.0.botId must be ${{BOT_ID}}"),
        (lambda m: m["bots"][0]["scopes"].remove("copilot"), "bots.0.scopes: copilot is missing"),
        (lambda m: m["developer"].update(privacyUrl="http://example.com"), "must begin with https://"),
        (lambda m: m.update(validDomains=["https://${{BOT_DOMAIN}}"]), "must be a host name"),
        (lambda m: m.update(validDomains=["token.botframework.com"]), "${{BOT_DOMAIN}}, where the bot runs"),
        (lambda m: m.pop("webApplicationInfo"), "webApplicationInfo.resource must be api://botid-${{BOT_ID}}"),
        (lambda m: m.update(manifestVersion="1.99"), "manifestVersion '1.99' has no schema in ops/schemas, only 1.30"),
        (lambda m: m.update({"$schema": "https://example.com/v1.20/x.json"}), "$schema is not of manifestVersion 1.30"),
    ],
)
def test_what_the_schema_allows_and_this_app_must_not_do(copy: Path, edit: Callable[[Any], Any], sentence: str) -> None:
    change(copy, "manifest.json", edit)
    assert any(sentence in problem for problem in said(copy)), said(copy)


def test_resource_specific_permissions_are_refused_while_the_bot_is_a_managed_identity(copy: Path) -> None:
    permission = {"name": "ChannelMessage.Read.Group", "type": "Application"}
    authorization = {"permissions": {"resourceSpecific": [permission]}}
    change(copy, "manifest.json", lambda manifest: manifest.update(authorization=authorization))
    [problem] = said(copy)
    assert "with a managed identity installing fails" in problem


def test_a_command_that_the_agent_does_not_know_is_not_offered(copy: Path) -> None:
    def offer(manifest: Any) -> None:
        manifest["bots"][0]["commandLists"][1]["commands"].append({"title": "/genie", "description": "Ask your data"})

    change(copy, "manifest.json", offer)
    assert any("'/genie' is no command of the agent" in problem and "/about" in problem for problem in said(copy))


@pytest.mark.parametrize("number", [0, 1])
def test_a_command_of_the_agent_that_is_not_offered_is_named(copy: Path, number: int) -> None:
    def hide(manifest: Any) -> None:
        commands = manifest["bots"][0]["commandLists"][number]["commands"]
        manifest["bots"][0]["commandLists"][number]["commands"] = [c for c in commands if c["title"] != "/about"]

    change(copy, "manifest.json", hide)
    assert any("'/about', which app/agent/commands.py understands, is not in this list" in line for line in said(copy))


def test_a_command_that_the_agent_learns_has_to_be_offered_everywhere(copy: Path) -> None:
    commands = copy / "app/agent/commands.py"
    text = commands.read_text(encoding="utf-8")
    commands.write_text(
        text.replace('case "/about":', 'case "/export":\n                return ""\n            case "/about":')
    )
    assert len([line for line in said(copy) if "'/export', which app/agent/commands.py understands" in line]) == 2


def test_every_language_says_how_long_conversations_are_kept_and_how_to_delete_them() -> None:
    """The days can be set, so that the text may only name them as what holds where nobody has."""
    days = StorageSettings.model_fields["retention_days"].default
    manifest = json.loads((ROOT / "appPackage/manifest.json").read_text(encoding="utf-8"))
    texts = {"en": manifest["description"]["full"]}
    for language in manifest["localizationInfo"]["additionalLanguages"]:
        file = json.loads((ROOT / "appPackage" / language["file"]).read_text(encoding="utf-8"))
        texts[language["languageTag"]] = file["description.full"]
    assert [tag for tag, text in texts.items() if f" {days} " not in text or "/forget" not in text] == []


def test_a_scope_gets_one_list_of_commands(copy: Path) -> None:
    change(copy, "manifest.json", lambda m: m["bots"][0]["commandLists"][1].update(scopes=["team", "personal"]))
    problems = said(copy)
    assert any("commandLists: personal has two lists" in problem for problem in problems)
    assert any("commandLists: none is for groupChat" in problem for problem in problems)


def test_a_prompt_starter_without_a_prompt_is_named(copy: Path) -> None:
    change(copy, "manifest.json", lambda m: m["bots"][0]["commandLists"][0]["commands"][0].pop("prompt"))
    assert any("a command of type prompt has a prompt" in problem for problem in said(copy))


def test_a_text_that_is_missing_in_one_language_is_named(copy: Path) -> None:
    change(copy, "fr.json", lambda french: french.pop("bots[0].commandLists[0].commands[1].prompt"))
    [problem] = said(copy)
    assert problem.startswith("appPackage/fr.json:1: bots[0].commandLists[0].commands[1].prompt is missing")


def test_a_translated_text_that_the_manifest_no_longer_has_is_named_with_its_line(copy: Path) -> None:
    change(copy, "de.json", lambda german: german.update({"bots[0].commandLists[2].commands[0].title": "Alt"}))
    line = line_of(copy, "de.json", "commandLists[2]")
    [problem] = said(copy)
    assert problem.startswith(f"appPackage/de.json:{line}: ")
    assert "is not a text of the manifest that is translated" in problem


def test_a_translated_command_would_not_be_understood(copy: Path) -> None:
    change(copy, "es.json", lambda spanish: spanish.update({"bots[0].commandLists[0].commands[7].title": "/ayuda"}))
    [problem] = said(copy)
    assert "is not a text of the manifest that is translated" in problem


def test_a_translation_keeps_the_variables(copy: Path) -> None:
    change(copy, "ja.json", lambda japanese: japanese.update({"name.short": "エージェント"}))
    [problem] = said(copy)
    assert "name.short must have the variables that the manifest has" in problem


def test_a_translation_that_is_too_long_is_named(copy: Path) -> None:
    change(copy, "de.json", lambda german: german.update({"description.short": "ä" * 81}))
    [problem] = said(copy)
    assert problem.startswith("appPackage/de.json:5: description.short: ")


def test_a_language_without_its_file_and_a_file_without_its_language_are_named(copy: Path) -> None:
    (copy / "appPackage/fr.json").rename(copy / "appPackage/it.json")
    problems = said(copy)
    line = line_of(copy, "manifest.json", '"fr.json"')
    assert f"appPackage/manifest.json:{line}: appPackage/fr.json is missing" in problems
    assert any(problem.startswith("appPackage/it.json:1: no language of the manifest") for problem in problems)


def test_a_missing_icon_is_named_where_the_manifest_wants_it(copy: Path) -> None:
    (copy / "appPackage/outline.png").unlink()
    line = line_of(copy, "manifest.json", '"outline"')
    assert [str(problem) for problem in check_icons(copy)] == [
        f"appPackage/manifest.json:{line}: icons.outline: appPackage/outline.png is missing"
    ]


@pytest.mark.parametrize(
    ("kind", "content", "sentence"),
    [
        ("color", png(96, RED * 96 * 96), "is 96 x 96 pixels, not 192 x 192"),
        ("color", png(192, RED * 191 * 192 + CLEAR * 192), "is transparent in places; it must fill the whole square"),
        ("outline", png(32, RED * 32 + CLEAR * 31 * 32), "has other colours than white and transparent"),
        ("outline", png(32, WHITE * 32 * 32), "has no transparent background"),
        ("color32x32", png(32, RED * 32 * 32), "has no transparent background"),
        ("outline", b"GIF89a", "is not a PNG file"),
        ("outline", png(32, WHITE * 32 * 32)[:-40], "is a damaged PNG file"),
    ],
)
def test_an_icon_that_teams_would_refuse_is_named(copy: Path, kind: str, content: bytes, sentence: str) -> None:
    (copy / f"appPackage/{kind}.png").write_bytes(content)
    [problem] = check_icons(copy)
    assert sentence in problem.sentence
    assert f"appPackage/{kind}.png" in problem.sentence


def test_every_filter_of_png_is_understood() -> None:
    """Drawing programs mix all five; the pixels were filtered by hand here, two by two each."""
    first, second = bytes([10, 20, 30, 40]), bytes([15, 25, 35, 45])
    step = bytes([5, 5, 5, 5])
    rows = [
        bytes([0]) + first + second,
        bytes([1]) + first + step,
        bytes([2]) + bytes(8),
        bytes([3])
        + bytes([5, 10, 15, 20])
        + bytes((b - (a + b) // 2) % 256 for a, b in zip(first, second, strict=True)),
        bytes([4]) + bytes(4) + bytes(4),
    ]
    data = png(2, (first + second) * 2)
    header = data[8:33].replace(b"\0\0\0\x02\0\0\0\x02", b"\0\0\0\x02\0\0\0\x05", 1)
    packed = zlib.compress(b"".join(rows))
    body = len(packed).to_bytes(4, "big") + b"IDAT" + packed + bytes(4)
    pixels = read_png(data[:8] + header + body).pixels
    assert pixels == ((*first,), (*second,)) * 5


@pytest.mark.parametrize("cut", range(0, 120, 7))
def test_half_an_image_is_not_an_image(cut: int) -> None:
    data = (ROOT / "appPackage/outline.png").read_bytes()
    with pytest.raises(NotAnImageError):
        read_png(data[:cut])
