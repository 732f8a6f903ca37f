"""Who may do what on which resource: exactly what the agent and its deployment need."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from tree_sitter import Node

from ops.check.bicep.origins import origin
from ops.check.bicep.roles import ASSIGNMENT, BUILT_IN_ROLES
from ops.check.bicep.source import Declaration
from ops.check.bicep.values import Placed, Scope, members
from ops.check.problem import Problem


class Grant(NamedTuple):
    """`scope` and `principal` as `origin` writes them; an empty `kind`: Azure finds out what the principal is."""

    role: str
    scope: str
    principal: str
    kind: str


_AGENT, _DEPLOYER = "userAssignedIdentities.properties.principalId", "deployer().objectId"
_APP = "'ServicePrincipal'"

NEEDED = (
    Grant("Storage Blob Data Owner", "storageAccounts", _AGENT, _APP),
    Grant("Storage Table Data Contributor", "storageAccounts", _AGENT, _APP),
    Grant("Storage Queue Data Contributor", "queues", _AGENT, _APP),
    # A person provisions, or a pipeline.
    Grant("Storage Blob Data Contributor", "containers", _DEPLOYER, ""),
    Grant("Key Vault Secrets User", "vaults", _AGENT, _APP),
    Grant("Monitoring Metrics Publisher", "components", _AGENT, _APP),
)
_PATHS = (
    ("properties", "roleDefinitionId"),
    ("scope",),
    ("properties", "principalId"),
    ("properties", "principalType"),
)
_ROLE = re.compile(r"subscriptionResourceId\('Microsoft\.Authorization/roleDefinitions', '([0-9a-f-]{36})'\)")


def check_grants(scopes: Iterable[Scope]) -> list[Problem]:
    deployed = list(scopes)
    found: list[Problem] = []
    given: set[Grant] = set()
    for scope in deployed:
        for assignment in scope.file.resources(ASSIGNMENT):
            grant, places = _read(scope, assignment)
            given.add(grant)
            found += _wrong(scope, assignment, grant, places)
    return [*found, *_missing(deployed, given)]


def _read(scope: Scope, assignment: Declaration) -> tuple[Grant, list[Node]]:
    """What it gives, and where each part of that is written."""
    written, places = [], []
    for path in _PATHS:
        key, value = _at(scope, assignment, path)
        written.append(origin(value) if value is not None else "")
        places.append(key if key is not None else assignment.node)
    role = _ROLE.fullmatch(written[0])
    return Grant(BUILT_IN_ROLES.get(role[1], "") if role else "", *written[1:]), places


def _at(scope: Scope, assignment: Declaration, path: tuple[str, ...]) -> tuple[Node | None, Placed | None]:
    key: Node | None = None
    value = Placed(scope, assignment.body) if assignment.body is not None else None
    for name in path:
        found = members(value).get(name) if value is not None else None
        key, value = found[0] if found else (None, None)
    return key, value


def _wrong(scope: Scope, assignment: Declaration, grant: Grant, places: list[Node]) -> Iterator[Problem]:
    if grant in NEEDED:
        return
    if not grant.role:
        definition = "subscriptionResourceId('Microsoft.Authorization/roleDefinitions', <a role's id>)"
        yield scope.file.problem(f"roleDefinitionId of {assignment.name} must be {definition}", places[0])
        return
    wanted = max(
        (need for need in NEEDED if need.role == grant.role), key=lambda need: _alike(need, grant), default=None
    )
    if wanted is None:
        yield scope.file.problem(f"{assignment.name}: nothing here needs the role {grant.role}", places[0])
        return
    for part, (is_there, must_be) in enumerate(zip(grant, wanted, strict=True)):
        if is_there != must_be:
            what = ("role", "scope", "principalId", "principalType")[part]
            sentence = f"{what} of {assignment.name} ({grant.role}) is {is_there or 'missing'}, and must be"
            yield scope.file.problem(f"{sentence} {must_be or 'left out'}", places[part])


def _alike(one: Grant, other: Grant) -> int:
    return sum(left == right for left, right in zip(one, other, strict=True))


def _missing(deployed: list[Scope], given: set[Grant]) -> Iterator[Problem]:
    for need in NEEDED:
        if need in given:
            continue
        for scope in deployed:
            for resource in scope.file.of("resource").values():
                if resource.resource_type.rpartition("/")[2] == need.scope and not resource.is_existing:
                    sentence = f"nothing gives {need.principal} the role {need.role} on {resource.name}"
                    yield scope.file.problem(sentence, resource.node)
