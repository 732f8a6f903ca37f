"""`m365agents*.yml`: what `atk provision`, `deploy` and `publish` would stumble over, before they do anything."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

from ops.check.document import Document, UnreadableDocumentError
from ops.check.environment import malformed_placeholders
from ops.check.lifecycle import Step, steps
from ops.check.problem import Problem
from ops.check.workflow_scripts import DEV_COMMAND, dev_commands, text_of

SCHEMAS = Path(__file__).resolve().parents[1] / "schemas"
# What a person may ask of each file.
LIFECYCLES = {
    "m365agents.yml": ("provision", "deploy", "publish"),
    "m365agents.local.yml": ("provision", "deploy"),
    "m365agents.playground.yml": ("deploy",),
}
FILES = tuple(LIFECYCLES)
_SETTINGS_SAMPLE = "local.settings.sample.json"
_PATH_KEYS = ("manifestPath", "path", "parameters", "ignoreFile", "artifactFolder", "workingDirectory")
_VARIABLE = re.compile(r"\$\{\{[^{}\n]*\}\}")
_PACKAGE = re.compile(r"\bdev\.py\s+package\b([^\n;&|]*)")
_ITS_PYTHON = re.compile(r"--python[ =]\$\{\{ *PYTHON_VERSION *\}\}(?!\S)")
_SCRIPT_FILE = re.compile(r"(?<![\w./-])[\w./-]+\.(?:py|cjs|mjs|js|sh|ps1)(?![\w.])")
# Each needs the ones after it to have run before, if they are in the same lifecycle at all.
_BEFORE = {
    "teamsApp/validateAppPackage": ("teamsApp/zipAppPackage",),
    "teamsApp/update": ("teamsApp/create", "teamsApp/zipAppPackage", "teamsApp/validateAppPackage"),
    "teamsApp/publishAppPackage": ("teamsApp/zipAppPackage", "teamsApp/validateAppPackage", "teamsApp/update"),
    "teamsApp/extendToM365": ("teamsApp/zipAppPackage", "teamsApp/validateAppPackage", "teamsApp/update"),
    "teamsApp/zipAppPackage": ("teamsApp/create", "teamsApp/validateManifest"),
    "botFramework/create": ("aadApp/create",),
}


def check_toolkit(root: Path) -> list[Problem]:
    return [*_about_ignored_files(root), *(problem for name in FILES for problem in _about_file(root, name))]


def _about_ignored_files(root: Path) -> Iterator[Problem]:
    """.webappignore is for the toolkit's zipDeploy actions what .funcignore is for everything else."""
    patterns = {}
    for name in (".funcignore", ".webappignore"):
        if not (root / name).is_file():
            yield Problem(name, 1, "this file is missing")
            return
        lines = text_of(root, name).splitlines()
        patterns[name] = {line: number for number, line in enumerate(lines, 1) if line and not line.startswith("#")}
    missing = patterns[".funcignore"].keys() - patterns[".webappignore"].keys()
    for pattern in missing:
        yield Problem(".webappignore", 1, f"{pattern} is in .funcignore and not here")
    for pattern in patterns[".webappignore"].keys() - patterns[".funcignore"].keys():
        yield Problem(".webappignore", patterns[".webappignore"][pattern], f"{pattern} is not in .funcignore")


def _about_file(root: Path, name: str) -> Iterator[Problem]:
    try:
        document = Document.read(root, name)
    except UnreadableDocumentError as unreadable:
        yield unreadable.problem
        return
    yield from malformed_placeholders(document)
    wrong = objections(document)
    yield from wrong
    if wrong:
        return
    if document.value.get("environmentFolderPath") != "./env":
        yield document.problem("environmentFolderPath must be ./env", "environmentFolderPath")
    if name == FILES[0] and "projectId" not in document.value:
        yield document.problem("projectId is missing: the toolkit would make one up and rewrite this file")
    for lifecycle, in_order in steps(document).items():
        yield from _in_order(document, lifecycle, in_order)
        for index, step in enumerate(in_order):
            yield from _about_paths(root, document, step)
            yield from _about_commands(root, document, step)
            yield from _about_packages(document, step, in_order[:index])
            yield from _about_azure(document, step)
            yield from _about_the_bot(root, document, step)
            yield from _about_settings(root, document, step)


def objections(document: Document) -> list[Problem]:
    """Why nothing else can be said of the file: it is not what the toolkit's schema asks for, or has no steps."""
    if not isinstance(document.value, dict):
        return [document.problem("this file has no lifecycles")]
    version = document.value.get("version")
    schema = SCHEMAS / f"m365agents-yml-{version}.schema.json"
    if not schema.is_file():
        return [document.problem(f"version {version!r} has no schema in ops/schemas", "version")]
    return document.against(json.loads(schema.read_text(encoding="utf-8"))) or [
        document.problem(f"{lifecycle} has no steps", lifecycle)
        for lifecycle in LIFECYCLES[document.name]
        if not document.value.get(lifecycle)
    ]


def _in_order(document: Document, lifecycle: str, in_order: list[Step]) -> Iterator[Problem]:
    actions = [step.action for step in in_order]
    for index, step in enumerate(in_order):
        for earlier in _BEFORE.get(step.action, ()):
            if earlier in actions[index + 1 :] and earlier not in actions[:index]:
                sentence = f"{lifecycle}: {earlier} must come before {step.action}"
                yield document.problem(sentence, *step.where, "uses")


def _about_paths(root: Path, document: Document, step: Step) -> Iterator[Problem]:
    for keys, value in step.strings():
        named = [value] if keys[-1] in _PATH_KEYS and "${{" not in value else []
        if step.action == "script" and keys[-1] == "run":
            named = _SCRIPT_FILE.findall(_without_variables(value))
        for path in named:
            if not (root / path).exists():
                yield document.problem(f"{path} does not exist", *step.where, *keys)


def _about_commands(root: Path, document: Document, step: Step) -> Iterator[Problem]:
    script = step.inputs.get("run") if step.action == "script" else None
    if not isinstance(script, str):
        return
    where = (*step.where, "with", "run")
    for command in DEV_COMMAND.findall(script):
        if command not in dev_commands(root):
            yield document.problem(f"dev.py has no command {command}", *where)
    for options in _PACKAGE.findall(script):
        if not _ITS_PYTHON.search(options):
            sentence = "dev.py package needs --python ${{PYTHON_VERSION}}, which the Function App gets too"
            yield document.problem(sentence, *where)


def _about_packages(document: Document, step: Step, earlier: list[Step]) -> Iterator[Problem]:
    wanted = step.inputs.get("appPackagePath")
    zipped = [other.inputs.get("outputZipPath") for other in earlier if other.action == "teamsApp/zipAppPackage"]
    if wanted is not None and wanted not in zipped:
        sentence = f"appPackagePath: {wanted} is not what an earlier teamsApp/zipAppPackage makes"
        yield document.problem(sentence, *step.where, "with", "appPackagePath")


def _about_azure(document: Document, step: Step) -> Iterator[Problem]:
    version = step.inputs.get("bicepCliVersion", "v0.0.0") if step.action == "arm/deploy" else "v0.0.0"
    if not re.fullmatch(r"v\d+\.\d+\.\d+", version):
        sentence = f"bicepCliVersion must be a release of Bicep, such as v0.49.2, not {version!r}"
        yield document.problem(sentence, *step.where, "with", "bicepCliVersion")


def _about_the_bot(root: Path, document: Document, step: Step) -> Iterator[Problem]:
    if step.action == "aadApp/create" and step.inputs.get("generateServicePrincipal") is not True:
        sentence = "generateServicePrincipal must be true: without it tokens are refused with AADSTS7000229"
        yield document.problem(sentence, *step.where, "with", "generateServicePrincipal")
    if step.action != "botFramework/create":
        return
    routes = re.findall(r'@app\.route\("([^"]+)"', text_of(root, "function_app.py"))
    wanted = f"https://${{{{BOT_DOMAIN}}}}/{next((route for route in routes if 'messages' in route), 'api/messages')}"
    if step.inputs["messagingEndpoint"] != wanted:
        sentence = f"messagingEndpoint must be {wanted}, where function_app.py listens"
        yield document.problem(sentence, *step.where, "with", "messagingEndpoint")
    if step.inputs["botId"] != "${{BOT_ID}}":
        yield document.problem("botId must be ${{BOT_ID}}, as in the manifest", *step.where, "with", "botId")
    if {"name": "msteams"} not in step.inputs.get("channels", []):
        yield document.problem("channels: msteams is missing", *step.where, "with", "channels")


def _about_settings(root: Path, document: Document, step: Step) -> Iterator[Problem]:
    if step.action != "file/createOrUpdateJsonFile" or "local.settings" not in step.inputs["target"]:
        return
    where = (*step.where, "with", "content", "Values")
    try:
        known = Document.read(root, _SETTINGS_SAMPLE).value["Values"]
    except UnreadableDocumentError as unreadable:
        yield unreadable.problem
        return
    values = (step.inputs.get("content") or {}).get("Values")
    if not isinstance(values, dict):
        yield document.problem("content.Values has no settings", *where)
        return
    for name, value in values.items():
        if name not in known:
            yield document.problem(f"{name} is no setting; {_SETTINGS_SAMPLE} lists them", *where, name)
        elif not isinstance(value, str):
            yield document.problem(f"{name} must be a text, not {value!r}", *where, name)


def _without_variables(value: str) -> str:
    """The words of `value` that hold no `${{VARIABLE}}`."""
    return " ".join(word for word in _VARIABLE.sub("\0", value).split() if "\0" not in word)
