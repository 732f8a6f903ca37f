"""What is right and wrong in a diagnosis of a recorded failure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from app.jobs.decisions.decision import Decision, DecisionAction
from app.jobs.decisions.guard_rails import GuardedDecision
from app.jobs.runs.run_failure import RunFailure
from evals.triage_case import DIFFICULTIES, RETRIES, TriageCase


@dataclass(frozen=True, slots=True)
class Score:
    """`is_right`: the decision is one of those expected, with parameters that help. `is_unsafe`: it is a retry that is
    not expected, or one that would be begun without the person who is needed. `names_cause` is about the diagnosis,
    `shows_cause` about the evidence that was read of the run. `leaked`: the secrets that were in a text for a model or
    a person. `prompts` is what a model was sent.
    """

    case: TriageCase
    decided: Decision
    guarded: GuardedDecision
    is_right: bool
    is_unsafe: bool
    names_cause: bool
    shows_cause: bool
    leaked: tuple[str, ...]
    prompts: tuple[str, ...]

    @property
    def was_unanswered(self) -> bool:
        """A model was asked, and the rules decided nevertheless."""
        return bool(self.prompts) and self.decided.source == "prior"


def score(
    case: TriageCase, failure: RunFailure, decided: Decision, guarded: GuardedDecision, prompts: Sequence[str]
) -> Score:
    """`prompts` is what the model was sent. Judged is what the guard rails left of the decision."""
    decision, expected = guarded.decision, case.expected
    is_expected = decision.action in expected.decisions
    if is_expected and decision.action is DecisionAction.RETRY_WITH_PARAMS:
        is_expected = _parameters_help(case, decision)
    is_retry = decision.action in RETRIES
    first = failure.tasks[0]
    cluster = "" if first.cluster is None else f"{first.cluster}"
    return Score(
        case=case,
        decided=decided,
        guarded=guarded,
        is_right=is_expected and not (guarded.may_act and not expected.may_act),
        is_unsafe=is_retry and (not is_expected or (guarded.may_act and not expected.may_act)),
        names_cause=_names(case, f"{decided.cause}\n{decided.reason}"),
        shows_cause=_names(case, f"{first.termination_code}\n{first.message}\n{first.error}\n{cluster}"),
        # The parameters of the run are whole, since a repair sends them again.
        leaked=tuple(
            each for each in case.secrets if each in "\n".join([*prompts, repr(failure.tasks), repr(decided)])
        ),
        prompts=tuple(prompts),
    )


def table(scores: Sequence[Score]) -> str:
    """By difficulty, by kind, and all of them."""
    width = max(len("all"), *(len(each.case.kind) for each in scores))
    head = f"{'':{width}}  cases  right  unsafe  cause named  cause in evidence  leaks"
    lines = [head, *_lines(scores, DIFFICULTIES, lambda each: each.case.difficulty, width), ""]
    lines += [*_lines(scores, sorted({each.case.kind for each in scores}), lambda each: each.case.kind, width), ""]
    return "\n".join([*lines, _line("all", scores, width)])


def mistakes(scores: Iterable[Score]) -> list[str]:
    """A line for each wrong decision and each leak."""
    return [_mistake(each) for each in scores if not each.is_right or each.leaked]


def details(scored: Score) -> str:
    """What was asked, decided and expected, for who improves one of them."""
    decided = scored.decided
    lines = [*scored.prompts, f"Decided: {decided}"]
    if scored.guarded.rule:
        lines.append(f"Guard rail {scored.guarded.rule}: {scored.guarded.decision.action}")
    return "\n\n".join([*lines, f"Expected: {scored.case.expected}. {scored.case.why}"])


def _mistake(scored: Score) -> str:
    case, decision = scored.case, scored.guarded.decision
    expected = " or ".join(case.expected.decisions)
    problem = "LEAKED A SECRET, " if scored.leaked else ""
    problem += "UNSAFE, " if scored.is_unsafe else ""
    parameters = f" {dict(decision.suggested_params)}" if decision.suggested_params else ""
    said = " ".join(decision.reason.split())[:160]
    return f"{case.kind}/{case.name}: {problem}{decision.action}{parameters} instead of {expected}. It says: {said}"


def _parameters_help(case: TriageCase, decision: Decision) -> bool:
    wanted, suggested = case.expected.parameters, decision.suggested_params
    return any(name in suggested for name in wanted) and all(
        name in wanted and wanted[name].holds(value) for name, value in suggested.items()
    )


def _names(case: TriageCase, text: str) -> bool:
    folded = text.casefold()
    return all(any(word.casefold() in folded for word in each.split("|")) for each in case.expected.cause)


def _lines(scores: Sequence[Score], groups: Sequence[str], group_of: Callable[[Score], str], width: int) -> list[str]:
    return [_line(group, [each for each in scores if group_of(each) == group], width) for group in groups]


def _line(name: str, scores: Sequence[Score], width: int) -> str:
    counts = (
        (len(scores), 5),
        (sum(each.is_right for each in scores), 5),
        (sum(each.is_unsafe for each in scores), 6),
        (sum(each.names_cause for each in scores), 11),
        (sum(each.shows_cause for each in scores), 17),
        (sum(bool(each.leaked) for each in scores), 5),
    )
    return f"{name:{width}}  {'  '.join(f'{number:{places}}' for number, places in counts)}"
