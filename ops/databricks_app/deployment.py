"""Creates or updates an app, and deploys a folder to it, through databricks-sdk."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from databricks.sdk import WorkspaceClient
from databricks.sdk.errors import BadRequest, NotFound, ResourceConflict
from databricks.sdk.service.apps import (
    App,
    AppAccessControlRequest,
    AppDeployment,
    AppDeploymentMode,
    AppDeploymentState,
    AppPermissionLevel,
    AppResource,
    AppUpdateUpdateStatusUpdateState,
    ComputeSize,
    ComputeState,
    EnvVar,
)

from ops.databricks_app import AppError
from ops.databricks_app.bundle import AppBundle

# Databricks gives an app ten minutes to start, and its compute several more.
WAIT_SECONDS = 1200.0
_POLL_SECONDS = 3.0
_ENDED = {AppDeploymentState.SUCCEEDED, AppDeploymentState.FAILED, AppDeploymentState.CANCELLED}


_Answer = TypeVar("_Answer")


@dataclass(frozen=True)
class AppDeployer:
    """Raises `AppError`, and the SDK's errors."""

    workspace: WorkspaceClient
    bundle: AppBundle
    say: Callable[[str], object]
    clock: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep

    def configure(self) -> App:
        """The app, with the resources, scopes and permissions of the bundle, and its compute running.

        Only what differs is updated, and by name: an update without a mask resets all that it does not mention, the
        scopes among it (databricks-ai-bridge#608).
        """
        app = self._get()
        if app is None:
            app = self._create()
        else:
            self._update(app)
        self._share()
        return self._running()

    def deploy(self, source: str) -> App:
        """Deploys a workspace folder and waits until the app has it."""
        deployment = self._start_deployment(source)
        ended = self._wait("the deployment", lambda: self._ended(deployment))
        if ended.status is None or ended.status.state is not AppDeploymentState.SUCCEEDED:
            message = ended.status.message if ended.status else "no reason"
            raise AppError(
                f"Databricks could not start the app: {message}\n"
                f"Its log says more: databricks apps logs {self.bundle.name}"
            )
        return self._keep_scopes()

    def _get(self) -> App | None:
        try:
            return self.workspace.apps.get(self.bundle.name)
        except NotFound:
            return None

    def _existing(self) -> App:
        app = self._get()
        if app is None:
            raise AppError(f"The app {self.bundle.name} is gone: somebody has deleted it meanwhile.")
        return app

    def _create(self) -> App:
        self.say(f"Creating the app {self.bundle.name}; its compute takes a few minutes ...")
        try:
            return self.workspace.apps.create(self._wanted()).response
        except ResourceConflict:
            # Also where the SDK has repeated a call that was carried out and not answered.
            app = self._get()
            if app is None:
                raise AppError(
                    f"The name {self.bundle.name} is taken; an app that is being deleted keeps it."
                ) from None
            self._update(app)
            return app

    def _wanted(self) -> App:
        least, most = self.bundle.instances
        return App(
            name=self.bundle.name,
            description=self.bundle.description,
            resources=[app_resource(each) for each in self.bundle.resources],
            user_api_scopes=self.bundle.scopes,
            compute_size=ComputeSize(str(self.bundle.content["compute_size"])),
            compute_min_instances=least,
            compute_max_instances=most,
            forward_user_access_token=True if self.bundle.scopes else None,
        )

    def _update(self, app: App) -> None:
        wanted = self._wanted()
        wanted.resources = [*(wanted.resources or ()), *self._others(app)]
        if app.forward_user_access_token and not self.bundle.scopes:
            wanted.forward_user_access_token = False
        changed = changed_fields(app, wanted)
        if not changed:
            self.say(f"The app {app.name} is configured as the bundle says.")
            return
        self.say(f"Updating {', '.join(changed)} of the app {app.name} ...")
        self.workspace.apps.create_update(app.name, ",".join(changed), app=wanted)
        self._wait("the update", self._updated)
        if {"user_api_scopes", "forward_user_access_token"} & set(changed):
            self.say("The scopes have changed: the app is stopped and started, and people have to sign in again.")
            self._stop()

    def _others(self, app: App) -> list[AppResource]:
        """What somebody has added by hand stays: to take it away would take the app its grants."""
        named = {each["name"] for each in self.bundle.resources}
        others = [each for each in app.resources or () if each.name not in named]
        for each in others:
            self.say(f"The app has the resource {each.name}, which the bundle does not name; it stays.")
        return others

    def _updated(self) -> bool:
        status = self.workspace.apps.get_update(self.bundle.name).status
        if status and status.state is AppUpdateUpdateStatusUpdateState.FAILED:
            raise AppError(f"Databricks could not update the app: {status.message}")
        return status is not None and status.state is AppUpdateUpdateStatusUpdateState.SUCCEEDED

    def _share(self) -> None:
        """Adds permissions; those that others have stay."""
        entries = [
            AppAccessControlRequest(
                group_name=each.get("group_name"),
                user_name=each.get("user_name"),
                service_principal_name=each.get("service_principal_name"),
                permission_level=AppPermissionLevel(each["level"]),
            )
            for each in self.bundle.permissions
        ]
        if entries:
            self.workspace.apps.update_permissions(self.bundle.name, access_control_list=entries)

    def _stop(self) -> None:
        self.workspace.apps.stop(self.bundle.name)
        self._wait("the compute to stop", lambda: _compute(self._existing()) is ComputeState.STOPPED)

    def _running(self) -> App:
        app = self._existing()
        if _compute(app) in {ComputeState.STOPPED, ComputeState.STOPPING, ComputeState.ERROR}:
            self._wait("the compute to stop", lambda: _compute(self._existing()) is not ComputeState.STOPPING)
            self.say("Starting its compute ...")
            self.workspace.apps.start(self.bundle.name)
        return self._wait("the compute", self._active)

    def _active(self) -> App | None:
        app = self._existing()
        state = _compute(app)
        if state is ComputeState.ERROR:
            raise AppError(f"The app's compute failed: {app.compute_status and app.compute_status.message}")
        if state is ComputeState.DELETING:
            raise AppError(f"The app {app.name} is being deleted. Wait until it is gone, and deploy again.")
        if state is ComputeState.STOPPED:
            raise AppError("The app's compute was stopped meanwhile.")
        return app if state is ComputeState.ACTIVE else None

    def _start_deployment(self, source: str) -> str:
        """Another deployment may be under way: Databricks begins one by itself when compute starts (cli#2153). Each
        upload has a path of its own, which tells ours from another of the same build.
        """
        wanted = AppDeployment(
            source_code_path=source,
            mode=AppDeploymentMode.SNAPSHOT,
            command=self.bundle.command,
            env_vars=[EnvVar(each.name, each.value, each.value_from) for each in self.bundle.settings],
        )
        ends = self.clock() + WAIT_SECONDS
        while True:
            self._wait_for_others(source)
            try:
                self.say("Deploying ...")
                started: Any = self.workspace.apps.deploy(self.bundle.name, wanted).response
                return str(started.deployment_id)
            except BadRequest as error:
                # The SDK repeats a call that was carried out and not answered; what is pending is then ours.
                pending = self._existing().pending_deployment
                if pending is not None and pending.source_code_path == source:
                    return str(pending.deployment_id)
                if "in progress" not in str(error) or self.clock() > ends:
                    raise
                self.pause(_POLL_SECONDS)

    def _wait_for_others(self, source: str) -> None:
        pending = self._existing().pending_deployment
        if pending is not None and pending.deployment_id and pending.source_code_path != source:
            self.say("Another deployment is under way; waiting for it ...")
            other = pending.deployment_id
            self._wait("another deployment", lambda: self._ended(other))

    def _ended(self, deployment: str) -> AppDeployment | None:
        found = self.workspace.apps.get_deployment(self.bundle.name, deployment)
        return found if found.status and found.status.state in _ENDED else None

    def _keep_scopes(self) -> App:
        """Deployments have lost scopes; then they are set once more, and the app is started again."""
        app = self._existing()
        missing = missing_scopes(self.bundle, app)
        if not missing:
            return app
        self.say(f"The deployment has lost the scopes {', '.join(missing)}; setting them again ...")
        self._update(app)
        app = self._running()
        missing = missing_scopes(self.bundle, app)
        if missing:
            raise AppError(
                f"The app does not get the scopes {', '.join(missing)}. An administrator may have restricted them: "
                "Settings, Development, Apps."
            )
        return app

    def _wait(self, what: str, ask: Callable[[], _Answer | None]) -> _Answer:
        """Asks until the answer is true."""
        ends = self.clock() + WAIT_SECONDS
        while not (answer := ask()):
            if self.clock() > ends:
                raise AppError(f"Waited {WAIT_SECONDS / 60:.0f} minutes for {what} of {self.bundle.name} in vain.")
            self.pause(_POLL_SECONDS)
        return answer


def app_resource(resource: Mapping[str, Any]) -> AppResource:
    """Raises `AppError` for what the SDK does not know: it would leave it out."""
    plain = _plain(resource)
    found = AppResource.from_dict(plain)
    if found.as_dict() != plain:
        raise AppError(f"databricks-sdk does not know a permission or field of the resource {resource.get('name')}.")
    return found


def _plain(value: Any) -> Any:  # noqa: ANN401 - as large as what is given
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    return str(value)


def changed_fields(app: App, wanted: App) -> list[str]:
    """The fields of `wanted` that differ in `app`; what Databricks has added to them by itself does not count."""
    now = {"resources": [], "user_api_scopes": [], **app.as_dict()}
    # The SDK leaves out empty lists.
    then = {"resources": [], "user_api_scopes": [], **wanted.as_dict()}
    changed = [name for name, value in then.items() if not _SAME.get(name, _contains)(now.get(name), value)]
    # Databricks takes these two only together.
    pair = ["compute_min_instances", "compute_max_instances"]
    return [*(each for each in changed if each not in pair), *(pair if set(pair) & set(changed) else ())]


def _same_resources(now: list[dict[str, Any]], wanted: list[dict[str, Any]]) -> bool:
    by_name = {each["name"]: each for each in now}
    return len(now) == len(wanted) and all(_contains(by_name.get(each["name"]), each) for each in wanted)


def _contains(now: object, wanted: object) -> bool:
    if isinstance(now, Mapping) and isinstance(wanted, Mapping):
        return all(_contains(now.get(key), value) for key, value in wanted.items())
    return now == wanted


_SAME: Mapping[str, Callable[[Any, Any], bool]] = {
    "resources": _same_resources,
    "user_api_scopes": lambda now, wanted: set(now) == set(wanted),
}


def missing_scopes(bundle: AppBundle, app: App) -> list[str]:
    return sorted(set(bundle.scopes) - set(app.effective_user_api_scopes or ()))


def _compute(app: App) -> ComputeState | None:
    return app.compute_status.state if app.compute_status else None
