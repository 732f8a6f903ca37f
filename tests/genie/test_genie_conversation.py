"""How a conversation in Genie goes on after something went wrong in it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from app.databricks.genie_api import GenieApi
from app.databricks.workspace_errors import WorkspaceRequestError
from app.genie.asking import Asking
from app.local.genie_plans import USUAL
from tests.genie.test_genie_tool import ANN, BOB, BY_MONTH, BY_REGION, a_space


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody sleeps here, while queries take their time."""
    monkeypatch.setattr("app.genie.asking._ENDS_WITHIN_SECONDS", 1e6)


async def test_a_question_after_a_stop_waits_until_the_stopped_one_has_ended_in_genie(tmp_path: Path) -> None:
    async with a_space(tmp_path) as space:
        assert (await space.ask(BY_MONTH)).succeeded
        space.genie.plans.append(replace(USUAL, held_in="ASKING_AI"))
        stopped = asyncio.create_task(space.ask(BY_REGION, "2"))
        await space.until("ASKING_AI")
        stopped.cancel()
        with suppress(asyncio.CancelledError):
            await stopped
        space.genie.release("ASKING_AI")
        assert (await space.ask(BY_MONTH, "3")).succeeded
        assert space.genie.overlaps == 0


@pytest.mark.parametrize("earlier", [0, 1], ids=["a new conversation", "a conversation that goes on"])
async def test_a_question_that_was_stopped_while_it_was_asked_is_neither_in_the_way_nor_left_behind(
    earlier: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrived, post = asyncio.Event(), Asking._post

    async def never_answered(asking: Asking, *arguments: str) -> None:
        await post(asking, *arguments)
        arrived.set()
        await asyncio.Event().wait()

    async with a_space(tmp_path) as space:
        for number in range(earlier):
            assert (await space.ask(BY_MONTH, f"earlier-{number}")).succeeded
        with monkeypatch.context() as asking:
            asking.setattr(Asking, "_post", never_answered)
            stopped = asyncio.create_task(space.ask(BY_REGION, "1"))
            await arrived.wait()
            stopped.cancel()
            with suppress(asyncio.CancelledError):
                await stopped
        shown: list[str] = []
        assert (await space.ask(BY_MONTH, "2", progress=shown.append)).succeeded
        assert "the question before" in shown[0]
        assert space.genie.overlaps == 0
        await space.tools.forget(ANN)
        assert space.genie.messages() == []


@pytest.mark.parametrize("is_crash", [False, True], ids=["lost reply", "crash"])
async def test_a_question_that_began_a_conversation_in_place_of_one_that_was_gone_is_found_again(
    is_crash: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def vanish(*_: object) -> None:
        raise asyncio.CancelledError

    async with a_space(tmp_path) as space:
        assert (await space.ask(BY_MONTH)).succeeded
        space.genie.delete(space.genie.messages()[0].conversation_id)
        if is_crash:
            with monkeypatch.context() as dying:
                dying.setattr(Asking, "_remembered", vanish)
                assert not (await space.ask(BY_REGION, "2")).succeeded
        else:
            space.genie.lost_replies = 1
        assert (await space.ask(BY_REGION, "2")).succeeded
        assert space.genie.asked == [BY_MONTH, BY_REGION]


async def test_a_lost_question_is_found_on_a_later_page_of_a_long_conversation(tmp_path: Path) -> None:
    async with a_space(tmp_path) as space:
        assert (await space.ask(BY_MONTH)).succeeded
        conversation = space.genie.messages()[0].conversation_id
        for _ in range(25):
            space.genie.cancel(space.genie.go_on(conversation, BY_MONTH))
        space.genie.lost_replies = 1
        assert (await space.ask(BY_REGION, "2")).succeeded
        assert space.genie.asked.count(BY_REGION) == 1


async def test_a_known_query_that_is_refused_is_asked_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*_: object) -> None:
        raise WorkspaceRequestError("no")

    async with a_space(tmp_path, GENIE_REPEAT_SECONDS="600") as space:
        await space.ask(BY_MONTH)
        monkeypatch.setattr(GenieApi, "execute_query", refuse)
        assert (await space.ask(BY_MONTH, "2", BOB)).succeeded
        assert len(space.genie.asked) == 2


async def test_a_known_answer_is_not_rated_at_the_message_of_whoever_asked_first(tmp_path: Path) -> None:
    async with a_space(tmp_path, GENIE_REPEAT_SECONDS="600") as space:
        assert (await space.ask(BY_MONTH)).feedback_targets
        assert not (await space.ask(BY_MONTH, "2", BOB)).feedback_targets
