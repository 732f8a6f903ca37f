"""Reads `every Monday at 8`, `every hour when above 300`, `jeden Tag um 18:30 Europe/Vienna`."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from decimal import Decimal

from app.schedules.condition import Condition
from app.schedules.recurrence import Recurrence
from app.schedules.when_words import ABOVE, BELOW, EVERY, FILLERS, ORDINALS, PHRASES, UNITS, WEEKDAYS

MAX_WHEN_CHARACTERS = 200
_DEFAULT_HOUR = 8
_ZONE = re.compile(r"(?<![\w/])(?:[a-z_]+(?:/[a-z0-9_+-]+)+|utc|gmt)(?![\w/])")
_TOKEN = re.compile(r"\d+|[^\W\d_]+|º|[:.](?=\d)|[<>]|\S")
_LIMIT = re.compile(rf"(?P<side>{'|'.join(map(re.escape, (*ABOVE, *BELOW)))})\s{{0,2}}(?P<number>-?\d[\d.,]{{0,30}})")
_SCALE = re.compile(r"\s?(k|thousand|m|mio|million|millions|millionen|bn|billion|mrd)\b")
_SCALES = {"k": 3, "thousand": 3, "bn": 9, "billion": 9, "mrd": 9}
_COMMA_IS_DECIMAL = ("de", "fr", "es")
_IGNORED = frozenset(",;.()'’-")
_WORKDAYS = (0, 1, 2, 3, 4)


@dataclass(frozen=True, slots=True)
class When:
    """`zone` as it was written, in lower case; empty where none was."""

    recurrence: Recurrence
    condition: Condition | None = None
    zone: str = ""


def split_question(text: str) -> tuple[str, str]:
    """What stands before and after the first colon that is not within a time of day."""
    for number, character in enumerate(text):
        within_time = text[number - 1 : number].isdigit() and text[number + 1 : number + 2].isdigit()
        if character == "：" or (character == ":" and not within_time):
            return text[:number].strip(), text[number + 1 :].strip()
    return text.strip(), ""


def parse_when(text: str, language: str = "en") -> When | None:
    """None for what is not understood in every word: a wrong time would be worse than a question."""
    text = unicodedata.normalize("NFKC", text).lower()
    if len(text) > MAX_WHEN_CHARACTERS:
        return None
    zone, text = _taken(_ZONE, text)
    for phrase, words in PHRASES:
        text = text.replace(phrase, words)
    condition, text = _condition(text, language)
    recurrence = _Words(text).recurrence(by_default_hourly=condition is not None)
    return None if recurrence is None else When(recurrence, condition, zone)


def _taken(pattern: re.Pattern[str], text: str) -> tuple[str, str]:
    found = pattern.search(text)
    return ("", text) if found is None else (found[0], f"{text[: found.start()]} {text[found.end() :]}")


def _condition(text: str, language: str) -> tuple[Condition | None, str]:
    found = _LIMIT.search(text)
    if found is None:
        return None, text
    limit = _number(found["number"].rstrip(".,"), language)
    end = found.end()
    if (scale := _SCALE.match(text, end)) is not None:
        limit, end = limit.scaleb(_SCALES.get(scale[1], 6)), scale.end()
    return Condition(above=found["side"] in ABOVE, limit=limit), f"{text[: found.start()]} {text[end:]}"


def _number(text: str, language: str) -> Decimal:
    """With separators of thousands and decimals as the language writes them."""
    decimal, thousands = (",", ".") if language in _COMMA_IS_DECIMAL else (".", ",")
    whole, _, fraction = text.partition(decimal)
    digits = "".join(character for character in fraction if character.isdigit())
    return Decimal(f"{whole.replace(thousands, '').replace(decimal, '')}.{digits or 0}")


class _Words:
    """Reads one word after the other. `recurrence` is None once a word is not understood."""

    def __init__(self, text: str) -> None:
        self._tokens: list[str] = _TOKEN.findall(text)
        self._units: set[str] = set()
        self._weekdays: set[int] = set()
        self._times: list[tuple[int, int]] = []
        self._days: list[int] = []
        self._understood = True

    def recurrence(self, *, by_default_hourly: bool) -> Recurrence | None:
        position = 0
        while position < len(self._tokens):
            position = self._read(position)
        units = self._units
        if "month" in units and not self._days and len(self._times) in (1, 2) and self._times[0][1] == 0:
            self._days.append(self._times.pop(0)[0])
        if not self._understood or len(self._times) > 1 or len(self._days) > 1:
            return None
        if "hour" in units or (by_default_hourly and not (units - {"pm"} or self._weekdays or self._times)):
            alone = not (self._times or self._days or self._weekdays or "month" in units)
            return Recurrence() if alone else None
        hour, minute = self._time()
        if not (0 <= hour <= 23 and 0 <= minute <= 59):
            return None
        if "month" in units:
            if self._weekdays or units & {"week", "workday"}:
                return None
            day = self._days[0] if self._days else 0
            return Recurrence(hour=hour, minute=minute, month_day=day) if 1 <= day <= 31 else None
        if self._days or ("day" not in units and "workday" not in units and not self._weekdays):
            return None
        weekdays = self._weekdays | (set(_WORKDAYS) if "workday" in units else set())
        return Recurrence(hour=hour, minute=minute, weekdays=tuple(sorted(weekdays)))

    def _time(self) -> tuple[int, int]:
        hour, minute = self._times[0] if self._times else (_DEFAULT_HOUR, 0)
        if "pm" in self._units:
            return (hour + 12 if hour < 12 else hour), minute
        return (0 if "am" in self._units and hour == 12 else hour), minute

    def _read(self, position: int) -> int:
        word = self._tokens[position]
        if word.isdecimal():
            return self._read_number(position)
        if word in WEEKDAYS:
            self._weekdays.add(WEEKDAYS[word])
        elif word == "am":
            # In German before a day; in English after an hour.
            if position and self._tokens[position - 1].isdecimal():
                self._units.add(word)
        elif (unit := UNITS.get(word)) is not None:
            self._read_unit(unit)
        elif word not in FILLERS and word not in _IGNORED:
            self._understood = False
        return position + 1

    def _read_unit(self, unit: str) -> None:
        if unit in ("noon", "midnight"):
            self._times.append((12 if unit == "noon" else 0, 0))
        else:
            self._units.add(unit)

    def _at(self, position: int) -> str:
        return self._tokens[position] if position < len(self._tokens) else ""

    def _is_interval(self, position: int) -> bool:
        """Such as every 2 days: the number is no time of day."""
        following = self._at(position + 2 if self._at(position + 1) == "." else position + 1)
        return position > 0 and self._tokens[position - 1] in EVERY and (following in UNITS or following in WEEKDAYS)

    def _read_number(self, position: int) -> int:
        first, end = self._tokens[position], position + 1
        if len(first) > 2:
            self._understood = False
            return end
        following = self._at(end)
        if following in ORDINALS:
            self._days.append(int(first))
            return end + 1
        if following in (":", ".") and self._at(end + 1).isdecimal():
            minutes = self._at(end + 1)
            end += 2
        elif following in ("h", "uhr", "heure", "heures", "hora", "horas"):
            # After a number it is the time of day, not "every hour".
            end += 1
            more = self._at(end)
            minutes, end = (more, end + 1) if more.isdecimal() else ("00", end)
        else:
            minutes = "00"
        if len(minutes) != 2 or self._is_interval(position):
            self._understood = False
            return end
        self._times.append((int(first), int(minutes)))
        return end
