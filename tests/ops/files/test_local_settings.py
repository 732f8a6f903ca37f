"""local.settings.json, the sample's and a developer's own, as the app will judge it at its start; pages in step."""

from __future__ import annotations

import difflib
import json

import pytest

from app.config import is_job_watch_on, load_settings
from app.jobs.environment import all_setting_names, load_watch_settings
from ops import architecture_page as architecture
from ops import settings_page as settings
from tests.ops.files.deployments import ROOT

FILES = [name for name in ("local.settings.sample.json", "local.settings.json") if (ROOT / name).is_file()]
EXAMPLES = {"DATABRICKS_BASE_URL": "https://workspace.example/serving-endpoints", "DATABRICKS_MODEL_NAME": "model"}


@pytest.mark.parametrize("name", FILES)
def test_the_app_starts_with_what_is_there(name: str) -> None:
    values = json.loads((ROOT / name).read_text(encoding="utf-8"))["Values"]
    assert [key for key, value in values.items() if not isinstance(value, str)] == [], "put it in quotation marks"
    given = EXAMPLES | {key: value for key, value in values.items() if value.strip()}
    load_settings(given)
    load_watch_settings(given)


def test_the_sample_watches_no_jobs_before_somebody_says_so() -> None:
    assert not is_job_watch_on(json.loads((ROOT / "local.settings.sample.json").read_text(encoding="utf-8"))["Values"])


@pytest.mark.parametrize("name", FILES)
def test_no_setting_is_misspelt(name: str) -> None:
    unknown = json.loads((ROOT / name).read_text(encoding="utf-8"))["Values"].keys() - all_setting_names().keys()
    meant = {key: difflib.get_close_matches(key, all_setting_names(), n=1, cutoff=0.85) for key in unknown}
    assert {key: close for key, close in meant.items() if close} == {}


def test_the_page_of_settings_says_what_the_app_reads() -> None:
    assert (ROOT / settings.PAGE).read_text(encoding="utf-8") == settings.settings_page(), "python dev.py docs"


def test_the_picture_of_the_architecture_is_that_of_the_imports() -> None:
    page = (ROOT / architecture.PAGE).read_text(encoding="utf-8")
    assert page == architecture.architecture_page(ROOT), "python dev.py docs"
