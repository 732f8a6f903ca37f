"""What is wrong with settings that only make sense together, a line each."""

from __future__ import annotations

from collections.abc import Mapping


def problems_among(given: Mapping[str, str], *, in_azure: bool) -> list[str]:
    return [
        *_unresolved_problems(given),
        *_bot_problems(given, in_azure=in_azure),
        *_service_principal_problems(given),
        *_storage_problems(given, in_azure=in_azure),
    ]


def _unresolved_problems(given: Mapping[str, str]) -> list[str]:
    # What Azure leaves in place of a secret it could not read.
    # https://learn.microsoft.com/azure/app-service/app-service-key-vault-references
    return [
        f"{name}: its Key Vault reference is not resolved; the app's identity needs the role Key Vault Secrets User"
        for name, value in given.items()
        if value.startswith("@Microsoft.KeyVault(")
    ]


def _bot_problems(given: Mapping[str, str], *, in_azure: bool) -> list[str]:
    if "MicrosoftAppId" not in given:
        return ["MicrosoftAppId: missing; in Azure the bot never runs without its id"] if in_azure else []
    app_type = given.get("MicrosoftAppType", "UserAssignedMSI")
    problems = []
    if app_type in {"UserAssignedMSI", "SingleTenant"} and "MicrosoftAppTenantId" not in given:
        problems.append(f"MicrosoftAppTenantId: missing; {app_type} needs the tenant's id")
    if app_type in {"SingleTenant", "MultiTenant"} and "MicrosoftAppPassword" not in given:
        problems.append(f"MicrosoftAppPassword: missing; {app_type} needs the bot's client secret")
    return problems


def _service_principal_problems(given: Mapping[str, str]) -> list[str]:
    pair = ("DATABRICKS_CLIENT_ID", "DATABRICKS_CLIENT_SECRET")
    if given.get("DATABRICKS_AUTH_TYPE") == "azure-managed-identity" and pair[1] not in given:
        # A client id alone then names another identity than the bot's own.
        return []
    missing = [name for name in pair if name not in given]
    return [f"{missing[0]}: missing; a service principal has both an id and a secret"] if len(missing) == 1 else []


def _storage_problems(given: Mapping[str, str], *, in_azure: bool) -> list[str]:
    if "AzureWebJobsStorage" in given:
        return []
    pair = ("AzureWebJobsStorage__tableServiceUri", "AzureWebJobsStorage__queueServiceUri")
    missing = [name for name in pair if name not in given]
    if len(missing) == 2 and in_azure:
        # Each instance would keep conversations of its own, and lose them with itself.
        return [
            f"{pair[0]}: missing, and {pair[1]} too; in Azure conversations are in the storage account that "
            "these two name, or a connection string in AzureWebJobsStorage; __accountName alone is not enough"
        ]
    return [f"{missing[0]}: missing; tables and queues are of one storage account"] if len(missing) == 1 else []
