"""The job watch as a notebook uses it: the code that people were promised, word for word, over real HTTP and SMTP."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from app.jobs import DECISION_SCHEMA, DatabricksAgent, DatabricksConnector
from app.jobs.history.history_export import to_json
from app.jobs.incidents.incident_store import IncidentStore
from app.local.job_plans import TaskPlan, failure, in_turn
from app.local.scripted_answers import completion_chunks
from app.local.scripted_decisions import scripted_decision
from app.storage.sqlite.sqlite_store import SqliteStore
from tests.fakes import certificate
from tests.fakes.fine_tuning_service import KEY, MODELS, FineTuningService, fine_tuning_service
from tests.fakes.job_service import JobService, job_service
from tests.fakes.mail_server import MailServer, running
from tests.fakes.serving_endpoint import TOKEN
from tests.jobs.history.test_training_data import records

OUT_OF_MEMORY = failure("Py4JJavaError: o412.save\n: java.lang.OutOfMemoryError: Java heap space")
PROMISED = """
ai_client = AzureOpenAIClient()
db_connector = DatabricksConnector()
email_notifier = EmailNotifier()
decision_engine = ErrorDecisionEngine(ai_client)
agent = DatabricksAgent(azure_openai_client=ai_client, databricks_connector=db_connector,
                        email_notifier=email_notifier, error_decision_engine=decision_engine)
summary = agent.monitor_jobs(job_ids=[123, 456], escalation_emails=["team@example.com"])
summary = agent.monitor_jobs(escalation_emails=["team@example.com"])     # every job that is visible
summary_df = spark.createDataFrame([summary['actions']['escalated']])
decision = decision_engine.analyze_and_decide(error_message="OutOfMemoryError: Java heap space",
    job_context={"job_id": 123, "run_id": 456, "cluster_size": "small", "data_size_gb": 500})
decision['decision'], decision['reason'], decision.get('suggested_params')
email_notifier.test_connection()
agent.prepare_training_data(run_history_file="data/run_history.json", output_file="data/training_data.jsonl")
job_id = agent.fine_tune_error_model(training_data_path="data/training_data.jsonl", model_name="gpt-4", suffix="error-handler-v1")
agent.get_fine_tune_status(job_id)
"""  # noqa: E501
IMPORTS = (
    "from app.jobs import AzureOpenAIClient, DatabricksConnector, ErrorDecisionEngine, EmailNotifier, DatabricksAgent"
)


class Spark:
    """Makes frames of flat rows alone, as Spark does without a schema."""

    def __init__(self) -> None:
        self.frames: list[list[dict[str, Any]]] = []

    def createDataFrame(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:  # noqa: N802
        for row in rows:
            for name, value in row.items():
                assert type(value) in {str, int}, f"{name} is {value!r}: Spark cannot infer its type"
        self.frames.append(rows)
        return rows


@dataclass
class World:
    jobs: JobService
    azure: FineTuningService
    mail: MailServer
    folder: Path
    questions: list[dict[str, Any]] = field(default_factory=list)

    def add_job(self, job_id: int, behaviour: Any, **settings: Any) -> int:
        """A job of this id with a run that has ended, when an hour has passed."""
        self.jobs.store._ids = itertools.count(job_id)
        added = self.jobs.add(TaskPlan("load", behaviour), name=f"job_{job_id}", **settings)
        assert added == job_id
        self.jobs.store._ids = itertools.count(1_000_000 * job_id)
        return self.jobs.store.start(job_id).run_id


@asynccontextmanager
async def world(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    asked: list[dict[str, Any]] = []

    async def complete(request: web.Request) -> web.StreamResponse:
        body = await request.json()
        asked.append(body)
        answer = scripted_decision(body["messages"], body.get("response_format"))
        assert answer is not None
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for chunk in completion_chunks(answer, body["model"]):
            await response.write(chunk)
        return response

    async with AsyncExitStack() as closing:
        jobs = await closing.enter_async_context(job_service())
        # Passes look at the clock of this machine.
        jobs.now = time.time() - 7200
        route = web.post("/openai/v1/chat/completions", complete)
        azure = await closing.enter_async_context(fine_tuning_service(route))
        tls, trusted = certificate.localhost(folder)
        mail = await closing.enter_async_context(running(MailServer(users={"watch@example.com": "secret"}), tls))
        settings = {
            "DATABRICKS_HOST": jobs.url,
            "DATABRICKS_TOKEN": TOKEN,
            "AZURE_OPENAI_ENDPOINT": azure.url.removesuffix("/openai/v1/"),
            "AZURE_OPENAI_DEPLOYMENT": "gpt-4.1",
            "AZURE_OPENAI_KEY": KEY,
            "SMTP_SERVER": "localhost",
            "SMTP_PORT": str(mail.port),
            "SENDER_EMAIL": "watch@example.com",
            "SENDER_PASSWORD": "secret",
            "SSL_CERT_FILE": str(trusted),
        }
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        monkeypatch.chdir(folder)
        monkeypatch.setitem(MODELS, "gpt-4", True)
        yield World(jobs, azure, mail, folder, asked)


@pytest.mark.parametrize("in_notebook", [False, True])
async def test_the_promised_code_runs_word_for_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_notebook: bool
) -> None:
    async with world(tmp_path, monkeypatch) as w:
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "run_history.json").write_text(to_json(records(12)), encoding="utf-8")
        w.add_job(123, in_turn(OUT_OF_MEMORY))
        w.add_job(456, in_turn(failure("ValueError: bad")))
        w.add_job(789, in_turn(failure("KeyError: 'day'")))
        w.jobs.now += 7200
        spark = Spark()
        names: dict[str, Any] = {"spark": spark}

        def run() -> None:
            exec(IMPORTS, names)
            exec(PROMISED, names)

        async def run_where_a_loop_runs() -> None:
            run()

        # The caller of the synchronous surface must not hold up the servers, which live in this event loop.
        await asyncio.to_thread(lambda: asyncio.run(run_where_a_loop_runs()) if in_notebook else run())
    summary = names["summary"]
    assert set(summary["actions"]) == {"retried", "retried_with_params", "escalated", "skipped", "proposed"}
    assert summary["actions"]["escalated"]["count"] == 3
    assert {row["job_id"] for row in summary["decisions"]} == {123, 456, 789}
    assert spark.frames == [[summary["actions"]["escalated"]]]
    assert names["decision"]["decision"] in {"RETRY", "RETRY_WITH_PARAMS", "ESCALATE_EMAIL", "SKIP"}
    assert {each.recipients[0] for each in w.mail.received} == {"team@example.com"}
    assert [each["model"] for each in w.azure.created] == ["gpt-4"]


async def test_with_a_store_a_failure_is_mailed_once_and_an_approved_retry_is_begun_by_the_next_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOB_WATCH_STORE", str(tmp_path / "watch.sqlite"))
    monkeypatch.setenv("JOB_WATCH_MODE", "approve")
    monkeypatch.setenv("JOB_ESCALATION_EMAILS", "team@example.com")
    allowed = {"batch_size": {"type": "integer", "min": 1, "max": 50_000}}
    monkeypatch.setenv("JOB_WATCH_ALLOW", json.dumps(allowed))
    async with world(tmp_path, monkeypatch) as w:
        from app.jobs import EmailNotifier
        from app.jobs.approval import approve

        run_id = w.add_job(123, in_turn(OUT_OF_MEMORY), parameters={"batch_size": "50000"})
        w.jobs.now += 7200
        agent = DatabricksAgent(email_notifier=EmailNotifier())
        first = await agent.monitor_jobs_async()
        second = await agent.monitor_jobs_async()
        proposed = first["actions"]["proposed"]
        assert (proposed["count"], proposed["run_ids"]) == (1, str(run_id))
        assert second["actions"]["proposed"]["count"] == 0
        assert [each.recipients for each in w.mail.received] == [["team@example.com"]]
        [incident] = json.loads(proposed["incidents"])
        store = SqliteStore(tmp_path / "watch.sqlite")
        documents = store.documents()
        await approve(IncidentStore(documents, workspace=w.jobs.url), incident["id"], "Ann")
        await documents.close()
        await store.close()
        await agent.monitor_jobs_async()
        [repair] = w.jobs.stand_in.repairs
        assert (repair["run_id"], repair["job_parameters"]) == (run_id, {"batch_size": "10000"})
        assert len(w.questions) == 1


async def test_without_a_store_the_modes_that_act_are_refused_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOB_WATCH_MODE", "auto")
    monkeypatch.setenv("JOB_WATCH_SAFE", "true")
    async with world(tmp_path, monkeypatch) as w:
        w.add_job(123, in_turn(failure("ConnectionResetError: reset by peer")))
        w.jobs.now += 7200
        summary = await DatabricksAgent().monitor_jobs_async()
    assert "JOB_WATCH_STORE" in summary["notes"][0]
    assert {each["mode"] for each in summary["decisions"]} == {"observe"}
    assert w.jobs.stand_in.repairs == []


async def test_a_job_that_is_not_there_is_said_and_holds_up_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world(tmp_path, monkeypatch) as w:
        w.add_job(123, in_turn(failure("ValueError: bad")))
        w.jobs.now += 7200
        summary = await DatabricksAgent().monitor_jobs_async(job_ids=[123, 999])
    assert [each["job_id"] for each in summary["decisions"]] == [123]
    assert any("999" in note for note in summary["notes"])


async def test_an_empty_and_a_full_pass_have_the_same_columns_of_the_same_types(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world(tmp_path, monkeypatch) as w:
        empty = await DatabricksAgent().monitor_jobs_async()
        w.add_job(123, in_turn(failure("ValueError: bad")))
        w.jobs.now += 7200
        full = await DatabricksAgent().monitor_jobs_async()
    for action, row in empty["actions"].items():
        shape = {name: type(value) for name, value in row.items()}
        assert shape == {name: type(value) for name, value in full["actions"][action].items()}
    columns = [each.split(" ")[0] for each in DECISION_SCHEMA.split(", ")]
    assert [list(row) for row in full["decisions"]] == [columns]
    assert empty["decisions"] == []


def test_without_a_workspace_the_settings_that_are_missing_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("DATABRICKS_HOST", "DATABRICKS_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(Exception, match="DATABRICKS"):
        DatabricksConnector()


def test_a_name_that_the_room_does_not_have_is_an_attribute_error() -> None:
    import app.jobs

    with pytest.raises(AttributeError, match="NoSuchName"):
        app.jobs.NoSuchName  # noqa: B018
