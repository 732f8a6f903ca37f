"""A message's HTML as the text that a model reads: Markdown for lists, tables, links and code. Pure, and linear.

The markup is that of Teams, which documents little of it: emoji are images, mentions are `span`s with the item type
Mention, quoted and forwarded messages are `blockquote`s with the item type Reply or Forward.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from html.parser import HTMLParser

from app.agent.turn import Quotation
from app.bot.inbound.bounded_html import bounded
from app.bot.inbound.text_builder import TextBuilder, code_block, inline_code

_MAX_OPEN_TAGS = 64
_MAX_INDENTS = 5
_MAX_URL_CHARACTERS = 2000

_VOID = frozenset({"br", "hr", "img", "input", "link", "meta", "wbr", "col", "source"})
_SILENT = frozenset({"script", "style", "head", "title", "template", "attachment", "systemeventmessage"})
_LINES = frozenset({"div", "tr", "dt", "dd", "section", "article", "header", "footer", "figure", "form", "center"})
_PARAGRAPHS = frozenset({"p", "h1", "h2", "h3", "h4", "h5", "h6", "table", "blockquote", "pre", "codeblock"})
_QUOTED = ("schema.skype.com/Reply", "schema.skype.com/Forward")

Attributes = dict[str, str]


@dataclass(frozen=True, slots=True)
class HtmlMessage:
    """`text` is what the sender wrote; a mention in it is `<at>name</at>`. `images` does not count emoji."""

    text: str
    quotations: tuple[Quotation, ...] = ()
    images: int = 0


def holds_quotation(html: str) -> bool:
    return any(item_type in html for item_type in _QUOTED)


def read_html(html: str) -> HtmlMessage:
    """Never raises."""
    reader = _Reader()
    reader.feed(bounded(html))
    reader.close()
    return reader.message()


class _Quote:
    def __init__(self, *, forwarded: bool) -> None:
        self.forwarded = forwarded
        self.author, self.preview, self.copy, self.rest, self.dropped = (TextBuilder() for _ in range(5))

    def of(self, item: str) -> TextBuilder | None:
        return {"mri": self.author, "preview": self.preview, "copy": self.copy, "time": self.dropped}.get(item)

    def quotation(self) -> Quotation:
        said = str(self.copy) or str(self.preview) or str(self.rest)
        return Quotation(said, str(self.author), self.forwarded)


class _Table:
    def __init__(self) -> None:
        self.rows = 0
        self.cells = 0


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._own = self._text = TextBuilder()
        self._quote: _Quote | None = None
        self._quotes: list[_Quote] = []
        self._open: list[tuple[str, Callable[[], None] | None]] = []
        self._silent = 0
        self._quoting = 0
        self._lists: list[int | None] = []
        self._table: _Table | None = None
        self._code: list[str] | None = None
        self._link = False
        self._images = 0

    def message(self) -> HtmlMessage:
        while self._open:
            self._end_last()
        quotations = tuple(quotation for quote in self._quotes if (quotation := quote.quotation()).text)
        return HtmlMessage(str(self._own), quotations, self._images)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        if tag in _VOID:
            self._void(tag, attributes)
        elif len(self._open) < _MAX_OPEN_TAGS:
            at_end = None if self._silent and tag not in _SILENT else self._begin(tag, attributes)
            self._open.append((tag, at_end))

    def handle_endtag(self, tag: str) -> None:
        if any(opened == tag for opened, _ in self._open):
            while self._open and self._end_last() != tag:
                pass

    def handle_data(self, data: str) -> None:
        if self._silent:
            return
        if self._code is not None:
            self._code.append(data)
        else:
            self._text.add(data.replace("|", "\\|") if self._table else data, self._prefix())

    def _end_last(self) -> str:
        tag, at_end = self._open.pop()
        if at_end is not None:
            at_end()
        if tag in _PARAGRAPHS or tag in _LINES or tag == "li":
            self._break(2 if tag in _PARAGRAPHS else 1)
        return tag

    def _prefix(self) -> str:
        return "> " * min(self._quoting, _MAX_INDENTS) + "  " * min(max(len(self._lists) - 1, 0), _MAX_INDENTS)

    def _break(self, lines: int) -> None:
        if self._table is not None and self._table.cells:
            # A cell has one line.
            self._text.add(" ", "")
        elif self._code is None:
            self._text.break_line(1 if self._lists else lines)

    def _void(self, tag: str, attributes: Attributes) -> None:
        if self._silent:
            return
        if tag == "br":
            if self._code is not None:
                self._code.append("\n")
            elif self._table is not None and self._table.cells:
                self._break(1)
            else:
                self._text.line_break()
        elif tag == "hr":
            self._break(2)
            self._text.add("---", self._prefix())
            self._break(2)
        elif tag == "img":
            self._image(attributes)

    def _image(self, attributes: Attributes) -> None:
        if "Emoji" in attributes.get("itemtype", "") or "emo" in attributes.get("class", "").lower():
            self.handle_data(attributes.get("alt", ""))
        elif self._quote is None:
            self._images += 1

    def _begin(self, tag: str, attributes: Attributes) -> Callable[[], None] | None:
        """Returns what to call at the end tag."""
        if tag in _SILENT:
            return self._begin_silence()
        if self._code is not None:
            return None
        if self._quote is not None and (part := self._quote.of(attributes.get("itemprop", ""))) is not None:
            return self._into(part)
        if tag == "blockquote":
            return self._begin_quote(attributes.get("itemtype", ""))
        if tag in _PARAGRAPHS or tag in _LINES:
            self._break(2 if tag in _PARAGRAPHS else 1)
        if tag == "at" or "Mention" in attributes.get("itemtype", ""):
            return self._begin_mention()
        match tag:
            case "emoji":
                self.handle_data(attributes.get("alt", ""))
                return self._begin_silence()
            case "pre" | "codeblock" | "code":
                return self._begin_code(tag, attributes.get("class", ""))
            case "ul" | "ol":
                return self._begin_list(ordered=tag == "ol")
            case "li":
                self._begin_item()
            case "a":
                return self._begin_link(attributes.get("href", ""))
            case "table" if self._table is None:
                return self._begin_table()
            case "tr" if self._table is not None:
                return self._begin_row(self._table)
            case "td" | "th" if self._table is not None:
                self._begin_cell(self._table)
        return None

    def _begin_silence(self) -> Callable[[], None]:
        self._silent += 1

        def end() -> None:
            self._silent -= 1

        return end

    def _into(self, text: TextBuilder) -> Callable[[], None]:
        before, self._text = self._text, text

        def end() -> None:
            self._text = before

        return end

    def _begin_quote(self, item_type: str) -> Callable[[], None]:
        if self._quote is None and holds_quotation(item_type):
            return self._begin_quotation(forwarded="Forward" in item_type)
        self._break(2)
        self._quoting += 1

        def end() -> None:
            self._quoting -= 1

        return end

    def _begin_quotation(self, *, forwarded: bool) -> Callable[[], None]:
        self._break(2)
        self._quote = _Quote(forwarded=forwarded)
        self._quotes.append(self._quote)
        leave = self._into(self._quote.rest)

        def end() -> None:
            leave()
            self._quote = None

        return end

    def _begin_mention(self) -> Callable[[], None]:
        self._text.add_raw("<at>", self._prefix())
        return lambda: self._text.parts.append("</at>")

    def _begin_code(self, tag: str, kind: str) -> Callable[[], None]:
        code = self._code = []
        language = kind.strip().lower() if tag == "codeblock" and kind.strip().isalnum() else ""

        def end() -> None:
            self._code = None
            text = "".join(code)
            if tag == "code" and "\n" not in text.strip():
                self._text.add_raw(inline_code(text.strip()), self._prefix())
                return
            self._text.break_line(2)
            self._text.add_raw(code_block(text.strip("\n"), language))
            self._text.break_line(2)

        return end

    def _begin_list(self, *, ordered: bool) -> Callable[[], None]:
        self._break(1 if self._lists else 2)
        self._lists.append(0 if ordered else None)

        def end() -> None:
            self._lists.pop()
            self._break(1 if self._lists else 2)

        return end

    def _begin_item(self) -> None:
        number = self._lists[-1] if self._lists else None
        if number is not None:
            self._lists[-1] = number = number + 1
        self._text.mark("- " if number is None else f"{number}. ", self._prefix())

    def _begin_link(self, address: str) -> Callable[[], None] | None:
        if (
            self._link
            or not address.startswith(("http://", "https://", "mailto:"))
            or len(address) > _MAX_URL_CHARACTERS
        ):
            return None
        self._link = True
        text, parts = self._text, self._text.parts
        text.add_raw("", self._prefix())
        text.mark("", same_line=True)
        begin = len(parts)

        def end() -> None:
            self._link = False
            linked = "".join(parts[begin:])
            words = linked.strip()
            if not words:
                text.add_raw(address)
            elif words.rstrip("/") != address.removeprefix("mailto:").rstrip("/"):
                parts[begin:] = [linked.replace(words, f"[{words}]({address})", 1)]

        return end

    def _begin_table(self) -> Callable[[], None]:
        self._table = _Table()

        def end() -> None:
            self._table = None

        return end

    def _begin_row(self, table: _Table) -> Callable[[], None]:
        table.cells = 0

        def end() -> None:
            cells, table.cells = table.cells, 0
            if not cells:
                return
            self._text.mark(" |", same_line=True)
            table.rows += 1
            if table.rows == 1:
                self._text.mark("|" + " --- |" * cells, self._prefix())
            self._text.end_line()

        return end

    def _begin_cell(self, table: _Table) -> None:
        table.cells += 1
        if table.cells == 1:
            self._text.mark("| ", self._prefix())
        else:
            self._text.mark(" | ", same_line=True)
