"""What the commands have in common."""

from __future__ import annotations

import argparse

from databricks.sdk import WorkspaceClient
from databricks.sdk.config import Config

from ops.databricks_app import AppError

_REQUEST_SECONDS = 60


def add_bundle_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--target", default="dev", help="dev or prod, of agent_server/databricks.yml (%(default)s)")
    parser.add_argument(
        "--var",
        action="append",
        default=[],
        type=_variable,
        metavar="NAME=VALUE",
        help="a variable of agent_server/databricks.yml, such as endpoint=my-model",
    )


def add_profile_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--profile", help="of ~/.databrickscfg; otherwise as databricks-sdk finds its credentials")


def given_variables(options: argparse.Namespace) -> dict[str, str]:
    return dict(options.var)


def _variable(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def open_workspace(profile: str | None) -> WorkspaceClient:
    """Raises `AppError` where no credential is found."""
    try:
        config = Config(profile=profile)
    except ValueError as error:
        hint = f" --profile {profile}" if profile else ""
        raise AppError(f"Nobody is signed in to Databricks: {error}\nThis helps: databricks auth login{hint}") from None
    # Not before: the error would name them among what is configured.
    config.http_timeout_seconds = config.retry_timeout_seconds = _REQUEST_SECONDS
    return WorkspaceClient(config=config)
