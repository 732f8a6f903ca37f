"""Resources as a person leaves them open, misnames them or forgets them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.ops.test_bicep import APP, BOT, MAIN, MONITORING, STORAGE, VAULT, Mistake, assert_reported

pytestmark = pytest.mark.slow

PRINCIPAL = "userAssignedIdentities.properties.principalId"
BLOB_OWNER = "roleDefinitions', blobDataOwner)"
TABLE_WRITER = (
    "    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', tableDataContributor)"
)

BROKEN: dict[str, Mistake] = {
    "conversations whose readers nobody knows": (
        STORAGE,
        "  scope: tableService\n",
        "  scope: blobs\n",
        "resource tableService ",
        "tableService has no diagnostic settings with logs: nobody would know who was there",
    ),
    "messages whose readers nobody knows": (
        STORAGE,
        "  scope: queueService\n",
        "  scope: tableService\n",
        "resource queueService ",
        "queueService has no diagnostic settings with logs: nobody would know who was there",
    ),
    "secrets whose readers nobody knows": (
        VAULT,
        "    logs: [\n      {\n        categoryGroup: 'audit'\n        enabled: true\n      }\n    ]\n",
        "    logs: []\n",
        "resource vault ",
        "vault has no diagnostic settings with logs",
    ),
    "an API version that is none": (
        STORAGE,
        "storageAccounts@2025-01-01' = {",
        "storageAccounts@latest' = {",
        "resource account",
        "account needs a type with a dated API version",
    ),
    "an API version of a day that is none": (
        STORAGE,
        "storageAccounts@2025-01-01' = {",
        "storageAccounts@2025-99-99' = {",
        "resource account",
        "account uses an API version that is no date: Microsoft.Storage/storageAccounts@2025-99-99",
    ),
    "an API version that is not out yet": (
        STORAGE,
        "storageAccounts@2025-01-01' = {",
        "storageAccounts@2026-11-02' = {",
        "resource account",
        "account uses an API version of a day to come: Microsoft.Storage/storageAccounts@2026-11-02",
    ),
    "a preview": (
        VAULT,
        "vaults@2026-05-15' = {",
        "vaults@2026-05-16-preview' = {",
        "resource vault ",
        "vault uses a preview of the API",
    ),
    "a role that is another": (
        STORAGE,
        "ba92f5b4-2d11-453d-a403-e96b0029c9fe' // Storage Blob Data Contributor",
        "b7e6dc6d-f1e8-4753-8033-0f276bb0955b' // Storage Blob Data Contributor",
        "var blobDataContributor",
        "is the role Storage Blob Data Owner, not Storage Blob Data Contributor",
    ),
    "a role that does not exist": (
        STORAGE,
        "ba92f5b4-2d11-453d-a403-e96b0029c9fe",
        "ba92f5b4-2d11-453d-a403-e96b0029c9ff",
        "var blobDataContributor",
        "is none of the roles that",
    ),
    "a role without a comment": (
        STORAGE,
        "' // Storage Table Data Contributor",
        "'",
        "var tableDataContributor",
        "is the role Storage Table Data Contributor, and a comment on its line must say so",
    ),
    "a role that may do everything": (
        MONITORING,
        "3913510d-42f4-4e42-8a64-420c390055eb' // Monitoring Metrics Publisher",
        "b24988ac-6180-42a0-ab88-20f7382dd24c' // Contributor",
        "// Contributor",
        "the role Contributor is more than anything here needs",
    ),
    "a role on the whole resource group": (
        VAULT,
        "  scope: vault\n  properties: {\n    roleDefinitionId",
        "  properties: {\n    roleDefinitionId",
        "resource readsSecrets",
        "readsSecrets has no scope",
    ),
    "plain HTTP": (APP, "httpsOnly: true", "httpsOnly: false", "httpsOnly", "httpsOnly of site must be true"),
    "TLS 1.0": (
        APP,
        "minTlsVersion: '1.2'",
        "minTlsVersion: '1.0'",
        "minTlsVersion",
        "minTlsVersion of site must be '1.2'",
    ),
    "FTP": (APP, "        ftpsState: 'Disabled'\n", "", "resource site ", "site must set ftpsState: 'Disabled'"),
    "a password for Kudu": (APP, "name: 'scm'", "name: 'ftp'", "resource site ", "the policy 'scm' is missing"),
    "a storage account with keys": (
        STORAGE,
        "allowSharedKeyAccess: false",
        "allowSharedKeyAccess: true",
        "allowSharedKeyAccess",
        "allowSharedKeyAccess of account must be false",
    ),
    "a vault that can be purged": (
        VAULT,
        "    enablePurgeProtection: true\n",
        "",
        "resource vault ",
        "vault must set enablePurgeProtection: true",
    ),
    "another route": (
        BOT,
        "https://${botAppDomain}/api/messages",
        "https://${botAppDomain}/messages",
        "endpoint: ",
        "https://{}/messages is no route of function_app.py",
    ),
    "a code in the endpoint": (
        BOT,
        "/api/messages'",
        "/api/messages?code=1'",
        "endpoint: ",
        "is no route of function_app.py",
    ),
    "a health probe that nothing answers": (
        MAIN,
        "healthUrl: 'https://${functionApp.outputs.hostName}/api/health'",
        "healthUrl: 'https://${functionApp.outputs.hostName}/health'",
        "healthUrl: ",
        "https://{}/health is no route of function_app.py",
    ),
    "a route prefix that comes back": (
        "host.json",
        '"routePrefix": ""',
        '"routePrefix": "api"',
        "",
        "/api/api/messages",
    ),
    "no Teams channel": (BOT, "name: 'MsTeamsChannel'", "name: 'WebChat'", "", "'MsTeamsChannel' among its channels"),
    "an output that is missing": (MAIN, "output BOT_DOMAIN ", "output BOT_HOST ", "", "has no output BOT_DOMAIN"),
    "a name that can be too long": (
        MAIN,
        "name: 'st${suffix}${take(unique, 10)}'",
        "name: 'st${suffix}${unique}'",
        "name: 'st${suffix}",
        "the name of account can have 27 of 24 characters",
    ),
}


@pytest.mark.parametrize("mistake", BROKEN)
def test_a_wrong_resource_is_reported_where_it_is_declared(tmp_path: Path, mistake: str) -> None:
    assert_reported(tmp_path, BROKEN[mistake])


ROLES: dict[str, Mistake] = {
    "the agent's role for the deployer": (
        STORAGE,
        f"{BLOB_OWNER}\n    principalId: principalId",
        f"{BLOB_OWNER}\n    principalId: deployerObjectId",
        "    principalId: deployerObjectId",
        f"principalId of ownsBlobs (Storage Blob Data Owner) is deployer().objectId, and must be {PRINCIPAL}",
    ),
    "the queues' role for the tables": (
        STORAGE,
        TABLE_WRITER,
        TABLE_WRITER.replace("tableData", "queueData"),
        "resource account ",
        f"nothing gives {PRINCIPAL} the role Storage Table Data Contributor on account",
    ),
    "messages that cannot be hidden any longer": (
        STORAGE,
        "974c5e8b-45b9-4653-ba55-5f855dd0fb88' // Storage Queue Data Contributor",
        "8a0f0c08-91a1-4084-bc3d-661d67233fed' // Storage Queue Data Message Processor",
        "",
        "writesQueues: nothing here needs the role Storage Queue Data Message Processor",
    ),
    "a path of roles that is misspelt": (
        STORAGE,
        f"'Microsoft.Authorization/{BLOB_OWNER}",
        "'Microsoft.Authorization/roleDefinition', blobDataOwner)",
        "    roleDefinitionId:",
        "roleDefinitionId of ownsBlobs must be subscriptionResourceId('Microsoft.Authorization/roleDefinitions',",
    ),
    "a role on everything": (
        STORAGE,
        "  scope: account\n  properties: {\n    roleDefinitionId",
        "  scope: resourceGroup()\n  properties: {\n    roleDefinitionId",
        "  scope: resourceGroup()",
        "scope of ownsBlobs (Storage Blob Data Owner) is resourceGroup(), and must be storageAccounts",
    ),
    "an identity that is called a person": (
        VAULT,
        "    principalType: 'ServicePrincipal'",
        "    principalType: 'User'",
        "    principalType:",
        "principalType of readsSecrets (Key Vault Secrets User) is 'User', and must be 'ServicePrincipal'",
    ),
    "a pipeline that is called a person": (
        STORAGE,
        "    principalId: deployerObjectId\n",
        "    principalId: deployerObjectId\n    principalType: 'User'\n",
        "    principalType: 'User'",
        "principalType of uploadsPackages (Storage Blob Data Contributor) is 'User', and must be left out",
    ),
}


@pytest.mark.parametrize("mistake", ROLES)
def test_a_role_for_the_wrong_one_is_reported(tmp_path: Path, mistake: str) -> None:
    assert_reported(tmp_path, ROLES[mistake])
