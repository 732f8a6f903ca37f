"""`python dev.py run`: everything a person needs to talk to the bot on this machine, until Ctrl-C."""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import webbrowser
from pathlib import Path

from app.local.bot_process import Bot, start_bot
from app.local.lifetime import DEFAULT_PORT, PortInUseError, listen, port_number, stop_requested
from app.local.playground import DEFAULT_PORT as PLAYGROUND_PORT
from app.local.playground import NoNodeError, PlaygroundError, installed_playground, start_playground
from app.local.processes import ChildFailedError, Children
from app.local.settings import FILE_NAME, ROOT, LocalSettingsError


def say(line: str) -> None:
    print(line, flush=True)


async def run(root: Path, port: int, playground_port: int, *, browser: bool) -> None:
    """Until Ctrl-C. Raises `ChildFailedError` as soon as one of the processes ends by itself."""
    async with Children() as children:
        work = asyncio.create_task(_start_and_watch(children, root, port, playground_port, browser=browser))
        stop = asyncio.create_task(stop_requested())
        await asyncio.wait([work, stop], return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            stop.cancel()
            await work
        work.cancel()
        say("Stopping. Ctrl-C once more ends it at once.")
        insisting = asyncio.create_task(_kill_when_asked_again(children))
    insisting.cancel()
    say("Stopped.")


async def _kill_when_asked_again(children: Children) -> None:
    await stop_requested()
    children.kill()


async def _start_and_watch(children: Children, root: Path, port: int, playground_port: int, *, browser: bool) -> int:
    installing = asyncio.create_task(_install_playground(root))
    say("Starting the bot ...")
    bot = await start_bot(children, root, port, show=lambda line: say(f"bot | {line}"))
    page, instead = None, ""
    try:
        program = await installing
        if isinstance(program, PlaygroundError):
            raise program
        _, page = await start_playground(children, program, bot.endpoint, playground_port)
    except NoNodeError:
        instead = _WITHOUT_NODE
    except PlaygroundError as error:
        instead = f"There is no page in the browser this time: {error}"
    for line in _what_runs_where(bot, page, instead):
        say(line)
    if page and browser:
        await asyncio.to_thread(webbrowser.open, page)
    ended = await children.first_to_end()
    raise ChildFailedError(ended.why())


async def _install_playground(root: Path) -> Path | PlaygroundError:
    """Does not raise: if the bot cannot start, nobody asks what became of this."""
    folder = root / ".data" / "playground"
    if shutil.which("npm") and not folder.exists():
        say("Installing the Microsoft 365 Agents Playground with npm; this happens once and takes about a minute ...")
    try:
        return await installed_playground(folder)
    except PlaygroundError as error:
        return error


def _what_runs_where(bot: Bot, page: str | None, instead: str) -> list[str]:
    lines = ["", f"  bot         http://localhost:{bot.port}/api/messages"]
    if bot.stand_in:
        lines += [
            f"  model       {bot.model}, a stand-in workspace on this machine ({bot.workspace})",
            "              It is a real but tiny model: it writes fluently and knows very little.",
        ]
    else:
        lines.append(f"  model       {bot.model} at {bot.workspace}")
    chat = "python dev.py chat" + ("" if bot.port == DEFAULT_PORT else f" --port {bot.port}")
    if page:
        lines += [f"  playground  {page}", "", f"Type a question at {page}, or use `{chat}` in another terminal."]
    else:
        lines += ["", f"Talk to it with `{chat}` in another terminal.", instead]
    if bot.authenticates:
        lines.append(
            "MicrosoftAppId is set, so only callers with a Bot Framework token are let in: unset it for local chats."
        )
    if bot.stand_in:
        lines.append(_OWN_WORKSPACE)
    return [*lines, "Ctrl-C ends everything.", ""]


_WITHOUT_NODE = "With Node.js installed there is also a page in the browser, the Microsoft 365 Agents Playground."
_OWN_WORKSPACE = (
    f"To use your own workspace, copy local.settings.sample.json to {FILE_NAME} and set\n"
    "DATABRICKS_BASE_URL, DATABRICKS_MODEL_NAME and DATABRICKS_TOKEN in it."
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python dev.py run", description=__doc__)
    parser.add_argument("--port", type=port_number, default=DEFAULT_PORT, help="of the bot (default: %(default)s)")
    parser.add_argument(
        "--playground-port", type=port_number, default=PLAYGROUND_PORT, help="(default: %(default)s, or a free one)"
    )
    parser.add_argument("--no-browser", action="store_true", help="do not open the Playground's page")
    parser.add_argument("--root", type=Path, default=ROOT, help="the folder of function_app.py and host.json")
    options = parser.parse_args()
    try:
        if options.port:
            listen(options.port).close()
        asyncio.run(run(options.root.resolve(), options.port, options.playground_port, browser=not options.no_browser))
    except (PortInUseError, LocalSettingsError, ChildFailedError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
