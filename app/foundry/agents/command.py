"""`python -m app.foundry`: checks a Foundry project, makes the agents in it, asks them, and removes them.

The answer alone goes to standard output, everything else to standard error. Exit codes: 0 for done and answered, 1 for
refused, when nothing was carried out, 2 where what came of it is not known, 130 for Ctrl-C.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import itertools
import logging
import math
import os
import signal
import sys
import threading
import traceback
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TextIO

from app.common.printable import printable
from app.common.text import replace_lone_surrogates

if TYPE_CHECKING:
    from app.foundry.agents.agent_settings import AgentProgramSettings
    from app.foundry.agents.orchestrator import Orchestrator

_DONE, _REFUSED, _UNKNOWN, _INTERRUPTED = 0, 1, 2, 130
_ASK_SECONDS = 120.0
_MAX_ASK_SECONDS = 3600.0
_PROGRESS_SECONDS = 10.0
_MAX_QUESTION_CHARACTERS = 30_000


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        # 2, argparse's own, says here that what came of it is not known.
        self.print_usage(sys.stderr)
        self.exit(_REFUSED, f"{self.prog}: error: {message}\n")


def main(arguments: Sequence[str] | None = None, environment: Mapping[str, str] | None = None) -> int:
    options = _argument_parser().parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal that cannot show every character shows the answer all the same.
            stream.reconfigure(errors="replace")
    # What went wrong is said once, in a sentence.
    logging.getLogger("azure").setLevel(logging.ERROR)
    from app.config import SettingsError  # noqa: PLC0415 - `--help` needs none of it
    from app.foundry.agents.agent_settings import MCP_URL, load_agent_settings, misspelt_settings  # noqa: PLC0415
    from app.foundry.agents.foundry_errors import FoundryError, RefusedError, UnavailableError  # noqa: PLC0415

    try:
        given = _environment(options.env_file) if environment is None else environment
        settings = load_agent_settings(given, classic=options.classic)
        if options.classic and given.get(MCP_URL, "").strip():
            say(f"warning: classic agents use the queues; {MCP_URL} has no effect")
        for line in misspelt_settings(given):
            say(f"warning: {line}")
        return asyncio.run(_run(options, settings))
    except (SettingsError, RefusedError) as error:
        say(str(error))
        return _REFUSED
    except FoundryError as error:
        say(str(error))
        return _REFUSED if isinstance(error, UnavailableError) and error.was_refused else _UNKNOWN
    except (KeyboardInterrupt, asyncio.CancelledError):
        say("interrupted")
        return _INTERRUPTED
    except Exception:
        say(traceback.format_exc())
        return _UNKNOWN


def say(line: str) -> None:
    _write(sys.stderr, line)


def _write(stream: TextIO, line: str) -> bool:
    """False where nobody reads the stream any more, which keeps nothing from being removed."""
    try:
        stream.write(f"{printable(line)}\n")
        stream.flush()
    except (OSError, ValueError, AttributeError):
        # The interpreter would try again at its end, and exit with 120.
        with suppress(OSError, ValueError, AttributeError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        return False
    return True


def _argument_parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m app.foundry", description="Agents in Azure AI Foundry; docs/foundry.md says how.")
    parser.add_argument(
        "--env-file", type=Path, metavar="FILE", help="settings, one NAME=value a line, beside the environment"
    )
    parser.add_argument("--classic", action="store_true", help="the classic API: threads and runs, until 2027-03-31")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    commands.add_parser("preflight", help="check the settings, the sign-in and the project; make nothing")
    commands.add_parser("create", help="make the agents, or bring them to what they should be")
    ask = commands.add_parser("ask", help="ask the agents that `create` made")
    ask.add_argument("question", type=_question, help=f"in quotes; {_MAX_QUESTION_CHARACTERS} characters at most")
    ask.add_argument(
        "--timeout",
        type=_seconds,
        default=_ASK_SECONDS,
        metavar="SECONDS",
        help=f"how long to wait for the answer (default: {_ASK_SECONDS:.0f})",
    )
    commands.add_parser("delete", help="remove all that is ours, and list what could not be removed")
    for command in commands.choices.values():
        # Also after the command.
        command.add_argument("--classic", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    return parser


async def _run(options: argparse.Namespace, settings: AgentProgramSettings) -> int:
    _cancel_when_terminated()
    from app.config import SettingsError  # noqa: PLC0415
    from app.foundry.tools.tool_definitions import tool_definitions  # noqa: PLC0415

    tools = tuple(tool_definitions(settings.tools, settings.genie).values())
    if not tools and options.command in {"preflight", "create"}:
        raise SettingsError(["FOUNDRY_TOOLS: names no tool that the agents could use; put those of the Function App"])
    endpoint = settings.agents.project_endpoint
    # The packages take a second, and each is an extra of its own.
    if options.classic:
        from app.foundry.agents.classic_client import open_classic_project  # noqa: PLC0415
        from app.foundry.agents.classic_orchestrator import ClassicOrchestrator  # noqa: PLC0415

        async with open_classic_project(endpoint) as classic_project:
            return await _carry_out(options, ClassicOrchestrator(classic_project, settings, tools, say))
    from app.foundry.agents.project_client import open_project  # noqa: PLC0415
    from app.foundry.agents.responses_orchestrator import ResponsesOrchestrator  # noqa: PLC0415

    async with open_project(endpoint) as project:
        return await _carry_out(options, ResponsesOrchestrator(project, settings, tools, say))


async def _carry_out(options: argparse.Namespace, orchestrator: Orchestrator) -> int:
    match options.command:
        case "preflight":
            await orchestrator.check()
        case "create":
            await orchestrator.check()
            await orchestrator.create()
        case "ask":
            async with _waiting_is_said():
                answer = await orchestrator.ask(options.question, options.timeout)
            if not answer.tool_calls:
                say("warning: Foundry shows no call of a tool: the answer may be the model's own")
            if not _write(sys.stdout, answer.text):
                say("The answer could not be written to standard output.")
                return _UNKNOWN
        case "delete":
            left = await orchestrator.delete()
            for line in left:
                say(f"left: {line}")
            if left:
                return _UNKNOWN
            say("nothing of ours is left in the project")
    return _DONE


@asynccontextmanager
async def _waiting_is_said() -> AsyncIterator[None]:
    """An agent may say nothing for minutes."""
    task = asyncio.create_task(_say_seconds())
    try:
        yield
    finally:
        task.cancel()


async def _say_seconds() -> None:
    for count in itertools.count(1):
        await asyncio.sleep(_PROGRESS_SECONDS)
        say(f"{count * _PROGRESS_SECONDS:g} s")


def _cancel_when_terminated() -> None:
    """SIGTERM ends it as Ctrl-C does: what was made is removed."""
    task = asyncio.current_task()
    if task is not None and sys.platform != "win32" and threading.current_thread() is threading.main_thread():
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)


def _environment(env_file: Path | None) -> dict[str, str]:
    from app.config import SettingsError  # noqa: PLC0415
    from app.jobs.environment import read_env_file  # noqa: PLC0415

    if env_file is not None and not env_file.is_file():
        raise SettingsError([f"--env-file: there is no file {env_file}"])
    of_the_file = read_env_file(env_file) if env_file is not None else {}
    return of_the_file | {name: value for name, value in os.environ.items() if value.strip()}


def _question(text: str) -> str:
    question = replace_lone_surrogates(text).strip()
    if not question:
        raise argparse.ArgumentTypeError("the question is empty")
    if len(question) > _MAX_QUESTION_CHARACTERS:
        raise argparse.ArgumentTypeError(f"the question is longer than {_MAX_QUESTION_CHARACTERS} characters")
    return question


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 1 <= seconds <= _MAX_ASK_SECONDS:
        raise argparse.ArgumentTypeError(f"put a number of seconds from 1 to {_MAX_ASK_SECONDS:.0f}")
    return seconds
