from __future__ import annotations

import gc
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.fakes.mlflow_store import MlflowStore


@pytest.fixture(scope="session")
def mlflow_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowStore]:
    """One for each process of tests: MLflow takes seconds to make its tables."""
    from tests.fakes.mlflow_store import an_mlflow_store

    with an_mlflow_store(tmp_path_factory.mktemp("mlflow")) as store:
        yield store


@pytest.fixture(scope="module", autouse=True)
def nothing_left_to_warn_of(request: pytest.FixtureRequest) -> Iterator[None]:
    """Sockets that MLflow leaves open are collected where its tests ignore that, not in the middle of other tests."""
    yield
    if request.node.get_closest_marker("filterwarnings"):
        gc.collect()


@pytest.fixture
def own_agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of its module, in the current folder as where somebody types the command."""
    from agent_server.handlers.registry import agent as registered

    name = "agent_of_mine"
    shutil.copyfile(Path(__file__).parent / "evaluation" / "own_agent.py", tmp_path / f"{name}.py")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("AGENT_SERVER_MODULE", name)
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    # An earlier test of this process may have imported one of the same name.
    registered.clear()
    monkeypatch.delitem(sys.modules, name, raising=False)
    return name
