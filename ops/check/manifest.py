"""The app's manifest: what Teams and Copilot would refuse, and what they would take but should not get."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ops.check.document import Document, UnreadableDocumentError
from ops.check.environment import EnvironmentFile, environment_files, malformed_placeholders
from ops.check.icons import MANIFEST
from ops.check.localization import check_localization
from ops.check.problem import Problem

SCHEMAS = Path(__file__).resolve().parents[1] / "schemas"
# The files of the toolkit that package the app.
_PACKAGING = ("m365agents.yml", "m365agents.local.yml")
_GUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_COMMANDS = "app/agent/commands.py"


def check_manifest(root: Path) -> list[Problem]:
    try:
        manifest = Document.read(root, MANIFEST)
        environments = [
            EnvironmentFile.read(root, name) for file in _PACKAGING for name in environment_files(root, file)
        ]
    except UnreadableDocumentError as unreadable:
        return [unreadable.problem]
    problems = {*_about_its_form(manifest, environments)}
    # The others rely on the form that the schema demands.
    if not problems:
        problems = {
            *_about_the_app(root, manifest),
            *_about_the_bot(root, manifest),
            *check_localization(root, manifest, environments),
        }
    return sorted(problems)


def manifest_is_read(root: Path) -> bool:
    """Whether the manifest is one, so that what is missing from it is not meant to be there."""
    try:
        return not any(_about_its_form(Document.read(root, MANIFEST), [EnvironmentFile("", {}, ())]))
    except UnreadableDocumentError:
        return False


def _about_its_form(manifest: Document, environments: list[EnvironmentFile]) -> Iterator[Problem]:
    yield from malformed_placeholders(manifest)
    yield from _against_the_schema(manifest, environments)


def _against_the_schema(manifest: Document, environments: list[EnvironmentFile]) -> Iterator[Problem]:
    version = _at(manifest.value, "manifestVersion")
    path = SCHEMAS / f"teams-manifest-v{version}.schema.json"
    if not path.is_file():
        known = ", ".join(sorted(file.name.split("-v")[1].removesuffix(".schema.json") for file in _schemas()))
        yield manifest.problem(
            f"manifestVersion {version!r} has no schema in ops/schemas, only {known}", "manifestVersion"
        )
        return
    if f"/v{version}/" not in str(manifest.value.get("$schema")):
        yield manifest.problem(
            f"$schema is not of manifestVersion {version}, by which the toolkit validates", "$schema"
        )
    schema = json.loads(path.read_text(encoding="utf-8"))
    for environment in environments:
        yield from manifest.with_strings(environment.fill).against(schema)


def _schemas() -> Iterator[Path]:
    return SCHEMAS.glob("teams-manifest-v*.schema.json")


def _about_the_app(root: Path, manifest: Document) -> Iterator[Problem]:
    value = manifest.value
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    if value.get("version") != project["version"]:
        yield manifest.problem(f"version must be {project['version']}, as in pyproject.toml", "version")
    for number, line in enumerate(manifest.text.splitlines(), 1):
        if guid := _GUID.search(line):
            yield Problem(
                manifest.name, number, f"{guid[0]} is of one environment; use a variable such as ${{{{BOT_ID}}}}"
            )
    for key in ("websiteUrl", "privacyUrl", "termsOfUseUrl"):
        url = _at(value, "developer", key)
        if isinstance(url, str) and not url.startswith(("https://", "${{")):
            yield manifest.problem(f"developer.{key} must begin with https://", "developer", key)
    domains = _at(value, "validDomains") or []
    for index, domain in enumerate(domains):
        if "/" in str(domain) or str(domain).startswith(("*", "${{BOT_ENDPOINT")):
            yield manifest.problem(
                f"validDomains: {domain!r} must be a host name, whole and without https://", "validDomains", index
            )
    if "${{BOT_DOMAIN}}" not in domains:
        yield manifest.problem("validDomains: ${{BOT_DOMAIN}}, where the bot runs, is not among them", "validDomains")


def _about_the_bot(root: Path, manifest: Document) -> Iterator[Problem]:
    ids = [
        (("id",), "${{TEAMS_APP_ID}}"),
        (("bots", 0, "botId"), "${{BOT_ID}}"),
        (("copilotAgents", "customEngineAgents", 0, "id"), "${{BOT_ID}}"),
        (("webApplicationInfo", "resource"), "api://botid-${{BOT_ID}}"),
    ]
    for keys, wanted in ids:
        if _at(manifest.value, *keys) != wanted:
            yield manifest.problem(f"{'.'.join(map(str, keys))} must be {wanted}", *keys)
    if _at(manifest.value, "authorization", "permissions", "resourceSpecific"):
        # https://github.com/MicrosoftDocs/msteams-docs/issues/14285
        sentence = "resource-specific permissions want an app registration; with a managed identity installing fails"
        yield manifest.problem(sentence, "authorization")
    scopes = set(_at(manifest.value, "bots", 0, "scopes") or [])
    for scope in sorted({"personal", "team", "groupChat", "copilot"} - scopes):
        yield manifest.problem(f"bots.0.scopes: {scope} is missing", "bots", 0, "scopes")
    yield from _about_commands(root, manifest, scopes)


def _about_commands(root: Path, manifest: Document, scopes: set[str]) -> Iterator[Problem]:
    known = set(re.findall(r'case "(/\w+)"', _text(root / _COMMANDS)))
    lists = _at(manifest.value, "bots", 0, "commandLists") or []
    covered: set[str] = set()
    for index, commands in enumerate(lists):
        where = ("bots", 0, "commandLists", index)
        for scope in commands.get("scopes", []):
            if scope not in scopes:
                yield manifest.problem(f"commandLists: {scope} is no scope of the bot", *where, "scopes")
            if scope in covered:
                yield manifest.problem(f"commandLists: {scope} has two lists; Teams shows one", *where, "scopes")
            covered.add(scope)
        titles: set[str] = set()
        for number, command in enumerate(commands.get("commands", [])):
            yield from _about_command(manifest, (*where, "commands", number), command, known, titles)
        for title in sorted(known - titles):
            sentence = f"{title!r}, which {_COMMANDS} understands, is not in this list"
            yield manifest.problem(f"commandLists: {sentence}", *where, "commands")
    for scope in sorted(scopes - covered):
        yield manifest.problem(f"commandLists: none is for {scope}", "bots", 0, "commandLists")


def _about_command(
    manifest: Document, where: tuple[str | int, ...], command: Mapping[str, Any], known: set[str], titles: set[str]
) -> Iterator[Problem]:
    title = command.get("title", "")
    if title in titles:
        yield manifest.problem(f"{title!r} is twice in the same list", *where, "title")
    titles.add(title)
    if title.startswith("/") and title not in known:
        yield manifest.problem(
            f"{title!r} is no command of the agent; {_COMMANDS} knows {', '.join(sorted(known))}", *where, "title"
        )
    if (command.get("type") == "prompt") != bool(command.get("prompt")):
        yield manifest.problem(f"{title!r}: a command of type prompt has a prompt, and no other does", *where)


def _at(value: Any, *keys: str | int) -> Any:  # noqa: ANN401
    for key in keys:
        try:
            value = value[key]
        except (KeyError, IndexError, TypeError):
            return None
    return value


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""
