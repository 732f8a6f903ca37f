from __future__ import annotations

import asyncio

from app.databricks.serving_endpoints import ServingEndpoints
from tests.fakes.clock import Clock
from tests.fakes.serving_endpoint import ServingEndpoint, databricks_error
from tests.fakes.workspaces import workspace_at


async def test_the_endpoints_task_is_looked_up_once() -> None:
    async with ServingEndpoint(task="agent/v1/responses") as fake, workspace_at(fake.host) as workspace:
        endpoints = ServingEndpoints(workspace)
        tasks = await asyncio.gather(*(endpoints.task("my-model") for _ in range(5)))
    assert set(tasks) == {"agent/v1/responses"}
    assert [asked.path for asked in fake.lookups] == ["/api/2.0/serving-endpoints/my-model"]


async def test_a_failed_lookup_is_repeated_a_minute_later_and_not_before() -> None:
    clock = Clock(0.0)
    async with ServingEndpoint(task="agent/v1/responses") as fake, workspace_at(fake.host) as workspace:
        endpoints = ServingEndpoints(workspace, clock=clock)
        fake.lookup_replies.append(databricks_error(503, "TEMPORARILY_UNAVAILABLE", "later"))
        assert await endpoints.task("my-model") is None
        clock.now = 59
        assert await endpoints.task("my-model") is None
        clock.now = 61
        assert await endpoints.task("my-model") == "agent/v1/responses"
    assert len(fake.lookups) == 2


async def test_a_model_in_the_ai_gateway_is_no_endpoint_to_look_up() -> None:
    async with ServingEndpoint() as fake, workspace_at(f"{fake.host}/ai-gateway/mlflow/v1") as workspace:
        assert await ServingEndpoints(workspace).task("system.ai.claude") is None
    assert fake.lookups == []
