"""The tools as the Function App makes them, over the stand-in workspace: Genie's SQL really runs."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestServer

from app.common.cancellation import Cancellation, CancelReason
from app.composition.core import Core
from app.composition.foundry_tools import OpenFoundryTools
from app.config import load_settings
from app.foundry.tools.foundry_tool import FailedCallError, FoundryTool, RefusedCallError, ToolCallContext
from app.local.genie_plans import PLANS, USUAL
from app.local.genie_stand_in import SPACE_ID, StandInSpace
from app.local.job_plans import JobPlan, TaskPlan, failure, in_turn
from app.local.jobs_stand_in import JobsStandIn
from app.local.model_server import ModelServer
from app.local.stand_in_workspace import SETTINGS, StandInWorkspace
from tests.fakes.sample_data import DATA_TOKEN, DataWorkspace, small_sample_data

BY_REGION = "How many orders are there by region?"
OTHER_SPACE = "01f05a1e000010008000000000000002"
TWO_SPACES = json.dumps([{"id": SPACE_ID, "alias": "Sales"}, {"id": OTHER_SPACE, "description": "Staff"}])


@dataclass
class Data:
    workspace: DataWorkspace
    jobs: JobsStandIn
    tools: OpenFoundryTools

    def tool(self, name: str) -> FoundryTool:
        return next(tool for tool in self.tools.tools if tool.name == name)

    async def ask_data(self, call_id: str = "1", context: dict[str, Any] | None = None, **arguments: Any) -> str:
        return await self.tool("ask_data").prepare(arguments)(ToolCallContext(call_id, **(context or {})))


def left_in(folder: Path) -> list[str]:
    """What storage holds of calls that have ended; how often Genie was asked is not of a call."""
    with closing(sqlite3.connect(folder / "conversations.sqlite")) as file:
        kept = file.execute("SELECT name FROM artifact").fetchall()
        kept += file.execute("SELECT collection FROM document WHERE collection <> 'genie_quota'").fetchall()
        kept += file.execute("SELECT text FROM message").fetchall()
    return [name for (name,) in kept]


@asynccontextmanager
async def data(folder: Path, **settings: str) -> AsyncIterator[Data]:
    workspace = DataWorkspace(await asyncio.to_thread(small_sample_data))
    jobs = JobsStandIn()
    stand_in = StandInWorkspace(ModelServer("http://127.0.0.1:9", "key"), DATA_TOKEN, (*workspace.parts, jobs))
    async with TestServer(stand_in.application(), host="127.0.0.1") as server:
        environment = {
            **SETTINGS,
            "DATABRICKS_BASE_URL": f"http://127.0.0.1:{server.port}/serving-endpoints",
            "DATABRICKS_TOKEN": DATA_TOKEN,
            "DATA_DIR": str(folder),
            "AZURE_FUNCTIONS_ENVIRONMENT": "Development",
            "FOUNDRY_CACHE_SECONDS": "0",
            "GENIE_QUESTIONS_PER_MINUTE": "1000",
            **settings,
        }
        loaded = load_settings(environment)
        core = Core(loaded)
        tools = OpenFoundryTools(core, loaded)
        try:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("app.genie.looking._FIRST_PAUSE_SECONDS", 0.005)
                patch.setattr("app.genie.looking._LONGEST_PAUSE_SECONDS", 0.005)
                yield Data(workspace, jobs, tools)
        finally:
            await tools.close()
            await core.close()
            workspace.database.close()


async def test_the_numbers_come_as_a_table_with_the_sql_and_a_link_and_nothing_is_left_behind(tmp_path: Path) -> None:
    async with data(tmp_path) as genie:
        heard: list[str] = []
        answer = await genie.ask_data(query=BY_REGION, context={"progress": heard.append})
        assert "**Orders by region**\n\n| region | orders |\n| --- | --- |\n" in answer
        assert "| AFRICA |" in answer
        assert "```sql\nSELECT" in answer
        assert answer.endswith(f"/genie/rooms/{SPACE_ID})")
        assert "Sources:\n\n1. [Powered by Genie: open in Databricks](https://" in answer.replace("http://", "https://")
        assert "the person sees" not in answer
        assert "Writing SQL…" in heard
        assert len(genie.workspace.genie.deleted) == 1
        assert left_in(tmp_path) == []


async def test_more_rows_come_than_people_see_at_once(tmp_path: Path) -> None:
    async with data(tmp_path) as genie:
        genie.workspace.genie.plans.append(PLANS["many rows"])
        answer = await genie.ask_data(query=BY_REGION)
        assert answer.count("\n| ") == 2 + 100
        assert "100 of 3000 rows." in answer


async def test_a_secret_in_the_data_is_not_told(tmp_path: Path) -> None:
    async with data(tmp_path) as genie:
        token = "dapi0123456789abcdef0123456789abcdef"
        genie.workspace.genie.plans.append(replace(USUAL, sql=f"SELECT '{token}' AS note, 1 AS n"))
        answer = await genie.ask_data(query=BY_REGION)
        assert "| note | n |" in answer
        assert token not in answer.partition("```sql")[0]


async def test_a_question_that_is_unclear_or_about_something_else_is_told_as_such(tmp_path: Path) -> None:
    async with data(tmp_path) as genie:
        answer = await genie.ask_data(queries=["Who are our best customers?", "How many planets are there?"])
        assert "Best customer by revenue, or by number of orders?" in answer
        assert "Genie ran no query." in answer


async def test_a_failure_of_genie_is_a_sentence(tmp_path: Path) -> None:
    async with data(tmp_path) as genie:
        with pytest.raises(FailedCallError, match="Genie's content filter refused the question"):
            await genie.ask_data(query=f"{BY_REGION} simulate: CONTENT_FILTER_EXCEPTION")
        genie.workspace.genie.spaces.clear()
        with pytest.raises(FailedCallError, match="The Genie space is not there any more"):
            await genie.ask_data(query=BY_REGION)


async def test_a_call_that_another_worker_makes_again_asks_genie_nothing_twice(tmp_path: Path) -> None:
    async with data(tmp_path) as genie:
        genie.workspace.genie.plans.append(PLANS["never ends"])
        cancellation = Cancellation()
        first = asyncio.create_task(genie.ask_data("1", {"cancellation": cancellation}, query=BY_REGION))
        async with asyncio.timeout(20):
            while not any(each.status == "ASKING_AI" for each in genie.workspace.genie.messages()):  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        cancellation.cancel(CancelReason.HANDED_OVER)
        first.cancel()
        await asyncio.wait({first})
        genie.workspace.genie.release("ASKING_AI")
        assert "| AFRICA |" in await genie.ask_data("1", query=BY_REGION)
        assert len(genie.workspace.genie.asked) == 1


async def test_of_several_spaces_one_is_named(tmp_path: Path) -> None:
    async with data(tmp_path, GENIE_SPACES=TWO_SPACES) as genie:
        genie.workspace.genie.spaces.append(StandInSpace(OTHER_SPACE, "Staff"))
        space = genie.tool("ask_data").parameters["properties"]["space"]
        assert space["enum"] == ["Sales", OTHER_SPACE]
        assert f"{OTHER_SPACE}: Staff." in space["description"]
        for named in ("sales", SPACE_ID, "genie_sales"):
            assert f"rooms/{SPACE_ID})" in await genie.ask_data(query=BY_REGION, space=named)
        with pytest.raises(
            RefusedCallError, match=f"not clear which data. Put one of these into space: Sales, {OTHER_SPACE}"
        ):
            await genie.ask_data(query=BY_REGION)
        with pytest.raises(RefusedCallError, match="no Genie space of that name"):
            await genie.ask_data(query=BY_REGION, space="payroll")
        with pytest.raises(RefusedCallError, match="space has to be a text"):
            genie.tool("ask_data").prepare({"query": BY_REGION, "space": ["Sales"]})


async def test_an_equal_question_about_other_data_gets_an_answer_of_its_own(tmp_path: Path) -> None:
    async with data(tmp_path, GENIE_SPACES=TWO_SPACES, FOUNDRY_CACHE_SECONDS="600") as genie:
        genie.workspace.genie.spaces.append(StandInSpace(OTHER_SPACE, "Staff"))
        for space in (SPACE_ID, OTHER_SPACE):
            assert f"rooms/{space})" in await genie.ask_data(query=BY_REGION, space=space)


async def test_every_space_that_the_agent_may_use_can_be_asked(tmp_path: Path) -> None:
    async with data(tmp_path, GENIE_SPACES="all") as genie:
        assert "enum" not in genie.tool("ask_data").parameters["properties"]["space"]
        assert "| AFRICA |" in await genie.ask_data(query=BY_REGION)
        assert "| AFRICA |" in await genie.ask_data(query=BY_REGION, space="Sales")


async def test_ask_uses_genie_too_and_leaves_nothing_behind(tmp_path: Path) -> None:
    async with data(tmp_path) as genie:
        answer = await genie.tool("ask").prepare({"query": BY_REGION})(ToolCallContext("1"))
        assert "| AFRICA |" in answer
        assert "Sources:" in answer
        assert len(genie.workspace.genie.deleted) == 1
        assert left_in(tmp_path) == []
        assert "space" not in genie.tool("ask_data").parameters["properties"], "there is no choice"


async def test_a_failed_job_is_explained_by_the_model_of_the_agent(tmp_path: Path) -> None:
    async with data(tmp_path) as workspace:
        broken = failure("Workload failed", "ValueError: bad row\n", seconds=0.0)
        plan = JobPlan("nightly_etl", (TaskPlan("load", in_turn(broken)),), setup_seconds=0.0)
        workspace.jobs.store.start(workspace.jobs.store.add(plan))
        answer = await workspace.tool("diagnose_job").prepare({"query": "nightly_etl"})(ToolCallContext("1"))
        assert "- Assessment, by a model: " in answer
        assert "ValueError: bad row" in answer
