"""What applies to each job, from the settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from zoneinfo import ZoneInfo

from app.jobs.job_matching import has_tag, name_matches
from app.jobs.job_policy import JobPolicy, ParameterRule, Person, WatchMode
from app.jobs.quiet_hours import quiet_hours_of
from app.settings.job_notice_settings import JobNoticeSettings
from app.settings.job_watch_settings import JobSetting, JobWatchSettings, ParameterSetting, PersonSetting

_TAG = "tag:"


@dataclass(frozen=True, slots=True)
class JobPolicies:
    """`default` is for every job; `by_key` has what differs, by the id, name pattern or tag of a job."""

    default: JobPolicy
    by_key: Mapping[str, JobSetting]
    zone: ZoneInfo

    @classmethod
    def from_settings(cls, settings: JobWatchSettings, notices: JobNoticeSettings | None = None) -> JobPolicies:
        notices = notices or JobNoticeSettings()
        zone = ZoneInfo(notices.time_zone)
        default = JobPolicy(
            mode=WatchMode(settings.mode),
            is_rerun_safe=settings.safe,
            parameters=_rules(settings.allow),
            max_retry_attempts=settings.max_retry_attempts,
            retry_with_params_attempts=settings.retry_with_params_attempts,
            failures_in_a_row=settings.failures_in_a_row,
            max_minutes=settings.max_minutes,
            max_late_minutes=settings.max_late_minutes,
            approvers=_people(settings.approvers),
            viewers=_people(settings.viewers),
            escalation_emails=settings.emails,
            quiet_hours=quiet_hours_of(notices.quiet_hours, zone),
        )
        return cls(default, settings.jobs, zone)

    def of(self, job_id: int, name: str = "", tags: Mapping[str, str] | None = None) -> JobPolicy:
        """What is said of the id wins over what is said of the name, and that over a tag; later words over earlier."""
        policy = self.default
        keys_of_tags = {key: key.removeprefix(_TAG) for key in self.by_key if key.startswith(_TAG)}
        tagged = [self.by_key[key] for key, tag in keys_of_tags.items() if has_tag(tags or {}, tag)]
        others = [(key, each) for key, each in self.by_key.items() if key not in keys_of_tags and not _is_id(key)]
        named = [each for key, each in others if name_matches(name, key)]
        identified = [each for key, each in self.by_key.items() if _is_id(key) and int(key) == job_id]
        for differences in (*tagged, *named, *identified):
            policy = _with(policy, differences)
            if differences.quiet_hours is not None:
                policy = replace(policy, quiet_hours=quiet_hours_of(differences.quiet_hours, self.zone))
        return policy


def _is_id(key: str) -> bool:
    return key.isascii() and key.isdigit()


def _with(policy: JobPolicy, differences: JobSetting) -> JobPolicy:
    """An empty list differs too: nobody, or nothing."""
    given = {
        "mode": None if differences.mode is None else WatchMode(differences.mode),
        "is_rerun_safe": differences.safe,
        "parameters": None if differences.allow is None else _rules(differences.allow),
        "max_retry_attempts": differences.max_retry_attempts,
        "retry_with_params_attempts": differences.retry_with_params_attempts,
        "failures_in_a_row": differences.failures_in_a_row,
        "max_minutes": differences.max_minutes,
        "max_late_minutes": differences.max_late_minutes,
        "approvers": _people_or_none(differences.approvers),
        "viewers": _people_or_none(differences.viewers),
        "owners": _people_or_none(differences.owners),
        "escalation_emails": differences.emails,
    }
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    return replace(policy, **changes)


def _rules(allowed: Mapping[str, ParameterSetting]) -> tuple[ParameterRule, ...]:
    return tuple(
        ParameterRule(name, rule.type, minimum=rule.min, maximum=rule.max, choices=rule.choices)
        for name, rule in allowed.items()
    )


def _people(people: Sequence[PersonSetting]) -> tuple[Person, ...]:
    return tuple(Person(each.tenant.lower(), each.id.lower(), each.name, each.email) for each in people)


def _people_or_none(people: Sequence[PersonSetting] | None) -> tuple[Person, ...] | None:
    return None if people is None else _people(people)
