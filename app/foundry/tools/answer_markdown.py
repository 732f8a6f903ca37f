"""An answer as one Markdown text, with its sources as numbered links at the end. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

from app.content.data_text import as_data, one_line

if TYPE_CHECKING:
    from app.content.blocks import Block
    from app.content.citation import Citation

SOURCES_HEADING = "Sources:"
"""Above the list at the end of an answer."""
_MAX_TITLE_CHARACTERS = 300
_MAX_URL_CHARACTERS = 2_000
_MAX_HEADING_CHARACTERS = 300
_URL_SAFE = "%/:=&?#+!$,;@.-~'*"


@dataclass(frozen=True, slots=True)
class Part:
    """One of several questions, with its answer, or `failure`: the sentence that says why there is none."""

    question: str
    answer: str = ""
    failure: str = ""


def answer_markdown(text: str, blocks: Iterable[Block] = (), citations: Sequence[Citation] = ()) -> str:
    """`[n]` in `text` is the n-th source. What only a person can use, such as a button, is left out."""
    blocks = list(blocks)
    sources = [_source(citation.title, citation.url or "") for citation in citations]
    for source in filter(None, map(_source_of, blocks)):
        if source not in sources:
            sources.append(source)
    sections = [text.strip(), *_shown(blocks), _numbered(sources)]
    return "\n\n".join(filter(None, sections))


def parts_markdown(parts: Sequence[Part]) -> str:
    """Each question with its answer. Which ones were not answered is said first: the end of a long text may be cut."""
    failed = [number for number, part in enumerate(parts, start=1) if part.failure]
    sections = []
    if failed:
        numbers = ", ".join(map(str, failed))
        sections.append(f"{len(failed)} of {len(parts)} questions could not be answered: {numbers}.")
    for number, part in enumerate(parts, start=1):
        sections.append(f"## {number}. {as_data(one_line(part.question, _MAX_HEADING_CHARACTERS))}")
        sections.append(f"Not answered: {part.failure}" if part.failure else part.answer)
    return "\n\n".join(sections)


def _shown(blocks: Sequence[Block]) -> Iterator[str]:
    if not blocks:
        return
    from app.content.block_markdown import block_markdown  # noqa: PLC0415 - no answer without blocks needs it

    for block in blocks:
        # Details without code, such as which tools were called, say nothing that another program needs.
        if block.kind != "folded" or any(each.kind == "code" for each in block.blocks):
            yield block_markdown(block).strip()


def _source_of(block: Block) -> str:
    link = block.source if block.kind in ("table", "chart") else None
    return _source(link.title, link.url) if link else ""


def _source(title: str, url: str) -> str:
    title = as_data(one_line(title, _MAX_TITLE_CHARACTERS)) or "Source"
    is_web = url.startswith(("https://", "http://")) and len(url) <= _MAX_URL_CHARACTERS and url.isprintable()
    return f"[{title}]({quote(url, safe=_URL_SAFE)})" if is_web else title


def _numbered(sources: Iterable[str]) -> str:
    lines = [f"{number}. {source}" for number, source in enumerate(sources, start=1)]
    return "\n".join([SOURCES_HEADING, "", *lines]) if lines else ""
