"""What happened to the watched jobs since yesterday, and what still waits for somebody. Pure. Everything in it is plain
text, bounded, and without secrets.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict

from app.jobs.clean_text import clean_line, clean_url
from app.jobs.incidents import incident_sentences as sentences
from app.jobs.incidents.incident import Incident, IncidentState
from app.jobs.incidents.incident_facts import action_text, cause_of, job_name, state_of
from app.jobs.runs.look import EndedRun
from app.translation import ENGLISH, Sentence, Translator

_NAME = 100
_TEXT = 200
# All of it, escaped, fits into one document of the store.
_MAX_LINES = 12
_SECTIONS: Final = {
    "failed": Sentence("Failed, not yet recovered"),
    "waiting": Sentence("Waiting for a decision"),
    "late": Sentence("Late or running too long"),
    "recovered": Sentence("Recovered"),
    "with_failures": Sentence("Succeeded with failures"),
}
_SINCE: Final = Sentence("Jobs since {time}")
_NOTHING_FAILED: Final = Sentence("No watched job has failed since {time}.")
_REPAIRED: Final = Sentence("A retry fixed it.")


class _Shown(BaseModel):
    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)


class DigestLine(_Shown):
    """`url` is empty where there is none that a person should follow."""

    job: str
    text: str
    url: str = ""


class DigestSection(_Shown):
    """`count` is that of all; `lines` are the first of them."""

    name: str
    title: str
    count: int
    lines: tuple[DigestLine, ...]

    def left_out(self, shown: int) -> str:
        """Said after the first `shown`; "" after all."""
        return f"… +{self.count - shown}" if self.count > shown else ""


class Digest(_Shown):
    """Of one workspace; `date` is the day on which it is told. `since_seconds` and `until_seconds` are since 1970."""

    workspace: str
    date: str
    since_seconds: float
    until_seconds: float
    title: str
    sections: tuple[DigestSection, ...]

    @property
    def id(self) -> str:
        """The same for whoever makes it."""
        return f"digest-{self.date}-{self.workspace.removeprefix('https://')}"


@dataclass(frozen=True, slots=True)
class DigestPeriod:
    """From one morning to the next, in seconds since 1970."""

    since_seconds: float
    until_seconds: float
    zone: ZoneInfo

    @property
    def date(self) -> str:
        return f"{datetime.fromtimestamp(self.until_seconds, self.zone):%Y-%m-%d}"


def last_period(now: float, at: time, zone: ZoneInfo) -> DigestPeriod:
    """The last one that has ended. It is as long as the days in `zone`, where clocks may change."""
    today = datetime.fromtimestamp(now, zone).date()
    # A time that a change of the clocks skips may be later than now on a day that has begun.
    ends = [datetime.combine(today - timedelta(days=each), at, zone).timestamp() for each in range(4)]
    past = [end for end in ends if end <= now]
    return DigestPeriod(past[1], past[0], zone)


def digest_of(
    incidents: Iterable[Incident],
    with_failures: Iterable[EndedRun],
    period: DigestPeriod,
    *,
    workspace: str,
    translate: Translator = ENGLISH,
) -> Digest:
    """Of incidents that were opened or changed in the period, and those that wait for a decision, whenever they began.

    Each incident is in one section.
    """
    found: dict[str, list[DigestLine]] = {name: [] for name in _SECTIONS}
    for incident in sorted(incidents, key=lambda each: (each.opened_at_seconds, each.id)):
        if name := _section_of(incident, period):
            found[name].append(_line(incident, name, translate))
    for run in sorted(with_failures, key=lambda each: (each.ended_at_seconds, each.run_id)):
        if period.since_seconds <= run.ended_at_seconds < period.until_seconds:
            name_of_job = clean_line(run.job_name, _NAME) or f"Job {run.job_id}"
            found["with_failures"].append(DigestLine(job=name_of_job, text=f"Run {run.run_id}", url=clean_url(run.url)))
    sections = tuple(
        DigestSection(name=name, title=translate(title), count=len(found[name]), lines=tuple(found[name][:_MAX_LINES]))
        for name, title in _SECTIONS.items()
        if found[name]
    )
    return Digest(
        workspace=clean_line(workspace, _NAME),
        date=period.date,
        since_seconds=period.since_seconds,
        until_seconds=period.until_seconds,
        title=_title(sections, period, translate),
        sections=sections,
    )


def _section_of(incident: Incident, period: DigestPeriod) -> str:
    opened, changed = incident.opened_at_seconds, incident.changed_at_seconds
    if opened >= period.until_seconds:
        return ""
    if incident.state is IncidentState.PROPOSED:
        return "waiting"
    is_recent = period.since_seconds <= opened or period.since_seconds <= changed < period.until_seconds
    if not is_recent or incident.state in {IncidentState.SKIPPED, IncidentState.CLOSED}:
        return ""
    if incident.state is IncidentState.RECOVERED:
        return "recovered"
    return "failed" if incident.kind == "failure" else "late"


def _line(incident: Incident, section: str, translate: Translator) -> DigestLine:
    job = job_name(incident)
    others = len(incident.job_ids) - 1
    if others > 0:
        job += f" {translate(sentences.MORE_JOBS, count=others)}"
    said = [cause_of(incident)]
    if section == "waiting":
        said.append(action_text(incident, translate))
    if section == "failed":
        said.append(state_of(incident, translate))
    if section == "recovered" and any(retry.outcome == "succeeded" for retry in incident.retries):
        said.append(translate(_REPAIRED))
    if incident.run_count > 1:
        said.append(f"{translate(sentences.RUNS)}: {incident.run_count}")
    return DigestLine(
        job=job, text=clean_line(" – ".join(filter(None, said)), _TEXT), url=clean_url(incident.failure.url)
    )


def _title(sections: Sequence[DigestSection], period: DigestPeriod, translate: Translator) -> str:
    since = f"{datetime.fromtimestamp(period.since_seconds, period.zone):%Y-%m-%d %H:%M} ({period.zone.key})"
    if not sections:
        return translate(_NOTHING_FAILED, time=since)
    counts = "; ".join(f"{section.title} ({section.count})" for section in sections)
    return f"{translate(_SINCE, time=since)}: {counts}"
