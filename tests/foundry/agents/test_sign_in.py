"""Each cloud of Azure is signed in to at its own address, for its own scope, and nowhere else."""

from __future__ import annotations

from typing import Any

import pytest

from app.foundry.agents import sign_in


class NotedCredential:
    made: list[dict[str, Any]] = []  # noqa: RUF012 - of each test

    def __init__(self, **options: Any) -> None:
        self.made.append(options)

    async def __aenter__(self) -> NotedCredential:
        return self

    async def __aexit__(self, *_: object) -> None: ...


@pytest.fixture(autouse=True)
def noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(NotedCredential, "made", [])
    monkeypatch.setattr(sign_in, "DefaultAzureCredential", NotedCredential)
    monkeypatch.delenv("AZURE_AUTHORITY_HOST", raising=False)


@pytest.mark.parametrize(
    ("host", "authority", "scope"),
    [
        ("acme.services.ai.azure.com", "login.microsoftonline.com", "https://ai.azure.com/.default"),
        ("acme.services.ai.azure.us", "login.microsoftonline.us", "https://ai.azure.us/.default"),
        ("ACME.AI.AZURE.US", "login.microsoftonline.us", "https://ai.azure.us/.default"),
        ("acme.services.ai.azure.cn", "login.chinacloudapi.cn", "https://ai.azure.cn/.default"),
    ],
)
async def test_the_projects_cloud_decides_where_to_sign_in(host: str, authority: str, scope: str) -> None:
    async with sign_in.client_options(f"https://{host}/api/projects/x") as options:
        assert options["credential_scopes"] == [scope]
        assert options["permit_redirects"] is False, "the token would go to another host"
        assert isinstance(options["credential"], NotedCredential)
    assert NotedCredential.made == [{"authority": authority}]


async def test_the_environment_may_name_another_authority(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_AUTHORITY_HOST", "login.example")
    async with sign_in.client_options("https://acme.services.ai.azure.com/api/projects/x"):
        assert NotedCredential.made == [{"authority": "login.example"}]


async def test_a_stand_in_on_this_machine_gets_no_real_token() -> None:
    async with sign_in.client_options("http://127.0.0.1:8123/api/projects/x") as options:
        assert (await options["credential"].get_token("scope")).token == "local"
    assert NotedCredential.made == []
