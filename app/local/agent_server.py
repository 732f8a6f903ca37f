"""`python dev.py agent-server`: the agent server and its page on this machine, until Ctrl-C."""

from __future__ import annotations

import signal

if __name__ == "__main__":
    # Ctrl-C ends the process during the imports, without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import argparse
import asyncio
import os
import sys
import webbrowser
from collections.abc import Mapping
from pathlib import Path

from app.common.printable import printable
from app.local.bot_process import start_stand_in
from app.local.lifetime import port_number, stop_requested
from app.local.local_settings import ROOT, LocalSettingsError, add_local_settings, workspace_is_configured
from app.local.processes import ChildFailedError, Children
from app.local.stand_in_workspace import JOB_WATCH_SETTINGS
from ops.command import DEV
from ops.databricks_app import AppError
from ops.databricks_app.page import build_page

DEFAULT_PORT = 8000
_START_SECONDS = 90.0
# On this machine everybody may approve.
_WATCH_OF_SAMPLE_JOBS = {
    **{name: JOB_WATCH_SETTINGS[name] for name in ("JOB_WATCH_MODE", "JOB_WATCH_ALLOW")},
    "AGENT_SERVER_WATCH_JOBS_EVERY": "10s",
}
_READY = r"The agent server listens at (http://\S+)"


def say(line: str) -> None:
    print(line, flush=True)


async def run(options: argparse.Namespace) -> None:
    """Until Ctrl-C. Raises `ChildFailedError` as soon as one of the processes ends by itself."""
    async with Children() as children:
        work = asyncio.create_task(_start_and_watch(children, options))
        stop = asyncio.create_task(stop_requested())
        await asyncio.wait([work, stop], return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if work.done():
            await work
        work.cancel()
        say("Stopping ...")


async def _start_and_watch(children: Children, options: argparse.Namespace) -> None:
    root = options.root.resolve()
    page = await asyncio.to_thread(build_page, root, say)
    settings = dict(os.environ)
    add_local_settings(settings, root)
    settings.setdefault("DATA_DIR", str(root / ".data" / "agent-server"))
    stand_in = not workspace_is_configured(settings)
    if stand_in:
        say("Starting the stand-in workspace ...")
        settings = _WATCH_OF_SAMPLE_JOBS | settings | await start_stand_in(children)
    say("Starting the agent server ...")
    reload = ["--reload"] if options.reload else []
    server = await children.start(
        "The agent server",
        [sys.executable, "-m", "agent_server", "--port", str(options.port), *reload],
        ready=_READY,
        environment=settings,
        show=lambda line: say(f"server | {printable(line)}"),
        folder=root,
    )
    url = (await server.ready(_START_SECONDS))[1]
    for line in summary(url, settings, stand_in=stand_in, page=page):
        say(line)
    if page and not options.no_browser:
        await asyncio.to_thread(webbrowser.open, url)
    ended = await children.first_to_end()
    raise ChildFailedError(ended.failure_text())


def summary(url: str, settings: Mapping[str, str], *, stand_in: bool, page: bool) -> list[str]:
    model, workspace = settings.get("DATABRICKS_MODEL_NAME", ""), settings.get("DATABRICKS_BASE_URL", "")
    where = "a stand-in workspace on this machine" if stand_in else f"at {workspace}"
    asked = '{"input": "How did revenue develop by month?"}'
    lines = ["", f"  page    {url}" if page else "  page    not built: it needs Node.js 22, with npm"]
    lines += [
        f"  model   {model}, {where}",
        "",
        f"  curl {url}/responses -H 'Content-Type: application/json' -d '{asked}'",
        "",
    ]
    if stand_in:
        lines.append('Ask for example "How did revenue develop by month?": the answer has a table and a chart.')
        lines.append("The tab Jobs has sample jobs, some of which have failed.")
    return [*lines, "Ctrl-C ends everything.", ""]


def main() -> int:
    parser = argparse.ArgumentParser(prog=f"{DEV} agent-server", description=__doc__)
    parser.add_argument("--port", type=port_number, default=DEFAULT_PORT, help="(default: %(default)s)")
    parser.add_argument("--reload", action="store_true", help="start again after each change of a Python file")
    parser.add_argument("--no-browser", action="store_true", help="do not open the page")
    parser.add_argument("--root", type=Path, default=ROOT, help="the folder of agent_server")
    options = parser.parse_args()
    try:
        asyncio.run(run(options))
    except (AppError, LocalSettingsError, ChildFailedError) as error:
        print(printable(str(error)), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
