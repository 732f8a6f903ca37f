"""What Teams and Copilot send, as files with the right value beside each: what the model is asked, what people get."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.agent import user_messages as sentences
from app.agent.commands import HELP
from app.bot import channel
from tests.fakes.connector_service import Call
from tests.fakes.teams_bot import a_teams_bot

FILES = (Path(__file__).parents[1] / "golden" / "activities").glob("*.json")
CASES = {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in sorted(FILES)}
ANSWER = "Because."


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TEAMS_PERSONAL", "COPILOT"):
        row = getattr(channel, name)
        monkeypatch.setattr(channel, name, replace(row, streaming=replace(row.streaming, interval_seconds=0.0)))


@pytest.mark.parametrize("file", CASES)
async def test_what_teams_sends_is_understood(
    file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    case = CASES[file]
    expected: Mapping[str, Any] = case["expected"]
    async with a_teams_bot(tmp_path, monkeypatch, ANSWER) as bot:
        answer = await bot.receive(case["activity"])
        asked = [request.messages[-1].content for request in bot.model.requests]
        calls = list(bot.teams.calls)

    assert answer.status == expected.get("status", 200)
    assert asked == ([] if expected["asked"] is None else [expected["asked"]])
    named = {**vars(sentences), "HELP": HELP}
    told = [named[text].english if text in named else text for text in expected.get("told", [ANSWER])]
    assert [said(call) for call in calls if is_message(call)] == told
    assert_seen_by(expected.get("only_to"), calls, case["activity"]["id"])
    assert expected.get("logged", "") in caplog.text


def is_message(call: Call) -> bool:
    return bool(call.body["type"] == "message")


def said(call: Call) -> str:
    return str(call.body["text"]).strip()


def assert_seen_by(person: str | None, calls: list[Call], question: str) -> None:
    """https://learn.microsoft.com/microsoftteams/platform/agents-in-teams/targeted-messages"""
    for call in calls:
        assert call.path.endswith("?isTargetedActivity=true") == (person is not None), "typing, too"
        if person is not None:
            assert call.path == "/teams/v3/conversations/19%3Agroup%40thread.v2/activities?isTargetedActivity=true"
            assert call.body["recipient"]["id"] == person
            assert "isTargeted" not in call.body["from"]
            info = {"type": "targetedMessageInfo", "messageId": question}
            assert (info in call.body.get("entities", [])) == is_message(call)
