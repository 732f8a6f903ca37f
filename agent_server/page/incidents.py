"""The second tab of the page: what the job watch found, what was decided about it, and what became of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

from agent_server.handlers.handler import JsonObject
from agent_server.identity.server_caller import LOCAL_OWNER, ServerCaller
from agent_server.page.incident_decisions import IncidentDecisions
from agent_server.page.incident_json import incident_json, summary_json
from agent_server.page.incident_people import IncidentPeople
from agent_server.protocol.api_error import ApiError
from app.common.concurrency import gather_or_cancel
from app.jobs.chat.job_viewers import policy_for
from app.jobs.history.decision_record import PRIMARY
from app.jobs.history.decision_records import DecisionRecords
from app.jobs.history.history_reading import DAY_SECONDS, read_history
from app.jobs.history.history_statistics import history_statistics
from app.jobs.incidents.incident import Incident
from app.jobs.incidents.incident_store import IncidentStore
from app.jobs.job_policy import PolicyOf

SUMMARY_DAYS = 30
_HISTORY_DAYS = 400
_SUMMARY_SECONDS = 60.0
_PAGE_SIZE = 30
_MAX_DAYS_A_PAGE = 60
_MAX_READ_A_DAY = 300
_MAX_AT_ONCE = 16

_AS_THE_APP = (
    "Databricks gives a signed-in person's token no rights over jobs. The app looks at jobs and retries them with its "
    "own permissions, after it has checked who you are."
)


class Incidents:
    """Raises `ApiError`, and `StorageError` where the job watch's store cannot be used. `clock` is in seconds since
    1970.
    """

    def __init__(
        self,
        incidents: IncidentStore,
        records: DecisionRecords,
        policy_of: PolicyOf,
        people: IncidentPeople,
        decisions: IncidentDecisions,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._incidents = incidents
        self._records = records
        self._policy_of = policy_of
        self._people = people
        self._decisions = decisions
        self._clock = clock
        self._summary: JsonObject | None = None
        self._summarizing = asyncio.Lock()

    async def list_page(self, caller: ServerCaller, cursor: str = "") -> JsonObject:
        """Those that are open, what waits for a decision first. With a `cursor`, `next` of the page before: those that
        are closed, the newest first; one that is of two days may be on two pages.
        """
        may_decide = self._people.identify(caller).may_decide
        if cursor:
            found, following = await self._closed(_day(cursor))
        else:
            found, following = sorted(await self._incidents.open(), key=_urgency), self._today().isoformat()
        return {
            "incidents": [self._json(each, may_decide=may_decide) for each in found],
            "next": following or None,
            "may_decide": may_decide,
            "says": "" if caller.owner == LOCAL_OWNER else _AS_THE_APP,
        }

    async def summary(self, caller: ServerCaller) -> JsonObject:
        """Of the last `SUMMARY_DAYS`, at most a minute old."""
        self._people.identify(caller)
        async with self._summarizing:
            now = self._clock()
            if self._summary is None or now - self._summary["made_at"] >= _SUMMARY_SECONDS:
                since = now - (SUMMARY_DAYS - 1) * DAY_SECONDS
                records = await read_history(self._records, since, now)
                statistics = history_statistics(records, _date(since), _date(now))
                self._summary = summary_json(statistics, SUMMARY_DAYS, now)
            return self._summary

    async def decide(self, caller: ServerCaller, id: str, body: JsonObject) -> JsonObject:
        said, incident = await self._decisions.decide(caller, id, body)
        may_decide = self._people.identify(caller).may_decide
        return {"said": said, "incident": self._json(incident, may_decide=may_decide)}

    async def close(self) -> None:
        await self._decisions.close()

    async def _closed(self, day: date) -> tuple[list[Incident], str]:
        """Of this day and of those before it, until there is a page of them; and the day with which the next begins."""
        found: dict[str, Incident] = {}
        last = self._today() - timedelta(days=_HISTORY_DAYS)
        day = min(max(day, last), self._today())
        page_end = max(last, day - timedelta(days=_MAX_DAYS_A_PAGE))
        while day >= page_end and len(found) < _PAGE_SIZE:
            found |= {each.id: each for each in await self._closed_of(day)}
            day -= timedelta(days=1)
        newest_first = sorted(found.values(), key=lambda each: -each.changed_at_seconds)
        return newest_first, day.isoformat() if day >= last else ""

    async def _closed_of(self, day: date) -> list[Incident]:
        moment = datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()
        ids: dict[str, None] = {}
        async for record in self._records.between(moment, moment):
            if record.strategy == PRIMARY and record.incident_id:
                ids[record.incident_id] = None
            if len(ids) >= _MAX_READ_A_DAY:
                break
        at_once = asyncio.Semaphore(_MAX_AT_ONCE)

        async def find(id: str) -> Incident | None:
            async with at_once:
                return await self._incidents.find(id)

        incidents = await gather_or_cancel(find(id) for id in ids)
        return [each for each in incidents if each is not None and each.state.is_closed]

    def _today(self) -> date:
        return _date(self._clock())

    def _json(self, incident: Incident, *, may_decide: bool) -> JsonObject:
        return incident_json(incident, policy_for(incident, self._policy_of), may_decide=may_decide)


def _urgency(incident: Incident) -> tuple[bool, float]:
    return incident.state != "proposed", -incident.changed_at_seconds


def _date(seconds: float) -> date:
    return datetime.fromtimestamp(seconds, UTC).date()


def _day(cursor: str) -> date:
    try:
        return date.fromisoformat(cursor)
    except ValueError:
        raise ApiError(
            400, "cursor must be the next of the page before.", param="cursor", code="invalid_value"
        ) from None
