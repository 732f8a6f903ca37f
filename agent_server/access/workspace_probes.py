"""Probes of a workspace: each asks with the least that the permission allows, and starts nothing that costs."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

from agent_server.access.access_probe import AccessProbe, MissingGrantError, NotUsableError
from app.common.identity import RequestIdentity
from app.common.json_values import mapping, text
from app.databricks.workspace_client import WorkspaceClient, api_path
from app.databricks.workspace_errors import WorkspaceNotFoundError, WorkspacePermissionError
from app.mcp_tools.authorization import authorization_for
from app.settings.mcp_settings import McpServer, McpSettings

Json = Mapping[str, Any]
_UNITY = "/api/2.1/unity-catalog"
_MAY_QUERY = {"CAN_QUERY", "CAN_MANAGE", ""}
_TAG = "databricks_agent.access_checked"


class WorkspaceProbes:
    """Databricks answers 404 for much that the identity may not see; the finding then says both."""

    def __init__(self, workspace: WorkspaceClient) -> None:
        self._workspace = workspace

    async def _get(self, identity: RequestIdentity, path: str, **query: str) -> Json:
        return await self._workspace.request("GET", path, identity=identity, query=query or None, attempts=2)

    def serving_endpoint(self, name: str) -> AccessProbe:
        async def ask(identity: RequestIdentity) -> str:
            if not self._workspace.url.has_serving_endpoints:
                await self._workspace.token(identity)
                return "the sign-in works; its address has no serving endpoints to look at"
            found = await self._get(identity, api_path("/api/2.0/serving-endpoints", name))
            level = text(found.get("permission_level"))
            if level not in _MAY_QUERY:
                raise MissingGrantError(f"it may be seen and not queried ({level})")
            ready = text(mapping(found.get("state")).get("ready"))
            if ready not in {"READY", ""}:
                raise NotUsableError(f"the endpoint is not ready ({ready}). Look at it under Serving")
            return "ready"

        return AccessProbe(f"serving endpoint {name}", f"CAN QUERY on the serving endpoint {name}", ask)

    def genie_space(self, space: str) -> AccessProbe:
        async def ask(identity: RequestIdentity) -> str:
            await self._get(identity, api_path("/api/2.0/genie/spaces", space, "conversations"))
            return "may be asked"

        return AccessProbe(f"Genie space {space}", f"CAN RUN on the Genie space {space}", ask)

    def genie_spaces(self) -> AccessProbe:
        async def ask(identity: RequestIdentity) -> str:
            found = await self._get(identity, "/api/2.0/genie/spaces", page_size="100")
            count = len(found.get("spaces") or ())
            if not count:
                raise MissingGrantError("none is visible")
            return f"{count} visible"

        return AccessProbe("Genie spaces", "CAN RUN on the Genie spaces", ask)

    def warehouse(self, warehouse: str) -> AccessProbe:
        async def ask(identity: RequestIdentity) -> str:
            found = await self._get(identity, api_path("/api/2.0/sql/warehouses", warehouse))
            state = text(found.get("state")).lower()
            if state in {"deleted", "deleting"}:
                raise NotUsableError("the warehouse has been deleted. Name another one")
            return state or "may be used"

        return AccessProbe(f"SQL warehouse {warehouse}", f"CAN USE on the SQL warehouse {warehouse}", ask)

    def experiment(self, experiment: str) -> AccessProbe:
        async def ask(identity: RequestIdentity) -> str:
            query = {"experiment_id": experiment}
            found = mapping((await self._get(identity, "/api/2.0/mlflow/experiments/get", **query)).get("experiment"))
            if text(found.get("lifecycle_stage")) == "deleted":
                raise NotUsableError("the experiment has been deleted. Name another one")
            # Who may read an experiment need not be able to write traces: only a write shows it.
            tag = {"experiment_id": experiment, "key": _TAG, "value": "true"}
            try:
                path = "/api/2.0/mlflow/experiments/set-experiment-tag"
                await self._workspace.request(
                    "POST", path, identity=identity, json_body=tag, idempotent=True, attempts=2
                )
            except WorkspacePermissionError:
                raise MissingGrantError("it may be read and not written to") from None
            return "may be written to"

        what = f"MLflow experiment {experiment}"
        return AccessProbe(what, f"CAN EDIT on the MLflow experiment {experiment}", ask, as_app=True)

    def job(self, job: str, grant: str = "CAN MANAGE RUN") -> AccessProbe:
        async def ask(identity: RequestIdentity) -> str:
            await self._get(identity, "/api/2.2/jobs/get", job_id=job)
            return "may be seen"

        # There is no scope for jobs: no person's token may ask for one.
        return AccessProbe(f"job {job}", f"{grant} on the job {job}", ask, as_app=True)

    def secret(self, scope: str, key: str) -> AccessProbe:
        async def ask(identity: RequestIdentity) -> str:
            await self._get(identity, "/api/2.0/secrets/get", scope=scope, key=key)
            return "may be read"

        return AccessProbe(f"secret {scope}/{key}", f"READ on the secret scope {scope}", ask, as_app=True)

    def securable(self, kind: str, name: str, privilege: str) -> AccessProbe:
        """`kind` is CONNECTION, FUNCTION, VOLUME, TABLE or another that Unity Catalog has by that name."""

        async def ask(identity: RequestIdentity) -> str:
            await self._get(identity, api_path(f"{_UNITY}/{kind.lower()}s", name))
            return "may be seen"

        catalog, _, rest = name.partition(".")
        above = f", USE CATALOG on {catalog} and USE SCHEMA on {catalog}.{rest.partition('.')[0]}" if rest else ""
        grant = f"{privilege.replace('_', ' ')} on the {kind.lower()} {name}{above}"
        return AccessProbe(f"{kind.lower()} {name}", grant, ask)

    def mcp_server(self, server: McpServer, settings: McpSettings) -> AccessProbe:
        async def ask(identity: RequestIdentity) -> str:
            mcp = await asyncio.to_thread(_import_mcp)
            authorization = authorization_for(server.url, self._workspace, settings.secret_of(server))
            connection = mcp.McpConnection(server.url, authorization, identity)
            try:
                client = await connection.client()
                return f"{len((await client.list_tools()).tools)} tools"
            except mcp.McpConnectionError as error:
                raise _refusal(error.status) or NotUsableError(f"no MCP server answers at {server.url}") from None
            finally:
                await connection.close()

        return AccessProbe(f"MCP server {server.name}", _mcp_grant(server.url), ask)


def _import_mcp() -> Any:  # noqa: ANN401 - the module
    from app.mcp_tools import connection  # noqa: PLC0415 - it takes a second

    return connection


def _refusal(status: int | None) -> Exception | None:
    if status in (401, 403):
        return WorkspacePermissionError(f"MCP: HTTP {status}")
    return WorkspaceNotFoundError("MCP: HTTP 404") if status == 404 else None


_MANAGED = re.compile(r"/api/2\.0/mcp/(?P<kind>[\w-]+)(?:/(?P<path>.*))?")
"""https://docs.databricks.com/aws/en/generative-ai/mcp/managed-mcp"""


def _mcp_grant(url: str) -> str:
    managed = _MANAGED.fullmatch(urlsplit(url).path.rstrip("/"))
    if managed is None:
        return f"access to {url}"
    name = ".".join(unquote(part) for part in (managed["path"] or "").split("/") if part)
    match managed["kind"]:
        case "external":
            return f"USE CONNECTION on the connection {name}"
        case "functions":
            return f"EXECUTE on {name}"
        case "genie":
            return f"CAN RUN on the Genie space {name}"
        case "vector-search" | "ai-search":
            return f"SELECT on {name}"
        case _:
            return f"access to {url}"
