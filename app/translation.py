"""The program's own sentences in the language of the person who reads them, from gettext catalogues in `locale/`."""

from __future__ import annotations

import gettext
from dataclasses import dataclass
from functools import cache
from pathlib import Path

LANGUAGES = ("de", "es", "fr", "ja")
"""Beside English: those of appPackage/manifest.json."""

DOMAIN = "agent"
LOCALE_DIRECTORY = Path(__file__).with_name("locale")


@dataclass(frozen=True, slots=True)
class Sentence:
    """What a person may read, in English, which is its key in the catalogues. `{name}` is filled in by the translator.

    Not a string, so that it cannot be shown untranslated. `python dev.py translate` finds it where it is written as
    `Sentence("...")`.
    """

    english: str

    def __str__(self) -> str:
        raise TypeError("a Sentence is shown through a Translator")


class Translator:
    """`language` as in `LANGUAGES`, or `en`."""

    def __init__(self, catalogue: gettext.NullTranslations, language: str = "en") -> None:
        self._catalogue = catalogue
        self.language = language

    def __call__(self, sentence: Sentence, /, **values: object) -> str:
        """`sentence` in this translator's language, with `values` filled in."""
        text = self._catalogue.gettext(sentence.english)
        return text.format(**values) if values else text


ENGLISH = Translator(gettext.NullTranslations())


def translator_for(locale: str) -> Translator:
    """For a tag such as `de-AT`, by its language alone; English where there is no catalogue of it.

    A catalogue is read when it is first asked for; English needs none.
    """
    language = locale.replace("_", "-").partition("-")[0].strip().lower()
    return _read(language) if language in LANGUAGES else ENGLISH


@cache
def _read(language: str) -> Translator:
    return Translator(gettext.translation(DOMAIN, LOCALE_DIRECTORY, [language], fallback=True), language)
