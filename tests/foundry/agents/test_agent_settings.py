"""The settings of the agents: every problem at once, said such that a person can mend it."""

from __future__ import annotations

import pytest

from app.config import SettingsError
from app.foundry.agents.agent_settings import load_agent_settings, misspelt_settings
from app.foundry.agents.endpoints import project_endpoint_problem, queue_endpoint_problem

GIVEN = {
    "PROJECT_ENDPOINT_ENT": "https://acme.services.ai.azure.com/api/projects/data",
    "MODEL_DEPLOYMENT_NAME": "gpt-5.1",
    "STORAGE_SERVICE_ENDPOINT": "https://acme.queue.core.windows.net",
}


def problems(**changes: str) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as raised:
        load_agent_settings({name: value for name, value in (GIVEN | changes).items() if value})
    return raised.value.problems


@pytest.mark.parametrize(
    "endpoint",
    [
        "https://acme.services.ai.azure.com/api/projects/data",
        "https://acme.services.ai.azure.com/api/projects/data/",
        "https://acme.services.ai.azure.com/api/projects/_project",
        "https://acme.ai.azure.com/api/projects/data",
        "https://ACME.Services.AI.Azure.com/api/projects/Data.1",
        "https://acme.services.ai.azure.us/api/projects/data",
        "https://acme.ai.azure.us/api/projects/data",
        "https://acme.services.ai.azure.cn/api/projects/data",
        "http://127.0.0.1:8123/api/projects/stand-in",
        "http://localhost:8123/api/projects/stand-in",
        "http://[::1]:8123/api/projects/stand-in",
    ],
)
def test_the_forms_of_a_projects_endpoint_are_accepted(endpoint: str) -> None:
    assert project_endpoint_problem(endpoint) is None
    settings = load_agent_settings(GIVEN | {"PROJECT_ENDPOINT_ENT": endpoint})
    assert settings.agents.project_endpoint == endpoint.rstrip("/")


@pytest.mark.parametrize(
    ("endpoint", "said"),
    [
        ("https://acme.cognitiveservices.azure.com/", "https://acme.services.ai.azure.com/api/projects/<project>"),
        ("https://acme.openai.azure.com/openai/v1", "https://acme.services.ai.azure.com/api/projects/<project>"),
        ("https://acme.cognitiveservices.azure.us", "https://acme.services.ai.azure.us/api/projects/<project>"),
        ("https://ai.azure.com/nextgen/r/x", "the portal"),
        ("https://acme.services.ai.azure.com", "/api/projects/<project>"),
        ("https://acme.services.ai.azure.com/api/projects/", "/api/projects/<project>"),
        ("https://acme.services.ai.azure.com/api/projects/data/agents", "does not end"),
        ("https://acme.services.ai.azure.com/api/projects/..", "does not end"),
        ("https://acme.services.ai.azure.com/api/projects/<project>", "placeholder"),
        ("http://acme.services.ai.azure.com/api/projects/data", "http://"),
        ("https://acme.services.ai.azure.com.evil.example/api/projects/data", "not on a host of Foundry"),
        ("https://evil.example/x.services.ai.azure.com/api/projects/data", "not on a host of Foundry"),
        ("https://acme.services.ai.azure.com@evil.example/api/projects/data", "password"),
        ("https://services.ai.azure.com/api/projects/data", "not on a host"),
        ("https://me:secret@acme.services.ai.azure.com/api/projects/data", "password"),
        ("https://acme.services.ai.azure.com/api/projects/data?api-version=v1", "more than an address"),
        ("eastus.api.azureml.ms;0000;rg;project", "does not begin with https://"),
        ("https://acme.services.ai.azure.com:port/api/projects/data", "not an address"),
        ("https://" + "a" * 600, "longer than"),
    ],
)
def test_another_address_is_refused_with_the_right_form(endpoint: str, said: str) -> None:
    problem = project_endpoint_problem(endpoint)
    assert problem is not None
    assert said in problem
    assert "secret" not in problem


@pytest.mark.parametrize(
    ("endpoint", "said"),
    [
        ("https://acme.queue.core.windows.net", None),
        ("https://acme.queue.core.windows.net/", None),
        ("https://acme.queue.core.usgovcloudapi.net", None),
        ("https://acme.z12.queue.storage.azure.net", None),
        ("http://127.0.0.1:10001/devstoreaccount1", None),
        ("https://acme.blob.core.windows.net", "put https://acme.queue.core.windows.net"),
        ("https://acme.table.core.chinacloudapi.cn/x", "put https://acme.queue.core.chinacloudapi.cn"),
        ("https://acme.queue.core.windows.net/azure-function-ask-input", "alone: https://acme.queue.core.windows.net"),
        ("https://acme.queue.core.windows.net?sv=1&sig=secret", "signature"),
        ("DefaultEndpointsProtocol=https;AccountName=acme;AccountKey=secret", "connection string"),
        ("acme", "does not begin with https://"),
        ("https://acme.queue.core.windows.net.evil.example", "not the address of a queue service"),
        ("http://127.0.0.1:10001/devstoreaccount1/queue", "more than the account"),
    ],
)
def test_only_a_queue_services_address_is_accepted(endpoint: str, said: str | None) -> None:
    problem = queue_endpoint_problem(endpoint)
    assert (problem is None) if said is None else (problem is not None and said in problem)
    assert "secret" not in (problem or "")


def test_every_missing_or_malformed_setting_is_said_at_once() -> None:
    found = problems(
        PROJECT_ENDPOINT_ENT="https://acme.cognitiveservices.azure.com",
        MODEL_DEPLOYMENT_NAME="",
        STORAGE_SERVICE_ENDPOINT="https://acme.blob.core.windows.net",
        FOUNDRY_AGENT_NAME="-x-",
        FOUNDRY_SCALE_FACTOR="99",
        FOUNDRY_TOOL_NAME="A" * 36,
        FOUNDRY_MCP_URL="http://app.example/api/mcp",
    )
    assert sorted(each.partition(":")[0] for each in found) == [
        "FOUNDRY_AGENT_NAME",
        "FOUNDRY_MCP_URL",
        "FOUNDRY_SCALE_FACTOR",
        "FOUNDRY_TOOL_NAME",
        "MODEL_DEPLOYMENT_NAME",
        "PROJECT_ENDPOINT_ENT",
        "STORAGE_SERVICE_ENDPOINT",
    ]


@pytest.mark.parametrize(
    ("name", "nearly"),
    [
        ("PROJECT_ENDPOINT_ENT", "PROJECT_ENDPOINT"),
        ("PROJECT_ENDPOINT_ENT", "FOUNDRY_PROJECT_ENDPOINT"),
        ("PROJECT_ENDPOINT_ENT", "Project_Endpoint_Ent"),
        ("MODEL_DEPLOYMENT_NAME", "MODEL_DEPLOYEMENT_NAME"),
        ("MODEL_DEPLOYMENT_NAME", "AZURE_AI_MODEL_DEPLOYMENT_NAME"),
        ("STORAGE_SERVICE_ENDPOINT", "STORAGE_SERVICE_ENDPOINTS"),
        ("STORAGE_SERVICE_ENDPOINT", "STORAGE_CONNECTION__queueServiceUri"),
    ],
)
def test_a_name_that_nearly_is_the_missing_one_is_pointed_out(name: str, nearly: str) -> None:
    (problem,) = problems(**{name: "", nearly: "x"})
    assert problem.startswith(f"{name}: missing")
    assert f"({nearly} is set" in problem


def test_a_misspelt_name_of_an_optional_setting_is_pointed_out() -> None:
    assert misspelt_settings(GIVEN | {"FOUNDRY_SCALE_FACTORS": "2", "FOUNDRY_PROJECT_ENDPOINT": "x"}) == (
        "FOUNDRY_SCALE_FACTORS is set and read by nothing: is FOUNDRY_SCALE_FACTOR meant?",
    )
    assert misspelt_settings(GIVEN | {"FOUNDRY_SCALE_FACTOR": "2"}) == ()


def test_queues_of_this_machine_are_for_a_project_of_this_machine_alone() -> None:
    (problem,) = problems(STORAGE_SERVICE_ENDPOINT="http://127.0.0.1:10001/devstoreaccount1")
    assert "does not reach" in problem
    local = {"PROJECT_ENDPOINT_ENT": "http://[::1]:8123/api/projects/x"}
    load_agent_settings(GIVEN | local | {"STORAGE_SERVICE_ENDPOINT": "http://127.0.0.1:10001/devstoreaccount1"})


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("https://app.azurewebsites.net/api/mcp?code=secret", "holds more than an address"),
        ("https://user:secret@app.azurewebsites.net/api/mcp", "holds more than an address"),
        ("https://app.azurewebsites.net/", "has no path"),
        ("http://app.azurewebsites.net/api/mcp", "begins with http://"),
        ("http://127.0.0.1:7071/api/mcp", "is this machine's own"),
    ],
)
def test_the_address_of_mcp_holds_no_key_and_can_be_reached(url: str, said: str) -> None:
    (problem,) = problems(FOUNDRY_MCP_URL=url)
    assert said in problem
    assert "secret" not in problem
    load_agent_settings(GIVEN | {"FOUNDRY_MCP_URL": "https://app.azurewebsites.net/api/mcp/entra"})


def test_the_queues_address_is_needed_where_queues_are_used() -> None:
    over_mcp = GIVEN | {"FOUNDRY_MCP_URL": "https://app.azurewebsites.net/api/mcp", "STORAGE_SERVICE_ENDPOINT": " "}
    assert load_agent_settings(over_mcp).agents.queue_endpoint == ""
    (problem,) = problems(STORAGE_SERVICE_ENDPOINT="")
    assert problem.startswith("STORAGE_SERVICE_ENDPOINT: missing; put the queue service of the Function App's storage")
    assert problem.endswith("https://<account>.queue.core.windows.net, or set FOUNDRY_MCP_URL")
    with pytest.raises(SettingsError) as raised:
        load_agent_settings(over_mcp, classic=True)
    assert len(raised.value.problems) == 1, "classic agents have no tools over MCP"
