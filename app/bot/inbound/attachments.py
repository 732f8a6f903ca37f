"""What is attached to a message: the files that can be read, and the names of what cannot be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from botbuilder.schema import Activity, Attachment

from app.agent.turn import UnreadReason
from app.bot.inbound.activity import conversation_type, is_from_copilot
from app.tools.attached_files import AttachedFile, is_readable, shown_file_name
from app.translation import Sentence, Translator

REFERENCES = ("messagereference", "forwardedmessagereference")
# https://learn.microsoft.com/microsoftteams/platform/bots/how-to/bots-filesv4
_FILE = "application/vnd.microsoft.teams.file.download.info"
_MAX_NAMES = 10
_MAX_FILES = 10
_MAX_URL_CHARACTERS = 4_096
_IMAGE = Sentence("an image")
_A_FILE = Sentence("a file")


@dataclass(frozen=True, slots=True)
class Attachments:
    """`unread` are names, safe to show."""

    files: tuple[AttachedFile, ...] = ()
    unread: tuple[str, ...] = ()
    unread_reason: UnreadReason = UnreadReason.KIND


def read_attachments(activity: Activity, markup: str, images: int, translate: Translator) -> Attachments:
    """`markup` is the message's own HTML, and `images` how many are in it."""
    attached = [each for each in activity.attachments or () if _is_content(each)]
    readable = {id(each): file for each in attached if (file := _file(each)) is not None}
    if conversation_type(activity) in {"groupChat", "channel"} or is_from_copilot(activity):
        # Elsewhere Teams sends no more of a file than this.
        hidden = "<attachment " in markup.lower() and not any(kind_of(each) in REFERENCES for each in _all(activity))
        names = _names(attached, images, translate, [translate(_A_FILE)] if hidden else [])
        reason = UnreadReason.NOT_ONE_TO_ONE if readable or hidden else UnreadReason.KIND
        return Attachments((), names, reason)
    files = tuple(readable.values())[:_MAX_FILES]
    unread = [each for each in attached if readable.get(id(each)) not in files]
    return Attachments(files, _names(unread, images, translate))


def kind_of(attachment: Attachment) -> str:
    return (attachment.content_type or "").partition(";")[0].strip().lower()


def _all(activity: Activity) -> Sequence[Attachment]:
    return activity.attachments or ()


def _file(attachment: Attachment) -> AttachedFile | None:
    kind, content = kind_of(attachment), attachment.content
    told = content if kind == _FILE and isinstance(content, dict) else {}
    # The Emulator and the Agents Playground name the file by its media type.
    url = told.get("downloadUrl") if told else attachment.content_url if kind.startswith("text/") else None
    if not isinstance(url, str) or not url or len(url) > _MAX_URL_CHARACTERS:
        return None
    name = shown_file_name(attachment.name or "")
    if not is_readable(name) and is_readable(f".{told.get('fileType')}"):
        name = f"{name}.{told['fileType']}"
    return AttachedFile(name, url) if is_readable(name) else None


def _names(
    unread: Sequence[Attachment], images: int, translate: Translator, more: Sequence[str] = ()
) -> tuple[str, ...]:
    names = [*(_name_of(each, translate) for each in unread), *more]
    if images and not any(kind_of(each).startswith("image/") for each in unread):
        names.append(translate(_IMAGE))
    if len(names) > _MAX_NAMES:
        names = [*names[:_MAX_NAMES], translate(Sentence("and {number} more"), number=len(names) - _MAX_NAMES)]
    return tuple(names)


def _is_content(attachment: Attachment) -> bool:
    return kind_of(attachment) not in ("text/html", *REFERENCES)


def _name_of(attachment: Attachment, translate: Translator) -> str:
    if name := _safe(attachment.name or ""):
        return f"`{name}`"
    if kind_of(attachment).startswith("image/"):
        return translate(_IMAGE)
    return translate(Sentence("a card") if "card" in kind_of(attachment) else Sentence("an attachment without a name"))


def _safe(name: str) -> str:
    return shown_file_name("".join(c for c in name if c not in "*_[]()<>#|~\\"))
