"""infra/ as a person breaks its language: what `python dev.py check` says, with the file and the line to mend."""

from __future__ import annotations

import shutil
from datetime import date
from pathlib import Path

import pytest

from ops.check.bicep import check_bicep
from tests.fakes.pristine import delivered_parameters

ROOT = Path(__file__).resolve().parents[2]
TODAY = date(2026, 11, 1)
READ = ("infra", "app", "function_app.py", "host.json")

MAIN = "infra/azure.bicep"
APP = "infra/modules/functionApp.bicep"
STORAGE = "infra/modules/storage.bicep"
VAULT = "infra/modules/keyVault.bicep"
MONITORING = "infra/modules/monitoring.bicep"
ALERTS = "infra/modules/alerts.bicep"
BOT = "infra/botRegistration/azurebot.bicep"
PARAMETERS = "infra/azure.parameters.json"
WORKBOOK = "infra/workbook.json"
LINTER = "infra/bicepconfig.json"
ENVIRONMENT = "env/.env.dev"

Mistake = tuple[str, str, str, str, str]
"""A file, what stands there, what a person makes of it, what stands where it is to be mended, what is said of it."""


def copied(root: Path) -> Path:
    """What the checks read, in a folder of its own."""
    for name in READ:
        source, target = ROOT / name, root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    (root / "env").mkdir()
    (root / ENVIRONMENT).write_text("HOSTING_PLAN=consumption\nPYTHON_VERSION=3.12\nRESOURCE_SUFFIX=dev\n")
    delivered_parameters(root)
    return root


def change(root: Path, name: str, old: str, new: str) -> None:
    text = (root / name).read_text(encoding="utf-8")
    assert old in text, f"{name} does not say {old!r} any more"
    (root / name).write_text(text.replace(old, new, 1), encoding="utf-8")


def line_of(root: Path, name: str, marker: str) -> int:
    text = (root / name).read_text(encoding="utf-8")
    assert marker in text, f"{name} does not say {marker!r}"
    return text[: text.index(marker)].count("\n") + 1


def assert_reported(root: Path, mistake: Mistake) -> None:
    name, old, new, marker, sentence = mistake
    change(copied(root), name, old, new)

    found = [problem for problem in check_bicep(root, TODAY) if sentence in problem.sentence]

    assert found, f"nothing says: {sentence}. Only: {check_bicep(root, TODAY)}"
    if marker:
        assert (name, line_of(root, name, marker)) in {(problem.file, problem.line) for problem in found}, found


BROKEN: dict[str, Mistake] = {
    "a bracket is lost": (
        MAIN,
        "  name: 'id-${baseName}'\n  location: location\n  tags: tags\n}",
        "  name: 'id'\n",
        "",
        "",
    ),
    "two properties on one line": (
        STORAGE,
        "    accessTier: 'Hot'\n    allowBlobPublicAccess: false\n",
        "    accessTier: 'Hot' allowBlobPublicAccess: false\n",
        "accessTier: 'Hot' allow",
        "allowBlobPublicAccess: false needs a line of its own, or a comma before it",
    ),
    "a variable that is not declared": (
        MAIN,
        "name: 'id-${baseName}'",
        "name: 'id-${bseName}'",
        "name: 'id-${bseName}'",
        "bseName is not declared",
    ),
    "a function that does not exist": (
        MAIN,
        "uniqueString(",
        "uniqeString(",
        "uniqeString(",
        "Bicep has no function uniqeString",
    ),
    "a decorator that does not exist": (MAIN, "@secure()", "@secret()", "@secret()", "Bicep has no decorator @secret"),
    "a parameter that nothing uses": (
        MAIN,
        "var suffix =",
        "param left string = ''\nvar suffix =",
        "param left",
        "left is never used",
    ),
    "a variable that nothing uses": (
        APP,
        "var isFlex",
        "var leftOver = 1\nvar isFlex",
        "var leftOver",
        "leftOver is never used",
    ),
    "a variable made of itself": (
        APP,
        "var isFlex = ",
        "var isFlex = isFlex && ",
        "var isFlex",
        "isFlex is made of itself",
    ),
    "modules that wait for each other": (
        MAIN,
        "    retentionDays: logRetentionDays",
        "    retentionDays: length(storage.outputs.name)",
        "module monitoring",
        "monitoring is made of itself",
    ),
    "a parameter of a type that is none": (
        MAIN,
        "param temperature string",
        "param temperature sting",
        "param temperature",
        "Bicep has no type sting; did you mean string?",
    ),
    "an output of a type that is none": (
        MAIN,
        "output BOT_DOMAIN string",
        "output BOT_DOMAIN text",
        "output BOT_DOMAIN",
        "Bicep has no type text",
    ),
    "many of a type that is none": (
        STORAGE,
        "param queueNames string[]",
        "param queueNames sting[]",
        "param queueNames",
        "sting",
    ),
    "a key that is in its object already": (
        STORAGE,
        "    accessTier: 'Hot'\n",
        "    accessTier: 'Hot'\n    accessTier: 'Cool'\n",
        "    accessTier: 'Cool'",
        "accessTier is already in line ",
    ),
    "a key that is in its object already, in quotes": (
        STORAGE,
        "    accessTier: 'Hot'\n",
        "    accessTier: 'Hot'\n    'accessTier': 'Cool'\n",
        "    'accessTier': 'Cool'",
        "accessTier is already in line ",
    ),
    "a default that its own bounds refuse": (
        MAIN,
        "param turnTimeoutSeconds int = 300",
        "param turnTimeoutSeconds int = 3000",
        "param turnTimeoutSeconds",
        "the default of turnTimeoutSeconds cannot be: at most 540 are allowed",
    ),
    "a name declared twice": (APP, "var isFlex", "var isFlex = true\nvar isFlex", "var isFlex = hosting", "twice"),
    "a module that is not there": (
        MAIN,
        "'modules/storage.bicep'",
        "'modules/store.bicep'",
        "module storage",
        "the module modules/store.bicep does not exist",
    ),
    "a module output that is not there": (
        MAIN,
        "storage.outputs.blobEndpoint",
        "storage.outputs.blobUrl",
        "storage.outputs.blobUrl",
        "modules/storage.bicep has no output blobUrl",
    ),
    "the output of a module that is not always deployed": (
        MAIN,
        "output BOT_ID string = identity.properties.clientId",
        "output BOT_ID string = keyVault.outputs.id",
        "output BOT_ID",
        "keyVault is not always deployed, and then has no output id",
    ),
    "a module parameter that is not there": (
        MAIN,
        "    displayName: botDisplayName",
        "    title: botDisplayName\n    displayName: botDisplayName",
        "    title:",
        "botRegistration/azurebot.bicep has no parameter title",
    ),
    "a module parameter that is not given": (
        MAIN,
        "    displayName: botDisplayName\n    sku: botServiceSku\n",
        "    sku: empty(botDisplayName) ? 'F0' : botServiceSku\n",
        "params: {\n    name: 'bot-",
        "botRegistration/azurebot.bicep is not given displayName",
    ),
    "a file that is not there": (
        MONITORING,
        "'../workbook.json'",
        "'../wrkbook.json'",
        "wrkbook",
        "there is no file ../wrkbook.json",
    ),
}


def test_the_repository_has_no_problem() -> None:
    assert check_bicep(ROOT, TODAY) == []


def test_the_copy_that_the_tests_break_has_no_problem(tmp_path: Path) -> None:
    assert check_bicep(copied(tmp_path), TODAY) == []


@pytest.mark.parametrize("mistake", BROKEN)
def test_a_slip_of_the_language_is_reported_where_it_is(tmp_path: Path, mistake: str) -> None:
    assert_reported(tmp_path, BROKEN[mistake])


@pytest.mark.parametrize("name", [MAIN, PARAMETERS, WORKBOOK, LINTER, STORAGE])
def test_a_file_that_is_missing_is_named(tmp_path: Path, name: str) -> None:
    (copied(tmp_path) / name).unlink()

    assert any(name in f"{problem}" or Path(name).name in problem.sentence for problem in check_bicep(tmp_path, TODAY))
