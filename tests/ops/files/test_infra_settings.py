"""The Function App's application settings in every deployment: complete, from where they belong, taken by the app."""

from __future__ import annotations

import pytest

from app.bot.inbound.activity import MAX_ACTIVITY_BYTES
from app.config import is_job_watch_on, load_settings
from app.jobs.environment import WatchSettings, all_setting_names, load_watch_settings
from ops.deploy.builds import CURRENT
from tests.ops.files.deployments import NAMES, Deployment, deployment, template

IDENTITY = "<userAssignedIdentities>"
CLIENT, TENANT = "[userAssignedIdentities.clientId]", "[userAssignedIdentities.tenantId]"
PACKAGES = "{storageAccounts.primaryEndpoints.blob}{packages}"
FROM_PARAMETERS = {
    "BOT_CLOUD": "botCloud",
    "BOT_CHANNELS": "botChannels",
    "BOT_ACCEPTS_EMULATOR": "botAcceptsEmulator",
    "DATABRICKS_BASE_URL": "databricksBaseUrl",
    "DATABRICKS_MODEL_NAME": "databricksModelName",
    "DATABRICKS_API": "databricksApi",
    "DATABRICKS_TOOLS": "databricksTools",
    "SYSTEM_PROMPT": "systemPrompt",
    "OPENAI_MAX_TOKENS": "maxTokens",
    "OPENAI_TEMPERATURE": "temperature",
    "IMAGE_HOSTS": "imageHosts",
    "SENSITIVITY_LABEL_ID": "sensitivityLabelId",
    "SENSITIVITY_LABEL_NAME": "sensitivityLabelName",
    "SENSITIVITY_LABEL_DESCRIPTION": "sensitivityLabelDescription",
    "GENIE_SPACES": "genieSpaces",
    "GENIE_TIMEOUT_SECONDS": "genieTimeoutSeconds",
    "GENIE_BASE_URL": "genieBaseUrl",
    "MLFLOW_BASE_URL": "mlflowBaseUrl",
    "GENIE_QUESTIONS_PER_MINUTE": "genieQuestionsPerMinute",
    "GENIE_REPEAT_SECONDS": "genieRepeatSeconds",
    "GENIE_AGENT_MODE": "genieAgentMode",
    "MCP_SERVERS": "mcpServers",
    "MCP_SECRETS": "mcpKeyVaultReference",
    "SPECIALISTS": "specialists",
    "FUNCTION_TOOLS": "functionTools",
    "FOUNDRY_TOOLS": "foundryTools",
    "FOUNDRY_TOOL_NAME": "foundryToolName",
    "FOUNDRY_MAX_CONCURRENT_REQUESTS": "foundryMaxConcurrentRequests",
    "FOUNDRY_CACHE_SECONDS": "foundryCacheSeconds",
    "FOUNDRY_ANSWER_LINKS": "foundryAnswerLinks",
    "FOUNDRY_MCP_AUDIENCE": "foundryMcpAudience",
    "FOUNDRY_MCP_CALLERS": "foundryMcpCallers",
    "SQL_WAREHOUSE_ID": "sqlWarehouseId",
    "SQL_ALLOWS_EXTERNAL": "sqlAllowsExternal",
    "MAX_ANSWER_CHARACTERS": "maxAnswerCharacters",
    "HISTORY_TOKEN_BUDGET": "historyTokenBudget",
    "TURN_TIMEOUT_SECONDS": "turnTimeoutSeconds",
    "TURN_LEASE_SECONDS": "turnLeaseSeconds",
    "CONVERSATION_RETENTION_DAYS": "conversationRetentionDays",
    "TELEMETRY_RECORDS_TEXT": "telemetryRecordsText",
}
FIXED = {
    "MicrosoftAppId": CLIENT,
    "MicrosoftAppType": "UserAssignedMSI",
    "MicrosoftAppTenantId": TENANT,
    "APPLICATIONINSIGHTS_CONNECTION_STRING": "[components.ConnectionString]",
    "APPLICATIONINSIGHTS_AUTHENTICATION_STRING": "Authorization=AAD;ClientId={userAssignedIdentities.clientId}",
    "AzureWebJobsStorage__credential": "managedidentity",
    "AzureWebJobsStorage__clientId": CLIENT,
    "AzureWebJobsStorage__blobServiceUri": "[storageAccounts.primaryEndpoints.blob]",
    "AzureWebJobsStorage__queueServiceUri": "[storageAccounts.primaryEndpoints.queue]",
    "AzureWebJobsStorage__tableServiceUri": "[storageAccounts.primaryEndpoints.table]",
    # The host would take 100 MB, and hold them in memory before the agent could refuse them.
    "FUNCTIONS_REQUEST_BODY_SIZE_LIMIT": str(MAX_ACTIVITY_BYTES),
}
BY_PLAN = {
    "consumption": {
        "FUNCTIONS_EXTENSION_VERSION": "~4",
        "FUNCTIONS_WORKER_RUNTIME": "python",
        "WEBSITE_RUN_FROM_PACKAGE": f"{PACKAGES}/{CURRENT}",
        "WEBSITE_RUN_FROM_PACKAGE_BLOB_MI_RESOURCE_ID": IDENTITY,
    },
    # functionAppConfig says it there, and Azure refuses or ignores it here:
    # https://learn.microsoft.com/azure/azure-functions/functions-app-settings#flex-consumption-plan-deprecations
    "flex": {},
}
BY_CREDENTIAL = {
    "managed-identity": {"DATABRICKS_AUTH_TYPE": "azure-managed-identity"},
    "service-principal": {"DATABRICKS_CLIENT_ID": "PARAMETER", "DATABRICKS_CLIENT_SECRET": "VAULT"},
    "token": {"DATABRICKS_TOKEN": "VAULT"},
}
# What the Key Vault has for those that are more than any text.
RESOLVED = {
    "JOB_WATCH_STORE": "UseDevelopmentStorage=true",
    "JOB_NOTIFICATION_PASSWORD": "a long password",
    "JOB_WATCH_HEARTBEAT_URL": "https://heartbeat.contoso.com",
    "JOB_WEBHOOK_SECRET": "a secret to sign with",
    "SLACK_WEBHOOK_URL": "https://hooks.slack.com/services/T/B/X",
    "PAGERDUTY_ROUTING_KEY": "0123456789abcdef0123456789abcdef",
}
UNLIMITED = ("OPENAI_MAX_TOKENS", "0")
# For a developer's machine, or for a bot that somebody registered without Bicep.
NOT_FROM_BICEP = {
    "AzureWebJobsStorage",
    "DATABRICKS_CONFIG_PROFILE",
    "DATA_DIR",
    "JOB_EVENTS_TOKEN",
    "MicrosoftAppPassword",
}
# In the place of what Azure fills in.
FILLED_IN = {
    CLIENT: "11111111-1111-4111-8111-111111111111",
    TENANT: "22222222-2222-4222-8222-222222222222",
    "[components.ConnectionString]": "InstrumentationKey=33333333-3333-4333-8333-333333333333",
    "[storageAccounts.primaryEndpoints.blob]": "https://account.blob.core.windows.net/",
    "[storageAccounts.primaryEndpoints.queue]": "https://account.queue.core.windows.net/",
    "[storageAccounts.primaryEndpoints.table]": "https://account.table.core.windows.net/",
}


def expected(deployed: Deployment) -> dict[str, str]:
    settings = FIXED | BY_PLAN[deployed.plan] | BY_CREDENTIAL[deployed.credential]
    given = {name: deployed.parameters[parameter] for name, parameter in FROM_PARAMETERS.items()}
    # What is empty is not written, and 0 tokens are no limit.
    settings |= {name: value for name, value in given.items() if value and (name, value) != UNLIMITED}
    settings |= deployed.objects.get("jobWatch", {})
    if "DATABRICKS_CLIENT_ID" in settings:
        settings["DATABRICKS_CLIENT_ID"] = deployed.parameters["databricksClientId"]
    for name in (name for name, value in settings.items() if value == "VAULT"):
        vault = deployed.one("Microsoft.KeyVault/vaults")["name"]
        secret = name.lower().replace("_", "-")
        assert f"{vault}/{secret}" in {each["name"] for each in deployed.of("Microsoft.KeyVault/vaults/secrets")}
        settings[name] = f"@Microsoft.KeyVault(VaultName={vault};SecretName={secret})"
    return settings


def in_azure(deployed: Deployment) -> dict[str, str]:
    """What the app finds in its environment."""
    settings = {name: FILLED_IN.get(value, value) for name, value in deployed.app_settings.items()}
    settings["APPLICATIONINSIGHTS_AUTHENTICATION_STRING"] = f"Authorization=AAD;ClientId={FILLED_IN[CLIENT]}"
    resolved = {name: "a secret" for name, value in settings.items() if value.startswith("@Microsoft.KeyVault(")}
    resolved |= {name: value for name, value in RESOLVED.items() if name in resolved}
    if "MCP_SECRETS" in resolved:
        resolved["MCP_SECRETS"] = '{"tickets": "a secret"}'
    return {**settings, **resolved, "WEBSITE_SITE_NAME": "func", "WEBSITE_INSTANCE_ID": "1"}


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_is_written_and_no_other(name: str) -> None:
    assert deployment(name).app_settings == expected(deployment(name))


@pytest.mark.parametrize("name", NAMES)
def test_the_app_starts_with_what_is_written(name: str) -> None:
    settings = in_azure(deployment(name))
    assert load_settings(settings).host.in_azure
    assert is_job_watch_on(settings) is ("jobWatch" in deployment(name).objects)
    assert isinstance(load_watch_settings(settings), WatchSettings)


def test_no_setting_is_left_to_be_set_by_hand_and_lost_at_the_next_provision() -> None:
    written = {setting for name in NAMES for setting in deployment(name).app_settings}
    assert set(all_setting_names()) - written == NOT_FROM_BICEP


def test_what_nobody_chooses_is_as_the_app_has_it_by_itself() -> None:
    """But for the tools of Foundry's agents, which need queues."""
    settings = in_azure(deployment("defaults"))
    written = load_settings(settings).model_dump()
    required = {"DATABRICKS_BASE_URL", "DATABRICKS_MODEL_NAME", "FOUNDRY_TOOLS"}
    chosen = [
        setting
        for setting in FROM_PARAMETERS.keys() & settings.keys() - required
        if load_settings({name: value for name, value in settings.items() if name != setting}).model_dump() != written
    ]
    assert chosen == []


# One has to be below the other.
TIME_LIMITS = {"GENIE_TIMEOUT_SECONDS": "10", "TURN_TIMEOUT_SECONDS": "540"}


@pytest.mark.parametrize("setting", FROM_PARAMETERS)
def test_the_app_takes_whatever_bicep_lets_people_choose(setting: str) -> None:
    parameter = template()["parameters"][FROM_PARAMETERS[setting]]
    choices = parameter.get("allowedValues", [parameter[key] for key in ("minValue", "maxValue") if key in parameter])
    for choice in choices:
        chosen = {setting: "" if (setting, str(choice)) == UNLIMITED else str(choice)}
        load_settings(in_azure(deployment(NAMES[0])) | TIME_LIMITS | chosen)
