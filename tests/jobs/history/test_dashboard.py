"""The dashboard: what it adds up, and that nothing in it runs or is loaded."""

from __future__ import annotations

import re
from datetime import date
from html.parser import HTMLParser

import pytest

from app.jobs.history.dashboard import MAX_NEWEST, dashboard_page
from app.jobs.history.decision_record import OBSERVED, DecisionRecord
from app.jobs.history.history_statistics import HistoryStatistics, history_statistics, verdict
from tests.jobs.history.sample_records import NASTY_TEXTS, NOON, WORKSPACE, a_record

DAY = 24 * 3600.0
VOID = {"meta", "line", "rect"}


class Page(HTMLParser):
    """Every element that is opened is closed, in order."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.texts: list[str] = []
        self.cells: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag not in VOID:
            self.open.append(tag)
        if tag in {"td", "th"}:
            self.cells.append("")

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "td" in self.open or "th" in self.open:
            self.cells[-1] += data
        if "style" not in self.open:
            self.texts.append(data)

    def row(self, first: str) -> list[str]:
        at = self.cells.index(first)
        return self.cells[at : at + 10]


def page(*records: DecisionRecord, days: float = 7) -> Page:
    return Page(html(*records, days=days))


def html(*records: DecisionRecord, days: float = 7) -> str:
    return dashboard_page(records, workspace=WORKSPACE, since_seconds=NOON - days * DAY, until_seconds=NOON)


def statistics(*records: DecisionRecord) -> HistoryStatistics:
    return history_statistics(records, date(2026, 11, 21), date(2026, 11, 27))


def observed(record: DecisionRecord, decision: str) -> DecisionRecord:
    changes = {"key": f"{record.key}-observed", "strategy": OBSERVED, "decision": decision, "outcome": ""}
    return record.model_copy(update=changes | {"action": "observed", "model": "llama"})


def test_decisions_are_shown_with_their_outcomes_and_the_success_rate_of_those_that_are_known() -> None:
    outcomes = ["succeeded"] * 6 + ["failed"] * 2 + ["canceled", "unknown", "", ""]
    records = [a_record(run, outcome=outcome) for run, outcome in enumerate(outcomes)]
    shown = page(*records, a_record(90, decision="ESCALATE_EMAIL", action="escalated", wrong_diagnosis=2))
    assert shown.row("Retry")[:8] != shown.row("Escalate")[:8]
    at = shown.cells.index("Success rate")
    table = shown.cells[at + 2 : at + 2 + 16]
    assert table == ["Retry", "12", "6", "2", "2", "2", "75 %", "0", "Escalate", "1", "0", "0", "0", "1", "–", "1"]


def test_the_trend_counts_each_day_also_those_without_failures() -> None:
    found = statistics(a_record(1, NOON), a_record(2, NOON - 2 * DAY, outcome="failed"), a_record(3, NOON - 99 * DAY))
    assert [(f"{each.first_day}", each.total, each.failed) for each in found.periods] == [
        ("2026-11-21", 0, 0),
        ("2026-11-22", 0, 0),
        ("2026-11-23", 0, 0),
        ("2026-11-24", 0, 0),
        ("2026-11-25", 1, 1),
        ("2026-11-26", 0, 0),
        ("2026-11-27", 1, 0),
    ]


def test_a_long_time_is_shown_by_weeks() -> None:
    found = history_statistics([a_record(1)], date(2026, 8, 30), date(2026, 11, 27))
    assert (found.days_of_period, len(found.periods), found.periods[-1].total) == (7, 13, 1)


def test_causes_and_jobs_come_by_their_number() -> None:
    records = [a_record(run, cause="memory" if run < 5 else "spot", job_name=f"job {run % 2}") for run in range(7)]
    found = statistics(*records)
    assert found.causes == (("memory", 5), ("spot", 2))
    assert found.jobs == (("job 0", 4), ("job 1", 3))


@pytest.mark.parametrize(
    ("acted", "outcome", "decision", "expected"),
    [
        ("RETRY", "succeeded", "RETRY", "right"),
        ("RETRY", "succeeded", "RETRY_WITH_PARAMS", "unknown"),
        ("RETRY", "succeeded", "ESCALATE_EMAIL", "wrong"),
        ("RETRY", "failed", "RETRY", "wrong"),
        ("RETRY", "failed", "ESCALATE_EMAIL", "right"),
        ("RETRY_WITH_PARAMS", "succeeded", "RETRY", "unknown"),
        ("ESCALATE_EMAIL", "succeeded", "RETRY", "right"),
        ("ESCALATE_EMAIL", "", "RETRY", "unknown"),
        ("RETRY", "canceled", "RETRY", "unknown"),
    ],
)
def test_what_became_of_the_retry_says_which_decision_was_right(
    acted: str, outcome: str, decision: str, expected: str
) -> None:
    assert verdict(a_record(decision=acted, outcome=outcome), decision) == expected


def test_two_strategies_are_compared_on_the_failures_that_both_decided_about() -> None:
    healed = [a_record(run, outcome="succeeded") for run in range(3)]
    broken = a_record(10, outcome="failed")
    alone = a_record(11, outcome="succeeded")
    pairs = [observed(healed[0], "RETRY"), observed(healed[1], "RETRY"), observed(healed[2], "ESCALATE_EMAIL")]
    comparison = statistics(*healed, broken, alone, *pairs, observed(broken, "ESCALATE_EMAIL")).comparison
    assert comparison is not None
    assert (comparison.failures, comparison.agreed) == (4, 2)
    assert (comparison.primary.right, comparison.primary.wrong) == (3, 1)
    assert (comparison.observed.right, comparison.observed.wrong) == (3, 1)
    shown = page(*healed, broken, alone, *pairs, observed(broken, "ESCALATE_EMAIL"))
    assert shown.row("Observes: llama") == [
        "Observes: llama",
        "2",
        "0",
        "2",
        "0",
        "3",
        "1",
        "0",
        "75 %",
        *shown.row("Observes: llama")[9:],
    ]
    assert "They agreed on 2 of 4 failures." in shown.texts


def test_without_a_second_strategy_none_is_compared() -> None:
    assert "Two strategies" not in html(a_record())


def test_a_page_without_decisions_says_so() -> None:
    assert "No failed run was decided about in this time." in page().texts


def test_only_the_newest_decisions_are_listed() -> None:
    shown = html(*(a_record(run, NOON - run) for run in range(1000, 1000 + MAX_NEWEST + 20)))
    assert f"The newest {MAX_NEWEST} of {MAX_NEWEST + 20}" in shown
    assert "<td>1000</td>" in shown
    assert f"<td>{1000 + MAX_NEWEST}</td>" not in shown


@pytest.mark.parametrize("name", ["job_name", "cause", "decision", "action", "outcome", "key", "model"])
def test_what_jobs_and_models_say_is_text_wherever_it_stands(name: str) -> None:
    hostile = '"><img src=x onerror=alert(1)><script src=//evil></script>'
    texts = [*NASTY_TEXTS, hostile, "password=hunter2hunter2"]
    records = [a_record(run).model_copy(update={name: text}) for run, text in enumerate(texts)]
    shown = html(*records, observed(records[0], "RETRY"))
    found = Page(shown)
    assert found.tags <= {
        *("html", "head", "meta", "title", "style", "body", "main", "h1", "h2", "p", "div", "section", "span"),
        *("table", "thead", "tbody", "tr", "th", "td", "ul", "li", "details", "summary"),
        *("svg", "rect", "line", "text"),
    }
    assert not {each for each in found.attributes if each.startswith("on") or each in {"src", "href", "srcset"}}
    assert not re.search(r"url\(|@import|hunter2", shown)
    shown.encode()


def test_the_page_forbids_the_browser_to_load_or_run_anything() -> None:
    assert "content=\"default-src 'none'; style-src 'unsafe-inline'\"" in html(a_record())
