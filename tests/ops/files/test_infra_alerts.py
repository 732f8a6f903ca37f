"""Alerts and workbook: they ask for what the app records, find what they are for, and tell somebody what to do."""

from __future__ import annotations

import ast
import json
import re
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.fakes.log_analytics import Row, run
from tests.ops.files.deployments import NAMES, ROOT, alerts, deployment, query

# Those of Application Insights, and Log Analytics about itself:
# https://learn.microsoft.com/azure/azure-monitor/logs/monitor-workspace
TABLES = {
    *("AppRequests", "AppDependencies", "AppMetrics", "AppAvailabilityResults", "AppExceptions", "AppTraces"),
    *("_LogOperation", "StorageQueueLogs"),
}
# What a span is called, or begins with; the first words of a name are all that a query may rely on.
SPANS = {"turn", "retention", "activity ", "chat ", "execute_tool ", "send "}


def host(code: str, times: int = 1, name: str = "messages") -> list[Row]:
    properties = defaultdict[str, str](str)
    return [
        {"Name": name, "ResultCode": code, "Success": code[0] == "2", "ItemCount": 1, "Properties": properties}
    ] * times


def own(name: str, times: int = 1, *, success: bool = True, outcome: str = "", channel: str = "msteams") -> list[Row]:
    properties = {"agent.outcome": outcome or ("answered" if success else "failed"), "bot.channel": channel}
    return [{"Name": name, "ResultCode": "0", "Success": success, "ItemCount": 1, "Properties": properties}] * times


REQUESTS: dict[str, tuple[str, list[Row], bool]] = {
    "a quiet night": ("silence", [], False),
    "turns as always": ("silence", host("202", 20) + own("turn", 20), False),
    "installations alone": ("silence", host("200", 20) + own("activity conversationUpdate", 20), False),
    "messages for somebody else in the channel": ("silence", host("200", 20) + own("activity message", 20), False),
    "telemetry that does not arrive": ("silence", host("202", 10), True),
    "agents in Foundry alone": ("silence", host("202", 10) + own("turn", 9, channel="foundry"), True),
    "their messages again": ("silence", host("202", 10) + own("activity queue foundry", 9, channel=""), True),
    "too few to tell": ("silence", host("202", 9), False),
    "health alone": ("silence", host("200", 50, "health"), False),
    "every delivery refused is another alert": ("silence", host("401", 50), False),
    "deliveries by batch": ("silence", [{**host("202")[0], "ItemCount": 10}], True),
    "a wrong app id": ("refused", host("401", 6), True),
    "every message crashes": ("refused", host("500", 6) + own("turn", 6, success=False), True),
    "a setting that is wrong": ("refused", host("503", 7) + host("200", 3), True),
    "five refusals": ("refused", host("401", 5) + host("202", 100), False),
    "all taken": ("refused", host("200", 50) + host("202", 50), False),
    "browsers": ("refused", host("405", 50), False),
    "health that is not well": ("refused", host("503", 50, "health"), False),
    "activities of the agent's own": ("refused", own("turn", 9) + own("activity message", 9), False),
    "turns that fail": ("failures", own("turn", 9) + own("turn", 1, success=False), True),
    "turns too few to tell": ("failures", own("turn", 4, success=False), False),
    "tries that went on elsewhere": ("failures", own("turn", 9, outcome="handed over"), False),
    "failed activities that are no turns": ("failures", own("activity invoke", 9, success=False), False),
}


@pytest.mark.parametrize("case", REQUESTS)
def test_an_alert_fires_on_what_it_is_for_alone(case: str) -> None:
    name, rows, fires = REQUESTS[case]

    assert bool(run(query(name), {"AppRequests": rows})) is fires


def test_the_failure_alert_measures_a_share() -> None:
    rows = own("turn", 6) + own("turn", 2, success=False) + own("activity invoke", 50, success=False)

    assert run(query("failures"), {"AppRequests": rows}) == [{"FailedPercent": 25.0}]
    (criterion,) = alerts()["failures"]["properties"]["criteria"]["allOf"]
    assert criterion["metricMeasureColumn"] == "FailedPercent"


@pytest.mark.parametrize(
    ("category", "detail", "fires"),
    [
        ("Ingestion", "The data collection stopped. Ingestion status = OverQuota", True),
        ("Ingestion", "Data collection resumed. Ingestion status = RespectQuota", False),
        ("Agent", "OverQuota", False),
    ],
)
def test_the_daily_cap_is_told(category: str, detail: str, fires: bool) -> None:
    assert bool(run(query("capped"), {"_LogOperation": [{"Category": category, "Detail": detail}]})) is fires


POISON = "Message has reached MaxDequeueCount of 5. Moving message to queue 'turns-poison'."
OPTIONS = 'QueuesOptions\n{\n  "BatchSize": 16,\n  "MaxDequeueCount": 5,\n  "MessageEncoding": "Base64"\n}'
UNREADABLE = {"ExceptionType": "UnreadableMessageError", "OuterMessage": "UnreadableMessageError"}


@pytest.mark.parametrize(
    ("tables", "fires"),
    [
        ({"AppTraces": [{"Message": POISON}]}, True),
        ({"AppTraces": [{"Message": OPTIONS}]}, False),
        ({"AppExceptions": [UNREADABLE]}, True),
        ({"AppMetrics": [{"Name": "foundry.poison", "Sum": 1}]}, True),
        ({"AppMetrics": [{"Name": "foundry.repeats", "Sum": 1}]}, False),
        ({"AppExceptions": [{"ExceptionType": "RateLimitedError", "OuterMessage": "RateLimitedError"}]}, False),
        ({}, False),
    ],
    ids=[
        *("a message moved", "the options at a start", "a message not read"),
        *("one of Foundry's", "one of Foundry's again", "another failure", "nothing"),
    ],
)
def test_a_message_that_nobody_can_work_off_is_told(tables: dict[str, list[Row]], fires: bool) -> None:
    assert bool(run(query("poison"), tables)) is fires


@pytest.mark.parametrize(
    ("failure", "fires"), [("AttemptsExhaustedError", True), ("RateLimitedError", False), (None, False)]
)
def test_a_turn_that_is_given_up_is_told(failure: str | None, fires: bool) -> None:
    properties = defaultdict(str, {"agent.failure": failure} if failure else {})
    rows = [{**row, "Properties": properties} for row in own("turn", 3, success=failure is None)]

    assert bool(run(query("given-up"), {"AppRequests": rows})) is fires


@pytest.mark.parametrize(
    ("hours", "runs", "fires"),
    [(40, [], True), (20, [], False), (40, [True], False), (40, [True, False], True), (2, [False], True)],
    ids=["none for long", "too new to tell", "as always", "one that failed", "the first failed"],
)
def test_a_deletion_that_fails_or_does_not_come_is_told(hours: int, runs: list[bool], fires: bool) -> None:
    rows = [row for success in runs for row in own("retention", success=success)] + host("200", name="health")
    timed = [{**row, "TimeGenerated": datetime.now(UTC) - timedelta(hours=hours)} for row in rows]

    assert bool(run(query("retention"), {"AppRequests": timed})) is fires


@pytest.mark.parametrize(
    ("answers", "fires"), [([False, False], True), ([False], False), ([False, False, True], False)]
)
def test_no_answer_needs_two_failures_and_no_success(answers: list[bool], fires: bool) -> None:
    probe = deployment("flex-token").one("Microsoft.Insights/webtests")["name"]
    rows = [{"Name": probe, "Success": answer} for answer in answers]

    assert bool(run(query("unreachable"), {"AppAvailabilityResults": rows})) is fires


@pytest.mark.parametrize(
    ("metrics", "fires"), [([], True), (["agent.hand_overs.missing"], True), (["job_watch.pass"], False)]
)
def test_a_job_watch_that_does_not_look_is_told(metrics: list[str], fires: bool) -> None:
    rows: list[Row] = [{"Name": name, "Sum": 1} for name in metrics]

    assert bool(run(query("job-watch"), {"AppMetrics": rows})) is fires
    properties = alerts()["job-watch"]["properties"]
    assert properties["windowSize"] == deployment("flex-token").parameters["alertJobWatchSilence"]


def queries() -> dict[str, str]:
    """Of the alerts, and of the workbook's tiles."""
    workbook = json.loads((ROOT / "infra/workbook.json").read_text(encoding="utf-8"))
    tiles = dict(_tiles(workbook["items"]))
    return tiles | {name: query(name) for name in alerts()}


def _tiles(items: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    for item in items:
        content = item["content"]
        yield from _tiles(content.get("items", []))
        if "query" in content:
            yield content["title"], content["query"]


def words_of(folder: str) -> set[str]:
    """Every text that stands in the program there."""
    trees = [ast.parse(file.read_text(encoding="utf-8")) for file in (ROOT / folder).rglob("*.py")]
    constants = (node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Constant))
    return {node.value for node in constants if isinstance(node.value, str)}


def names_in(pattern: str, folder: str) -> set[str]:
    files = [ROOT / folder] if folder.endswith(".py") else (ROOT / folder).rglob("*.py")
    return {name for file in files for name in re.findall(pattern, file.read_text(encoding="utf-8"), re.MULTILINE)}


@pytest.mark.parametrize("name", queries())
def test_a_query_asks_for_what_the_app_writes(name: str) -> None:
    text = queries()[name]
    literals = re.findall(r'"([^"]*)"', text)
    asked = re.findall(r"\b(?:App[A-Z]|_Log|StorageQueue)\w+", re.sub(r'"[^"]*"', '""', text))
    assert asked
    assert set(asked) <= TABLES
    recorded = {
        word for word in literals if re.fullmatch(r"(?:agent|bot|error|gen_ai|job_watch|foundry)\.[\w.]+", word)
    }
    assert recorded <= words_of("app/telemetry")
    probe = deployment("flex-token").one("Microsoft.Insights/webtests")["name"]
    assert set(re.findall(r'\bName (?:==|startswith) "([^"]*)"', text)) <= SPANS | recorded | {probe}
    # The host's own rows are called as the function, and a failure as its class.
    assert set(re.findall(r'\bName has "([^"]*)"', text)) <= names_in(r"^ *async def (\w+)", "function_app.py")
    failures = re.findall(r'(?:ExceptionType|\["(?:agent\.failure|error\.type)"\]\)?) == "([^"]*)"', text)
    assert set(failures) <= names_in(r"^class (\w+)", "app")
    for opened, closed in ("()", "[]", "{}"):
        assert text.count(opened) == text.count(closed)


@pytest.mark.parametrize("name", NAMES)
def test_every_rule_is_on_and_writes_to_people(name: str) -> None:
    deployed = deployment(name)
    address = deployed.parameters["alertEmail"]
    people = deployed.one("Microsoft.Insights/actionGroups")["properties"]
    assert people["enabled"]
    assert [each["emailAddress"] for each in people["emailReceivers"]] == ([address] if address else [])
    rules = deployed.of("Microsoft.Insights/scheduledQueryRules")
    assert len(rules) == (10 if "jobWatch" in deployed.objects else 9)
    for rule in rules:
        properties = rule["properties"]
        (criterion,) = properties["criteria"]["allOf"]
        assert properties["enabled"]
        assert properties["scopes"] == ["<workspaces>"]
        assert properties["actions"] == {"actionGroups": ["<actionGroups>"]}
        assert criterion["operator"] == "GreaterThan"
        assert criterion["failingPeriods"] == {"numberOfEvaluationPeriods": 1, "minFailingPeriodsToAlert": 1}
        # A new workspace may not know the tables before their first rows.
        assert properties["skipQueryValidation"]
        assert properties["autoMitigate"], "docs/operating.md says that rules close themselves"


@pytest.mark.parametrize("name", NAMES)
def test_server_errors_are_noticed_without_a_log(name: str) -> None:
    deployed = deployment(name)
    properties = deployed.one("Microsoft.Insights/metricAlerts")["properties"]
    assert (properties["enabled"], properties["scopes"]) == (True, ["<sites>"])
    assert properties["actions"] == [{"actionGroupId": "<actionGroups>"}]
    (criterion,) = properties["criteria"]["allOf"]
    assert (criterion["metricNamespace"], criterion["metricName"]) == ("Microsoft.Web/sites", "Http5xx")
    assert (criterion["operator"], criterion["timeAggregation"]) == ("GreaterThanOrEqual", "Total")
    assert criterion["threshold"] == int(deployed.parameters["alertMinimumServerErrors"])
    assert criterion["skipMetricValidation"]


def test_thresholds_are_those_of_the_parameters() -> None:
    parameters = deployment("flex-token").parameters
    (criterion,) = alerts()["failures"]["properties"]["criteria"]["allOf"]
    assert criterion["threshold"] == int(parameters["alertFailurePercent"])
    assert f"where Turns >= {parameters['alertMinimumTurns']} |" in query("failures")
    assert f"where Delivered >= {parameters['alertMinimumActivities']} and" in query("silence")
    assert query("refused").endswith(f"where Refused >= {parameters['alertMinimumRefused']}")


def test_every_rule_says_what_to_do() -> None:
    rules = [*alerts().values(), deployment("flex-token").one("Microsoft.Insights/metricAlerts")]
    texts = [each["properties"]["description"] for each in rules]
    assert [t for t in texts if len(t) < 200 or not re.search(r"\b([Ll]ook|[Ff]ind|workbook|write)\b", t)] == []


def test_every_alert_is_explained_with_its_severity() -> None:
    page = (ROOT / "docs/operating.md").read_text(encoding="utf-8")
    explained = {
        title: int(severity) for title, severity in re.findall(r"\| \*\*(.+)\*\* \((?:severity )?(\d)\)", page)
    }
    server_errors = deployment("flex-token").one("Microsoft.Insights/metricAlerts")["properties"]["severity"]
    rules = [each["properties"] for each in alerts().values()]
    severities = {each["displayName"].removeprefix("Databricks agent: "): each["severity"] for each in rules}
    assert explained == severities | {"server errors": server_errors}


def test_the_health_probe_asks_from_two_places_and_trusts_200_alone() -> None:
    properties = deployment("flex-token").one("Microsoft.Insights/webtests")["properties"]
    assert (properties["Enabled"], properties["Kind"], len(properties["Locations"])) == (True, "standard", 2)
    assert properties["ValidationRules"]["ExpectedHttpStatusCode"] == 200
