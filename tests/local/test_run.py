"""`dev.py run` and `dev.py chat`, as a person types them, over a function app that needs no model."""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import ClientError, ClientSession

from app.local.bot_process import RunningBot
from app.local.genie_questions import KnownQuestion, known_question
from app.local.lifetime import listen, port_number, port_of
from app.local.npm_package import NoNodeError, NpmPackageError, node_environment
from app.local.playground import PACKAGE, VERSION, installed_playground, start_playground
from app.local.processes import ChildFailedError, Children
from app.local.run import BotLog, run_summary

ROOT = Path(__file__).resolve().parents[2]
INSTALLED = f"""
while [ "$1" != --prefix ]; do shift; done
folder="$2/node_modules/{PACKAGE}"
/bin/mkdir -p "$folder"
echo '{{"version": "{VERSION}"}}' > "$folder/package.json"
"""
WORKSPACE = {
    "DATABRICKS_BASE_URL": "https://workspace.invalid/serving-endpoints",
    "DATABRICKS_MODEL_NAME": "model",
    "DATABRICKS_TOKEN": "token",
}


@pytest.fixture
def app_folder(tmp_path: Path) -> Path:
    code = (ROOT / "tests" / "fakes" / "streaming_app.py").read_text()
    crash = (
        '\n\n@app.route("crash")\nasync def crash(req: func.HttpRequest) -> None:\n    import os\n\n    os._exit(3)\n'
    )
    (tmp_path / "function_app.py").write_text(code + crash)
    shutil.copy(ROOT / "host.json", tmp_path)
    (tmp_path / "no-node").mkdir()
    return tmp_path


@asynccontextmanager
async def running(folder: Path, *arguments: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """`dev.py run` where there is no Node.js, with all it says until the bot is ready."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "app.local.run", "--no-browser", "--port", "0", "--root", str(folder), *arguments),
        cwd=ROOT,
        env={**os.environ, **WORKSPACE, "PATH": str(folder / "no-node")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert process.stdout
    said = ""
    try:
        async with asyncio.timeout(30):
            while "Ctrl-C ends everything" not in said:
                line = await process.stdout.readline()
                assert line, f"it ended, saying: {said}"
                said += line.decode()
        yield process, said
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def address_in(said: str) -> str:
    found = re.search(r"http://localhost:\d+", said)
    assert found, said
    return found[0].replace("localhost", "127.0.0.1")


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
async def test_run_lists_the_addresses_and_ends_every_process(app_folder: Path, end: signal.Signals) -> None:
    async with running(app_folder) as (process, said), ClientSession() as client:
        assert "model       model at https://workspace.invalid/serving-endpoints" in said
        assert "python3 dev.py chat --port" in said
        assert "With Node.js installed" in said
        address = address_in(said)
        async with client.get(f"{address}/api/messages") as answer:
            assert answer.status == 405
        process.send_signal(end)
        async with asyncio.timeout(20):
            rest, _ = await process.communicate()
        assert process.returncode == 0
        assert rest.decode().endswith("Stopped.\n")
        with pytest.raises(ClientError):
            await client.get(f"{address}/api/messages")


def test_the_summary_says_that_the_stand_in_matches_questions_by_a_script_and_what_to_ask() -> None:
    bot = RunningBot("", 3978, "tiny", "http://127.0.0.1:1", stand_in=True, authenticates=False)
    said = "\n".join(run_summary(bot, "http://127.0.0.1:2", ""))
    assert "is scripted" in said
    (example,) = re.findall(r'"(How [^"]+)"', said)
    assert isinstance(known_question(example), KnownQuestion)
    own = replace(bot, stand_in=False)
    assert "scripted" not in "\n".join(run_summary(own, "http://127.0.0.1:2", ""))


def test_the_bots_log_is_shown_as_one_line_for_each_question_and_its_warnings_and_errors() -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    shown = {
        "2026-11-27 03:24:00,512 INFO app.databricks.credentials: Databricks credential: token": False,
        f"trace {trace}   send typing: 0.012 s": False,
        "  What was asked, in several": False,
        "  lines": False,
        f"trace {trace} turn: 4.515 s, Teams, one to one, answered": True,
        "metric turns (Teams): 1": False,
        "2026-11-27 03:24:01,512 WARNING app.turns.lease: \x1b[2JThe lease could not be renewed": True,
        "2026-11-27 03:24:01,512 ERROR app.turns.execution: Turn failed": True,
        "Traceback (most recent call last):": True,
        '  File "x.py", line 1, in <module>': True,
        "ValueError: no": True,
        "2026-11-27 03:24:02,512 INFO app.turns.runner: A turn goes on here": False,
        "These settings need attention:": True,
    }
    said: list[str] = []
    brief, verbose = BotLog(said.append, verbose=False), BotLog(said.append, verbose=True)
    for line in shown:
        brief.line(line)
    expected = [
        line.replace(f"trace {trace} ", "").replace("\x1b[2J", "") for line, is_shown in shown.items() if is_shown
    ]
    assert said == [f"bot | {line}" for line in expected]
    said.clear()
    for line in shown:
        verbose.line(line)
    assert len(said) == len(shown)


async def test_a_process_that_dies_ends_the_rest_and_is_named(app_folder: Path) -> None:
    async with running(app_folder) as (process, said), ClientSession() as client:
        with pytest.raises(ClientError):
            await client.get(f"{address_in(said)}/crash")
        async with asyncio.timeout(20):
            rest, _ = await process.communicate()
        assert process.returncode == 1
        assert "The function host ended with exit code 3." in rest.decode()


def test_a_wrong_setting_is_reported_before_anything_runs(app_folder: Path) -> None:
    (app_folder / "local.settings.json").write_text("{")
    done = python("app.local.run", "--no-browser", "--root", str(app_folder), "--port", "0", path=app_folder)
    assert done.returncode == 1
    assert "local.settings.json is not valid JSON" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_in_use_is_reported_in_one_sentence(app_folder: Path) -> None:
    with listen(0) as taken:
        port = str(port_of(taken))
        done = python("app.local.run", "--no-browser", "--root", str(app_folder), "--port", port, path=app_folder)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"Port {port} cannot be used: ")


def python(module: str, *arguments: str, path: Path, typed: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env={**os.environ, **WORKSPACE, "PATH": str(path / "no-node")},
        input=typed,
        capture_output=True,
        text=True,
        timeout=60,
    )


def chat(folder: Path, *arguments: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    return python("app.local.terminal", "--root", str(folder), "--port", "0", *arguments, path=folder, typed=typed)


def test_chat_with_a_question_prints_the_answer_alone(app_folder: Path) -> None:
    done = chat(app_folder, "hello there")
    assert (done.returncode, done.stdout, done.stderr) == (0, "You said hello there.\n", "")


def test_chat_with_a_bot_that_does_not_run_says_so_and_asks_no_other(app_folder: Path) -> None:
    with listen(0) as silent:
        port = port_of(silent)
    done = chat(app_folder, "--port", str(port), "hello there")
    assert (done.returncode, done.stdout) == (1, "")
    assert f"No bot answers at http://127.0.0.1:{port}/api/messages" in done.stderr


def test_chat_that_got_no_answer_says_why_and_fails(app_folder: Path) -> None:
    done = chat(app_folder, "refuse me")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "The bot refused the question: HTTP 401. not today\n"


def test_chat_reads_questions_to_the_end_of_its_input(app_folder: Path) -> None:
    done = chat(app_folder, typed="one\n\nrefuse me\n/help\n")
    assert (done.returncode, done.stdout) == (1, "You said one.\nYou said /help.\n")
    assert "refused" in done.stderr


@pytest.mark.skipif(os.name != "posix", reason="needs a shell")
@pytest.mark.parametrize("redirected", ["| true", ">&-", "<&-", "2>&-"])
def test_closed_standard_streams_cause_no_traceback(app_folder: Path, redirected: str) -> None:
    done = subprocess.run(
        f"'{sys.executable}' -m app.local.terminal --root '{app_folder}' --port 0 hello {redirected}",
        shell=True, cwd=ROOT, env={**os.environ, **WORKSPACE}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


def test_words_without_quotation_marks_are_one_question(app_folder: Path) -> None:
    done = chat(app_folder, "what", "is", "a", "lake")
    assert (done.returncode, done.stdout, done.stderr) == (0, "You said what is a lake.\n", "")


def test_a_failed_answer_is_printed_as_far_as_it_came_with_the_reason(app_folder: Path) -> None:
    done = chat(app_folder, "fail")
    assert (done.returncode, done.stdout) == (1, "You said\n")
    said, advice, rest = done.stderr.split("\n")
    assert said == "⚠️ Das Modell ist beschäftigt. (Fehler-ID: 0a1b2c3d)"
    assert advice.startswith("model model: the workspace does not answer (")
    assert advice.endswith("; check DATABRICKS_BASE_URL in the environment, and the network")
    assert rest == ""


@pytest.mark.parametrize("module", ["app.local.run", "app.local.terminal", "app.local", "app.local.stand_in_workspace"])
def test_an_invalid_port_is_reported_in_one_sentence(app_folder: Path, module: str) -> None:
    done = python(module, "--port=99999", path=app_folder)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith("argument --port: '99999' is no port: they are numbers from 0 to 65535\n")


@pytest.mark.parametrize("text", ["-1", "x", "", "٣", "65536", "9" * 5000])
def test_only_valid_port_numbers_are_accepted(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        port_number(text)
    assert (port_number("0"), port_number("65535")) == (0, 65535)


def chat_in_a_terminal(app_folder: Path, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
    chat = [sys.executable, "-m", "app.local.terminal", "--root", str(app_folder), "--port", "0", *arguments]
    in_terminal = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))"
    return subprocess.Popen(
        [sys.executable, "-c", in_terminal, *chat],
        cwd=ROOT,
        env={**os.environ, **WORKSPACE, "PATH": str(app_folder / "no-node"), "TERM": "xterm", **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
def test_in_a_terminal_ctrl_c_stops_the_answer_and_ctrl_d_ends_the_chat(app_folder: Path) -> None:
    with chat_in_a_terminal(app_folder) as process:
        try:
            keyboard = Keyboard(process)
            keyboard.wait_for("> ")
            keyboard.type("talk for ever\n")
            keyboard.wait_for("word number 9")
            keyboard.type("\x03")
            keyboard.wait_for("(stopped)")
            keyboard.wait_for("\n> ")
            keyboard.type("hello\n")
            keyboard.wait_for("You said hello.")
            keyboard.wait_for("> ")
            keyboard.type("\x04")
            assert process.wait(20) == 0
        finally:
            process.kill()


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_every_signal_that_ends_a_chat_ends_its_turn_as_stop_does(
    app_folder: Path, tmp_path: Path, number: int
) -> None:
    seen = tmp_path / "seen"
    process = subprocess.Popen(
        [sys.executable, "-m", "app.local.terminal", "--root", str(app_folder), "--port", "0", "talk", "for", "ever"],
        cwd=ROOT,
        env={**os.environ, **WORKSPACE, "PATH": str(app_folder / "no-node"), "SEEN": str(seen)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            until(lambda: seen.exists() and seen.read_text().count("200") > 3)
            process.send_signal(number)
            out, err = process.communicate(timeout=30)
        finally:
            process.kill()
    assert process.returncode == 128 + number
    assert (out, err) == ("", "(stopped)\n")
    assert seen.read_text().split()[-1] == "403", "the bot was not told to stop"


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


class Keyboard:
    """And the screen: a process in a terminal of its own."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin
        assert process.stdout
        self._keys, self._screen = process.stdin, process.stdout
        self._shown = ""

    def type(self, text: str) -> None:
        self._keys.write(text.encode())
        self._keys.flush()

    def wait_for(self, text: str) -> None:
        """Everything up to `text` is read and forgotten."""
        while text not in self._shown:
            ready, _, _ = select.select([self._screen], [], [], 20)
            assert ready, f"{text!r} did not come after {self._shown[-500:]!r}"
            new = os.read(self._screen.fileno(), 65536).decode(errors="replace")
            assert new, f"it ended before {text!r}, after {self._shown[-500:]!r}"
            self._shown += new.replace("\r\n", "\n")
        self._shown = self._shown.partition(text)[2]


async def test_chat_uses_the_bot_that_runs_already(app_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    no_app_here = tmp_path_factory.mktemp("empty")
    (no_app_here / "no-node").mkdir()
    async with running(app_folder) as (_, said):
        url = f"{address_in(said)}/api/messages"
        done = await asyncio.to_thread(chat, no_app_here, "--url", url, "hello")
    assert (done.returncode, done.stdout) == (0, "You said hello.\n")


async def test_a_child_that_never_gets_ready_is_named_with_its_last_lines() -> None:
    async with Children() as children:
        child = await children.start(
            "The thing", [sys.executable, "-c", "print('out of luck'); exit(4)"], ready="never"
        )
        with pytest.raises(ChildFailedError, match=r"The thing ended with exit code 4\. It said:\n  out of luck"):
            await child.ready(20)
        waiting = await children.start("The other", [sys.executable, "-c", "input()"], ready="never")
        assert await children.first_to_end() is child
        with pytest.raises(ChildFailedError, match="The other"):
            await waiting.ready(0)


async def test_children_end_with_the_processes_that_they_started() -> None:
    inner = "import time; print('up', flush=True); time.sleep(60)"
    outer = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {inner!r}])"
    async with asyncio.timeout(30):
        async with Children() as children:
            child = await children.start("Outer", [sys.executable, "-c", outer], ready="up")
            await child.ready(20)
        # The inner process holds the pipe, so this is over only when it has ended too.
        assert child.ended
        assert child.ended.done()


@pytest.mark.skipif(os.name != "posix", reason="the stand-in for npm is a shell script")
@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        (None, r"Node\.js is not installed"),
        ("echo npm error 404 no such package; exit 1", r"could not install .*404 no such package"),
        ("echo npm error code ENOTFOUND; echo npm error errno ENOTFOUND; exit 1", "no connection to the npm registry"),
        ("echo npm ERR! code ECONNREFUSED; exit 1", "no connection to the npm registry"),
        ("echo 'npm error   code: '\\''EAI_AGAIN'\\'','; exit 1", "no connection to the npm registry"),
        ("echo npm error code SELF_SIGNED_CERT_IN_CHAIN; exit 1", "set NODE_EXTRA_CA_CERTS"),
        ("printf 'npm error \\033[31mred'; exit 1", "npm error red$"),
        ("exit 0", "it gave no reason"),
    ],
)
async def test_an_install_that_fails_is_reported_in_a_sentence_and_is_never_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str | None, sentence: str
) -> None:
    if script:
        npm = tmp_path / "npm"
        npm.write_text(f"#!/bin/sh\n{script}\n")
        npm.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NpmPackageError, match=sentence) as failed:
        await installed_playground(tmp_path / ".data" / "playground")
    assert isinstance(failed.value, NoNodeError) is (script is None)
    assert not (tmp_path / ".data" / "playground").exists()


@pytest.mark.skipif(os.name != "posix", reason="the stand-in for npm is a shell script")
@pytest.mark.parametrize(
    ("programs", "sentence"),
    [
        ({}, "With Node.js installed there is also a page"),
        (
            {"npm": "echo npm error code ENOTFOUND; exit 1"},
            "the Agents Playground did not start: npm could not install",
        ),
        ({"npm": INSTALLED, "node": "echo too old; exit 9"}, "exit code 9. It said:\n  too old"),
    ],
)
async def test_run_without_the_playground_says_why_and_continues(
    app_folder: Path, programs: dict[str, str], sentence: str
) -> None:
    for name, script in programs.items():
        program = app_folder / "no-node" / name
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
    async with running(app_folder) as (_, said), ClientSession() as client:
        assert sentence in said
        assert ("With Node.js installed" in said) is (not programs), "Node.js is there, and something else is wrong"
        async with client.get(f"{address_in(said)}/api/messages") as answer:
            assert answer.status == 405


def test_node_gets_no_variable_that_it_does_not_need() -> None:
    environment = {
        "PATH": "/bin", "HOME": "/home/me", "Path": "C:/", "LC_ALL": "C", "VOLTA_HOME": "/volta", "https_proxy": "http://p",
        "npm_config_registry": "https://npm.example", "DATABRICKS_TOKEN": "secret", "MicrosoftAppPassword": "secret",
        "AZURE_CLIENT_SECRET": "secret", "NODE_OPTIONS": "--inspect=0.0.0.0", "BOT_ENDPOINT": "http://else",
    }  # fmt: skip
    needed = {"PATH", "HOME", "Path", "LC_ALL", "VOLTA_HOME"}
    assert node_environment(environment).keys() == needed
    assert node_environment(environment, network=True).keys() == needed | {"https_proxy", "npm_config_registry"}


@pytest.mark.proof
@pytest.mark.skipif(shutil.which("npm") is None, reason="the Agents Playground comes from npm, which is not installed")
async def test_the_agents_playground_is_installed_and_serves_its_page() -> None:
    program = await installed_playground(ROOT / ".data" / "playground")
    assert program.parts[-4:] == ("node_modules", *PACKAGE.split("/"), "cli.js")
    async with Children() as children, ClientSession() as client:
        with listen(0) as free:
            port = port_of(free)
        _, page = await start_playground(children, program, "http://127.0.0.1:9/api/messages", port)
        async with client.get(page) as answer:
            assert answer.status == 200
            assert "<div id=" in await answer.text()
    assert VERSION in (program.parent / "package.json").read_text()
    if os.name == "posix":
        assert program.parents[3].stat().st_mode & 0o077 == 0, "others may read the log of conversations"
