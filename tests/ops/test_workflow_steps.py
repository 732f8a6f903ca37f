"""The shell scripts inside the workflows, run as GitHub's runner runs them."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from ruamel.yaml import YAML

from tests.fakes.pristine import as_delivered

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = {name: YAML(typ="safe").load(ROOT / f".github/workflows/{name}.yml") for name in ("pull-request", "deploy")}
STEPS = [
    (f"{name}/{job}/{step.get('name', step['run'])}", step)
    for name, workflow in WORKFLOWS.items()
    for job, content in workflow["jobs"].items()
    for step in content.get("steps", [])
    if "run" in step
]
KEY = "the-function-key"
OUTPUTS = {
    "boT_ID": "22222222-2222-4222-8222-222222222222",
    "functioN_APP_NAME": "func-dbxagent-dev-abcde",
    "healtH_URL": "https://func-dbxagent-dev-abcde.azurewebsites.net/api/health",
}
# Only what the steps ask of the Azure CLI; notes every call.
AZ = """#!{python}
import json, os, pathlib, sys
with open(os.environ["AZ_CALLS"], "a") as calls:
    parameters = [argument[1:] for argument in sys.argv if argument.startswith("@")]
    given = json.loads(pathlib.Path(parameters[0]).read_text())["parameters"] if parameters else None
    calls.write(json.dumps([sys.argv[1:], given]) + "\\n")
if sys.argv[1:4] == ["functionapp", "keys", "list"]:
    print({key!r})
elif sys.argv[1:3] == ["deployment", "group"]:
    outputs = {{name: {{"value": value}} for name, value in {outputs!r}.items()}}
    print(json.dumps({{"properties": {{"outputs": outputs}}}}))
else:
    sys.exit("az " + " ".join(sys.argv[1:]) + " was not expected")
"""


@dataclass
class Runner:
    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        (self.folder / "bin").mkdir()
        az = self.folder / "bin" / "az"
        az.write_text(AZ.format(python=sys.executable, key=KEY, outputs=OUTPUTS), encoding="utf-8")
        az.chmod(0o755)
        (self.folder / "output").touch()
        path = os.pathsep.join([str(self.folder / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]])
        self.environment = {
            "PATH": path,
            "HOME": str(self.folder),
            "RUNNER_TEMP": str(self.folder),
            "GITHUB_OUTPUT": str(self.folder / "output"),
            "AZ_CALLS": str(self.folder / "calls"),
        }

    async def run(self, step: str, cwd: Path, variables: Mapping[str, str]) -> tuple[int, str]:
        """The exit code of the step of that name, and what it printed."""
        (script,) = [content["run"] for name, content in STEPS if name.endswith(f"/{step}")]
        (self.folder / "step.sh").write_text(script, encoding="utf-8")
        # As the runner does with `shell: bash`.
        command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(self.folder / "step.sh")]
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=cwd,
            env={**self.environment, **variables},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await asyncio.wait_for(process.communicate(), 60)
        assert process.returncode is not None
        return process.returncode, said.decode()

    def calls(self) -> list[tuple[list[str], Any]]:
        return [tuple(json.loads(line)) for line in (self.folder / "calls").read_text().splitlines()]


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    if not all(map(shutil.which, ("bash", "curl"))):
        pytest.skip("there is no bash or no curl to run the steps with")
    return Runner(tmp_path)


@pytest.mark.parametrize(("name", "step"), STEPS, ids=[name for name, _ in STEPS])
async def test_every_script_is_one_that_bash_can_read(name: str, step: dict[str, Any]) -> None:
    if shutil.which("bash") is None:
        pytest.skip("there is no bash")
    process = await asyncio.create_subprocess_exec(
        *("bash", "-n"), stdin=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    _, said = await process.communicate(step["run"].encode())
    assert (process.returncode, said) == (0, b"")


async def asked_health(runner: Runner, statuses: list[int]) -> tuple[int, str, list[str | None]]:
    """Exit code, output, and the keys sent to a bot that answers with `statuses`, the last of them for ever."""
    keys: list[str | None] = []

    async def dependencies(request: web.Request) -> web.Response:
        keys.append(request.headers.get("x-functions-key"))
        return web.json_response({"model": {"state": "refused"}}, status=statuses[min(len(keys), len(statuses)) - 1])

    app = web.Application()
    app.router.add_get("/api/health/dependencies", dependencies)
    async with TestServer(app) as server:
        variables = {
            "FUNCTION_APP_NAME": "func-app",
            "RESOURCE_GROUP": "group",
            "HEALTH_URL": str(server.make_url("/api/health")),
            "PAUSE_SECONDS": "0",
        }
        code, said = await runner.run("Ask whether model and storage answer", runner.folder, variables)
    return code, said, keys


async def test_the_deployment_is_well_once_model_and_storage_answer(runner: Runner) -> None:
    code, said, keys = await asked_health(runner, [503, 503, 200])
    assert (code, keys) == (0, [KEY] * 3), said
    assert said.splitlines()[0] == f"::add-mask::{KEY}"
    assert said.count(KEY) == 1, "the key is printed where it is not masked"
    expected = ["functionapp", "keys", "list", "--name", "func-app", "--resource-group", "group"]
    assert runner.calls()[0][0][:7] == expected


async def test_a_deployment_whose_model_does_not_answer_fails_and_says_which_state(runner: Runner) -> None:
    code, said, keys = await asked_health(runner, [503])
    assert (code, len(keys)) == (1, 10), said
    assert 'Attempt 10: 503 {"model": {"state": "refused"}}' in said
    assert "::error::The bot runs, but what it depends on does not answer" in said


async def test_a_bot_that_nobody_can_reach_fails_the_deployment(runner: Runner) -> None:
    variables = {
        "FUNCTION_APP_NAME": "func-app",
        "RESOURCE_GROUP": "group",
        "HEALTH_URL": "http://127.0.0.1:9/api/health",
        "PAUSE_SECONDS": "0",
    }
    code, said = await runner.run("Ask whether model and storage answer", runner.folder, variables)
    assert (code, "Attempt 10: none" in said) == (1, True), said


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    for name in ("env", "infra", "ops"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.user"))
    return as_delivered(folder)


VARIABLES = {
    "ENVIRONMENT": "dev",
    "AZURE_SUBSCRIPTION_ID": "11111111-1111-4111-8111-111111111111",
    "AZURE_RESOURCE_GROUP_NAME": "group",
    "RESOURCE_SUFFIX": "dev01",
    "DATABRICKS_BASE_URL": "https://adb-1.2.azuredatabricks.net/serving-endpoints",
    "DATABRICKS_MODEL_NAME": "model",
}
PROVISION = "Provision, or to go back, look up what is provisioned"


@pytest.mark.parametrize(("build", "command"), [("", "create"), ("0123456789ab", "show")])
async def test_provision_hands_on_what_azure_answers_and_going_back_changes_nothing(
    runner: Runner, project: Path, build: str, command: str
) -> None:
    code, said = await runner.run(PROVISION, project, {**VARIABLES, "BUILD": build})
    assert code == 0, said
    (arguments, given), *others = runner.calls()
    assert arguments[:3] == ["deployment", "group", command]
    assert arguments[arguments.index("--name") + 1] == "databricks-agent-dev01"
    assert not others
    if not build:
        assert given["databricksModelName"]["value"] == "model"
        assert given["resourceSuffix"]["value"] == "dev01"
    expected = {name.upper(): value for name, value in OUTPUTS.items()} | {"AZURE_RESOURCE_GROUP_NAME": "group"}
    output = (runner.folder / "output").read_text().splitlines()
    assert dict(line.split("=", 1) for line in output) == expected
    assert f"BOT_ID={expected['BOT_ID']}" in (project / "env/.env.dev").read_text().splitlines()


async def test_provision_without_a_value_stops_before_azure_is_asked(runner: Runner, project: Path) -> None:
    code, said = await runner.run(PROVISION, project, {**VARIABLES, "BUILD": "", "DATABRICKS_MODEL_NAME": ""})
    assert code == 1
    assert "DATABRICKS_MODEL_NAME has no value" in said
    assert not (runner.folder / "calls").exists()


def packages(runner: Runner, windows: dict[str, str], compression: int = zipfile.ZIP_STORED) -> None:
    """Of both systems; `windows` says what is other in the one of Windows."""
    if not all(map(shutil.which, ("unzip", "diff", "cmp"))):
        pytest.skip("there is no unzip, diff or cmp")
    content = {"app/config.py": "\n" * 100, "build.json": '{"build": "0123456789ab"}'}
    for system in ("ubuntu-24.04", "windows-2025"):
        ours = system.startswith("ubuntu")
        folder = runner.folder / "packages" / f"package-{system}"
        folder.mkdir(parents=True)
        with zipfile.ZipFile(folder / "agent.zip", "w") as package:
            for name, text in (content if ours else content | windows).items():
                entry = zipfile.ZipInfo(name)
                entry.compress_type = zipfile.ZIP_STORED if ours else compression
                package.writestr(entry, text)


COMPARE = "Compare what is inside"


async def test_packages_of_the_same_bytes_are_told_to_be(runner: Runner) -> None:
    packages(runner, {})
    assert await runner.run(COMPARE, runner.folder, {}) == (0, "The zips are the same bytes.\n")


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"app/config.py": "\r\n"}, "app/config.py differ"),
        ({"app/more.py": ""}, "Only in packages/windows-2025/app: more.py"),
        ({"build.json": '{"build": "ba9876543210"}'}, '> {"build": "ba9876543210"}'),
    ],
)
async def test_packages_that_differ_are_told_by_the_file_that_differs(
    runner: Runner, other: dict[str, str], said: str
) -> None:
    packages(runner, other)
    code, output = await runner.run(COMPARE, runner.folder, {})
    assert code == 1
    assert said in output


async def test_packages_that_another_zlib_compressed_are_the_same(runner: Runner) -> None:
    packages(runner, {}, zipfile.ZIP_DEFLATED)
    code, said = await runner.run(COMPARE, runner.folder, {})
    assert code == 0, said
    assert said.splitlines()[-1] == "The zips hold the same content in other bytes: the systems' zlibs differ."


@pytest.mark.parametrize(
    ("given", "in_the_file", "code"), [("", "", 1), ("22222222-2222-4222-8222-222222222222", "", 0), ("", "=3333", 0)]
)
async def test_an_app_without_an_id_is_not_packaged_under_one_that_is_made_up(
    runner: Runner, project: Path, given: str, in_the_file: str, code: int
) -> None:
    file = project / "env/.env.dev"
    file.write_text(file.read_text().replace("TEAMS_APP_ID=", f"TEAMS_APP_ID{in_the_file or '='}"))
    ended, said = await runner.run("The app's id is known", project, {"ENVIRONMENT": "dev", "TEAMS_APP_ID": given})
    assert (ended, "::error::TEAMS_APP_ID is neither" in said) == (code, bool(code)), said
