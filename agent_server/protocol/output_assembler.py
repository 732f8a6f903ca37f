"""The output of one response: which item an event of a handler is about, and what of it is new."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from agent_server.protocol.handler_events import HandlerEventError, number_field, read_item, text_field, text_of
from agent_server.protocol.output_item import FIELDS, PARTS, OutputItem, PartKind, strict_annotation

Json = dict[str, Any]

_PREFIXES = {
    "message": "msg",
    "function_call": "fc",
    "function_call_output": "fco",
    "reasoning": "rs",
    "mcp_call": "mcp",
}
_FINAL_STATUS = ("completed", "incomplete", "failed")
_MAX_ID_CHARACTERS = 200


class OutputAssembler:
    """Its methods return events without sequence numbers. They raise `HandlerEventError` before anything is changed."""

    def __init__(self, response_id: str) -> None:
        self._suffix = response_id.partition("_")[2] or response_id
        self._items: list[OutputItem | Json] = []
        self._open: dict[tuple[str, str], OutputItem] = {}
        self._open_by_index: dict[tuple[str, int], OutputItem] = {}
        self._own_ids: set[str] = set()
        self._named: set[tuple[str, str]] = set()
        self._calls: set[tuple[str, str]] = set()
        self._closed_texts: set[tuple[str, str]] = set()

    @property
    def output(self) -> list[Json]:
        return [item.now() if isinstance(item, OutputItem) else item for item in self._items]

    def text_delta(self, event: Mapping[str, Any]) -> list[Json]:
        delta, logprobs = event.get("delta"), event.get("logprobs")
        if not isinstance(delta, str):
            raise HandlerEventError("The delta of an event must be a string.")
        item_id = event.get("item_id")
        item = self._open.get(("message", item_id)) if isinstance(item_id, str) else None
        events: list[Json] = []
        if item is None:
            if not delta:
                return []
            item, events = self._opened("message", event)
        said = item.text_delta(delta, logprobs if isinstance(logprobs, list) else [])
        return events + said if events else said

    def take(self, event: Mapping[str, Any]) -> list[Json]:
        """Any other event about an item."""
        take = _EVENTS.get(event["type"])
        if take is not None:
            return take(self, event)
        _, _, step = event["type"].partition(".")
        if event["type"] not in _STEPS:
            raise HandlerEventError(f"{event['type'][:80]!r} is no event of the Responses API.")
        found = self._find(step.partition(".")[0], event.get("item_id"), event)
        return [{**event, "item_id": found.id, "output_index": found.index}] if found else []

    def whole_item(self, item: Json, event: Mapping[str, Any], *, at_end: bool = False) -> list[Json]:
        """`item` is as `read_item` returns it. `at_end`: it stands in the handler's own completed response."""
        found = self._find(item["type"], item.get("id"), event) or self._streamed_as(item)
        events: list[Json] = []
        if found is None:
            if self._is_repeated(item, at_end=at_end):
                return []
            found, events = self._begin_item(item, event)
        events += found.whole(item)
        status = item.get("status")
        return events + self._close(found, status if status in _FINAL_STATUS else "completed")

    def close_all(self, status: str) -> list[Json]:
        return [event for item in list(self._open.values()) for event in self._close(item, status)]

    def replay(self, event: Json) -> None:
        """Takes one of its own events as said: after all of them it is as it was."""
        kind = event["type"]
        if kind == "response.output_item.added":
            self._restore_item(event["item"])
        elif kind == "response.output_item.done":
            item = self._items[event["output_index"]]
            if isinstance(item, OutputItem):
                self._forget(item)
            self._keep(event["output_index"], event["item"])
        elif "output_index" in event:
            item = self._items[event["output_index"]]
            if isinstance(item, OutputItem):
                item.replay(event)

    # Events of a handler

    def _part_delta(self, kind: PartKind, event: Mapping[str, Any]) -> list[Json]:
        delta = text_field(event, "delta")
        item, events = self._opened(kind.of_item, event)
        return events + item.part_delta(kind, number_field(event, kind.index_name), delta)

    def _part_text(self, kind: PartKind, event: Mapping[str, Any]) -> list[Json]:
        whole = text_field(event, kind.text_name)
        item, events = self._opened(kind.of_item, event)
        return events + item.part_text(kind, number_field(event, kind.index_name), whole)

    def _part(self, event: Mapping[str, Any]) -> list[Json]:
        """Added or done. The item's own done event follows, or the end of the response."""
        part = event.get("part")
        kind = PARTS.get(str(part.get("type"))) if isinstance(part, dict) else None
        if kind is None or not isinstance(part, dict):
            raise HandlerEventError("The part of an event must be an object of a known type, for example output_text.")
        item, events = self._opened(kind.of_item, event)
        return events + item.whole_part(kind, number_field(event, kind.index_name), part)

    def _annotation(self, event: Mapping[str, Any]) -> list[Json]:
        annotation = strict_annotation(event.get("annotation"))
        if annotation is None:
            raise HandlerEventError("The annotation of an event must be an object with a type, such as url_citation.")
        item, events = self._opened("message", event)
        return events + item.annotation(annotation, number_field(event, "content_index"))

    def _field_delta(self, item_type: str, event: Mapping[str, Any]) -> list[Json]:
        delta = text_field(event, "delta")
        found = self._find_call(item_type, event)
        return found.field_delta(delta) if found else []

    def _field_text(self, item_type: str, event: Mapping[str, Any]) -> list[Json]:
        whole = text_field(event, FIELDS[item_type][0])
        found = self._find_call(item_type, event)
        return found.field_text(whole) if found else []

    def _item_added(self, event: Mapping[str, Any]) -> list[Json]:
        added = event.get("item")
        if isinstance(added, dict) and added.get("type") in FIELDS and not added.get("name"):
            # A call whose name comes later begins with its done event: clients hold on to what it began with.
            return []
        item = read_item(added)
        if self._find(item["type"], item.get("id"), event) or self._call_of(item) in self._calls:
            return []
        return self._begin_item(item, event)[1]

    def _item_done(self, event: Mapping[str, Any]) -> list[Json]:
        return self.whole_item(read_item(event.get("item")), event)

    # Items

    def _find(self, item_type: str, item_id: object, event: Mapping[str, Any]) -> OutputItem | None:
        """Some services name another id in each event of an item: its index tells it then."""
        found = self._open.get((item_type, item_id)) if isinstance(item_id, str) else None
        index = event.get("output_index") if found is None else None
        return found or (self._open_by_index.get((item_type, index)) if isinstance(index, int) else None)

    def _find_call(self, item_type: str, event: Mapping[str, Any]) -> OutputItem | None:
        """None where no event has named the call yet: its done event has all arguments."""
        item_id = event.get("item_id")
        return self._find(item_type, item_id, event) or (None if item_id else self._last_open(item_type))

    def _last_open(self, item_type: str) -> OutputItem | None:
        return next((item for (kind, _), item in reversed(self._open.items()) if kind == item_type), None)

    def _opened(self, item_type: str, event: Mapping[str, Any]) -> tuple[OutputItem, list[Json]]:
        """The message or reasoning that an event is about; the last open one where the event does not say it."""
        item_id = event.get("item_id")
        found = self._find(item_type, item_id, event) or (None if item_id else self._last_open(item_type))
        return (found, []) if found else self._begin_item({"type": item_type, "id": item_id}, event)

    def _begin_item(self, item: Json, event: Mapping[str, Any]) -> tuple[OutputItem, list[Json]]:
        kind, named = item["type"], item.get("id")
        begun = OutputItem({**item, "id": self._own_id(kind, named)}, len(self._items))
        self._items.append(begun)
        named = named if isinstance(named, str) and named else begun.id
        self._open[kind, named] = begun
        self._named.add((kind, named))
        if isinstance(index := event.get("output_index"), int):
            self._open_by_index[kind, index] = begun
        if call := self._call_of(item):
            self._calls.add(call)
        return begun, begun.added()

    def _restore_item(self, item: Json) -> None:
        restored = OutputItem(item, len(self._items))
        self._items.append(restored)
        self._open[restored.type, restored.id] = restored
        self._named.add((restored.type, restored.id))
        self._own_ids.add(restored.id)
        if call := self._call_of(item):
            self._calls.add(call)

    def _own_id(self, item_type: str, named: object) -> str:
        if isinstance(named, str) and 0 < len(named) <= _MAX_ID_CHARACTERS and named not in self._own_ids:
            self._own_ids.add(named)
            return named
        number = len(self._items)
        while (own := f"{_PREFIXES.get(item_type, 'item')}_{self._suffix}_{number}") in self._own_ids:
            number += 1
        self._own_ids.add(own)
        return own

    @staticmethod
    def _call_of(item: Json) -> tuple[str, str] | None:
        call_id = item.get("call_id")
        return (item["type"], call_id) if isinstance(call_id, str) and call_id else None

    def _streamed_as(self, item: Json) -> OutputItem | None:
        """Of another id: the open call of this `call_id`, or message whose text this one repeats or goes on with."""
        if call := self._call_of(item):
            return next((each for each in self._open.values() if (each.type, each.call_id) == call), None)
        if item["type"] != "message":
            return None
        text = text_of(item)
        messages = (open_ for (kind, _), open_ in reversed(self._open.items()) if kind == "message")
        return next((each for each in messages if each.text and text.startswith(each.text)), None)

    def _is_repeated(self, item: Json, *, at_end: bool) -> bool:
        """Clients refuse two calls of one id; the handler's completed response names all items again."""
        kind = item["type"]
        if call := self._call_of(item):
            return call in self._calls
        was_named = (kind, item.get("id")) in self._named
        if kind not in ("message", "reasoning"):
            return was_named
        return (was_named or at_end) and (kind, text_of(item)) in self._closed_texts

    def _close(self, item: OutputItem, status: str) -> list[Json]:
        events = item.done(status)
        self._keep(item.index, events[-1]["item"])
        self._forget(item)
        return events

    def _keep(self, index: int, item: Json) -> None:
        self._items[index] = item
        if item["type"] in ("message", "reasoning"):
            self._closed_texts.add((item["type"], text_of(item)))

    def _forget(self, item: OutputItem) -> None:
        self._open = {key: each for key, each in self._open.items() if each is not item}
        self._open_by_index = {key: each for key, each in self._open_by_index.items() if each is not item}


_Take = Callable[[OutputAssembler, Mapping[str, Any]], list[Json]]


def _with(take: Callable[[OutputAssembler, Any, Mapping[str, Any]], list[Json]], what: object) -> _Take:
    return lambda assembler, event: take(assembler, what, event)


_EVENTS: Mapping[str, _Take] = {
    "response.output_item.added": OutputAssembler._item_added,
    "response.output_item.done": OutputAssembler._item_done,
    "response.output_text.annotation.added": OutputAssembler._annotation,
    **{f"{kind.events}.delta": _with(OutputAssembler._part_delta, kind) for kind in PARTS.values()},
    **{f"{kind.events}.done": _with(OutputAssembler._part_text, kind) for kind in PARTS.values()},
    **{f"{kind.part_events}.{end}": OutputAssembler._part for kind in PARTS.values() for end in ("added", "done")},
    **{f"{prefix}.delta": _with(OutputAssembler._field_delta, kind) for kind, (_, prefix) in FIELDS.items()},
    **{f"{prefix}.done": _with(OutputAssembler._field_text, kind) for kind, (_, prefix) in FIELDS.items()},
}
# Steps of items that others' tools make. Those of mcp_call follow from the item itself.
_STEPS = frozenset(
    f"response.{kind}_call.{step}"
    for kind, steps in {
        "code_interpreter": ("in_progress", "interpreting", "completed"),
        "file_search": ("in_progress", "searching", "completed"),
        "image_generation": ("in_progress", "generating", "completed"),
        "mcp": ("in_progress", "completed", "failed"),
        "web_search": ("in_progress", "searching", "completed"),
    }.items()
    for step in steps
)
