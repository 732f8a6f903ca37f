from __future__ import annotations

from collections.abc import Iterator
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
