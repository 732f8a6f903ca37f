"""The container and the Databricks bundle of the job watch: they call the command as it is, from what is there."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from app.jobs.cli import argument_parser
from tests.ops.files.deployments import ROOT

FOLDER = ROOT / "infra/job_watch"
DOCKERFILE = (FOLDER / "Dockerfile").read_text(encoding="utf-8")
INSTRUCTIONS = [
    tuple(line.split(None, 1)) for line in DOCKERFILE.replace("\\\n", " ").splitlines() if line and line[0] != "#"
]
BUNDLE: dict[str, Any] = YAML(typ="safe").load((FOLDER / "databricks.yml").read_text(encoding="utf-8"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def of(instruction: str) -> list[str]:
    return [text for name, text in INSTRUCTIONS if name == instruction]


def test_the_container_has_what_it_copies_and_nothing_else() -> None:
    copied = [word for text in of("COPY") if "--from" not in text for word in text.split()[:-1]]
    assert all((ROOT / name).exists() for name in copied)
    ignored = (FOLDER / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    assert {line[1:] for line in ignored if line.startswith("!")} == set(copied)
    assert "app/local" in ignored


def test_the_container_runs_the_command_as_itself_so_that_sigterm_arrives() -> None:
    (entry,), (arguments,) = of("ENTRYPOINT"), of("CMD")
    (command,) = json.loads(entry)
    assert Path(command).name in PROJECT["scripts"]
    options = argument_parser().parse_args(json.loads(arguments))
    assert options.every == 1800


def test_the_container_is_no_root_and_keeps_its_incidents_on_a_volume() -> None:
    (user,), (volume,) = of("USER"), of("VOLUME")
    assert int(user) > 0
    assert f"JOB_WATCH_STORE={volume}/" in DOCKERFILE
    assert of("USER")
    assert INSTRUCTIONS.index(("USER", user)) < INSTRUCTIONS.index(("ENTRYPOINT", of("ENTRYPOINT")[0]))


def test_the_containers_python_is_one_that_is_tested() -> None:
    first, after = (int(minor) for minor in re.findall(r"3\.(\d+)", PROJECT["requires-python"]))
    versions = {int(found) for found in re.findall(r"python:3\.(\d+)-slim", DOCKERFILE)}
    assert len(versions) == 1
    assert versions <= set(range(first, after))


def test_the_locks_versions_are_the_containers() -> None:
    """As `sed` does it there."""
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    kept = [re.sub(r" *\\$", "", line) for line in lines if not re.match(" +--hash", line)]
    assert len(kept) > 50
    assert [line for line in kept if not re.fullmatch(r"[a-z0-9-]+==\S+( ; .+)?", line)] == []


def test_the_bundle_runs_the_command_every_half_hour_one_at_a_time() -> None:
    (job,) = BUNDLE["resources"]["jobs"].values()
    assert (job["schedule"]["quartz_cron_expression"], job["max_concurrent_runs"]) == ("0 0/30 * * * ?", 1)
    assert 0 < job["timeout_seconds"] < 1800
    (task,) = job["tasks"]
    wheel = task["python_wheel_task"]
    assert wheel["package_name"] == PROJECT["name"]
    assert wheel["entry_point"] in PROJECT["scripts"]
    options = argument_parser().parse_args(wheel["parameters"])
    assert (options.every, options.host) == (None, "{{workspace.url}}")
    (environment,) = job["environments"]
    assert environment["environment_key"] == task["environment_key"]


def test_the_bundle_installs_the_wheel_that_it_builds_of_this_project() -> None:
    (artifact,) = BUNDLE["artifacts"].values()
    build = re.fullmatch(r"python3 -m pip wheel --quiet --no-deps --wheel-dir (\w+) (\S+)", artifact["build"])
    assert build is not None
    assert (FOLDER / build[2]).resolve() == ROOT
    (environment,) = next(iter(BUNDLE["resources"]["jobs"].values()))["environments"]
    assert environment["spec"]["dependencies"] == [f"./{build[1]}/*.whl"]
    assert f"{build[1]}/" in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("reference", ["settings_file"])
def test_every_variable_of_the_bundle_is_declared(reference: str) -> None:
    text = (FOLDER / "databricks.yml").read_text(encoding="utf-8")
    assert set(re.findall(r"\$\{var\.(\w+)\}", text)) == set(BUNDLE["variables"]) == {reference}
