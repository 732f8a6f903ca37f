"""Parameters, environment and workbook as a person gets them wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ops.check.bicep import check_bicep
from ops.check.problem import Problem
from tests.ops.test_bicep import (
    ALERTS,
    ENVIRONMENT,
    LINTER,
    MAIN,
    PARAMETERS,
    TODAY,
    WORKBOOK,
    Mistake,
    assert_reported,
    change,
    copied,
    line_of,
)

pytestmark = pytest.mark.slow

BROKEN: dict[str, Mistake] = {
    "a parameter without a description": (
        MAIN,
        "@description('On every resource, for cost reports and policies.')\n",
        "",
        "param tags",
        "the parameter tags has no @description",
    ),
    "a number without an end": (
        MAIN,
        "@minValue(0)\n@maxValue(1000000)\nparam maxTokens",
        "param maxTokens",
        "param maxTokens",
        "the parameter maxTokens has no @minValue and no @maxValue",
    ),
    "a number without its highest": (
        MAIN,
        "@maxValue(3650)\nparam conversationRetentionDays",
        "param conversationRetentionDays",
        "param conversationRetentionDays",
        "the parameter conversationRetentionDays has no @maxValue",
    ),
    "a text of any length": (
        MAIN,
        "@maxLength(254)\nparam alertEmail",
        "param alertEmail",
        "param alertEmail",
        "the parameter alertEmail has no @maxLength",
    ),
    "a choice of anything": (
        MAIN,
        "@allowed(['F0', 'S1'])\n",
        "",
        "param botServiceSku",
        "the parameter botServiceSku has no @maxLength",
    ),
    "an unknown entry": (
        PARAMETERS,
        '"hostingPlan"',
        '"hostingplan"',
        '"hostingplan"',
        "infra/azure.bicep has no parameter hostingplan",
    ),
    "a missing entry": (
        PARAMETERS,
        '"databricksModelName"',
        '"databricksClientId"',
        '"parameters"',
        "databricksModelName is missing",
    ),
    "a value that is not allowed": (
        PARAMETERS,
        "${{HOSTING_PLAN}}",
        "premium",
        "premium",
        "hostingPlan cannot be 'premium': one of consumption, flex is allowed",
    ),
    "a value that is too long": (
        PARAMETERS,
        "${{RESOURCE_SUFFIX}}",
        "a-very-long-suffix",
        "a-very-long",
        "resourceSuffix cannot be 'a-very-long-suffix': at most 12 characters are allowed",
    ),
    "a number as text": (
        PARAMETERS,
        '"databricksModelName": {',
        '"maxTokens": {\n      "value": "100"\n    },\n    "databricksModelName": {',
        '"100"',
        "maxTokens cannot be '100': it must be int",
    ),
    "a variable for a number": (
        PARAMETERS,
        '"databricksModelName": {',
        '"maxTokens": {\n      "value": "${{MAX_TOKENS}}"\n    },\n    "databricksModelName": {',
        "${{MAX_TOKENS}}",
        "maxTokens is int, and a variable is always text",
    ),
    "a secret in the file": (
        PARAMETERS,
        '"databricksModelName": {',
        '"databricksToken": {\n      "value": "dapi123"\n    },\n    "databricksModelName": {',
        "dapi123",
        "databricksToken is a secret: its value must be a ${{SECRET_...}} variable",
    ),
    "parameters that are no JSON": (PARAMETERS, "{\n", "{,\n", "{,", "not valid JSON"),
    "a plan in the environment that is none": (
        ENVIRONMENT,
        "HOSTING_PLAN=consumption",
        "HOSTING_PLAN=premium",
        "HOSTING_PLAN",
        "HOSTING_PLAN cannot be 'premium'",
    ),
    "a Python that Consumption has not": (
        ENVIRONMENT,
        "PYTHON_VERSION=3.12",
        "PYTHON_VERSION=3.13",
        "PYTHON_VERSION",
        "Linux Consumption has no Python 3.13, only 3.11, 3.12: or HOSTING_PLAN=flex",
    ),
    "a metric that nobody records": (
        WORKBOOK,
        "agent.failures",
        "agent.faults",
        "agent.faults",
        "the query asks for agent.faults, which app/telemetry does not record",
    ),
    "a table that nobody writes": (
        WORKBOOK,
        "AppMetrics\\n",
        "AppMetric\\n",
        "AppMetric\\n",
        "the query asks AppMetric",
    ),
    "a span that there is not": (
        WORKBOOK,
        'startswith \\"chat \\"',
        'startswith \\"model \\"',
        "model ",
        "the query asks for rows named 'model ', and there are none",
    ),
    "a bracket in a query": (
        WORKBOOK,
        "sum(ItemCount) by Outcome",
        "sum(ItemCount by Outcome",
        "by Outcome",
        "do not close",
    ),
    "a workbook that is no JSON": (
        WORKBOOK,
        '"version": "Notebook/1.0",',
        '"version": "Notebook/1.0"',
        "",
        "not valid JSON",
    ),
    "a query about a function that is not there": (
        WORKBOOK,
        'Name has \\"messages\\"',
        'Name has \\"message\\"',
        'Name has \\"message\\"',
        "the query asks for calls of message, and function_app.py has no such function",
    ),
    "an alert on a table that is none": (
        ALERTS,
        "'_LogOperation |",
        "'_LogOperations |",
        "var cappedQuery",
        "the query asks _LogOperations, which nothing here writes to",
    ),
    "an alert on activities under another name": (
        ALERTS,
        'startswith "activity ")',
        'startswith "activities ")',
        "var silenceQuery",
        "the query asks for rows named 'activities ', and there are none",
    ),
    "a rule of the linter that is off": (
        LINTER,
        '"no-unused-params": { "level": "error" }',
        '"no-unused-params": { "level": "off" }',
        '"no-unused-params"',
        "the rule no-unused-params is 'off', and must be 'error'",
    ),
    "a rule of the linter that only warns": (
        LINTER,
        '"outputs-should-not-contain-secrets": { "level": "error" }',
        '"outputs-should-not-contain-secrets": { "level": "warning" }',
        '"outputs-should-not-contain-secrets"',
        "the rule outputs-should-not-contain-secrets is 'warning'",
    ),
    "a rule of the linter that is misspelt": (
        LINTER,
        '"no-unused-vars"',
        '"no-unsed-vars"',
        '"no-unsed-vars"',
        "the linter has no rule no-unsed-vars that this check knows; did you mean no-unused-vars?",
    ),
    "a rule of the linter that is gone": (
        LINTER,
        '        "no-unused-vars": { "level": "error" },\n',
        "",
        '"rules"',
        "the rule no-unused-vars is missing",
    ),
    "a linter that is off": (LINTER, '"enabled": true', '"enabled": false', '"enabled"', "the linter must be enabled"),
    "a service principal without its id": (
        PARAMETERS,
        '"databricksModelName": {',
        '"databricksCredential": {\n      "value": "service-principal"\n    },\n    "databricksModelName": {',
        '"databricksCredential"',
        "with service-principal databricksClientId is needed",
    ),
    "an id for no service principal": (
        PARAMETERS,
        '"databricksModelName": {',
        '"databricksClientId": {\n      "value": "1"\n    },\n    "databricksModelName": {',
        '"databricksClientId"',
        "with databricksCredential managed-identity databricksClientId does nothing",
    ),
    "a credential that is none": (
        PARAMETERS,
        '"databricksModelName": {',
        '"databricksCredential": {\n      "value": "pat"\n    },\n    "databricksModelName": {',
        '"pat"',
        "databricksCredential cannot be 'pat'",
    ),
    "an alert on a failure that is called otherwise": (
        ALERTS,
        '["agent.failure"] == "AttemptsExhaustedError"',
        '["agent.failure"] == "GaveUp"',
        "var givenUpQuery",
        "the query asks for the failure GaveUp, and app/ has no such class",
    ),
    "an alert on an exception with its module": (
        ALERTS,
        'ExceptionType == "UnreadableMessageError"',
        'ExceptionType == "app.turns.queue_message.UnreadableMessageError"',
        "var poisonQuery",
        "the query asks for the failure app.turns.queue_message.UnreadableMessageError, and app/ has no such class",
    ),
    "a union with a table that is none": (
        ALERTS,
        "union AppTraces, AppExceptions",
        "union AppTraces, AppErrors",
        "var poisonQuery",
        "the query asks AppErrors, which nothing here writes to",
    ),
    "an alert on what nobody records": (
        ALERTS,
        'Name == "turn" and tostring',
        'Name == "turns" and tostring',
        "var failureQuery",
        "the query asks for rows named 'turns', and there are none",
    ),
}


@pytest.mark.parametrize("mistake", BROKEN)
def test_a_wrong_value_is_reported_where_it_is_given(tmp_path: Path, mistake: str) -> None:
    assert_reported(tmp_path, BROKEN[mistake])


def test_a_threshold_that_nobody_can_set_is_reported(tmp_path: Path) -> None:
    change(copied(tmp_path), MAIN, "    minimumRefused: alertMinimumRefused\n", "")
    change(
        tmp_path,
        MAIN,
        "    minimumTurns: alertMinimumTurns\n",
        "    minimumTurns: alertMinimumTurns + alertMinimumRefused\n",
    )
    change(tmp_path, ALERTS, "param minimumRefused int\n", "param minimumRefused int = 5\n")

    (problem,) = check_bicep(tmp_path, TODAY)

    assert (problem.file, problem.line) == (ALERTS, line_of(tmp_path, ALERTS, "param minimumRefused"))
    assert problem.sentence == "infra/azure.bicep does not give the number minimumRefused, so nobody can set it"


def test_flex_takes_a_later_python(tmp_path: Path) -> None:
    (copied(tmp_path) / ENVIRONMENT).write_text("HOSTING_PLAN=flex\nPYTHON_VERSION=3.13\n")

    assert check_bicep(tmp_path, TODAY) == []


def test_a_secret_comes_from_a_variable_that_the_toolkit_hides(tmp_path: Path) -> None:
    entry = '"databricksToken": {\n      "value": "${{NAME}}"\n    },\n    "databricksModelName": {'
    change(copied(tmp_path), PARAMETERS, '"databricksModelName": {', entry.replace("NAME", "DATABRICKS_TOKEN"))
    choice = '"databricksCredential": {\n      "value": "token"\n    },\n    "databricksModelName": {'
    change(tmp_path, PARAMETERS, '"databricksModelName": {', choice)
    number = line_of(tmp_path, PARAMETERS, "${{DATABRICKS_TOKEN}}")

    found = check_bicep(tmp_path, TODAY)
    change(tmp_path, PARAMETERS, "{{DATABRICKS_TOKEN}}", "{{SECRET_DATABRICKS_TOKEN}}")

    sentence = "databricksToken is a secret: its value must be a ${{SECRET_...}} variable"
    assert found == [Problem(PARAMETERS, number, sentence)]
    assert check_bicep(tmp_path, TODAY) == []


@pytest.mark.parametrize(
    ("credential", "more", "sentence"),
    [
        ("token", {"databricksClientId": "1"}, "with databricksCredential token databricksClientId does nothing"),
        ("service-principal", {"databricksClientId": ""}, "with service-principal databricksClientId is needed"),
        ("service-principal", {"databricksClientId": "${{ID}}"}, "with service-principal databricksClientId is needed"),
        ("service-principal", {"databricksClientId": "1"}, None),
        ("service-principal", {"databricksClientId": "${{SET_ELSEWHERE}}"}, None),
        ("token", {}, None),
        ("managed-identity", {}, None),
        ("${{CHOSEN_ELSEWHERE}}", {"databricksClientId": "1"}, None),
    ],
)
def test_a_credential_is_given_what_it_needs_and_no_more(
    tmp_path: Path, credential: str, more: dict[str, str], sentence: str | None
) -> None:
    path = copied(tmp_path) / PARAMETERS
    content = json.loads(path.read_text(encoding="utf-8"))
    given = {"databricksCredential": credential, **more}
    content["parameters"] |= {name: {"value": value} for name, value in given.items()}
    path.write_text(json.dumps(content, indent=2), encoding="utf-8")
    with (tmp_path / ENVIRONMENT).open("a") as environment:
        environment.write("ID=\n")

    expected = (
        [Problem(PARAMETERS, line_of(tmp_path, PARAMETERS, '"databricksClientId"'), sentence)] if sentence else []
    )
    assert check_bicep(tmp_path, TODAY) == expected
