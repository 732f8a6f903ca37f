"""`python dev.py doctor`: whether the bot can answer on this machine, and if not, what to change where."""

from __future__ import annotations

import signal

if __name__ == "__main__":
    # Ctrl-C ends the process during the imports, without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

from app.common.printable import printable
from app.local.local_settings import FILE_NAME, ROOT, LocalSettingsError, workspace_is_configured
from app.local.settings_doctor import Finding, LocalSettings, settings_findings
from app.models import model_errors
from ops.command import DEV

if TYPE_CHECKING:
    from app.composition.core import Core

_CHECK_SECONDS = 20.0
_BROWSER_SIGN_IN = "external-browser"


async def answering_findings(settings: LocalSettings) -> list[Finding]:
    """Asks the workspace with the credential for the endpoint, and the storage. Only for settings that are valid."""
    core = await asyncio.to_thread(_core, settings)
    try:
        checks = [_check_storage(core, settings)]
        if workspace_is_configured(settings.values):
            checks.append(_check_model(core, settings))
        return [finding for finding in await asyncio.gather(*checks) if finding is not None]
    finally:
        await core.close()


def _core(settings: LocalSettings) -> Core:
    from app.composition.core import Core  # noqa: PLC0415 - slow to import, while the bot itself starts

    validated = settings.validated()
    return Core(validated, managed_identity_client_id=validated.bot.app_id)


async def _check_model(core: Core, settings: LocalSettings) -> Finding | None:
    databricks = core.settings.databricks
    if databricks.auth_type == _BROWSER_SIGN_IN and databricks.token is None:
        return None
    failure = await _failure(lambda: core.model.check_ready(time_limit_seconds=_CHECK_SECONDS / 2))
    if failure is None:
        return None
    model = f"model {databricks.model_name}"
    what, fix = _explained(failure, settings)
    return Finding(
        f"{printable(model)}: {what}",
        fix,
        wrong=not isinstance(failure, model_errors.EndpointUnavailableError | model_errors.RateLimitedError),
    )


def _explained(failure: Exception, settings: LocalSettings) -> tuple[str, str]:
    credential = _credential(settings)
    said = printable(" ".join(str(failure).split()))[:300]
    url, name = _with_source("DATABRICKS_BASE_URL", settings), _with_source("DATABRICKS_MODEL_NAME", settings)
    match failure:
        case model_errors.MissingCredentialError():
            return f"no credential ({said})", f"check {credential}"
        case model_errors.SignInError():
            return "refused (401)", f"check {credential}: it is wrong, has expired, or is of another workspace"
        case model_errors.AddressBlockedError():
            return "refused by the workspace's IP access list", "ask for this network's address to be added to it"
        case model_errors.PermissionDeniedError():
            return "refused (403)", f"grant Can Query on the endpoint to the identity of {credential}"
        case model_errors.UnknownModelError():
            return "there is no serving endpoint of that name (404)", f"check {name}, and the workspace in {url}"
        case model_errors.EndpointUnavailableError() | model_errors.RateLimitedError():
            return f"not ready ({said})", "wait for it, or look at it in the workspace under Serving"
        case model_errors.EndpointUnreachableError() | model_errors.ModelTimeoutError() | TimeoutError():
            return f"the workspace does not answer ({said or 'no answer in time'})", f"check {url}, and the network"
        case _:
            return f"{type(failure).__name__} ({said})", f"check {url}: is it https://<workspace>/serving-endpoints?"


def _credential(settings: LocalSettings) -> str:
    """The setting of the credential in use: the first that is configured, as in app/databricks/credentials.py."""
    for name in ("DATABRICKS_TOKEN", "DATABRICKS_CLIENT_SECRET", "DATABRICKS_AUTH_TYPE", "DATABRICKS_CONFIG_PROFILE"):
        if settings.values.get(name, "").strip():
            return _with_source(name, settings)
    return f"what databricks-sdk signs in with, or put DATABRICKS_TOKEN in {FILE_NAME}"


def _with_source(name: str, settings: LocalSettings) -> str:
    return f"{name} in {settings.source_of(name)}"


async def _check_storage(core: Core, settings: LocalSettings) -> Finding | None:
    failure = await _failure(core.store.ping) or await _failure(core.queue.ping)
    if failure is None:
        return None
    said = printable(" ".join(str(failure).split()))[:300] or type(failure).__name__
    if core.settings.storage.uses_storage_account:
        names = ("AzureWebJobsStorage", "AzureWebJobsStorage__tableServiceUri")
        name = next((name for name in names if settings.values.get(name, "").strip()), names[0])
        return Finding(
            f"storage of {_with_source(name, settings)} does not answer ({said})",
            "start Azurite if it is that, or empty the setting to keep conversations in a file",
        )
    file = core.settings.storage.conversations_file
    return Finding(f"{file} cannot be used ({said})", f"make {file.parent} writable, or set DATA_DIR to another folder")


async def _failure(check: Callable[[], Awaitable[object]]) -> Exception | None:
    try:
        async with asyncio.timeout(_CHECK_SECONDS):
            await check()
    except Exception as error:
        return error
    return None


async def _examine(root: Path) -> int:
    found = settings_findings(os.environ, root)
    file = root / FILE_NAME
    where = f"{file} and the environment" if file.exists() else f"the environment; there is no {file}"
    print(f"settings: {len([each for each in found if each.wrong])} wrong ({where})")
    _show(found)
    if any(each.wrong for each in found):
        return 1
    settings = LocalSettings(os.environ, root)
    started = time.monotonic()
    asked = await answering_findings(settings)
    if workspace_is_configured(settings.values):
        what = printable(f"{settings.values['DATABRICKS_MODEL_NAME']} at {settings.values['DATABRICKS_BASE_URL']}")
    else:
        what = "no workspace is configured; the stand-in model on this machine answers"
    print(f"model:    {what}")
    _show(asked)
    if any(each.wrong for each in asked):
        return 1
    print(f"Nothing is wrong; checked in {time.monotonic() - started:.1f} s.")
    return 0


def _show(findings: list[Finding]) -> None:
    for finding in findings:
        print(f"  {'wrong' if finding.wrong else 'note'}: {finding}")


def main() -> int:
    parser = argparse.ArgumentParser(prog=f"{DEV} doctor", description=__doc__)
    parser.add_argument("--root", type=Path, default=ROOT, help="the folder of local.settings.json")
    options = parser.parse_args()
    try:
        root = options.root.resolve()
        os.chdir(root)
        return asyncio.run(_examine(root))
    except LocalSettingsError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
