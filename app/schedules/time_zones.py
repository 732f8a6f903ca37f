"""In which time zone a person is, as they or their client said it last."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from app.common.caller import Caller
from app.schedules.recurrence import zone_of
from app.storage.documents import Collection, Document, DocumentKey, DocumentStore
from app.storage.storage_errors import ConcurrentUpdateError

TIME_ZONES: Final = Collection("time_zones", retention_days=400)
_MAX_SUGGESTIONS = 4
_COMMON: Final = (
    "Europe/London", "Europe/Berlin", "Europe/Paris", "Europe/Madrid", "Europe/Vienna", "Europe/Zurich",
    "Europe/Lisbon", "Europe/Helsinki", "Europe/Athens", "Europe/Istanbul", "America/New_York", "America/Chicago",
    "America/Denver", "America/Phoenix", "America/Los_Angeles", "America/Mexico_City", "America/Bogota",
    "America/Sao_Paulo", "America/Argentina/Buenos_Aires", "Africa/Johannesburg", "Asia/Dubai", "Asia/Kolkata",
    "Asia/Singapore", "Asia/Shanghai", "Asia/Tokyo", "Asia/Seoul", "Australia/Sydney", "Pacific/Auckland",
)  # fmt: skip


class TimeZones:
    """Every method raises `StorageError`."""

    def __init__(self, documents: DocumentStore) -> None:
        self._documents = documents

    async def find(self, caller: Caller) -> ZoneInfo | None:
        key = _key(caller)
        document = None if key is None else await self._documents.get(key)
        return None if document is None else zone_of(document.value)

    async def remember(self, caller: Caller, zone: ZoneInfo) -> None:
        if (key := _key(caller)) is None:
            return
        document = await self._documents.get(key) or Document(key, "")
        try:
            await self._documents.put(Document(key, zone.key, version=document.version))
        except ConcurrentUpdateError:
            # They have just said it somewhere else.
            return


def suggested(offset: str, now: float) -> list[str]:
    """Names of zones whose clocks show `offset` now, such as `+01:00`."""
    wanted = _offset(offset)
    if wanted is None:
        return []
    moment = datetime.fromtimestamp(now, UTC)
    return [name for name in _COMMON if moment.astimezone(ZoneInfo(name)).utcoffset() == wanted][:_MAX_SUGGESTIONS]


def _offset(text: str) -> timedelta | None:
    try:
        return datetime.strptime(text, "%z").utcoffset()
    except ValueError:
        return None


def _key(caller: Caller) -> DocumentKey | None:
    id = caller.entra_object_id or caller.user_id
    return DocumentKey(TIME_ZONES, caller.tenant_id, id) if id else None
