"""The targets that the settings name."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pydantic import SecretStr

from app.config import SettingsError
from app.jobs.notifications.http_notifier import HttpNotifier, Target
from app.jobs.notifications.notice_delivery import NoticeOutbox
from app.jobs.notifications.notice_timing import QuietHoursOf
from app.jobs.notifications.pagerduty import pagerduty_target
from app.jobs.notifications.slack import slack_target
from app.jobs.notifications.ticket import ticket_target
from app.jobs.notifications.webhook import webhook_target
from app.settings.job_notice_settings import JobNoticeSettings
from app.storage.documents import DocumentStore


def notice_outboxes(
    settings: JobNoticeSettings,
    documents: DocumentStore,
    *,
    quiet_hours: QuietHoursOf | None = None,
    clock: Callable[[], float] = time.time,
) -> tuple[NoticeOutbox, ...]:
    """Only people have quiet hours: PagerDuty has its own, and programs never sleep. Raises `SettingsError`."""
    return tuple(
        NoticeOutbox(
            documents,
            HttpNotifier(target, clock=clock),
            quiet_hours=quiet_hours if target.name == "slack" else None,
            clock=clock,
        )
        for target in targets(settings)
    )


def targets(settings: JobNoticeSettings) -> tuple[Target, ...]:
    """Raises `SettingsError` for a template or a secret that cannot be used."""
    found = []
    if settings.webhook_url is not None:
        with _checked("JOB_WEBHOOK_SECRET"):
            found.append(webhook_target(_secret(settings.webhook_url), _secret(settings.webhook_secret)))
    if settings.slack_webhook_url is not None:
        with _checked("SLACK_WEBHOOK_URL"):
            found.append(slack_target(_secret(settings.slack_webhook_url)))
    if settings.pagerduty_routing_key is not None:
        with _checked("PAGERDUTY_URL"):
            found.append(pagerduty_target(_secret(settings.pagerduty_routing_key), url=settings.pagerduty_url))
    if settings.ticket_url is not None:
        authorization = _secret(settings.ticket_authorization)
        with _checked("TICKET_TEMPLATE"):
            found.append(ticket_target(_secret(settings.ticket_url), settings.ticket_template, authorization))
    return tuple(found)


@contextmanager
def _checked(name: str) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise SettingsError([f"{name}: {error}"]) from None


def _secret(value: SecretStr | None) -> str:
    return "" if value is None else value.get_secret_value()
