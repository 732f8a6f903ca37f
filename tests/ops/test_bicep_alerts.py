"""What the alerts' queries find in small tables."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ops.check.bicep.origins import origin
from ops.check.bicep.source import inner
from ops.check.bicep.values import Placed, scopes
from tests.fakes.log_analytics import Row, run
from tests.ops.test_bicep import ALERTS, ROOT

THRESHOLDS = {"minimumTurns": 5, "minimumActivities": 10, "minimumRefused": 5, "probeName": "health"}


def query(name: str) -> str:
    scope = next(scope for scope in scopes(ROOT, {}) if scope.file.name == ALERTS)
    value = scope.file.of("var")[f"{name}Query"].value
    assert value is not None
    return re.sub(r"\$\{(\w+)\}", lambda found: str(THRESHOLDS[found[1]]), inner(value))


def host(code: str, times: int = 1, name: str = "messages") -> list[Row]:
    return [{"Name": name, "ResultCode": code, "Success": code[0] == "2", "ItemCount": 1}] * times


def own(name: str, times: int = 1, *, success: bool = True, outcome: str = "") -> list[Row]:
    properties = {"agent.outcome": outcome or ("answered" if success else "failed")}
    return [{"Name": name, "ResultCode": "0", "Success": success, "ItemCount": 1, "Properties": properties}] * times


REQUESTS: dict[str, tuple[str, list[Row], bool]] = {
    "a quiet night": ("silence", [], False),
    "turns as always": ("silence", host("202", 20) + own("turn", 20), False),
    "installations alone": ("silence", host("200", 20) + own("activity conversationUpdate", 20), False),
    "messages for somebody else in the channel": ("silence", host("200", 20) + own("activity message", 20), False),
    "telemetry that does not arrive": ("silence", host("202", 10), True),
    "too few to tell": ("silence", host("202", 9), False),
    "health alone": ("silence", host("200", 50, "health"), False),
    "every delivery refused is another alert": ("silence", host("401", 50), False),
    "deliveries by batch": ("silence", [{**host("202")[0], "ItemCount": 10}], True),
    "a wrong app id": ("refused", host("401", 5), True),
    "every message crashes": ("refused", host("500", 5) + own("turn", 5, success=False), True),
    "a setting that is wrong": ("refused", host("503", 7) + host("200", 3), True),
    "four refusals": ("refused", host("401", 4) + host("202", 100), False),
    "all taken": ("refused", host("200", 50) + host("202", 50), False),
    "browsers": ("refused", host("405", 50), False),
    "health that is not well": ("refused", host("503", 50, "health"), False),
    "activities of the agent's own": ("refused", own("turn", 9) + own("activity message", 9), False),
    "turns that fail": ("failure", own("turn", 9) + own("turn", 1, success=False), True),
    "turns too few to tell": ("failure", own("turn", 4, success=False), False),
    "tries that went on elsewhere": ("failure", own("turn", 9, outcome="handed over"), False),
    "failed activities that are no turns": ("failure", own("activity invoke", 9, success=False), False),
}


@pytest.mark.parametrize("case", REQUESTS)
def test_an_alert_fires_on_what_it_is_for_alone(case: str) -> None:
    name, rows, fires = REQUESTS[case]

    assert bool(run(query(name), {"AppRequests": rows})) is fires


def test_the_failure_alert_measures_a_share() -> None:
    rows = own("turn", 6) + own("turn", 2, success=False) + own("activity invoke", 50, success=False)

    assert run(query("failure"), {"AppRequests": rows}) == [{"FailedPercent": 25.0}]
    assert "metricMeasureColumn: 'FailedPercent'" in (ROOT / ALERTS).read_text(encoding="utf-8")


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
        ({"AppExceptions": [{"ExceptionType": "RateLimitedError", "OuterMessage": "RateLimitedError"}]}, False),
        ({}, False),
    ],
    ids=["a message moved", "the options at a start", "a message not read", "another failure", "nothing"],
)
def test_a_message_that_nobody_can_work_off_is_told(tables: dict[str, list[Row]], fires: bool) -> None:
    assert bool(run(query("poison"), tables)) is fires


@pytest.mark.parametrize(
    ("failure", "fires"), [("AttemptsExhaustedError", True), ("RateLimitedError", False), (None, False)]
)
def test_a_turn_that_is_given_up_is_told(failure: str | None, fires: bool) -> None:
    properties = defaultdict(str, {"agent.failure": failure} if failure else {})
    rows = [{**row, "Properties": properties} for row in own("turn", 3, success=failure is None)]

    assert bool(run(query("givenUp"), {"AppRequests": rows})) is fires


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
    rows = [{"Name": "health", "Success": answer} for answer in answers]

    assert bool(run(query("unreachable"), {"AppAvailabilityResults": rows})) is fires


def test_every_rule_says_what_to_do_and_tells_somebody() -> None:
    scope = next(scope for scope in scopes(ROOT, {}) if scope.file.name == ALERTS)
    texts = [inner(value.node) for value in descriptions(scope)]

    assert len(texts) == 10
    assert all(len(text) > 200 and re.search(r"\b([Ll]ook|[Ff]ind|workbook|write)\b", text) for text in texts)
    rules = [*scope.file.resources("Microsoft.Insights/scheduledQueryRules")]
    actions = [
        origin(value) for rule in rules if rule.body for value in Placed(scope, rule.body).at("properties", "actions")
    ]
    assert actions == ["{actionGroups: [actionGroups.id]}"] * 3


def test_every_alert_is_explained_to_whoever_it_wakes() -> None:
    page = (ROOT / "docs/operating.md").read_text(encoding="utf-8")
    alerts = (ROOT / ALERTS).read_text(encoding="utf-8")
    titles = re.findall(r"(?:title: '|displayName: 'Databricks agent: )([^'$]+)'", alerts)

    assert len(titles) == 9
    assert [title for title in titles if f"| **{title}** (" not in page] == []


def descriptions(scope: Any) -> Iterator[Placed]:
    for resource in scope.file.of("resource").values():
        for found in Placed(scope, resource.body).at("properties", "description"):
            if found.node.type == "string":
                yield found
    for rule in Placed(scope, scope.file.of("var")["rules"].value).node.named_children:
        yield from Placed(scope, rule).at("description")
