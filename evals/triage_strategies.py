"""Who decides about the recorded failures: the rules alone, the script of the stand-in, or a model that is set up."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
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
from app.models.model_errors import ModelError
from evals.triage_eval import Decide

SCRIPTED = "scripted"
_MAX_FAILED_IN_A_ROW = 3
_ROOT = Path(__file__).resolve().parents[1]


class ScriptedClient:
    """The script by which the stand-in workspace of `dev.py run` decides."""

    name = SCRIPTED

    async def complete(self, system: str, user: str, schema: AnswerSchema) -> str:
        response_format = {"type": "json_schema", "json_schema": {"name": schema.name}}
        answer = scripted_decision([{"role": "user", "content": user}], response_format)
        return "I can only decide about failed runs." if answer is None else answer


@dataclass(slots=True)
class _Reach:
    failed_in_a_row: int = 0


class _RecordedClient:
    """Adds what is asked to `prompts`."""

    def __init__(self, client: CompletionClient, prompts: list[str], reach: _Reach) -> None:
        self._client = client
        self._prompts = prompts
        self._reach = reach
        self.name = client.name

    async def complete(self, system: str, user: str, schema: AnswerSchema) -> str:
        self._prompts.append(f"{system}\n\n{user}")
        try:
            answer = await self._client.complete(system, user, schema)
        except ModelError:
            self._reach.failed_in_a_row += 1
            raise
        self._reach.failed_in_a_row = 0
        return answer


def by_the_engine(client: CompletionClient | None) -> Decide:
    """By the rules alone where there is no client, or once it failed a few times in a row. Each failure has an engine
    of its own, which knows no other.
    """
    reach = _Reach()

    async def decide(
        failure: RunFailure, policy: JobPolicy, similar: Sequence[SimilarIncident], prompts: list[str]
    ) -> Decision:
        is_asked = reach.failed_in_a_row < _MAX_FAILED_IN_A_ROW
        engine = ErrorDecisionEngine(_RecordedClient(client, prompts, reach) if client and is_asked else None)
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
