"""What the fakes recorded of a turn. Every instant is `time.monotonic()` in seconds, one clock for all processes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

ConversationType = Literal["personal", "groupChat"]


@dataclass(slots=True)
class SentActivity:
    """One activity that the bot sent to the connector, from its arrival to the connector's response."""

    arrived: float
    answered: float
    method: str
    type: str
    stream_type: str | None
    text: str


@dataclass(slots=True)
class TurnTiming:
    """One question. Instants are None for what never happened; `status` is that of the POST, 0 without a response."""

    conversation: str
    number: int
    expected: str
    posted: float
    status: int = 0
    acknowledged: float | None = None
    model_asked: float | None = None
    tools_called: float | None = None
    tools_answered: float | None = None
    first_token: float | None = None
    last_token: float | None = None
    sends: list[SentActivity] = field(default_factory=list)

    @property
    def final(self) -> SentActivity | None:
        return next((send for send in self.sends if send.type == "message"), None)

    @property
    def first_words(self) -> SentActivity | None:
        """The first that shows some of the answer."""
        return next((send for send in self.sends if send.type == "message" or send.stream_type == "streaming"), None)

    @property
    def answered(self) -> bool:
        """The person got the whole of what the model said, and the call was acknowledged."""
        return self.final is not None and self.expected in self.final.text and 200 <= self.status < 300


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """What the load driver does: `conversations` at once, in each `turns` one after the other. Times in seconds.

    With `connect_for` the driver waits that long for the bot to listen. `first_number` continues earlier conversations.
    Where there are `tool_seconds`, the model first calls for as many queries at once, each of which takes as long and
    returns `rows`. In the first `function_conversations` it first calls the tool `weather`.
    """

    target: str
    name: str
    conversation_type: ConversationType = "personal"
    conversations: int = 1
    turns: int = 1
    first_number: int = 1
    stagger: float = 0.1
    pause: float = 1.0
    duration: float | None = None
    tokens: int = 5
    first_delay: float = 0.05
    gap: float = 0.01
    connector_delay: float = 0.0
    connect_for: float = 0.0
    turn_limit: float = 30.0
    tool_seconds: Sequence[float] = ()
    rows: int = 0
    function_conversations: int = 0


@dataclass(frozen=True, slots=True)
class LoadRun:
    """`driver_lag_seconds` is how late the fakes' own event loop was at most: instants are no more exact than that."""

    turns: list[TurnTiming]
    driver_lag_seconds: float

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> LoadRun:
        turns = [
            TurnTiming(**{**turn, "sends": [SentActivity(**send) for send in turn["sends"]]}) for turn in data["turns"]
        ]
        return cls(turns=turns, driver_lag_seconds=data["driver_lag_seconds"])
