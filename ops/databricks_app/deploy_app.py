"""`python dev.py deploy-app`: creates the app where it is missing, uploads what preflight made, deploys it, asks it."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from databricks.sdk import WorkspaceClient
from databricks.sdk.errors.base import DatabricksError

from app.local.processes import ChildFailedError
from ops.command import DEV
from ops.databricks_app import AppError
from ops.databricks_app.bundle import AppBundle, load_bundle
from ops.databricks_app.deployment import AppDeployer
from ops.databricks_app.folder import AppFolder
from ops.databricks_app.health import wait_for_health
from ops.databricks_app.options import add_bundle_options, add_profile_option, given_variables, open_workspace
from ops.databricks_app.preflight import FOLDER, prepare_folder, start_and_ask
from ops.databricks_app.upload import delete_old_builds, upload

ROOT = Path(__file__).resolve().parents[2]


def say(line: str) -> None:
    print(line, flush=True)


@dataclass(frozen=True, slots=True)
class Waiting:
    clock: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep


def deploy_app(workspace: WorkspaceClient, bundle: AppBundle, folder: AppFolder, waiting: Waiting = Waiting()) -> str:
    """The app's address, once it is healthy. Raises `AppError`, and the SDK's errors."""
    deployer = AppDeployer(workspace, bundle, say, waiting.clock, waiting.pause)
    deployer.configure()
    parent = f"/Workspace/Users/{workspace.current_user.me().user_name}/databricks-apps/{bundle.name}"
    source = upload(workspace, folder, parent, say)
    app = deployer.deploy(source)
    if not app.url:
        raise AppError("Databricks does not say the app's address.")
    say(f"Waiting for {app.url} ...")
    wait_for_health(app.url, workspace.config.authenticate, folder.commit, waiting.clock, waiting.pause)
    delete_old_builds(workspace, parent, source)
    return app.url


def main(arguments: list[str], root: Path = ROOT) -> int:
    parser = argparse.ArgumentParser(prog=f"{DEV} deploy-app", description=__doc__)
    add_bundle_options(parser)
    add_profile_option(parser)
    parser.add_argument("--no-preflight", action="store_true", help="do not start it on this machine first")
    options = parser.parse_args(arguments)
    try:
        bundle = load_bundle(root, options.target, given_variables(options))
        # To learn at once that nobody is signed in.
        workspace = open_workspace(options.profile)
        folder = prepare_folder(root, bundle, root / FOLDER)
        if not options.no_preflight:
            asyncio.run(start_and_ask(bundle, folder))
        url = deploy_app(workspace, bundle, folder)
    except (AppError, ChildFailedError) as error:
        print(error, file=sys.stderr)
        return 1
    except DatabricksError as error:
        print(f"Databricks refused: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    say(f"{bundle.name} runs build {folder.build} at {url}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
