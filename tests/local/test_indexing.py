"""Queue and timer triggers are found in `function_app.py` as the Functions worker and host find them."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.local.indexing import FunctionApp, IndexingError, index
from tests.fakes.host_process import module_of

HEAD = "import azure.functions as func\napp = func.FunctionApp()\n"


def indexed(code: str, folder: Path, **environment: str) -> FunctionApp:
    return index(module_of(HEAD + code, folder), "api", environment)


def test_queue_triggers_are_served_for_every_form_of_function(tmp_path: Path) -> None:
    functions = indexed(
        "@app.queue_trigger('msg', 'turns', 'AzureWebJobsStorage')\n"
        "async def resume(msg: func.QueueMessage, context: func.Context) -> None: ...\n"
        "@app.queue_trigger('message', 'Other-%STAGE%', '')\n"
        "def other(message): ...\n",
        tmp_path,
        STAGE="Test",
    )
    first, second = functions.queues
    assert (first.name, first.queue, first.connection, first.parameter) == (
        "resume",
        "turns",
        "AzureWebJobsStorage",
        "msg",
    )
    assert first.context
    assert (second.name, second.queue, second.connection) == ("other", "other-test", "AzureWebJobsStorage")
    assert not second.context
    assert functions.not_served == ()


def test_a_timer_trigger_is_served_with_its_options(tmp_path: Path) -> None:
    functions = indexed(
        "@app.timer_trigger('timer', '0 17 3 * * *')\n"
        "async def clean(timer: func.TimerRequest) -> None: ...\n"
        "@app.timer_trigger('timer', '%WHEN%', run_on_startup=True, use_monitor=False)\n"
        "def other(timer, context): ...\n",
        tmp_path,
        WHEN="00:05:00",
    )
    first, second = functions.timers
    assert (first.name, first.schedule.expression) == ("clean", "0 17 3 * * *")
    assert (first.run_on_startup, first.monitored, first.context) == (False, True, False)
    assert (second.name, second.schedule.expression) == ("other", "00:05:00")
    assert (second.run_on_startup, second.monitored, second.context) == (True, False, True)


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        (
            "@app.queue_trigger('msg', 'turns', 'C')\ndef f(message): ...",
            r"function f takes \(message\), but its trigger gives \(msg\)",
        ),
        (
            "@app.queue_trigger('msg', 'turns', 'C')\ndef f(msg, more): ...",
            r"function f takes \(more, msg\), but its trigger gives \(msg\)",
        ),
        (
            "@app.queue_trigger('msg', 'turns', 'C')\ndef f(msg: func.HttpRequest): ...",
            r"function f: msg is given as azure\.functions\.QueueMessage",
        ),
        (
            "@app.queue_trigger('msg', 'turns', 'C')\ndef f(msg: 'Unknown'): ...",
            "function f: its annotations cannot be read: name 'Unknown' is not defined",
        ),
        ("@app.queue_trigger('msg', 't', 'C')\ndef f(msg): ...", "function f: 't' is not a valid queue name"),
        ("@app.queue_trigger('msg', 'a--b', 'C')\ndef f(msg): ...", "function f: 'a--b' is not a valid queue name"),
        (
            "@app.queue_trigger('msg', '%QUEUE%', 'C')\ndef f(msg): ...",
            "function f: '%QUEUE%' names the setting QUEUE, which is not set",
        ),
        (
            "@app.timer_trigger('timer', '0 0 25 * * *')\ndef f(timer): ...",
            "function f: '0 0 25 .*' is not a schedule: .25. is not a valid hour",
        ),
        (
            "@app.timer_trigger('timer', '0 0 3 * * *')\ndef f(timer: func.QueueMessage): ...",
            r"function f: timer is given as azure\.functions\.TimerRequest",
        ),
    ],
)
def test_a_trigger_that_azure_would_refuse_is_refused_with_the_reason(tmp_path: Path, code: str, sentence: str) -> None:
    with pytest.raises(IndexingError, match=sentence):
        indexed(code, tmp_path)
