"""What a mail looks like on its way, whatever its words are."""

from __future__ import annotations

import re
from email import message_from_bytes
from email.policy import SMTP, default
from html import escape
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.jobs.clean_text import clean_block, clean_line, clean_url
from app.jobs.mail.mail_content import MailContent, MailLink, MailSection
from app.jobs.mail.mail_rendering import as_html
from app.jobs.mail.mail_transport import split_addresses, usable_address
from app.jobs.mail.mime_message import mime_message

SENDER = "watch@contoso.com"


def raw(content: MailContent, recipients: tuple[str, ...] = ("ann@contoso.com",)) -> bytes:
    message = mime_message(
        content, message_key="i\n", sender=SENDER, recipients=recipients, sent_at_seconds=1_800_000_000
    )
    return message.as_bytes(policy=SMTP)


@settings(max_examples=40)
@given(st.text(max_size=300))
def test_any_subject_is_one_valid_header_and_is_read_as_it_was_written(subject: str) -> None:
    source = raw(MailContent(subject=subject, sections=()))
    header = re.search(rb"(?ms)^Subject:(.*?)\r\n(?=\S)", source)
    assert header is not None
    assert all(len(line) <= 78 for line in header.group(0).split(b"\r\n") if b"=?" in line)
    assert b"?==?" not in header.group(0)
    message = message_from_bytes(source, policy=default)
    assert message.keys()[:3] == ["Content-Type", "MIME-Version", "From"]
    assert "Bcc" not in message
    assert " ".join(str(message["Subject"]).split()) == clean_line(subject, 150)


@pytest.mark.parametrize(
    "subject",
    [
        "job\r\nBcc: eve@evil.test\r\n\r\nbody",
        "Re: some few filler words here RE: Routeraustausch und übriggebliebene Glasfaser",
        "=?utf-8?q?not_encoded?=",
        "表" * 150,
    ],
)
def test_subjects_that_broke_other_mailers_arrive(subject: str) -> None:
    message = message_from_bytes(raw(MailContent(subject=subject, sections=())), policy=default)
    assert message["Subject"] == clean_line(subject, 150)
    assert "Bcc" not in message


def test_many_recipients_fit_into_the_lines_of_a_mail() -> None:
    many = tuple(f"{'n' * 60}{n}@{'contoso' * 8}.com" for n in range(50))
    source = raw(MailContent(subject="x", sections=(MailSection(code="y" * 5000),)), many)
    assert max(map(len, source.split(b"\r\n"))) < 998
    read = message_from_bytes(source, policy=default)["To"]
    assert [each.addr_spec for each in read.addresses] == list(many)


def content_with(text: str) -> MailContent:
    return MailContent(
        subject=text,
        sections=(
            MailSection(title=text, paragraphs=(text,), facts=((text, text),), code=text),
            MailSection(links=(MailLink(label=text, url="https://x.test/a"), MailLink(label=text))),
        ),
    )


class Tags(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, list[tuple[str, str | None]]]] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, attrs))


@settings(max_examples=50)
@given(st.text(alphabet="<>&\"'/= ab!-", min_size=1, max_size=20))
def test_words_from_outside_are_never_markup(text: str) -> None:
    html = as_html(content_with(text))
    assert Tags(html).found == Tags(as_html(content_with("x"))).found
    # Title of the page, heading, paragraph, name, value, code, two labels.
    assert html.count(escape(text)) >= 8


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a\r\nb\tc\x00d\u202egnp.exe\u2066", "a b c dgnp.exe"),
        ("half \ud83d emoji", "half \ufffd emoji"),
        ("token dapi" + "0" * 32, "token [secret removed]"),
        ("x" * 50 + " password=hunter2hunter2", "x" * 50 + " password=[secret removed]"),
        ("y" * 200, "y" * 99 + "…"),
    ],
)
def test_a_line_is_cleaned_and_bounded(text: str, line: str) -> None:
    assert clean_line(text, 100) == line


def test_a_block_keeps_its_lines() -> None:
    assert clean_block("\n a\x07 \r\n\tb\n\n", 100) == " a\n    b"


@pytest.mark.parametrize(
    "url",
    [
        *("", "http://adb.test", "javascript:alert(1)", "https://x.test/\r\n", 'https://x.test/"><script>'),
        *("https://größe.test/", "https://x.test/" + "a" * 600),
    ],
)
def test_a_link_that_nobody_should_follow_is_none(url: str) -> None:
    assert clean_url(url) == ""
    assert clean_url("https://adb-1.azuredatabricks.net/jobs/1/runs/2?o=3") != ""


@pytest.mark.parametrize(
    ("text", "address"),
    [
        (" ann@contoso.com ", "ann@contoso.com"),
        ("ann+jobs@sub.contoso.com", "ann+jobs@sub.contoso.com"),
        ("ann@xn--gre-6ka8i.de", "ann@xn--gre-6ka8i.de"),
        ("größe@contoso.com", "größe@contoso.com"),
        *((wrong, None) for wrong in ("", "@", "ann", "ann@", "@contoso.com", "Ann <ann@contoso.com>", "a@b@c")),
        *(
            (wrong, None)
            for wrong in (
                "a@b\r\nRCPT TO:<c@d>",
                "a b@c.de",
                "a,b@c.de",
                "a@b..c",
                "ann@größe.de",
                "\ud83d@contoso.com",
            )
        ),
        ("n" * 65 + "@contoso.com", None),
    ],
)
def test_an_address_is_usable_or_not(text: str, address: str | None) -> None:
    assert usable_address(text) == address
    usable, refused = split_addresses([text])
    assert (usable, len(refused)) == (((address,), 0) if address else ((), 1))
