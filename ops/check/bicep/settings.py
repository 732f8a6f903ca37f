"""The Function App's application settings: known to the app or to Azure, complete, and right for their plan."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from pydantic import SecretStr, ValidationError
from pydantic.fields import FieldInfo
from tree_sitter import Node

from app.config import Settings, setting_names
from ops.check.bicep.plans import PLANS
from ops.check.bicep.source import Declaration, arguments, entries, function_name, inner, line, parts, said
from ops.check.bicep.values import UNKNOWN, Placed, Scope, members, scopes
from ops.check.problem import Problem

# https://learn.microsoft.com/azure/azure-functions/functions-app-settings
_PLATFORM = {
    "APPLICATIONINSIGHTS_AUTHENTICATION_STRING",
    "APPLICATIONINSIGHTS_CONNECTION_STRING",
    "AZURE_CLIENT_ID",
    "AzureWebJobsStorage__blobServiceUri",
    "AzureWebJobsStorage__clientId",
    "AzureWebJobsStorage__credential",
    "AzureWebJobsStorage__queueServiceUri",
    "AzureWebJobsStorage__tableServiceUri",
    "FUNCTIONS_EXTENSION_VERSION",
    "FUNCTIONS_REQUEST_BODY_SIZE_LIMIT",
    "FUNCTIONS_WORKER_PROCESS_COUNT",
    "FUNCTIONS_WORKER_RUNTIME",
    "PYTHON_ISOLATE_WORKER_DEPENDENCIES",
    "PYTHON_THREADPOOL_THREAD_COUNT",
    "WEBSITE_RUN_FROM_PACKAGE",
    "WEBSITE_RUN_FROM_PACKAGE_BLOB_MI_RESOURCE_ID",
}
_NEEDED_BY_BOTH = {
    *("MicrosoftAppId", "MicrosoftAppType", "MicrosoftAppTenantId"),
    *("APPLICATIONINSIGHTS_CONNECTION_STRING", "APPLICATIONINSIGHTS_AUTHENTICATION_STRING"),
    *("AzureWebJobsStorage__credential", "AzureWebJobsStorage__clientId", "AzureWebJobsStorage__blobServiceUri"),
    *("AzureWebJobsStorage__queueServiceUri", "AzureWebJobsStorage__tableServiceUri"),
    "FUNCTIONS_REQUEST_BODY_SIZE_LIMIT",
}
_NEEDED = {
    "consumption": {
        *("FUNCTIONS_EXTENSION_VERSION", "FUNCTIONS_WORKER_RUNTIME"),
        *("WEBSITE_RUN_FROM_PACKAGE", "WEBSITE_RUN_FROM_PACKAGE_BLOB_MI_RESOURCE_ID"),
    },
    "flex": set(),
}
# https://learn.microsoft.com/azure/azure-functions/functions-app-settings#flex-consumption-plan-deprecations
_NOT_ON_FLEX = re.compile(
    r"WEBSITES?_.*|FUNCTIONS_(EXTENSION_VERSION|WORKER_RUNTIME.*)|SCM_DO_BUILD.*|ENABLE_ORYX_BUILD|TZ"
)
# Without a storage key nothing may ask for one.
_NEVER = re.compile(
    r"AzureWebJobsStorage|WEBSITE_CONTENT(AZUREFILECONNECTIONSTRING|SHARE)|APPINSIGHTS_INSTRUMENTATIONKEY"
)
# With local authentication off, only an identity with a role may write there.
_OPENS_NOTHING = {"APPLICATIONINSIGHTS_CONNECTION_STRING"}
# It says where blobs, queues and tables are, in the public cloud, to whoever derives their addresses.
_NOT_READ = "AzureWebJobsStorage__accountName"
# The app's settings for a developer's machine, or for a bot that is registered by hand.
_NOT_FROM_BICEP = {"AzureWebJobsStorage", "DATABRICKS_CONFIG_PROFILE", "DATA_DIR", "MicrosoftAppPassword"}
_REFERENCE = re.compile(r"@Microsoft\.KeyVault\(VaultName=[^;@]+;SecretName=([\w-]+)\)")


def check_settings(root: Path) -> list[Problem]:
    return [problem for plan in PLANS for problem in _on_plan(plan, scopes(root, {"hostingPlan": plan}))]


def _on_plan(plan: str, deployed: list[Scope]) -> Iterator[Problem]:
    kept = {name for scope in deployed for name in _secret_names(scope)}
    for scope in deployed:
        for site in scope.file.resources("Microsoft.Web/sites"):
            found = dict(written_settings(scope, site))
            if not found:
                yield scope.file.problem(f"{site.name} has no application settings on the {plan} plan", site.node)
                continue
            for name, values in found.items():
                for key, value in values:
                    yield from _of_setting(plan, name, key, value, kept)
            missing = sorted((_required() | _NEEDED_BY_BOTH | _NEEDED[plan]) - set(found))
            if missing:
                yield scope.file.problem(f"on the {plan} plan {site.name} lacks {', '.join(missing)}", site.node)
            for name in sorted(set(setting_names()) - _NOT_FROM_BICEP - set(found) - set(missing)):
                sentence = f"nothing writes {name}: the next provision would take away what somebody has set"
                yield scope.file.problem(sentence, site.node)


def _required() -> set[str]:
    return {str(field.validation_alias) for field in _fields() if field.is_required()}


def written_settings(scope: Scope, site: Declaration) -> Iterator[tuple[str, list[tuple[Node, Placed]]]]:
    """From `siteConfig.appSettings`, an array or a loop over `items(...)`, and from a resource `config/appsettings`."""
    body = site.body
    for place in Placed(scope, body).at("properties", "siteConfig", "appSettings") if body is not None else ():
        if place.node.type == "for_statement":
            looped = parts(place.node)[1]
            if looped.type == "call_expression" and function_name(looped) == "items":
                yield from members(Placed(place.scope, arguments(looped)[0])).items()
        for item in parts(place.node) if place.node.type == "array" else ():
            both = entries(item) if item.type == "object" else {}
            if {"name", "value"} <= set(both):
                yield inner(both["name"][1]), [(both["name"][1], Placed(place.scope, both["value"][1]))]
    for config in scope.file.resources("Microsoft.Web/sites/config"):
        for properties in Placed(scope, config.body).at("properties") if config.body is not None else ():
            yield from members(properties).items()


def _of_setting(plan: str, name: str, key: Node, value: Placed, kept: set[str]) -> Iterator[Problem]:
    file = value.scope.file

    def problem(sentence: str) -> Problem:
        return Problem(file.name, line(key), sentence)

    if _NEVER.fullmatch(name):
        yield problem(f"{name} holds a key; there is none here, everything works by identity")
    elif name == _NOT_READ:
        yield problem(f"{name} is the host's alone: the app reads tableServiceUri and queueServiceUri")
    elif name not in setting_names() and name not in _PLATFORM:
        yield problem(f"{name} is neither a setting of app/config.py nor one of Azure's")
    if plan == "flex" and _NOT_ON_FLEX.fullmatch(name):
        yield problem(f"{name} does not belong on Flex Consumption: functionAppConfig says it there")
    if _is_secret(name):
        reference = _REFERENCE.fullmatch(value.text)
        if reference is None:
            yield problem(f"{name} is a secret and must be a reference to the Key Vault")
        elif reference[1] not in kept:
            yield problem(f"{name} refers to the secret {reference[1]}, which no Key Vault here keeps")
        return
    for said_value, node, place in _possible(value):
        if name in setting_names() and (wrong := _refused(name, said_value)):
            yield place.scope.file.problem(f"{name} cannot be {said_value!r}: {wrong}", node)


def _possible(value: Placed) -> Iterator[tuple[str, Node, Placed]]:
    """The literals that it may be: its own, or those that its parameter allows."""
    for branch in value.branches():
        if branch.value is not UNKNOWN:
            yield str(branch.value), branch.node, branch
        elif branch.node.type == "identifier":
            param = branch.scope.file.of("param").get(said(branch.node))
            for allowed in param.decorators.get("allowed", ()) if param is not None else ():
                for choice in parts(allowed):
                    yield inner(choice) if choice.type == "string" else said(choice), choice, branch


def _refused(name: str, value: str) -> str:
    for section in Settings.sections().values():
        try:
            section.model_validate({name: value})
        except ValidationError as error:
            for detail in error.errors():
                if detail["loc"][:1] == (name,):
                    return str(detail["msg"])
    return ""


def _is_secret(name: str) -> bool:
    return name not in _OPENS_NOTHING and any(
        field.validation_alias == name and SecretStr in getattr(field.annotation, "__args__", ()) for field in _fields()
    )


def _fields() -> Iterator[FieldInfo]:
    for section in Settings.sections().values():
        yield from section.model_fields.values()


def _secret_names(scope: Scope) -> Iterator[str]:
    for secret in scope.file.resources("Microsoft.KeyVault/vaults/secrets"):
        for name in Placed(scope, secret.body).at("name") if secret.body is not None else ():
            yield name.text
