"""What a mail says, before it is text or HTML. Everything in it may come from outside, so it is bounded and cleaned."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict

MAX_SUBJECT_CHARACTERS = 150


class MailLink(BaseModel):
    """`url` is empty where there is none that a person should follow."""

    model_config = ConfigDict(frozen=True)

    label: str
    url: str = ""


class MailSection(BaseModel):
    """Shown in this order: paragraphs, facts (name and value), links, code."""

    model_config = ConfigDict(frozen=True)

    title: str = ""
    paragraphs: tuple[str, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    links: tuple[MailLink, ...] = ()
    code: str = ""


class MailContent(BaseModel):
    model_config = ConfigDict(frozen=True)

    subject: str
    sections: tuple[MailSection, ...]


def facts(rows: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Without those that have no value."""
    return tuple((name, value) for name, value in rows if value)
