"""Application settings and secrets as a person gets them wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.ops.test_bicep import APP, MAIN, ROOT, STORAGE, VAULT, Mistake, assert_reported

BROKEN: dict[str, Mistake] = {
    "a setting that the app does not know": (
        MAIN,
        "    BOT_CLOUD: botCloud",
        "    BOT_CLUOD: botCloud",
        "BOT_CLUOD",
        "BOT_CLUOD is neither a setting of app/config.py nor one of Azure's",
    ),
    "storage by its name, which the host alone reads": (
        APP,
        "  AzureWebJobsStorage__clientId: identityClientId",
        "  AzureWebJobsStorage__accountName: identityClientId\n  AzureWebJobsStorage__clientId: identityClientId",
        "AzureWebJobsStorage__accountName",
        "AzureWebJobsStorage__accountName is the host's alone: the app reads tableServiceUri and queueServiceUri",
    ),
    "a setting that the app needs": (
        MAIN,
        "    DATABRICKS_MODEL_NAME: databricksModelName\n",
        "    SYSTEM_PROMPT: databricksModelName\n",
        "",
        "on the consumption plan site lacks DATABRICKS_MODEL_NAME",
    ),
    "a setting that provision would take away": (
        MAIN,
        "string(turnTimeoutSeconds)\n    TURN_LEASE_SECONDS: string(turnLeaseSeconds)\n",
        "string(turnTimeoutSeconds + turnLeaseSeconds)\n",
        "",
        "nothing writes TURN_LEASE_SECONDS: the next provision would take away what somebody has set",
    ),
    "a value that the app refuses": (
        MAIN,
        "'azure-managed-identity'",
        "'managed'\n    MicrosoftAppType: 'ManagedIdentity'",
        "'ManagedIdentity'",
        "MicrosoftAppType cannot be 'ManagedIdentity'",
    ),
    "an allowed value that the app refuses": (
        MAIN,
        "@allowed(['public', 'gcc-high', 'dod'])",
        "@allowed(['public', 'gcc', 'dod'])",
        "['public', 'gcc', 'dod']",
        "BOT_CLOUD cannot be 'gcc'",
    ),
    "bodies that only the agent would refuse": (
        APP,
        "  FUNCTIONS_REQUEST_BODY_SIZE_LIMIT: '262144'\n",
        "",
        "resource site ",
        "on the consumption plan site lacks FUNCTIONS_REQUEST_BODY_SIZE_LIMIT",
    ),
    "Consumption without the package's address": (
        APP,
        "  WEBSITE_RUN_FROM_PACKAGE_BLOB_MI_RESOURCE_ID: identityId\n",
        "",
        "resource site ",
        "on the consumption plan site lacks WEBSITE_RUN_FROM_PACKAGE_BLOB_MI_RESOURCE_ID",
    ),
    "Flex with settings of Consumption": (
        APP,
        "isFlex ? {} : consumptionSettings",
        "consumptionSettings",
        "WEBSITE_RUN_FROM_PACKAGE:",
        "WEBSITE_RUN_FROM_PACKAGE does not belong on Flex Consumption",
    ),
    "Flex with FTP": (
        APP,
        "    minTlsVersion: '1.2'",
        "    ftpsState: 'Disabled'\n    minTlsVersion: '1.2'",
        "ftpsState",
        "Flex Consumption refuses ftpsState in siteConfig",
    ),
    "Consumption with what is Flex's": (
        APP,
        "functionAppConfig: isFlex ? flexConfig : null",
        "functionAppConfig: flexConfig",
        "resource site ",
        "functionAppConfig of site is for Flex Consumption alone",
    ),
    "Flex without its runtime": (
        APP,
        "functionAppConfig: isFlex ? flexConfig : null",
        "functionAppConfig: isFlex ? null : flexConfig",
        "resource site ",
        "on the flex plan site lacks functionAppConfig",
    ),
    "Consumption without its runtime": (
        APP,
        "        linuxFxVersion: 'Python|${pythonVersion}'\n",
        "        appCommandLine: pythonVersion\n",
        "resource site ",
        "on the consumption plan site lacks linuxFxVersion in siteConfig",
    ),
    "a storage key": (
        APP,
        "  FUNCTIONS_WORKER_RUNTIME: 'python'",
        "  AzureWebJobsStorage: 'DefaultEndpointsProtocol=https'\n  FUNCTIONS_WORKER_RUNTIME: 'python'",
        "AzureWebJobsStorage: ",
        "AzureWebJobsStorage holds a key",
    ),
    "a secret as a plain setting": (
        MAIN,
        "{ DATABRICKS_TOKEN: '@Microsoft.KeyVault(VaultName=${keyVaultName};SecretName=databricks-token)' }",
        "{ DATABRICKS_TOKEN: databricksToken }",
        "{ DATABRICKS_TOKEN:",
        "DATABRICKS_TOKEN is a secret and must be a reference to the Key Vault",
    ),
    "a reference to a secret that is not kept": (
        MAIN,
        "SecretName=databricks-token)",
        "SecretName=databrick-token)",
        "{ DATABRICKS_TOKEN:",
        "DATABRICKS_TOKEN refers to the secret databrick-token, which no Key Vault here keeps",
    ),
    "a secret as an output": (
        MAIN,
        "output BOT_ID string = identity.properties.clientId",
        "output BOT_ID string = databricksToken",
        "output BOT_ID",
        "the secret databricksToken leaves the Key Vault here",
    ),
    "a secret to a parameter that is none": (
        VAULT,
        "@description('A personal access token.')\n@secure()\n",
        "@description('A personal access token.')\n",
        "",
        "the secret databricksToken leaves the Key Vault here",
    ),
    "a secret with a default": (
        MAIN,
        "param databricksToken string = ''",
        "param databricksToken string = 'dapi123'",
        "'dapi123'",
        "the secret databricksToken has a default that everybody can read",
    ),
    "a key that is read": (
        STORAGE,
        "output name string = account.name",
        "output name string = account.listKeys().keys[0].value",
        "output name",
        "listKeys takes a key",
    ),
}


@pytest.mark.parametrize("mistake", BROKEN)
def test_a_wrong_setting_is_reported_where_it_is_written(tmp_path: Path, mistake: str) -> None:
    assert_reported(tmp_path, BROKEN[mistake])


def test_the_host_takes_no_longer_body_than_the_agent() -> None:
    from app.bot.inbound.activity import MAX_MESSAGE_BYTES

    assert f"FUNCTIONS_REQUEST_BODY_SIZE_LIMIT: '{MAX_MESSAGE_BYTES}'" in (ROOT / APP).read_text(encoding="utf-8")


def test_the_package_is_read_from_where_deploy_puts_it() -> None:
    from ops.deploy.builds import CURRENT

    assert f"${{packageContainerName}}/{CURRENT}'" in (ROOT / APP).read_text(encoding="utf-8")
