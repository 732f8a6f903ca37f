"""A project that is provisioned in a fake Azure, and what a test needs to deploy it, as fixtures to be imported."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.deploy.__main__ import Waiting
from ops.package.archive import write_build_file, write_zip
from tests.fakes.azure import TOKEN, FakeAzure, serving, write_certificates

SUBSCRIPTION = "00000000-0000-0000-0000-000000000001"
VARIABLES = {
    "AZURE_SUBSCRIPTION_ID": SUBSCRIPTION,
    "AZURE_RESOURCE_GROUP_NAME": "rg-agent",
    "FUNCTION_APP_NAME": "func-agent",
    "STORAGE_ACCOUNT_NAME": "stagent",
    "PACKAGE_CONTAINER_NAME": "packages",
    "HOSTING_PLAN": "consumption",
    "PYTHON_VERSION": "3.12",
}


def make_package(root: Path, text: str, python: str = "3.12") -> str:
    """Writes .data/package/agent.zip; returns its build."""
    folder = root / ".data" / "package" / "agent"
    name = f"function_app.cpython-{python.replace('.', '')}.pyc"
    for file, content in {"function_app.py": text, f"__pycache__/{name}": text, "host.json": "{}"}.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(content)
    build = write_build_file(folder, "1.2.3")
    write_zip(folder, folder.with_suffix(".zip"))
    return build


@pytest.fixture
def azure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeAzure:
    """Signed in, with an `az` and nothing else on the PATH."""
    fake = FakeAzure(tmp_path / "azure")
    fake.install(tmp_path / "bin")
    for name in (*VARIABLES, "HEALTH_URL", "TEAMSFX_ENV"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("FAKE_AZURE", str(fake.state))
    monkeypatch.setenv("FAKE_TOKEN", TOKEN)
    return fake


@pytest.fixture
def root(tmp_path: Path, azure: FakeAzure) -> Iterator[Path]:
    """A project that has been provisioned; the bot's health is at HEALTH_URL."""
    folder = tmp_path / "project & 100%"
    with serving(azure) as health:
        provision(folder, HEALTH_URL=f"http://{health}/api/health")
        yield folder


def provision(folder: Path, **more: str) -> None:
    file = folder / "env" / ".env.dev"
    file.parent.mkdir(parents=True, exist_ok=True)
    had = file.read_text() if file.exists() else "".join(f"{name}={value}\n" for name, value in VARIABLES.items())
    for name, value in more.items():
        had = re.sub(f"^{name}=.*\n", "", had, flags=re.MULTILINE) + f"{name}={value}\n"
    file.write_text(had)


def option(call: list[str], name: str) -> str:
    return call[call.index(name) + 1]


@pytest.fixture
def flex(root: Path, azure: FakeAzure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeAzure]:
    provision(root, HOSTING_PLAN="flex")
    authority, certificate = tmp_path / "authority.pem", tmp_path / "server.pem"
    write_certificates(authority, certificate)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    with serving(azure, certificate) as host:
        azure.serve_from(host)
        yield azure


class Clock:
    def __init__(self) -> None:
        self.now = 0.0
        self.pauses = 0

    def time(self) -> float:
        return self.now

    def pause(self, seconds: float) -> None:
        self.now += seconds
        self.pauses += 1

    @property
    def waiting(self) -> Waiting:
        return Waiting(self.time, self.pause)
