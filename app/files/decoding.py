"""The text of a file, whatever wrote it."""

from __future__ import annotations

import codecs
import re

_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_HTML_STARTS = ("<!doctype html", "<html")
_START_CHARACTERS = 200
# Kana, or two of the usual kanji in a row. In Windows-1252 the first bytes are quotation marks and dashes.
_JAPANESE = re.compile(rb"\x82[\x9f-\xf1]|\x83[\x40-\x96]|(?:[\x88-\x9f][\x40-\x7e\x80-\xfc]){2}")


class NoTextError(Exception):
    """The file holds something else than text."""


def decode(content: bytes) -> tuple[str, bool]:
    """The text, with lines that end in a line feed, and whether all of it could be read. Raises `NoTextError`."""
    text = _decoded(content)
    if "\0" in text:
        raise NoTextError
    whole = "\ufffd" not in text
    return text.replace("\r\n", "\n").replace("\r", "\n"), whole


def is_html(text: str) -> bool:
    return text[:_START_CHARACTERS].lstrip().lower().startswith(_HTML_STARTS)


def _decoded(content: bytes) -> str:
    for bom, encoding in _BOMS:
        if content.startswith(bom):
            return content[len(bom) :].decode(encoding, "replace")
    text = content.decode("utf-8", "replace")
    broken = text.count("\ufffd")
    # Broken UTF-8 has characters of several bytes that are whole. What has none was written by an older Windows.
    if broken and broken >= sum(not c.isascii() for c in text) - broken:
        return _japanese(content) or content.decode("cp1252", "replace")
    return text


def _japanese(content: bytes) -> str:
    """As Excel writes CSV in Japan, or nothing. Short texts have too few characters for statistics."""
    try:
        return content.decode("cp932") if _JAPANESE.search(content) else ""
    except UnicodeDecodeError:
        return ""
