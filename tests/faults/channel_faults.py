"""How a channel fails, drawn from the seed: the n-th call about one question always meets the same."""

from __future__ import annotations

from enum import StrEnum
from random import Random

_MOST_IN_A_ROW = 2


class Fault(StrEnum):
    THROTTLED = "429"
    REFUSED = "500, not delivered"
    LOST_ANSWER = "500, delivered"
    SILENT = "no answer, not delivered"
    SILENT_AFTER = "no answer, delivered"
    SLOW = "slow"

    @property
    def delivers(self) -> bool:
        return self in (Fault.LOST_ANSWER, Fault.SILENT_AFTER, Fault.SLOW)

    @property
    def leaves_doubt(self) -> bool:
        """Who sent it cannot know whether it was delivered."""
        return self in (Fault.REFUSED, Fault.LOST_ANSWER, Fault.SILENT, Fault.SILENT_AFTER)


# In percent of the calls: whole messages matter most, and there is one for each question where updates are many.
_FOR_MESSAGES = {
    Fault.THROTTLED: 6.0,
    Fault.REFUSED: 5.0,
    Fault.LOST_ANSWER: 6.0,
    Fault.SILENT: 1.5,
    Fault.SILENT_AFTER: 1.5,
    Fault.SLOW: 5.0,
}
_FOR_UPDATES = {
    Fault.THROTTLED: 3.0,
    Fault.REFUSED: 2.0,
    Fault.LOST_ANSWER: 2.0,
    Fault.SILENT: 0.3,
    Fault.SILENT_AFTER: 0.3,
    Fault.SLOW: 3.0,
}


class ChannelFaults:
    """A channel that is down for good is another test: after two faults in a row one call goes well."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._calls: dict[str, int] = {}
        self._in_a_row: dict[str, int] = {}
        self.given: dict[Fault, int] = dict.fromkeys(Fault, 0)

    def next(self, question: str, *, whole_message: bool) -> Fault | None:
        number = self._calls[question] = self._calls.get(question, 0) + 1
        in_a_row = self._in_a_row.get(question, 0)
        fault = None if in_a_row == _MOST_IN_A_ROW else self._drawn(question, number, whole_message=whole_message)
        self._in_a_row[question] = in_a_row + 1 if fault else 0
        if fault:
            self.given[fault] += 1
        return fault

    def _drawn(self, question: str, number: int, *, whole_message: bool) -> Fault | None:
        percent = Random(f"{self._seed}/{question}/{number}").uniform(0, 100)
        for fault, share in (_FOR_MESSAGES if whole_message else _FOR_UPDATES).items():
            if percent < share:
                return fault
            percent -= share
        return None
