"""What people read about schedules."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo

from app.schedules.condition import Condition, Outcome
from app.schedules.recurrence import Recurrence
from app.translation import Sentence, Translator

USAGE: Final = Sentence("""\
I ask a question again into this chat when you write, for example:

- `/schedule every Monday at 8: How did revenue develop?`
- `/schedule every weekday at 17:30 Europe/Berlin: How many orders came in today?`
- `/schedule every hour when above 300: How many orders are open?`

I understand hours, days, weekdays and days of the month. **/schedule** alone lists what there is.""")
NO_SUCH_ZONE: Final = Sentence("I do not know the time zone {zone}. Please write it as in Europe/Berlin.")
WHICH_ZONE: Final = Sentence(
    "In which time zone are you? Please send it once more with the time zone, for example:\n\n"
    "`/schedule {when} Europe/Berlin: {question}`\n\nI remember it."
)
NOT_HERE: Final = Sentence(
    "I cannot write here without being asked. Please use **/schedule** in our chat in Teams, or in a group or channel."
)
TOO_MANY: Final = Sentence("This chat has {count} schedules, and may have no more. Please remove one first.")
TOO_LONG: Final = Sentence("The question is too long for a schedule: {count} characters at most.")
ADDED: Final = Sentence("Done. I ask this here {when} ({zone}), next on {next}:\n\n> {question}")
ADDED_CONDITION: Final = Sentence("I write only when that becomes true.")
NONE: Final = Sentence("Nothing is scheduled in this chat.")
LISTED: Final = Sentence("I ask here:")
LISTED_ONE: Final = Sentence("{when} ({zone}), next on {next}: {question}")
REMOVE: Final = Sentence("Remove {number}")
REMOVE_ONE: Final = Sentence("Remove")
REMOVED: Final = Sentence("Removed: I do not ask that again.")
NOT_THERE: Final = Sentence("There is no such schedule in this chat any more.")
NO_NUMBER: Final = Sentence(
    "*(I found no number in this answer to compare. I write again when there is one and the condition is true.)*"
)
NOT_ALL_ROWS: Final = Sentence(
    "*(I compare the rows that are shown here, and there are more. Please ask for a single number instead.)*"
)
NOT_COMPARED: Final = {Outcome.NO_NUMBER: NO_NUMBER, Outcome.NOT_ALL_ROWS: NOT_ALL_ROWS}

_HOURLY: Final = Sentence("every hour")
_DAILY: Final = Sentence("every day at {time}")
_WORKDAYS: Final = Sentence("Monday to Friday at {time}")
_WEEKDAYS: Final = Sentence("every {days} at {time}")
_MONTHLY: Final = Sentence("on day {day} of every month at {time}")
_ABOVE: Final = Sentence("{when}, when above {limit}")
_BELOW: Final = Sentence("{when}, when below {limit}")
_NAMES: Final = (
    Sentence("Monday"),
    Sentence("Tuesday"),
    Sentence("Wednesday"),
    Sentence("Thursday"),
    Sentence("Friday"),
    Sentence("Saturday"),
    Sentence("Sunday"),
)


def described(recurrence: Recurrence, condition: Condition | None, translate: Translator) -> str:
    when = _recurrence(recurrence, translate)
    if condition is None:
        return when
    return translate(_ABOVE if condition.above else _BELOW, when=when, limit=_number(condition.limit))


def local_time(moment: float, zone: ZoneInfo) -> str:
    return datetime.fromtimestamp(moment, zone).strftime("%Y-%m-%d %H:%M")


def _recurrence(recurrence: Recurrence, translate: Translator) -> str:
    if recurrence.hour is None:
        return translate(_HOURLY)
    time = f"{recurrence.hour:02}:{recurrence.minute:02}"
    if recurrence.month_day is not None:
        return translate(_MONTHLY, day=recurrence.month_day, time=time)
    if recurrence.weekdays == (0, 1, 2, 3, 4):
        return translate(_WORKDAYS, time=time)
    if recurrence.weekdays:
        days = ", ".join(translate(_NAMES[day]) for day in recurrence.weekdays)
        return translate(_WEEKDAYS, days=days, time=time)
    return translate(_DAILY, time=time)


def _number(value: Decimal) -> str:
    return f"{value.normalize():f}"
