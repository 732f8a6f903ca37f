"""The answer of one turn as it comes together."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from app.agent.events import Answer, BlockAdded, TextAdded, interrupted, without_interruption
from app.common.text import pending_surrogate, replace_lone_surrogates
from app.content.citation import Citation
from app.content.feedback_target import MAX_FEEDBACK_TARGETS, FeedbackTarget, TraceTarget
from app.models.model import Source, Usage

if TYPE_CHECKING:
    from app.content.blocks import Block


class AnswerBuilder:
    """`said` was shown by an earlier attempt."""

    def __init__(self, said: str = "") -> None:
        self.citations: list[Citation] = []
        self.blocks: list[Block] = []
        self.truncated = False
        self.trace_id = ""
        self.usage: Usage | None = None
        self.by_model = bool(without_interruption(said).strip())
        self.length = len(said)
        self._parts = [said] if said else []
        self._pending_surrogate = ""

    @property
    def text(self) -> str:
        if len(self._parts) > 1:
            self._parts = ["".join(self._parts)]
        return self._parts[0] if self._parts else ""

    def add(self, text: str, *, by_model: bool = True) -> TextAdded:
        return self._add("", self._whole_characters(text), by_model)

    def begin_message(self, text: str, *, was_interrupted: bool) -> TextAdded:
        """The first words of a message of the model; or, where it `was_interrupted` in one, the next words of that."""
        text = self._whole_characters(text)
        return self._add(self._separator(text, was_interrupted) if text else "", text, by_model=True)

    def _add(self, separator: str, text: str, by_model: bool) -> TextAdded:
        text = separator + text
        self._parts.append(text)
        self.length += len(text)
        self.by_model |= by_model and bool(text.strip())
        return TextAdded(text, by_model)

    def _whole_characters(self, text: str) -> str:
        """Endpoints cut a stream between the halves of a surrogate pair: the first half waits for the second."""
        if text.isascii() and not self._pending_surrogate:
            return text
        text = self._pending_surrogate + text
        self._pending_surrogate = pending_surrogate(text)
        return replace_lone_surrogates(text.removesuffix(self._pending_surrogate))

    def _separator(self, text: str, within_message: bool) -> str:
        before = self.text
        noted = interrupted(before)
        if not before or before.endswith("\n\n") or (noted and not noted[-1]):
            return ""
        if not within_message:
            return "\n\n"
        # A model that is asked to continue begins with a word.
        return "" if before[-1].isspace() or text[0].isspace() else " "

    def cite(self, source: Source) -> Citation:
        for known in self.citations:
            if (known.title, known.url) == (source.title, source.url):
                return known
        citation = Citation(len(self.citations) + 1, source.title, source.url, source.quote)
        self.citations.append(citation)
        return citation

    def add_usage(self, usage: Usage | None) -> None:
        if usage is not None:
            known = self.usage or Usage(0, 0)
            self.usage = Usage(known.input_tokens + usage.input_tokens, known.output_tokens + usage.output_tokens)

    def add_block(self, block: Block) -> BlockAdded:
        self.blocks.append(block)
        return BlockAdded(block)

    def finished(self, of_tools: Iterable[FeedbackTarget] = ()) -> Answer:
        own = [TraceTarget(self.trace_id)] if self.trace_id else []
        targets = tuple(dict.fromkeys([*own, *of_tools]))[:MAX_FEEDBACK_TARGETS]
        blocks = tuple(self.blocks)
        return Answer(self.text, tuple(self.citations), self.by_model, self.truncated, blocks, targets, self.usage)
