"""What the commands have in common."""

from __future__ import annotations

import argparse


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


def given_variables(options: argparse.Namespace) -> dict[str, str]:
    return dict(options.var)


def _variable(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value
