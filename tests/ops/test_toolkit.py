"""m365agents*.yml and env/: each broken in the ways that they break in real life."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ops.check.problem import Problem
from ops.check.toolkit import check_toolkit
from ops.check.variables import check_variables
from tests.fakes.pristine import as_delivered

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
FOLDERS = ("appPackage", "env", "infra", "ops")
FILES = (
    "m365agents.yml", "m365agents.local.yml", "m365agents.playground.yml", ".gitignore", ".funcignore", ".webappignore",
    "function_app.py", "dev.py", "local.settings.sample.json",
)  # fmt: skip


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """What the checks read, without what a developer has of their own."""
    own = shutil.ignore_patterns("build", "*.user", "__pycache__", "check", "schemas")
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=own)
    for file in FILES:
        shutil.copy(ROOT / file, tmp_path / file)
    return as_delivered(tmp_path)


def replace(root: Path, name: str, old: str, new: str) -> int:
    """Returns the line of the change."""
    path = root / name
    text = path.read_text(encoding="utf-8")
    assert old in text, f"{name} has changed: there is no {old!r} in it"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return text[: text.index(old)].count("\n") + 1


def problems(root: Path) -> list[Problem]:
    return [*check_toolkit(root), *check_variables(root)]


def only(root: Path) -> str:
    found = problems(root)
    assert len(found) == 1, "\n".join(map(str, found))
    return str(found[0])


def test_the_files_of_this_repository_have_no_problem() -> None:
    assert [str(problem) for problem in problems(ROOT)] == []


def test_a_copy_of_what_the_checks_read_has_no_problem_either(copy: Path) -> None:
    assert [str(problem) for problem in problems(copy)] == []


def test_a_misspelt_action_is_named_with_what_was_meant(copy: Path) -> None:
    line = replace(copy, "m365agents.yml", "uses: teamsApp/zipAppPackage", "uses: teamsApp/zipAppPackages")
    assert only(copy) == (
        f"m365agents.yml:{line}: provision.4.uses: 'teamsApp/zipAppPackages' is not known; "
        "did you mean 'teamsApp/zipAppPackage'?"
    )


def test_an_action_that_is_nothing_like_any_is_named(copy: Path) -> None:
    line = replace(copy, "m365agents.local.yml", "uses: botFramework/create", "uses: foo/bar")
    assert only(copy) == f"m365agents.local.yml:{line}: provision.2.uses: 'foo/bar' is not known"


def test_a_misspelt_parameter_of_an_action_is_named(copy: Path) -> None:
    line = replace(copy, "m365agents.local.yml", "generateClientSecret: true", "generateClientSecrets: true")
    problem = only(copy)
    assert problem.startswith(f"m365agents.local.yml:{line - 2}: provision.1.with: ")
    assert "generateClientSecret" in problem


def test_a_secret_is_only_written_under_a_name_that_is_masked(copy: Path) -> None:
    line = replace(copy, "m365agents.local.yml", "clientSecret: SECRET_BOT_PASSWORD", "clientSecret: BOT_PASSWORD")
    where = f"m365agents.local.yml:{line}: provision.1.writeToEnvironmentFile.clientSecret: "
    assert any(str(problem).startswith(where) for problem in problems(copy))


def test_yaml_that_is_none_says_where_it_stops(copy: Path) -> None:
    replace(copy, "m365agents.playground.yml", "deploy:", "deploy: [")
    assert {problem.file for problem in problems(copy)} == {"m365agents.playground.yml"}
    assert all("not valid YAML" in problem.sentence for problem in problems(copy))


def test_a_file_that_a_step_reads_and_that_is_not_there_is_named(copy: Path) -> None:
    (copy / "infra/azure.parameters.json").rename(copy / "infra/parameters.json")
    line = replace(copy, "m365agents.yml", "parameters: ./infra", "parameters: ./infra")
    assert f"m365agents.yml:{line}: ./infra/azure.parameters.json does not exist" in map(str, problems(copy))


def test_a_script_that_is_not_there_is_named(copy: Path) -> None:
    line = replace(copy, "m365agents.yml", "dev.py deploy", "tools/deploy.py deploy")
    assert only(copy) == f"m365agents.yml:{line}: tools/deploy.py does not exist"


def test_the_program_that_finds_python_is_looked_for_beside_a_variable_too(copy: Path) -> None:
    line = replace(copy, "m365agents.yml", "ops/python.cjs dev.py package", "ops/pyton.cjs dev.py package")
    assert only(copy) == f"m365agents.yml:{line}: ops/pyton.cjs does not exist"


@pytest.mark.parametrize(("old", "new"), [("dev.py deploy", "deply"), ("dev.py package", "pack")])
def test_a_command_that_dev_py_does_not_have_is_named(copy: Path, old: str, new: str) -> None:
    line = replace(copy, "m365agents.yml", old, f"dev.py {new}")
    assert only(copy) == f"m365agents.yml:{line}: dev.py has no command {new}"


@pytest.mark.parametrize(
    "python", ["--python 3.13", "", "--python ${{PYTHON}}", "--python ${{PYTHON_VERSION}}.1", "&& echo --python 3.12"]
)
def test_the_package_is_for_the_python_that_the_function_app_gets(copy: Path, python: str) -> None:
    line = replace(copy, "m365agents.yml", "--python ${{PYTHON_VERSION}}", python)
    sentence = "dev.py package needs --python ${{PYTHON_VERSION}}, which the Function App gets too"
    assert f"m365agents.yml:{line}: {sentence}" in map(str, problems(copy))


def test_a_missing_file_of_the_toolkit_is_named(copy: Path) -> None:
    (copy / "m365agents.local.yml").unlink()
    assert "m365agents.local.yml:1: this file is missing" in map(str, problems(copy))


def test_a_misspelt_variable_in_a_step_is_named_with_what_was_meant(copy: Path) -> None:
    line = replace(copy, "m365agents.local.yml", "${{BOT_TENANT_ID}}", "${{BOT_TENNANT_ID}}")
    assert only(copy) == (
        f"m365agents.local.yml:{line}: no step of m365agents.local.yml writes BOT_TENNANT_ID, "
        "and env/.env.local does not list it; did you mean BOT_TENANT_ID?"
    )


def test_a_misspelt_variable_in_the_manifest_is_named_in_the_manifest(copy: Path) -> None:
    line = replace(copy, "appPackage/manifest.json", "${{DEVELOPER_NAME}}", "${{DEVELOPERS_NAME}}")
    found = [str(problem) for problem in problems(copy) if problem.file == "appPackage/manifest.json"]
    assert found == [
        f"appPackage/manifest.json:{line}: no step of {file} writes DEVELOPERS_NAME, "
        f"and {environment} does not list it; did you mean DEVELOPER_NAME?"
        for file, environment in [("m365agents.local.yml", "env/.env.local"), ("m365agents.yml", "env/.env.dev")]
    ]


def test_a_misspelt_variable_in_a_translation_is_named_there(copy: Path) -> None:
    line = replace(copy, "appPackage/fr.json", "${{APP_NAME_SUFFIX}}", "${{APP_NAME_SUFIX}}")
    assert any(str(problem).startswith(f"appPackage/fr.json:{line}: ") for problem in problems(copy))


def test_a_variable_of_the_parameters_that_nothing_gives_is_named_there(copy: Path) -> None:
    line = replace(copy, "infra/azure.parameters.json", "${{HOSTING_PLAN}}", "${{PLAN}}")
    assert f"infra/azure.parameters.json:{line}: no step of m365agents.yml writes PLAN" in "\n".join(
        map(str, problems(copy))
    )


def test_a_placeholder_that_the_toolkit_would_not_fill_is_named(copy: Path) -> None:
    line = replace(copy, "m365agents.local.yml", "https://${{BOT_DOMAIN}}/", "https://${BOT_DOMAIN}/")
    sentence = "'${BOT_DOMAIN}' is not of the form ${{NAME}}, so nothing is put in its place"
    assert f"m365agents.local.yml:{line}: {sentence}" in map(str, problems(copy))


def test_a_variable_of_an_environment_that_lost_it_is_named(copy: Path) -> None:
    replace(copy, "env/.env.local", "DEVELOPER_NAME=", "# DEVELOPER_NAME=")
    assert "writes DEVELOPER_NAME, and env/.env.local does not list it" in only(copy)


def test_an_output_that_bicep_no_longer_has_is_missed_where_it_is_used(copy: Path) -> None:
    replace(copy, "infra/azure.bicep", "output BOT_DOMAIN ", "output BOT_HOST ")
    replace(copy, "env/.env.dev", "BOT_DOMAIN=", "BOT_HOST=")
    sentences = [str(problem) for problem in problems(copy)]
    assert any(sentence.startswith("appPackage/manifest.json:") and "BOT_DOMAIN" in sentence for sentence in sentences)


def test_a_step_that_runs_before_its_variable_is_written_is_named(copy: Path) -> None:
    text = (copy / "m365agents.local.yml").read_text(encoding="utf-8")
    begin, end = text.index("  - uses: botFramework/create"), text.index("  - uses: teamsApp/validateManifest")
    step = text[begin:end]
    moved = text.replace(step, "").replace("  # A managed identity exists", f"{step}  # A managed identity exists")
    (copy / "m365agents.local.yml").write_text(moved, encoding="utf-8")
    sentences = [problem.sentence for problem in problems(copy)]
    assert "provision: aadApp/create must come before botFramework/create" in sentences
    assert "BOT_ID is not written yet when botFramework/create needs it (m365agents.local.yml)" in sentences


def test_a_package_is_zipped_before_it_is_validated(copy: Path) -> None:
    text = (copy / "m365agents.yml").read_text(encoding="utf-8")
    begin = text.index("  - uses: teamsApp/zipAppPackage")
    end = text.index("  - uses: teamsApp/validateAppPackage")
    last = text.index("  # Gives the person who provisions")
    swapped = text[:begin] + text[end:last] + text[begin:end] + text[last:]
    (copy / "m365agents.yml").write_text(swapped, encoding="utf-8")
    sentences = [problem.sentence for problem in problems(copy)]
    assert "provision: teamsApp/zipAppPackage must come before teamsApp/validateAppPackage" in sentences
    assert "provision: teamsApp/zipAppPackage must come before teamsApp/update" in sentences


def test_a_package_that_no_step_makes_is_not_uploaded(copy: Path) -> None:
    old = "appPackagePath: ./appPackage/build/appPackage.${{TEAMSFX_ENV}}.zip"
    line = replace(copy, "m365agents.yml", old, "appPackagePath: ./build/appPackage.zip")
    sentence = "appPackagePath: ./build/appPackage.zip is not what an earlier teamsApp/zipAppPackage makes"
    assert only(copy) == f"m365agents.yml:{line}: {sentence}"


def test_the_bot_is_registered_where_the_function_listens(copy: Path) -> None:
    line = replace(copy, "m365agents.local.yml", "/api/messages", "/api/message")
    assert only(copy) == (
        f"m365agents.local.yml:{line}: messagingEndpoint must be https://${{{{BOT_DOMAIN}}}}/api/messages, "
        "where function_app.py listens"
    )


def test_a_registration_without_a_service_principal_is_refused(copy: Path) -> None:
    replace(copy, "m365agents.local.yml", "      generateServicePrincipal: true\n", "")
    assert "AADSTS7000229" in only(copy)


def test_a_setting_that_the_app_does_not_have_is_not_written(copy: Path) -> None:
    line = replace(copy, "m365agents.local.yml", "MicrosoftAppTenantId:", "MicrosoftAppTenant:")
    assert only(copy) == (
        f"m365agents.local.yml:{line}: MicrosoftAppTenant is no setting; local.settings.sample.json lists them"
    )


@pytest.mark.parametrize(
    ("file", "old", "new", "sentence"),
    [
        ("m365agents.yml", "bicepCliVersion: v0.49.2", "bicepCliVersion: latest", "bicepCliVersion must be a release"),
        ("m365agents.yml", "environmentFolderPath: ./env", "environmentFolderPath: ./envs", "must be ./env"),
        ("m365agents.yml", "version: v1.11", "version: v2.0", "version 'v2.0' has no schema in ops/schemas"),
        ("m365agents.yml", "projectId: ", "# projectId: ", "projectId is missing"),
        ("m365agents.yml", "publish:", "share:", "publish has no steps"),
        ("m365agents.local.yml", "botId: ${{BOT_ID}}", "botId: ${{TEAMS_APP_ID}}", "botId must be ${{BOT_ID}}"),
        ("m365agents.local.yml", "channels:\n        - name: msteams", "channels: []", "channels: msteams is missing"),
        (
            "m365agents.playground.yml",
            'MicrosoftAppId: ""',
            "MicrosoftAppId:",
            "MicrosoftAppId must be a text, not None",
        ),
    ],
)
def test_what_the_schema_allows_and_these_files_must_not_say(
    copy: Path, file: str, old: str, new: str, sentence: str
) -> None:
    replace(copy, file, old, new)
    assert any(problem.file == file and sentence in problem.sentence for problem in problems(copy)), "\n".join(
        map(str, problems(copy))
    )


@pytest.mark.parametrize(
    "secret", ["SECRET_DATABRICKS_TOKEN=anything", "NOTE=dapi" + "0123456789abcdef" * 2, "BOT_PASSWORD=anything"]
)
def test_a_secret_in_a_committed_file_is_refused(copy: Path, secret: str) -> None:
    line = replace(copy, "env/.env.dev", "# Written by publish.", f"{secret}\n# Written by publish.")
    name = secret.partition("=")[0]
    sentence = f"{name} is a secret in a file that is committed; it belongs in env/.env.dev.user"
    assert f"env/.env.dev:{line}: {sentence}" in map(str, problems(copy))
    assert "anything" not in "".join(map(str, problems(copy)))


def test_a_secret_in_a_sample_is_refused(copy: Path) -> None:
    line = replace(copy, "env/.env.local.user.sample", "SECRET_BOT_PASSWORD=", "SECRET_BOT_PASSWORD=anything")
    assert only(copy).startswith(f"env/.env.local.user.sample:{line}: SECRET_BOT_PASSWORD is a secret")


def with_a_token(root: Path, variable: str) -> int:
    """As env/.env.dev.user.sample tells it."""
    name = "infra/azure.parameters.json"
    more = '"databricksCredential": {"value": "token"},\n    "databricksToken": {"value": "${{VARIABLE}}"},\n    '
    before = '"databricksModelName"'
    return replace(root, name, before, more.replace("VARIABLE", variable) + before) + 1


def test_a_secret_that_a_sample_offers_behind_a_comment_can_be_used(copy: Path) -> None:
    with_a_token(copy, "SECRET_DATABRICKS_TOKEN")
    (copy / "env/.env.dev.user").write_text("SECRET_DATABRICKS_TOKEN=a secret\n", encoding="utf-8")
    assert problems(copy) == []


def test_a_secret_that_no_sample_offers_is_named_with_the_sample_to_list_it_in(copy: Path) -> None:
    line = with_a_token(copy, "SECRET_DATABRICKS_TOKN")
    sentence = "no step of m365agents.yml writes SECRET_DATABRICKS_TOKN, and env/.env.dev.user.sample does not list it"
    assert only(copy) == f"infra/azure.parameters.json:{line}: {sentence}; did you mean SECRET_DATABRICKS_TOKEN?"


def test_what_is_commented_out_of_an_environment_is_not_offered(copy: Path) -> None:
    with_a_token(copy, "SECRET_DATABRICKS_TOKEN")
    (copy / "env/.env.dev.user.sample").unlink()
    with (copy / "env/.env.dev").open("a", encoding="utf-8") as environment:
        environment.write("# SECRET_DATABRICKS_TOKEN=\n")
    assert "writes SECRET_DATABRICKS_TOKEN, and env/.env.dev.user.sample does not list it" in only(copy)


def test_files_with_secrets_must_stay_ignored_by_git(copy: Path) -> None:
    replace(copy, ".gitignore", "env/.env.*.user\n", "")
    assert only(copy).startswith(".gitignore:1: ")


def test_a_name_in_an_environment_that_nothing_reads_is_a_misspelling(copy: Path) -> None:
    line = replace(copy, "env/.env.dev", "HOSTING_PLAN=", "HOSTNG_PLAN=")
    assert f"env/.env.dev:{line}: nothing reads or writes HOSTNG_PLAN; did you mean HOSTING_PLAN?" in map(
        str, problems(copy)
    )


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("HOSTING_PLAN=consumption", "HOSTING_PLAN=premium", "HOSTING_PLAN must be consumption or flex, not 'premium'"),
        ("PYTHON_VERSION=3.12", "PYTHON_VERSION=3.13", "PYTHON_VERSION: Linux Consumption has no Python 3.13"),
        ("PYTHON_VERSION=3.12", "PYTHON_VERSION=3.10", "PYTHON_VERSION must be 3.11, 3.12 or 3.13, not '3.10'"),
        ("RESOURCE_SUFFIX=", "RESOURCE_SUFFIX=My-Agent", "RESOURCE_SUFFIX must be 3 to 12 small letters and digits"),
        ("TEAMSFX_ENV=dev", "TEAMSFX_ENV=prod", "TEAMSFX_ENV must be dev"),
        ("BOT_DOMAIN=", "BOT_DOMAIN=https://x.example", "BOT_DOMAIN must be a host name, without https://"),
        ("HEALTH_URL=", "HEALTH_URL=\nHEALTH_URL=", "HEALTH_URL is already in line "),
        ("HEALTH_URL=", "HEALTH_URL", "not a line of the form NAME=value: 'HEALTH_URL'"),
    ],
)
def test_a_value_that_cannot_be_is_named_with_its_line(copy: Path, old: str, new: str, sentence: str) -> None:
    line = replace(copy, "env/.env.dev", old, new) + new.count("\n")
    assert any(str(problem).startswith(f"env/.env.dev:{line}: {sentence}") for problem in problems(copy)), "\n".join(
        map(str, problems(copy))
    )


def test_python_3_13_is_fine_on_flex_consumption(copy: Path) -> None:
    replace(copy, "env/.env.dev", "HOSTING_PLAN=consumption", "HOSTING_PLAN=flex")
    replace(copy, "env/.env.dev", "PYTHON_VERSION=3.12", "PYTHON_VERSION=3.13  # the newest")
    assert problems(copy) == []


def test_an_environment_of_ones_own_is_checked_like_dev(copy: Path) -> None:
    text = (copy / "env/.env.dev").read_text(encoding="utf-8").replace("TEAMSFX_ENV=dev", "TEAMSFX_ENV=prod")
    (copy / "env/.env.prod").write_text(
        text.replace("HOSTING_PLAN=consumption", 'HOSTING_PLAN="flex"'), encoding="utf-8"
    )
    assert problems(copy) == []
    replace(copy, "env/.env.prod", "PYTHON_VERSION=3.12\n", "")
    sentences = set(map(str, problems(copy)))
    assert any("writes PYTHON_VERSION, and env/.env.prod does not list it" in sentence for sentence in sentences)


def test_what_is_not_deployed_is_the_same_for_the_toolkit(copy: Path) -> None:
    replace(copy, ".funcignore", "tests/\n", "tests/\nnotebooks/\n")
    assert only(copy) == ".webappignore:1: notebooks/ is in .funcignore and not here"


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
