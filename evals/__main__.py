"""`python dev.py evals`: how well failures of jobs are diagnosed that were recorded in `evals/triage`."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence

from app.jobs.decisions.decision import Decision
from app.jobs.decisions.prior import prior_decision
from app.jobs.decisions.similar_incident import SimilarIncident
from app.jobs.job_policy import JobPolicy
from app.jobs.runs.run_failure import RunFailure
from evals.triage_case import DIFFICULTIES, load_cases
from evals.triage_eval import evaluate
from evals.triage_score import mistakes, table


async def by_the_rules(
    failure: RunFailure, policy: JobPolicy, similar: Sequence[SimilarIncident], prompts: list[str]
) -> Decision:
    """By the termination codes alone."""
    return prior_decision(failure.tasks[0])


def main(arguments: Sequence[str] | None = None) -> int:
    """0 where no decision was unsafe and no secret leaked."""
    cases = load_cases()
    kinds = sorted({case.kind for case in cases})
    parser = argparse.ArgumentParser(prog="python dev.py evals", description=__doc__)
    parser.add_argument("--kind", choices=kinds, help="only the failures of this kind")
    parser.add_argument("--difficulty", choices=DIFFICULTIES, help="only those as difficult as this")
    given = parser.parse_args(arguments)
    wanted = [case for case in cases if given.kind in (None, case.kind) and given.difficulty in (None, case.difficulty)]
    scores = asyncio.run(evaluate(wanted, by_the_rules))
    print(f"{table(scores)}\n")
    print("\n".join(mistakes(scores)))
    return int(any(each.is_unsafe or each.leaked for each in scores))


if __name__ == "__main__":
    sys.exit(main())
