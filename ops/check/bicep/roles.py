"""Role assignments: ids are what their comments say, no role is wider than needed, none holds on everything."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from ops.check.bicep.source import BicepFile, entries, inner, line, said, walk
from ops.check.problem import Problem

ASSIGNMENT = "Microsoft.Authorization/roleAssignments"

# https://learn.microsoft.com/azure/role-based-access-control/built-in-roles
BUILT_IN_ROLES: Mapping[str, str] = {
    "b7e6dc6d-f1e8-4753-8033-0f276bb0955b": "Storage Blob Data Owner",
    "ba92f5b4-2d11-453d-a403-e96b0029c9fe": "Storage Blob Data Contributor",
    "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1": "Storage Blob Data Reader",
    "974c5e8b-45b9-4653-ba55-5f855dd0fb88": "Storage Queue Data Contributor",
    "8a0f0c08-91a1-4084-bc3d-661d67233fed": "Storage Queue Data Message Processor",
    "c6a89b2d-59bc-44d0-9896-0f6e12d7b80a": "Storage Queue Data Message Sender",
    "19e7f393-937e-4f77-808e-94535e297925": "Storage Queue Data Reader",
    "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3": "Storage Table Data Contributor",
    "76199698-9eea-4c19-bc75-cec21354c6b6": "Storage Table Data Reader",
    "4633458b-17de-408a-b874-0445c86b69e6": "Key Vault Secrets User",
    "3913510d-42f4-4e42-8a64-420c390055eb": "Monitoring Metrics Publisher",
    "acdd72a7-3385-48ef-bd42-f606fba81ae7": "Reader",
    "8e3af657-a8ff-443c-a75c-2fe8c4bcb635": "Owner",
    "b24988ac-6180-42a0-ab88-20f7382dd24c": "Contributor",
    "18d7d88d-d35e-4fb5-a5c3-7773c20a72d9": "User Access Administrator",
}
_TOO_MUCH = {"Owner", "Contributor", "User Access Administrator"}
_GUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def check_roles(files: Mapping[str, BicepFile]) -> list[Problem]:
    return [problem for file in files.values() for problem in (*_ids(file), *_assignments(file))]


def _ids(file: BicepFile) -> Iterator[Problem]:
    comments = {line(node): said(node).lstrip("/ ").strip() for node in walk(file.root) if node.type == "comment"}
    for node in walk(file.root):
        if node.type != "string" or not _GUID.fullmatch(inner(node)):
            continue
        role = BUILT_IN_ROLES.get(inner(node).lower())
        comment = comments.get(line(node), "")
        if role is None:
            yield file.problem(f"{inner(node)} is none of the roles that ops/check/bicep/roles.py knows", node)
        elif comment != role:
            called = f"not {comment}" if comment else "and a comment on its line must say so"
            yield file.problem(f"{inner(node)} is the role {role}, {called}", node)
        elif role in _TOO_MUCH:
            yield file.problem(f"the role {role} is more than anything here needs", node)


def _assignments(file: BicepFile) -> Iterator[Problem]:
    for assignment in file.resources(ASSIGNMENT):
        keys = entries(assignment.body) if assignment.body is not None else {}
        if "scope" not in keys:
            yield file.problem(
                f"{assignment.name} has no scope: the role would hold on everything here", assignment.node
            )
        name = keys.get("name")
        if name and not said(name[1]).startswith("guid("):
            yield file.problem(
                f"the name of {assignment.name} must be a guid(...) of scope, principal and role", name[0]
            )
