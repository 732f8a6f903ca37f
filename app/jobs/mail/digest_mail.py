"""The mail of a digest. Pure."""

from __future__ import annotations

from app.jobs.clean_text import clean_line
from app.jobs.mail.mail_content import MAX_SUBJECT_CHARACTERS, MailContent, MailLink, MailSection
from app.jobs.notifications.digest import Digest


def digest_mail(digest: Digest) -> MailContent:
    sections = [MailSection(title="Job digest", paragraphs=(digest.title,), facts=(("Workspace", digest.workspace),))]
    for part in digest.sections:
        lines = [MailLink(label=f"{line.job}: {line.text}", url=line.url) for line in part.lines]
        if left_out := part.left_out(len(part.lines)):
            lines.append(MailLink(label=left_out))
        sections.append(MailSection(title=f"{part.title} ({part.count})", links=tuple(lines)))
    subject = clean_line(f"Job digest {digest.date}: {digest.title}", MAX_SUBJECT_CHARACTERS)
    return MailContent(subject=subject, sections=tuple(sections))
