"""`python -m ops.placeholders`: fails while the app still says "Your organisation" and links to example.com.

The first step of provision, deploy and publish for an environment in Azure. Standard library only.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from ops.parameters import ParametersError, read_variables

ROOT = Path(__file__).resolve().parents[1]
_NAME = "DEVELOPER_NAME"
_URLS = ("DEVELOPER_WEBSITE_URL", "DEVELOPER_PRIVACY_URL", "DEVELOPER_TERMS_OF_USE_URL")
_PLACEHOLDER_NAME = re.compile(r"\s*your organi[sz]ation\s*", re.IGNORECASE)
# Reserved names: https://www.rfc-editor.org/rfc/rfc2606
_PLACEHOLDER_HOST = re.compile(r"(.*\.)?(example\.(com|net|org)|example|invalid|test|localhost)|127(\.\d+){3}|::1")


def placeholders(variables: Mapping[str, str]) -> list[str]:
    """A sentence for each variable that still holds what came with the repository, or nothing."""
    found = []
    name = variables.get(_NAME, "")
    if not name.strip() or _PLACEHOLDER_NAME.fullmatch(name):
        found.append(f"{_NAME} is {name!r}: put the name that people are to see in Teams")
    for url in _URLS:
        value = variables.get(url, "")
        parts = urlsplit(value)
        if parts.scheme != "https" or not parts.hostname or _PLACEHOLDER_HOST.fullmatch(parts.hostname):
            found.append(f"{url} is {value!r}: put a page of yours, which begins with https://")
    return found


def main(arguments: list[str], root: Path = ROOT, environment: Mapping[str, str] = os.environ) -> int:
    parser = argparse.ArgumentParser(prog="python -m ops.placeholders", description=__doc__)
    parser.add_argument(
        "--env", default=environment.get("TEAMSFX_ENV") or "dev", help="of env/.env.* (TEAMSFX_ENV, dev)"
    )
    env = parser.parse_args(arguments).env
    try:
        found = placeholders(read_variables(root, env, environment))
    except ParametersError as error:
        found = [str(error)]
    for sentence in found:
        print(f"env/.env.{env}: {sentence}", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
