"""host.json is read as the Functions host reads it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from app.local.host_json import HostJson, HostJsonError, QueueOptions
from app.local.timespan import seconds_of

OVERRIDE = "AzureFunctionsJobHost__extensions__queues__maxPollingInterval"


def read(folder: Path, content: object, **environment: str) -> HostJson:
    if content is not None:
        (folder / "host.json").write_text(json.dumps(content))
    return HostJson.read(folder, environment)


def queues(**options: Any) -> dict[str, Any]:
    return {"version": "2.0", "extensions": {"queues": options}}


@pytest.mark.parametrize(
    ("content", "prefix"),
    [(None, "api"), ({}, "api"), ({"extensions": {"http": {"routePrefix": ""}}}, ""), ({"extensions": {}}, "api")],
)
def test_the_route_prefix_is_that_of_host_json(tmp_path: Path, content: object, prefix: str) -> None:
    assert read(tmp_path, content).route_prefix == prefix


def test_queues_are_served_as_host_json_says(tmp_path: Path) -> None:
    content = queues(
        batchSize=4,
        newBatchThreshold=0,
        maxPollingInterval="00:00:02",
        visibilityTimeout="00:00:30",
        maxDequeueCount=3,
        messageEncoding="None",
    )
    assert read(tmp_path, content).queues == QueueOptions(4, 0, 2.0, 30.0, 3, message_encoding="none")


def test_what_host_json_lacks_has_azures_defaults(tmp_path: Path) -> None:
    assert read(tmp_path, None).queues == QueueOptions(16, 8, 60.0, 0.0, 5)
    assert read(tmp_path, queues(batchSize=32)).queues.new_batch_threshold == 16


@pytest.mark.parametrize("name", [OVERRIDE, OVERRIDE.upper(), OVERRIDE.lower()])
def test_the_environment_overrides_host_json(tmp_path: Path, name: str) -> None:
    assert read(tmp_path, queues(maxPollingInterval="00:00:02"), **{name: "00:00:00.1"}).queues == QueueOptions(
        max_polling_interval_seconds=0.1
    )
    assert read(tmp_path, {}, **{name: "00:00:07"}).queues.max_polling_interval_seconds == 7.0


def test_any_setting_of_host_json_can_be_overridden(tmp_path: Path) -> None:
    overrides = {
        "AzureFunctionsJobHost__extensions__http__routePrefix": "v1",
        "AzureFunctionsJobHost__extensions__queues__batchSize": "1",
        "AzureFunctionsJobHost__version__of__nothing": "x",
    }
    host = read(tmp_path, {"version": "2.0"}, **overrides)
    assert (host.route_prefix, host.queues.batch_size) == ("v1", 1)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (queues(batchSize=33), "batchSize must be a whole number from 1 to 32"),
        (queues(batchSize="many"), "batchSize must be a whole number from 1 to 32"),
        (queues(maxDequeueCount=0), "maxDequeueCount must be"),
        (queues(maxPollingInterval="2 s"), "maxPollingInterval: '2 s' is not a duration such as 00:00:02"),
        (queues(maxPollingInterval="00:00:00.05"), r"maxPollingInterval must be 0\.1 s or more"),
        (queues(messageEncoding="utf8"), "messageEncoding must be base64 or none"),
        ({"extensions": {"queues": 1}}, r"extensions\.queues must be an object"),
        ({"extensions": []}, r"extensions\.http must be an object"),
        ([], "host.json must hold an object"),
    ],
)
def test_a_host_json_that_the_host_would_refuse_is_refused_with_the_reason(
    tmp_path: Path, content: object, sentence: str
) -> None:
    with pytest.raises(HostJsonError, match=sentence):
        read(tmp_path, content)


def test_a_host_json_that_is_not_json_is_reported_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "host.json").write_text("{,}")
    with pytest.raises(HostJsonError, match=r"host\.json is not valid JSON"):
        HostJson.read(tmp_path, {})


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("00:00:02", 2.0),
        ("00:00:00.250", 0.25),
        ("01:02:03", 3723.0),
        ("1.00:00:00", 86400.0),
        ("25:00:00", 25 * 86400.0),
    ],
)
def test_a_length_of_time_is_read_as_dotnet_reads_it(text: str, seconds: float) -> None:
    assert seconds_of(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "2", "00:60:00", "00:00:60", "1.25:00:00", "25:24:00", "-00:00:01"])
def test_invalid_durations_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        seconds_of(text)
