"""An item of a response's output while it is written: the strict events that openai's clients build it from.

https://platform.openai.com/docs/api-reference/responses-streaming
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class PartKind:
    """`events` begins the types of its delta and done events, `part_events` those of the part around it."""

    type: str
    of_item: str
    list_name: str
    text_name: str
    events: str
    part_events: str

    @property
    def index_name(self) -> str:
        return "summary_index" if self.list_name == "summary" else "content_index"


PARTS: Mapping[str, PartKind] = {
    kind.type: kind
    for kind in (
        PartKind("output_text", "message", "content", "text", "response.output_text", "response.content_part"),
        PartKind("refusal", "message", "content", "refusal", "response.refusal", "response.content_part"),
        PartKind("reasoning_text", "reasoning", "content", "text", "response.reasoning_text", "response.content_part"),
        PartKind(
            "summary_text",
            "reasoning",
            "summary",
            "text",
            "response.reasoning_summary_text",
            "response.reasoning_summary_part",
        ),
    )
}
OUTPUT_TEXT = PARTS["output_text"]

FIELDS: Mapping[str, tuple[str, str]] = {
    "function_call": ("arguments", "response.function_call_arguments"),
    "mcp_call": ("arguments", "response.mcp_call_arguments"),
    "custom_tool_call": ("input", "response.custom_tool_call_input"),
    "code_interpreter_call": ("code", "response.code_interpreter_call_code"),
}
"""The field of a call that is streamed, and what the types of its events begin with."""

_PLACES = ("start_index", "end_index")
_PART_OF_EVENTS = {kind.events: kind for kind in PARTS.values()}
# An item of these types is complete without a status.
_WITHOUT_STATUS = ("mcp_approval_request", "mcp_approval_response", "mcp_list_tools", "compaction")


class _Part:
    __slots__ = ("annotations", "done_text", "kind", "logprobs", "pieces")

    def __init__(self, kind: PartKind) -> None:
        self.kind = kind
        self.pieces: list[str] = []
        self.done_text: str | None = None
        self.annotations: list[Json] = []
        self.logprobs: list[Any] = []

    @property
    def text(self) -> str:
        if len(self.pieces) > 1:
            self.pieces = ["".join(self.pieces)]
        return self.pieces[0] if self.pieces else ""

    def as_json(self, *, empty: bool = False) -> Json:
        part: Json = {"type": self.kind.type, self.kind.text_name: "" if empty else self.text}
        if self.kind is OUTPUT_TEXT:
            part["annotations"] = [] if empty else list(self.annotations)
            part["logprobs"] = [] if empty else list(self.logprobs)
        return part


class OutputItem:
    """Its methods return events without sequence numbers. Where the text of a whole item or part goes on from what was
    streamed, its rest is streamed too.
    """

    def __init__(self, item: Json, index: int) -> None:
        """`item` has its final id. What of it is streamed counts as not yet said."""
        self.type: str = item["type"]
        self.id: str = item["id"]
        self.index = index
        self._item = item
        self._lists: dict[str, list[_Part]] = {"content": [], "summary": []}
        self._field_pieces: list[str] = []
        self._done_field: str | None = None

    @property
    def call_id(self) -> str | None:
        return self._item.get("call_id")

    @property
    def text(self) -> str:
        """All its parts: what a whole item that has another id is recognised by."""
        return "".join(part.text for parts in self._lists.values() for part in parts)

    def now(self, status: str = "in_progress") -> Json:
        item = dict(self._item)
        if self.type == "message":
            item.update(role="assistant", content=[part.as_json() for part in self._lists["content"]])
        elif self.type == "reasoning":
            item["summary"] = [part.as_json() for part in self._lists["summary"]]
            if self._lists["content"]:
                item["content"] = [part.as_json() for part in self._lists["content"]]
        elif self.type in FIELDS:
            item[FIELDS[self.type][0]] = "".join(self._field_pieces)
        if self.type not in _WITHOUT_STATUS:
            item["status"] = status
        return item

    def added(self) -> list[Json]:
        events = [{"type": "response.output_item.added", "output_index": self.index, "item": self.now()}]
        return [*events, self._event("response.mcp_call.in_progress")] if self.type == "mcp_call" else events

    def replay(self, event: Json) -> None:
        """Takes one of its own events, other than its first and last, as said."""
        of, _, end = event["type"].rpartition(".")
        if end == "added" and "part" in event:
            kind = PARTS[event["part"]["type"]]
            self._lists[kind.list_name].append(_Part(kind))
        elif end == "added" and "annotation" in event:
            self._lists["content"][event["content_index"]].annotations.append(event["annotation"])
        elif end == "delta" and of in _PART_OF_EVENTS:
            kind = _PART_OF_EVENTS[of]
            part = self._lists[kind.list_name][event[kind.index_name]]
            part.pieces.append(event["delta"])
            part.logprobs.extend(event.get("logprobs", ()))
        elif end == "done" and of in _PART_OF_EVENTS:
            kind = _PART_OF_EVENTS[of]
            part = self._lists[kind.list_name][event[kind.index_name]]
            part.done_text = event[kind.text_name]
            part.pieces = [event[kind.text_name]]
        elif end == "delta":
            self._field_pieces.append(event["delta"])
        elif end == "done" and self.type in FIELDS and of == FIELDS[self.type][1]:
            self._done_field = event[FIELDS[self.type][0]]
            self._field_pieces = [event[FIELDS[self.type][0]]]

    def text_delta(self, delta: str, logprobs: list[Any]) -> list[Json]:
        """Of the last part, the one there nearly always is: this is done for every token."""
        parts = self._lists["content"]
        if not parts or parts[-1].kind is not OUTPUT_TEXT:
            return self.part_delta(OUTPUT_TEXT, len(parts), delta, logprobs)
        parts[-1].pieces.append(delta)
        if logprobs:
            parts[-1].logprobs.extend(logprobs)
        return [
            {
                "type": "response.output_text.delta",
                "item_id": self.id,
                "output_index": self.index,
                "content_index": len(parts) - 1,
                "delta": delta,
                "logprobs": logprobs,
            }
        ]

    def part_delta(
        self, kind: PartKind, number: int | None, delta: str, logprobs: list[Any] | None = None
    ) -> list[Json]:
        number, events = self.part_added(kind, number)
        part = self._lists[kind.list_name][number]
        part.pieces.append(delta)
        part.logprobs.extend(logprobs or ())
        return [*events, self._part_event(kind, number, f"{kind.events}.delta", delta=delta, logprobs=logprobs or [])]

    def part_added(self, kind: PartKind, number: int | None) -> tuple[int, list[Json]]:
        """The part of that number where it is of this kind, otherwise the last one or a new one."""
        parts = self._lists[kind.list_name]
        number = len(parts) - 1 if number is None else number
        if 0 <= number < len(parts) and parts[number].kind is kind:
            return number, []
        parts.append(_Part(kind))
        number = len(parts) - 1
        return number, [
            self._part_event(kind, number, f"{kind.part_events}.added", part=parts[number].as_json(empty=True))
        ]

    def part_text(self, kind: PartKind, number: int | None, whole: str) -> list[Json]:
        """`whole` wins over what was streamed."""
        number, events = self.part_added(kind, number)
        part = self._lists[kind.list_name][number]
        streamed = part.text
        if whole.startswith(streamed):
            return events + (self.part_delta(kind, number, whole[len(streamed) :]) if whole != streamed else [])
        part.pieces = [whole]
        return [*events, self._text_done(kind, number)]

    def annotation(self, annotation: Json, number: int | None = None) -> list[Json]:
        number, events = self.part_added(OUTPUT_TEXT, number)
        annotations = self._lists["content"][number].annotations
        if annotation in annotations:
            return events
        annotations.append(annotation)
        kind = "response.output_text.annotation.added"
        index = len(annotations) - 1
        added = self._part_event(OUTPUT_TEXT, number, kind, annotation_index=index, annotation=annotation)
        return [*events, added]

    def field_delta(self, delta: str) -> list[Json]:
        self._field_pieces.append(delta)
        return [self._event(f"{FIELDS[self.type][1]}.delta", delta=delta)]

    def field_text(self, whole: str) -> list[Json]:
        streamed = "".join(self._field_pieces)
        if whole.startswith(streamed):
            return self.field_delta(whole[len(streamed) :]) if whole != streamed else []
        self._field_pieces = [whole]
        return [self._field_done()]

    def whole(self, item: Json) -> list[Json]:
        """The handler's own whole item, which wins over what was streamed, but takes no part back."""
        # Clients hold on to the call that an item began with.
        call = {"call_id": self._item["call_id"]} if "call_id" in self._item else {}
        self._item = {**item, **call, "id": self.id, "type": self.type}
        if self.type in FIELDS:
            value = item.get(FIELDS[self.type][0])
            return self.field_text(value) if isinstance(value, str) else []
        events: list[Json] = []
        for name, parts in self._lists.items():
            if self.type in ("message", "reasoning"):
                for number, part in enumerate(_whole_parts(item.get(name), self.type, name)):
                    fits = number < len(parts) and parts[number].kind.type == part["type"]
                    events += self.whole_part(PARTS[part["type"]], number if fits else len(parts), part)
        return events

    def whole_part(self, kind: PartKind, number: int | None, part: Json) -> list[Json]:
        number, events = self.part_added(kind, number)
        if whole := part.get(kind.text_name):
            events += self.part_text(kind, number, str(whole))
        if kind is OUTPUT_TEXT:
            annotations, logprobs = part.get("annotations"), part.get("logprobs")
            if isinstance(logprobs, list) and logprobs:
                self._lists["content"][number].logprobs = logprobs
            for annotation in filter(
                None, map(strict_annotation, annotations if isinstance(annotations, list) else ())
            ):
                events += self.annotation(annotation, number)
        return events

    def done(self, status: str) -> list[Json]:
        events = [event for name in self._lists for event in self._parts_done(name)]
        if self.type in FIELDS and self._done_field != "".join(self._field_pieces):
            events.append(self._field_done())
        if self.type == "mcp_call":
            failed = status != "completed" or self._item.get("error")
            events.append(self._event(f"response.mcp_call.{'failed' if failed else 'completed'}"))
        done = {"type": "response.output_item.done", "output_index": self.index, "item": self.now(status)}
        return [*events, done]

    def _parts_done(self, name: str) -> Iterator[Json]:
        for number, part in enumerate(self._lists[name]):
            if part.done_text != part.text:
                yield self._text_done(part.kind, number)
            yield self._part_event(part.kind, number, f"{part.kind.part_events}.done", part=part.as_json())

    def _text_done(self, kind: PartKind, number: int) -> Json:
        part = self._lists[kind.list_name][number]
        part.done_text = part.text
        said: Json = {kind.text_name: part.text, "logprobs": list(part.logprobs)}
        return self._part_event(kind, number, f"{kind.events}.done", **said)

    def _field_done(self) -> Json:
        name, prefix = FIELDS[self.type]
        self._done_field = "".join(self._field_pieces)
        more = {"name": self._item.get("name", "")} if self.type == "function_call" else {}
        return self._event(f"{prefix}.done", **{name: self._done_field}, **more)

    def _event(self, type: str, **more: Any) -> Json:  # noqa: ANN401 - any JSON
        return {"type": type, "item_id": self.id, "output_index": self.index, **more}

    def _part_event(self, kind: PartKind, number: int, type: str, **more: Any) -> Json:  # noqa: ANN401 - any JSON
        if kind is not OUTPUT_TEXT:
            more.pop("logprobs", None)
        return self._event(type, **{kind.index_name: number}, **more)


def _whole_parts(value: Any, item_type: str, list_name: str) -> Iterator[Json]:  # noqa: ANN401 - any JSON
    if isinstance(value, str):
        kind = (
            "output_text" if item_type == "message" else "summary_text" if list_name == "summary" else "reasoning_text"
        )
        yield {"type": kind, "text": value}
        return
    for part in value if isinstance(value, list) else ():
        kind_of = PARTS.get(str(part.get("type"))) if isinstance(part, dict) else None
        if kind_of is not None and (kind_of.of_item, kind_of.list_name) == (item_type, list_name):
            yield part


def strict_annotation(annotation: Any) -> Json | None:  # noqa: ANN401 - any JSON
    """With the places in the text that openai's types require; None for what is no annotation."""
    if not isinstance(annotation, dict) or not isinstance(annotation.get("type"), str):
        return None
    if annotation["type"] != "url_citation":
        return annotation
    url = str(annotation.get("url") or "")
    title = str(annotation.get("title") or url)
    places = {name: place if isinstance(place := annotation.get(name), int) else 0 for name in _PLACES}
    return {**annotation, "url": url, "title": title, **places}
