"""What Teams and the bot say to each other about a file: the consent card, the decision on it, the file's card.

https://learn.microsoft.com/microsoftteams/platform/bots/how-to/bots-filesv4
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.messaging.result_files import ResultFile
from app.translation import Sentence, Translator
from app.turns.queue_message import Envelope

_CONSENT_CARD = "application/vnd.microsoft.teams.card.file.consent"
_INFO_CARD = "application/vnd.microsoft.teams.card.file.info"
_MAX_CHARACTERS = 4_096
_ROWS = Sentence("{count} rows")

Json = dict[str, Any]


class Upload(BaseModel):
    """Where Teams lets the file be stored: `contentUrl` opens it afterwards."""

    model_config = ConfigDict(hide_input_in_errors=True)

    upload_url: str = Field(alias="uploadUrl", max_length=_MAX_CHARACTERS)
    content_url: str = Field(alias="contentUrl", max_length=_MAX_CHARACTERS)
    name: str = Field("", max_length=_MAX_CHARACTERS)
    unique_id: str = Field("", alias="uniqueId", max_length=_MAX_CHARACTERS)
    file_type: str = Field("", alias="fileType", max_length=100)


class Context(BaseModel):
    model_config = ConfigDict(hide_input_in_errors=True)

    result: str = Field(max_length=_MAX_CHARACTERS)


class Consent(BaseModel):
    """The value of the invoke."""

    model_config = ConfigDict(hide_input_in_errors=True)

    action: Literal["accept", "decline"]
    context: Context
    upload: Upload | None = Field(None, alias="uploadInfo")


class ConsentMessage(Envelope):
    """A decision, as it is on the queue. `card` is the id of the message that asked."""

    kind: Literal["file_consent"] = "file_consent"
    tenant: str
    conversation: str
    thread: str = ""
    card: str = ""
    locale: str = ""
    payload: str
    value: str


def consent_message(file: ResultFile, result: str, translate: Translator) -> Json:
    context = Context(result=result).model_dump()
    card = {
        "description": translate(_ROWS, count=file.rows),
        "sizeInBytes": len(file.content),
        "acceptContext": context,
        "declineContext": context,
    }
    return {"type": "message", "attachments": [{"contentType": _CONSENT_CARD, "name": file.name, "content": card}]}


def info_message(upload: Upload) -> Json:
    card = {"uniqueId": upload.unique_id, "fileType": upload.file_type}
    attachment = {
        "contentType": _INFO_CARD, "name": upload.name, "contentUrl": upload.content_url, "content": card
    }  # fmt: skip
    return {"type": "message", "attachments": [attachment]}
