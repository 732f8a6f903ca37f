"""`python -m ops.deploy`: the package to Azure, an earlier build back, or the builds there are."""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from ops.command import DEV
from ops.deploy import DeployError, UnhealthyError
from ops.deploy.azure_cli import AzureCli
from ops.deploy.builds import Builds, blob_name
from ops.deploy.health import running_build, wait_for_health
from ops.deploy.plans import deploy_to_consumption, deploy_to_flex
from ops.deploy.target import Target
from ops.package.archive import Build, NotAPackageError, read_build
from ops.parameters import ParametersError, read_variables

ROOT = Path(__file__).resolve().parents[2]
HEALTH_SECONDS = 600.0
EXIT_FAILED, EXIT_UNHEALTHY = 1, 3


@dataclass(frozen=True, slots=True)
class Waiting:
    clock: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep


@dataclass(frozen=True, slots=True)
class Deployment:
    """What one run of the command uses. `command` is what a person types to run it again."""

    azure: AzureCli
    target: Target
    builds: Builds
    wait_seconds: float
    command: str
    waiting: Waiting


def main(arguments: list[str], root: Path = ROOT, waiting: Waiting = Waiting()) -> int:
    """Exit code 0 when the bot answers as the requested build; 1 if that was not deployed; 3 if it is not healthy."""
    options = _options(arguments, root)
    command = f"{DEV} deploy" + ("" if options.env == "dev" else f" --env {options.env}")
    try:
        target = Target.from_variables(_variables(root, options.env))
        azure = AzureCli(target.subscription)
        azure.run("account", "show")
        builds = Builds(azure, target, waiting.clock, waiting.pause)
        deployment = Deployment(azure, target, builds, options.wait, command, waiting)
        if options.builds:
            _print_builds(builds)
        elif options.build:
            _roll_back(deployment, options.build)
        else:
            _deploy_new(deployment, options.package)
    except DeployError as error:
        print(error, file=sys.stderr)
        return EXIT_UNHEALTHY if isinstance(error, UnhealthyError) else EXIT_FAILED
    return 0


def _options(arguments: list[str], root: Path) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=f"{DEV} deploy", description="Deploys what `package` made.")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--build", type=_build_id, help="bring this earlier build back")
    what.add_argument("--builds", action="store_true", help="list the builds that can be brought back")
    package = root / ".data" / "package" / "agent.zip"
    what.add_argument("--package", type=Path, default=package, help="the zip (.data/package/agent.zip)")
    parser.add_argument("--env", default=os.environ.get("TEAMSFX_ENV") or "dev", help="which env/.env.ENV (dev)")
    parser.add_argument(
        "--wait", type=float, default=HEALTH_SECONDS, metavar="SECONDS", help="for its health (%(default).0f)"
    )
    return parser.parse_args(arguments)


def _build_id(text: str) -> str:
    if not re.fullmatch("[0-9a-f]{12}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no build: a build is 12 of the digits 0-9 and a-f")
    return text


def _variables(root: Path, env: str) -> dict[str, str]:
    """The environment's, then those of env/.env.ENV."""
    if not (root / "env" / f".env.{env}").is_file():
        return dict(os.environ)
    try:
        return read_variables(root, env, os.environ)
    except ParametersError as error:
        raise DeployError(str(error)) from None


def _deploy_new(deployment: Deployment, package: Path) -> None:
    target = deployment.target
    try:
        build = read_build(package)
    except NotAPackageError as error:
        raise DeployError(f"There is nothing to deploy: {error}. {DEV} package") from None
    if not _fits(build, target):
        raise DeployError(f"{_for_another_python(build, target)}: {DEV} package --python {target.python}")
    _say(f"Keeping build {build.build} in {target.storage_account}/{target.container} ...")
    deployment.builds.upload(package, blob_name(build.build))
    _put(deployment, package, build)


def _roll_back(deployment: Deployment, wanted: str) -> None:
    target = deployment.target
    with TemporaryDirectory() as folder:
        package = Path(folder) / "agent.zip"
        _say(f"Fetching build {wanted} from {target.storage_account}/{target.container} ...")
        build = deployment.builds.download(wanted, package)
        if not _fits(build, target):
            raise DeployError(
                f"{_for_another_python(build, target)}: choose another build ({deployment.command} --builds), "
                f"or provision with PYTHON_VERSION={build.python} first"
            )
        _put(deployment, package, build)


def _fits(build: Build, target: Target) -> bool:
    return target.python is None or target.python == build.python


def _for_another_python(build: Build, target: Target) -> str:
    return (
        f"Build {build.build} is made for Python {build.python}, and the Function App runs {target.python} "
        "(PYTHON_VERSION)"
    )


def _put(deployment: Deployment, package: Path, build: Build) -> None:
    target = deployment.target
    rollback_hint = _store_running_build(deployment, build)
    _say(f"Deploying build {build.build} (version {build.version}) to {target.function_app} ...")
    if target.plan == "flex":
        deploy_to_flex(deployment.azure, target, package)
    else:
        deploy_to_consumption(deployment.azure, target, deployment.builds, package, deployment.waiting.pause)
    _say(f"Waiting for {target.health_url} ...")
    wait_for_health(
        target.health_url,
        build.build,
        deployment.wait_seconds,
        rollback_hint,
        deployment.waiting.clock,
        deployment.waiting.pause,
    )
    _say(f"Build {build.build} answers and is healthy.")


def _store_running_build(deployment: Deployment, build: Build) -> str:
    """Stores the build that runs under its own name before it is replaced, and returns how to bring it back."""
    others = f"{deployment.command} --builds lists the builds that can be brought back."
    before = running_build(deployment.target.health_url)
    if before is None or before == build.build:
        return others
    try:
        deployment.builds.store_running(before)
    except DeployError as error:
        _say(f"Build {before}, which runs now, is not kept in storage and cannot be brought back: {error}")
        return f"Build {before} ran before and is not kept. {others}"
    return f"Build {before} ran before. To bring it back: {deployment.command} --build {before}"


def _print_builds(builds: Builds) -> None:
    for kept in builds.list():
        print(f"{kept.build}  {kept.uploaded}")


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
