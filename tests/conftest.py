"""What all tests share: figures shown at the end of a run, and an Azurite and a PostgreSQL for each process."""

from __future__ import annotations

import gc
from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from tests.fakes.azurite import Azurite
    from tests.fakes.postgres import Postgres

_FIGURE = "figure"

# How long examples take to make, and to be tried, says something of the machine.
settings.register_profile("all", deadline=None, suppress_health_check=[HealthCheck.too_slow])
# Half of hypothesis' examples with every test run, all of them with `python dev.py test --all`.
settings.register_profile("everyday", settings.get_profile("all"), max_examples=50)
settings.load_profile("everyday")


@pytest.fixture
def figure(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    return lambda text: record_property(_FIGURE, text)


@pytest.fixture(scope="session")
def azurite() -> Iterator[Azurite]:
    from tests.fakes.azurite import started

    yield from started()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    from tests.fakes.postgres import started

    yield from started()


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is collected lives until the end: the garbage collector need not look at these millions of objects again."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("proof"):
            item.add_marker(pytest.mark.slow)
        if item.get_closest_marker("alone") and item.path.parent.name != "faults":
            raise pytest.UsageError(f"{item.nodeid}: dev.py looks for tests that run alone in tests/faults only")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport) and report.when == "call":
                for name, text in report.user_properties:
                    if name == _FIGURE:
                        terminalreporter.write_line(f"\n{report.nodeid}\n{text}")
