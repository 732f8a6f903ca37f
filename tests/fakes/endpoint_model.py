"""A model at a fake serving endpoint, whose clock only moves when it waits."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from app.databricks.credentials import Credential
from app.databricks_client import DatabricksModel, TimeLimits
from app.models.model import Message, ModelEvent, ModelRequest, TextDelta
from app.models.model_errors import (
    ModelError,
)
from tests.fakes.serving_endpoint import ServingEndpoint
from tests.fakes.workspaces import PAT, workspace_at

QUESTION = ModelRequest((Message("user", "Hi"),))


class Sleeper:
    """Time passes only while the model waits for its next attempt."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.pauses: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(round(seconds, 3))
        self.now += seconds

    def clock(self) -> float:
        return self.now


@asynccontextmanager
async def asking(
    endpoint: ServingEndpoint | str,
    *,
    credential: Credential = PAT,
    sleeper: Sleeper | None = None,
    limits: TimeLimits | None = None,
    **options: Any,
) -> AsyncIterator[DatabricksModel]:
    name, base_url = ("my-model", endpoint) if isinstance(endpoint, str) else (endpoint.name, endpoint.base_url)
    sleeper = sleeper or Sleeper()
    async with workspace_at(base_url, credential) as workspace:
        model = DatabricksModel(
            name,
            workspace,
            limits=limits or TimeLimits(),
            sleep=sleeper.sleep,
            clock=sleeper.clock,
            spread=lambda: 1.0,
            **options,
        )
        try:
            yield model
        finally:
            await model.close()


async def answer(model: DatabricksModel, request: ModelRequest = QUESTION) -> list[ModelEvent]:
    return [event async for event in model.stream(request)]


def text_of(events: list[ModelEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


async def shown_before(failure: type[ModelError], model: DatabricksModel) -> str:
    shown: list[ModelEvent] = []

    async def watch() -> None:
        async for event in model.stream(QUESTION):
            shown.append(event)

    with pytest.raises(failure):
        await watch()
    return text_of(shown)
