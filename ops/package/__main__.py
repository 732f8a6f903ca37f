"""`python -m ops.package`: the deployment package, on any system, for the Python that Azure runs."""

from __future__ import annotations

import argparse
import re
import sys
import tomllib
from pathlib import Path

from ops.command import DEV
from ops.package import PackageError
from ops.package.build import make_package
from ops.package.summary import summary
from ops.parameters import ParametersError, read_variables

ROOT = Path(__file__).resolve().parents[2]
DEFAULT_PYTHON = "3.12"
"""The newest that both hosting plans have."""


def main(arguments: list[str], root: Path = ROOT) -> int:
    parser = argparse.ArgumentParser(prog=f"{DEV} package", description="Makes the deployment package.")
    parser.add_argument(
        "--python", help=f"the Function App's version (PYTHON_VERSION of env/.env.dev, or {DEFAULT_PYTHON})"
    )
    parser.add_argument("--output", type=Path, default=root / ".data" / "package", help="a folder (.data/package)")
    options = parser.parse_args(arguments)
    try:
        python = _supported(options.python or _configured(root), root)
        package = make_package(root, options.output, python)
    except PackageError as error:
        print(error, file=sys.stderr)
        return 1
    print("\n".join(summary(package)))
    return 0


def _configured(root: Path) -> str:
    if not (root / "env" / ".env.dev").is_file():
        return DEFAULT_PYTHON
    try:
        return read_variables(root, "dev", {}).get("PYTHON_VERSION") or DEFAULT_PYTHON
    except ParametersError as error:
        raise PackageError(str(error)) from None


def _supported(python: str, root: Path) -> str:
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    oldest, ended = (int(minor) for minor in re.findall(r"3\.(\d+)", project["requires-python"]))
    supported = [f"3.{minor}" for minor in range(oldest, ended)]
    if python not in supported:
        raise PackageError(f"{python} is none of the Python versions that this project runs on: {', '.join(supported)}")
    return python


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
