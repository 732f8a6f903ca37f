"""host.json as a person gets it wrong: what the Functions host would do to turns that are resumed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from ops.check.host import check_host

ROOT = Path(__file__).resolve().parents[2]
HOST = "host.json"
MAIN = "infra/azure.bicep"
ALERTS = "infra/modules/alerts.bicep"

POLLING = '"maxPollingInterval": "00:00:02"'
RETRY = '"visibilityTimeout": "00:00:10"'
TIMEOUT = '"functionTimeout": "00:10:00"'
BUNDLE_ID = '"id": "Microsoft.Azure.Functions.ExtensionBundle"'
RANGE = '"version": "[4.*, 5.0.0)"'


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    (tmp_path / "infra/modules").mkdir(parents=True)
    for name in (HOST, MAIN, ALERTS):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def change(root: Path, name: str, old: str, new: str) -> None:
    text = (root / name).read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{name} does not say {old!r} once"
    (root / name).write_text(text.replace(old, new), encoding="utf-8")


def test_the_repository_has_no_problem() -> None:
    assert check_host(ROOT) == []


MISTAKES = {
    "text that is not encoded as the app does": (
        '"messageEncoding": "base64"',
        '"messageEncoding": "none"',
        "extensions.queues.messageEncoding must be base64",
    ),
    "a queue that is looked at once a minute": (
        POLLING,
        '"maxPollingInterval": "00:01:00"',
        "a turn whose instance ended waits up to 60 s to be seen; at most 10",
    ),
    "the default of a queue": (f"{POLLING},\n", "", "waits up to 60 s"),
    "milliseconds, as in version 1": (POLLING, '"maxPollingInterval": 2000', "extensions.queues.maxPollingInterval: "),
    "hours for minutes": (POLLING, '"maxPollingInterval": "2"', "is not a length of time such as 00:00:02"),
    "tries without a pause": (f"{RETRY},\n", "", "a message is given up 0 s after its first failure"),
    "a pause too short": (RETRY, '"visibilityTimeout": "00:00:05"', "20 s after its first failure"),
    "too few tries": ('"maxDequeueCount": 5', '"maxDequeueCount": 2', "10 s after its first failure"),
    "no try at all": ('"maxDequeueCount": 5', '"maxDequeueCount": 0', "must be a whole number from 1"),
    "more at once than Azure gives": ('"batchSize": 16', '"batchSize": 64', "batchSize must be a whole number from 1"),
    "a function that may take longer than Consumption lets it": (
        TIMEOUT,
        '"functionTimeout": "00:30:00"',
        "functionTimeout must be from 1 second to 10 minutes on Consumption",
    ),
    "a function without an end": (TIMEOUT, '"functionTimeout": "-1"', "functionTimeout: '-1' is not a length of time"),
    "a function that ends before its turn": (
        TIMEOUT,
        '"functionTimeout": "00:05:00"',
        "functionTimeout is 300 s, and a turn may take 540 (turnTimeoutSeconds in infra/azure.bicep)",
    ),
    "a function that ends by default": (f"{TIMEOUT},\n", "", "functionTimeout is missing"),
    "a sample of the rows that alerts ask for": (
        "Request;Exception;Trace",
        "Request;Exception",
        "an alert asks AppTraces, of which only a sample would be there: Trace must be among excludedTypes",
    ),
    "a sample of everything": (
        ',\n        "excludedTypes": "Request;Exception;Trace"',
        "",
        "an alert asks AppExceptions, of which only a sample would be there: Exception must be among excludedTypes",
    ),
    "a type that is none": (
        "Request;Exception;Trace",
        "Request;Exceptions;Trace",
        "an alert asks AppExceptions, of which only a sample would be there",
    ),
    "more requests from Flex than the host takes": (
        '"maxConcurrentRequests": 100',
        '"maxConcurrentRequests": 31',
        "maxConcurrentRequests is 31, and flexHttpConcurrency in infra/azure.bicep may be 100",
    ),
    "more requests at once than may wait": (
        '"maxOutstandingRequests": 200',
        '"maxOutstandingRequests": 50',
        "maxConcurrentRequests must be a whole number from 1, and maxOutstandingRequests as much or more",
    ),
    "requests without a limit": (
        '"maxConcurrentRequests": 100,\n',
        "",
        "maxConcurrentRequests must be a whole number from 1",
    ),
    "queues that are none": ('"queues": {', '"queues": [{', ""),
    "a name that the host does not know": (
        '"functionTimeout"',
        '"singletons": {},\n  "functionTimeout"',
        "the Functions host knows no singletons; did you mean singleton?",
    ),
    "no version": ('"version": "2.0",\n', "", 'version must be "2.0"'),
    "the first version": ('"version": "2.0"', '"version": "1.0"', 'version must be "2.0"'),
    "a version that is a number": ('"version": "2.0"', '"version": 2.0', 'version must be "2.0"'),
    "a bundle that is another": (
        BUNDLE_ID,
        '"id": "Microsoft.Azure.Functions.ExtensionBundles"',
        "extensionBundle.id must be Microsoft.Azure.Functions.ExtensionBundle: without it there is no queue trigger",
    ),
    "a bundle without a name": (f"{BUNDLE_ID},\n", "", "extensionBundle.id must be"),
    "a bundle with a misspelt setting": (
        '"version": "[',
        '"version": "[4.*, 5.0.0)",\n    "versions": "[',
        "extensionBundle has no versions, only id and version",
    ),
    "a bundle without a version": (f",\n    {RANGE}", "", "extensionBundle.version must be a range of versions"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_reported_in_host_json(copy: Path, mistake: str) -> None:
    old, new, sentence = MISTAKES[mistake]
    change(copy, HOST, old, new)

    found = check_host(copy)

    assert [problem.file for problem in found] == [HOST], found
    assert sentence in found[0].sentence


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (POLLING, '"maxPollingInterval": "00:01:00"'),
        (RETRY, '"visibilityTimeout": "00:00:01"'),
        ('"batchSize": 16', '"batchSize": 64'),
        (TIMEOUT, '"functionTimeout": "00:05:00"'),
        ('"excludedTypes": "Request;Exception;Trace"', '"excludedTypes": "Request;Exception"'),
        ('"version": "2.0"', '"version": "3.0"'),
        (BUNDLE_ID, '"id": "ExtensionBundle"'),
        (RANGE, '"version": "newest"'),
    ],
)
def test_the_line_is_that_of_the_setting(copy: Path, old: str, new: str) -> None:
    change(copy, HOST, old, new)
    text = (copy / HOST).read_text(encoding="utf-8")

    assert [problem.line for problem in check_host(copy)] == [text[: text.index(new)].count("\n") + 1]


@pytest.mark.parametrize("bundle", ['"extensionsBundle": {', '"extensionBundles": {'])
def test_a_misspelt_bundle_is_named_and_missed(copy: Path, bundle: str) -> None:
    change(copy, HOST, '"extensionBundle": {', bundle)

    unknown, missed = sorted(check_host(copy), reverse=True)

    assert unknown.sentence.endswith("; did you mean extensionBundle?")
    assert missed.sentence.startswith("extensionBundle must be an object with id and version")


@pytest.mark.parametrize(
    "text", ["[4.*, 5.0.0)", "[4.0.0, 5.0.0)", "(3.9, 5)", "[4.*, )", "(, 5.0.0)", "[4.31.0]", "4.*"]
)
def test_a_range_of_versions_may_be_written_as_nuget_does(copy: Path, text: str) -> None:
    change(copy, HOST, RANGE, f'"version": "{text}"')

    assert check_host(copy) == []


@pytest.mark.parametrize(
    "text", ["", "newest", "4.*, 5.0.0", "[4.*, 5.*)", "[5.*, 4.0.0)", "[4.*; 5.0.0)", "[,]", "[4.*"]
)
def test_a_range_of_versions_that_is_none_is_reported(copy: Path, text: str) -> None:
    change(copy, HOST, RANGE, f'"version": "{text}"')

    (problem,) = check_host(copy)

    assert problem.sentence == "extensionBundle.version must be a range of versions such as [4.*, 5.0.0)"


def test_a_turn_that_bicep_lets_last_longer_than_a_function_is_reported(copy: Path) -> None:
    change(copy, MAIN, "@maxValue(540)\nparam turnTimeoutSeconds", "@maxValue(3600)\nparam turnTimeoutSeconds")

    (problem,) = check_host(copy)

    assert "functionTimeout is 600 s, and a turn may take 3600" in problem.sentence


def test_what_no_alert_asks_for_may_be_sampled(copy: Path) -> None:
    change(copy, HOST, "Request;Exception;Trace", "Request;Exception")
    text = (copy / ALERTS).read_text(encoding="utf-8")
    (copy / ALERTS).write_text(text.replace("union AppTraces, AppExceptions", "AppExceptions"), encoding="utf-8")

    assert check_host(copy) == []


def test_without_sampling_every_row_is_there(copy: Path) -> None:
    change(copy, HOST, '"isEnabled": true,\n        "excludedTypes": "Request;Exception;Trace"', '"isEnabled": false')

    assert check_host(copy) == []


@pytest.mark.parametrize("text", ["", "{", "[]", '{"extensions": []}'])
def test_a_host_json_that_is_none_is_one_sentence(copy: Path, text: str) -> None:
    (copy / HOST).write_text(text)

    assert len(check_host(copy)) == 1


def test_a_host_json_that_is_missing_is_named(copy: Path) -> None:
    (copy / HOST).unlink()

    assert [str(problem) for problem in check_host(copy)] == ["host.json:1: this file is missing"]


def test_a_call_is_one_row_of_the_hosts_log_and_what_the_agent_says_stays() -> None:
    levels = json.loads((ROOT / HOST).read_text(encoding="utf-8"))["logging"]["logLevel"]

    assert (levels["Function.messages"], levels["Function.messages.User"]) == ("Warning", "Information")
    assert "async def messages(" in (ROOT / "function_app.py").read_text(encoding="utf-8"), "its name is in host.json"
