"""Who decides about the recorded failures: the rules alone, the script of the stand-in, or a model that is set up."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from app.jobs.azure_openai_client import AzureOpenAIClient
from app.jobs.decisions.completion_client import CompletionClient
from app.jobs.decisions.decision import Decision
from app.jobs.decisions.similar_incident import SimilarIncident
from app.jobs.environment import ENV_FILE, read_env_file
from app.jobs.error_decision_engine import ErrorDecisionEngine
from app.jobs.job_policy import JobPolicy
from app.jobs.runs.run_failure import RunFailure
from app.local.local_settings import add_local_settings
from app.local.scripted_decisions import scripted_decision
from app.models.model import AnswerSchema
from evals.triage_eval import Decide

SCRIPTED = "scripted"
_ROOT = Path(__file__).resolve().parents[1]


class ScriptedClient:
    """The script by which the stand-in workspace of `dev.py run` decides."""

    name = SCRIPTED

    async def complete(self, system: str, user: str, schema: AnswerSchema) -> str:
        response_format = {"type": "json_schema", "json_schema": {"name": schema.name}}
        answer = scripted_decision([{"role": "user", "content": user}], response_format)
        return "I can only decide about failed runs." if answer is None else answer


class _RecordedClient:
    def __init__(self, client: CompletionClient, prompts: list[str]) -> None:
        self._client = client
        self._prompts = prompts
        self.name = client.name

    async def complete(self, system: str, user: str, schema: AnswerSchema) -> str:
        self._prompts.append(f"{system}\n\n{user}")
        return await self._client.complete(system, user, schema)


def by_the_engine(client: CompletionClient | None) -> Decide:
    """By the rules alone where there is no client. Each failure has an engine of its own, which knows no other."""

    async def decide(
        failure: RunFailure, policy: JobPolicy, similar: Sequence[SimilarIncident], prompts: list[str]
    ) -> Decision:
        engine = ErrorDecisionEngine(None if client is None else _RecordedClient(client, prompts))
        return await engine.decide(failure, policy, similar)

    return decide


def model_client(name: str) -> CompletionClient:
    """The deployment of Azure OpenAI where that is set up, else the serving endpoint of the workspace. The settings are
    those of the process and of `local.settings.json`. Raises `app.config.SettingsError` and `LocalSettingsError`.
    """
    if name == SCRIPTED:
        return ScriptedClient()
    add_local_settings(os.environ, _ROOT)
    is_azure = (read_env_file(ENV_FILE) | os.environ).get("AZURE_OPENAI_ENDPOINT", "").strip()
    os.environ["AZURE_OPENAI_DEPLOYMENT" if is_azure else "DATABRICKS_MODEL_NAME"] = name
    return AzureOpenAIClient()
