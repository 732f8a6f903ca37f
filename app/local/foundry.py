"""`python dev.py foundry`: an agent in a stand-in Foundry project asks ours through storage queues, on this machine."""

from __future__ import annotations

import signal

if __name__ == "__main__":
    # Ctrl-C ends the process during the imports, without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import argparse
import asyncio
import base64
import itertools
import json
import os
import secrets
import sys
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from aiohttp import ClientSession
from azure.core.exceptions import ResourceExistsError
from azure.storage.queue.aio import QueueServiceClient

from app.common.printable import printable
from app.config import SettingsError
from app.foundry.agents.agent_settings import load_agent_settings
from app.local.azurite import start_azurite
from app.local.bot_process import start_bot
from app.local.lifetime import LOOPBACK, stop_requested
from app.local.local_settings import ROOT, LocalSettingsError
from app.local.npm_package import NpmPackageError
from app.local.processes import ChildFailedError, Children
from app.local.run import BotLog
from ops.command import DEV

_QUESTION = "How did revenue develop by month?"
_START_SECONDS = 30.0
_NEVER = r"(?!)"
_INTERRUPTED = 130
_CONNECTION = "our-app"
_CLASSIC_MODEL = "gpt-4.1"
_SHOWN_CHARACTERS = 300


def say(line: str = "") -> None:
    print(line, flush=True)


async def run(options: argparse.Namespace) -> int:
    """0 where each step did what it should, and nothing is left. Raises `ChildFailedError` and `NpmPackageError`."""
    with tempfile.TemporaryDirectory(prefix="foundry-", ignore_cleanup_errors=True) as folder:
        async with Children() as children:
            work = asyncio.create_task(_steps(children, options, Path(folder)))
            stop = asyncio.create_task(stop_requested())
            await asyncio.wait([work, stop], return_when=asyncio.FIRST_COMPLETED)
            stop.cancel()
            if not work.done():
                say("Stopping ...")
                work.cancel()
            await asyncio.wait([work])
            return _INTERRUPTED if work.cancelled() else int(not work.result())


async def _steps(children: Children, options: argparse.Namespace, folder: Path) -> bool:
    root = options.root.resolve()
    say("1. Azurite, Microsoft's emulator of Azure storage, has the queues.")
    storage = await start_azurite(children, root / ".data" / "azurite")
    say("2. The function host answers what comes on them, with the stand-in workspace where no real one is configured.")
    log = BotLog(say, verbose=options.verbose)
    key = secrets.token_urlsafe(24)
    settings = {"AzureWebJobsStorage": storage, "DATA_DIR": str(folder), "FUNCTIONS_LOCAL_KEY": key}
    bot = await start_bot(children, root, 0, log.line, settings_first=settings)
    say(f"   model {bot.model} at {bot.workspace}")
    say("3. The stand-in Foundry project has the agents, and asks through the queues or over MCP.")
    settings = await _start_project(children, storage, key)
    if options.mcp:
        settings |= {
            "FOUNDRY_MCP_URL": f"http://{LOOPBACK}:{bot.port}/api/mcp",
            "FOUNDRY_MCP_CONNECTION": _CONNECTION,
        }
    if options.classic:
        settings["MODEL_DEPLOYMENT_NAME"] = _CLASSIC_MODEL
    for name, value in settings.items():
        say(f"   {name}={value}")
    tools = load_agent_settings(os.environ | settings, classic=options.classic).tools
    await create_tool_queues(storage, tools.queue_names.values())
    classic = ["--classic"] if options.classic else []
    done = True
    try:
        for at, command in enumerate((["preflight"], ["create"], ["ask", options.question]), start=4):
            done = done and await _command(children, settings, at, [*command, *classic])
            if command[0] == "ask":
                await _show_queues(settings)
        if options.keep:
            _say_how_to_ask_more(settings, folder / "foundry.env", root)
            say(f"MCP: http://{LOOPBACK}:{bot.port}/api/mcp, with the header x-functions-key: {key}")
            say("Ctrl-C removes the agents and ends it.")
            await asyncio.Event().wait()
    finally:
        removed = await _command(children, settings, 7, ["delete", *classic])
    left = (await _state(settings))["left"]
    say(f"What is left in the project: {', '.join(left) or 'nothing'}.")
    return done and removed and not left


async def create_tool_queues(storage: str, names: Iterable[str]) -> None:
    """As `infra/azure.bicep` makes them in Azure: `names` are those of the tools."""
    async with QueueServiceClient.from_connection_string(storage) as service:
        for name, end in itertools.product(names, ("input", "output")):
            with suppress(ResourceExistsError):
                await service.create_queue(f"azure-function-{name}-{end}")


def _say_how_to_ask_more(settings: Mapping[str, str], file: Path, root: Path) -> None:
    file.write_text("".join(f"{name}={value}\n" for name, value in settings.items()), encoding="utf-8")
    python = Path(sys.executable)
    program = python.relative_to(root) if python.is_relative_to(root) else python
    say(f"Ask more in another terminal, in {root}:")
    say(f'{program} -m app.foundry --env-file {file} ask "…"')


async def _start_project(children: Children, storage: str, key: str) -> dict[str, str]:
    """The settings that make `python -m app.foundry` use it."""
    settings: dict[str, str] = {}
    connections = {_CONNECTION: {"x-functions-key": key}}

    def note(line: str) -> None:
        name, _, value = line.partition("=")
        settings[name] = value

    project = await children.start(
        "The stand-in Foundry project",
        [sys.executable, "-m", "app.local.foundry_stand_in", "--forms", "all", "--parent", str(os.getpid())],
        ready=r"^PROJECT_ENDPOINT_ENT=(\S+)",
        environment={**os.environ, "FOUNDRY_STORAGE": storage, "FOUNDRY_CONNECTIONS": json.dumps(connections)},
        show=note,
    )
    settings["PROJECT_ENDPOINT_ENT"] = (await project.ready(_START_SECONDS))[1]
    return settings


async def _command(children: Children, settings: Mapping[str, str], at: int, arguments: list[str]) -> bool:
    shown = " ".join(f'"{each}"' if " " in each else each for each in arguments)
    say(f"{at}. python -m app.foundry {shown}")
    command = await children.start(
        "app.foundry",
        [sys.executable, "-m", "app.foundry", *arguments],
        ready=_NEVER,
        environment={**os.environ, **settings},
        show=lambda line: say(f"   {printable(line)}"),
    )
    assert command.ended
    try:
        await asyncio.wait([command.ended])
    finally:
        # It removes what it has made, where it still runs.
        await children.stop_one(command)
    if command.exit_code:
        say(f"   exit code {command.exit_code}")
    return command.exit_code == 0


async def _show_queues(settings: Mapping[str, str]) -> None:
    state = await _state(settings)
    for correlation_id, content in state["asked"].items():
        say(f"   queue, question  {_shortened(content)}")
        if not content.startswith("{"):
            say(f"            that is  {_shortened(base64.b64decode(content).decode())}")
        for value in state["values"].get(correlation_id, ()):
            say(f"   queue, answer    {_shortened(value)}")


async def _state(settings: Mapping[str, str]) -> dict[str, Any]:
    address = settings["PROJECT_ENDPOINT_ENT"].partition("/api/")[0]
    async with ClientSession() as client, client.get(f"{address}/control/state") as answer:
        state: dict[str, Any] = await answer.json()
    return state


def _shortened(text: str) -> str:
    line = " ".join(printable(text).split())
    return line if len(line) <= _SHOWN_CHARACTERS else f"{line[:_SHOWN_CHARACTERS]} …"


def main() -> int:
    parser = argparse.ArgumentParser(prog=f"{DEV} foundry", description=__doc__)
    parser.add_argument("question", nargs="?", default=_QUESTION, help="(default: %(default)s)")
    way = parser.add_mutually_exclusive_group()
    way.add_argument("--classic", action="store_true", help="the classic API: threads and runs")
    way.add_argument("--mcp", action="store_true", help="our tools over MCP, not through queues")
    parser.add_argument("--keep", action="store_true", help="keep it running until Ctrl-C, to ask by hand")
    parser.add_argument("--verbose", action="store_true", help="show all of the function host's log")
    parser.add_argument("--root", type=Path, default=ROOT, help="the folder of function_app.py and host.json")
    try:
        return asyncio.run(run(parser.parse_args()))
    except (LocalSettingsError, SettingsError, ChildFailedError, NpmPackageError) as error:
        print(printable(str(error)), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return _INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
