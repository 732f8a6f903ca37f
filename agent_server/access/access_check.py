"""Everything that the settings and the app's resources name, asked at the same time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from agent_server.access.access_probe import AccessFinding, AccessProbe, examine
from agent_server.access.workspace_probes import WorkspaceProbes
from app.common.identity import APP_IDENTITY, RequestIdentity
from app.common.json_values import mapping, text
from app.config import CoreSettings
from app.databricks.workspace_client import WorkspaceClient
from app.databricks.workspace_errors import WorkspaceError
from app.settings.genie_settings import ALL_SPACES

Resource = Mapping[str, Any]
"""As in a bundle: a name, and under its kind what it is."""

RESOURCES_FILE = Path(__file__).resolve().parents[2] / "app_resources.json"
"""`dev.py preflight` writes the resources of the app there."""

IDENTITY_SECONDS = 3.0


class AccessCheck:
    """`ping_storage` raises where the server's storage does not answer. `resources` are those of the app, beside what
    the settings name.
    """

    def __init__(
        self,
        settings: CoreSettings,
        workspace: WorkspaceClient,
        *,
        experiment_id: str = "",
        storage: str = "storage",
        ping_storage: Callable[[], Awaitable[None]] | None = None,
        resources: Sequence[Resource] = (),
    ) -> None:
        self._workspace = workspace
        of_workspace = WorkspaceProbes(workspace)
        probes = [*_of_settings(settings, of_workspace, experiment_id), *_of_resources(resources, of_workspace)]
        if ping_storage is not None:
            probes.append(_storage_probe(storage, ping_storage))
        self._probes: dict[str, AccessProbe] = {}
        for probe in probes:
            self._probes.setdefault(probe.what, probe)

    async def run(self, identity: RequestIdentity = APP_IDENTITY) -> list[AccessFinding]:
        """The first finding says who asked. Takes nine seconds at most: three for that, six for all else at once."""
        (who, found), (app, _) = await asyncio.gather(self._who(identity), self._who(APP_IDENTITY))
        asked = (
            examine(probe, APP_IDENTITY if probe.as_app else identity, app if probe.as_app else who)
            for probe in self._probes.values()
        )
        return [found, *await asyncio.gather(*asked)]

    async def _who(self, identity: RequestIdentity) -> tuple[str, AccessFinding]:
        path = "/api/2.0/preview/scim/v2/Me"
        try:
            me = await self._workspace.request(
                "GET", path, identity=identity, time_limit_seconds=IDENTITY_SECONDS, attempts=1
            )
        except WorkspaceError as error:
            says = f"Databricks does not say who asks ({error}). Check the credential"
            return "the identity in use", AccessFinding("identity", ok=False, says=says)
        name, display = text(me.get("userName")), text(me.get("displayName"))
        who = f"{display} ({name})" if display and display != name else name or "the identity in use"
        return who, AccessFinding("identity", ok=True, says=who)


def _of_settings(settings: CoreSettings, probes: WorkspaceProbes, experiment_id: str) -> list[AccessProbe]:
    found = [probes.serving_endpoint(settings.databricks.model_name)]
    found += [probes.serving_endpoint(each.endpoint) for each in settings.specialists.specialists]
    found += [
        probes.genie_spaces() if space.id == ALL_SPACES else probes.genie_space(space.id)
        for space in settings.genie.spaces
    ]
    if settings.sql.warehouse_id:
        found.append(probes.warehouse(settings.sql.warehouse_id))
    found += [probes.mcp_server(server, settings.mcp) for server in settings.mcp.servers]
    if experiment_id:
        found.append(probes.experiment(experiment_id))
    return found


def _of_resources(resources: Sequence[Resource], probes: WorkspaceProbes) -> list[AccessProbe]:
    found: list[AccessProbe] = []
    for resource in resources:
        for kind, content in resource.items():
            if isinstance(content, Mapping):
                found += _of_resource(kind, {name: str(value) for name, value in content.items()}, probes)
    return found


def _of_resource(kind: str, content: Mapping[str, str], probes: WorkspaceProbes) -> list[AccessProbe]:
    match kind:
        case "serving_endpoint":
            return [probes.serving_endpoint(content["name"])]
        case "genie_space":
            return [probes.genie_space(content["space_id"])]
        case "sql_warehouse":
            return [probes.warehouse(content["id"])]
        case "experiment":
            return [probes.experiment(content["experiment_id"])]
        case "job":
            return [probes.job(content["id"], content["permission"].replace("_", " "))]
        case "secret":
            return [probes.secret(content["scope"], content["key"])]
        case "uc_securable":
            name = content["securable_full_name"]
            return [probes.securable(content["securable_type"], name, content["permission"])]
        case _:
            return []


def _storage_probe(what: str, ping: Callable[[], Awaitable[None]]) -> AccessProbe:
    async def ask(_: RequestIdentity) -> str:
        await ping()
        return "answers"

    return AccessProbe(what, f"access to the {what}", ask, as_app=True)


def read_resources(file: Path = RESOURCES_FILE) -> list[Resource]:
    """Those that the app was deployed with; none elsewhere."""
    try:
        content = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return []
    return [mapping(each) for each in content] if isinstance(content, list) else []
