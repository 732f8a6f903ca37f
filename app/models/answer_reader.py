"""What the readers of both APIs have in common."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from app.common.json_values import mapping, text
from app.models.model import Completed, Source, TextDelta
from app.models.repeated_text import RepeatedText
from app.models.visible_text import VisibleText

# As many as OpenAI allows in one answer.
MAX_TOOL_CALLS = 128
_TRACE_ID = re.compile(r"tr-[\w-]{1,100}|trace:/[^/\s]{1,300}/[\w-]{1,100}", re.ASCII)


class AnswerReader(Protocol):
    """Turns the payloads of one answer into events, which `buffer` collects."""

    @property
    def buffer(self) -> EventBuffer: ...

    @property
    def ended(self) -> bool:
        """The endpoint reported the end of the answer, and nothing has come after it."""
        ...

    @property
    def awaits_tools(self) -> bool:
        """More follows even after an end: the endpoint runs a tool of its own, and its result has not come."""
        ...

    @property
    def continued_after_end(self) -> bool:
        """More came after the endpoint had reported the end of the answer."""
        ...

    def read(self, payload: dict[str, Any]) -> None:
        """Raises ModelError when the payload is an error."""
        ...

    def read_whole(self, body: dict[str, Any]) -> None:
        """An endpoint that does not stream answers with one JSON object. Raises ModelError."""
        ...

    def end(self, *, done_received: bool) -> Completed:
        """The stream is over. Raises ContentFilteredError, or StreamInterruptedError when the answer is not
        complete."""
        ...


class EventBuffer:
    """Text and sources since the last `drain`; a source is reported once per answer."""

    def __init__(self, *, drops_names: bool = False) -> None:
        self.any_text = False
        self._visible = VisibleText(drops_names=drops_names)
        self._repeated = RepeatedText()
        self._between_messages = False
        self._passes_through = False
        self._text: list[str] = []
        self._sources: list[Source] = []
        self._known: set[tuple[str, str | None]] = set()

    def add_text(self, piece: str) -> None:
        if not piece:
            return
        if self._passes_through:
            self._repeated.keep(piece)
            self._text.append(piece)
        elif (piece := self._visible.add(piece)) and (piece := self._repeated.add(piece)):
            self._show(piece)
            self._passes_through = self._visible.is_text

    def flush(self) -> None:
        """Nothing is held back any longer."""
        self._show_held(self._repeated.end_message)

    def end_message(self) -> None:
        """Text that follows belongs to another message."""
        self.flush()
        self._between_messages = self.any_text

    def tool_called(self) -> None:
        """A tool was used between the text before and the text that follows."""
        self._show_held(self._repeated.tool_called)
        self._between_messages = self.any_text

    def drop_names(self) -> None:
        """Messages come from an agent, which may put names of agents before them."""
        self._visible.drops_names = True

    def add_source(self, source: Source | None) -> None:
        if source is not None and (key := (source.title, source.url)) not in self._known:
            self._known.add(key)
            self._sources.append(source)

    def drain(self) -> list[TextDelta | Source]:
        if not self._text and not self._sources:
            return []
        events: list[TextDelta | Source] = [TextDelta("".join(self._text))] if self._text else []
        events += self._sources
        self._text = []
        self._sources = []
        return events

    def _show_held(self, end: Callable[[], str]) -> None:
        self._passes_through = False
        if held := self._visible.end_message():
            held = self._repeated.add(held)
        if held := held + end():
            self._show(held)

    def _show(self, piece: str) -> None:
        if self._between_messages:
            self._between_messages = False
            self._text.append("\n\n")
        self._text.append(piece)
        self.any_text = True


def trace_id_of(payload: Mapping[str, Any]) -> str:
    """The id of the MLflow trace of an answer: as MLflow's agent server sends it (in an event of its own, or in the
    metadata of a whole answer), as model serving does, asked by `databricks_options`, or as agents say it themselves.
    "" where there is none.
    """
    info = mapping(mapping(mapping(payload.get("databricks_output")).get("trace")).get("info"))
    said = [mapping(payload.get(name)).get("trace_id") for name in ("metadata", "custom_outputs")]
    for found in (payload.get("trace_id"), info.get("trace_id"), info.get("request_id"), *said):
        if isinstance(found, str) and _TRACE_ID.fullmatch(found):
            return found
    return ""


def source_of(annotation: object) -> Source | None:
    """A citation in any of the forms seen: OpenAI's `url_citation` (nested in chat completions, flat in Responses),
    its `file_citation`, and the `citation` of a Databricks content part."""
    outer = mapping(annotation)
    cited = mapping(outer.get("url_citation")) or outer
    url = text(cited.get("url")) or None
    if url is not None and not url.startswith(("https://", "http://")):
        url = None
    title = text(cited.get("title")) or text(cited.get("document_title")) or text(cited.get("filename"))
    if not url and not title:
        return None
    return Source(title=title or url or "", url=url, quote=text(cited.get("cited_text")))
