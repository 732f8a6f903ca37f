"""What the program says itself is said in every language of the app's manifest."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from babel.messages.mofile import read_mo
from hypothesis import given
from hypothesis import strategies as st

from app.translation import ENGLISH, LANGUAGES, Sentence, translator_for
from ops.package.project import deployed_files
from ops.translations import bring_up_to_date, catalogue_file, read_catalogue, sentences

ROOT = Path(__file__).resolve().parents[1]
BUSY = Sentence("The model is busy. Please ask again in a minute.")
# Where everything that a person may read is written.
SPEAKING = ("app/agent", "app/tools", "app/turns", "app/bot")
# What is no word to a person: to the translator, to the model, to the caller of an HTTP request.
NOT_SHOWN = {
    "Sentence", "CONTINUE_PROMPT", "FORWARDED_WITHOUT_QUESTION", "FILE_WITHOUT_QUESTION", "_MAY_BE_HIDDEN",
    "_CUT_OFF", "_LEFT_OUT", "Tool", "Field", "failed",
    "text", "HttpAnswer", "_NOT_DONE",
}  # fmt: skip
_SENTENCE = re.compile(r"^(?=.* |.*…)\W*[A-Z].*\w\W*[.…!?]\W*$", re.DOTALL)


@pytest.fixture(scope="module")
def wanted() -> set[str]:
    return {str(message.id) for message in sentences(ROOT) if message.id}


@pytest.fixture(params=LANGUAGES)
def language(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_the_languages_are_those_of_the_manifest() -> None:
    manifest = json.loads((ROOT / "appPackage/manifest.json").read_text(encoding="utf-8"))
    info = manifest["localizationInfo"]
    assert info["defaultLanguageTag"] == "en"
    assert {each["languageTag"] for each in info["additionalLanguages"]} == set(LANGUAGES)


def test_every_sentence_is_translated_and_nothing_else(language: str, wanted: set[str]) -> None:
    catalogue = {message.id: message for message in read_catalogue(ROOT, language) if message.id}
    assert set(catalogue) == wanted, "run `python dev.py translate`, then write what it names"
    assert [sentence for sentence, message in catalogue.items() if not message.string or message.fuzzy] == []


def test_a_translation_keeps_places_commands_and_markup(language: str) -> None:
    kept = re.compile(r"\{\w*\}|/[a-z]+|\*\*|\*\(|\)\*|`|⚠️|\n")
    for message in read_catalogue(ROOT, language):
        assert sorted(kept.findall(str(message.string))) == sorted(kept.findall(str(message.id))) or not message.id


def test_what_is_deployed_is_compiled_from_what_is_written(language: str, tmp_path: Path) -> None:
    with catalogue_file(ROOT, language).with_suffix(".mo").open("rb") as file:
        compiled = {message.id: message.string for message in read_mo(file) if message.id}
    written = {message.id: message.string for message in read_catalogue(ROOT, language) if message.id}
    assert compiled == written, "run `python dev.py translate`"


def test_what_is_compiled_is_deployed_and_its_sources_are_not(language: str) -> None:
    deployed = deployed_files(ROOT)
    source = catalogue_file(ROOT, language).relative_to(ROOT)
    assert source.with_suffix(".mo").as_posix() in deployed
    assert source.as_posix() not in deployed


def test_a_new_sentence_is_named_until_it_is_translated_and_an_old_one_goes(tmp_path: Path) -> None:
    def write(*texts: str) -> None:
        (tmp_path / "app").mkdir(exist_ok=True)
        (tmp_path / "app/x.py").write_text("\n".join(f"Sentence({text!r})" for text in texts))

    write("Hello {name}", "Old")
    assert bring_up_to_date(tmp_path) == [f"{tag}: {text}" for tag in LANGUAGES for text in ("Hello {name}", "Old")]
    german = catalogue_file(tmp_path, "de")
    german.write_text(german.read_text().replace('"Hello {name}"\nmsgstr ""', '"Hello {name}"\nmsgstr "Hallo {name}"'))
    write("Hello {name}")
    assert bring_up_to_date(tmp_path) == [f"{tag}: Hello {{name}}" for tag in LANGUAGES if tag != "de"]
    assert {message.id: message.string for message in read_catalogue(tmp_path, "de") if message.id} == {
        "Hello {name}": "Hallo {name}"
    }


@pytest.mark.parametrize(
    ("locale", "begins"),
    [
        ("de", "Das Modell"),
        ("de-AT", "Das Modell"),
        ("DE_de.UTF-8", "Das Modell"),
        ("fr-CA", "Le modèle"),
        ("es-419", "El modelo"),
        ("ja-JP", "モデル"),
        ("en-GB", "The model"),
        ("pt-BR", "The model"),
        ("zh-Hans-CN", "The model"),
        ("", "The model"),
        ("../../de", "The model"),
        ("d" * 100_000, "The model"),
    ],
)
def test_a_locale_is_understood_by_its_language(locale: str, begins: str) -> None:
    assert translator_for(locale)(BUSY).startswith(begins)


@given(st.text())
def test_no_locale_is_an_error(locale: str) -> None:
    assert translator_for(locale)(BUSY)


def test_who_reads_english_needs_no_catalogue() -> None:
    assert translator_for("en-US") is translator_for("") is ENGLISH


def test_without_a_translation_there_is_english() -> None:
    assert translator_for("de")(Sentence("Nobody has translated {what}."), what="this") == "Nobody has translated this."
    assert ENGLISH(Sentence("{a}"), a="{b}") == "{b}"


def test_every_text_that_people_may_read_is_a_sentence_of_the_catalogues() -> None:
    found = [
        f"{file.relative_to(ROOT)}:{line}: {text!r}"
        for folder in SPEAKING
        for file in sorted((ROOT / folder).rglob("*.py"))
        for line, text in _plain_texts(ast.parse(file.read_text(encoding="utf-8")))
    ]
    assert found == [], 'a text for people is Sentence("...") and goes through a translator'


def _plain_texts(node: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and text of literals that look like sentences, but for what is logged, raised, or said to no person."""
    match node:
        case ast.Constant(value=str(text)) if _SENTENCE.search(text):
            yield node.lineno, text
        case ast.JoinedStr(values=values):
            text = "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in values)
            if _SENTENCE.search(text):
                yield node.lineno, text
        case ast.Expr(value=ast.Constant()) | ast.Raise():
            return
        case ast.Call(func=ast.Name(id=name)) if name in NOT_SHOWN or name.endswith("Error"):
            return
        case ast.Call(func=ast.Attribute(value=ast.Name(id="_log"))):
            return
        case ast.Assign(targets=[ast.Name(id=name)]) if name in NOT_SHOWN:
            return
        case _:
            for child in ast.iter_child_nodes(node):
                yield from _plain_texts(child)
