"""`python dev.py chat [question]`: the bot in a terminal, by the same endpoint that Teams calls."""

from __future__ import annotations

import signal

if __name__ == "__main__":
    # Ctrl-C ends the process during the imports, without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import argparse
import asyncio
import os
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from pathlib import Path

from aiohttp import ClientError, ClientSession, ClientTimeout

from app.common.printable import printable
from app.local.background import Background, Interrupted, raise_at_signals
from app.local.bot_process import start_bot
from app.local.chat_client import Conversation, NoAnswerError
from app.local.connector_server import ConnectorServer
from app.local.doctor import answering_findings
from app.local.lifetime import DEFAULT_PORT, LOOPBACK, port_number
from app.local.local_settings import ROOT, LocalSettingsError, workspace_is_configured
from app.local.processes import ChildFailedError, Children
from app.local.screen import Screen
from app.local.settings_doctor import LocalSettings
from ops.command import DEV


class Chat:
    """One conversation on this terminal. Raises `NoAnswerError`, `ChildFailedError` and `LocalSettingsError`."""

    def __init__(self, background: Background, screen: Screen) -> None:
        self._background = background
        self._screen = screen
        self._stack = AsyncExitStack()
        self._children = Children()
        self._settings: LocalSettings | None = None

    def open(self, endpoint: str, root: Path, *, must_run: bool) -> None:
        """With the bot at `endpoint`, or, where none `must_run` there, with one that is started for this chat."""
        conversation = self._background.run(self._opened(endpoint, root, must_run=must_run))
        assert conversation
        self._conversation = conversation
        self._screen.finish()

    def close(self) -> None:
        self._screen.finish()
        self._background.run(self._stack.aclose(), self._children.kill)

    def ask(self, question: str) -> bool:
        """False if it was stopped, which ends the turn as Stop does in Teams."""
        try:
            with _without_echo():
                self._background.run(self._conversation.ask(question, self._screen), self._conversation.stop)
        finally:
            if self._conversation.stopped:
                self._screen.note("(stopped)")
        return not self._conversation.stopped

    def explain(self, error: NoAnswerError) -> None:
        """Prints to standard error why the question was not answered and, once, what can be done about it."""
        print(printable(str(error)), file=sys.stderr)
        settings, self._settings = self._settings, None
        if error.by_bot and settings is not None and workspace_is_configured(settings.values):
            for finding in self._background.run(answering_findings(settings)) or ():
                print(finding, file=sys.stderr)

    async def _opened(self, endpoint: str, root: Path, *, must_run: bool) -> Conversation:
        client = await self._stack.enter_async_context(ClientSession())
        await self._stack.enter_async_context(self._children)
        connector = await self._stack.enter_async_context(ConnectorServer())
        if not await _is_bot(client, endpoint):
            if must_run:
                raise NoAnswerError(f"No bot answers at {endpoint}. Start one with `{DEV} run`.")
            self._screen.status("Starting the bot ...")
            self._settings = await asyncio.to_thread(_checked_settings, root)
            bot = await start_bot(self._children, root, port=0, show=_show_errors, ephemeral=True)
            endpoint = bot.endpoint
            if bot.stand_in:
                self._screen.finish()
                print(
                    f"(no workspace is configured: {bot.model}, a real but tiny model, answers;"
                    " questions about data are matched by a script)",
                    file=sys.stderr,
                )
        return Conversation(client, endpoint, connector)


@contextmanager
def _without_echo() -> Iterator[None]:
    """Typed keys do not appear in the middle of an answer; the next prompt shows them."""
    if os.name != "posix" or not sys.stdin.isatty():
        yield
        return
    import termios  # noqa: PLC0415 - Windows has none

    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    without_echo = [*before[:3], before[3] & ~termios.ECHO, *before[4:]]
    try:
        termios.tcsetattr(terminal, termios.TCSANOW, without_echo)
        yield
    finally:
        with suppress(termios.error):  # the window is closed
            termios.tcsetattr(terminal, termios.TCSANOW, before)


def _checked_settings(root: Path) -> LocalSettings:
    """Raises `LocalSettingsError` with every problem."""
    settings = LocalSettings(os.environ, root)
    found = settings.findings()
    if any(finding.wrong for finding in found):
        raise LocalSettingsError("\n".join(map(str, found)))
    for finding in found:
        print(finding, file=sys.stderr)
    return settings


def _show_errors(line: str) -> None:
    """Errors of the bot's log, which is shown nowhere else: an error id in the answer refers to them."""
    if " ERROR " in line:
        print(printable(line), file=sys.stderr)


async def _is_bot(client: ClientSession, endpoint: str) -> bool:
    """Whether the bot is there: it answers a GET with 405."""
    with suppress(ClientError, TimeoutError, ValueError):
        async with client.get(endpoint, timeout=ClientTimeout(total=5)) as answer:
            return answer.status == 405
    return False


def _talk(chat: Chat) -> int:
    """Asks every line that is typed or piped in."""
    with suppress(ImportError):
        import readline  # noqa: F401, PLC0415 - gives input() its history; Windows has none
    interactive = sys.stdin.isatty()
    failed = False
    if interactive:
        print("Ask something. /help shows the commands, Ctrl-C stops an answer, Ctrl-D ends.")
    while True:
        try:
            line = input("\n> " if interactive else "")
        except EOFError:
            return int(failed and not interactive)
        except UnicodeDecodeError:
            print("This line is not valid UTF-8, so it was not asked.", file=sys.stderr)
            continue
        if not line.strip():
            continue
        try:
            stopped = not chat.ask(line)
            if stopped and not interactive:
                return 128 + signal.SIGINT
        except NoAnswerError as error:
            failed = True
            chat.explain(error)


def _chat(options: argparse.Namespace) -> int:
    question = " ".join(options.question).strip()
    if options.question and not question:
        raise NoAnswerError("The question is empty.")
    port = DEFAULT_PORT if options.port is None else options.port
    endpoint = options.url or f"http://{LOOPBACK}:{port}/api/messages"
    with Background() as background:
        chat = Chat(background, Screen(sys.stdout, sys.stderr))
        try:
            chat.open(endpoint, options.root.resolve(), must_run=bool(options.url or options.port))
            if not question:
                return _talk(chat)
            return 0 if chat.ask(question) else 128 + signal.SIGINT
        except NoAnswerError as error:
            chat.explain(error)
            return 1
        finally:
            chat.close()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=f"{DEV} chat", description=__doc__)
    parser.add_argument("question", nargs="*", help="answered on standard output; without it there is a prompt")
    parser.add_argument(
        "--port",
        type=port_number,
        help=f"of a bot that runs already; 0 starts one (default: {DEFAULT_PORT} if it runs, else 0)",
    )
    parser.add_argument("--url", help="of a bot that runs already, /api/messages included")
    parser.add_argument("--root", type=Path, default=ROOT, help="the folder of function_app.py and host.json")
    return parser.parse_intermixed_args()


def main() -> int:
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # closed by the parent process
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115
    options = _options()
    try:
        raise_at_signals()
        code = _chat(options)
    except (NoAnswerError, ChildFailedError, LocalSettingsError) as error:
        print(printable(str(error)), file=sys.stderr)
        code = 1
    except Interrupted as interrupted:
        code = interrupted.exit_code
    try:
        sys.stdout.flush()
    except OSError:
        # The window or the other end of the pipe is closed; at exit Python would report it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code


if __name__ == "__main__":
    sys.exit(main())
