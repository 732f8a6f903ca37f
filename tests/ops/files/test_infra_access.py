"""Who may do what in Azure, what is closed to everybody else, and where secrets flow."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.ops.files.deployments import NAMES, Deployment, Resource, deployment, foundry_queues, modules, template

SITE, PLAN = "Microsoft.Web/sites", "Microsoft.Web/serverfarms"
STORAGE, VAULT = "Microsoft.Storage/storageAccounts", "Microsoft.KeyVault/vaults"
# https://learn.microsoft.com/azure/role-based-access-control/built-in-roles
ROLES = {
    "Storage Blob Data Owner": "b7e6dc6d-f1e8-4753-8033-0f276bb0955b",
    "Storage Blob Data Contributor": "ba92f5b4-2d11-453d-a403-e96b0029c9fe",
    "Storage Queue Data Contributor": "974c5e8b-45b9-4653-ba55-5f855dd0fb88",
    "Storage Table Data Contributor": "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3",
    "Key Vault Secrets User": "4633458b-17de-408a-b874-0445c86b69e6",
    "Monitoring Metrics Publisher": "3913510d-42f4-4e42-8a64-420c390055eb",
    "Azure AI User": "53ca6127-db72-4b80-b1b0-d745d6d5456d",
}
AGENT = ("[userAssignedIdentities.principalId]", "ServicePrincipal")
# A person provisions, or a pipeline: Azure finds out which.
DEPLOYER = ("[deployer().objectId]", None)
GRANTS = [
    ("Storage Blob Data Owner", "storageAccounts", *AGENT),
    ("Storage Table Data Contributor", "storageAccounts", *AGENT),
    ("Storage Queue Data Contributor", "queues/turns", *AGENT),
    ("Storage Queue Data Contributor", "queues/turns-poison", *AGENT),
    ("Storage Blob Data Contributor", "containers/packages", *DEPLOYER),
    ("Monitoring Metrics Publisher", "components", *AGENT),
]
GRANTS_WITH_VAULT = [("Key Vault Secrets User", "vaults", *AGENT)]

CLOSED: list[tuple[str, str, Any]] = [
    (SITE, "httpsOnly", True),
    (SITE, "siteConfig.minTlsVersion", "1.2"),
    (f"{SITE}/basicPublishingCredentialsPolicies", "allow", False),
    (STORAGE, "allowBlobPublicAccess", False),
    (STORAGE, "allowSharedKeyAccess", False),
    (STORAGE, "allowCrossTenantReplication", False),
    (STORAGE, "defaultToOAuthAuthentication", True),
    (STORAGE, "minimumTlsVersion", "TLS1_2"),
    (STORAGE, "supportsHttpsTrafficOnly", True),
    (STORAGE, "networkAcls.bypass", "AzureServices"),
    (f"{STORAGE}/blobServices", "deleteRetentionPolicy", {"enabled": True, "days": 14}),
    (f"{STORAGE}/blobServices", "containerDeleteRetentionPolicy", {"enabled": True, "days": 14}),
    (f"{STORAGE}/blobServices", "isVersioningEnabled", True),
    (f"{STORAGE}/blobServices/containers", "publicAccess", "None"),
    (VAULT, "enableRbacAuthorization", True),
    (VAULT, "enableSoftDelete", True),
    (VAULT, "enablePurgeProtection", True),
    (VAULT, "tenantId", "00000000-0000-4000-8000-000000000002"),
    (VAULT, "networkAcls.bypass", "AzureServices"),
    ("Microsoft.Insights/components", "DisableLocalAuth", True),
    ("Microsoft.OperationalInsights/workspaces", "features.disableLocalAuth", True),
]
# Flex has no FTP, and refuses to be told so.
CLOSED_ON_CONSUMPTION = [(SITE, "siteConfig.ftpsState", "Disabled"), (SITE, "siteConfig.scmMinTlsVersion", "1.2")]
# Whoever reads what people said, or opens it, is in the log.
LOGGED = {
    "blobServices": ["StorageWrite", "StorageDelete"],
    "queueServices": ["StorageWrite", "StorageDelete"],
    "tableServices": ["StorageRead", "StorageDelete"],
    "vaults": ["audit"],
    "sites": ["FunctionAppLogs"],
    "botServices": ["BotRequest"],
}


def at(resource: Resource, path: str) -> Any:
    value = resource["properties"]
    for key in path.split("."):
        value = value[key]
    return value


def grant(assignment: Resource) -> tuple[str, str, str, str | None]:
    properties = assignment["properties"]
    # Where all that guid() is given is known here, the snapshot has what it makes: a UUID of version 5.
    made = re.fullmatch(r"\[guid\(.*|[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", assignment["name"])
    assert made, "the next provision would make a second one"
    role = next(name for name, guid in ROLES.items() if properties["roleDefinitionId"] == f"<roleDefinitions {guid}>")
    where = assignment["id"].removeprefix("[extensionResourceId('")
    kind, name = re.split(r"'|/providers/Microsoft\.Authorization/", where)[0].split("/")[-2:]
    scope = f"{kind}/{name}" if kind in {"queues", "containers"} else kind
    return role, scope, properties["principalId"], properties.get("principalType")


@pytest.mark.parametrize("name", NAMES)
def test_everybody_has_the_roles_that_they_need_and_no_other(name: str) -> None:
    deployed = deployment(name)
    given = [grant(each) for each in deployed.of("Microsoft.Authorization/roleAssignments")]
    needed = GRANTS + (GRANTS_WITH_VAULT if deployed.of(VAULT) else []) + foundry_grants(deployed)
    assert sorted(given, key=str) == sorted(needed, key=str)


def foundry_grants(deployed: Deployment) -> list[tuple[str, str, str, str | None]]:
    """The agent uses all queues of its tools; the identity of the Foundry project the two of each that it needs."""
    role, foundry = "Storage Queue Data Contributor", (deployed.parameters["foundryPrincipalId"], "ServicePrincipal")
    kept = ["foundry-requests", "foundry-requests-poison"]
    exchanged = [f"{tool}-{end}" for tool in foundry_queues(deployed) for end in ("input", "output")]
    poison = [f"{queue}-poison" for queue in exchanged if queue.endswith("-input")]
    grants: list[tuple[str, str, str, str | None]]
    grants = [(role, f"queues/{queue}", *AGENT) for queue in (kept + exchanged + poison if exchanged else [])]
    if foundry[0]:
        grants += [(role, f"queues/{queue}", *foundry) for queue in exchanged]
    if deployed.parameters["foundryProjectId"]:
        grants.append(("Azure AI User", "projects", *AGENT))
    return grants


def test_the_identity_of_a_foundry_project_is_given_and_is_not_given_here() -> None:
    for parameter in ("foundryPrincipalId", "foundryProjectId"):
        assert len({bool(deployment(name).parameters[parameter]) for name in NAMES}) == 2


def test_the_agent_uses_a_foundry_project_where_that_is_and_nothing_beside_it() -> None:
    deployed = deployment("flex-token")
    (assignment,) = [
        each for each in deployed.of("Microsoft.Authorization/roleAssignments") if "projects" in each["id"]
    ]
    assert f"'{deployed.parameters['foundryProjectId']}'" in assignment["id"]
    group = modules()["foundryProject"]
    assert group["condition"] == "[not(empty(parameters('foundryProjectId')))]"
    assert "foundryProjectParts" in group["subscriptionId"] + group["resourceGroup"]


@pytest.mark.parametrize("name", NAMES)
def test_what_must_be_closed_is_closed(name: str) -> None:
    deployed = deployment(name)
    closed = CLOSED + (CLOSED_ON_CONSUMPTION if deployed.plan == "consumption" else [])
    found = [(kind, path, at(each, path)) for kind, path, _ in closed for each in deployed.of(kind)]
    assert [(kind, path, value) for kind, path, value in found if (kind, path, value) not in closed] == []
    assert {kind for kind, *_ in found} >= {kind for kind, *_ in closed} - {VAULT}


@pytest.mark.parametrize("name", NAMES)
def test_no_password_deploys(name: str) -> None:
    policies = deployment(name).of(f"{SITE}/basicPublishingCredentialsPolicies")
    assert {each["name"].rpartition("/")[2] for each in policies} == {"ftp", "scm"}


@pytest.mark.parametrize("name", NAMES)
def test_storage_and_vault_are_open_to_the_network_only_if_the_parameter_says_so(name: str) -> None:
    deployed = deployment(name)
    access = deployed.parameters["publicNetworkAccess"]
    for each in (*deployed.of(STORAGE), *deployed.of(VAULT)):
        assert each["properties"]["publicNetworkAccess"] == access
        assert at(each, "networkAcls.defaultAction") == {"Enabled": "Allow", "Disabled": "Deny"}[access]


def test_both_ways_of_network_access_are_deployed_here() -> None:
    assert {deployment(name).parameters["publicNetworkAccess"] for name in NAMES} == {"Enabled", "Disabled"}


@pytest.mark.parametrize("name", NAMES)
def test_whoever_reads_what_people_said_is_in_the_log(name: str) -> None:
    deployed = deployment(name)
    logged = {}
    for setting in deployed.of("Microsoft.Insights/diagnosticSettings"):
        logs = setting["properties"]["logs"]
        assert setting["properties"]["workspaceId"] == "<workspaces>"
        assert all(log["enabled"] for log in logs)
        resource = setting["id"].partition("/providers/Microsoft.Insights/diagnosticSettings")[0]
        logged[resource.split("/")[-2]] = [log.get("category") or log["categoryGroup"] for log in logs]
    assert logged == {kind: logs for kind, logs in LOGGED.items() if kind != "vaults" or deployed.of(VAULT)}


@pytest.mark.parametrize("name", NAMES)
def test_a_vault_is_made_only_where_there_is_a_secret_to_keep(name: str) -> None:
    deployed = deployment(name)
    assert bool(deployed.of(VAULT)) == (deployed.credential != "managed-identity")


def test_secrets_are_secure_empty_by_default_and_flow_into_the_vault_alone() -> None:
    secure = {name for name, each in template()["parameters"].items() if each["type"].startswith("secure")}
    assert secure == {"databricksToken", "databricksClientSecret"}
    assert [template()["parameters"][name]["defaultValue"] for name in secure] == ["", ""]
    vault = modules()["keyVault"]["properties"]
    everywhere = json.dumps(template())
    for name in secure:
        assert vault["parameters"][name] == {"value": f"[parameters('{name}')]"}
        assert vault["template"]["parameters"][name]["type"] == "securestring"
        # Into the module, and there into one secret, which is made if it is not empty.
        assert everywhere.count(f"parameters('{name}')") == 3
    secrets = [each for each in vault["template"]["resources"] if each["type"] == f"{VAULT}/secrets"]
    assert {each["properties"]["value"] for each in secrets} == {f"[parameters('{name}')]" for name in secure}
    assert {each["condition"] for each in secrets} == {f"[not(empty(parameters('{name}')))]" for name in secure}


def test_nothing_asks_azure_for_a_key() -> None:
    assert not any(f"{verb}(" in json.dumps(template()) for verb in ("listKeys", "listAccountSas", "listServiceSas"))


def test_the_app_starts_after_the_secrets_that_its_settings_name_are_there() -> None:
    """A reference to a secret makes no dependency."""
    assert any("keyVault-" in each for each in modules()["functionApp"]["dependsOn"])
