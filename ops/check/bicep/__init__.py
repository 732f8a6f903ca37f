"""Proves infra/ without the Bicep compiler: by the grammar, and by what goes wrong in practice."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from ops.check.bicep.bounds import check_bounds
from ops.check.bicep.diagnostics import check_diagnostics
from ops.check.bicep.grants import check_grants
from ops.check.bicep.limits import check_defaults
from ops.check.bicep.linter import check_linter
from ops.check.bicep.parameters import check_parameters
from ops.check.bicep.plans import PLANS, check_plan
from ops.check.bicep.queries import check_queries
from ops.check.bicep.resource_types import check_types
from ops.check.bicep.resources import check_addresses, check_versions, check_wanted
from ops.check.bicep.roles import check_roles
from ops.check.bicep.security import check_closed, check_secrets
from ops.check.bicep.settings import check_settings
from ops.check.bicep.source import BicepFile, read
from ops.check.bicep.stored import check_stored
from ops.check.bicep.symbols import check_symbols
from ops.check.bicep.syntax import check_syntax
from ops.check.bicep.values import MAIN, scopes
from ops.check.bicep.wiring import CREDENTIALS, check_wiring
from ops.check.problem import Problem

FOLDER = "infra"


def check_bicep(root: Path, today: date) -> list[Problem]:
    """What cannot be read, or names what does not exist, is reported alone: the rest would only be confused by it."""
    files, found = _read_all(root)
    for file in files.values():
        found += check_syntax(file)
    if not found:
        found = check_symbols(root, files)
    if found:
        return found
    found = [
        *check_versions(files, today),
        *check_roles(files),
        *check_secrets(files),
        *check_settings(root),
        *check_parameters(root, files[MAIN]),
        *check_bounds(files),
        *check_defaults(files),
        *check_queries(root, files),
        *check_linter(root),
    ]
    for plan in PLANS:
        deployed = scopes(root, {"hostingPlan": plan})
        found += [*check_plan(plan, deployed), *check_closed(plan, deployed)]
        found += [*check_wanted(deployed), *check_addresses(root, deployed), *check_stored(root, deployed)]
        found += [*check_types(deployed), *check_grants(deployed), *check_diagnostics(deployed)]
        for credential in CREDENTIALS:
            assumed = {"hostingPlan": plan, "databricksCredential": credential}
            found += check_wiring(plan, credential, scopes(root, assumed))
    return sorted(set(found))


def _read_all(root: Path) -> tuple[dict[str, BicepFile], list[Problem]]:
    files: dict[str, BicepFile] = {}
    found = []
    paths = sorted((root / FOLDER).rglob("*.bicep"))
    for name in sorted({MAIN, *(path.relative_to(root).as_posix() for path in paths)}):
        try:
            files[name] = read(root, name)
        except FileNotFoundError:
            found.append(Problem(name, 1, "this file is missing"))
        except UnicodeDecodeError:
            found.append(Problem(name, 1, "this file is not UTF-8 text"))
    return files, found
