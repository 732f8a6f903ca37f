"""Tables and queues as a person misnames them, in the code or in Bicep."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops.check.bicep import check_bicep
from ops.check.bicep.opened import opened, triggered
from ops.check.bicep.stored import check_stored
from ops.check.bicep.values import scopes
from ops.check.problem import Problem
from tests.ops.test_bicep import ROOT, STORAGE, TODAY, change, copied, line_of

TRIGGERS = "function_app.py"
CLIENTS = "app/storage/clients.py"
TRIGGER = '@app.queue_trigger(arg_name="msg", queue_name="turns", connection="AzureWebJobsStorage")'

FUNCTION_APP = f"""
app = func.FunctionApp()

{TRIGGER}
async def resume_turn(msg: func.QueueMessage) -> None: ...
"""
APP = """
TABLE = "conversations"

def store(account):
    return open_table(account, TABLE)

def queue(address, credential):
    return QueueClient(address, queue_name="turns", credential=credential)
"""


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Bicep as it is, over code that is easy to break."""
    copied(tmp_path)
    for path in (tmp_path / "app/storage").glob("*.py"):
        path.unlink()
    (tmp_path / "app/composition/functions_host.py").unlink()
    (tmp_path / TRIGGERS).write_text(FUNCTION_APP)
    (tmp_path / CLIENTS).write_text(APP)
    assert stored(tmp_path) == []
    return tmp_path


def stored(root: Path) -> list[Problem]:
    return check_stored(root, scopes(root))


MISTAKES = {
    "a trigger on another queue": (TRIGGERS, '"turns"', '"turn"', "there is no queue 'turn' in", '"turn"'),
    "a trigger of another account": (
        TRIGGERS,
        '"AzureWebJobsStorage"',
        '"QUEUE_STORAGE"',
        "connection of the queue trigger is 'QUEUE_STORAGE', and must be 'AzureWebJobsStorage'",
        '"QUEUE_STORAGE"',
    ),
    "a trigger of no account": (
        TRIGGERS,
        ', connection="AzureWebJobsStorage"',
        "",
        "connection of the queue trigger is none",
        "@app.queue_trigger",
    ),
    "no trigger": (TRIGGERS, TRIGGER, "", "function_app.py has no queue trigger for 'turns'", ""),
    "a table that is not made": (
        CLIENTS,
        'TABLE = "conversations"',
        'TABLE = "conversation"',
        "there is no table 'conversation' in infra/modules/storage.bicep: conversations",
        "return open_table(",
    ),
    "a queue that is not made": (
        CLIENTS,
        'queue_name="turns"',
        'queue_name="turns-2"',
        "there is no queue 'turns-2' in infra/modules/storage.bicep: turns, turns-poison",
        "return QueueClient(",
    ),
    "a poison queue with another name": (
        STORAGE,
        "'turns-poison'",
        "'turns-dead'",
        "the host moves what fails to the queue 'turns-poison', which is not made here",
        "'turns'",
    ),
    "a poison queue that nothing fills": (
        STORAGE,
        "['turns', 'turns-poison']",
        "['turns', 'turns-poison', 'old-poison']",
        "nothing uses the queue 'old-poison'",
        "'old-poison'",
    ),
    "a table that nothing uses": (
        STORAGE,
        "['conversations']",
        "['conversations', 'turns']",
        "nothing uses the table 'turns'",
        "['conversations', 'turns']",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_name_that_does_not_fit_is_reported_where_it_is_written(small: Path, mistake: str) -> None:
    name, old, new, sentence, marker = MISTAKES[mistake]
    change(small, name, old, new)

    found = [problem for problem in stored(small) if sentence in problem.sentence]

    assert found, f"nothing says: {sentence}. Only: {stored(small)}"
    if marker:
        assert (name, line_of(small, name, marker)) in {(problem.file, problem.line) for problem in found}


def test_the_check_of_infra_asks_for_it(small: Path) -> None:
    change(small, TRIGGERS, '"turns"', '"turn"')

    assert any("there is no queue 'turn'" in problem.sentence for problem in check_bicep(small, TODAY))


@pytest.mark.parametrize(
    ("before", "argument"),
    [
        ("", '"turns"'),
        ('QUEUE = "turns"', "QUEUE"),
        ('QUEUE: Final = "turns"', "QUEUE"),
        ("from app.storage.names import TURNS as QUEUE", "QUEUE"),
    ],
)
@pytest.mark.parametrize("call", ["{}", "queue_name={}"])
def test_the_name_of_a_queue_may_be_a_constant(tmp_path: Path, before: str, argument: str, call: str) -> None:
    given = ['arg_name="msg"', call.format(argument)] if "=" in call else ['"msg"', call.format(argument)]
    (tmp_path / "app/storage").mkdir(parents=True)
    (tmp_path / "app/storage/names.py").write_text('TURNS = "turns"\n')
    (tmp_path / TRIGGERS).write_text(
        f"{before}\n@app.queue_trigger({', '.join(given)}, connection='x')\ndef f(): ...\n"
    )

    assert [(trigger.name, trigger.connection) for trigger in triggered(tmp_path)] == [("turns", "x")]


@pytest.mark.parametrize(
    "call",
    [
        'TableClient("https://a.example", "conversations", credential=c)',
        'TableClient.from_connection_string(s, "conversations")',
        'tables.TableClient(endpoint=e, table_name="conversations")',
        'open_table(account, "conversations")',
        'opening.open_table(account, name="conversations")',
    ],
)
def test_a_table_is_found_however_it_is_opened(tmp_path: Path, call: str) -> None:
    (tmp_path / "app/storage").mkdir(parents=True)
    (tmp_path / "app/storage/tables.py").write_text(f"\ntable = {call}\n")

    assert [(thing.kind, thing.name, thing.line) for thing in opened(tmp_path)] == [("table", "conversations", 2)]


def test_code_that_is_none_is_anothers_to_report(small: Path) -> None:
    (small / CLIENTS).write_text("def (\n")
    (small / TRIGGERS).unlink()

    assert {problem.file for problem in stored(small)} == {STORAGE}


def test_the_repository_has_no_problem() -> None:
    assert stored(ROOT) == []
