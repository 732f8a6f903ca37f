"""`python dev.py evals`: how well failures of jobs are diagnosed that were recorded in `evals/triage`."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence

from app.config import SettingsError
from app.local.local_settings import LocalSettingsError
from evals.triage_case import DIFFICULTIES, load_cases
from evals.triage_eval import evaluate
from evals.triage_score import Score, details, mistakes, table
from evals.triage_strategies import SCRIPTED, by_the_engine, model_client

_CONCURRENT_CASES = 4


def main(arguments: Sequence[str] | None = None) -> int:
    """0 where no decision was unsafe, no secret leaked, and the model answered."""
    cases = load_cases()
    kinds = sorted({case.kind for case in cases})
    parser = argparse.ArgumentParser(prog="python dev.py evals", description=__doc__)
    model = f"the serving endpoint, or the deployment of Azure OpenAI, that is asked; {SCRIPTED}: that of the stand-in"
    parser.add_argument("--model", default="", help=f"{model}; none: the rules alone")
    parser.add_argument("--kind", choices=kinds, help="only the failures of this kind")
    parser.add_argument("--difficulty", choices=DIFFICULTIES, help="only those as difficult as this")
    parser.add_argument("--case", help="one failure by its name, with what the model is asked")
    given = parser.parse_args(arguments)
    wanted = [
        case
        for case in cases
        if given.kind in (None, case.kind)
        and given.difficulty in (None, case.difficulty)
        and given.case in (None, case.name)
    ]
    if not wanted:
        parser.error("there is no such failure in evals/triage")
    try:
        client = model_client(given.model) if given.model else None
    except (SettingsError, LocalSettingsError) as error:
        print(error, file=sys.stderr)
        return 2
    scores = asyncio.run(evaluate(wanted, by_the_engine(client), concurrency=_CONCURRENT_CASES if client else 1))
    if given.case:
        print(f"{details(scores[0])}\n")
    print(f"{table(scores)}\n")
    print("\n".join(mistakes(scores)))
    if unanswered := [each for each in scores if each.was_unanswered]:
        print(f"\nThe model gave no decision about {len(unanswered)} of {len(scores)} failures. {_reason(unanswered)}")
    return int(any(each.is_unsafe or each.leaked or each.was_unanswered for each in scores))


def _reason(unanswered: Sequence[Score]) -> str:
    return unanswered[0].decided.reason


if __name__ == "__main__":
    sys.exit(main())
