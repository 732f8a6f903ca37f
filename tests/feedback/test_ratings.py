"""What people think of answers reaches MLflow and Genie once, whatever happens on the way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from app.content.feedback_target import FeedbackTarget, GenieTarget, TraceTarget
from app.databricks.genie_api import GenieApi
from app.databricks.mlflow_assessments import MlflowAssessments
from app.feedback.rating_delivery import RatingNotDeliveredError
from app.feedback.rating_keys import answer_id
from app.feedback.rating_records import Reaction
from app.feedback.ratings import Ratings
from app.storage.conversations import ConversationKey
from app.storage.sqlite.sqlite_store import SqliteStore
from app.storage.storage_errors import StorageError
from tests.fakes.mlflow_traces import Disturbance, MlflowTraces
from tests.fakes.workspaces import workspace_at

CHAT = ConversationKey("t", "msteams/c1")
TRACE = "tr-0af7651916cd43dd8448eb211c80319c"
IN_CATALOG = "trace:/main.agents/0af7651916cd43dd8448eb211c80319c"
GENIE = GenieTarget("s1", "c1", "m1")
ANN, BOB = "29:ann", "29:bob"
LIKE, DISLIKE, NONE = Reaction.LIKE, Reaction.DISLIKE, Reaction.NONE


@dataclass
class Rated:
    ratings: Ratings
    mlflow: MlflowTraces
    store: SqliteStore

    async def rate(self, reaction: Reaction, comment: str = "", person: str = ANN) -> str:
        return await self.ratings.rate(CHAT, "answer-1", person, reaction, comment)

    async def deliver(self, rating: str) -> None:
        await self.ratings.deliver("t", rating, is_first_attempt=False)

    async def told(self, reaction: Reaction, comment: str = "") -> None:
        """As the queue brings it, until it is done."""
        rating = await self.rate(reaction, comment)
        for _ in range(5):
            with suppress(RatingNotDeliveredError):
                return await self.deliver(rating)
        raise AssertionError("never delivered")

    @property
    def writes(self) -> list[str]:
        return [method for method, _ in self.mlflow.asked if method != "GET"]


@asynccontextmanager
async def an_answer(
    folder: Path, *targets: FeedbackTarget, traces: Sequence[str] = (TRACE, IN_CATALOG)
) -> AsyncIterator[Rated]:
    store = SqliteStore(folder / "c.sqlite")

    async def no_pause(_: float) -> None:
        await asyncio.sleep(0)

    async with (
        MlflowTraces(*traces) as mlflow,
        workspace_at(f"{mlflow.url}/serving-endpoints", sleep=no_pause) as client,
    ):
        assessments = MlflowAssessments(client, warehouse_id="wh-1")
        ratings = Ratings(store.documents(), assessments, GenieApi(client), retention_days=90)
        if targets:
            await ratings.targets.save(CHAT, "answer-1", targets)
        yield Rated(ratings, mlflow, store)
    await store.close()


@pytest.mark.parametrize("trace_id", [TRACE, IN_CATALOG])
async def test_a_rating_is_an_assessment_of_the_trace_that_changes_and_goes_with_the_persons_mind(
    tmp_path: Path, trace_id: str
) -> None:
    async with an_answer(tmp_path, TraceTarget(trace_id)) as answer:
        await answer.told(DISLIKE, "Wrong year.")
        (first,) = answer.mlflow.kept
        assert (first["feedback"], first["rationale"]) == ({"value": False}, "Wrong year.")
        assert (first["assessment_name"], first["source"]["source_type"]) == ("user_feedback", "HUMAN")

        await answer.told(LIKE)
        (second,) = answer.mlflow.kept
        assert second == {**first, "feedback": {"value": True}, "rationale": ""}, "the same one, nothing overridden"

        await answer.told(NONE)
        assert answer.mlflow.kept == []
        await answer.told(LIKE)
        assert len(answer.mlflow.kept) == 1
        assert answer.writes == ["POST", "PATCH", "DELETE", "POST"]


async def test_who_rates_is_a_pseudonym_the_same_for_all_that_a_person_rates(tmp_path: Path) -> None:
    async with an_answer(tmp_path, TraceTarget(TRACE)) as answer:
        await answer.ratings.targets.save(CHAT, "answer-2", [TraceTarget(IN_CATALOG)])
        for rating in (
            await answer.rate(LIKE),
            await answer.ratings.rate(CHAT, "answer-2", ANN, LIKE),
            await answer.rate(DISLIKE, person=BOB),
        ):
            await answer.deliver(rating)
        ann, bob = (each["source"]["source_id"] for each in answer.mlflow.assessments[TRACE].values())
        (ann_again,) = (each["source"]["source_id"] for each in answer.mlflow.assessments[IN_CATALOG].values())
        assert ann == ann_again != bob
        assert "ann" not in ann


async def test_genie_is_told_the_rating_of_its_message_and_none_when_it_is_taken_back(tmp_path: Path) -> None:
    async with an_answer(tmp_path, GENIE, TraceTarget(TRACE)) as answer:
        for reaction, comment, told in (
            (LIKE, "", {"rating": "POSITIVE"}),
            (DISLIKE, "No.", {"rating": "NEGATIVE", "comment": "No."}),
            (NONE, "", {"rating": "NONE"}),
        ):
            await answer.told(reaction, comment)
            assert answer.mlflow.genie == {"m1": told}
        assert answer.mlflow.kept == []


@pytest.mark.parametrize("times", range(3))
@pytest.mark.parametrize("lost", ["answer lost", "request lost"])
async def test_whatever_gets_lost_there_is_one_assessment_and_it_says_what_was_said_last(
    tmp_path: Path, lost: Disturbance, times: int
) -> None:
    async with an_answer(tmp_path, TraceTarget(TRACE)) as answer:
        answer.mlflow.disturbances.extend([lost] * times)
        await answer.told(DISLIKE)
        (only,) = answer.mlflow.kept
        assert only["feedback"] == {"value": False}
        expected = 1 if lost == "answer lost" or not times else times + 1
        assert answer.writes.count("POST") == expected, "an outcome that is not known is looked up first"


async def test_a_worker_that_vanishes_after_it_has_told_mlflow_leaves_one_assessment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with an_answer(tmp_path, TraceTarget(TRACE)) as answer:
        rating = await answer.rate(LIKE)
        documents: Any = answer.ratings._documents

        async def fails(*_: Any) -> Any:
            raise StorageError("the worker is gone")

        async def vanish() -> None:
            monkeypatch.setattr(documents, "put", fails)

        answer.mlflow.before_answer = vanish
        with pytest.raises(StorageError):
            await answer.deliver(rating)
        monkeypatch.undo()
        answer.mlflow.before_answer = None
        with pytest.raises(RatingNotDeliveredError):
            # Until its lease has ended.
            await answer.deliver(rating)
        answer.ratings._delivery._clock = lambda: 9e12
        await answer.deliver(rating)
        assert len(answer.mlflow.kept) == 1
        assert answer.writes == ["POST", "PATCH"]


async def test_two_workers_that_get_one_rating_tell_it_once(tmp_path: Path) -> None:
    async with an_answer(tmp_path, TraceTarget(TRACE), GENIE) as answer:
        rating = await answer.rate(LIKE)
        outcomes = await asyncio.gather(
            *(answer.ratings.deliver("t", rating, is_first_attempt=False) for _ in range(4)), return_exceptions=True
        )
        assert all(each is None or isinstance(each, RatingNotDeliveredError) for each in outcomes)
        await answer.deliver(rating)
        assert sorted(answer.writes) == ["POST", "POST"], "one for MLflow, one for Genie"


async def test_a_change_of_mind_while_a_rating_is_told_is_told_next(tmp_path: Path) -> None:
    async with an_answer(tmp_path, TraceTarget(TRACE)) as answer:
        rating = await answer.rate(LIKE)

        async def change_mind() -> None:
            answer.mlflow.before_answer = None
            await answer.rate(DISLIKE)

        answer.mlflow.before_answer = change_mind
        await answer.deliver(rating)
        (only,) = answer.mlflow.kept
        assert only["feedback"] == {"value": False}
        assert answer.writes == ["POST", "PATCH"]


async def test_a_worker_that_slept_beyond_its_lease_changes_nothing_that_another_has_done_since(tmp_path: Path) -> None:
    async with an_answer(tmp_path, TraceTarget(TRACE)) as answer:
        rating, asleep, wake = await answer.rate(LIKE), asyncio.Event(), asyncio.Event()

        async def sleep() -> None:
            answer.mlflow.before_answer = None
            asleep.set()
            await wake.wait()

        answer.mlflow.before_answer = sleep
        sleeper = asyncio.create_task(answer.deliver(rating))
        await asleep.wait()
        answer.ratings._delivery._clock = lambda: 9e12
        await answer.told(NONE)
        before = await answer.ratings._records.find("t", rating)
        wake.set()
        await sleeper
        assert answer.mlflow.kept == []
        assert await answer.ratings._records.find("t", rating) == before
        assert answer.writes == ["POST", "DELETE"]


async def test_a_late_repeat_of_what_was_said_before_changes_nothing(tmp_path: Path) -> None:
    async with an_answer(tmp_path, TraceTarget(TRACE)) as answer:
        for reaction, said_at in ((LIKE, 10.0), (DISLIKE, 20.0), (LIKE, 10.0)):
            await answer.deliver(await answer.ratings.rate(CHAT, "answer-1", ANN, reaction, said_at=said_at))
        assert [each["feedback"] for each in answer.mlflow.kept] == [{"value": False}]
        await answer.told(NONE)
        assert answer.mlflow.kept == []


async def test_an_assessment_that_somebody_deleted_in_mlflow_is_made_anew_and_need_not_be_deleted_twice(
    tmp_path: Path,
) -> None:
    async with an_answer(tmp_path, TraceTarget(TRACE)) as answer:
        await answer.told(LIKE)
        answer.mlflow.assessments[TRACE].clear()
        await answer.told(DISLIKE)
        assert len(answer.mlflow.kept) == 1
        answer.mlflow.assessments[TRACE].clear()
        await answer.told(NONE)
        assert answer.mlflow.kept == []


@pytest.mark.parametrize("status", [400, 403])
async def test_what_the_workspace_refuses_is_not_tried_again_and_keeps_nothing_from_the_others(
    tmp_path: Path, status: int
) -> None:
    async with an_answer(tmp_path, TraceTarget(TRACE), GENIE) as answer:
        answer.mlflow.disturbances.append(status)
        await answer.told(LIKE)
        assert (answer.mlflow.kept, answer.mlflow.genie) == ([], {"m1": {"rating": "POSITIVE"}})
        await answer.told(DISLIKE)
        assert len(answer.mlflow.kept) == 1
        assert [method for method, _ in answer.mlflow.asked] == ["POST"] * 4, "nothing that has to be looked up"


async def test_a_trace_that_is_not_written_yet_is_waited_for(tmp_path: Path) -> None:
    async with an_answer(tmp_path, TraceTarget(TRACE), traces=()) as answer:
        rating = await answer.rate(LIKE)
        with pytest.raises(RatingNotDeliveredError):
            await answer.deliver(rating)
        answer.mlflow.assessments[TRACE] = {}
        await answer.deliver(rating)
        assert len(answer.mlflow.kept) == 1


async def test_where_a_rating_counts_may_be_stored_after_it_was_given(tmp_path: Path) -> None:
    async with an_answer(tmp_path) as answer:
        rating = await answer.rate(LIKE)
        with pytest.raises(RatingNotDeliveredError):
            await answer.ratings.deliver("t", rating, is_first_attempt=True)
        await answer.ratings.targets.save(CHAT, "answer-1", [TraceTarget(TRACE)])
        await answer.deliver(rating)
        assert len(answer.mlflow.kept) == 1


async def test_a_rating_of_an_answer_without_a_trace_is_kept_here_and_told_nobody(tmp_path: Path) -> None:
    async with an_answer(tmp_path) as answer:
        await answer.told(DISLIKE, "Too long.")
        assert answer.mlflow.asked == []
        assert await answer.ratings.find(CHAT, "answer-1", ANN) is DISLIKE
        assert await answer.ratings.find(CHAT, "answer-1", BOB) is NONE


async def test_what_is_forgotten_is_gone_here_and_of_no_other_conversation(tmp_path: Path) -> None:
    async with an_answer(tmp_path, TraceTarget(TRACE)) as answer:
        rating = await answer.rate(LIKE)
        thread, other = ConversationKey("t", "msteams/c1", "7"), ConversationKey("t", "msteams/c2")
        for conversation in (thread, other):
            await answer.ratings.rate(conversation, "answer-1", ANN, LIKE)
        await answer.ratings.forget(CHAT)
        await answer.deliver(rating)
        assert answer.mlflow.asked == []
        found = [await answer.ratings.find(each, "answer-1", ANN) for each in (CHAT, thread, other)]
        assert found == [NONE, LIKE, LIKE]
        await answer.ratings.forget(CHAT, threads=True)
        found = [await answer.ratings.find(each, "answer-1", ANN) for each in (CHAT, thread, other)]
        assert found == [NONE, NONE, LIKE]


async def test_assessments_of_traces_in_unity_catalog_are_written_as_mlflows_own_client_writes_them(
    tmp_path: Path,
) -> None:
    with_prefix = "trace:/main.agents.sales/0af7651916cd43dd8448eb211c80319c"
    async with an_answer(
        tmp_path, TraceTarget(IN_CATALOG), TraceTarget(with_prefix), traces=(IN_CATALOG, with_prefix)
    ) as answer:
        await answer.told(LIKE)
        in_schema, in_tables = answer.mlflow.kept
        place = {"catalog_name": "main", "schema_name": "agents"}
        assert in_schema["trace_location"] == {"type": "UC_SCHEMA", "uc_schema": place}
        prefixed = {"type": "UC_TABLE_PREFIX", "uc_table_prefix": {**place, "table_prefix": "sales"}}
        assert in_tables["trace_location"] == prefixed
        assert in_schema["trace_id"] == "0af7651916cd43dd8448eb211c80319c"
        assert [path for _, path in answer.mlflow.asked] == [
            "/api/4.0/mlflow/traces/main.agents/0af7651916cd43dd8448eb211c80319c/assessments",
            "/api/4.0/mlflow/traces/main.agents.sales/0af7651916cd43dd8448eb211c80319c/assessments",
        ]
        assert answer.mlflow.warehouses == {"wh-1"}


async def test_what_a_person_said_in_a_conversation_is_found_and_nothing_of_others(tmp_path: Path) -> None:
    async with an_answer(tmp_path) as rated:
        await rated.rate(LIKE, "Right.")
        await rated.rate(DISLIKE, "Wrong.", person=BOB)
        await rated.ratings.rate(CHAT, "answer-2", ANN, DISLIKE)
        await rated.ratings.rate(ConversationKey("t", "msteams/c2"), "answer-1", ANN, DISLIKE)
        found = await rated.ratings.find_all(CHAT, ANN)
        said = {answer: (record.reaction, record.comment) for answer, record in found.items()}
        assert said == {answer_id(CHAT, "answer-1"): (LIKE, "Right."), answer_id(CHAT, "answer-2"): (DISLIKE, "")}
        assert await rated.ratings.find_all(CHAT, "somebody else") == {}
