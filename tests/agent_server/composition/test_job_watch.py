"""The jobs tab as it is built from settings: its store, and the watch that runs in this server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from agent_server.composition.job_watch import NOT_CONFIGURED, jobs_tab
from agent_server.identity.server_caller import LOCAL_OWNER, ServerCaller
from agent_server.page.incidents import Incidents
from agent_server.protocol.api_error import ApiError
from agent_server.settings import JobsTabSettings, load_server_settings
from app.config import SettingsError
from app.local.job_plans import TaskPlan, cluster_failure, in_turn
from app.messaging.job_messages import APPROVE_RETRY
from app.storage.factory import Storage, open_storage
from tests.fakes.job_service import JobService, job_service
from tests.fakes.serving_endpoint import TOKEN

HERE = ServerCaller(LOCAL_OWNER)
CLOUD_FAILURE = cluster_failure("CLOUD_PROVIDER_LAUNCH_FAILURE", "CLOUD_FAILURE")


@pytest.fixture
async def storage(tmp_path: Path) -> AsyncIterator[Storage]:
    opened = open_storage(tmp_path / "server.sqlite")
    yield opened
    await opened.close()


@pytest.fixture
async def jobs() -> AsyncIterator[JobService]:
    async with job_service() as service:
        # Passes look at the clock of this machine.
        service.now = time.time() - 7200
        yield service


def tab_settings(**environment: str) -> JobsTabSettings:
    return load_server_settings(environment).jobs_tab


def workspace_of(jobs: JobService) -> dict[str, str]:
    return {
        "DATABRICKS_HOST": jobs.url,
        "DATABRICKS_TOKEN": TOKEN,
        "JOB_WATCH_MODE": "approve",
        "JOB_WATCH_SAFE": "true",
    }


async def found_in(incidents: Incidents) -> list[dict[str, Any]]:
    async with asyncio.timeout(10):
        while not (found := (await incidents.list_page(HERE))["incidents"]):  # noqa: ASYNC110 - the store has no event
            await asyncio.sleep(0.02)
    return list(found)


async def test_without_a_store_and_a_watch_it_says_what_to_configure(storage: Storage) -> None:
    tab = jobs_tab(tab_settings(), {"DATABRICKS_HOST": "https://adb-1.example"}, storage)
    assert tab.missing == NOT_CONFIGURED
    with pytest.raises(ApiError, match="AGENT_SERVER_WATCH_JOBS_EVERY"):
        await tab.incidents()


def test_a_store_without_a_workspace_says_which_setting_is_missing(storage: Storage, tmp_path: Path) -> None:
    tab = jobs_tab(tab_settings(), {"JOB_WATCH_STORE": str(tmp_path / "watch.sqlite")}, storage)
    assert "DATABRICKS" in tab.missing


@pytest.mark.parametrize("every", ["1s", "99d"])
def test_a_length_of_time_out_of_its_limits_stops_the_start(storage: Storage, every: str) -> None:
    environment = {"AGENT_SERVER_WATCH_JOBS_EVERY": every, "DATABRICKS_HOST": "https://adb-1.example"}
    with pytest.raises(SettingsError, match="AGENT_SERVER_WATCH_JOBS_EVERY"):
        jobs_tab(tab_settings(**environment), environment, storage)


def test_people_are_given_with_commas_between_them() -> None:
    settings = tab_settings(AGENT_SERVER_JOB_APPROVERS="7@1, 8@1,", AGENT_SERVER_JOB_VIEWERS="*")
    assert (settings.approvers, settings.viewers) == (("7@1", "8@1"), ("*",))


async def test_the_watch_that_runs_here_finds_a_failure_and_begins_what_the_page_approves(
    storage: Storage, jobs: JobService
) -> None:
    run_id = jobs.run(TaskPlan("load", in_turn(CLOUD_FAILURE)))
    environment = workspace_of(jobs) | {"AGENT_SERVER_WATCH_JOBS_EVERY": "10s"}
    tab = jobs_tab(tab_settings(**environment), environment, storage)
    incidents = await tab.incidents()
    tab.start()
    try:
        (incident,) = await found_in(incidents)
        assert (incident["job"], incident["waits_for_decision"]) == ("nightly_etl", True)
        (decision,) = [block["id"] for block in incident["blocks"] if block["kind"] == "actions" and block["id"]]

        answer = await incidents.decide(HERE, incident["id"], {"verb": APPROVE_RETRY, "decision_id": decision})

        assert answer["incident"]["state"] == "approved"
        async with asyncio.timeout(10):
            while not jobs.stand_in.repairs:  # noqa: ASYNC110 - in this loop, in a moment
                await asyncio.sleep(0.02)
        assert [repair["run_id"] for repair in jobs.stand_in.repairs] == [run_id]
    finally:
        await tab.close()


async def test_a_store_that_another_watch_writes_is_read_and_decided_in(
    storage: Storage, jobs: JobService, tmp_path: Path
) -> None:
    jobs.run(TaskPlan("load", in_turn(CLOUD_FAILURE)))
    there = workspace_of(jobs) | {"JOB_WATCH_STORE": str(tmp_path / "watch.sqlite")}
    watching = jobs_tab(tab_settings(AGENT_SERVER_WATCH_JOBS_EVERY="5m"), there, storage)
    reading = jobs_tab(tab_settings(), there, storage)
    incidents = await reading.incidents()
    watching.start()
    reading.start()
    try:
        found = await found_in(incidents)
        (decision,) = [block["id"] for block in found[0]["blocks"] if block["kind"] == "actions" and block["id"]]
        answer = await incidents.decide(HERE, found[0]["id"], {"verb": APPROVE_RETRY, "decision_id": decision})
        assert answer["said"].endswith("It starts with the next pass of the job watch.")
    finally:
        await watching.close()
        await reading.close()
