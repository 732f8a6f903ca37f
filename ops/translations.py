"""`python dev.py translate`: brings the catalogues in app/locale/ in step with the sentences in app/, compiles them.

A new sentence has an empty translation until somebody writes it there and runs this again; a test says what is missing.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

from app.translation import DOMAIN, LANGUAGES

ROOT = Path(__file__).resolve().parents[1]
# Catalogues say when they were made; the same sentences shall make the same files.
_MADE_AT = datetime(2026, 11, 27, tzinfo=UTC)
_WIDTH = 120
_PROJECT = "databricks-agent"


def sentences(root: Path) -> Catalog:
    """Every `Sentence("...")` in app/."""
    template = _catalog()
    found = extract_from_dir(root / "app", [("**.py", "python")], keywords={"Sentence": None})
    for _, _, message, _, _ in sorted(found, key=lambda each: (each[0], each[1])):
        template.add(message)
    return template


def catalogue_file(root: Path, language: str) -> Path:
    """The source of a catalogue; compiled it has the suffix `.mo`."""
    return root / "app" / "locale" / language / "LC_MESSAGES" / f"{DOMAIN}.po"


def read_catalogue(root: Path, language: str) -> Catalog:
    file = catalogue_file(root, language)
    if not file.exists():
        return _catalog(language)
    with file.open("rb") as content:
        return read_po(content, locale=language, domain=DOMAIN)


def bring_up_to_date(root: Path) -> list[str]:
    """Writes both files of every language. Returns what is not translated, a line each."""
    template, missing = sentences(root), []
    for language in LANGUAGES:
        old, catalogue = read_catalogue(root, language), _catalog(language)
        for message in template:
            if message.id:
                known = old.get(message.id)
                catalogue.add(message.id, known.string if known and not known.fuzzy else "")
        missing += [f"{language}: {message.id}" for message in catalogue if message.id and not message.string]
        file = catalogue_file(root, language)
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("wb") as source, file.with_suffix(".mo").open("wb") as compiled:
            write_po(source, catalogue, width=_WIDTH, no_location=True)
            write_mo(compiled, catalogue)
    return missing


def _catalog(language: str | None = None) -> Catalog:
    return Catalog(
        locale=language,
        domain=DOMAIN,
        project=_PROJECT,
        version="1",
        header_comment="# The agent's own sentences. Written by hand; `python dev.py translate` keeps them in step.",
        msgid_bugs_address=_PROJECT,
        creation_date=_MADE_AT,
        revision_date=_MADE_AT,
        last_translator=_PROJECT,
        language_team=_PROJECT,
        fuzzy=False,
    )


def main() -> int:
    missing = bring_up_to_date(ROOT)
    for line in missing:
        print(f"not translated: {line[:90]!r}", file=sys.stderr)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
