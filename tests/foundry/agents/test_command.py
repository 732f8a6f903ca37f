"""`python -m app.foundry`: what goes where, and what the exit code says."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from app.foundry.agents import command
from app.foundry.agents.command import main
from app.foundry.agents.orchestrator import OrchestratedAnswer
from app.foundry.agents.responses_orchestrator import ResponsesOrchestrator
from tests.foundry.agents.conftest import QUEUES, ProgramHarness

CREATE_RESPONSE = "POST /openai/v1/responses"
ROOT = Path(__file__).parents[3]


def environment(harness: ProgramHarness) -> dict[str, str]:
    return {
        "PROJECT_ENDPOINT_ENT": harness.address,
        "MODEL_DEPLOYMENT_NAME": "gpt-5.1",
        "STORAGE_SERVICE_ENDPOINT": QUEUES,
        "FOUNDRY_TOOLS": "ask",
    }


async def run(harness: ProgramHarness, *arguments: str, **changes: str) -> int:
    try:
        return await asyncio.to_thread(main, arguments, environment(harness) | changes)
    except SystemExit as end:
        return int(end.code or 0)


async def test_the_answer_alone_goes_to_standard_output(
    harness: ProgramHarness, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await run(harness, "preflight") == 0
    assert await run(harness, "create") == 0
    assert capsys.readouterr().out == ""
    assert await run(harness, "ask", "How many?") == 0
    said = capsys.readouterr()
    assert said.out == "ask says 42 to How many?\n"
    assert "databricks-specialist: version 1" in said.err
    assert "How many" not in said.err, "progress holds nothing that anybody wrote"
    for _ in range(2):
        assert await run(harness, "delete") == 0
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err.endswith("nothing of ours is left in the project\n")
    assert harness.stand_in.left() == []


async def test_it_is_said_for_how_long_an_answer_is_waited_for(
    harness: ProgramHarness, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "_PROGRESS_SECONDS", 0.25)
    await harness.orchestrator().create()
    harness.stand_in.runs.ends.append("stuck")
    assert await run(harness, "ask", "How many?", "--timeout", "1") == 2
    said = capsys.readouterr().err.splitlines()
    assert [each for each in said if each in {"0.25 s", "0.5 s"}] == ["0.25 s", "0.5 s"]
    assert said[-1] == "There was no answer within 1 s; ask with a longer time limit."


@pytest.mark.parametrize(("given", "seconds"), [((), 120), (("--timeout", "3600"), 3600)])
async def test_an_answer_is_waited_for_two_minutes_or_as_long_as_is_said(
    harness: ProgramHarness, monkeypatch: pytest.MonkeyPatch, given: tuple[str, ...], seconds: float
) -> None:
    limits: list[float] = []

    async def ask(_: object, question: str, time_limit_seconds: float) -> OrchestratedAnswer:
        limits.append(time_limit_seconds)
        return OrchestratedAnswer("42", ("ask",))

    monkeypatch.setattr(ResponsesOrchestrator, "ask", ask)
    assert await run(harness, "ask", "How many?", *given) == 0
    assert limits == [seconds]


async def test_it_is_said_that_the_tool_was_never_called(
    harness: ProgramHarness, capsys: pytest.CaptureFixture[str]
) -> None:
    await harness.orchestrator().create()
    assert await run(harness, "ask", "hello there") == 0
    assert "no call of a tool" in capsys.readouterr().err


async def test_the_exit_code_says_whether_it_was_refused(
    harness: ProgramHarness, capsys: pytest.CaptureFixture[str]
) -> None:
    await harness.orchestrator().create()
    for call, status, code in (
        ("POST /openai/v1/responses", 429, 1),
        ("POST /openai/v1/responses", 503, 2),
        ("GET /openai/v1/responses/{id}", 400, 2),
    ):
        harness.stand_in.faults.add(call, status, retry_after_seconds=3600 if status == 429 else None)
        assert await run(harness, "ask", "How many?") == code, (call, status)
    assert "It asks to wait 3600 s." in capsys.readouterr().err
    for end, code in (("refusal", 1), ("approval", 1), ("failed", 2), ("expired", 2), ("stuck", 2)):
        harness.stand_in.runs.ends.append(end)
        limit = "1" if end == "stuck" else "120"
        assert await run(harness, "ask", "How many?", "--timeout", limit) == code, end
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "required: COMMAND"),
        (["answer"], "invalid choice"),
        (["ask"], "required: question"),
        (["ask", "  "], "the question is empty"),
        (["ask", "x" * 30_001], "longer than 30000 characters"),
        (["ask", "x", "--timeout", "soon"], "number of seconds from 1 to 3600"),
        (["ask", "x", "--timeout", "nan"], "number of seconds from 1 to 3600"),
        (["--env-file", "nowhere", "delete"], "no file nowhere"),
    ],
)
def test_wrong_use_is_a_refusal(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """2, which programs use for it otherwise, says here that what came of it is not known."""
    try:
        code: object = main(arguments)
    except SystemExit as end:
        code = end.code
    assert code == 1
    assert said in capsys.readouterr().err


def test_wrong_settings_are_refused_before_anything_is_asked(capsys: pytest.CaptureFixture[str]) -> None:
    given = {"PROJECT_ENDPOINT": "x", "STORAGE_SERVICE_ENDPOINT": QUEUES, "FOUNDRY_SCALE_FACTORS": "2"}
    assert main(["ask", "How many?"], given) == 1
    said = capsys.readouterr().err
    assert "PROJECT_ENDPOINT_ENT: missing" in said
    assert "MODEL_DEPLOYMENT_NAME: missing" in said


async def test_agents_without_a_tool_are_not_made(harness: ProgramHarness, capsys: pytest.CaptureFixture[str]) -> None:
    assert await run(harness, "create", FOUNDRY_TOOLS="none") == 1
    assert "FOUNDRY_TOOLS: names no tool" in capsys.readouterr().err
    assert await run(harness, "delete", FOUNDRY_TOOLS="none") == 0


async def test_a_file_of_settings_is_read_and_the_environment_wins(
    harness: ProgramHarness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "dev.env"
    file.write_text(
        "".join(f"{name}={value}\n" for name, value in environment(harness).items()) + "FOUNDRY_AGENT_NAME=a\n"
    )
    monkeypatch.setenv("FOUNDRY_AGENT_NAME", "b")
    assert await asyncio.to_thread(main, ["--env-file", str(file), "create"]) == 0
    assert set(harness.stand_in.agents.versions) == {"b-specialist", "b-orchestrator"}


async def test_control_characters_of_an_answer_do_not_reach_the_terminal(
    harness: ProgramHarness, capsys: pytest.CaptureFixture[str]
) -> None:
    async def steering(*_: object) -> str:
        return "\x1b]0;title\x07red\x1b[31m"

    harness.answer_with(steering)
    await harness.orchestrator().create()
    assert await run(harness, "ask", "How many?") == 0
    assert capsys.readouterr().out == "red\n"


async def test_every_terminal_shows_an_answer_and_every_question_can_be_sent(
    harness: ProgramHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytes of an argument that are no UTF-8 come as halves of surrogate pairs."""
    await harness.orchestrator().create()
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii", write_through=True))
    assert await run(harness, "ask", "caf\udce9 für Zoë?") == 0
    assert written.getvalue() == b"ask says 42 to caf? f?r Zo??\n"


async def test_what_delete_could_not_remove_is_listed(
    harness: ProgramHarness, capsys: pytest.CaptureFixture[str]
) -> None:
    await harness.orchestrator().create()
    harness.stand_in.faults.add("DELETE /agents/{name}", 403)
    assert await run(harness, "delete") == 2
    assert "left: agent databricks-orchestrator: " in capsys.readouterr().err


@pytest.mark.parametrize(
    "how",
    [pytest.param(signal.SIGTERM, marks=pytest.mark.proof), pytest.param(signal.SIGINT, marks=pytest.mark.proof)],
)
async def test_a_signal_removes_what_was_made(harness: ProgramHarness, how: signal.Signals) -> None:
    """A real process, stopped while its question is being answered."""
    await harness.orchestrator().create()
    started = asyncio.Event()

    async def slow(*_: object) -> str:
        started.set()
        await asyncio.Event().wait()
        return "never"

    harness.answer_with(slow)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "app.foundry", "ask", "How many?"),
        cwd=ROOT,
        env={**os.environ, **environment(harness)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    async with asyncio.timeout(60):
        await started.wait()
        process.send_signal(how)
        assert await process.wait() == 130
    assert [*harness.stand_in.conversations.all, *harness.stand_in.responses.all] == []


class _Gone(io.StringIO):
    """A pipe that nobody reads any more."""

    def write(self, _: str) -> int:
        raise BrokenPipeError


async def test_nothing_is_left_where_nobody_reads_what_is_said(
    harness: ProgramHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", _Gone())
    assert await run(harness, "create") == 0
    harness.stand_in.runs.ends.append("refusal")
    assert await run(harness, "ask", "How many?") == 1
    assert await run(harness, "delete") == 0
    assert (harness.stand_in.left(), harness.stand_in.responses.all) == ([], {})


async def test_an_answer_that_cannot_be_written_is_no_success(
    harness: ProgramHarness, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    await harness.orchestrator().create()
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as pipe:
        for stream in (pipe, None):
            monkeypatch.setattr(sys, "stdout", stream)
            assert await run(harness, "ask", "How many?") == 2
            assert "could not be written" in capsys.readouterr().err
        pipe.write("Python's own flush at the end does not fail")
        pipe.flush()


async def test_a_failure_that_nobody_expected_is_no_refusal(
    harness: ProgramHarness, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def broken(*_: object) -> None:
        raise KeyError("id")

    await harness.orchestrator().create()
    monkeypatch.setattr("app.foundry.agents.project_client.FoundryProject.response", broken)
    assert await run(harness, "ask", "How many?") == 2
    assert "KeyError: 'id'" in capsys.readouterr().err
    assert (harness.stand_in.conversations.all, harness.stand_in.responses.all) == ({}, {})
