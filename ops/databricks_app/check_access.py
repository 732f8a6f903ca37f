"""`python dev.py check-access`: asks all that the agent uses, and names the missing grants."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import requests
from databricks.sdk import WorkspaceClient
from databricks.sdk.errors.base import DatabricksError

from agent_server.access.access_check import AccessCheck
from agent_server.access.access_probe import AccessFinding
from agent_server.composition.access_parts import STORAGE_NAMES
from agent_server.composition.server_storage import server_storage
from agent_server.settings import load_databricks_agent_settings, load_server_settings
from app.config import SettingsError
from app.databricks.open_workspace import open_workspace as open_workspace_of
from app.local.local_settings import LocalSettingsError, add_local_settings
from ops.command import DEV
from ops.databricks_app import AppError
from ops.databricks_app.bundle import AppBundle, known_resources, load_bundle
from ops.databricks_app.deployment import missing_scopes
from ops.databricks_app.health import OAUTH_NEEDED
from ops.databricks_app.options import add_bundle_options, add_profile_option, given_variables, open_workspace

ROOT = Path(__file__).resolve().parents[2]
_ASK_SECONDS = 20.0


def findings_here(bundle: AppBundle, environment: Mapping[str, str]) -> list[AccessFinding]:
    """With the settings and the credential of this machine. Raises `SettingsError`."""
    settings = load_databricks_agent_settings(environment)
    server = load_server_settings(environment)

    async def check() -> list[AccessFinding]:
        async with AsyncExitStack() as closing:
            workspace = open_workspace_of(settings.databricks)
            closing.push_async_callback(workspace.close)
            where = server_storage(server, environment)
            closing.push_async_callback(where.close)
            closing.push_async_callback(where.storage.close)
            access = AccessCheck(
                settings,
                workspace,
                experiment_id=server.tracing.experiment_id or "",
                storage=STORAGE_NAMES[where.kind],
                ping_storage=where.storage.conversations.ping,
                resources=known_resources(bundle),
            )
            return await access.run()

    return asyncio.run(check())


def findings_of_app(workspace: WorkspaceClient, bundle: AppBundle) -> list[AccessFinding]:
    """As the app, or as the person who asks it, whichever it acts as. Raises `AppError`, and the SDK's errors."""
    app = workspace.apps.get(bundle.name)
    missing = missing_scopes(bundle, app)
    says = f"the app lacks {', '.join(missing)}, which the bundle names. Deploy it again: {DEV} deploy-app"
    scopes = AccessFinding("user_api_scopes", not missing, says if missing else ", ".join(bundle.scopes) or "none")
    return [scopes, *_ask(f"{app.url}/api/access", workspace.config.authenticate())]


def _ask(url: str, headers: Mapping[str, str]) -> list[AccessFinding]:
    try:
        answer = requests.get(url, headers=dict(headers), timeout=_ASK_SECONDS, allow_redirects=False)
    except requests.RequestException as error:
        raise AppError(f"{url} does not answer: {error}") from None
    if answer.is_redirect:
        raise AppError(OAUTH_NEEDED)
    try:
        content: Any = answer.json()
    except ValueError:
        content = {}
    if answer.status_code != 200:
        refused = content.get("error") if isinstance(content, dict) else None
        said = refused.get("message") if isinstance(refused, dict) else answer.text[:300]
        raise AppError(f"{url} answers with status {answer.status_code}: {said}")
    return [AccessFinding(each["what"], each["ok"], each["says"], each["seconds"]) for each in content["findings"]]


def _environment(bundle: AppBundle, root: Path, profile: str | None) -> dict[str, str]:
    """Of this machine; what it leaves out is the bundle's, and the workspace that of the profile."""
    environment = dict(os.environ)
    add_local_settings(environment, root)
    known = {each["name"] for each in known_resources(bundle)}
    for setting in bundle.settings:
        if (setting.value_from is None or setting.value_from in known) and bundle.setting(setting.name):
            environment.setdefault(setting.name, bundle.setting(setting.name))
    if profile:
        environment["DATABRICKS_CONFIG_PROFILE"] = profile
    if profile or not environment.get("DATABRICKS_BASE_URL"):
        environment["DATABRICKS_BASE_URL"] = f"{open_workspace(profile).config.host}/serving-endpoints"
    return environment


def main(arguments: list[str], root: Path = ROOT) -> int:
    """Exit code 0 where nothing is missing."""
    parser = argparse.ArgumentParser(prog=f"{DEV} check-access", description=__doc__)
    add_bundle_options(parser)
    add_profile_option(parser)
    parser.add_argument("--app", action="store_true", help="ask the deployed app, which acts as it does for people")
    options = parser.parse_args(arguments)
    try:
        bundle = load_bundle(root, options.target, given_variables(options), complete=False)
        if options.app:
            findings = findings_of_app(open_workspace(options.profile), bundle)
        else:
            findings = findings_here(bundle, _environment(bundle, root, options.profile))
    except (AppError, SettingsError, LocalSettingsError) as error:
        print(error, file=sys.stderr)
        return 1
    except DatabricksError as error:
        print(f"Databricks refused: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    for finding in findings:
        print(f"{'ok' if finding.ok else 'missing':<8} {finding.what}: {finding.says}")
    missing = sum(not finding.ok for finding in findings)
    print(f"{missing} of {len(findings)} are missing." if missing else "Nothing is missing.")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
