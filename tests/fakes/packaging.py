"""Projects to package, dependencies without a registry, and packages that run."""

from __future__ import annotations

import asyncio
import importlib.metadata
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
import zipfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import ClientConnectionError, ClientSession, ClientTimeout
from botbuilder.schema import Activity

from app.bot.inbound.conversation_key import conversation_of
from app.bot.inbound.inbound_question import InboundQuestion, turn_id_of
from app.storage.ledger import TurnKey
from app.turns.queue_message import TurnMessage
from benchmarks.process import free_port
from benchmarks.teams_activities import conversation_id, message
from ops.package.dependencies import read_lock
from tests.fakes.connector_service import ConnectorService
from tests.fakes.serving_endpoint import TOKEN, ServingEndpoint

ROOT = Path(__file__).resolve().parents[2]
_PROJECT = ("app", "function_app.py", "host.json", "pyproject.toml", "requirements.txt", ".funcignore")


_FUNCTION_APP = '''"""The triggers."""
import dependency

names = {"alpha", "beta", "gamma", "delta"}
print(1 in {2, 3, "x y", (4, "z")}, " ", f"{names!r:>{10}}", 1_000_000_007, 0.1, b"bytes", lambda a, *b, c=2: (a, b))
'''
_DEPENDENCIES = {
    "dependency/__init__.py": "from dependency.inner import Thing as Thing\n",
    "dependency/inner.py": "class Thing:\n    def method(self):\n        return [x for x in range(3) if x]\n",
    "dependency/template.py": "{{ cookiecutter.name }} = not Python\n",
    "dependency/inner.pyi": "class Thing: ...\n",
    "dependency/_fast.pyx": "cdef int x\n",
    "dependency/py.typed": "",
    "dependency/__pycache__/inner.cpython-39.pyc": "stale",
    "dependency/data.json": "{}",
    "single.py": "x = 1\n",
    "bin/dependency": "#!/a/path/of/this/machine/python\n",
    "dependency-1.dist-info/METADATA": "Name: dependency\nVersion: 1\n",
    "dependency-1.dist-info/entry_points.txt": "[group]\nname = dependency\n",
    "dependency-1.dist-info/licenses/LICENSE": "MIT\n",
    "dependency-1.dist-info/RECORD": "../../bin/dependency,,\n",
    "dependency-1.dist-info/INSTALLER": "uv\n",
    "dependency-1.dist-info/direct_url.json": '{"url": "file:///a/path/of/this/machine"}',
}


def track(folder: Path, *files: str) -> None:
    """Makes `folder` a git repository with `files` in its index; all of them if none is named."""
    subprocess.run(["git", "init", "--quiet", str(folder)], check=True)
    subprocess.run(["git", "-C", str(folder), "add", "--force", *(files or ["."])], check=True, capture_output=True)


def copy_project(target: Path) -> Path:
    """The working tree's own project, as it would be after `git add`."""
    target.mkdir(parents=True)
    for name in _PROJECT:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, target / name)
    track(target)
    return target


def install_small(root: Path, target: Path, python: str) -> None:
    """The dependencies of `small_project`, with what installers leave behind."""
    for name, text in _DEPENDENCIES.items():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).write_text(text)


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(text.encode())


def small_project(folder: Path) -> Path:
    """A git repository with an app in one file, a module, and what must not be deployed."""
    write(
        folder,
        {
            "function_app.py": _FUNCTION_APP,
            "host.json": "{}\n",
            "requirements.txt": "dependency==1\n",
            "pyproject.toml": '[project]\nversion = "1.2.3"\nrequires-python = ">=3.11,<3.14"\n',
            "app/__init__.py": "",
            "app/local/__init__.py": "",
            "app/local/host.py": "",
            "app/agent/agent.py": "async def answer():\n    yield 1\n",
            "ops/package.py": "",
            "tests/test_app.py": "",
            "README.md": "",
            "env/.env.dev": "PYTHON_VERSION=3.12\n",
        },
    )
    shutil.copy(ROOT / ".funcignore", folder)
    track(folder)
    return folder


def install_from_here(root: Path, target: Path, python: str) -> None:
    """The lock's dependencies as they are installed for the Python that runs the tests."""
    assert python == sysconfig.get_python_version()
    for name in {requirement.name for requirement, _ in read_lock(root / "requirements.txt")}:
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # its marker is for another Python or system
        copy_distribution(distribution, target)


def copy_distribution(distribution: importlib.metadata.Distribution, target: Path) -> None:
    for file in distribution.files or ():
        if ".." not in file.parts and "__pycache__" not in file.parts:
            reply_state = target / str(file)
            reply_state.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(str(file.locate()), reply_state)


@dataclass(frozen=True)
class Served:
    """`seconds` is the time from the start of the process to the first answer, `compiled` what had to be compiled."""

    health: dict[str, Any]
    seconds: float
    compiled: list[str]
    kept_in_files: list[str]


async def ask_once(folder: Path, command: Sequence[str] = (sys.executable,), storage: str = "") -> Served:
    """Starts the package in `folder`, asks one question in a group chat, and ends it. Fails if it does not answer.

    Conversations are kept in the account that `storage` is the connection string of, or in a file.
    """
    async with ServingEndpoint() as model, ConnectorService() as connector:
        activity = question(connector)
        started = time.monotonic()
        async with (
            _running(folder, command, model, storage) as (process, address, log),
            ClientSession(timeout=ClientTimeout(30)) as client,
        ):
            await _post(client, f"{address}/api/messages", activity, process)
            await answered(connector, process)
            seconds = time.monotonic() - started
            async with client.get(f"{address}/api/health") as response:
                health = await response.json()
            lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
            files = [path.name for path in (log.parent / "data").rglob("*")]
    compiled = [line.removeprefix("compiled ") for line in lines if line.startswith("compiled ")]
    return Served(health, seconds, compiled, files)


def question(connector: ConnectorService, number: int = 1) -> dict[str, Any]:
    conversation = conversation_id("groupChat", "package", number)
    return message("groupChat", conversation, "Are you there?", connector.service_url)


def interrupted(activity: dict[str, Any]) -> str:
    """The message on the queue `turns` for a turn whose worker vanished before it could write anything down."""
    read: Activity = Activity().deserialize(activity)  # type: ignore[no-untyped-call]
    key = TurnKey(conversation_of(read), turn_id_of(read))
    return TurnMessage(key, time.time(), InboundQuestion.of(read).model_dump_json()).to_json()


async def answered(connector: ConnectorService, process: asyncio.subprocess.Process, times: int = 1) -> None:
    async with asyncio.timeout(60):
        while len({body["conversation"]["id"] for body in connector.bodies if _is_answer(body)}) < times:
            assert process.returncode is None, "the package ended instead of answering"
            await asyncio.sleep(0.005)


def _is_answer(body: Any) -> bool:
    return bool(body) and body.get("type") == "message" and "Hello" in body["text"]


async def _post(client: ClientSession, url: str, activity: object, process: asyncio.subprocess.Process) -> None:
    async with asyncio.timeout(60):
        while True:
            try:
                async with client.post(url, json=activity) as response:
                    assert response.status < 300, await response.text()
                    return
            except ClientConnectionError:
                assert process.returncode is None, "the package ended instead of listening"
                await asyncio.sleep(0.005)


def settings(model: ServingEndpoint, data: Path) -> dict[str, str]:
    """The whole environment of a bot that talks to `model`."""
    needed = {name: os.environ[name] for name in ("SYSTEMROOT", "TEMP", "TMP") if name in os.environ}
    return needed | {
        "DATABRICKS_BASE_URL": model.base_url,
        "DATABRICKS_MODEL_NAME": model.name,
        "DATABRICKS_TOKEN": TOKEN,
        "DATA_DIR": str(data),
    }


@asynccontextmanager
async def _running(
    folder: Path, command: Sequence[str], model: ServingEndpoint, storage: str
) -> AsyncIterator[tuple[asyncio.subprocess.Process, str, Path]]:
    port = free_port()
    host = Path(__file__).with_name("packaged_app.py")
    with tempfile.TemporaryDirectory() as outside:
        log = Path(outside) / "log"
        with log.open("wb") as written:
            process = await asyncio.create_subprocess_exec(
                *(*command, "-I", "-S", "-B", str(host), str(folder), "--port", str(port)),
                cwd=outside,
                env=settings(model, Path(outside) / "data") | ({"AzureWebJobsStorage": storage} if storage else {}),
                stdin=subprocess.DEVNULL,
                stdout=written,
                stderr=written,
            )
        try:
            yield process, f"http://127.0.0.1:{port}", log
        except BaseException as error:
            error.add_note(log.read_text(encoding="utf-8", errors="replace")[-3000:])
            raise
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()


def wheel(folder: Path, name: str, version: str, tag: str, files: dict[str, str]) -> None:
    """Writes a wheel of `files`."""
    info = f"{name}-{version}.dist-info"
    content = files | {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: {tag}\n",
    }
    record = "".join(f"{path},,\n" for path in [*content, f"{info}/RECORD"])
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / f"{name}-{version}-{tag}.whl", "w") as archive:
        for path, text in (content | {f"{info}/RECORD": record}).items():
            archive.writestr(path, text)
