"""Activities as JSON of the Bot Framework's schema. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from app.bot.channel import SensitivityLabel
from app.bot.rendering.markdown import end_of, render
from app.content.citation import Citation
from app.translation import Sentence, Translator

Json = dict[str, Any]

# https://learn.microsoft.com/microsoftteams/platform/bots/how-to/bot-messages-ai-generated-content
MAX_CITATIONS_SHOWN = 20
_MAX_TITLE_CHARACTERS = 80
_MAX_ABSTRACT_CHARACTERS = 160
# https://learn.microsoft.com/microsoftteams/platform/bots/streaming-ux
_MAX_INFORMATIVE_CHARACTERS = 1000


def typing() -> Json:
    return {"type": "typing"}


def message(text: str) -> Json:
    return {"type": "message", "text": text, "textFormat": "markdown", "inputHint": "acceptingInput"}


def informative(text: str, sequence: int, stream_id: str | None) -> Json:
    return _stream_update(render(text)[:_MAX_INFORMATIVE_CHARACTERS], "informative", sequence, stream_id)


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


def labelled(
    activity: Json,
    citations: Sequence[Citation],
    translate: Translator,
    *,
    by_model: bool = True,
    sensitivity: SensitivityLabel | None = None,
) -> Json:
    """The same message with the labels that apply, and with the citations its text refers to: all in one entity, since
    Teams refuses a second one.
    """
    entity: Json = {
        "type": "https://schema.org/Message",
        "@type": "Message",
        "@context": "https://schema.org",
        "@id": "",
    }
    if by_model:
        entity["additionalType"] = ["AIGeneratedContent"]
    if sensitivity is not None:
        entity["usageInfo"] = _usage_info(sensitivity)
    used = [citation for citation in citations if f"[{citation.position}]" in activity["text"]][:MAX_CITATIONS_SHOWN]
    if used:
        entity["citation"] = [_claim(citation, translate(Sentence("Source"))) for citation in used]
    return {**activity, "entities": [*activity.get("entities", ()), entity]}


def _usage_info(label: SensitivityLabel) -> Json:
    """https://learn.microsoft.com/microsoftteams/platform/bots/how-to/bot-messages-ai-generated-content"""
    id_and_words = {"@id": label.id, "name": label.name, "description": label.description}
    return {"@type": "CreativeWork", **{name: value for name, value in id_and_words.items() if value}}


def _claim(citation: Citation, untitled: str) -> Json:
    appearance: Json = {
        "@type": "DigitalDocument",
        "name": _shortened(citation.title or citation.url or untitled, _MAX_TITLE_CHARACTERS),
        "abstract": _shortened(citation.quote or citation.title or untitled, _MAX_ABSTRACT_CHARACTERS),
    }
    if citation.url and citation.url.startswith("https://"):
        appearance["url"] = citation.url
    return {"@type": "Claim", "position": citation.position, "appearance": appearance}


def _shortened(text: str, most: int) -> str:
    text = " ".join(render(text).split())
    return text if len(text) <= most else text[: most - 1] + "…"


def with_feedback(activity: Json) -> Json:
    return {**activity, "channelData": {**activity.get("channelData", {}), "feedbackLoop": {"type": "default"}}}


def failure_note(sentence: str, error_id: str, translate: Translator) -> str:
    return translate(Sentence("⚠️ {sentence} (error id: {error_id})"), sentence=sentence, error_id=error_id)


def with_notes(text: str, *notes: str) -> str:
    """`text`, and below it `notes` as paragraphs. Code that `text` leaves open is closed before them."""
    if not notes:
        return text
    return "\n\n".join([text + end_of(text).closing, *notes] if text.strip() else notes)
