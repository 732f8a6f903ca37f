"""`python dev.py chat ["question"]`: the bot in a terminal, through the same door that Teams uses."""

from __future__ import annotations

import argparse
import asyncio
import concurrent.futures
import signal
import sys
import threading
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from aiohttp import ClientError, ClientSession, ClientTimeout

from app.local.bot_process import start_bot
from app.local.connector import ConnectorServer
from app.local.conversation import Conversation, ConversationError
from app.local.lifetime import DEFAULT_PORT, LOOPBACK
from app.local.processes import ChildFailedError, Children
from app.local.screen import Screen
from app.local.settings import ROOT, LocalSettingsError

_SECONDS_TO_STOP = 5.0
_Result = TypeVar("_Result")


class Background:
    """An event loop in a thread of its own, while the main thread waits for the keyboard."""

    def __enter__(self) -> Background:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="chat", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def run(
        self, work: Coroutine[Any, Any, _Result], at_interrupt: Callable[[], object] | None = None
    ) -> _Result | None:
        """Ctrl-C calls `at_interrupt` and gives `work` a few seconds to end by itself; None if it does not."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            _wait(future)
        except KeyboardInterrupt:
            if at_interrupt is None:
                future.cancel()
                raise
            self._loop.call_soon_threadsafe(at_interrupt)
            _wait(future, _SECONDS_TO_STOP)
            if not future.done():
                future.cancel()
                return None
        return future.result()


def _wait(future: concurrent.futures.Future[Any], seconds: float = float("inf")) -> None:
    """In short steps, because Windows keeps Ctrl-C back while a lock is waited for."""
    step = 0.1
    while not future.done() and seconds > 0:
        concurrent.futures.wait([future], timeout=step)
        seconds -= step


async def open_conversation(
    stack: AsyncExitStack, endpoint: str, root: Path, screen: Screen, *, must_run: bool
) -> Conversation:
    """With the bot that answers at `endpoint`, or unless it `must_run` already with one that `stack` ends.

    Raises `ConversationError`, `ChildFailedError` and `LocalSettingsError`.
    """
    client = await stack.enter_async_context(ClientSession())
    children = await stack.enter_async_context(Children())
    connector = await stack.enter_async_context(ConnectorServer())
    if not await _is_bot(client, endpoint):
        if must_run:
            raise ConversationError(f"No bot answers at {endpoint}. Start one with `python dev.py run`.")
        screen.status("Starting the bot ...")
        bot = await start_bot(children, root, port=0, show=_show_errors)
        endpoint = bot.endpoint
        if bot.stand_in:
            screen.finish()
            print(f"(no workspace is set up: {bot.model}, a real but tiny model, answers here)", file=sys.stderr)
    return Conversation(client, endpoint, connector)


def _show_errors(line: str) -> None:
    """An error id in the answer has to lead somewhere; this bot's log is seen nowhere else."""
    if " ERROR " in line:
        print(line, file=sys.stderr)


async def _is_bot(client: ClientSession, endpoint: str) -> bool:
    """Our door answers a GET by saying that it takes POST alone."""
    with suppress(ClientError, TimeoutError):
        async with client.get(endpoint, timeout=ClientTimeout(total=5)) as answer:
            return answer.status == 405
    return False


def chat(question: str | None, endpoint: str, root: Path, *, must_run: bool) -> None:
    """Raises `ConversationError` if `question` was not answered, `ChildFailedError` and `LocalSettingsError`."""
    screen = Screen(sys.stdout, sys.stderr)
    with Background() as background:
        stack = AsyncExitStack()
        try:
            conversation = background.run(open_conversation(stack, endpoint, root, screen, must_run=must_run))
            assert conversation
            if question is not None:
                background.run(conversation.ask(question, screen))
            else:
                screen.finish()
                _prompt(background, conversation, screen)
        finally:
            screen.finish()
            background.run(stack.aclose())


def _prompt(background: Background, conversation: Conversation, screen: Screen) -> None:
    with suppress(ImportError):
        import readline  # noqa: F401, PLC0415 - gives input() its history; Windows has none
    a_person_types = sys.stdin.isatty()
    if a_person_types:
        print("Ask something. /help shows the commands, Ctrl-C stops an answer, Ctrl-D ends.")
    while True:
        try:
            line = input("\n> " if a_person_types else "")
        except EOFError:
            return
        if not line.strip():
            continue
        try:
            background.run(conversation.ask(line, screen), conversation.stop)
        except ConversationError as error:
            print(error, file=sys.stderr)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python dev.py chat", description=__doc__)
    parser.add_argument("question", nargs="?", help="answered on standard output; without it there is a prompt")
    parser.add_argument(
        "--port",
        type=int,
        help=f"of a bot that runs already; 0 starts one (default: {DEFAULT_PORT} if it runs, else 0)",
    )
    parser.add_argument("--url", help="of a bot that runs already, /api/messages included")
    parser.add_argument("--root", type=Path, default=ROOT, help="the folder of function_app.py and host.json")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        port = DEFAULT_PORT if options.port is None else options.port
        endpoint = options.url or f"http://{LOOPBACK}:{port}/api/messages"
        chat(options.question, endpoint, options.root.resolve(), must_run=bool(options.url or options.port))
    except (ConversationError, ChildFailedError, LocalSettingsError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
