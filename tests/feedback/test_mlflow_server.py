"""Ratings at MLflow's own tracking server, through the real invoke and the queue."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from app.bot import proactive_messages
from app.databricks.mlflow_assessments import MlflowAssessments
from app.databricks.workspace_errors import WorkspaceInterruptedError
from app.models.model import Completed
from app.turns import rating_queue
from tests.bot.test_feedback import IN_TEAMS, ask, rate
from tests.fakes.bots import bots
from tests.fakes.mlflow_server import an_mlflow_server

pytestmark = pytest.mark.proof


async def test_mlflow_keeps_one_assessment_of_an_answer_that_changes_and_goes_as_the_person_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proactive_messages, "_SECONDS_BETWEEN_MESSAGES", 0.0)
    monkeypatch.setattr(rating_queue, "_RETRY_SECONDS", (0.0,) * 6)
    create = MlflowAssessments.create
    lost: list[str] = []

    async def create_and_lose_the_answer(self: MlflowAssessments, *arguments: object) -> str:
        id = await create(self, *arguments)  # type: ignore[arg-type]
        if not lost:
            lost.append(id)
            raise WorkspaceInterruptedError("the connection broke")
        return id

    monkeypatch.setattr(MlflowAssessments, "create", create_and_lose_the_answer)
    async with an_mlflow_server(tmp_path) as mlflow, bots(tmp_path, mlflow.url) as make_bot:
        trace = await mlflow.start_trace()
        bot = make_bot(["Because.", Completed(trace_id=trace)])
        answer = await ask(bot)

        await rate(bot, answer, "dislike", "Größe 😀 fehlt.")
        (kept,) = await mlflow.assessments(trace)
        assert kept["assessment_id"] == lost[0], "what was not known to be there was looked up"
        assert (kept["assessment_name"], kept["feedback"]["value"]) == ("user_feedback", False)
        assert kept["rationale"] == "Größe 😀 fehlt."
        assert kept["source"]["source_type"] == "HUMAN"
        assert kept["source"]["source_id"].startswith("user-")

        await rate(bot, answer, "like")
        (changed,) = await mlflow.assessments(trace)
        assert (changed["assessment_id"], changed["feedback"]["value"]) == (lost[0], True)
        assert not changed.get("rationale"), "the comment was about the thumbs down"
        assert "overrides" not in changed

        (button,) = bot.connector.calls[-1].activity["attachments"][0]["content"]["actions"]
        value = {"action": {"type": "Action.Execute", "verb": button["verb"], "data": button["data"]}}
        pressed = {**bot.activity("", name="adaptiveCard/action", value=value, **IN_TEAMS), "type": "invoke"}
        assert json.loads((await bot.send(pressed)).body)["value"] == "Your rating has been taken back."
        while await bot.handle_queue():
            pass
        assert await mlflow.assessments(trace) == []

        await rate(bot, answer, "like")
        assert len(await mlflow.assessments(trace)) == 1
