"""The workflows of GitHub Actions, and the check that reads them."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from ops.check.workflows import check_workflows
from tests.fakes.pristine import as_delivered

ROOT = Path(__file__).resolve().parents[2]
PULL_REQUEST = ".github/workflows/pull-request.yml"
DEPLOY = ".github/workflows/deploy.yml"
CHECKOUT = "actions/checkout@de0fac2e4500dabe0009e67214ff5f5447ce83dd # v6.0.2"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """What the check reads, to be broken."""
    for folder in (".ci", ".github", "docs", "env", "infra", "ops"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__", "node_modules"))
    for file in (".gitignore", "dev.py", "m365agents.yml", "pyproject.toml", "requirements-dev.txt"):
        shutil.copy(ROOT / file, tmp_path)
    (tmp_path / "app/local").mkdir(parents=True)
    for lock in (ROOT / "app/local").glob("requirements*.txt"):
        shutil.copy(lock, tmp_path / "app/local")
    return as_delivered(tmp_path)


def check(root: Path) -> list[str]:
    return [str(problem) for problem in check_workflows(root)]


def test_the_repositorys_own_workflows_have_no_problem() -> None:
    assert check(ROOT) == []


@dataclass(frozen=True)
class Mistake:
    """`before` becomes `after` in `file`; the problem is reported at `at`, or where the change begins."""

    before: str
    after: str
    sentence: str
    at: str = ""
    file: str = PULL_REQUEST


MISTAKES = {
    "an action by its tag": Mistake(
        CHECKOUT, "actions/checkout@v6", "actions/checkout@v6 can change under us: pin actions/checkout to the 40 hex"
    ),
    "a pin without its version": Mistake(
        " # v6.0.2", "", "actions/checkout is pinned without its version in a comment"
    ),
    "an action at two commits": Mistake(
        CHECKOUT,
        f"actions/checkout@{'0' * 40} # v6.0.2",
        "actions/checkout is pinned here to another commit or version than elsewhere",
    ),
    "no time limit": Mistake(
        "    timeout-minutes: 15\n", "", "the job check has no timeout-minutes, so that a hung step", at="  check:"
    ),
    "an unknown key": Mistake("    timeout-minutes: 15", "    timeout-minute: 15", "timeout-minute", at="  check:"),
    "no concurrency group": Mistake(
        "concurrency:\n  group: pull-request-${{ github.event.pull_request.number || github.run_id }}\n"
        "  cancel-in-progress: true\n",
        "",
        "no concurrency group",
        at="jobs:",
    ),
    "every permission": Mistake(
        "    permissions:\n      contents: read",
        "    permissions: write-all",
        "write-all grants more than check needs: name each permission",
    ),
    "a pull request that may write": Mistake(
        "      contents: read",
        "      contents: write",
        "contents: write, in a workflow that runs what a pull request brings",
    ),
    "a deployment that nobody is asked about": Mistake(
        "    environment: ${{ inputs.environment || 'dev' }}\n",
        "",
        "id-token: write without an environment: nobody is asked before deploy runs",
        at="id-token: write",
        file=DEPLOY,
    ),
    "a deployment that cannot sign in": Mistake(
        "      id-token: write\n",
        "",
        "azure/login cannot sign in: the job deploy has no id-token: write",
        at="azure/login@",
        file=DEPLOY,
    ),
    "a deployment that may not say who it is": Mistake(
        "      id-token: write\n",
        "      id-token: none\n",
        "azure/login cannot sign in: the job deploy has no id-token: write",
        at="azure/login@",
        file=DEPLOY,
    ),
    "a token left on disk": Mistake(
        "          persist-credentials: false", "          fetch-depth: 1", "checkout leaves the token", at=CHECKOUT
    ),
    "a stranger's code with our rights": Mistake(
        "  pull_request:\n", "  pull_request_target:\n", "pull_request_target runs with the repository's rights"
    ),
    "a stored secret": Mistake(
        "client-id: ${{ vars.AZURE_CLIENT_ID }}",
        "creds: ${{ secrets.AZURE_CREDENTIALS }}",
        "secrets.AZURE_CREDENTIALS: store no secret, sign in with OpenID Connect",
        file=DEPLOY,
    ),
    "every secret handed over": Mistake(
        "    uses: ./.github/workflows/pull-request.yml",
        "    secrets: inherit\n    uses: ./.github/workflows/pull-request.yml",
        "secrets: inherit hands over every secret",
        file=DEPLOY,
    ),
    "a workflow that is not there": Mistake(
        "uses: ./.github/workflows/pull-request.yml",
        "uses: ./.github/workflows/checks.yml",
        "./.github/workflows/checks.yml does not exist",
        file=DEPLOY,
    ),
    "an unknown command": Mistake(
        "run: python dev.py check", "run: python dev.py chekc", "dev.py has no command chekc"
    ),
    "an unknown module": Mistake(
        "run: python -m ops.provision", "run: python -m ops.provison", "there is no module ops.provison", file=DEPLOY
    ),
    "a cache of nothing": Mistake(
        "cache-dependency-path: requirements-dev.txt",
        "cache-dependency-path: requirements-test.txt",
        "requirements-test.txt does not exist",
    ),
    "a folder that is not there": Mistake(
        "working-directory: .github/atk", "working-directory: .github/ttk", ".github/ttk does not exist", file=DEPLOY
    ),
    "a title that is a command": Mistake(
        "run: python dev.py check",
        "run: echo ${{ github.event.pull_request.title }}",
        "${{ github.event.pull_request.title }} is pasted into the script before it runs; hand it over in env",
    ),
    "an input that is a command": Mistake(
        'run: python -m ops.provision --env "$ENVIRONMENT"',
        "run: python -m ops.provision --env ${{ inputs.environment }}",
        "${{ inputs.environment }} is pasted into the script before it runs; hand it over in env",
        file=DEPLOY,
    ),
    "an unknown variable": Mistake(
        'sleep "$PAUSE_SECONDS"', 'sleep "$PAUSE"', "$PAUSE is not in the env of this step", file=DEPLOY
    ),
    "a Python left untested": Mistake(
        'python: ["3.11", "3.12", "3.13"]',
        'python: ["3.11", "3.12"]',
        "tests on Python 3.11, 3.12; pyproject.toml promises 3.11, 3.12, 3.13",
    ),
    "a Python that is a number": Mistake(
        'python: ["3.11", "3.12", "3.13"]', "python: [3.11, 3.12, 3.13]", "a Python version without quotes is a number"
    ),
    "a Python that is not supported": Mistake(
        'python-version: "3.11"', 'python-version: "3.10"', "python-version '3.10' is none of 3.11, 3.12, 3.13"
    ),
    "a package for another Python": Mistake(
        'python-version: "3.12"',
        'python-version: "3.13"',
        "packages with Python 3.13; PYTHON_VERSION in env/.env.dev is 3.12",
    ),
    "another Bicep": Mistake(
        "  az bicep install --version v0.49.2",
        "  az bicep install --version v0.30.3",
        "Bicep v0.30.3; m365agents.yml provisions with v0.49.2",
        at="run: |\n          az bicep",
    ),
    "an artifact that is left out": Mistake(
        "          include-hidden-files: true\n",
        "",
        ".data/package/agent.zip is hidden and left out without include-hidden-files",
        at="path: .data/package",
    ),
    "an expression that does not end": Mistake(
        "tenant-id: ${{ vars.AZURE_TENANT_ID }}",
        "tenant-id: ${{ vars.AZURE_TENANT_ID }",
        "1 ${{ but 0 }} in tenant-id",
        file=DEPLOY,
    ),
    "an unknown step": Mistake(
        "HEALTH_URL: ${{ steps.provision.",
        "HEALTH_URL: ${{ steps.provisioning.",
        "no earlier step has the id provisioning",
        file=DEPLOY,
    ),
    "a job that is not waited for": Mistake(
        "BOT_ID: ${{ needs.deploy.",
        "BOT_ID: ${{ needs.check.",
        "needs.check, but this job does not name check",
        file=DEPLOY,
    ),
    "an unknown output": Mistake(
        "BOT_ID: ${{ needs.deploy.outputs.BOT_ID }}",
        "BOT_ID: ${{ needs.deploy.outputs.BOT }}",
        "the job deploy has no output BOT",
        file=DEPLOY,
    ),
    "an unknown input": Mistake(
        "BUILD: ${{ inputs.build }}", "BUILD: ${{ inputs.buld }}", "there is no input buld", file=DEPLOY
    ),
    "an unknown part of the matrix": Mistake(
        "name: Tests on Python ${{ matrix.python }}",
        "name: Tests on Python ${{ matrix.py }}",
        "the matrix has no py",
    ),
    "a registry": Mistake(
        "run: npm ci",
        "run: npm ci --registry https://example.com",
        "names a package registry",
        file=DEPLOY,
    ),
    "not YAML": Mistake("jobs:\n  check:", "jobs:\n  - check:", "not valid YAML", at="  test:"),
    "an interval that does not exist": Mistake(
        "interval: monthly", "interval: yearly-ish", "is not one of", file=".github/dependabot.yml"
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_told_with_the_line_to_mend(copy: Path, name: str) -> None:
    mistake = MISTAKES[name]
    path = copy / mistake.file
    text = path.read_text(encoding="utf-8")
    assert mistake.before in text, f"{mistake.file} has no longer: {mistake.before}"
    changed = text.replace(mistake.before, mistake.after, 1)
    path.write_text(changed, encoding="utf-8")
    where = changed.index(mistake.at) if mistake.at else text.index(mistake.before)
    expected = f"{mistake.file}:{changed[:where].count(chr(10)) + 1}: "
    said = check(copy)
    assert any(line.startswith(expected) and mistake.sentence in line for line in said), "\n".join(
        [f"{expected}{mistake.sentence}", "was expected, and this was said:", *said]
    )


def test_a_job_without_permissions_would_get_the_repositorys_own(copy: Path) -> None:
    path = copy / PULL_REQUEST
    text = path.read_text(encoding="utf-8").replace("permissions: {}\n", "", 1)
    path.write_text(text.replace("    permissions:\n      contents: read\n", "", 1), encoding="utf-8")
    assert f"{PULL_REQUEST}:1: the job check has no permissions, so that it gets the repository's default" in check(
        copy
    )


def test_a_pipe_without_bash_would_hide_a_failure(copy: Path) -> None:
    path = copy / PULL_REQUEST
    text = path.read_text(encoding="utf-8").replace("defaults:\n  run:\n    shell: bash\n", "", 1)
    text = text.replace("run: python dev.py check", "run: python dev.py check | tee log", 1)
    path.write_text(text, encoding="utf-8")
    line = text[: text.index("| tee")].count("\n") + 1
    assert f"{PULL_REQUEST}:{line}: a failure left of a pipe is not noticed without shell: bash" in check(copy)


@pytest.mark.parametrize("name", [PULL_REQUEST, DEPLOY, ".github/dependabot.yml"])
def test_a_missing_file_is_told(copy: Path, name: str) -> None:
    (copy / name).unlink()
    assert f"{name}:1: this file is missing" in check(copy)


def test_the_package_that_is_deployed_is_one_that_was_checked() -> None:
    checked, deployed = ((ROOT / name).read_text(encoding="utf-8") for name in (PULL_REQUEST, DEPLOY))
    assert "name: package-${{ matrix.system }}" in checked
    assert "system: [ubuntu-24.04, " in checked
    assert "name: package-ubuntu-24.04" in deployed


def test_the_zip_that_is_delivered_is_started_before_it_is() -> None:
    steps = YAML(typ="safe").load(ROOT / PULL_REQUEST)["jobs"]["package"]["steps"]
    started = next(n for n, step in enumerate(steps) if "ops.package.start" in step.get("run", ""))
    delivered = next(n for n, step in enumerate(steps) if step.get("uses", "").startswith("actions/upload-artifact@"))
    assert started < delivered
    assert steps[started]["run"].split()[-1] == steps[delivered]["with"]["path"]


@pytest.mark.parametrize("lock", [".github/atk", "app/local/npm", "tests/npm/adaptivecards", "tests/npm/azurite"])
def test_what_npm_installs_is_locked_to_its_files_and_to_no_registry(lock: str) -> None:
    packages = json.loads((ROOT / lock / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    wanted = json.loads((ROOT / lock / "package.json").read_text(encoding="utf-8"))["dependencies"]
    locked = {name: package for name, package in packages.items() if name}
    assert packages[""]["dependencies"] == wanted
    assert [name for name, package in locked.items() if not package.get("integrity", "").startswith("sha512-")] == []
    assert [name for name, package in locked.items() if "resolved" in package] == []


def test_every_variable_that_the_deployment_reads_is_explained() -> None:
    page = (ROOT / "docs/deploying.md").read_text(encoding="utf-8")
    variables = set(re.findall(r"\bvars\.(\w+)", (ROOT / DEPLOY).read_text(encoding="utf-8")))
    assert {name for name in variables if f"`{name}`" not in page} == set()


def test_the_pages_for_operation_name_parameters_that_there_are() -> None:
    pages = "".join(
        (ROOT / f"docs/{name}.md").read_text(encoding="utf-8") for name in ("deploying", "operating", "costs")
    )
    bicep = (ROOT / "infra/azure.bicep").read_text(encoding="utf-8")
    parameters = (
        *(
            "alertEmail",
            "alertFailurePercent",
            "healthProbe",
            "logDailyCapGB",
            "logRetentionDays",
            "telemetryRecordsText",
        ),
        *("databricksClientId", "databricksCredential", "conversationRetentionDays", "turnTimeoutSeconds"),
        *("consumptionMaximumInstances", "flexMaximumInstances", "flexAlwaysReadyInstances", "subnetId"),
    )
    for parameter in parameters:
        assert parameter in pages
        assert f"param {parameter} " in bicep
