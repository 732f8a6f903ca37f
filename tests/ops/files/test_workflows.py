"""The workflows of GitHub Actions, beyond what their schema and zizmor hold (`python dev.py check`)."""

from __future__ import annotations

import json
import re
import tomllib
from typing import Any

import pytest
from ruamel.yaml import YAML

from ops.bicep import pinned_version
from tests.ops.files.deployments import DEV_COMMANDS, ROOT, strings

FOLDER = ROOT / ".github/workflows"
TEXTS = {file.stem: file.read_text(encoding="utf-8") for file in sorted(FOLDER.glob("*.yml"))}
WORKFLOWS: dict[str, dict[str, Any]] = {name: YAML(typ="safe").load(text) for name, text in TEXTS.items()}
JOBS = [(name, job, content) for name, workflow in WORKFLOWS.items() for job, content in workflow["jobs"].items()]
REFERENCE = re.compile(r"\b(needs|steps|inputs|matrix)\.([\w-]+)(?:\.outputs\.([\w-]+))?")

each_workflow = pytest.mark.parametrize("name", WORKFLOWS)
each_job = pytest.mark.parametrize(("name", "job", "content"), JOBS, ids=[f"{name}/{job}" for name, job, _ in JOBS])


def steps(content: dict[str, Any]) -> list[dict[str, Any]]:
    return list(content.get("steps", []))


def scripts(name: str) -> str:
    """What its steps run, without comments."""
    jobs = WORKFLOWS[name]["jobs"].values()
    runs = [step.get("run", "") for content in jobs for step in steps(content)]
    return "\n".join(line for run in runs for line in run.splitlines() if not line.lstrip().startswith("#"))


def env_value(name: str) -> str:
    found = re.search(rf"^{name}=([^\s#]*)", (ROOT / "env/.env.dev").read_text(encoding="utf-8"), re.MULTILINE)
    return found[1] if found else ""


def test_the_workflows_are_those_that_the_pages_explain() -> None:
    assert set(WORKFLOWS) >= {"pull-request", "deploy"}


def test_every_action_is_pinned_once_and_says_its_version() -> None:
    pins: dict[str, set[str]] = {}
    for text in TEXTS.values():
        for action, pin in re.findall(r"uses: ([\w-]+/[\w./-]+)@(.*)", text):
            assert re.fullmatch(r"[0-9a-f]{40} # v\d+(\.\d+)+", pin), (action, pin)
            pins.setdefault(action, set()).add(pin)
    assert {action: found for action, found in pins.items() if len(found) > 1} == {}


@each_job
def test_a_hung_step_does_not_cost_six_hours(name: str, job: str, content: dict[str, Any]) -> None:
    assert "uses" in content or "timeout-minutes" in content


@each_workflow
def test_two_runs_do_not_get_in_each_others_way_and_a_failure_left_of_a_pipe_counts(name: str) -> None:
    assert "concurrency" in WORKFLOWS[name]
    assert WORKFLOWS[name]["defaults"]["run"]["shell"] == "bash"


@each_job
def test_a_job_may_write_only_where_somebody_is_asked_first(name: str, job: str, content: dict[str, Any]) -> None:
    permissions = content.get("permissions", WORKFLOWS[name].get("permissions"))
    assert isinstance(permissions, dict), "the repository's default may be everything"
    writes = {scope for scope, access in permissions.items() if access == "write"}
    assert not writes or ("environment" in content and "pull_request" not in WORKFLOWS[name]["on"])
    # Without a secret the sign-in asks GitHub for a proof of who runs, and that is a permission.
    signs_in = any(step.get("uses", "").startswith("azure/login@") for step in steps(content))
    assert writes == ({"id-token"} if signs_in else set())


@each_workflow
def test_no_secret_is_stored(name: str) -> None:
    assert set(re.findall(r"\bsecrets\.(\w+)", TEXTS[name])) <= {"GITHUB_TOKEN"}


@each_workflow
def test_no_expression_is_pasted_into_a_script(name: str) -> None:
    assert "${{" not in scripts(name)


@each_workflow
def test_every_expression_ends(name: str) -> None:
    assert [text for text in strings(WORKFLOWS[name]) if text.count("${{") != text.count("}}")] == []


@each_job
def test_every_reference_leads_somewhere(name: str, job: str, content: dict[str, Any]) -> None:
    workflow = WORKFLOWS[name]
    triggers = (workflow["on"].get(event) or {} for event in ("workflow_dispatch", "workflow_call"))
    inputs = {given for trigger in triggers for given in trigger.get("inputs") or {}}
    needs = content.get("needs", [])
    needed = {needs} if isinstance(needs, str) else set(needs)
    matrix = set(content.get("strategy", {}).get("matrix", {}))
    places: list[tuple[object, set[str]]] = []
    ids: set[str] = set()
    for step in steps(content):
        places.append((step, set(ids)))
        ids |= {step["id"]} if "id" in step else set()
    places.append(({key: value for key, value in content.items() if key != "steps"}, ids))
    for value, known in places:
        for text in strings(value):
            for kind, target, output in REFERENCE.findall(" ".join(re.findall(r"\$\{\{.*?\}\}", text))):
                assert target in {"needs": needed, "inputs": inputs, "matrix": matrix, "steps": known}[kind], text
                if kind == "needs" and output:
                    assert output in workflow["jobs"][target]["outputs"], text


@each_workflow
def test_the_commands_modules_and_files_that_it_names_are_there(name: str) -> None:
    text = TEXTS[name]
    commands = set(re.findall(r"\bdev\.py ([\w-]+)", scripts(name)))
    assert commands <= DEV_COMMANDS
    for module in re.findall(r"-m (ops[\w.]*)", text):
        path = ROOT / module.replace(".", "/")
        assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file(), module
    named = re.findall(r"(?:uses: |working-directory: )((?:\./)?\.github/\S+)", text)
    named += re.findall(r"\S*requirements\S*\.txt", text)
    assert [file for file in named if not (ROOT / file).exists()] == []


@each_workflow
def test_it_names_no_package_registry(name: str) -> None:
    assert not re.search(r"--(registry|index-url|extra-index-url)\b|registry-url|\b(registry|pypi)\.\w+", TEXTS[name])


def test_a_hidden_file_is_handed_over_only_when_told_so() -> None:
    uploads = [step["with"] for _, _, content in JOBS for step in steps(content) if "upload-artifact" in str(step)]
    hidden = [given for given in uploads if given["path"].startswith(".")]
    assert hidden
    assert all(given["include-hidden-files"] is True for given in hidden)


def supported_pythons() -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    first, after = (int(minor) for minor in re.findall(r"3\.(\d+)", project["requires-python"]))
    return [f"3.{minor}" for minor in range(first, after)]


def test_every_python_that_is_promised_is_tested_and_both_ends_of_them_before() -> None:
    whole = "python dev.py test"
    (job,) = (content for _, _, content in JOBS if any(step.get("run") == whole for step in steps(content)))
    assert job["strategy"]["matrix"]["python"] == supported_pythons()
    rehearsed = set(re.findall(r"\b3\.\d+\b", (ROOT / ".ci/run").read_text(encoding="utf-8")))
    assert rehearsed == {supported_pythons()[0], supported_pythons()[-1]}


@each_job
def test_a_fixed_python_is_the_packages_or_the_oldest(name: str, job: str, content: dict[str, Any]) -> None:
    for step in steps(content):
        version = step.get("with", {}).get("python-version", "${{")
        packages = any(word in str(content) for word in ("dev.py package", "dev.py deploy"))
        if "${{" not in version:
            assert version == (env_value("PYTHON_VERSION") if packages else supported_pythons()[0])


def test_people_and_pipelines_compile_with_the_version_that_is_pinned() -> None:
    installed = {version for text in TEXTS.values() for version in re.findall(r"bicep install --version (\S+)", text)}
    assert installed == {f"v{pinned_version(ROOT)}"}


def test_the_pull_request_compiles_infra_with_the_compiler_that_it_installs() -> None:
    (job,) = (
        content for _, _, content in JOBS if any("dev.py check" in step.get("run", "") for step in steps(content))
    )
    runs = [step["run"] for step in steps(job) if "run" in step]
    assert 'echo "BICEP=$HOME/.azure/bin/bicep" >> "$GITHUB_ENV"' in runs[0]
    assert runs[1] == "python dev.py check"


def test_the_package_that_is_deployed_is_one_that_was_checked_and_started() -> None:
    job = WORKFLOWS["pull-request"]["jobs"]["package"]
    assert "ubuntu-24.04" in job["strategy"]["matrix"]["system"]
    uploads = [step["with"] for step in job["steps"] if "upload-artifact" in str(step)]
    assert [given["name"] for given in uploads] == ["package-${{ matrix.system }}"]
    assert "name: package-ubuntu-24.04" in TEXTS["deploy"]
    order = [step for step in job["steps"] if "ops.package.start" in str(step) or "upload-artifact" in str(step)]
    assert order[0]["run"].split()[-1] == order[1]["with"]["path"]


@pytest.mark.parametrize("lock", [".github/atk", "agent_server/ui", "app/local/npm", "app/local/npm_azurite"])
def test_what_npm_installs_is_locked_to_its_files_and_to_no_registry(lock: str) -> None:
    packages = json.loads((ROOT / lock / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    wanted = json.loads((ROOT / lock / "package.json").read_text(encoding="utf-8"))["dependencies"]
    locked = {name: package for name, package in packages.items() if name}
    assert packages[""]["dependencies"] == wanted
    assert [name for name, package in locked.items() if not package.get("integrity", "").startswith("sha512-")] == []
    assert [name for name, package in locked.items() if "resolved" in package] == []


def test_every_variable_that_the_deployment_reads_is_explained() -> None:
    page = (ROOT / "docs/deploying.md").read_text(encoding="utf-8")
    variables = set(re.findall(r"\bvars\.(\w+)", TEXTS["deploy"]))
    assert {name for name in variables if f"`{name}`" not in page} == set()
