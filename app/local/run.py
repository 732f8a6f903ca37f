"""`python dev.py run`: the bot and the Agents Playground on this machine, until Ctrl-C."""

from __future__ import annotations

import signal

if __name__ == "__main__":
    # Ctrl-C ends the process during the imports, without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import argparse
import asyncio
import os
import re
import shutil
import sys
import webbrowser
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from app.common.printable import printable
from app.local.bot_process import RunningBot, start_bot
from app.local.doctor import answering_findings
from app.local.lifetime import DEFAULT_PORT, PortInUseError, listen, port_number, stop_requested
from app.local.local_settings import FILE_NAME, ROOT, LocalSettingsError, workspace_is_configured
from app.local.npm_package import NoNodeError, NpmPackageError
from app.local.playground import DEFAULT_PORT as PLAYGROUND_PORT
from app.local.playground import installed_playground, start_playground
from app.local.processes import ChildFailedError, Children
from app.local.settings_doctor import LocalSettings
from ops.command import DEV

_RECORD = re.compile(r"\d{4}-\d\d-\d\d [\d:,]+ (?P<level>[A-Z]+) |(?:trace [0-9a-f]{32}|metric) ")
_TURN = re.compile(r"trace [0-9a-f]{32} (turn: .*)")


def say(line: str) -> None:
    with suppress(OSError):  # the window is closed, and SIGHUP on its way
        print(line, flush=True)


class BotLog:
    """Shows one line of the bot's log for each question, warnings and errors; everything where it is `verbose`."""

    def __init__(self, say: Callable[[str], object], *, verbose: bool) -> None:
        self._say = say
        self._verbose = verbose
        self._hides = False

    def line(self, text: str) -> None:
        text = printable(text)
        if self._verbose:
            self._say(f"bot | {text}")
        elif turn := _TURN.match(text):
            self._hides = True
            self._say(f"bot | {turn[1]}")
        else:
            record = _RECORD.match(text)
            if record or not text.startswith((" ", "\t")):
                # Other lines are the last output of a process that ends, or the traceback of an error.
                self._hides = record is not None and record["level"] in {None, "DEBUG", "INFO"}
            if not self._hides:
                self._say(f"bot | {text}")


async def run(settings: LocalSettings, options: argparse.Namespace) -> None:
    """Until Ctrl-C. Raises `ChildFailedError` as soon as one of the processes ends by itself."""
    async with Children() as children:
        work = asyncio.create_task(_start_and_watch(children, settings, options))
        stop = asyncio.create_task(stop_requested())
        await asyncio.wait([work, stop], return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            stop.cancel()
            await work
        work.cancel()
        say("Stopping. Press Ctrl-C again to end at once.")
        killing = asyncio.create_task(_kill_at_second_signal(children))
    killing.cancel()
    say("Stopped.")


async def _kill_at_second_signal(children: Children) -> None:
    await stop_requested()
    children.kill()


async def _start_and_watch(children: Children, settings: LocalSettings, options: argparse.Namespace) -> None:
    root = options.root.resolve()
    installing = asyncio.create_task(_install_playground(root))
    say("Starting the bot ...")
    log = BotLog(say, verbose=options.verbose)
    bot = await start_bot(children, root, options.port, show=log.line)
    page, instead = None, ""
    try:
        program = await installing
        if isinstance(program, NpmPackageError):
            raise program
        _, page = await start_playground(children, program, bot.endpoint, options.playground_port)
    except NoNodeError:
        instead = _NODE_MISSING
    except NpmPackageError as error:
        instead = f"The bot runs, but the Agents Playground did not start: {error}"
    for line in run_summary(bot, page, instead):
        say(line)
    if page and not options.no_browser:
        await asyncio.to_thread(webbrowser.open, page)
    if workspace_is_configured(settings.values):
        for finding in await answering_findings(settings):
            say(f"doctor | {finding}")
    ended = await children.first_to_end()
    raise ChildFailedError(ended.failure_text())


async def _install_playground(root: Path) -> Path | NpmPackageError:
    """Returns the error instead of raising it: the bot starts all the same."""
    folder = root / ".data" / "playground"
    if shutil.which("npm") and not folder.exists():
        say("Installing the Microsoft 365 Agents Playground with npm; this happens once and takes about a minute ...")
    try:
        return await installed_playground(folder)
    except NpmPackageError as error:
        return error


def run_summary(bot: RunningBot, page: str | None, instead: str) -> list[str]:
    lines = ["", f"  bot         http://localhost:{bot.port}/api/messages"]
    if bot.stand_in:
        lines += [
            f"  model       {bot.model}, a stand-in workspace on this machine ({bot.workspace})",
            "              It is a real but tiny model: it writes fluently and knows very little.",
            "  data        orders of a wholesaler, TPC-H samples. The SQL really runs; which SQL a question means, and",
            "              that the model asks for it, is scripted: it knows a dozen kinds of question.",
        ]
    else:
        lines.append(f"  model       {bot.model} at {bot.workspace}")
    chat = f"{DEV} chat" + ("" if bot.port == DEFAULT_PORT else f" --port {bot.port}")
    if page:
        lines += [f"  playground  {page}", "", f"Type a question at {page}, or use `{chat}` in another terminal."]
    else:
        lines += ["", instead, f"Talk to it with `{chat}` in another terminal."]
    if bot.authenticates:
        lines.append("MicrosoftAppId is set, so callers need a Bot Framework token: unset it to chat on this machine.")
    if bot.stand_in:
        lines += [_EXAMPLES, _OWN_WORKSPACE]
    return [*lines, "Ctrl-C ends everything.", ""]


_NODE_MISSING = "With Node.js installed there is also a page in the browser, the Microsoft 365 Agents Playground."
_EXAMPLES = 'Ask for example "How did revenue develop by month?", and then "as a pie chart".'
_OWN_WORKSPACE = (
    f"To use your own workspace, copy local.settings.sample.json to {FILE_NAME} and set\n"
    "DATABRICKS_BASE_URL, DATABRICKS_MODEL_NAME and DATABRICKS_TOKEN in it."
)


def main() -> int:
    parser = argparse.ArgumentParser(prog=f"{DEV} run", description=__doc__)
    parser.add_argument("--port", type=port_number, default=DEFAULT_PORT, help="of the bot (default: %(default)s)")
    parser.add_argument(
        "--playground-port", type=port_number, default=PLAYGROUND_PORT, help="(default: %(default)s, or a free one)"
    )
    parser.add_argument("--no-browser", action="store_true", help="do not open the Playground's page")
    parser.add_argument("--root", type=Path, default=ROOT, help="the folder of function_app.py and host.json")
    parser.add_argument(
        "--verbose", action="store_true", help="show all of the bot's log, not one line for each question"
    )
    options = parser.parse_args()
    try:
        settings = LocalSettings(os.environ, options.root.resolve())
        for finding in (found := settings.findings()):
            print(f"doctor | {finding}", file=sys.stderr)
        if any(finding.wrong for finding in found):
            return 1
        if options.port:
            listen(options.port).close()
        asyncio.run(run(settings, options))
    except (PortInUseError, LocalSettingsError, ChildFailedError) as error:
        print(printable(str(error)), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
