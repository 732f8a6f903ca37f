"""`python dev.py evaluate`: asks the agent the questions of a data set, and has MLflow keep and score the answers."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agent_server.evaluation.agent_client import AgentClient, AgentClientError, databricks_headers
from agent_server.evaluation.evaluation import DataSetError, Outcome, evaluate, judges_of, read_data_set
from agent_server.evaluation.local_server import LocalServer, LocalServerError, check_settings
from agent_server.evaluation.mlflow_store import open_store
from app.config import SettingsError
from app.local.local_settings import LocalSettingsError, add_local_settings

ROOT = Path(__file__).resolve().parents[1]
DATA_SET = ROOT / "evals" / "agent_questions.jsonl"


def main(arguments: list[str]) -> int:
    """0 where every answer is as its row expects, 1 where not, 2 where nothing could be asked."""
    options = _parser().parse_args(arguments)
    try:
        add_local_settings(os.environ, ROOT)
        rows = read_data_set(options.data)
        if not options.url:
            check_settings()
        # The questions are those of a file; MLflow shows and scores nothing else.
        os.environ["TRACE_CONTENT"] = "full"
        tracking_uri = open_store(ROOT / ".data" / "mlflow.db")
        judges = judges_of(options.judge, options.guideline) if options.judge else []
        with _agent(options.url) as client:
            print(f"Asking {len(rows)} questions ...", flush=True)
            outcome = evaluate(rows, client, judges)
    except (AgentClientError, DataSetError, LocalServerError, LocalSettingsError, SettingsError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    _tell(outcome, len(rows), tracking_uri)
    return 1 if outcome.failures else 0


@contextmanager
def _agent(url: str | None) -> Iterator[AgentClient]:
    if url:
        yield AgentClient(url, databricks_headers(url))
        return
    with tempfile.TemporaryDirectory(prefix="agent-evaluation-", ignore_cleanup_errors=True) as folder:
        # Nothing is to be kept, and another server may run on this machine.
        os.environ["DATA_DIR"] = folder
        with LocalServer() as server:
            yield AgentClient(server.start())


def _tell(outcome: Outcome, questions: int, tracking_uri: str) -> None:
    print(f"\n{questions} questions; run {outcome.run_id} in {tracking_uri}")
    for name, value in sorted(outcome.metrics.items()):
        print(f"  {name:36} {value:.3g}")
    for question, scorer in outcome.failures:
        print(f"  not {scorer}: {question}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="dev.py evaluate", description="Evaluates the agent with MLflow.")
    parser.add_argument("--url", help="of a deployed app (https://….databricksapps.com); without it, the agent here")
    parser.add_argument("--data", type=Path, default=DATA_SET, help="a data set, JSON lines (default: %(default)s)")
    parser.add_argument(
        "--judge", metavar="MODEL", help="a model that judges too: databricks, endpoints:/NAME or openai:/MODEL"
    )
    parser.add_argument("--guideline", action="append", default=[], help="what the judge holds answers to; repeatable")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
