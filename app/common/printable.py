"""Makes text of others safe to write to a terminal, or to a file that is read in one."""

from __future__ import annotations

import re

# Whole sequences, so that no rest of one is shown; each alternative begins with another character.
# https://ecma-international.org/publications-and-standards/standards/ecma-48/
_SEQUENCES = re.compile(
    # Commands with text in them (OSC, DCS, SOS, PM, APC), to their end or to that of the line.
    r"(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c)?"
    # CSI: colours, movements of the cursor.
    r"|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"
    # Two or three characters.
    r"|\x1b[ -/]*[0-~]?"
)
# C0 but tab and line feed, delete, C1; direction marks, overrides and isolates, which show words in another order than
# they are in (CVE-2021-42574); invisible characters; surrogates, which cannot be encoded.
_CHARACTERS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f\ud800-\udfff]"
)


_LINE_ENDS = re.compile("\r\n|[\x85\u2028\u2029]")


def printable(text: str) -> str:
    """Without control sequences and invisible characters; linear in the text."""
    return _CHARACTERS.sub("", _SEQUENCES.sub("", _LINE_ENDS.sub("\n", text)))
