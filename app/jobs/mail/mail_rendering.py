"""A mail as text and as HTML. Pure."""

from __future__ import annotations

from html import escape

from app.jobs.mail.mail_content import MailContent, MailSection

_TITLE = "font-size:16px;margin:24px 0 8px"
_CELL = "padding:2px 16px 2px 0;vertical-align:top;text-align:left"
_CODE = "background:#f4f4f4;color:#222;padding:8px;white-space:pre-wrap;overflow-wrap:anywhere;font-size:13px"


def as_text(content: MailContent) -> str:
    return "\n\n".join(part for section in content.sections for part in _text_parts(section)) + "\n"


def as_html(content: MailContent) -> str:
    """Complete by itself: nothing is loaded from elsewhere, and the styles stand inline, as mail programs want it."""
    body = "\n".join(part for section in content.sections for part in _html_parts(section))
    head = f'<head><meta charset="utf-8"><title>{escape(content.subject)}</title></head>'
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n{head}\n'
        f'<body style="font-family:Segoe UI,Arial,sans-serif;font-size:14px">\n{body}\n</body>\n</html>\n'
    )


def _text_parts(section: MailSection) -> list[str]:
    parts = [f"{section.title}\n{'-' * len(section.title)}"] if section.title else []
    parts += section.paragraphs
    if section.facts:
        width = max(len(name) for name, _ in section.facts) + 2
        parts.append("\n".join(f"{name + ':':{width}}{value}" for name, value in section.facts))
    if section.links:
        parts.append("\n".join(f"- {each.label}{': ' if each.url else ''}{each.url}" for each in section.links))
    if section.code:
        parts.append("\n".join(f"    {line}".rstrip() for line in section.code.splitlines()))
    return parts


def _html_parts(section: MailSection) -> list[str]:
    parts = [f'<h2 style="{_TITLE}">{escape(section.title)}</h2>'] if section.title else []
    parts += [f"<p>{escape(each)}</p>" for each in section.paragraphs]
    if section.facts:
        rows = (
            f'<tr><th scope="row" style="{_CELL}">{escape(name)}</th><td style="{_CELL}">{escape(value)}</td></tr>'
            for name, value in section.facts
        )
        parts.append("\n".join(['<table style="border-collapse:collapse">', *rows, "</table>"]))
    if section.links:
        items = (
            f'<li><a href="{escape(each.url)}">{escape(each.label)}</a></li>'
            if each.url
            else f"<li>{escape(each.label)}</li>"
            for each in section.links
        )
        parts.append("\n".join(["<ul>", *items, "</ul>"]))
    if section.code:
        parts.append(f'<pre style="{_CODE}">{escape(section.code)}</pre>')
    return parts
