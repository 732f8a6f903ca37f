"""An agent of one's own, logged, loaded elsewhere, asked and evaluated with the real MLflow."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from agent_server.evaluation.agent_client import AgentClient, AgentClientError, databricks_headers
from agent_server.evaluation.evaluation import evaluate, judges_of
from agent_server.evaluation.local_server import LocalServer
from ops.log_model import ROOT, ask_in_fresh_process, log_agent
from tests.fakes.mlflow_store import MlflowStore

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.proof
def test_a_logged_agent_has_its_code_signature_and_commit_and_answers_in_a_process_of_its_own(
    mlflow_store: MlflowStore, own_agent: str
) -> None:
    import mlflow

    model = log_agent(ROOT, "agent", own_agent, "agent_of_the_team", "Why?")
    told = ask_in_fresh_process("models:/agent_of_the_team/1", mlflow.get_tracking_uri(), "Who?")

    assert model.metadata["task"] == "agent/v1/responses"
    assert len(model.metadata["git_commit"].rstrip("+")) == 40
    assert {column.name for column in model.signature.inputs} >= {"input", "stream", "custom_inputs"}
    answer = told["answer"]
    assert isinstance(answer, dict)
    assert answer["output"][0]["content"][0]["text"] == "You asked: Who?"
    assert (answer["object"], answer["status"]) == ("response", "completed")
    events = told["events"]
    assert isinstance(events, list)
    assert (events[0], events[-1]) == ("response.created", "response.completed")
    assert str(ROOT) not in str(told["code"]), "it was the model's own code that answered"


@contextmanager
def judge_model() -> Iterator[str]:
    """The URL of a model that finds fault with nothing, at a port of this machine."""

    class Answers(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            message = {"role": "assistant", "content": json.dumps({"result": "yes", "rationale": "Fine."})}
            choice = {"index": 0, "finish_reason": "stop", "message": message}
            body = json.dumps({"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]})
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *arguments: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.slow
def test_an_evaluation_scores_each_answer_and_names_the_questions_that_failed(
    mlflow_store: MlflowStore, own_agent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    rows = [
        {"inputs": {"input": [{"role": "user", "content": question}]}, "expectations": {"expected_facts": [fact]}}
        for question, fact in (("What is 42?", 42), ("And Heron?", "marble"))
    ]
    # Refused by the server: an answer that failed, and no end of the evaluation.
    rows.append({"inputs": {"input": "Hi", "previous_response_id": "resp_unknown"}, "expectations": {}})
    with judge_model() as judge, LocalServer() as server:
        monkeypatch.setenv("OPENAI_API_KEY", "none")
        for name in ("OPENAI_BASE_URL", "OPENAI_API_BASE"):
            monkeypatch.setenv(name, judge)
        url = server.start()
        judges = judges_of("openai:/judge", ["Answers in English"])
        outcome = evaluate(rows, AgentClient(url, databricks_headers(url)), judges)

    assert outcome.metrics["has_expected_facts/mean"] == 0.5
    assert outcome.metrics["keeps_secrets/mean"] == 1.0
    assert outcome.metrics["answered/mean"] == pytest.approx(2 / 3)
    for judgement in ("relevance_to_query", "safety", "guidelines"):
        assert outcome.metrics[f"{judgement}/mean"] == 1.0
    assert sorted(outcome.failures) == [("And Heron?", "has_expected_facts"), ("Hi", "answered")]
    found = mlflow.search_traces(run_id=outcome.run_id, return_type="list")
    # Where another test of this process has set tracing up, the requests of the judge are traced too.
    traces = [trace for trace in found if trace.info.assessments]
    assert len(traces) == 3
    assert {each.name for trace in traces for each in trace.info.assessments} >= {"answered", "keeps_secrets"}


def test_a_server_that_is_not_there_is_named() -> None:
    with pytest.raises(AgentClientError, match=r"http://127\.0\.0\.1:9/api/responses does not answer"):
        AgentClient("http://127.0.0.1:9").ask({"input": "Hi"})
