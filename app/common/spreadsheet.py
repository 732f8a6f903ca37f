"""Text that a spreadsheet shows as it is: https://owasp.org/www-community/attacks/CSV_Injection"""

from __future__ import annotations

import re

# With separators of any language: nothing in it is an operator but the sign.
_NUMBER = re.compile(r"[+-]?[0-9.,]{0,200}(?:(?<=[0-9])[eE][+-]?[0-9]{1,4})?")
# Excel and others run what begins so.
_FORMULA_STARTS = frozenset("=+-@\t\r\n＝＋－＠")


def without_formula(text: str) -> str:
    """With an apostrophe before what a spreadsheet would run as a formula; numbers stay as they are."""
    if text.lstrip(" ")[:1] in _FORMULA_STARTS and text and not _NUMBER.fullmatch(text):
        return f"'{text}"
    return text
