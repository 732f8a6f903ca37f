"""What must be closed is closed, and secrets flow into a Key Vault and nowhere else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tree_sitter import Node

from ops.check.bicep.source import BicepFile, Declaration, function_name, parts, said, walk
from ops.check.bicep.values import UNKNOWN, Placed, Scope, module_path
from ops.check.problem import Problem

_SITE, _STORAGE, _VAULT = "Microsoft.Web/sites", "Microsoft.Storage/storageAccounts", "Microsoft.KeyVault/vaults"
_PASSWORDS = "Microsoft.Web/sites/basicPublishingCredentialsPolicies"
_SECRET = "Microsoft.KeyVault/vaults/secrets"

Closed = tuple[str, tuple[str, ...], tuple[Any, ...]]
"""A resource type, a path, and what may stand there."""

_CLOSED: tuple[Closed, ...] = (
    (_SITE, ("properties", "httpsOnly"), (True,)),
    (_SITE, ("properties", "siteConfig", "minTlsVersion"), ("1.2", "1.3")),
    (_STORAGE, ("properties", "allowBlobPublicAccess"), (False,)),
    (_STORAGE, ("properties", "allowSharedKeyAccess"), (False,)),
    (_STORAGE, ("properties", "minimumTlsVersion"), ("TLS1_2", "TLS1_3")),
    (_STORAGE, ("properties", "supportsHttpsTrafficOnly"), (True,)),
    (_VAULT, ("properties", "enableRbacAuthorization"), (True,)),
    (_VAULT, ("properties", "enableSoftDelete"), (True,)),
    (_VAULT, ("properties", "enablePurgeProtection"), (True,)),
    ("Microsoft.Insights/components", ("properties", "DisableLocalAuth"), (True,)),
    (_PASSWORDS, ("properties", "allow"), (False,)),
)
# Flex has no FTP, and refuses to be told so.
_CLOSED_ON_CONSUMPTION: tuple[Closed, ...] = (
    (_SITE, ("properties", "siteConfig", "scmMinTlsVersion"), ("1.2", "1.3")),
    (_SITE, ("properties", "siteConfig", "ftpsState"), ("Disabled",)),
)
_KEYS = {"listKeys", "listAccountSas", "listServiceSas"}


def check_closed(plan: str, scopes: Iterable[Scope]) -> list[Problem]:
    closed = _CLOSED if plan == "flex" else (*_CLOSED, *_CLOSED_ON_CONSUMPTION)
    return [problem for scope in scopes for problem in (*_open(scope, closed), *_passwords(scope))]


def check_secrets(files: Mapping[str, BicepFile]) -> list[Problem]:
    return [problem for file in files.values() for problem in (*_flows(file, files), *_keys(file))]


def _open(scope: Scope, closed: Iterable[Closed]) -> Iterator[Problem]:
    for resource_type, path, wanted in closed:
        name = path[-1]
        should = " or ".join(str(value).lower() if isinstance(value, bool) else f"'{value}'" for value in wanted)
        for resource in scope.file.resources(resource_type):
            if resource.body is None:
                continue
            found = Placed(scope, resource.body).at(*path)
            if not found:
                yield scope.file.problem(f"{resource.name} must set {name}: {should}", resource.node)
            for place in found:
                if place.value is UNKNOWN or place.value not in wanted:
                    yield place.scope.file.problem(f"{name} of {resource.name} must be {should}", place.node)


def _passwords(scope: Scope) -> Iterator[Problem]:
    for site in scope.file.resources(_SITE):
        forbidden = {
            name.value
            for policy in scope.file.resources(_PASSWORDS)
            if policy.body is not None
            for name in Placed(scope, policy.body).at("name")
        }
        for name in sorted({"ftp", "scm"} - forbidden):
            yield scope.file.problem(f"{site.name} lets a password deploy: the policy '{name}' is missing", site.node)


def _flows(file: BicepFile, files: Mapping[str, BicepFile]) -> Iterator[Problem]:
    secure = {name for name, param in file.of("param").items() if "secure" in param.decorators}
    for name in secure:
        default = file.of("param")[name].value
        if default is not None and said(default) not in {"''", "newGuid()"}:
            yield file.problem(f"the secret {name} has a default that everybody can read", default)
    for declared in file.declarations:
        for node in walk(declared.value) if declared.value is not None else ():
            if node.type == "identifier" and said(node) in secure and not _may_stand(node, declared, file, files):
                yield file.problem(f"the secret {said(node)} leaves the Key Vault here", node)


def _may_stand(node: Node, declared: Declaration, file: BicepFile, files: Mapping[str, BicepFile]) -> bool:
    around = node.parent
    call = around.parent if around is not None and around.type == "arguments" else None
    if call is not None and function_name(call) == "empty":
        return True
    if around is None or around.type != "object_property":
        return False
    key = said(parts(around)[0])
    if key == said(node) and parts(around)[1] != node:
        return True
    if declared.kind == "resource":
        return declared.resource_type == _SECRET and key == "value"
    other = files.get(module_path(file, declared) or "") if declared.kind == "module" else None
    wanted = other.of("param").get(key) if other is not None else None
    return wanted is not None and "secure" in wanted.decorators


def _keys(file: BicepFile) -> Iterator[Problem]:
    for node in walk(file.root):
        if node.type == "call_expression" and function_name(node) in _KEYS:
            yield file.problem(f"{function_name(node)} takes a key; everything here works by identity", node)
