"""`python -m ops.provision`: Azure's side of `atk provision`, for a pipeline that signs in with OpenID Connect.

It deploys the same Bicep with the same parameters under the same name, and writes the outputs into the same
env/.env.ENV. It does not create the app in Teams, for which the toolkit needs a person's Microsoft 365 account.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from ops.deploy import DeployError
from ops.deploy.azure_cli import AzureCli
from ops.parameters import (
    PARAMETERS,
    ParametersError,
    env_file,
    fill,
    read_environment,
    read_outputs,
    read_variables,
    with_outputs,
)

ROOT = Path(__file__).resolve().parents[1]
TEMPLATE = "infra/azure.bicep"
WORK = ".data"
"""Ignored by git."""
TIMEOUT_SECONDS = 3600.0


def provision(root: Path, env: str, given: Mapping[str, str], *, outputs_only: bool = False) -> dict[str, str]:
    """The outputs of the deployment: of a new one, or of the last one. Raises `ParametersError`, `DeployError`."""
    variables = read_variables(root, env, given)
    needed = ("AZURE_SUBSCRIPTION_ID", "AZURE_RESOURCE_GROUP_NAME", "RESOURCE_SUFFIX")
    if missing := [name for name in needed if not variables.get(name)]:
        raise ParametersError(f"{', '.join(missing)}: no value in env/.env.{env} or in the environment")
    azure = AzureCli(variables["AZURE_SUBSCRIPTION_ID"])
    where = ["--resource-group", variables["AZURE_RESOURCE_GROUP_NAME"]]
    where += ["--name", f"databricks-agent-{variables['RESOURCE_SUFFIX']}"]
    if outputs_only:
        answer = azure.run("deployment", "group", "show", *where)
    else:
        filled = fill((root / PARAMETERS).read_text(encoding="utf-8"), variables)
        (root / WORK).mkdir(exist_ok=True)
        # Only this user can read the folder: a secret can be among the parameters.
        with tempfile.TemporaryDirectory(prefix="provision-", dir=root / WORK) as folder:
            parameters = Path(folder) / "parameters.json"
            parameters.write_text(filled, encoding="utf-8")
            # Relative paths, since the folders above may have names that cmd.exe reads as commands.
            options = ["--template-file", TEMPLATE, "--parameters", f"@{parameters.relative_to(root).as_posix()}"]
            answer = azure.run(
                "deployment", "group", "create", *where, *options, folder=root, timeout_seconds=TIMEOUT_SECONDS
            )
    outputs = read_outputs(((answer or {}).get("properties") or {}).get("outputs"))
    path = env_file(root, env)
    path.write_text(with_outputs(read_environment(root, path), outputs), encoding="utf-8")
    return outputs | {"AZURE_RESOURCE_GROUP_NAME": variables["AZURE_RESOURCE_GROUP_NAME"]}


def main(arguments: list[str], root: Path = ROOT) -> int:
    parser = argparse.ArgumentParser(prog="python -m ops.provision", description="Prints NAME=value for each output.")
    parser.add_argument("--env", default="dev", help="which env/.env.ENV (dev)")
    parser.add_argument(
        "--outputs-only", action="store_true", help="deploy nothing, take the last deployment's outputs"
    )
    options = parser.parse_args(arguments)
    try:
        outputs = provision(root, options.env, os.environ, outputs_only=options.outputs_only)
    except (ParametersError, DeployError) as error:
        print(error, file=sys.stderr)
        return 1
    print("\n".join(f"{name}={value}" for name, value in outputs.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
