"""host.json against what a turn needs, and against the Functions host, which starts without what it cannot read."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from app.composition.foundry import _WAITING_SECONDS
from app.local.host_json import HostJson
from app.local.timespan import seconds_of
from tests.ops.files.deployments import ROOT, alerts, query, template

HOST: dict[str, Any] = json.loads((ROOT / "host.json").read_text(encoding="utf-8"))
PARAMETERS = template()["parameters"]
# https://learn.microsoft.com/azure/azure-functions/functions-host-json
NAMES = {"version", "functionTimeout", "logging", "extensions", "extensionBundle"}
# What the host calls the rows that it would keep only a sample of.
ROWS = {"AppRequests": "Request", "AppExceptions": "Exception", "AppTraces": "Trace", "AppDependencies": "Dependency"}
# https://learn.microsoft.com/azure/azure-functions/functions-scale#timeout: on the Consumption plan.
LONGEST_FUNCTION_SECONDS = 600
SECONDS_BESIDE_THE_ANSWER = 30
MAX_POLLING_SECONDS = 10
SHORTEST_OUTAGE_SECONDS = 30


def test_it_has_only_names_that_the_host_knows() -> None:
    assert set(HOST) == NAMES
    assert HOST["version"] == "2.0"


def test_the_bundle_has_queue_triggers_and_a_range_of_versions_within_one_major() -> None:
    bundle = HOST["extensionBundle"]
    assert set(bundle) == {"id", "version"}
    assert bundle["id"] == "Microsoft.Azure.Functions.ExtensionBundle"
    bounds = re.fullmatch(r"\[(\d+)\.\*, (\d+)\.0\.0\)", bundle["version"])
    assert bounds
    assert int(bounds[2]) == int(bounds[1]) + 1


def test_a_function_may_run_for_as_long_as_the_longest_turn_that_can_be_chosen() -> None:
    limit = seconds_of(HOST["functionTimeout"])
    longest = PARAMETERS["turnTimeoutSeconds"]["maxValue"] + SECONDS_BESIDE_THE_ANSWER
    assert longest <= limit <= LONGEST_FUNCTION_SECONDS


def test_a_request_of_foundry_leaves_its_function_before_the_host_ends_the_worker() -> None:
    assert seconds_of(HOST["functionTimeout"]) >= _WAITING_SECONDS + SECONDS_BESIDE_THE_ANSWER


def test_a_message_is_seen_soon_and_outlives_a_short_outage() -> None:
    queues = HostJson.read(ROOT, {}).queues
    assert queues.max_polling_interval_seconds <= MAX_POLLING_SECONDS
    assert queues.visibility_timeout * (queues.max_dequeue_count - 1) >= SHORTEST_OUTAGE_SECONDS


def test_the_host_takes_as_many_requests_as_flex_can_be_told_to_send() -> None:
    http = HOST["extensions"]["http"]
    assert PARAMETERS["flexHttpConcurrency"]["maxValue"] <= http["maxConcurrentRequests"]
    # What it refuses with 429 is a message that nobody answers.
    assert http["maxConcurrentRequests"] <= http["maxOutstandingRequests"]


def test_rows_that_an_alert_asks_for_are_not_sampled() -> None:
    """Rows are dropped in a storm, which is when the one that an alert looks for is written."""
    asked = {table for name in alerts() for table in re.findall(r"\bApp[A-Z]\w+", query(name))}
    sampling = HOST["logging"]["applicationInsights"]["samplingSettings"]
    kept = set(sampling["excludedTypes"].split(";"))
    assert {ROWS[table] for table in asked & set(ROWS)} <= kept
    assert kept <= set(ROWS.values())


@pytest.mark.parametrize("function", ["messages", "mcp_entra"])
def test_a_call_of_a_stranger_is_one_row_of_the_hosts_log_and_what_the_agent_says_stays(function: str) -> None:
    levels = HOST["logging"]["logLevel"]
    assert (levels[f"Function.{function}"], levels[f"Function.{function}.User"]) == ("Warning", "Information")
    assert f"async def {function}(" in (ROOT / "function_app.py").read_text(encoding="utf-8"), (
        "its name is in host.json"
    )


def test_every_setting_of_the_queues_is_explained_with_its_value() -> None:
    page = (ROOT / "docs/foundry.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| `([^`]+)` \| .+ \|$", page[page.index("### host.json") :], re.MULTILINE)
    assert dict(rows) == {name: str(value) for name, value in HOST["extensions"]["queues"].items()}


def test_the_host_hands_over_messages_as_they_are_stored() -> None:
    """Else it moves plain ones to the poison queue without a word."""
    assert HostJson.read(ROOT, {}).queues.message_encoding == "none"
