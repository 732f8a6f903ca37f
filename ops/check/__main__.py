"""`python -m ops.check`: one line for each problem, `file:line: sentence`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from datetime import date
from pathlib import Path

from ops.architecture_page import check_architecture_page
from ops.check.bicep import check_bicep
from ops.check.host import check_host
from ops.check.icons import check_icons
from ops.check.manifest import check_manifest
from ops.check.problem import Check, Problem
from ops.check.settings import check_settings
from ops.check.toolkit import check_toolkit
from ops.check.variables import check_variables
from ops.check.workflows import check_workflows
from ops.settings_page import check_settings_page

CHECKS: Mapping[str, Check] = {
    "settings": check_settings,
    "settings page": check_settings_page,
    "architecture page": check_architecture_page,
    "host.json": check_host,
    "infra": lambda root: check_bicep(root, date.today()),
    "m365agents.yml": check_toolkit,
    "variables": check_variables,
    "manifest": check_manifest,
    "icons": check_icons,
    "workflows": check_workflows,
}


def problems(root: Path, checks: Mapping[str, Check] = CHECKS) -> list[Problem]:
    return sorted({problem for check in checks.values() for problem in check(root)})


def main() -> int:
    found = problems(Path(__file__).resolve().parents[2])
    for problem in found:
        print(problem)
    print(f"{len(found)} problems." if found else f"No problem in {', '.join(CHECKS)}.", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
