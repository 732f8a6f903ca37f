"""A stand-in of Databricks Apps: the Apps API, and each app's address.

https://docs.databricks.com/api/workspace/apps
"""

from __future__ import annotations

import json
import re
import uuid
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from app.local.stand_in_replies import RefusedRequestError, invalid_parameter, json_of
from app.local.workspace_files_stand_in import WorkspaceFilesStandIn

Json = dict[str, Any]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

SCOPES_OF_EVERY_APP = ("iam.access-control:read", "iam.current-user:read")
_NAME = re.compile(r"[a-z0-9-]{2,30}")
_CONFIGURED = (
    *("description", "resources", "user_api_scopes", "compute_size", "compute_min_instances", "compute_max_instances"),
    "forward_user_access_token",
)
_PERMISSIONS = {"CAN_USE", "CAN_MANAGE"}
_KINDS: Mapping[str, set[str]] = {
    "serving_endpoint": {"CAN_VIEW", "CAN_QUERY", "CAN_MANAGE"},
    "genie_space": {"CAN_VIEW", "CAN_RUN", "CAN_EDIT", "CAN_MANAGE"},
    "sql_warehouse": {"CAN_USE", "CAN_MANAGE", "IS_OWNER"},
    "experiment": {"CAN_READ", "CAN_EDIT", "CAN_MANAGE"},
    "job": {"CAN_VIEW", "CAN_MANAGE_RUN", "CAN_MANAGE", "IS_OWNER"},
    "app": {"CAN_USE"},
    "postgres": {"CAN_CONNECT_AND_CREATE"},
    "database": {"CAN_CONNECT_AND_CREATE"},
    "secret": {"READ", "WRITE", "MANAGE"},
    "uc_securable": {"EXECUTE", "MODIFY", "READ_VOLUME", "SELECT", "USE_CONNECTION", "WRITE_VOLUME"},
}


@dataclass(slots=True)
class Deployment:
    """`polls`: how often it is still said to be in progress."""

    id: str
    body: Json
    polls: int
    outcome: str
    message: str
    files: Mapping[str, bytes]
    state: str = "IN_PROGRESS"

    def to_json(self) -> Json:
        status = {"state": self.state, "message": self.message if self.state != "IN_PROGRESS" else "Installing"}
        return {"deployment_id": self.id, **self.body, "status": status}


@dataclass(slots=True)
class App:
    """`compute_polls` and `update_polls`: how often its compute or its update is still said to be under way."""

    name: str
    configured: Json
    compute: str = "STARTING"
    compute_polls: int = 0
    update: str = "NOT_UPDATED"
    update_polls: int = 0
    deployments: list[Deployment] = field(default_factory=list)
    active: Deployment | None = None
    acl: dict[tuple[str, str], str] = field(default_factory=dict)

    @property
    def pending(self) -> Deployment | None:
        return next((each for each in self.deployments if each.state == "IN_PROGRESS"), None)


class AppsStandIn:
    """What tests set and look at:

    `apps` by name; `files` of the workspace; `calls` in order, such as "POST apps"; `polls`: how often what takes time
    is still under way; `outcomes` of the next deployments, as state and message; `faults`: statuses of the next calls,
    by their entry in `calls`, and `faults_after` of those that are carried out all the same; `loses_scopes`:
    deployments reset the scopes, as has been seen; `answers_as`: the commit that every app's health names instead of
    the deployed one; `deploys_at_start`: compute that starts deploys the last deployment once more; `address`: where
    `app_routes` are served.
    """

    def __init__(self, token: str, *, polls: int = 0) -> None:
        self.token = token
        self.polls = polls
        self.apps: dict[str, App] = {}
        self.files = WorkspaceFilesStandIn()
        self.calls: list[str] = []
        self.outcomes: deque[tuple[str, str]] = deque()
        self.faults: defaultdict[str, deque[int]] = defaultdict(deque)
        self.faults_after: defaultdict[str, deque[int]] = defaultdict(deque)
        self.loses_scopes = False
        self.answers_as: str | None = None
        self.deploys_at_start = False
        self.address = ""

    def routes(self) -> Sequence[web.RouteDef]:
        apps, one = "/api/2.0/apps", "/api/2.0/apps/{name}"
        permissions = "/api/2.0/permissions/apps/{name}"
        return (
            web.post(apps, self._call("POST apps", self._create)),
            web.get(one, self._call("GET app", self._get)),
            web.patch(one, self._call("PATCH app", self._replace)),
            web.post(f"{one}/update", self._call("POST update", self._update)),
            web.get(f"{one}/update", self._call("GET update", self._get_update)),
            web.post(f"{one}/start", self._call("POST start", self._start)),
            web.post(f"{one}/stop", self._call("POST stop", self._stop)),
            web.post(f"{one}/deployments", self._call("POST deployments", self._deploy)),
            web.get(f"{one}/deployments/{{deployment}}", self._call("GET deployment", self._get_deployment)),
            web.get(permissions, self._call("GET permissions", self._get_permissions)),
            web.patch(permissions, self._call("PATCH permissions", self._add_permissions)),
            *self.files.routes(),
        )

    def app_routes(self) -> Sequence[web.RouteDef]:
        """The addresses of the apps, which are behind a sign-in of their own: a browser's, or an OAuth token."""
        return (web.get("/apps/{name}/api/health", self._app_health),)

    def _call(self, name: str, handler: Handler) -> Handler:
        async def call(request: web.Request) -> web.StreamResponse:
            self.calls.append(name)
            if self.faults[name]:
                raise RefusedRequestError(self.faults[name].popleft(), "TEMPORARILY_UNAVAILABLE", "Try again.")
            answer = await handler(request)
            if self.faults_after[name]:
                raise RefusedRequestError(self.faults_after[name].popleft(), "TEMPORARILY_UNAVAILABLE", "Try again.")
            return answer

        return call

    # The app

    async def _create(self, request: web.Request) -> web.Response:
        body = await json_of(request)
        name = str(body.get("name", ""))
        if not _NAME.fullmatch(name):
            raise invalid_parameter("App name must contain only lowercase alphanumeric characters and hyphens.")
        if name in self.apps:
            raise RefusedRequestError(
                409, "RESOURCE_ALREADY_EXISTS", f"An app with the same name already exists: {name}"
            )
        app = App(name, {key: body[key] for key in _CONFIGURED if key in body}, compute_polls=self.polls)
        _check_resources(app.configured)
        if request.query.get("no_compute") == "true":
            app.compute = "STOPPED"
        self.apps[name] = app
        return web.json_response(self._app_json(app))

    async def _get(self, request: web.Request) -> web.Response:
        app = self._app(request)
        self._advance(app)
        return web.json_response(self._app_json(app))

    async def _replace(self, request: web.Request) -> web.Response:
        """Fields that the body leaves out are cleared, scopes among them."""
        app, body = self._app(request), await json_of(request)
        app.configured = {key: body[key] for key in _CONFIGURED if key in body}
        return web.json_response(self._app_json(app))

    async def _update(self, request: web.Request) -> web.Response:
        app, body = self._app(request), await json_of(request)
        fields = str(body.get("update_mask", "")).split(",")
        if not set(fields) <= set(_CONFIGURED):
            raise invalid_parameter(f"Unknown field in update_mask: {fields}")
        given = body.get("app", {})
        configured = {**app.configured, **{name: given.get(name) for name in fields}}
        configured = {name: value for name, value in configured.items() if value is not None}
        _check_resources(configured)
        app.configured = configured
        app.update, app.update_polls = "IN_PROGRESS", self.polls
        return web.json_response({**given, "status": {"state": app.update}})

    async def _get_update(self, request: web.Request) -> web.Response:
        app = self._app(request)
        if app.update == "IN_PROGRESS":
            app.update_polls -= 1
            if app.update_polls < 0:
                app.update = "SUCCEEDED"
        return web.json_response({"status": {"state": app.update, "message": "Updated"}})

    async def _start(self, request: web.Request) -> web.Response:
        app = self._app(request)
        if app.compute in {"ACTIVE", "STARTING"}:
            raise RefusedRequestError(400, "INVALID_STATE", f"App {app.name} compute is in {app.compute} state.")
        app.compute, app.compute_polls = "STARTING", self.polls
        if app.active is not None and self.deploys_at_start:
            app.deployments.append(
                Deployment(uuid.uuid4().hex, app.active.body, self.polls, "SUCCEEDED", "", app.active.files)
            )
        return web.json_response(self._app_json(app))

    async def _stop(self, request: web.Request) -> web.Response:
        app = self._app(request)
        app.compute, app.compute_polls = "STOPPING", self.polls
        return web.json_response(self._app_json(app))

    def _advance(self, app: App) -> None:
        if app.compute in {"STARTING", "STOPPING"}:
            app.compute_polls -= 1
            if app.compute_polls < 0:
                app.compute = "ACTIVE" if app.compute == "STARTING" else "STOPPED"

    def _app(self, request: web.Request) -> App:
        name = request.match_info["name"]
        if name not in self.apps:
            raise RefusedRequestError(
                404, "RESOURCE_DOES_NOT_EXIST", f"App with name {name} does not exist or is deleted."
            )
        return self.apps[name]

    def _app_json(self, app: App) -> Json:
        scopes = sorted({*SCOPES_OF_EVERY_APP, *app.configured.get("user_api_scopes", ())})
        answer: Json = {
            "name": app.name,
            **app.configured,
            "effective_user_api_scopes": scopes,
            "compute_status": {"state": app.compute, "message": f"App compute is {app.compute.lower()}."},
            "service_principal_client_id": str(uuid.uuid5(uuid.NAMESPACE_DNS, app.name)),
            "service_principal_name": f"app-{app.name}",
            "url": f"{self.address}/apps/{app.name}",
        }
        if app.active is not None:
            answer["active_deployment"] = app.active.to_json()
        if app.pending is not None:
            answer["pending_deployment"] = app.pending.to_json()
        return answer

    # Deployments

    async def _deploy(self, request: web.Request) -> web.Response:
        app, body = self._app(request), await json_of(request)
        if app.compute != "ACTIVE":
            raise RefusedRequestError(
                400, "INVALID_STATE", f"App {app.name} compute is in {app.compute} state, it must be ACTIVE to deploy."
            )
        if app.pending is not None:
            raise RefusedRequestError(
                400, "INVALID_STATE", f"Cannot deploy app {app.name} as there is an active deployment in progress."
            )
        source = str(body.get("source_code_path", "")).rstrip("/")
        files = self.files.below(source)
        if not files:
            raise RefusedRequestError(404, "RESOURCE_DOES_NOT_EXIST", f"Path ({source}) does not exist.")
        state, message = self.outcomes.popleft() if self.outcomes else _outcome(app, body, files)
        deployment = Deployment(uuid.uuid4().hex, body, self.polls, state, message, files)
        app.deployments.append(deployment)
        return web.json_response(deployment.to_json())

    async def _get_deployment(self, request: web.Request) -> web.Response:
        app = self._app(request)
        deployment = next((each for each in app.deployments if each.id == request.match_info["deployment"]), None)
        if deployment is None:
            raise RefusedRequestError(404, "RESOURCE_DOES_NOT_EXIST", "There is no such deployment.")
        if deployment.state == "IN_PROGRESS":
            deployment.polls -= 1
            if deployment.polls < 0:
                self._end(app, deployment)
        return web.json_response(deployment.to_json())

    def _end(self, app: App, deployment: Deployment) -> None:
        deployment.state = deployment.outcome
        if deployment.state == "SUCCEEDED":
            app.active = deployment
            if self.loses_scopes:
                app.configured.pop("user_api_scopes", None)

    async def _app_health(self, request: web.Request) -> web.StreamResponse:
        app = self.apps.get(request.match_info["name"])
        given = request.headers.get("Authorization", "")
        if given != f"Bearer {self.token}" or self.token.startswith("dapi"):
            return web.Response(status=302, headers={"Location": "/oidc/oauth2/v2.0/authorize"})
        if app is None or app.active is None or app.compute != "ACTIVE":
            return web.Response(status=502, text="App Not Available")
        build = json.loads(app.active.files.get("build.json", b"{}"))
        commit = self.answers_as if self.answers_as is not None else build.get("commit")
        return web.json_response({"status": "healthy", "version": build.get("version"), "git_commit": commit})

    # Permissions

    async def _get_permissions(self, request: web.Request) -> web.Response:
        return web.json_response(_acl_json(self._app(request)))

    async def _add_permissions(self, request: web.Request) -> web.Response:
        app = self._app(request)
        for entry in (await json_of(request)).get("access_control_list", ()):
            if entry.get("permission_level") not in _PERMISSIONS:
                raise invalid_parameter(f"Unknown permission level {entry.get('permission_level')}")
            (kind,) = [key for key in entry if key != "permission_level"]
            app.acl[kind, entry[kind]] = entry["permission_level"]
        return web.json_response(_acl_json(app))


def _check_resources(configured: Mapping[str, Any]) -> None:
    for resource in configured.get("resources", ()):
        kinds = set(resource) & set(_KINDS)
        if len(kinds) != 1 or not resource.get("name"):
            raise invalid_parameter(f"A resource has a name and one kind: {resource}")
        (kind,) = kinds
        if resource[kind].get("permission") not in _KINDS[kind]:
            raise invalid_parameter(f"Invalid permission for {kind}: {resource[kind].get('permission')}")


def _outcome(app: App, body: Mapping[str, Any], files: Mapping[str, bytes]) -> tuple[str, str]:
    """What Databricks would say of these files and settings."""
    resources = {each["name"] for each in app.configured.get("resources", ())}
    for setting in body.get("env_vars", ()):
        if setting.get("value_from") and setting["value_from"] not in resources:
            return "FAILED", f"Error resolving resource {setting['value_from']} specified in app.yaml."
    if not body.get("command") and "app.yaml" not in files:
        return "FAILED", "No command to run: there is no app.yaml."
    if "requirements.txt" in files:
        return "FAILED", "Error installing packages: requirements.txt."
    if not {"pyproject.toml", "uv.lock"} <= set(files):
        return "FAILED", "Error installing packages: pyproject.toml and uv.lock are needed."
    return "SUCCEEDED", "App started successfully"


def _acl_json(app: App) -> Json:
    entries = [
        {kind: name, "all_permissions": [{"permission_level": level, "inherited": False}]}
        for (kind, name), level in app.acl.items()
    ]
    return {"object_id": f"/apps/{app.name}", "object_type": "apps", "access_control_list": entries}
