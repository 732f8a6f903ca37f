"""Puts the folder among the workspace's files, each build at a place of its own."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import PurePosixPath

from databricks.sdk import WorkspaceClient
from databricks.sdk.errors import NotFound
from databricks.sdk.service.workspace import ImportFormat

from ops.databricks_app.folder import AppFolder

_AT_ONCE = 8
_KEPT_BUILDS = 3


def upload(workspace: WorkspaceClient, folder: AppFolder, parent: str, say: Callable[[str], object]) -> str:
    """The workspace path of the uploaded folder, a new one below `parent`. Raises the SDK's errors."""
    target = f"{parent}/{folder.build}-{datetime.now(UTC):%Y%m%d%H%M%S%f}"
    files = folder.files()
    say(f"Uploading {len(files)} files to {target} ...")
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        directories = sorted({str(PurePosixPath(target, file).parent) for file in files})
        list(pool.map(workspace.workspace.mkdirs, directories))

        def put(file: str) -> None:
            # RAW: a file that looks like a notebook would become one, and no app could import it.
            content = (folder.path / file).read_bytes()
            workspace.workspace.upload(f"{target}/{file}", content, format=ImportFormat.RAW, overwrite=True)

        list(pool.map(put, files))
    return target


def delete_old_builds(workspace: WorkspaceClient, parent: str, current: str) -> None:
    """Keeps the last uploads; deployed apps have copies of their own."""
    try:
        builds = [each.path for each in workspace.workspace.list(parent) if each.path and each.path != current]
    except NotFound:
        return
    builds.sort(key=lambda path: path.rpartition("-")[2])
    for path in builds[: -(_KEPT_BUILDS - 1)]:
        workspace.workspace.delete(path, recursive=True)
