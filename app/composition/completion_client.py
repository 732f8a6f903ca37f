"""The model that decides about failed runs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from app.composition.core import Core
from app.jobs.decisions.completion_client import CompletionClient, ModelCompletion
from app.models.model import Model

if TYPE_CHECKING:
    from app.jobs.environment import WatchSettings


def completion_client(core: Core, settings: WatchSettings | None) -> CompletionClient:
    """Azure OpenAI where the job watch is set up with it, else the model of the agent."""
    if settings is not None and settings.azure_openai.is_configured:
        from app.jobs.azure_openai_client import AzureOpenAIClient  # noqa: PLC0415

        return AzureOpenAIClient(settings.azure_openai)

    @asynccontextmanager
    async def model() -> AsyncIterator[Model]:
        yield core.model

    return ModelCompletion(model, core.model.name)
