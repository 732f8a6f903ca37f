"""The history as one HTML page that loads nothing: inline SVG, no JavaScript. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Final

from app.common.log_text import one_line
from app.jobs.decisions.decision import DecisionAction
from app.jobs.history.dashboard_charts import bars_chart, trend_chart
from app.jobs.history.dashboard_style import COLOURS, STYLE
from app.jobs.history.decision_record import PRIMARY, DecisionRecord
from app.jobs.history.history_statistics import (
    KNOWN_OUTCOMES,
    Comparison,
    DecisionStatistics,
    HistoryStatistics,
    StrategyStatistics,
    history_statistics,
)
from app.tools.redaction import without_secrets

MAX_NEWEST: Final = 50
_MAX_TEXT_CHARACTERS = 200
_LABELS = {
    DecisionAction.RETRY.value: "Retry",
    DecisionAction.RETRY_WITH_PARAMS.value: "Retry with parameters",
    DecisionAction.ESCALATE_EMAIL.value: "Escalate",
    DecisionAction.SKIP.value: "Skip",
}


def dashboard_page(
    records: Sequence[DecisionRecord], *, workspace: str, since_seconds: float, until_seconds: float
) -> str:
    """Of the runs that ended in that time; `until_seconds` is also when the page was made."""
    until = datetime.fromtimestamp(until_seconds, UTC)
    first_day = datetime.fromtimestamp(since_seconds, UTC).date()
    statistics = history_statistics(records, first_day, until.date())
    newest = sorted((each for each in records if each.strategy == PRIMARY), key=lambda each: each.key, reverse=True)
    time = f"runs that ended from {first_day} to {until.date()} (UTC) · made {until:%Y-%m-%d %H:%M} UTC"
    parts = [
        f"<h1>Job watch</h1><p class=sub>{_text(workspace)} · {time}</p>",
        _tiles(statistics),
    ]
    if not newest:
        parts.append("<section><p>No failed run was decided about in this time.</p></section>")
    else:
        parts += [
            _trend(statistics),
            _decisions(statistics),
            '<div class="columns">',
            _top("Causes", "Cause", statistics.causes),
            _top("Jobs", "Job", statistics.jobs),
            "</div>",
            _comparison(statistics.comparison),
            _newest(newest[:MAX_NEWEST], len(newest)),
        ]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>Job watch: {_text(workspace)}</title><style>{STYLE}</style></head><body><main>\n"
        + "\n".join(parts)
        + "\n</main></body></html>\n"
    )


def _tiles(statistics: HistoryStatistics) -> str:
    total = statistics.total
    tiles = [
        ("Failed runs", str(total.count), ""),
        (
            "Retries that succeeded",
            _percent(total.success_percent),
            f"{total.succeeded} of {total.succeeded + total.failed}",
        ),
        (
            "Escalated",
            str(statistics.actions.get("escalated", 0)),
            _share(statistics.actions.get("escalated", 0), total.count),
        ),
        (
            "Decided by a model",
            str(statistics.sources.get("model", 0)),
            _share(statistics.sources.get("model", 0), total.count),
        ),
        ("Wrong diagnosis", str(total.wrong_diagnoses), "as people said"),
    ]
    shown = (
        f'<div class="tile"><div class="name">{name}</div><div class="value">{value}</div>'
        f'<div class="note">{note}</div></div>'
        for name, value, note in tiles
    )
    return f'<div class="tiles">{"".join(shown)}</div>'


def _trend(statistics: HistoryStatistics) -> str:
    names = [each.decision for each in statistics.decisions if each.count]
    unit = "day" if statistics.days_of_period == 1 else "week"
    legend = "".join(
        f'<li><span class="swatch" style="background:{COLOURS[_colour(name)]}"></span>{_label(name)}</li>'
        for name in names
    )
    columns = [
        (f"{period.first_day:%d %b}", [(_colour(name), period.counts.get(name, 0)) for name in names])
        for period in statistics.periods
    ]
    chart = trend_chart(columns, f"Failed runs a {unit}, by decision")
    rows = [
        [
            str(period.first_day),
            *(str(period.counts.get(name, 0)) for name in names),
            _percent(_rate(period.succeeded, period.failed)),
        ]
        for period in statistics.periods
        if period.total
    ]
    table = _table([unit.capitalize(), *map(_label, names), "Retries that succeeded"], rows, numbers_from=1)
    return _section(
        f"Trend by {unit}",
        f'<ul class="legend">{legend}</ul>{chart}<details><summary>Numbers</summary>{table}</details>',
    )


def _decisions(statistics: HistoryStatistics) -> str:
    shown = [each for each in statistics.decisions if each.count]
    chart = bars_chart(
        [(_plain_label(each.decision), each.success_percent, _known(each), _colour(each.decision)) for each in shown],
        "Of the retries after each decision, how many succeeded",
    )
    rows = [
        [
            _label(each.decision),
            str(each.count),
            str(each.succeeded),
            str(each.failed),
            str(each.canceled),
            str(each.open),
            _percent(each.success_percent),
            str(each.wrong_diagnoses),
        ]
        for each in shown
    ]
    heads = [
        "Decision",
        "Runs",
        "Succeeded",
        "Failed",
        "Canceled or unknown",
        "No outcome",
        "Success rate",
        "Wrong diagnosis",
    ]
    note = (
        "<p class=sub>The outcome is that of the retried run; what was escalated has one where a person retried it.</p>"
    )
    return _section("Decisions and outcomes", chart + _table(heads, rows, numbers_from=1) + note)


def _top(title: str, head: str, counts: Sequence[tuple[str, int]]) -> str:
    most = max((count for _, count in counts), default=1)
    rows = "".join(
        f'<tr><td>{_text(name)}</td><td class="number">{count}</td>'
        f'<td class="meter"><span style="width:{100 * count / most:.0f}%"></span></td></tr>'
        for name, count in counts
    )
    heads = f'<tr><th>{head}</th><th class="number">Runs</th><th></th></tr>'
    return _section(title, f"<table><thead>{heads}</thead><tbody>{rows}</tbody></table>")


def _comparison(comparison: Comparison | None) -> str:
    if comparison is None:
        return ""
    agreed = f"They agreed on {comparison.agreed} of {comparison.failures} failures."
    heads = [
        "Strategy",
        *(_LABELS[action.value] for action in DecisionAction),
        "Right",
        "Wrong",
        "Not known",
        "Right of those known",
    ]
    rows = [_strategy_row("Acts", comparison.primary), _strategy_row("Observes", comparison.observed)]
    note = (
        "A retry that succeeded shows that retrying so was right; one that failed, that escalating was. "
        "Of failures that were not retried it is not known."
    )
    return _section("Two strategies", f"<p>{agreed}</p>{_table(heads, rows, numbers_from=1)}<p class=sub>{note}</p>")


def _strategy_row(role: str, strategy: StrategyStatistics) -> list[str]:
    return [
        _text(f"{role}: {strategy.model or 'rules alone'}"),
        *(str(strategy.decisions.get(action.value, 0)) for action in DecisionAction),
        str(strategy.right),
        str(strategy.wrong),
        str(strategy.unknown),
        _percent(strategy.right_percent),
    ]


def _newest(records: Sequence[DecisionRecord], total: int) -> str:
    rows = [
        [
            _text(_ended_at(record)),
            _text(record.job_name or f"job {record.job_id}"),
            f"{record.run_id}",
            _label(record.decision),
            _text(record.cause),
            _text(record.action.replace("_", " ")),
            f'<span class="{_outcome_class(record.outcome)}">{_text(record.outcome) or "–"}</span>',
        ]
        for record in records
    ]
    heads = ["Ended (UTC)", "Job", "Run", "Decision", "Cause", "Done", "Outcome"]
    shown = f"The newest {len(records)} of {total}" if total > len(records) else "All decisions"
    return _section(shown, _table(heads, rows))


def _section(title: str, content: str) -> str:
    return f"<section><h2>{title}</h2>{content}</section>"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]], *, numbers_from: int = 100) -> str:
    """Cells are HTML; those from the column `numbers_from` on are numbers."""
    kind = ["" if number < numbers_from else ' class="number"' for number in range(len(heads))]
    head = "".join(f"<th{each}>{name}</th>" for name, each in zip(heads, kind, strict=True))
    body = "".join(
        "<tr>" + "".join(f"<td{each}>{cell}</td>" for cell, each in zip(row, kind, strict=True)) + "</tr>"
        for row in rows
    )
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _text(value: str) -> str:
    """From outside: on one line, bounded, without secrets, escaped."""
    line = one_line(without_secrets(value[: 4 * _MAX_TEXT_CHARACTERS]))
    line = line if len(line) <= _MAX_TEXT_CHARACTERS else f"{line[: _MAX_TEXT_CHARACTERS - 1]}…"
    return escape(line.encode("utf-8", "replace").decode())


def _plain_label(decision: str) -> str:
    return _LABELS.get(decision) or one_line(without_secrets(decision[:200]))[:40]


def _label(decision: str) -> str:
    return _text(_plain_label(decision))


def _colour(decision: str) -> str:
    return decision if decision in COLOURS else "other"


def _outcome_class(outcome: str) -> str:
    return f"outcome {outcome if outcome in KNOWN_OUTCOMES else 'open'}"


def _known(statistics: DecisionStatistics) -> str:
    return f"{statistics.succeeded} of {statistics.succeeded + statistics.failed}"


def _rate(succeeded: int, failed: int) -> int | None:
    return round(100 * succeeded / (succeeded + failed)) if succeeded + failed else None


def _percent(percent: int | None) -> str:
    return "–" if percent is None else f"{percent} %"


def _share(count: int, total: int) -> str:
    return f"{round(100 * count / total)} %" if total else ""


def _ended_at(record: DecisionRecord) -> str:
    try:
        return f"{datetime.strptime(record.key[:15], '%Y%m%dT%H%M%S').replace(tzinfo=UTC):%Y-%m-%d %H:%M}"
    except ValueError:
        return record.at
