"""Whose id, address and key stands where: every value that one resource takes from another is the right one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from tree_sitter import Node

from ops.check.bicep.origins import origin
from ops.check.bicep.resource_types import items
from ops.check.bicep.settings import written_settings
from ops.check.bicep.source import Declaration, entries, said, walk
from ops.check.bicep.values import Placed, Scope, members
from ops.check.problem import Problem

CREDENTIALS = ("managed-identity", "service-principal", "token")

_SITE, _PLAN, _BOT = "Microsoft.Web/sites", "Microsoft.Web/serverfarms", "Microsoft.BotService/botServices"
_QUERY_RULE, _METRIC_RULE = "Microsoft.Insights/scheduledQueryRules", "Microsoft.Insights/metricAlerts"
_VAULT = "Microsoft.KeyVault/vaults"
_CLIENT, _TENANT, _IDENTITY = (
    f"userAssignedIdentities.{name}" for name in ("properties.clientId", "properties.tenantId", "id")
)
_BLOBS, _QUEUES, _TABLES = (
    f"storageAccounts.properties.primaryEndpoints.{name}" for name in ("blob", "queue", "table")
)

_SETTINGS: Mapping[str, str] = {
    "MicrosoftAppId": _CLIENT,
    "MicrosoftAppType": "'UserAssignedMSI'",
    "MicrosoftAppTenantId": _TENANT,
    "BOT_CLOUD": "botCloud",
    "BOT_CHANNELS": "botChannels",
    "BOT_ACCEPTS_EMULATOR": "'true' or 'false'",
    "DATABRICKS_BASE_URL": "databricksBaseUrl",
    "DATABRICKS_MODEL_NAME": "databricksModelName",
    "DATABRICKS_API": "databricksApi",
    "DATABRICKS_AUTH_TYPE": "'azure-managed-identity'",
    "DATABRICKS_CLIENT_ID": "databricksClientId",
    "SYSTEM_PROMPT": "systemPrompt",
    "OPENAI_MAX_TOKENS": "string(maxTokens)",
    "OPENAI_TEMPERATURE": "temperature",
    "IMAGE_HOSTS": "imageHosts",
    "DATABRICKS_TOOLS": "'true' or 'false'",
    "MAX_ANSWER_CHARACTERS": "string(maxAnswerCharacters)",
    "HISTORY_TOKEN_BUDGET": "string(historyTokenBudget)",
    "TURN_TIMEOUT_SECONDS": "string(turnTimeoutSeconds)",
    "TURN_LEASE_SECONDS": "string(turnLeaseSeconds)",
    "CONVERSATION_RETENTION_DAYS": "string(conversationRetentionDays)",
    "TELEMETRY_RECORDS_TEXT": "'true' or 'false'",
    "APPLICATIONINSIGHTS_CONNECTION_STRING": "components.properties.ConnectionString",
    "APPLICATIONINSIGHTS_AUTHENTICATION_STRING": f"'Authorization=AAD;ClientId=${{{_CLIENT}}}'",
    "AzureWebJobsStorage__credential": "'managedidentity'",
    "AzureWebJobsStorage__clientId": _CLIENT,
    "AzureWebJobsStorage__blobServiceUri": _BLOBS,
    "AzureWebJobsStorage__queueServiceUri": _QUEUES,
    "AzureWebJobsStorage__tableServiceUri": _TABLES,
    "FUNCTIONS_EXTENSION_VERSION": "'~4'",
    "FUNCTIONS_REQUEST_BODY_SIZE_LIMIT": "'262144'",
    "FUNCTIONS_WORKER_RUNTIME": "'python'",
    "WEBSITE_RUN_FROM_PACKAGE": f"'${{{_BLOBS}}}${{containers.name}}/agent.zip'",
    "WEBSITE_RUN_FROM_PACKAGE_BLOB_MI_RESOURCE_ID": _IDENTITY,
}
_BY_CREDENTIAL: Mapping[str, tuple[str, ...]] = {
    "managed-identity": ("DATABRICKS_AUTH_TYPE",),
    "service-principal": ("DATABRICKS_CLIENT_ID", "DATABRICKS_CLIENT_SECRET"),
    "token": ("DATABRICKS_TOKEN",),
}
_REFERENCE = re.compile(r"'@Microsoft\.KeyVault\(VaultName=([^;@]+);SecretName=([\w-]+)\)'")

Wire = tuple[str, str, str]
"""A resource type, a path, and what must stand there if anything does."""

_WIRES: tuple[Wire, ...] = (
    (_SITE, "kind", "'functionapp,linux'"),
    (_SITE, "identity.type", "'UserAssigned'"),
    (_SITE, "identity.userAssignedIdentities", f"{{'${{{_IDENTITY}}}': {{}}}}"),
    (_SITE, "properties.serverFarmId", "serverfarms.id"),
    (_SITE, "properties.keyVaultReferenceIdentity", _IDENTITY),
    (_PLAN, "properties.reserved", "true"),
    (_BOT, "properties.msaAppId", _CLIENT),
    (_BOT, "properties.msaAppMSIResourceId", _IDENTITY),
    (_BOT, "properties.msaAppTenantId", _TENANT),
    (_BOT, "properties.msaAppType", "'UserAssignedMSI'"),
    (f"{_BOT}/channels", "properties.properties.isEnabled", "true"),
    (_VAULT, "properties.tenantId", "tenant().tenantId"),
    ("Microsoft.Insights/components", "properties.WorkspaceResourceId", "workspaces.id"),
    ("Microsoft.Insights/diagnosticSettings", "properties.workspaceId", "workspaces.id"),
    ("Microsoft.Insights/diagnosticSettings", "properties.logs.enabled", "true"),
    ("Microsoft.Insights/actionGroups", "properties.enabled", "true"),
    ("Microsoft.Insights/webtests", "properties.Enabled", "true"),
    (_QUERY_RULE, "properties.enabled", "true"),
    (_QUERY_RULE, "properties.scopes", "[workspaces.id]"),
    (_QUERY_RULE, "properties.actions.actionGroups", "[actionGroups.id]"),
    (_QUERY_RULE, "properties.criteria.allOf.operator", "'GreaterThan'"),
    (_QUERY_RULE, "properties.skipQueryValidation", "true"),
    (_METRIC_RULE, "properties.enabled", "true"),
    (_METRIC_RULE, "properties.scopes", "[sites.id]"),
    (_METRIC_RULE, "properties.actions", "[{actionGroupId: actionGroups.id}]"),
    (_METRIC_RULE, "properties.criteria.allOf.metricName", "'Http5xx'"),
    (_METRIC_RULE, "properties.criteria.allOf.operator", "'GreaterThanOrEqual'"),
    (_METRIC_RULE, "properties.criteria.allOf.timeAggregation", "'Total'"),
    (_METRIC_RULE, "properties.criteria.allOf.skipMetricValidation", "true"),
)
_FLEX = "properties.functionAppConfig"
_WIRES_OF_PLAN: Mapping[str, tuple[Wire, ...]] = {
    "consumption": (
        (_PLAN, "sku.name", "'Y1'"),
        (_PLAN, "sku.tier", "'Dynamic'"),
        (_SITE, "properties.reserved", "true"),
        (_SITE, "properties.siteConfig.linuxFxVersion", "'Python|${pythonVersion}'"),
    ),
    "flex": (
        (_PLAN, "sku.name", "'FC1'"),
        (_PLAN, "sku.tier", "'FlexConsumption'"),
        (_SITE, f"{_FLEX}.runtime.name", "'python'"),
        (_SITE, f"{_FLEX}.runtime.version", "pythonVersion"),
        (_SITE, f"{_FLEX}.deployment.storage.type", "'blobContainer'"),
        (_SITE, f"{_FLEX}.deployment.storage.value", f"'${{{_BLOBS}}}${{containers.name}}'"),
        (_SITE, f"{_FLEX}.deployment.storage.authentication.type", "'UserAssignedIdentity'"),
        (_SITE, f"{_FLEX}.deployment.storage.authentication.userAssignedIdentityResourceId", _IDENTITY),
    ),
}
# Without these the others have nothing to stand in.
_NEEDED_ON_PLAN = {path for wires in _WIRES_OF_PLAN.values() for _, path, _ in wires}


def check_wiring(plan: str, credential: str, scopes: Iterable[Scope]) -> list[Problem]:
    """Of one deployment."""
    deployed = list(scopes)
    vaults = {origin(name) for scope in deployed for name in _vault_names(scope)}
    return [
        *(problem for scope in deployed for problem in _of_resources(scope, (*_WIRES, *_WIRES_OF_PLAN[plan]))),
        *(problem for scope in deployed for problem in _of_settings(credential, scope, vaults)),
        *(problem for scope in deployed for problem in _too_early(scope)),
    ]


def _of_resources(scope: Scope, wires: Iterable[Wire]) -> Iterator[Problem]:
    for resource_type, path, wanted in wires:
        for resource in scope.file.resources(resource_type):
            found = list(_written(scope, resource, path))
            if not found and path in _NEEDED_ON_PLAN:
                yield scope.file.problem(f"{resource.name} lacks {path}: {wanted}", resource.node)
            for key, value in found:
                if (is_there := origin(value)) != wanted:
                    sentence = f"{path} of {resource.name} is {is_there}, and must be {wanted}"
                    yield value.scope.file.problem(sentence, key)


def _written(scope: Scope, resource: Declaration, path: str) -> Iterator[tuple[Node, Placed]]:
    *outer, last = path.split(".")
    found = [Placed(scope, resource.body)] if resource.body is not None else []
    for key in outer:
        found = [item for place in found for _, value in members(place).get(key, ()) for item in items(value)]
    for place in found:
        yield from members(place).get(last, ())


def _of_settings(credential: str, scope: Scope, vaults: set[str]) -> Iterator[Problem]:
    for site in scope.file.resources(_SITE):
        found = dict(written_settings(scope, site))
        for name, values in found.items():
            for key, value in values:
                is_there = origin(value)
                if wrong := _wrong(name, is_there, vaults):
                    yield value.scope.file.problem(f"{name} is {is_there}, and must be {wrong}", key)
        for other, names in _BY_CREDENTIAL.items():
            for name in names:
                if other == credential and name not in found:
                    yield scope.file.problem(
                        f"with databricksCredential {credential} {site.name} lacks {name}", site.node
                    )
                if other != credential and name in found:
                    key, value = found[name][0]
                    sentence = f"{name} is for databricksCredential {other} alone, not for {credential}"
                    yield value.scope.file.problem(sentence, key)


def _wrong(name: str, is_there: str, vaults: set[str]) -> str:
    """What it should be, if it is not."""
    if name in _SETTINGS:
        return _SETTINGS[name] if is_there != _SETTINGS[name] else ""
    if reference := _REFERENCE.fullmatch(is_there):
        secret = name.lower().replace("_", "-")
        if reference[2] != secret:
            return f"the secret {secret}"
        return (
            "" if f"'{reference[1]}'" in vaults else f"in the Key Vault {' or '.join(sorted(vaults)) or 'of this file'}"
        )
    return ""


def _vault_names(scope: Scope) -> Iterator[Placed]:
    for vault in scope.file.resources(_VAULT):
        yield from (value for _, value in _written(scope, vault, "name"))


def _too_early(scope: Scope) -> Iterator[Problem]:
    """A setting that names a vault makes no dependency, so that an app could start before its secrets are there."""
    apps = {name for name, inside in scope.modules.items() if inside.file.resources(_SITE)}
    vaults = {name for name, inside in scope.modules.items() if inside.file.resources(_VAULT)}
    for name in sorted(apps):
        module = scope.file.of("module")[name]
        has_predecessor = entries(module.body).get("dependsOn") if module.body is not None else None
        named = (
            {said(node) for node in walk(has_predecessor[1]) if node.type == "identifier"} if has_predecessor else set()
        )
        for vault in sorted(vaults - named):
            sentence = f"{name} must have dependsOn: [{vault}]: its settings refer to the secrets there"
            yield scope.file.problem(sentence, has_predecessor[0] if has_predecessor else module.node)
