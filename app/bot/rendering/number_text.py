"""Numbers as a person reads them in their language. Pure, and no digit is lost."""

from __future__ import annotations

import re
from decimal import Decimal

from app.translation import Translator

_NUMBER = re.compile(r"[+-]?[0-9]{1,80}(?:\.[0-9]{1,80})?(?:[eE][+-]?[0-9]{1,2})?")
# Separator of thousands, decimal mark, and how many digits a number has at least that is separated (Unicode's CLDR).
_ENGLISH = (",", ".", 4)
_BY_LANGUAGE = {"de": (".", ",", 4), "es": (".", ",", 5), "fr": ("\u202f", ",", 4), "ja": _ENGLISH}


def number_text(value: str | float, translate: Translator, *, plain: bool = False) -> str:
    """`value` with all its digits; other text as it is. `plain`: no separators of thousands."""
    text = repr(value) if isinstance(value, float) else str(value)
    if not _NUMBER.fullmatch(text):
        return text
    if "e" in text.lower():
        text = format(Decimal(text), "f")
    if isinstance(value, float):
        text = text.removesuffix(".0")
    sign = "-" if text.startswith("-") else ""
    whole, point, fraction = text.lstrip("+-").partition(".")
    thousands, decimal_mark, least_digits = _BY_LANGUAGE.get(translate.language, _ENGLISH)
    if not plain and len(whole) >= least_digits:
        start = len(whole) % 3
        whole = thousands.join(filter(None, (whole[:start], *(whole[n : n + 3] for n in range(start, len(whole), 3)))))
    return f"{sign}{whole}{decimal_mark if point else ''}{fraction}"
