"""The end of a turn as the messages of a channel. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from app.agent.events import Answer, End, Failure, Suspended
from app.bot.channel import CARD_LIMIT_UTF16, Channel
from app.bot.rendering import activities
from app.bot.rendering.markdown import closable, render
from app.messaging.actions import CALL_VERB
from app.messaging.result_files import FILE_VERB
from app.translation import Sentence, Translator

if TYPE_CHECKING:
    from app.content.blocks import Block

Json = activities.Json

END_NOTE = Sentence("*(That was the whole answer.)*")
_LENGTH_LIMIT = Sentence("*(The answer reached its length limit.)*")
_RESULT = Sentence("Here is the result.")


@dataclass(frozen=True, slots=True)
class RenderedEnd:
    """Content blocks that the channel shows as a card go below the last message of the end, all others into its text.

    `card_limit` in UTF-16 code units.
    """

    end: End
    channel: Channel
    translate: Translator
    card_limit: int = CARD_LIMIT_UTF16

    @property
    def text(self) -> str:
        """The whole text, to be split. It begins with what was answered, so that it can end a stream of it."""
        end, image_hosts = self.end, self.channel.image_hosts
        blocks = self._blocks_in_text()
        if not isinstance(end, Answer):
            answered = render(closable(end.text), image_hosts)
            # What a person is asked comes before the facts and the buttons that they decide with.
            notes = [*blocks, self._note] if isinstance(end, Failure) else [self._note, *blocks]
            return activities.with_notes(answered, *notes)
        answered = render(closable(end.text) if end.truncated else end.text, image_hosts)
        length_limit = [self._note] if end.truncated else []
        text = activities.with_notes(answered, *blocks, *length_limit, *self._sources(end))
        # Copilot on phones shows no card, and a stream cannot end without text.
        return self.translate(_RESULT) if self.has_card and not text.strip() else text

    @property
    def _note(self) -> str:
        """What the program itself says of this end."""
        match self.end:
            case Answer():
                return self.translate(_LENGTH_LIMIT)
            case Failure(sentence, error_id):
                return activities.failure_note(render(sentence), error_id, self.translate)
            case Suspended(sentence=sentence):
                return render(sentence)

    @property
    def has_card(self) -> bool:
        return bool(self._card_blocks)

    @property
    def _blocks(self) -> Sequence[Block]:
        """Without buttons for what the channel cannot do."""
        if self.channel.takes_files or not self.end.blocks:
            return self.end.blocks
        from app.bot.rendering.block_text import without_verbs  # noqa: PLC0415

        # A person can type what a button asks, but not call a tool.
        verbs = {FILE_VERB} if "actions" in self.channel.cards else {FILE_VERB, CALL_VERB}
        return without_verbs(self.end.blocks, verbs)

    def _blocks_in_text(self) -> list[str]:
        if not self._blocks:
            return []
        from app.bot.rendering.block_markdown import markdown  # noqa: PLC0415
        from app.bot.rendering.block_text import main_numbers  # noqa: PLC0415
        from app.content.data_text import as_data  # noqa: PLC0415

        cards, image_hosts = self.channel.cards, self.channel.image_hosts
        blocks = [markdown(block, self.translate, image_hosts) for block in self._blocks if block.kind not in cards]
        if "chart" in cards:
            # Clients may drop the card that draws it.
            charts = (block for block in self._blocks if block.kind == "chart")
            blocks += [as_data(main_numbers(chart, self.translate)) for chart in charts]
        return [text for text in blocks if text]

    @property
    def card_as_text(self) -> list[str]:
        """The blocks of the card as Markdown, for a channel that refuses the card."""
        from app.bot.rendering.block_markdown import markdown  # noqa: PLC0415

        return [markdown(block, self.translate, self.channel.image_hosts) for block in self._card_blocks]

    @property
    def _card_blocks(self) -> list[Block]:
        cards = self.channel.cards
        blocks = [block for block in self._blocks if block.kind in cards]
        if "actions" in cards and "table" not in cards:
            from app.bot.rendering.block_text import pages_of  # noqa: PLC0415

            blocks += pages_of(self._blocks)
        return blocks

    def without_card(self) -> RenderedEnd:
        return replace(self, channel=replace(self.channel, cards=frozenset()))

    def with_smaller_card(self) -> RenderedEnd:
        return replace(self, card_limit=self.card_limit // 2)

    def message(self, part: str, *, last: bool) -> Json:
        """A part of `text` as an activity; on the `last` one are the card and the buttons for feedback."""
        activity = activities.message(part)
        if self.end.by_model or (self.channel.sensitivity_label and self.end.blocks):
            activity = self._labelled(activity)
        if self.end.by_model and last and self.channel.feedback and isinstance(self.end, Answer):
            activity = activities.with_feedback(activity)
        return self._with_card(activity) if last and self.has_card else activity

    def _with_card(self, activity: Json) -> Json:
        from app.bot.rendering.adaptive_card import adaptive_card, attachment  # noqa: PLC0415

        # A message that was too large is tried again without images, which count towards no limit that is known.
        images = {} if self.card_limit == CARD_LIMIT_UTF16 else {"image_limit": 0}
        draws_charts = self.channel.draws_charts
        card = adaptive_card(self._card_blocks, self.translate, self.card_limit, draws_charts=draws_charts, **images)
        return activity if card is None else {**activity, "attachments": [attachment(card)]}

    def _labelled(self, activity: Json) -> Json:
        if not self.channel.ai_label or self._is_only_notes(activity["text"]):
            return activity
        citations = self.end.citations if isinstance(self.end, Answer) else ()
        by_model, sensitivity = self.end.by_model, self.channel.sensitivity_label
        return activities.labelled(activity, citations, self.translate, by_model=by_model, sensitivity=sensitivity)

    def _is_only_notes(self, part: str) -> bool:
        """Whether nothing of what was answered stands in this part, nor its sources."""
        return part.strip() in (self.translate(END_NOTE), self._note)

    def _sources(self, answer: Answer) -> list[str]:
        """Teams shows only the citations that the text refers to: a text that refers to none gets a line that does. A
        channel that shows none gets them as links.
        """
        if not self.channel.ai_label:
            from app.bot.rendering.block_markdown import markdown  # noqa: PLC0415

            used = [each for each in answer.citations if f"[{each.position}]" in answer.text] or answer.citations
            return [markdown(each, self.translate) for each in used[: activities.MAX_CITATIONS_SHOWN]]
        positions = [citation.position for citation in answer.citations[: activities.MAX_CITATIONS_SHOWN]]
        if not answer.text or not positions or any(f"[{position}]" in answer.text for position in positions):
            return []
        listed = " ".join(f"[{position}]" for position in positions)
        return [self.translate(Sentence("Sources: {positions}"), positions=listed)]
