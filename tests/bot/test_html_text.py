"""A message's HTML becomes the text that was written: whatever it holds, without an exception, in little time."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.agent.turn import Quotation
from app.bot.inbound.html_text import read_html

REPLY, FORWARD = (f'<blockquote itemtype="http://schema.skype.com/{kind}">' for kind in ("Reply", "Forward"))

TEXTS = {
    "nothing": ("", ""),
    "no markup": ("a < b and c", "a < b and c"),
    "folded white space": ("<p>a\n  b&nbsp;\r\n c</p>", "a b c"),
    "paragraphs and lines": ("<p>a</p><p>&nbsp;</p><div>b</div><div>c<br>d<br><br>e</div>", "a\n\nb\nc\nd\n\ne"),
    "emphasis": ("<p><b>a</b> <i>b</i>c</p>", "a bc"),
    "entities": ("<p>&lt;b&gt; &amp;amp; &eacute; &#128512;</p>", "<b> &amp; é 😀"),
    "nested lists": (
        "<ol><li>a</li><li><p>b</p><ul><li>c</li><li>d</li></ul></li><li>e</li></ol><p>f</p>",
        "1. a\n2. b\n  - c\n  - d\n3. e\n\nf",
    ),
    "a link": ('see <a href="https://x.example/y"> the page </a>now', "see [the page](https://x.example/y) now"),
    "a link that says where it leads": ('<a href="https://x.example/">https://x.example</a>', "https://x.example"),
    "a link without words": ('<a href="https://x.example"><img alt="z"></a>', "https://x.example"),
    "a link that is a script": ('<a href="javascript:alert(1)">a</a>', "a"),
    "code": ("use <code>x|y</code> or <code>a`b</code>", "use `x|y` or `` a`b ``"),
    "a block of code": ("a<pre><code>  x\n   &lt;y&gt;</code></pre>b", "a\n\n```\n  x\n   <y>\n```\n\nb"),
    "code with a fence in it": ("<pre>```\nx\n```</pre>", "````\n```\nx\n```\n````"),
    "a table": (
        "<table><tr><th>a|b</th><th>c</th></tr><tr><td><p>1</p><p>2</p></td><td></td></tr></table>d",
        "| a\\|b | c |\n| --- | --- |\n| 1 2 |  |\n\nd",
    ),
    "what the sender quotes": ("<blockquote><p>a</p><p>b</p></blockquote><p>c</p>", "> a\n>\n> b\n\nc"),
    "a mention": ('<span itemtype="http://schema.skype.com/Mention">Ann Lee</span>&nbsp;x', "<at>Ann Lee</at> x"),
    "an emoji of its own tag": ('<emoji id="smile" alt="😀" title="Smile">:)</emoji>', "😀"),
    "scripts, styles and comments": ("<style>p{}</style>a<script>b</script><!-- c --><![CDATA[d]]>e<?f?>", "ae"),
    "tags that are never closed": ("<div><p>a<b>b<ul><li>c", "ab\n\n- c"),
    "tags that were never opened": ("a</div></p></at></table>b", "ab"),
}


@pytest.mark.parametrize("what", TEXTS)
def test_html_is_read_as_what_was_written(what: str) -> None:
    html, text = TEXTS[what]
    assert read_html(html).text == text


def test_quotations_are_apart_from_the_senders_text() -> None:
    message = read_html(
        f'{REPLY}<p><b><span itemprop="mri">Bob&nbsp;</span><span itemprop="time">x</span></b></p>'
        '<p itemprop="preview">short…</p><p itemprop="copy">the whole</p></blockquote><p>mine</p>'
        f"{FORWARD}<blockquote>inner</blockquote><p>outer</p></blockquote><p>too</p>"
    )
    assert message.text == "mine\n\ntoo"
    assert message.quotations == (Quotation("the whole", "Bob"), Quotation("> inner\n\nouter", forwarded=True))


def test_images_are_counted_without_emoji_and_those_in_quotations() -> None:
    emoji = '<img itemtype="http://schema.skype.com/Emoji" alt="👍">'
    message = read_html(f'{emoji}<img alt="a cat" src="https://x">{REPLY}<img alt="b"></blockquote>')
    assert (message.text, message.images) == ("👍", 1)


PIECES = st.sampled_from(
    [
        "<p>", "</p>", "<div", ">", "<", "</", "<!--", "-->", "<!", "<![CDATA[", "]]>", "<?", "&", "&#", "&amp", ";",
        "|", "`", "<br/>", "<li>", "<ul>", "</ul>", "<table>", "<tr>", "<td>", "</table>", "<pre>", "</pre>", "<code>",
        "</code>", "<script>", "</script", "<at>", "</at>", '<a href="https://x">', "</a>", REPLY, FORWARD,
        "</blockquote>", '<b itemprop="copy">', '<img alt="', '"', "'", " ", "\n", "a", "\x00", "\ud800", "\u2028",
        "<emoji alt=x>",
    ]
)  # fmt: skip


@given(st.lists(PIECES | st.text(max_size=5), max_size=60).map("".join))
def test_no_html_raises(html: str) -> None:
    message = read_html(html)
    assert isinstance(message.text, str)
    assert all(quotation.text for quotation in message.quotations)


HOSTILE = [
    "<!--", "<", "<a ", "</a ", '<a x="', "<a x='\"", "<div>", "</div>", "<p>", "<ul><li>a", "&", "&#", "&amp", "<?",
    " ", "<![CDATA[", "<<!---->!--", "<table><tr><td>a", "<td>", "x=", "<blockquote>", "<pre>`", '<a href="https://x">a',
    "<br>", "<script></scrip", REPLY,
]  # fmt: skip


@pytest.mark.parametrize("piece", HOSTILE)
@pytest.mark.parametrize("before", ["", "<a ", "<script>", "<table><tr><td>"])
def test_the_worst_256_kb_do_not_hold_up_the_event_loop(piece: str, before: str) -> None:
    html = before + piece * (256 * 1024 // len(piece)) + ">"
    times = []
    for _ in range(3):
        started = time.thread_time()
        read_html(html)
        times.append(time.thread_time() - started)
    # 50 ms are allowed; the machine of the test may be slow or busy.
    assert min(times) < 0.25
