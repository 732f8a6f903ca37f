"""Thumbs on an answer, through the endpoint and the queue: to MLflow and Genie, changed, taken back, once."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from app.bot import proactive_messages
from app.content.feedback_target import GenieTarget, TraceTarget
from app.feedback.rating_keys import answer_id
from app.models.model import Completed, ToolCall
from app.storage.conversations import ConversationKey
from app.storage.storage_errors import StorageError
from app.tools.base import Effect, Tool, ToolArguments, ToolContext, ToolOutput
from app.turns import rating_queue
from tests.fakes.bots import Bot, MakeBot, bots
from tests.fakes.mlflow_traces import MlflowTraces
from tests.fakes.tools import StaticTools

TRACE = "tr-0af7651916cd43dd8448eb211c80319c"
CHAT = ConversationKey("t", "msteams/a:1")
ANSWER = ["Because.", Completed(trace_id=TRACE)]
IN_TEAMS: dict[str, Any] = {
    "channelId": "msteams",
    "conversation": {"id": "a:1", "conversationType": "personal", "tenantId": "t"},
}


@pytest.fixture
async def mlflow() -> AsyncIterator[MlflowTraces]:
    async with MlflowTraces(TRACE) as traces:
        yield traces


@pytest.fixture
async def make_bot(tmp_path: Path, mlflow: MlflowTraces, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[MakeBot]:
    monkeypatch.setattr(proactive_messages, "_SECONDS_BETWEEN_MESSAGES", 0.0)
    monkeypatch.setattr(rating_queue, "_RETRY_SECONDS", (0.0, 0.0))
    async with bots(tmp_path, mlflow.url) as make:
        yield make


async def ask(bot: Bot) -> str:
    """The channel's id of the answer, as Teams names it when somebody rates it."""
    await bot.send(bot.activity(**IN_TEAMS))
    await bot.references.flush()
    assert bot.messages
    # The channel numbers what it is sent, and the answer came last.
    return f"activity-{len(bot.connector.calls)}"


def thumbs(bot: Bot, answer: str, reaction: str, comment: str | None = None, **more: Any) -> dict[str, Any]:
    told = "{}" if comment is None else json.dumps({"feedbackText": comment})
    value = {"actionName": "feedback", "actionValue": {"reaction": reaction, "feedback": told}}
    invoke = bot.activity("", name="message/submitAction", value=value, replyToId=answer, **{**IN_TEAMS, **more})
    return {**invoke, "type": "invoke"}


async def rate(bot: Bot, answer: str, reaction: str, comment: str | None = None) -> None:
    reply = await bot.send(thumbs(bot, answer, reaction, comment))
    assert (reply.status, reply.body) == (200, "{}")
    while await bot.handle_queue():
        pass


async def test_thumbs_and_comment_are_kept_with_the_trace_of_the_answer_and_a_change_of_mind_changes_them(
    make_bot: MakeBot, mlflow: MlflowTraces
) -> None:
    bot = make_bot(ANSWER)
    answer = await ask(bot)
    await rate(bot, answer, "dislike", " Größe 😀 fehlt. ")
    (assessment,) = mlflow.kept
    assert (assessment["feedback"], assessment["rationale"]) == ({"value": False}, "Größe 😀 fehlt.")
    await rate(bot, answer, "like")
    assert [each["feedback"] for each in mlflow.kept] == [{"value": True}]


async def test_a_rated_answer_has_a_button_that_takes_the_rating_back_whoever_else_presses_it(
    make_bot: MakeBot, mlflow: MlflowTraces
) -> None:
    bot, other = make_bot(ANSWER), make_bot()
    answer = await ask(bot)
    await rate(bot, answer, "dislike")
    await rate(bot, answer, "like")
    assert bot.messages[1:] == ["Thank you, your rating is recorded."], "once, however often the mind changes"
    (button,) = bot.connector.calls[-1].activity["attachments"][0]["content"]["actions"]
    assert button["title"] == "Take back my rating"

    async def press(worker: Bot, **more: Any) -> str:
        value = {"action": {"type": "Action.Execute", "verb": button["verb"], "data": button["data"]}}
        invoke = worker.activity("", name="adaptiveCard/action", value=value, **{**IN_TEAMS, **more})
        shown = json.loads((await worker.send({**invoke, "type": "invoke"})).body)["value"]
        while await worker.handle_queue():
            pass
        return str(shown)

    bob = {"from": {"id": "29:bob", "name": "Bob"}}
    assert await press(other, **bob) == "There is no rating of yours to take back."
    assert len(mlflow.kept) == 1
    assert await press(other) == "Your rating has been taken back."
    assert mlflow.kept == []
    assert await press(bot) == "There is no rating of yours to take back."
    await rate(bot, answer, "like")
    assert len(mlflow.kept) == 1, "the same as before is a rating again"


async def test_an_answer_of_genie_is_rated_there_and_at_its_own_trace(make_bot: MakeBot, mlflow: MlflowTraces) -> None:
    async def run(_: ToolArguments, __: ToolContext) -> ToolOutput:
        return ToolOutput("7", feedback_targets=(GenieTarget("s", "c", "m1"),))

    tool = Tool("genie", "Asks Genie", ToolArguments, run, Effect.READ_ONLY)
    bot = make_bot([ToolCall("1", "genie", "{}")], ANSWER, tool_providers=[StaticTools([tool])])
    await rate(bot, await ask(bot), "dislike", "No.")
    assert mlflow.genie == {"m1": {"rating": "NEGATIVE", "comment": "No."}}
    assert len(mlflow.kept) == 1


async def test_where_a_rating_counts_is_kept_before_the_turn_is_closed(
    make_bot: MakeBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    bot = make_bot(ANSWER)
    end, kept = bot.store.end, list[Any]()

    async def ending(*arguments: Any, **more: Any) -> None:
        kept.append(await bot.ratings.targets.find("t", answer_id(CHAT, f"activity-{len(bot.connector.calls)}")))
        await end(*arguments, **more)

    monkeypatch.setattr(bot.store, "end", ending)
    await ask(bot)
    assert kept == [(TraceTarget(TRACE),)], "a worker that vanishes between the two leaves both to the next"


async def test_storage_that_does_not_take_where_a_rating_counts_costs_no_answer(
    make_bot: MakeBot, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fails(*_: Any) -> None:
        raise StorageError("down")

    bot = make_bot(ANSWER)
    monkeypatch.setattr(bot.ratings.targets, "save", fails)
    await ask(bot)
    assert (bot.messages, len(await bot.store.recent(CHAT, 9))) == (["Because."], 2)
    assert "will count here alone" in caplog.text


async def test_what_teams_and_the_queue_deliver_twice_is_one_assessment(
    make_bot: MakeBot, mlflow: MlflowTraces
) -> None:
    bot, other = make_bot(ANSWER), make_bot()
    answer = await ask(bot)
    for worker in (bot, other, bot):
        assert (await worker.send(thumbs(bot, answer, "like"))).status == 200
    messages = bot.on_the_queue()
    for message in messages * 2:
        await other.app.queue.dispatch(message)
    assert [method for method, _ in mlflow.asked] == ["POST"]


async def test_a_workspace_that_is_away_is_told_later_and_the_person_hears_nothing_of_it(
    make_bot: MakeBot, mlflow: MlflowTraces, caplog: pytest.LogCaptureFixture
) -> None:
    bot = make_bot(ANSWER)
    answer = await ask(bot)
    mlflow.disturbances.extend(["answer lost", 503])
    await rate(bot, answer, "dislike", "my secret")
    (assessment,) = mlflow.kept
    assert assessment["rationale"] == "my secret"
    assert "secret" not in caplog.text
    assert "tried again" in caplog.text


async def test_a_workspace_that_never_takes_a_rating_is_given_up_and_the_rating_is_kept_here(
    make_bot: MakeBot, mlflow: MlflowTraces, caplog: pytest.LogCaptureFixture
) -> None:
    bot = make_bot(ANSWER)
    answer = await ask(bot)
    mlflow.assessments.clear()
    await rate(bot, answer, "like")
    assert "kept here alone" in caplog.text
    assert bot.on_the_queue() == []
    assert await bot.ratings.find(CHAT, answer, "29:ann") == "like"


async def test_odd_comments_do_not_cost_the_rating(make_bot: MakeBot, mlflow: MlflowTraces) -> None:
    bot = make_bot(ANSWER)
    answer = await ask(bot)
    odd: list[Any] = ['{"feedbackText": 7}', '{"feedbackText": "cut', "[" * 900, "null", 7, {"feedbackText": "\ud83d!"}]
    for number, told in enumerate(odd):
        invoke = thumbs(bot, answer, "like" if number % 2 else "dislike")
        invoke["value"]["actionValue"]["feedback"] = told
        assert (await bot.send(invoke)).status == 200
        while await bot.handle_queue():
            pass
        (assessment,) = mlflow.kept
        assert assessment["feedback"] == {"value": bool(number % 2)}


async def test_what_is_no_rating_is_acknowledged_and_rates_nothing(make_bot: MakeBot, mlflow: MlflowTraces) -> None:
    bot = make_bot(ANSWER)
    answer = await ask(bot)
    no_ratings: list[Any] = [None, 7, "x", [], {"actionValue": 7}, {"actionValue": {"reaction": "love"}}]
    for value in no_ratings:
        assert (await bot.send({**thumbs(bot, answer, "like"), "value": value})).status == 200
    assert (await bot.handle_queue(), mlflow.asked) == (0, [])


async def test_after_forget_nothing_is_rated_at_mlflow(make_bot: MakeBot, mlflow: MlflowTraces) -> None:
    bot = make_bot(ANSWER)
    answer = await ask(bot)
    await bot.ratings.forget(CHAT)
    await rate(bot, answer, "like")
    assert mlflow.asked == []
