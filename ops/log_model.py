"""`python dev.py log-model`: logs the agent in MLflow as a model with its code, and asks it in a fresh process."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from agent_server.evaluation.local_server import check_settings
from agent_server.evaluation.mlflow_store import open_store
from agent_server.tracing.git_version import git_commit
from app.config import SettingsError
from app.local.local_settings import LocalSettingsError, add_local_settings
from ops.package import PackageError
from ops.package.dependencies import read_lock
from ops.package.project import copy_files, tracked_files

if TYPE_CHECKING:
    from mlflow.models.model import ModelInfo

ROOT = Path(__file__).resolve().parents[1]
LOCK = "agent_server/requirements.txt"
MODEL_CODE = "agent_server/evaluation/logged_agent.py"
_LEFT_OUT = ("agent_server/ui/", "app/bot/", "app/local/")
_ASK_SECONDS = 600
# Runs where nothing of the repository can be imported.
_ASK = """
import json, sys, warnings
warnings.simplefilter("ignore")
import mlflow
model = mlflow.pyfunc.load_model(sys.argv[1])
request = {"input": [{"role": "user", "content": sys.argv[2]}]}
answer = model.predict(request)
events = [event["type"] for event in model.predict_stream(request)]
import agent_server
print(json.dumps({"answer": answer, "events": events, "code": agent_server.__file__}))
"""


class LogModelError(Exception):
    """`str()` is a sentence for whoever typed the command."""


def log_agent(root: Path, name: str, module: str, register: str | None, question: str) -> ModelInfo:
    """Logs the agent to the active experiment. MLflow asks it once meanwhile. Raises `LogModelError` and MLflow's
    errors.
    """
    import mlflow  # noqa: PLC0415 - it takes seconds

    commit = git_commit(file=root / "build.json")
    with tempfile.TemporaryDirectory(prefix="agent-code-") as folder:
        code = _stage(root, Path(folder), module)
        return mlflow.pyfunc.log_model(
            name=name,
            python_model=str(Path(folder) / MODEL_CODE),
            code_paths=code,
            model_config={"module": module},
            pip_requirements=[str(requirement) for requirement, _ in read_lock(root / LOCK)],
            input_example={"input": [{"role": "user", "content": question}]},
            metadata={"git_commit": commit},
            tags={"git_commit": commit},
            registered_model_name=register,
        )


def ask_in_fresh_process(uri: str, tracking_uri: str, question: str) -> dict[str, object]:
    """What the model answers where it has nothing but its own code. Raises `LogModelError`."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "DATA_DIR")}
    environment |= {"MLFLOW_TRACKING_URI": tracking_uri}
    # The module that was logged, not the one of this machine.
    environment.pop("AGENT_SERVER_MODULE", None)
    with tempfile.TemporaryDirectory(prefix="agent-ask-") as folder:
        ended = subprocess.run(
            [sys.executable, "-c", _ASK, uri, question],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=_ASK_SECONDS,
        )
    if ended.returncode:
        raise LogModelError(f"The logged model does not answer in a process of its own:\n{ended.stderr[-2000:]}")
    told: dict[str, object] = json.loads(ended.stdout.splitlines()[-1])
    return told


def _stage(root: Path, folder: Path, module: str) -> list[str]:
    """Copies what the agent is made of, and returns its paths. Raises `LogModelError`."""
    try:
        files = [each for each in tracked_files(root, "app", "agent_server") if not each.startswith(_LEFT_OUT)]
    except PackageError as error:
        raise LogModelError(str(error)) from None
    copy_files(root, files, folder)
    code = [str(folder / "app"), str(folder / "agent_server")]
    if own := own_code(module):
        copied = folder / own.name
        if own.is_dir():
            shutil.copytree(own, copied, ignore=shutil.ignore_patterns("__pycache__", ".*"))
        else:
            shutil.copyfile(own, copied)
        code.append(str(copied))
    return code


def own_code(module: str) -> Path | None:
    """Where an agent of one's own is, seen from the current folder. Raises `LogModelError`."""
    top = module.partition(".")[0]
    if top in ("", "agent_server"):
        return None
    for each in (Path(top), Path(f"{top}.py")):
        if each.exists():
            return each
    raise LogModelError(f"There is no module {top} in this folder: AGENT_SERVER_MODULE names the file of your agent.")


def main(arguments: list[str]) -> int:
    options = _parser().parse_args(arguments)
    module = os.environ.get("AGENT_SERVER_MODULE", "").strip()
    try:
        add_local_settings(os.environ, ROOT)
        own_code(module)
        check_settings()
        tracking_uri = open_store()
        model = log_agent(ROOT, options.name, module, options.register, options.question)
        told = ask_in_fresh_process(model.model_uri, tracking_uri, options.question)
    except (LogModelError, SettingsError, LocalSettingsError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    print(f"Logged {model.model_uri} in {tracking_uri}; in a process of its own it answered:")
    print(json.dumps(told["answer"], ensure_ascii=False)[:2000])
    if options.register:
        print(f"Registered as {options.register}, version {model.registered_model_version}.")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="dev.py log-model", description="Logs the agent in MLflow, and asks it.")
    parser.add_argument("--name", default="agent", help="of the model in the experiment")
    parser.add_argument("--register", metavar="NAME", help="register it too, in Unity Catalog as catalog.schema.model")
    parser.add_argument("--question", default="What can you do?", help="asked while it is logged, and afterwards")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
