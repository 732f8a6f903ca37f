"""What a deployment makes, beyond what the compiler and the linter know of it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from functools import cache
from typing import Any

import pytest

from app.composition.core import TURN_QUEUE
from app.foundry.requests.tool_requests import REQUEST_QUEUE
from app.storage.factory import ANSWERS_CONTAINER, ARTIFACTS_CONTAINER, CONVERSATIONS_TABLE, DOCUMENTS_TABLE
from ops.deploy.builds import CURRENT
from tests.ops.files.deployments import NAMES, ROOT, Deployment, deployment, foundry_queues, modules, template

STORAGE = "Microsoft.Storage/storageAccounts"
SITE, PLAN, BOT = "Microsoft.Web/sites", "Microsoft.Web/serverfarms", "Microsoft.BotService/botServices"
PACKAGES = "{storageAccounts.primaryEndpoints.blob}{packages}"
CLIENT, TENANT = "[userAssignedIdentities.clientId]", "[userAssignedIdentities.tenantId]"
HOST = "{sites.defaultHostName}"
# https://learn.microsoft.com/azure/azure-resource-manager/management/resource-name-rules
LONGEST_NAMES = {
    STORAGE: 24,
    "Microsoft.KeyVault/vaults": 24,
    SITE: 32,  # beyond, two apps on one storage account share a host id
    PLAN: 40,
    BOT: 42,
    "Microsoft.OperationalInsights/workspaces": 63,
    "Microsoft.ManagedIdentity/userAssignedIdentities": 128,
}
NOT_TAGGED = {
    *("Microsoft.Authorization/roleAssignments", "Microsoft.Insights/diagnosticSettings"),
    *(f"{BOT}/channels", "Microsoft.KeyVault/vaults/secrets", f"{SITE}/basicPublishingCredentialsPolicies"),
}
GLOBAL = {BOT, f"{BOT}/channels", "Microsoft.Insights/actionGroups", "Microsoft.Insights/metricAlerts"}
# What m365agents.yml, the manifest, ops.deploy and the workflow read from env/.env.<name>.
OUTPUTS = {
    *("BOT_ID", "BOT_TENANT_ID", "BOT_DOMAIN", "BOT_AZURE_FUNCTION_APP_RESOURCE_ID"),
    *("FUNCTION_APP_NAME", "STORAGE_ACCOUNT_NAME", "PACKAGE_CONTAINER_NAME", "HEALTH_URL"),
}


def plan_and_site(deployed: Deployment) -> tuple[dict[str, Any], dict[str, Any]]:
    """Of both everything that decides where and how the app runs, but for its application settings."""
    plan, site = deployed.one(PLAN), deployed.one(SITE)
    keys = ("kind", "sku", "identity", "properties")
    properties = {key: value for key, value in site["properties"].items() if value is not None}
    config = {key: value for key, value in properties.pop("siteConfig").items() if key != "appSettings"}
    made = {key: site[key] for key in keys if key in site} | {"properties": properties, "siteConfig": config}
    return {key: plan[key] for key in keys if key in plan}, made


def common(properties: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    return {
        "kind": "functionapp,linux",
        "identity": {"type": "UserAssigned", "userAssignedIdentities": {"<userAssignedIdentities>": {}}},
        "properties": {
            "clientAffinityEnabled": False,
            "httpsOnly": True,
            "keyVaultReferenceIdentity": "<userAssignedIdentities>",
            "serverFarmId": "<serverfarms>",
        }
        | properties,
        "siteConfig": {"minTlsVersion": "1.2"} | config,
    }


@pytest.mark.parametrize("name", [name for name in NAMES if deployment(name).plan == "consumption"])
def test_consumption_runs_linux_and_the_chosen_python(name: str) -> None:
    deployed = deployment(name)
    config = {
        "linuxFxVersion": f"Python|{deployed.parameters['pythonVersion']}",
        "functionAppScaleLimit": int(deployed.parameters["consumptionMaximumInstances"]),
        "ftpsState": "Disabled",
        "http20Enabled": True,
        "scmMinTlsVersion": "1.2",
    }
    properties = {"reserved": True, "zoneRedundant": None}
    plan = {"kind": "functionapp", "sku": {"name": "Y1", "tier": "Dynamic"}, "properties": properties}
    assert plan_and_site(deployed) == (plan, common({"reserved": True}, config))


@pytest.mark.parametrize("name", [name for name in NAMES if deployment(name).plan == "flex"])
def test_flex_is_told_no_more_than_it_takes(name: str) -> None:
    """Azure refuses more of siteConfig (51021): github.com/Azure/terraform-azurerm-avm-res-web-site/pull/345."""
    parameters = deployment(name).parameters
    authentication = {
        "type": "UserAssignedIdentity",
        "userAssignedIdentityResourceId": "<userAssignedIdentities>",
    }
    config = {
        "deployment": {"storage": {"type": "blobContainer", "value": PACKAGES, "authentication": authentication}},
        "runtime": {"name": "python", "version": parameters["pythonVersion"]},
        "scaleAndConcurrency": {
            "maximumInstanceCount": int(parameters["flexMaximumInstances"]),
            "instanceMemoryMB": int(parameters["flexInstanceMemoryMB"]),
            "alwaysReady": [{"name": "http", "instanceCount": int(parameters["flexAlwaysReadyInstances"])}],
            "triggers": {"http": {"perInstanceConcurrency": int(parameters["flexHttpConcurrency"])}},
        },
    }
    properties = {"reserved": True, "zoneRedundant": True}
    plan = {"kind": "functionapp", "sku": {"name": "FC1", "tier": "FlexConsumption"}, "properties": properties}
    site = common({"functionAppConfig": config, "virtualNetworkSubnetId": "<subnets>"}, {})
    assert plan_and_site(deployment(name)) == (plan, site)


@pytest.mark.parametrize("name", NAMES)
def test_the_registration_is_the_identity_and_its_teams_channel_is_on(name: str) -> None:
    deployed = deployment(name)
    assert deployed.one(BOT)["properties"] == {
        "displayName": deployed.parameters["botDisplayName"],
        "endpoint": f"https://{HOST}/api/messages",
        "msaAppId": CLIENT,
        "msaAppMSIResourceId": "<userAssignedIdentities>",
        "msaAppTenantId": TENANT,
        "msaAppType": "UserAssignedMSI",
    }
    assert (deployed.one(BOT)["kind"], deployed.one(BOT)["sku"]["name"]) == (
        "azurebot",
        deployed.parameters["botServiceSku"],
    )
    channel = deployed.one(f"{BOT}/channels")
    assert channel["name"].endswith("/MsTeamsChannel")
    assert channel["properties"] == {"channelName": "MsTeamsChannel", "properties": {"isEnabled": True}}


@pytest.mark.parametrize("name", NAMES)
def test_telemetry_has_its_limits_and_its_workspace(name: str) -> None:
    deployed = deployment(name)
    workspace = deployed.one("Microsoft.OperationalInsights/workspaces")["properties"]
    limits = (workspace["retentionInDays"], workspace["workspaceCapping"]["dailyQuotaGb"])
    assert limits == tuple(int(deployed.parameters[key]) for key in ("logRetentionDays", "logDailyCapGB"))
    insights = deployed.one("Microsoft.Insights/components")["properties"]
    assert (insights["WorkspaceResourceId"], insights["IngestionMode"]) == ("<workspaces>", "LogAnalytics")


@cache
def triggers() -> dict[str, dict[str, Any]]:
    """The bindings of function_app.py, by the function's name, in a process of its own as it reads settings."""
    script = (
        "import json, function_app; print(json.dumps({each.get_function_name(): each.get_trigger().get_dict_repr() "
        "for each in function_app.app.get_functions()}, default=str))"
    )
    settings = {"DATABRICKS_BASE_URL": "https://w.example/serving-endpoints", "DATABRICKS_MODEL_NAME": "model"}
    environment = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT") if name in os.environ} | settings
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def routes() -> set[str]:
    host = json.loads((ROOT / "host.json").read_text(encoding="utf-8"))
    prefix = host["extensions"]["http"]["routePrefix"]
    return {f"/{prefix}/{each['route']}".replace("//", "/") for each in triggers().values() if each.get("route")}


@pytest.mark.parametrize("name", NAMES)
def test_the_tables_queues_and_containers_that_the_app_opens_are_made_and_no_others(name: str) -> None:
    deployed = deployment(name)
    tables, queues, containers = (
        {each["name"].rpartition("/")[2] for each in deployed.of(f"{STORAGE}/{kind}")}
        for kind in ("tableServices/tables", "queueServices/queues", "blobServices/containers")
    )
    assert tables == {CONVERSATIONS_TABLE, DOCUMENTS_TABLE}
    tools = foundry_queues(deployed)
    own = {TURN_QUEUE, REQUEST_QUEUE} if tools else {TURN_QUEUE}
    sent = {f"{tool}-output" for tool in tools}
    triggered = own | {f"{tool}-input" for tool in tools}
    # The host moves what failed too often to the last: it does not make them without the right to make queues.
    assert queues == triggered | sent | {f"{queue}-poison" for queue in triggered}
    assert all(re.fullmatch(r"(?=.{3,63}$)[a-z0-9]+(-[a-z0-9]+)*", queue) for queue in queues)
    links = deployed.parameters["foundryAnswerLinks"] == "true"
    assert containers == {"packages", ARTIFACTS_CONTAINER} | ({ANSWERS_CONTAINER} if links else set())


def test_tools_of_foundry_and_none_are_both_deployed_here() -> None:
    queues = {name: foundry_queues(deployment(name)) for name in NAMES}
    assert queues.pop("defaults") == set()
    assert {frozenset(each) for each in queues.values()} == {
        frozenset({"azure-function-databricks", "azure-function-diagnose-job"})
    }


def test_the_longest_name_of_a_tool_makes_the_longest_name_of_a_queue() -> None:
    longest = template()["parameters"]["foundryToolName"]["maxLength"]
    assert len(f"azure-function-{'a' * longest}-input-poison") == 63


def test_the_queues_are_listened_to_with_the_connection_that_bicep_sets() -> None:
    queues = [each for each in triggers().values() if each["type"] == "queueTrigger"]
    names = sorted(each["queueName"] for each in queues)
    tools = ("ask", "ask-data", "diagnose-job")
    inputs = [f"azure-function-{tool}-{end}" for tool in tools for end in ("input", "input-poison")]
    named_by_id = [*inputs, f"{REQUEST_QUEUE}-poison"]
    assert names == sorted([TURN_QUEUE, REQUEST_QUEUE, *named_by_id])
    assert {each["connection"] for each in queues} == {"AzureWebJobsStorage"}
    # Else members of a plain message would take the place of its id and times.
    assert {each["dataType"] for each in queues if each["queueName"] in named_by_id} == {"BINARY"}
    assert "AzureWebJobsStorage__queueServiceUri" in deployment(NAMES[0]).app_settings


@pytest.mark.parametrize("name", NAMES)
def test_addresses_lead_to_functions_that_there_are(name: str) -> None:
    deployed = deployment(name)
    addresses = [deployed.one(BOT)["properties"]["endpoint"]]
    addresses += [each["properties"]["Request"]["RequestUrl"] for each in deployed.of("Microsoft.Insights/webtests")]
    outputs = json.loads((ROOT / f"infra/snapshots/{name}.snapshot.json").read_text(encoding="utf-8"))["outputs"]
    addresses.append(outputs["HEALTH_URL"].replace("[format('https://{0}", f"https://{HOST}").partition("',")[0])
    assert len(addresses) == 3
    assert [address for address in addresses if address.removeprefix(f"https://{HOST}") not in routes()] == []


def test_the_outputs_are_what_the_toolkit_and_the_pipeline_read() -> None:
    assert set(template()["outputs"]) == OUTPUTS


@pytest.mark.parametrize("name", NAMES)
def test_names_fit_with_the_longest_suffix(name: str) -> None:
    deployed = deployment(name)
    assert template()["parameters"]["resourceSuffix"]["maxLength"] == 12
    if name != "defaults":
        assert len(deployed.parameters["resourceSuffix"]) == 12
    named = [(each, LONGEST_NAMES[each["type"]]) for each in deployed.resources if each["type"] in LONGEST_NAMES]
    assert [each["name"] for each, longest in named if len(each["name"]) > longest] == []


@pytest.mark.parametrize("name", [name for name in NAMES if name != "defaults"])
def test_every_resource_is_in_the_region_and_has_the_tags(name: str) -> None:
    for each in deployment(name).resources:
        if each["type"] not in NOT_TAGGED and not each["type"].startswith(f"{STORAGE}/"):
            assert each["tags"]["owner"] == "data", each["type"]
        if "location" in each:
            assert each["location"] == ("global" if each["type"] in GLOBAL else "westeurope"), each["type"]


def test_the_api_versions_are_stable() -> None:
    versions = {each["type"]: each["apiVersion"] for name in NAMES for each in deployment(name).resources}
    # Azure has never given it another.
    assert {kind for kind, version in versions.items() if "preview" in version} == {
        "Microsoft.Insights/diagnosticSettings"
    }


@pytest.mark.parametrize("name", NAMES)
def test_no_build_is_deleted_by_a_rule(name: str) -> None:
    """Only what agent.zip was before it was replaced, and each of those is kept as a build too."""
    packages, *_ = deployment(name).one(f"{STORAGE}/managementPolicies")["properties"]["policy"]["rules"]
    assert packages["definition"] == {
        "filters": {"blobTypes": ["blockBlob"], "prefixMatch": [f"packages/{CURRENT}"]},
        "actions": {"version": {"delete": {"daysAfterCreationGreaterThan": 30}}},
    }


@pytest.mark.parametrize("name", NAMES)
def test_a_deleted_artifact_does_not_stay_as_an_earlier_version(name: str) -> None:
    _, artifacts, _ = deployment(name).one(f"{STORAGE}/managementPolicies")["properties"]["policy"]["rules"]
    assert artifacts["enabled"]
    assert artifacts["definition"] == {
        "filters": {"blobTypes": ["blockBlob"], "prefixMatch": [f"{ARTIFACTS_CONTAINER}/"]},
        "actions": {"version": {"delete": {"daysAfterCreationGreaterThan": 0}}},
    }


def test_environments_share_no_account_identity_or_app() -> None:
    """Each has a suffix of its own, and so its own queues, which are in its account."""
    kinds = set(LONGEST_NAMES) | {"Microsoft.Insights/components"}
    one, other = (
        {each["name"] for each in deployment(name).resources if each["type"] in kinds}
        for name in ("defaults", "flex-managed-identity")
    )
    assert len(one) >= 6
    assert one & other == set()


@pytest.mark.parametrize("name", NAMES)
def test_an_answer_behind_a_link_that_has_ended_is_deleted_within_days(name: str) -> None:
    *_, answers = deployment(name).one(f"{STORAGE}/managementPolicies")["properties"]["policy"]["rules"]
    assert answers["enabled"]
    assert answers["definition"] == {
        "filters": {"blobTypes": ["blockBlob"], "prefixMatch": [f"{ANSWERS_CONTAINER}/"]},
        "actions": {
            "baseBlob": {"delete": {"daysAfterModificationGreaterThan": 1}},
            "version": {"delete": {"daysAfterCreationGreaterThan": 0}},
        },
    }


@pytest.mark.parametrize("name", NAMES)
def test_storage_has_the_redundancy_that_is_chosen_and_none_across_regions(name: str) -> None:
    deployed = deployment(name)
    assert deployed.one(STORAGE)["sku"]["name"] == deployed.parameters["storageSku"]
    assert template()["parameters"]["storageSku"]["allowedValues"] == ["Standard_LRS", "Standard_ZRS"]


def test_two_changes_of_one_site_at_a_time_are_refused_so_the_policies_wait() -> None:
    resources = modules()["functionApp"]["properties"]["template"]["resources"]
    (kudu,) = [each for each in resources if "'scm'" in each["name"]]
    assert any("'ftp'" in each for each in kudu["dependsOn"])


def test_every_parameter_is_described_and_bounded() -> None:
    unbounded = []
    for name, each in template()["parameters"].items():
        assert each["metadata"]["description"], name
        bounds = {"int": {"minValue", "maxValue"}, "string": {"maxLength"}}.get(each["type"], set())
        if name != "location" and "allowedValues" not in each and not bounds <= set(each):
            unbounded.append(name)
    assert unbounded == []


def test_every_bicep_file_is_compiled_with_the_others() -> None:
    main = (ROOT / "infra/azure.bicep").read_text(encoding="utf-8")
    files = {file.relative_to(ROOT / "infra").as_posix() for file in (ROOT / "infra").rglob("*.bicep")}
    assert {file for file in files if f"'{file}'" not in main} == {"azure.bicep"}


def test_every_number_and_choice_of_a_module_can_be_set() -> None:
    """A parameter that has a default there and is not given could only be changed by editing the module."""
    for name, module in modules().items():
        properties = module["properties"]
        left = set(properties["template"]["parameters"]) - set(properties["parameters"])
        containers = {"packageContainerName", "artifactContainerName", "answerContainerName"}
        assert left <= containers | {"tableNames", "queueNames", "foundryRequestQueueNames"}, name


def test_the_linter_stops_a_deployment() -> None:
    core = json.loads((ROOT / "infra/bicepconfig.json").read_text(encoding="utf-8"))["analyzers"]["core"]
    levels = {name: rule["level"] for name, rule in core["rules"].items()}
    assert core["enabled"]
    # It would turn red by itself, as time goes by.
    assert levels.pop("use-recent-api-versions") == "info"
    assert set(levels.values()) == {"error"}
    assert len(levels) >= 31
