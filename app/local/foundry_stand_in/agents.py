"""Agents and their versions, and the deployments of models that they use.

https://learn.microsoft.com/azure/foundry/reference/foundry-project-rest-preview
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from aiohttp import web

from app.local.foundry_stand_in.clock import Clock
from app.local.foundry_stand_in.refusals import (
    FailedToolCallError,
    Json,
    RefusedError,
    body_of,
    checked_metadata,
    invalid_payload,
    not_found,
    page_of,
)
from app.local.foundry_stand_in.tool_definitions import check_tools

_NAME = re.compile(r"[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?")
_MAX_VERSIONS = 1000
_CONNECTIONS = {"AzureStorageAccount": "storage", "CosmosDB": "cosmos", "CognitiveSearch": "search"}
"""Of a standard set-up, which keeps files, conversations and vectors in the customer's own resources."""


class Agents:
    """`deployments` are models by the name of their deployment. Only a standard set-up has Azure Functions as tools.

    `versions` of each agent, in order. `keys` are the headers of connections to MCP servers, by the connection's name.
    """

    def __init__(self, clock: Clock, deployments: Mapping[str, str]) -> None:
        self._clock = clock
        self.deployments = dict(deployments)
        self.standard_setup = True
        self.keys: dict[str, Mapping[str, str]] = {}
        self.versions: dict[str, list[Json]] = {}
        self._made: dict[str, int] = {}

    def routes(self) -> Sequence[web.RouteDef]:
        one, versions = "/agents/{name}", "/agents/{name}/versions"
        return (
            web.get("/agents", self._list),
            web.get(one, self._get),
            web.delete(one, self._delete),
            web.post(versions, self._create_version),
            web.get(versions, self._list_versions),
            web.get(f"{versions}/{{version}}", self._get_version),
            web.delete(f"{versions}/{{version}}", self._delete_version),
            web.get("/deployments", self._list_deployments),
            web.get("/deployments/{name}", self._get_deployment),
            web.get("/connections", self._list_connections),
        )

    def version(self, name: str, version: str | None = None) -> Json:
        """Raises `RefusedError`; without `version` the latest one."""
        versions = self.versions.get(name)
        if not versions:
            raise not_found("Agent", name)
        if version is None:
            return versions[-1]
        found = next((each for each in versions if each["version"] == version), None)
        if found is None:
            raise RefusedError(404, "not_found", f"Agent '{name}' with version '{version}' not found.")
        return found

    def model_of(self, deployment: str) -> str:
        """Raises `RefusedError`."""
        if deployment not in self.deployments:
            raise RefusedError(
                404,
                "DeploymentNotFound",
                "The API deployment for this resource does not exist. If you created the deployment within the last 5 "
                "minutes, please wait a moment and try again.",
            )
        return self.deployments[deployment]

    def headers_of(self, tool: Mapping[str, Any]) -> dict[str, str]:
        """What is sent to the MCP server of `tool`. Raises `FailedToolCallError`."""
        connection = tool.get("project_connection_id")
        if not connection:
            return dict(tool.get("headers") or {})
        name = str(connection).rsplit("/", 1)[-1]
        if name not in self.keys:
            raise FailedToolCallError(f"Connection '{name}' not found")
        return {**(tool.get("headers") or {}), **self.keys[name]}

    async def _create_version(self, request: web.Request) -> web.Response:
        name, body = request.match_info["name"], await body_of(request)
        definition = body.get("definition")
        if not _NAME.fullmatch(name):
            raise invalid_payload(f"Invalid agent name '{name}'.", "/name")
        if not isinstance(definition, dict) or definition.get("kind") != "prompt" or not definition.get("model"):
            raise invalid_payload("definition: a prompt agent with a model is needed.", "/definition")
        metadata = checked_metadata(body)
        check_tools(definition.get("tools") or (), standard_setup=self.standard_setup)
        versions = self.versions.setdefault(name, [])
        if len(versions) >= _MAX_VERSIONS:
            raise invalid_payload(f"An agent has at most {_MAX_VERSIONS} versions.")
        number = self._made[name] = self._made.get(name, 0) + 1
        versions.append(
            {
                "object": "agent.version",
                "id": f"{name}:{number}",
                "name": name,
                "version": str(number),
                "description": body.get("description") or "",
                "created_at": int(self._clock.now()),
                "metadata": metadata,
                "definition": definition,
                "status": "active",
            }
        )
        return web.json_response(versions[-1])

    async def _list(self, request: web.Request) -> web.Response:
        return page_of(request, [self._agent(name) for name in self.versions])

    async def _get(self, request: web.Request) -> web.Response:
        self.version(request.match_info["name"])
        return web.json_response(self._agent(request.match_info["name"]))

    def _agent(self, name: str) -> Json:
        state = {"state": "enabled", "configuration_state": "enabled"}
        return {"object": "agent", "id": name, "name": name, **state, "versions": {"latest": self.version(name)}}

    async def _delete(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        self.version(name)
        del self.versions[name]
        return web.json_response({"object": "agent.deleted", "name": name, "deleted": True})

    async def _list_versions(self, request: web.Request) -> web.Response:
        self.version(request.match_info["name"])
        versions = self.versions[request.match_info["name"]]
        return page_of(request, versions)

    async def _get_version(self, request: web.Request) -> web.Response:
        return web.json_response(self.version(request.match_info["name"], request.match_info["version"]))

    async def _delete_version(self, request: web.Request) -> web.Response:
        name, number = request.match_info["name"], request.match_info["version"]
        self.versions[name].remove(self.version(name, number))
        if not self.versions[name]:
            del self.versions[name]
        return web.json_response({"object": "agent.version.deleted", "name": name, "version": number, "deleted": True})

    async def _list_deployments(self, request: web.Request) -> web.Response:
        return web.json_response({"value": [_deployment(*each) for each in self.deployments.items()]})

    async def _get_deployment(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in self.deployments:
            raise not_found("Deployment", name)
        return web.json_response(_deployment(name, self.deployments[name]))

    async def _list_connections(self, request: web.Request) -> web.Response:
        wanted = request.query.get("connectionType")
        found = [*(_CONNECTIONS.items() if self.standard_setup else ()), *(("CustomKeys", name) for name in self.keys)]
        connections = [_connection(*each) for each in found if wanted in {None, each[0]}]
        return web.json_response({"value": connections})


def _deployment(name: str, model: str) -> Json:
    return {
        "type": "ModelDeployment",
        "name": name,
        "modelName": model,
        "modelVersion": "2025-11-13",
        "modelPublisher": "OpenAI",
        "capabilities": {"chat_completion": "true"},
        "sku": {"name": "GlobalStandard", "capacity": 50},
    }


def _connection(kind: str, name: str) -> dict[str, Any]:
    return {
        "name": name,
        "id": f"/connections/{name}",
        "type": kind,
        "target": f"https://{name}.example.com/",
        "isDefault": kind != "CustomKeys",
        "credentials": {"type": "CustomKeys" if kind == "CustomKeys" else "AAD"},
        "metadata": {},
    }
