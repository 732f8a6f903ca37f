"""Reads a message: the sender's own words, quotations, and attachments."""

from __future__ import annotations

import html
import json
import re
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from botbuilder.schema import Activity

from app.agent.turn import EmptyReason, Quotation
from app.agent.user_messages import FILE_WITHOUT_QUESTION, FORWARDED_WITHOUT_QUESTION
from app.bot.inbound.activity import is_from_copilot, is_from_teams, is_targeted, locale_of, repair_texts
from app.bot.inbound.attachments import REFERENCES, Attachments, kind_of, read_attachments
from app.bot.inbound.html_text import holds_quotation, read_html
from app.translation import translator_for

_MAX_NAME_CHARACTERS = 80
_MAX_QUOTATIONS = 5
_MAX_QUOTATION_CHARACTERS = 4000
_MAX_MENTIONS = 100
_MAX_SPELLINGS = 3

# Teams' placeholder for a quoted message, whose preview is in an entity.
_QUOTED = re.compile(r"<quoted\s[^<>]{0,60}messageId=[^<>]{0,260}>(?:</quoted>)?", re.IGNORECASE)
_AT = re.compile(r"<at\b[^<>]{0,200}>([^<>]{0,300})</at>", re.IGNORECASE)
# Invisible characters that keyboards and right-to-left clients put around words.
_INVISIBLE = "\u00a0\u00ad\u200b\u200c\u200e\u200f\u2060\u2061\u2062\u2063\u2064\ufeff" + "".join(map(chr, range(33)))


@dataclass(frozen=True, slots=True)
class InboundMessage:
    """`question` is what was typed; where it is empty `empty_reason` says why."""

    question: str
    quotations: tuple[Quotation, ...]
    attachments: Attachments
    empty_reason: EmptyReason


@dataclass(frozen=True, slots=True)
class _Mention:
    of_bot: bool
    name: str
    text: str

    @property
    def is_tag(self) -> bool:
        return _AT.fullmatch(self.text.strip()) is not None

    @property
    def key(self) -> str:
        tag = _AT.fullmatch(self.text.strip())
        return _key(tag[1] if tag else self.name)


def is_for_bot(activity: Activity, *, needs_mention: bool) -> bool:
    """A targeted message and a press in a card of the bot need no mention."""
    if not needs_mention or is_targeted(activity) or _is_card_submit(activity):
        return True
    return any(mention.of_bot for mention in _mentions(activity))


def read_message(activity: Activity) -> InboundMessage:
    text = activity.text if isinstance(activity.text, str) else ""
    markup = _own_html(activity)
    if activity.text_format == "xml":
        text = read_html(text).text
    question = _typed(activity, text, markup)
    quotations = [*_quoted_replies(activity), *_references(activity)]
    images = 0
    if markup and (not question.strip() or holds_quotation(markup) or _has_lost_words(question, markup)):
        message = read_html(markup)
        images = message.images
        replies_known = any(not quotation.forwarded for quotation in quotations)
        quotations += [each for each in message.quotations if each.forwarded or not replies_known]
        own = _typed(activity, message.text, markup, from_html=True)
        # Teams' text of a message includes what it quotes or forwards, which the person did not type.
        if own.strip() or message.quotations:
            question = own
    quotations = list(_bounded(quotations))
    seen = question.strip(_INVISIBLE)
    question = question if seen == question.strip() else seen
    attachments = read_attachments(activity, markup, images, translator_for(locale_of(activity)))
    if not question.strip() and (quotations or attachments.files):
        question = FILE_WITHOUT_QUESTION if attachments.files else FORWARDED_WITHOUT_QUESTION
    return InboundMessage(question, tuple(quotations), attachments, _why_no_words(activity))


def _own_html(activity: Activity) -> str:
    """Teams attaches a formatted message's own HTML, and may leave its text empty."""
    attached = (each.content for each in activity.attachments or () if kind_of(each) == "text/html")
    return next((content for content in attached if isinstance(content, str) and content), "")


def _typed(activity: Activity, text: str, markup: str, *, from_html: bool = False) -> str:
    """Exactly what was typed, without mentions of the bot and Teams' placeholders."""
    without = _QUOTED.sub("", text)
    without = _named(without, _mentions(activity), every_tag=from_html)
    if is_from_teams(activity) and not from_html and "&amp;nbsp;" not in markup:
        without = without.replace("&nbsp;", " ")
    return text if without == text else without.strip()


def _named(text: str, mentions: Sequence[_Mention], *, every_tag: bool) -> str:
    """Replaces mentions of people by their names and drops those of the bot. Only Teams writes them as tags."""
    by_name: defaultdict[str, deque[_Mention]] = defaultdict(deque)
    for mention in mentions:
        by_name[mention.key].append(mention)
    untagged = Counter(each.text for each in mentions if each.of_bot and each.text and not each.is_tag)
    for words, count in untagged.most_common(_MAX_SPELLINGS):
        text = re.sub(re.escape(words), "", text, count=count, flags=re.IGNORECASE)

    def name(tag: re.Match[str]) -> str:
        known = by_name[_key(tag[1])]
        if not known:
            return tag[1] if every_tag else tag[0]
        return "" if known.popleft().of_bot else tag[1]

    return _AT.sub(name, text)


def _key(name: str) -> str:
    return " ".join(html.unescape(name).split()).casefold()


def _mentions(activity: Activity) -> list[_Mention]:
    bot_id = ((activity.recipient.id if activity.recipient else None) or "").casefold()
    found = []
    for properties in _entities(activity, "mention"):
        mentioned = properties.get("mentioned")
        if isinstance(mentioned, dict):
            of_bot = bool(bot_id) and _text(mentioned.get("id")).casefold() == bot_id
            found.append(_Mention(of_bot, _text(mentioned.get("name")), _text(properties.get("text"))))
    return found[:_MAX_MENTIONS]


def _entities(activity: Activity, kind: str) -> Iterator[Mapping[str, Any]]:
    for entity in activity.entities or ():
        if (entity.type or "").lower() == kind.lower():
            yield entity.additional_properties or {}


def _quoted_replies(activity: Activity) -> Iterator[Quotation]:
    """https://learn.microsoft.com/microsoftteams/platform/teams-sdk/essentials/sending-messages/overview"""
    for properties in _entities(activity, "quotedReply"):
        nested = properties.get("quotedReply")
        quoted = nested if isinstance(nested, dict) else properties
        yield Quotation(_text(quoted.get("preview")), _text(quoted.get("senderName")))


def _references(activity: Activity) -> Iterator[Quotation]:
    """Quoted and forwarded messages that come as attachments, in Microsoft Graph's form."""
    for attachment in activity.attachments or ():
        if kind_of(attachment) in REFERENCES:
            content = attachment.content
            try:
                fields = json.loads(content) if isinstance(content, str) else content
            except (ValueError, RecursionError):
                continue
            if isinstance(fields, dict):
                yield _reference(repair_texts(fields))


def _reference(fields: Mapping[str, Any]) -> Quotation:
    sender = fields.get("messageSender") or fields.get("originalMessageSender")
    user = sender.get("user") if isinstance(sender, dict) else None
    author = _text(user.get("displayName")) if isinstance(user, dict) else ""
    if original := _text(fields.get("originalMessageContent")):
        return Quotation(read_html(original).text, author, forwarded=True)
    return Quotation(_text(fields.get("messagePreview")), author)


def _bounded(quotations: Iterable[Quotation]) -> Iterator[Quotation]:
    kept = [each for each in quotations if each.text.strip()]
    for quotation in kept[:_MAX_QUOTATIONS]:
        text = quotation.text.strip()
        text = f"{text[:_MAX_QUOTATION_CHARACTERS]}…" if len(text) > _MAX_QUOTATION_CHARACTERS else text
        author = "".join(c for c in quotation.author if c.isprintable() and c != '"').strip()[:_MAX_NAME_CHARACTERS]
        yield replace(quotation, text=text, author=author)


def _has_lost_words(text: str, markup: str) -> bool:
    """Of `List<String>` Teams' text has only `List`: https://github.com/MicrosoftDocs/OfficeDocs-SkypeForBusiness/issues/4723"""
    return markup.count("&lt;") > text.count("<")


def _why_no_words(activity: Activity) -> EmptyReason:
    if activity.type == "messageUpdate":
        return EmptyReason.EDIT
    if _is_card_submit(activity):
        return EmptyReason.CARD
    if is_from_copilot(activity):
        # In Copilot every message mentions the bot.
        return EmptyReason.COPILOT
    return EmptyReason.MENTION if any(mention.of_bot for mention in _mentions(activity)) else EmptyReason.NOTHING


def _is_card_submit(activity: Activity) -> bool:
    """https://learn.microsoft.com/microsoftteams/platform/task-modules-and-cards/cards/cards-actions#actionsubmit"""
    return activity.value not in (None, "")


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
