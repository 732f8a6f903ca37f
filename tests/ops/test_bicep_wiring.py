"""Values that one resource takes from another, plans and names, as a person mixes them up."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops.check.bicep import check_bicep
from tests.ops.test_bicep import (
    ALERTS,
    APP,
    BOT,
    MAIN,
    STORAGE,
    TODAY,
    Mistake,
    assert_reported,
    change,
    copied,
    line_of,
)

pytestmark = pytest.mark.slow

CLIENT, TENANT = "userAssignedIdentities.properties.clientId", "userAssignedIdentities.properties.tenantId"
ENDPOINTS = "storageAccounts.properties.primaryEndpoints"
PRINCIPAL = "userAssignedIdentities.properties.principalId"
IDENTITY_BLOCK = (
    "  identity: {\n    type: 'UserAssigned'\n    userAssignedIdentities: {\n      '${identityId}': {}\n    }\n  }\n"
)
FAILURES = (
    "    severity: 1\n    enabled: true\n    scopes: [logAnalyticsId]\n"
    "    evaluationFrequency: 'PT15M'\n    windowSize: 'PT30M'"
)

SETTINGS: dict[str, Mistake] = {
    "the bot's id from the wrong property": (
        MAIN,
        "MicrosoftAppId: identity.properties.clientId",
        "MicrosoftAppId: identity.properties.principalId",
        "    MicrosoftAppId:",
        f"MicrosoftAppId is {PRINCIPAL}, and must be {CLIENT}",
    ),
    "conversations kept as long as logs": (
        MAIN,
        "CONVERSATION_RETENTION_DAYS: string(conversationRetentionDays)",
        "CONVERSATION_RETENTION_DAYS: string(conversationRetentionDays > 0 ? logRetentionDays : 0)",
        "    CONVERSATION_RETENTION_DAYS:",
        "and must be string(conversationRetentionDays)",
    ),
    "the tenant from the wrong property": (
        MAIN,
        "MicrosoftAppTenantId: identity.properties.tenantId",
        "MicrosoftAppTenantId: identity.properties.clientId",
        "    MicrosoftAppTenantId:",
        f"MicrosoftAppTenantId is {CLIENT}, and must be {TENANT}",
    ),
    "an app type that Azure no longer makes": (
        MAIN,
        "MicrosoftAppType: 'UserAssignedMSI'",
        "MicrosoftAppType: 'MultiTenant'",
        "    MicrosoftAppType:",
        "MicrosoftAppType is 'MultiTenant', and must be 'UserAssignedMSI'",
    ),
    "a way to sign in that there is not": (
        MAIN,
        "'azure-managed-identity'",
        "'azure-managed-identiy'",
        "{ DATABRICKS_AUTH_TYPE:",
        "DATABRICKS_AUTH_TYPE is 'azure-managed-identiy', and must be 'azure-managed-identity'",
    ),
    "a way to sign in under no name": (
        MAIN,
        "{ DATABRICKS_AUTH_TYPE:",
        "{ DATABRICKS_AUTH_TPYE:",
        "{ DATABRICKS_AUTH_TPYE:",
        "DATABRICKS_AUTH_TPYE is neither a setting of app/config.py nor one of Azure's",
    ),
    "a way to sign in that is not given": (
        MAIN,
        "  databricksCredential == 'managed-identity' ? { DATABRICKS_AUTH_TYPE: 'azure-managed-identity' } : {},\n",
        "",
        "",
        "with databricksCredential managed-identity site lacks DATABRICKS_AUTH_TYPE",
    ),
    "two ways to sign in": (
        MAIN,
        "databricksCredential == 'managed-identity' ? { DATABRICKS_AUTH_TYPE",
        "databricksCredential != 'service-principal' ? { DATABRICKS_AUTH_TYPE",
        "{ DATABRICKS_AUTH_TYPE",
        "DATABRICKS_AUTH_TYPE is for databricksCredential managed-identity alone, not for token",
    ),
    "the other secret": (
        MAIN,
        "SecretName=databricks-token)",
        "SecretName=databricks-client-secret)",
        "{ DATABRICKS_TOKEN:",
        "and must be the secret databricks-token",
    ),
    "another vault": (
        MAIN,
        "VaultName=${keyVaultName};SecretName=databricks-token",
        "VaultName=${baseName};SecretName=databricks-token",
        "{ DATABRICKS_TOKEN:",
        "and must be in the Key Vault 'kv-",
    ),
    "no address of blobs": (
        APP,
        "  AzureWebJobsStorage__blobServiceUri: blobEndpoint\n",
        "",
        "resource site ",
        "site lacks AzureWebJobsStorage__blobServiceUri",
    ),
    "the queues' address for blobs": (
        APP,
        "AzureWebJobsStorage__blobServiceUri: blobEndpoint",
        "AzureWebJobsStorage__blobServiceUri: queueEndpoint",
        "  AzureWebJobsStorage__blobServiceUri:",
        f"is {ENDPOINTS}.queue, and must be {ENDPOINTS}.blob",
    ),
    "the queues' address under the name of blobs": (
        STORAGE,
        "output blobEndpoint string = account.properties.primaryEndpoints.blob",
        "output blobEndpoint string = account.properties.primaryEndpoints.queue",
        "",
        "AzureWebJobsStorage__blobServiceUri is storageAccounts.properties.primaryEndpoints.queue",
    ),
    "a client id where a resource id belongs": (
        APP,
        "WEBSITE_RUN_FROM_PACKAGE_BLOB_MI_RESOURCE_ID: identityId",
        "WEBSITE_RUN_FROM_PACKAGE_BLOB_MI_RESOURCE_ID: identityClientId",
        "  WEBSITE_RUN_FROM_PACKAGE_BLOB_MI_RESOURCE_ID:",
        f"is {CLIENT}, and must be userAssignedIdentities.id",
    ),
    "a vault that may come after the app": (
        MAIN,
        "  dependsOn: [keyVault] // its settings refer to secrets there, by name\n",
        "",
        "module functionApp ",
        "functionApp must have dependsOn: [keyVault]",
    ),
    "a vault that another module waits for": (
        MAIN,
        "dependsOn: [keyVault]",
        "dependsOn: [storage]",
        "dependsOn: [storage]",
        "functionApp must have dependsOn: [keyVault]",
    ),
}

RESOURCES: dict[str, Mistake] = {
    "a site without identity": (
        APP,
        IDENTITY_BLOCK,
        "",
        "resource site ",
        "site lacks identity.userAssignedIdentities",
    ),
    "a site with an identity of its own": (
        APP,
        "type: 'UserAssigned'\n",
        "type: 'SystemAssigned'\n",
        "type: 'SystemAssigned'",
        "identity.type of site is 'SystemAssigned', and must be 'UserAssigned'",
    ),
    "another identity": (
        APP,
        "'${identityId}': {}",
        "'${identityClientId}': {}",
        "    userAssignedIdentities: {",
        "identity.userAssignedIdentities of site is",
    ),
    "no identity for secrets": (
        APP,
        "    keyVaultReferenceIdentity: identityId\n",
        "",
        "resource site ",
        "site lacks properties.keyVaultReferenceIdentity",
    ),
    "a bigger plan": (APP, "name: 'Y1'", "name: 'B1'", "name: 'B1'", "sku.name of plan is 'B1', and must be 'Y1'"),
    "Windows": (
        APP,
        "reserved: isFlex ? null : true",
        "reserved: isFlex ? null : false",
        "    reserved: isFlex",
        "properties.reserved of site is false, and must be true",
    ),
    "a plan of Windows": (
        APP,
        "    reserved: true // Linux",
        "    reserved: false // Linux",
        "    reserved: false",
        "properties.reserved of plan is false, and must be true",
    ),
    "a Python that stays": (
        APP,
        "linuxFxVersion: 'Python|${pythonVersion}'",
        "linuxFxVersion: 'Python|3.9'",
        "linuxFxVersion:",
        "linuxFxVersion of site is 'Python|3.9', and must be 'Python|${pythonVersion}'",
    ),
    "a registration of another type": (
        BOT,
        "msaAppType: 'UserAssignedMSI'",
        "msaAppType: 'MultiTenant'",
        "msaAppType:",
        "properties.msaAppType of bot is 'MultiTenant'",
    ),
    "a registration of another app": (
        BOT,
        "msaAppId: identityClientId\n    msaAppMSIResourceId: identityResourceId",
        "msaAppId: identityResourceId\n    msaAppMSIResourceId: identityClientId",
        "msaAppId:",
        f"properties.msaAppId of bot is userAssignedIdentities.id, and must be {CLIENT}",
    ),
    "an alert that is off": (
        ALERTS,
        FAILURES,
        FAILURES.replace("enabled: true", "enabled: false"),
        "    enabled: false",
        "properties.enabled of failures is false, and must be true",
    ),
    "an alert that tells no one": (
        ALERTS,
        "      actionGroups: [people.id]",
        "      actionGroups: []",
        "      actionGroups: []",
        "properties.actions.actionGroups of failures is [], and must be [actionGroups.id]",
    ),
    "an alert without actions": (
        ALERTS,
        "    actions: {\n      actionGroups: [people.id]\n    }\n",
        "",
        "resource failures ",
        "failures lacks properties.actions.actionGroups",
    ),
    "a metric alert that tells no one": (
        ALERTS,
        "    actions: [\n      {\n        actionGroupId: people.id\n      }\n    ]\n",
        "    actions: []\n",
        "    actions: []",
        "properties.actions of serverErrors is [], and must be [{actionGroupId: actionGroups.id}]",
    ),
    "an alert on a metric that is none": (
        ALERTS,
        "metricName: 'Http5xx'",
        "metricName: 'Http500'",
        "metricName:",
        "metricName of serverErrors is 'Http500', and must be 'Http5xx'",
    ),
}


@pytest.mark.parametrize("mistake", SETTINGS)
def test_a_setting_of_something_else_is_reported(tmp_path: Path, mistake: str) -> None:
    assert_reported(tmp_path, SETTINGS[mistake])


@pytest.mark.parametrize("mistake", RESOURCES)
def test_a_resource_that_would_not_work_is_reported(tmp_path: Path, mistake: str) -> None:
    assert_reported(tmp_path, RESOURCES[mistake])


def test_a_problem_is_one_line_with_its_place(tmp_path: Path) -> None:
    change(copied(tmp_path), APP, "name: 'FC1'", "name: 'EP1'")

    number = line_of(tmp_path, APP, "name: 'EP1'")
    assert [str(problem) for problem in check_bicep(tmp_path, TODAY)] == [
        f"{APP}:{number}: sku.name of plan is 'EP1', and must be 'FC1'"
    ]


def test_no_rule_deletes_a_build(tmp_path: Path) -> None:
    text = (copied(tmp_path) / STORAGE).read_text(encoding="utf-8")

    assert "baseBlob" not in text
    assert "prefixMatch: ['${packageContainerName}/agent.zip']" in text
