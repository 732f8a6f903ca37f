"""How each hosting plan takes a package.

The toolkit's azureFunctions/zipDeploy posts to `/api/zipdeploy`, which builds anew on Linux Consumption and does not
exist on Flex. `az functionapp deployment source config-zip` asks for a storage key on Linux Consumption, and on Flex
for a remote build of every Python app, which would replace the package's wheels and bytecode.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from ops.deploy import DeployError
from ops.deploy.azure_cli import AzureCli
from ops.deploy.builds import CURRENT, Builds
from ops.deploy.scm import ScmSite, token_audience
from ops.deploy.target import Target

_API_VERSION = "2024-04-01"
_SYNC_ATTEMPTS = 6
_SYNC_PAUSE_SECONDS = 10.0


def deploy_to_consumption(
    azure: AzureCli, target: Target, builds: Builds, package: Path, pause: Callable[[float], None] = time.sleep
) -> None:
    """The app runs from the blob agent.zip, read with its own identity; a restart makes it read the new one."""
    builds.upload(package, CURRENT)
    azure.run("functionapp", "restart", "--name", target.function_app, "--resource-group", target.resource_group)
    _sync_triggers(azure, target, pause)


def _sync_triggers(azure: AzureCli, target: Target, pause: Callable[[float], None]) -> None:
    """Azure does not look for new triggers in a package behind a URL by itself."""
    url = f"{target.resource_id}/syncfunctiontriggers?api-version={_API_VERSION}"
    for _ in range(_SYNC_ATTEMPTS - 1):
        try:
            azure.run("rest", "--method", "post", "--url", url)
            return
        except DeployError:
            pause(_SYNC_PAUSE_SECONDS)  # the app, which Azure asks for them, is still starting
    azure.run("rest", "--method", "post", "--url", url)


def deploy_to_flex(azure: AzureCli, target: Target, package: Path) -> None:
    """One Deploy without a remote build; it restarts the app and finds its triggers by itself."""
    site = azure.run("rest", "--method", "get", "--url", f"{target.resource_id}?api-version={_API_VERSION}")
    host = _scm_host(site)
    token = azure.run("account", "get-access-token", "--resource", token_audience(host), secret=True)["accessToken"]
    ScmSite(host, token).deploy(package)


def _scm_host(site: object) -> str:
    properties = site.get("properties", {}) if isinstance(site, dict) else {}
    for state in properties.get("hostNameSslStates") or ():
        if state.get("hostType") == "Repository":
            return str(state["name"])
    raise DeployError(
        "Azure does not say where this Function App takes packages. Is HOSTING_PLAN what was provisioned?"
    )
