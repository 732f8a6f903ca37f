"""The bot on this machine: the function host, and a stand-in workspace where no real one is configured."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from app.local.local_settings import add_local_settings, workspace_is_configured
from app.local.processes import Children
from app.local.stand_in_workspace import JOB_WATCH_SETTINGS, SETTINGS

_START_SECONDS = 90.0


@dataclass(frozen=True, slots=True)
class RunningBot:
    """`stand_in`: the workspace is the stand-in on this machine. `authenticates`: callers need a token."""

    endpoint: str
    port: int
    model: str
    workspace: str
    stand_in: bool
    authenticates: bool


async def start_bot(
    children: Children,
    root: Path,
    port: int,
    show: Callable[[str], object] | None = None,
    *,
    ephemeral: bool = False,
    settings_first: Mapping[str, str] = {},
) -> RunningBot:
    """`show` is given the host's log lines; an `ephemeral` bot keeps conversations only while it runs.

    `settings_first` hold whatever else is set.

    Raises `ChildFailedError` and `LocalSettingsError`.
    """
    settings = dict(os.environ)
    add_local_settings(settings, root)
    stand_in = not workspace_is_configured(settings)
    if stand_in:
        settings |= await start_stand_in(children)
        settings = JOB_WATCH_SETTINGS | settings
    settings |= settings_first
    options = ["--port", str(port), "--root", str(root), "--parent", str(os.getpid())]
    host = await children.start(
        "The function host",
        [sys.executable, "-m", "app.local", *options, *(["--ephemeral"] if ephemeral else [])],
        ready=r"ready at http://127\.0\.0\.1:(\d+)",
        environment=settings,
        show=show,
    )
    actual = int((await host.ready(_START_SECONDS))[1])
    return RunningBot(
        endpoint=f"http://127.0.0.1:{actual}/api/messages",
        port=actual,
        model=settings.get("DATABRICKS_MODEL_NAME", ""),
        workspace=settings.get("DATABRICKS_BASE_URL", ""),
        stand_in=stand_in,
        authenticates=bool(settings.get("MicrosoftAppId")),
    )


async def start_stand_in(children: Children) -> dict[str, str]:
    """Returns the settings that make the agent use it, in place of those in the environment."""
    token = secrets.token_urlsafe(24)
    workspace = await children.start(
        "The stand-in workspace",
        [sys.executable, "-m", "app.local.stand_in_workspace", "--parent", str(os.getpid())],
        ready=r"^DATABRICKS_BASE_URL=(\S+)",
        environment={**os.environ, "DATABRICKS_TOKEN": token},
    )
    return {
        "DATABRICKS_BASE_URL": (await workspace.ready(_START_SECONDS))[1],
        **SETTINGS,
        "DATABRICKS_TOKEN": token,
        "DATABRICKS_API": "auto",
        "DATABRICKS_AUTH_TYPE": "",
    }
