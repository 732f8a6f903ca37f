"""What FUNCTION_TOOLS may say."""

from __future__ import annotations

import json
from typing import Any

import pytest

from app.config import HostSettings, SettingsError, load_sections
from app.settings.function_tool_settings import FunctionToolSettings
from app.settings.host_environment import HostEnvironment
from tests.function_tools.function_workers import WEATHER


def tools(*entries: Any) -> str:
    return json.dumps(entries)


def test_an_entry_names_its_queues_and_needs_an_approval_unless_it_only_reads() -> None:
    needed = {name: value for name, value in WEATHER.items() if name != "timeout_seconds"}
    (tool,) = FunctionToolSettings.model_validate({"FUNCTION_TOOLS": tools(needed)}).tools
    assert tool.endpoint == "https://functions.queue.core.windows.net"
    assert (tool.timeout_seconds, tool.reads_only, tool.nests_arguments) == (60, False, True)
    local = {**WEATHER, "endpoint": "http://127.0.0.1:10001/devstoreaccount1"}
    assert FunctionToolSettings.model_validate({"FUNCTION_TOOLS": tools(local)}).tools[0].endpoint == local["endpoint"]


@pytest.mark.parametrize(
    "change",
    [
        {"endpoint": "http://functions.queue.core.windows.net"},
        {"endpoint": "https://user:word@functions.queue.core.windows.net"},
        {"endpoint": "https://functions.queue.core.windows.net?sv=2024&sig=secret"},
        {"endpoint": "https://functions.blob.core.windows.net"},
        {"input_queue": "Has_Capitals"},
        {"input_queue": "a--b"},
        {"output_queue": "x" * 64},
        {"output_queue": "fn-in"},
        {"name": "has space"},
        {"description": ""},
        {"timeout_seconds": 0},
        {"timeout_seconds": 601},
        {"parameters": {"type": "string"}},
        {"parameters": {"properties": []}},
        {"parameters": {"properties": {"correlationId": {"type": "string"}}}},
        {"parameters": {"properties": {"city": {"$ref": "https://schemas.example/city"}}}},
        {"parameters": {"properties": {"city": {"$dynamicRef": "https://schemas.example/city"}}}},
        {"connection": "DefaultEndpointsProtocol=https;AccountKey=…"},
    ],
)
def test_an_entry_that_cannot_be_right_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="FUNCTION_TOOLS"):
        FunctionToolSettings.model_validate({"FUNCTION_TOOLS": tools({**WEATHER, **change})})


def test_it_is_said_where_an_entry_is_wrong() -> None:
    incomplete = {name: value for name, value in WEATHER.items() if name != "description"}
    given = {"FUNCTION_TOOLS": tools(WEATHER, {**incomplete, "output_queue": "Not_A_Name"})}
    with pytest.raises(SettingsError) as raised:
        load_sections(_FunctionTools, given)
    assert [each.partition(";")[0] for each in raised.value.problems] == [
        "FUNCTION_TOOLS: not valid in entry 2, description, which is missing",
        "FUNCTION_TOOLS: not valid in entry 2, output_queue",
    ]


class _FunctionTools(HostSettings):
    functions: FunctionToolSettings


def test_names_are_distinct_and_queues_of_answers_may_be_shared() -> None:
    with pytest.raises(ValueError, match="a name of its own"):
        FunctionToolSettings.model_validate({"FUNCTION_TOOLS": tools(WEATHER, WEATHER)})
    shared = tools(WEATHER, {**WEATHER, "name": "tides", "input_queue": "tides-in"})
    assert len(FunctionToolSettings.model_validate({"FUNCTION_TOOLS": shared}).tools) == 2
    other_case = {"endpoint": WEATHER["endpoint"].upper().replace("HTTPS", "https"), "input_queue": "fn-out"}
    crossed = tools(WEATHER, {**WEATHER, **other_case, "name": "tides", "output_queue": "tides-out"})
    with pytest.raises(ValueError, match="for questions or for answers"):
        FunctionToolSettings.model_validate({"FUNCTION_TOOLS": crossed})


_AZURITE = "http://127.0.0.1:10001/devstoreaccount1"
_HERE = "https://here.queue.core.windows.net"


@pytest.mark.parametrize(
    ("storage", "endpoint"),
    [
        ({"AzureWebJobsStorage": "UseDevelopmentStorage=true"}, _AZURITE),
        ({"AzureWebJobsStorage": f"AccountName=devstoreaccount1;AccountKey=a2V5;QueueEndpoint={_AZURITE}"}, _AZURITE),
        ({"AzureWebJobsStorage": "AccountName=here;AccountKey=a2V5;EndpointSuffix=core.windows.net"}, _HERE),
        ({"AzureWebJobsStorage__queueServiceUri": f"{_HERE}/"}, _HERE),
    ],
)
def test_the_apps_own_queues_are_no_functions(storage: dict[str, str], endpoint: str) -> None:
    """Else the agent would ask itself without end."""
    host = HostEnvironment.read({})

    def problems(**entry: str) -> list[str]:
        given = {"FUNCTION_TOOLS": tools({**WEATHER, **entry}), "FOUNDRY_TOOL_NAME": "sales", **storage}
        return list(FunctionToolSettings.cross_field_problems(given, host))

    for own in ("azure-function-sales-input", "azure-function-ask-data-input", "turns", "foundry-requests-poison"):
        assert problems(endpoint=endpoint, input_queue=own) == [
            "FUNCTION_TOOLS: weather uses a queue that this app has for something else; give it its own"
        ]
    assert problems(endpoint=endpoint, output_queue="azure-function-diagnose-job-output")
    assert not problems(endpoint=endpoint, input_queue="azure-function-ask-input"), "of another app in the account"
    assert not problems(endpoint="https://elsewhere.queue.core.windows.net", input_queue="turns")
    assert not problems(name="not valid")
