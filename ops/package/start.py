"""`python -m ops.package.start`: unpacks the delivered zip, starts it, asks for its health, imports what it imports.

Standard library only. It runs with the package's Python version, without this machine's site-packages and settings.
Linux only: the package holds Linux wheels.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

from ops.package import SITE_PACKAGES, PackageError
from ops.package.archive import Build, NotAPackageError, read_build
from ops.package.bytecode import Interpreter, find_interpreter

ROOT = Path(__file__).resolve().parents[2]
LIMIT_SECONDS = 120.0
_IMPORTS = Path(__file__).with_name("imports.py")
_SETTINGS = {
    "DATABRICKS_BASE_URL": "https://workspace.invalid/serving-endpoints",
    "DATABRICKS_MODEL_NAME": "model",
    "DATABRICKS_TOKEN": "none",
}
_ASK = """
import asyncio, sys
sys.path[:0] = sys.argv[1:3]
import azure.functions as func, function_app

async def ask():
    functions = {each.get_function_name(): each for each in function_app.app.get_functions()}
    request = func.HttpRequest("GET", "http://127.0.0.1/api/health", body=b"")
    answer = await functions["health"].get_user_function()(request)
    await function_app.close()
    return answer

answer = asyncio.run(ask())
sys.stdout.write(f"{answer.status_code} {answer.get_body().decode()}")
"""


def start(package: Path) -> Build:
    """The build that answered. Raises `PackageError` if `package` does not start, lacks what it imports at any time, or
    answers as another build.
    """
    try:
        build = read_build(package)
    except NotAPackageError as error:
        raise PackageError(str(error)) from None
    interpreter = find_interpreter(build.python)
    with TemporaryDirectory() as temporary:
        folder = Path(temporary) / "wwwroot"
        with zipfile.ZipFile(package) as archive:
            archive.extractall(folder)
        answer = _run(package, folder, interpreter, "-c", _ASK)
        # Last, since a package that does not start has the clearer message.
        missing = json.loads(_run(package, folder, interpreter, str(_IMPORTS)))
    if missing:
        # Every module that imports the incomplete file fails for the same reason: report the first.
        first = {reason: f"{file}:{line}" for file, line, reason in reversed(missing)}
        named = "\n".join(sorted(f"{place}: {reason}" for reason, place in first.items()))
        raise PackageError(f"{package} lacks what it imports while it runs on Python {interpreter.version}:\n\n{named}")
    status, _, body = answer.partition(" ")
    if status != "200" or json.loads(body).get("build") != build.build:
        raise PackageError(f"{package} is build {build.build} and answers with status {status}: {body}")
    return build


def _run(package: Path, folder: Path, interpreter: Interpreter, *program: str) -> str:
    command = [*interpreter.command, "-I", "-S", "-B", *program, str(folder), str(folder / SITE_PACKAGES)]
    try:
        done = subprocess.run(
            command,
            cwd=folder.parent,
            env=_SETTINGS | {"DATA_DIR": str(folder.parent / "data")},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=LIMIT_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise PackageError(f"{package} did not answer within {LIMIT_SECONDS:.0f} s") from None
    if done.returncode:
        raise PackageError(f"{package} does not start on Python {interpreter.version}:\n\n{done.stderr.strip()}")
    return done.stdout


def main(arguments: list[str], root: Path = ROOT) -> int:
    parser = argparse.ArgumentParser(prog="python -m ops.package.start", description=__doc__)
    default = root / ".data" / "package" / "agent.zip"
    parser.add_argument("package", nargs="?", type=Path, default=default, help="the zip (.data/package/agent.zip)")
    package = parser.parse_args(arguments).package
    if os.name == "nt" or sys.platform == "darwin":
        print("A package holds Linux wheels and starts on Linux only.", file=sys.stderr)
        return 1
    try:
        build = start(package)
    except PackageError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{package} starts on Python {build.python} and answers as build {build.build}.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
