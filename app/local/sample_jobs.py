"""Sample jobs of the stand-in workspace: one that fails until it is given a smaller batch, and one that is well."""

from __future__ import annotations

import time
from collections.abc import Callable

from app.local.job_plans import Attempt, JobPlan, Outcome, TaskPlan, failure
from app.local.jobs_stand_in import JobsStandIn

_LARGEST_BATCH = 10_000
_OUT_OF_MEMORY = failure(
    "Py4JJavaError: An error occurred while calling o412.save.\n: java.lang.OutOfMemoryError: Java heap space",
    """---------------------------------------------------------------------------
Py4JJavaError                             Traceback (most recent call last)
File /Workspace/jobs/load.py:31
     29 batch = int(dbutils.widgets.get("batch_size"))
     30 for rows in read_orders(batch):
---> 31     rows.write.mode("append").saveAsTable("main.sales.orders")
Py4JJavaError: An error occurred while calling o412.save.
: java.lang.OutOfMemoryError: Java heap space
\tat org.apache.spark.sql.execution.datasources.FileFormatWriter$.write(FileFormatWriter.scala:307)
""",
    seconds=15,
)
_VIEWERS = ("you@localhost", "alexw@example.com")
"""Who signs in here, and who writes in the Playground."""
_SHORT = Outcome(seconds=5)


def _load(attempt: Attempt) -> Outcome:
    batch = attempt.parameters.get("batch_size", "")
    fits = batch.isdecimal() and int(batch) <= _LARGEST_BATCH
    return Outcome(seconds=15) if fits else _OUT_OF_MEMORY


def sample_jobs(clock: Callable[[], float] = time.time) -> JobsStandIn:
    """Both have just begun a run."""
    stand_in = JobsStandIn(clock)
    nightly = JobPlan(
        "nightly_etl",
        (
            TaskPlan("extract", lambda _: _SHORT, definition={"notebook_task": {"notebook_path": "/jobs/extract"}}),
            TaskPlan("load", _load, ("extract",), definition={"notebook_task": {"notebook_path": "/jobs/load"}}),
            TaskPlan("report", lambda _: _SHORT, ("load",)),
        ),
        {"batch_size": "50000"},
        tags={"team": "data"},
        settings={"schedule": {"quartz_cron_expression": "0 0 3 * * ?", "timezone_id": "UTC"}},
        viewers=_VIEWERS,
    )
    hourly = JobPlan("hourly_sales", (TaskPlan("refresh", lambda _: _SHORT),), viewers=_VIEWERS)
    for plan in (nightly, hourly):
        stand_in.store.start(stand_in.store.add(plan), trigger="PERIODIC")
    return stand_in
