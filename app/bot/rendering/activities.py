"""What is sent, as JSON of the Bot Framework's activity schema. Pure: an event goes in, an activity comes out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from app.agent.events import Answer, Failure
from app.bot.rendering.markdown import closable, end_of, render
from app.content.blocks import Citation
from app.translation import Sentence, Translator

Json = dict[str, Any]

# https://learn.microsoft.com/microsoftteams/platform/bots/how-to/bot-messages-ai-generated-content
_MOST_CITATIONS = 20
_LONGEST_TITLE = 80
_LONGEST_ABSTRACT = 160
# https://learn.microsoft.com/microsoftteams/platform/bots/streaming-ux
_LONGEST_INFORMATIVE = 1000
THAT_WAS_ALL = Sentence("*(That was the whole answer.)*")
_LENGTH_LIMIT = Sentence("*(The answer reached its length limit.)*")


def typing() -> Json:
    return {"type": "typing"}


def message(text: str) -> Json:
    return {"type": "message", "text": text, "textFormat": "markdown", "inputHint": "acceptingInput"}


def informative(text: str, sequence: int, stream_id: str | None) -> Json:
    return _stream_update(render(text)[:_LONGEST_INFORMATIVE], "informative", sequence, stream_id)


def streamed(text: str, sequence: int, stream_id: str | None) -> Json:
    return _stream_update(text, "streaming", sequence, stream_id)


def _stream_update(text: str, kind: str, sequence: int, stream_id: str | None) -> Json:
    info: Json = {"type": "streaminfo", "streamType": kind, "streamSequence": sequence}
    if stream_id is not None:
        info["streamId"] = stream_id
    return {"type": "typing", "text": text, "textFormat": "markdown", "entities": [info]}


def closing_stream(activity: Json, stream_id: str) -> Json:
    """The same message as the last of its stream, which has no sequence number."""
    info = {"type": "streaminfo", "streamType": "final", "streamId": stream_id}
    return {**activity, "entities": [*activity.get("entities", ()), info]}


def labelled(activity: Json, citations: Sequence[Citation], translate: Translator) -> Json:
    """The same message marked as written by a model, with the citations its text refers to."""
    entity: Json = {
        "type": "https://schema.org/Message",
        "@type": "Message",
        "@context": "https://schema.org",
        "@id": "",
        "additionalType": ["AIGeneratedContent"],
    }
    used = [citation for citation in citations if f"[{citation.position}]" in activity["text"]][:_MOST_CITATIONS]
    if used:
        entity["citation"] = [_claim(citation, translate(Sentence("Source"))) for citation in used]
    return {**activity, "entities": [*activity.get("entities", ()), entity]}


def _claim(citation: Citation, untitled: str) -> Json:
    appearance: Json = {
        "@type": "DigitalDocument",
        "name": _shortened(citation.title or citation.url or untitled, _LONGEST_TITLE),
        "abstract": _shortened(citation.quote or citation.title or untitled, _LONGEST_ABSTRACT),
    }
    if citation.url and citation.url.startswith("https://"):
        appearance["url"] = citation.url
    return {"@type": "Claim", "position": citation.position, "appearance": appearance}


def _shortened(text: str, most: int) -> str:
    text = " ".join(render(text).split())
    return text if len(text) <= most else text[: most - 1] + "…"


def with_feedback(activity: Json) -> Json:
    return {**activity, "channelData": {**activity.get("channelData", {}), "feedbackLoop": {"type": "default"}}}


def text_of(end: Answer | Failure, translate: Translator, image_hosts: frozenset[str] = frozenset()) -> str:
    """The whole text of a turn's end. Begins with what was answered, so that it can end a stream of it."""
    if isinstance(end, Failure):
        return with_notes(render(closable(end.text), image_hosts), _failure_note(end, translate))
    text = closable(end.text) if end.truncated else end.text
    length_limit = [translate(_LENGTH_LIMIT)] if end.truncated else []
    return with_notes(render(text, image_hosts), *length_limit, *_sources_lines(end, translate))


def _failure_note(failure: Failure, translate: Translator) -> str:
    return failure_note(render(failure.sentence), failure.error_id, translate)


def failure_note(sentence: str, error_id: str, translate: Translator) -> str:
    return translate(Sentence("⚠️ {sentence} (error id: {error_id})"), sentence=sentence, error_id=error_id)


def is_only_notes(part: str, end: Answer | Failure, translate: Translator) -> bool:
    """Whether a part of `text_of(end)` has nothing of what was answered, nor of its sources."""
    note = _failure_note(end, translate) if isinstance(end, Failure) else translate(_LENGTH_LIMIT)
    return part.strip() in (translate(THAT_WAS_ALL), note)


def with_notes(text: str, *notes: str) -> str:
    """`text` and below it `notes`, a paragraph each and none of them inside a code block that was left open."""
    if not notes:
        return text
    return "\n\n".join([text + end_of(text).closing, *notes] if text.strip() else notes)


def _sources_lines(answer: Answer, translate: Translator) -> list[str]:
    """Teams shows only the citations that the text refers to; a model that refers to none of its sources is helped."""
    positions = [citation.position for citation in answer.citations[:_MOST_CITATIONS]]
    if not answer.text or not positions or any(f"[{position}]" in answer.text for position in positions):
        return []
    listed = " ".join(f"[{position}]" for position in positions)
    return [translate(Sentence("Sources: {positions}"), positions=listed)]
