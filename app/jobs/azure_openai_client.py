"""Azure OpenAI, asked through the house's client of OpenAI-compatible APIs, which uses the official openai package.

https://learn.microsoft.com/azure/ai-foundry/openai/api-version-lifecycle
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from app.common.net import secure_origin
from app.config import SettingsError
from app.databricks.credentials import Credential, ManagedIdentity, PersonalAccessToken
from app.databricks.workspace_client import WorkspaceClient
from app.databricks.workspace_errors import CredentialError
from app.databricks.workspace_url import WorkspaceUrl
from app.databricks_client import DatabricksModel, RetryPolicy, TimeLimits
from app.jobs.databricks_connector import DatabricksConnector
from app.jobs.decisions.completion_client import DEFAULT_TIME_LIMIT_SECONDS, ModelCompletion
from app.jobs.environment import load_azure_openai_settings, load_watch_settings
from app.models.model import AnswerSchema, Model
from app.settings.azure_openai_settings import AzureOpenAISettings

COGNITIVE_SERVICES = "https://cognitiveservices.azure.com"
"""What an identity's token is for."""

TokenProvider = Callable[[], Awaitable[str]]

_TOKEN_SECONDS = 30.0
_MAX_ANSWER_TOKENS = 8_000
_RETRIES = RetryPolicy(attempts=3)


class AzureOpenAIClient:
    """A `CompletionClient`. Without `settings` those of the process, with its `.env` file; where they set no Azure
    OpenAI, the serving endpoint `DATABRICKS_MODEL_NAME` is asked, and without that nobody: `name` is empty.

    Signs in with the key, else with what `token_provider` gives, else with the host's managed identity, which
    `managed_identity_client_id` names where there are several. Connections are opened by each call and closed with it.
    Raises `app.config.SettingsError`.
    """

    def __init__(
        self,
        settings: AzureOpenAISettings | None = None,
        *,
        token_provider: TokenProvider | None = None,
        managed_identity_client_id: str | None = None,
        time_limit_seconds: float = DEFAULT_TIME_LIMIT_SECONDS,
    ) -> None:
        self.settings = load_azure_openai_settings() if settings is None else settings
        self._token_provider = token_provider
        self._client_id = managed_identity_client_id
        self._time_limit_seconds = time_limit_seconds
        self._completion = self._azure() if self.settings.is_configured else self._databricks()

    @property
    def name(self) -> str:
        """The deployment that is asked."""
        return "" if self._completion is None else self._completion.name

    @property
    def base_url(self) -> str:
        """Where the paths of the OpenAI API begin; empty where Azure OpenAI is not set."""
        return openai_base_url(self.settings.endpoint) if self.settings.is_configured else ""

    async def token(self) -> str:
        """What other clients of the same resource sign in with, as a bearer token. Raises CredentialError."""
        credential = self._credential()
        try:
            return await credential.token()
        finally:
            await credential.close()

    async def complete(self, system: str, user: str, schema: AnswerSchema) -> str:
        """Raises `app.models.model_errors.ModelError`."""
        if self._completion is None:
            raise ValueError("no model is configured")
        return await self._completion.complete(system, user, schema)

    def _azure(self) -> ModelCompletion:
        return ModelCompletion(self._open_model, self.settings.deployment, time_limit_seconds=self._time_limit_seconds)

    def _databricks(self) -> ModelCompletion | None:
        try:
            settings = load_watch_settings()
        except SettingsError as error:
            missing = "AZURE_OPENAI_ENDPOINT: missing; without it the model in DATABRICKS_MODEL_NAME is asked"
            raise SettingsError([missing, *error.problems]) from None
        if not (name := settings.databricks.model_name):
            return None
        open_model = DatabricksConnector(settings).open_model
        return ModelCompletion(open_model, name, time_limit_seconds=self._time_limit_seconds)

    @asynccontextmanager
    async def _open_model(self) -> AsyncIterator[Model]:
        base_url = self.base_url
        resource = WorkspaceClient(WorkspaceUrl(secure_origin(base_url), base_url), self._credential())
        model = DatabricksModel(
            self.settings.deployment,
            resource,
            api="chat",
            max_tokens=_MAX_ANSWER_TOKENS,
            limits=TimeLimits(silence_seconds=self._time_limit_seconds, overall_seconds=self._time_limit_seconds),
            retries=_RETRIES,
        )
        try:
            yield model
        finally:
            await model.close()
            await resource.close()

    def _credential(self) -> Credential:
        if self.settings.key is not None:
            return PersonalAccessToken(self.settings.key)
        if self._token_provider is not None:
            return _ProvidedToken(self._token_provider)
        return ManagedIdentity(self._client_id, resource=COGNITIVE_SERVICES)


class _ProvidedToken:
    name = "token provider"

    def __init__(self, provider: TokenProvider) -> None:
        self._provider = provider

    async def token(self) -> str:
        try:
            async with asyncio.timeout(_TOKEN_SECONDS):
                return await self._provider()
        except TimeoutError as error:
            raise CredentialError("the token provider gave no token in time") from error
        except Exception as error:
            raise CredentialError(f"the token provider failed: {type(error).__name__}") from error

    def forget(self, token: str) -> bool:
        return False

    async def close(self) -> None:
        pass


def openai_base_url(endpoint: str) -> str:
    """`https://<resource>.openai.azure.com/openai/v1` of the forms in which Azure shows an endpoint: the bare resource,
    a deployment's URL, or a project of Azure AI Foundry. A server that is no Azure keeps a path that ends with `/v1`.
    """
    origin, path = secure_origin(endpoint), urlsplit(endpoint).path.rstrip("/")
    if path.endswith("/v1") and "/openai" not in path:
        return origin + path
    for beginning in ("/openai", "/api/projects"):
        before, found, _ = f"{path}/".partition(f"{beginning}/")
        if found:
            path = before
    return f"{origin}{path}/openai/v1"
