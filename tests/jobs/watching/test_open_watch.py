"""A watch as the settings make it, over the stand-in Jobs API, with servers that take what it tells."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from app.jobs.chat.watches import Watch, Watches
from app.jobs.environment import load_watch_settings
from app.jobs.watching.failure_reader import Strategies
from app.jobs.watching.open_watch import OpenWatch, WatchStore, build_watch
from app.local.job_plans import TaskPlan, failure, in_turn
from app.storage.documents import DocumentStore
from app.storage.queue import Queue
from app.storage.sqlite.sqlite_store import SqliteStore
from tests.fakes.hook_server import HookServer, ReceivedPost, Reply
from tests.fakes.job_service import JobService
from tests.jobs.watching.watch_harness import ScriptedStrategy

KEY = "R0123456789abcdefghijklmnopqrstu"
FAILS = TaskPlan("load", in_turn(failure("ValueError: <!channel> bad")))
HOUR = 3600.0


def a_watch(
    jobs: JobService,
    documents: DocumentStore,
    settings: dict[str, str],
    *,
    is_durable: bool = True,
    queue: Queue | None = None,
) -> OpenWatch:
    given = {"DATABRICKS_HOST": "https://adb-1.azuredatabricks.net", "DATABRICKS_TOKEN": "dapi-secret", **settings}
    return build_watch(
        load_watch_settings(given),
        jobs.api,
        WatchStore(documents, is_durable, queue),
        Strategies(ScriptedStrategy()),
        clock=lambda: jobs.now,
    )


def of(posts: list[ReceivedPost], path: str) -> list[ReceivedPost]:
    return [post for post in posts if post.path == path]


async def test_a_failure_and_its_recovery_reach_every_target_once(
    jobs: JobService, documents: DocumentStore, server: HookServer
) -> None:
    settings = {
        "JOB_WEBHOOK_URL": f"{server.url}/hook",
        "JOB_WEBHOOK_SECRET": KEY,
        "SLACK_WEBHOOK_URL": f"{server.url}/slack",
        "PAGERDUTY_ROUTING_KEY": KEY,
        "PAGERDUTY_URL": server.url,
        "TICKET_URL": f"{server.url}/ticket",
    }
    watch = a_watch(jobs, documents, settings)
    job_id = jobs.add(FAILS)
    jobs.store.start(job_id)
    jobs.now += HOUR
    server.replies = [Reply(503)] * 4
    await watch.run_pass()
    await watch.run_pass()
    assert len(server.received) == 4
    jobs.store.edit(job_id, replace(jobs.store.job(job_id), tasks=(TaskPlan("load"),)))
    jobs.store.start(job_id)
    jobs.now += HOUR
    await watch.run_pass()
    await watch.run_pass()
    told = server.received[4:]
    assert [post.json["type"] for post in of(told, "/hook")] == ["job.incident.opened", "job.incident.recovered"]
    assert [post.json["event_action"] for post in of(told, "/v2/enqueue")] == ["trigger", "resolve"]
    assert len({post.json["dedup_key"] for post in of(told, "/v2/enqueue")}) == 1
    assert len(of(told, "/ticket")) == 1
    assert [post.json["text"] for post in of(told, "/slack")] == ["nightly_etl failed.", "nightly_etl has recovered."]
    assert b"<!channel>" not in b"".join(post.body for post in of(told, "/slack"))
    assert len(told) == 7


async def test_the_morning_after_has_a_digest(jobs: JobService, documents: DocumentStore, server: HookServer) -> None:
    settings = {"SLACK_WEBHOOK_URL": f"{server.url}/slack", "JOB_DIGEST_AT": "08:00", "JOB_TIME_ZONE": "Europe/Berlin"}
    watch = a_watch(jobs, documents, settings)
    always = TaskPlan("load", in_turn(failure("ValueError: bad")))
    jobs.run(always, TaskPlan("clean_up", depends_on=("load",), run_if="ALL_DONE"), name="loose_etl")
    jobs.run(always)
    await watch.run_pass()
    for _ in range(24):
        jobs.now += HOUR
        await watch.run_pass()
    digests = [post.json for post in server.received if "Job digest" in str(post.json)]
    assert len(digests) == 1
    assert "Failed, not yet recovered (1); Succeeded with failures (1)" in digests[0]["text"]
    assert watch.notes == ()
    assert "JOB_DIGEST_AT" in " ".join(a_watch(jobs, documents, settings, is_durable=False).notes)


async def test_however_many_incidents_there_are_one_pass_tells_them(
    jobs: JobService, documents: DocumentStore, server: HookServer
) -> None:
    watch = a_watch(jobs, documents, {"PAGERDUTY_ROUTING_KEY": KEY, "PAGERDUTY_URL": server.url})
    for number in range(80):
        job_id = jobs.add(
            TaskPlan("load", in_turn(failure(f"KeyError: 'column_{chr(97 + number % 26)}{number // 26 * 'x'}'")))
        )
        jobs.store.start(job_id)
    jobs.now += HOUR
    await watch.run_pass()
    keys = {post.json["dedup_key"] for post in server.received}
    assert len(keys) == len(server.received) == len(await watch.incidents.open())
    assert len(keys) > 32


async def test_chats_and_slack_wait_for_the_morning_but_for_a_job_that_matters_at_night(
    tmp_path: Path, jobs: JobService, documents: DocumentStore, server: HookServer
) -> None:
    night = datetime(2026, 11, 28, 3, 0, tzinfo=ZoneInfo("Europe/Berlin")).timestamp()
    calm, critical = (jobs.add(FAILS, name=name) for name in ("calm", "critical"))
    settings = {
        "SLACK_WEBHOOK_URL": f"{server.url}/slack",
        "JOB_QUIET_HOURS": "22:00-07:00",
        "JOB_TIME_ZONE": "Europe/Berlin",
        "JOB_WATCH_JOBS": json.dumps({"critical": {"quiet_hours": ""}}),
    }
    store = SqliteStore(tmp_path / "queue.sqlite", clock=lambda: jobs.now)
    queue = store.queue("turns")
    watch = a_watch(jobs, documents, settings, queue=queue)
    watches = Watches(documents, workspace="https://adb-1.azuredatabricks.net")
    for job_id in (calm, critical):
        await watches.add(Watch(job_id=job_id, job_name="", tenant="t", conversation="19:a"))
        jobs.now = night - HOUR
        jobs.store.start(job_id)
        jobs.now = night
        await watch.run_pass()
    assert [post.json["text"] for post in server.received] == ["critical failed."]
    assert len(await queue.receive(10, visibility_timeout=86_400)) == 1
    jobs.now += 4 * HOUR
    await watch.run_pass()
    assert [post.json["text"] for post in server.received[1:]] == ["calm failed."]
    assert len(await queue.receive(10, visibility_timeout=86_400)) == 1
    await store.close()
