"""`m365agents*.yml` with env/: what their schema (`python dev.py check`) does not hold."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from app.config import load_settings
from ops.parameters import PARAMETERS, placeholders_in, read_environment
from tests.ops.files.deployments import DEV_COMMANDS, ROOT, strings, template

PROJECTS = {
    file.name: YAML(typ="safe").load(file.read_text(encoding="utf-8")) for file in sorted(ROOT.glob("m365agents*.yml"))
}
LIFECYCLES = {
    "m365agents.yml": ["provision", "deploy", "publish"],
    "m365agents.local.yml": ["provision", "deploy"],
    "m365agents.playground.yml": ["deploy"],
}
ENVIRONMENTS = sorted(file for file in (ROOT / "env").glob(".env.*") if file.name.count(".") == 2)
# Each after those that it works on, where they are in the same lifecycle at all.
AFTER = {
    "teamsApp/zipAppPackage": ("teamsApp/create", "teamsApp/validateManifest"),
    "teamsApp/validateAppPackage": ("teamsApp/zipAppPackage",),
    "teamsApp/update": ("teamsApp/create", "teamsApp/zipAppPackage", "teamsApp/validateAppPackage"),
    "teamsApp/extendToM365": ("teamsApp/zipAppPackage", "teamsApp/validateAppPackage", "teamsApp/update"),
    "teamsApp/publishAppPackage": ("teamsApp/zipAppPackage", "teamsApp/validateAppPackage", "teamsApp/update"),
    "botFramework/create": ("aadApp/create",),
}
# What actions write without being told to: driver/teamsApp/create.js in @microsoft/teamsfx-core.
UNASKED = {"teamsApp/create": ["TEAMS_APP_TENANT_ID"], "teamsApp/update": ["TEAMS_APP_TENANT_ID"]}
# The toolkit stops at an empty variable but for this one; the others it asks for, or makes up.
MAY_BE_EMPTY = {"APP_NAME_SUFFIX", "TEAMSFX_ENV"}
ASKED_FOR = {"AZURE_SUBSCRIPTION_ID", "AZURE_RESOURCE_GROUP_NAME", "RESOURCE_SUFFIX"}
SECRET_NAME = re.compile(r"^SECRET_|PASSWORD|_TOKEN$|_KEY$|CLIENT_SECRET")
# A Databricks token, an Entra client secret, a storage key, a signature in a URL.
SECRET_VALUE = re.compile(r"dapi[0-9a-f]{32}|dose[0-9a-f]{32}|\b\w{3}8Q~[\w.~-]{30,}|AccountKey=|[?&]sig=")

each_project = pytest.mark.parametrize("name", PROJECTS)
each_environment = pytest.mark.parametrize("file", ENVIRONMENTS, ids=[file.name for file in ENVIRONMENTS])

Step = dict[str, Any]


def steps(name: str) -> dict[str, list[Step]]:
    return {lifecycle: PROJECTS[name].get(lifecycle, []) for lifecycle in LIFECYCLES[name]}


def variables(file: Path) -> dict[str, str]:
    """As committed; what a `.user.sample` offers behind a `#` counts as listed."""
    found: dict[str, str] = {}
    for line in read_environment(ROOT, file).splitlines():
        if line.strip() and not line.startswith("#"):
            name, equals, value = line.partition("=")
            assert equals, f"{file.name}: not a line of the form NAME=value: {line[:60]!r}"
            assert re.fullmatch(r"\w+", name), f"{file.name}: {name!r} is no name"
            assert name not in found, f"{file.name}: {name} is there twice"
            found[name] = value.partition(" #")[0].strip().strip("\"'")
    return found


def listed(file: Path) -> set[str]:
    own, devs = (file.with_name(f"{name}.user.sample") for name in (file.name, ".env.dev"))
    sample = (own if own.is_file() else devs).read_text(encoding="utf-8")
    return {*variables(file), *re.findall(r"^#? ?(SECRET_\w+)=", sample, re.MULTILINE)}


def project_of(file: Path) -> str:
    """m365agents.yml is for dev and for every environment that somebody adds."""
    own = f"m365agents.{file.name.removeprefix('.env.')}.yml"
    return own if own in PROJECTS else "m365agents.yml"


def filled_files(step: Step) -> Iterator[Path]:
    """What the toolkit fills with variables for it."""
    given = step.get("with", {})
    if "manifestPath" in given:
        yield from sorted((ROOT / given["manifestPath"]).parent.glob("*.json"))
    for each in given.get("templates", []):
        yield ROOT / each["parameters"]


def written(step: Step) -> set[str]:
    names = {*step.get("writeToEnvironmentFile", {}).values(), *UNASKED.get(step["uses"], [])}
    return names | set(template()["outputs"]) if step["uses"] == "arm/deploy" else names


def used(step: Step) -> set[str]:
    texts = [*strings(step.get("with")), *(file.read_text(encoding="utf-8") for file in filled_files(step))]
    return {name for text in texts for name in placeholders_in(text)}


def test_every_file_has_the_lifecycles_that_people_ask_it_for() -> None:
    assert list(PROJECTS) == sorted(LIFECYCLES)
    for name in PROJECTS:
        assert all(steps(name).values()), name
        assert PROJECTS[name]["environmentFolderPath"] == "./env"
    # Without one the toolkit would make it up and rewrite the file.
    assert "projectId" in PROJECTS["m365agents.yml"]


@each_project
def test_every_step_comes_after_those_that_it_works_on(name: str) -> None:
    for lifecycle in steps(name).values():
        actions = [step["uses"] for step in lifecycle]
        for index, action in enumerate(actions):
            assert [each for each in AFTER.get(action, ()) if each in actions and each not in actions[:index]] == []


@each_project
def test_a_package_is_uploaded_that_an_earlier_step_made(name: str) -> None:
    for lifecycle in steps(name).values():
        made: set[str] = set()
        for step in lifecycle:
            given = step.get("with", {})
            assert given.get("appPackagePath") in {None, *made}, step
            made |= {given["outputZipPath"]} if "outputZipPath" in given else set()


@each_project
def test_the_files_and_commands_that_a_step_names_are_there(name: str) -> None:
    for step in (step for lifecycle in steps(name).values() for step in lifecycle):
        given = step.get("with", {})
        named = [given[key] for key in ("manifestPath",) if key in given]
        named += [each[key] for each in given.get("templates", []) for key in ("path", "parameters")]
        run = given.get("run", "")
        named += re.findall(r"[\w/]+\.(?:py|cjs)", run)
        named += [f"{module.replace('.', '/')}.py" for module in re.findall(r"-m ([\w.]+)", run)]
        assert [file for file in named if not (ROOT / file).is_file()] == []
        assert set(re.findall(r"dev\.py (\w+)", run)) <= DEV_COMMANDS
        # The Function App gets the same.
        assert "dev.py package" not in run or run.endswith("dev.py package --python ${{PYTHON_VERSION}}")


@each_environment
def test_every_variable_has_a_value_when_a_step_needs_it(file: Path) -> None:
    """In the order of the steps. What provision writes, deploy and publish find in the environment file."""
    values, all_steps = variables(file), steps(project_of(file))
    ever_written = {name for lifecycle in all_steps.values() for step in lifecycle for name in written(step)}
    known: set[str] = set()
    for lifecycle in all_steps.values():
        for step in lifecycle:
            for name in used(step) - known - MAY_BE_EMPTY - ASKED_FOR:
                assert name in listed(file), f"{step['uses']}: nothing writes {name}, and {file.name} does not list it"
                assert name not in ever_written or values.get(name), f"{step['uses']} needs {name} before it is written"
            known |= written(step)
            assert set(step.get("writeToEnvironmentFile", {}).values()) <= listed(file)


@each_environment
def test_every_name_in_an_environment_is_read_or_written_by_something(file: Path) -> None:
    all_steps = [step for name in PROJECTS for lifecycle in steps(name).values() for step in lifecycle]
    known = MAY_BE_EMPTY | ASKED_FOR | {name for step in all_steps for name in written(step) | used(step)}
    programs = "".join(program.read_text(encoding="utf-8") for program in (ROOT / "ops").rglob("*.py"))
    known |= set(re.findall(r'"([A-Z][A-Z0-9_]+)"', programs))
    assert [name for name in listed(file) if name not in known and not name.startswith("SECRET_DATABRICKS_")] == []


@each_environment
def test_an_environment_holds_no_secret_and_only_values_that_can_be(file: Path) -> None:
    values = variables(file)
    assert values["TEAMSFX_ENV"] == file.name.removeprefix(".env.")
    assert [name for name, value in values.items() if value and SECRET_NAME.search(name)] == []
    assert [name for name, value in values.items() if SECRET_VALUE.search(value)] == []
    assert re.fullmatch(r"[\w.-]*", values.get("BOT_DOMAIN", "")), "BOT_DOMAIN is a host name, without https://"
    assert re.fullmatch(r"[a-z0-9]*", values.get("RESOURCE_SUFFIX", "")), "RESOURCE_SUFFIX: small letters and digits"
    settings = {name: values.get(name, "") for name in ("DATABRICKS_BASE_URL", "DATABRICKS_MODEL_NAME")}
    examples = {"DATABRICKS_BASE_URL": "https://w.example/serving-endpoints", "DATABRICKS_MODEL_NAME": "model"}
    load_settings({name: settings[name] or example for name, example in examples.items()})
    if values.get("HOSTING_PLAN") == "consumption":
        assert values["PYTHON_VERSION"] in {"3.11", "3.12"}, "Linux Consumption has no later Python"


@pytest.mark.parametrize("sample", sorted((ROOT / "env").glob("*.sample")), ids=lambda file: file.name)
def test_a_sample_of_secrets_has_none(sample: Path) -> None:
    assert [value for value in variables(sample).values() if value] == []
    assert "env/.env.*.user" in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()


def given_parameters() -> dict[str, object]:
    content = json.loads((ROOT / PARAMETERS).read_text(encoding="utf-8"))
    return {name: each["value"] for name, each in content["parameters"].items()}


def refused(parameter: Mapping[str, Any], value: object) -> str:
    """What Azure would say of it."""
    kinds = {"string": str, "securestring": str, "int": int, "bool": bool, "object": dict}
    if type(value) is not kinds[parameter["type"]]:
        return f"must be {parameter['type']}"
    if "allowedValues" in parameter and value not in parameter["allowedValues"]:
        return f"must be one of {parameter['allowedValues']}"
    size = len(value) if isinstance(value, str) else value if isinstance(value, int) else 0
    low, high = (parameter.get(f"{bound}{'Length' if isinstance(value, str) else 'Value'}") for bound in ("min", "max"))
    return f"must be from {low} to {high}" if (low or 0) > size or (high is not None and size > high) else ""


@pytest.mark.parametrize("file", [file for file in ENVIRONMENTS if project_of(file) == "m365agents.yml"])
def test_bicep_takes_the_parameters_with_the_values_of_the_environment(file: Path) -> None:
    wanted, given, values = template()["parameters"], given_parameters(), variables(file)
    assert set(given) <= set(wanted)
    assert {name for name, each in wanted.items() if "defaultValue" not in each} <= set(given)
    for name, value in given.items():
        names = placeholders_in(value) if isinstance(value, str) else []
        if wanted[name]["type"] == "securestring":
            assert names, f"{name} is a secret: its value is a ${{{{SECRET_...}}}} variable"
            assert all(each.startswith("SECRET_") for each in names), name
        assert not names or wanted[name]["type"] in {"string", "securestring"}, f"{name}: a variable is always text"
        filled = values.get(names[0], "") if names else value
        # What is empty here may be set elsewhere.
        assert filled == "" or not (why := refused(wanted[name], filled)), f"{name} is {filled!r}, and {why}"


def test_a_credential_is_given_what_it_needs_and_nothing_that_it_ignores() -> None:
    given = given_parameters()
    credential = given.get("databricksCredential", template()["parameters"]["databricksCredential"]["defaultValue"])
    needs = {
        "managed-identity": set[str](),
        "service-principal": {"databricksClientId", "databricksClientSecret"},
        "token": {"databricksToken"},
    }
    if credential in needs:
        assert {
            name for name in set().union(*needs.values()) & set(given) if name not in needs[str(credential)]
        } == set()
        assert credential != "service-principal" or given.get("databricksClientId")


def test_a_bot_on_a_laptop_can_get_tokens_and_listens_where_the_function_does() -> None:
    by_action = {step["uses"]: step["with"] for step in steps("m365agents.local.yml")["provision"]}
    # Without one they are refused with AADSTS7000229.
    assert by_action["aadApp/create"]["generateServicePrincipal"] is True
    bot = by_action["botFramework/create"]
    assert bot["messagingEndpoint"] == "https://${{BOT_DOMAIN}}/api/messages"
    assert '@app.route("api/messages"' in (ROOT / "function_app.py").read_text(encoding="utf-8")
    assert (bot["botId"], bot["channels"]) == ("${{BOT_ID}}", [{"name": "msteams"}])


@pytest.mark.parametrize("name", ["m365agents.local.yml", "m365agents.playground.yml"])
def test_the_settings_that_the_toolkit_writes_are_settings_and_texts(name: str) -> None:
    sample = json.loads((ROOT / "local.settings.sample.json").read_text(encoding="utf-8"))["Values"]
    written_values = steps(name)["deploy"][0]["with"]["content"]["Values"]
    assert set(written_values) <= set(sample)
    assert all(isinstance(value, str) for value in written_values.values())


def test_what_is_not_deployed_is_the_same_for_the_toolkit() -> None:
    patterns = [
        {line for line in (ROOT / name).read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")}
        for name in (".funcignore", ".webappignore")
    ]
    assert patterns[0] == patterns[1]


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no Node.js")
def test_steps_find_python_by_whatever_name_it_has() -> None:
    node = shutil.which("node")
    assert node
    command = [node, str(ROOT / "ops/python.cjs"), "-c", "import sys; sys.exit(7)"]
    found = subprocess.run(command, env={"PATH": "", "PYTHON": sys.executable}, capture_output=True, text=True)
    assert found.returncode == 7, found.stderr
    missing = subprocess.run(command, env={"PATH": ""}, capture_output=True, text=True)
    assert missing.returncode == 1
    assert "Python 3.11 to 3.13 is needed and was not found." in missing.stderr
