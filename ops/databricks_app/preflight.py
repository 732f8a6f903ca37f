"""`python dev.py preflight`: makes the folder that would be uploaded, starts it in an empty place, and asks it."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from app.local.bot_process import start_stand_in
from app.local.processes import ChildFailedError, Children
from ops.command import DEV
from ops.databricks_app import AppError
from ops.databricks_app.bundle import AppBundle, load_bundle
from ops.databricks_app.folder import AppFolder, make_folder
from ops.databricks_app.lock import write_lock
from ops.databricks_app.options import add_bundle_options, given_variables
from ops.databricks_app.page import build_page
from ops.databricks_app.trial import try_folder

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ".data/databricks-app"
_MODULE = "AGENT_SERVER_MODULE"


def say(line: str) -> None:
    print(line, flush=True)


def prepare_folder(root: Path, bundle: AppBundle, target: Path) -> AppFolder:
    """The folder with the page and the lock, not started. Raises `AppError`."""
    if not build_page(root, say):
        say("The page is not part of it: a program can ask the app, a person finds a note at /.")
    folder = make_folder(root, bundle, target, write_lock)
    say(f"{target}: {len(folder.files())} files, build {folder.build}, commit {folder.commit or 'unknown'}")
    return folder


async def start_and_ask(bundle: AppBundle, folder: AppFolder) -> None:
    """With the stand-in workspace's model. Raises `AppError` and `ChildFailedError`."""
    async with Children() as children:
        settings = await start_stand_in(children)
        if module := bundle.setting(_MODULE):
            settings[_MODULE] = module
        await try_folder(folder.path, bundle.command, settings, say)


def main(arguments: list[str], root: Path = ROOT) -> int:
    parser = argparse.ArgumentParser(prog=f"{DEV} preflight", description=__doc__)
    add_bundle_options(parser)
    parser.add_argument("--output", type=Path, default=root / FOLDER, help=f"the folder to write ({FOLDER})")
    options = parser.parse_args(arguments)
    try:
        # The stand-in workspace answers here, whichever endpoint the app will use.
        bundle = load_bundle(root, options.target, given_variables(options), complete=False)
        folder = prepare_folder(root, bundle, options.output)
        asyncio.run(start_and_ask(bundle, folder))
    except (AppError, ChildFailedError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    say("It is ready to be deployed.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
