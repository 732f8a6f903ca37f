"""The settings of the job watch: read from the environment and `.env`, judged at once, and made into policies."""

from __future__ import annotations

import json
from datetime import time
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from app.config import SettingsError
from app.databricks.workspace_url import WorkspaceUrl
from app.jobs.environment import WatchSettings, load_watch_settings, read_env_file
from app.jobs.job_policy import JobPolicy, ParameterRule, Person, WatchMode
from app.jobs.policies import JobPolicies
from app.jobs.quiet_hours import QuietHours
from app.storage.storage_account import StorageAccount

TENANT, ANN = "99999999-2222-4333-8444-555555555555", "11111111-2222-4333-8444-555555555555"
WORKSPACE = {"DATABRICKS_HOST": "https://adb-1.azuredatabricks.net", "DATABRICKS_TOKEN": "dapi-secret"}


def load(**settings: str) -> WatchSettings:
    return load_watch_settings({**WORKSPACE, **settings})


def policies(**settings: str) -> JobPolicies:
    loaded = load(**settings)
    return JobPolicies.from_settings(loaded.job_watch, loaded.notices)


def test_a_workspace_and_a_token_are_enough_and_the_defaults_are_those_that_people_rely_on() -> None:
    settings = load()
    assert settings.workspace_url == "https://adb-1.azuredatabricks.net"
    assert settings.store is None
    assert (settings.job_watch.breaker_jobs, settings.job_watch.model_calls_per_hour) == (10, 60)
    assert (settings.mail.port, settings.mail.is_configured, settings.azure_openai.is_configured) == (587, False, False)
    assert JobPolicies.from_settings(settings.job_watch).of(1) == JobPolicy()


@pytest.mark.parametrize(
    ("host", "base_url", "expected"),
    [
        ("adb-1.azuredatabricks.net", "", "https://adb-1.azuredatabricks.net"),
        ("https://adb-1.azuredatabricks.net/", "", "https://adb-1.azuredatabricks.net"),
        ("", "https://adb-2.azuredatabricks.net/serving-endpoints", "https://adb-2.azuredatabricks.net"),
        ("https://adb-1.azuredatabricks.net", "https://app.example/serving", "https://adb-1.azuredatabricks.net"),
    ],
)
def test_the_workspace_has_either_name(host: str, base_url: str, expected: str) -> None:
    settings = load(DATABRICKS_HOST=host, DATABRICKS_BASE_URL=base_url)
    assert settings.workspace_url == expected
    assert WorkspaceUrl.parse(settings.databricks.base_url).host == expected, "the jobs are asked of another"


def test_the_address_of_the_model_stays_where_it_is_in_the_workspace() -> None:
    gateway = "https://adb-1.azuredatabricks.net/ai-gateway/mlflow/v1"
    assert load(DATABRICKS_BASE_URL=gateway).databricks.base_url == gateway


def test_a_file_gives_what_the_environment_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / ".env"
    file.write_text(
        "\ufeff# of the job watch\nexport DATABRICKS_HOST=https://adb-1.azuredatabricks.net\n"
        "DATABRICKS_TOKEN='dapi-file'\nSENDER_EMAIL=jobs@contoso.com\nSMTP_SERVER=smtp.contoso.com\n"
        'SENDER_PASSWORD="a$b#c${d}"\nMAX_RETRY_ATTEMPTS=5\n',
        encoding="utf-8",
    )
    monkeypatch.chdir(tmp_path)
    for name in ("DATABRICKS_HOST", "SENDER_EMAIL", "DATABRICKS_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DATABRICKS_TOKEN", "dapi-environment")
    monkeypatch.setenv("MAX_RETRY_ATTEMPTS", " ")
    settings = load_watch_settings()
    token, password = settings.databricks.token, settings.mail.password
    assert token is not None
    assert password is not None
    assert token.get_secret_value() == "dapi-environment"
    assert password.get_secret_value() == "a$b#c${d}"
    assert settings.job_watch.max_retry_attempts == 5


def test_a_file_that_is_none_or_no_text_is_not_a_traceback(tmp_path: Path) -> None:
    assert read_env_file(tmp_path / "none") == {}
    (tmp_path / ".env").write_bytes(b"A=\xff\xfe\xff")
    with pytest.raises(SettingsError, match="UTF-8"):
        read_env_file(tmp_path / ".env")


def test_each_job_has_what_is_said_of_its_tag_its_name_and_its_id() -> None:
    jobs = {
        "123": {"mode": "auto", "approvers": []},
        "tag:team=data": {"mode": "approve", "safe": True, "max_minutes": 30},
        "tag:critical": {"failures_in_a_row": 2},
        "Nightly_*": {"max_minutes": 90, "allow": {"batch_size": {"type": "integer", "min": 1, "max": 9}}},
    }
    all_jobs = policies(JOB_WATCH_JOBS=json.dumps(jobs), JOB_APPROVERS=f"{TENANT}/{ANN}", JOB_MAX_LATE_MINUTES="5")
    ann = (Person(TENANT, ANN),)
    assert all_jobs.of(9, "other") == JobPolicy(approvers=ann, max_late_minutes=5)
    named = JobPolicy(
        approvers=ann,
        max_late_minutes=5,
        max_minutes=90,
        parameters=(ParameterRule("batch_size", "integer", minimum=1, maximum=9),),
    )
    assert all_jobs.of(9, "nightly_etl") == named
    both = all_jobs.of(123, "NIGHTLY_etl", {"team": "data", "critical": ""})
    assert (both.mode, both.is_rerun_safe, both.max_minutes) == (WatchMode.AUTO, True, 90)
    assert (both.failures_in_a_row, both.approvers, both.parameters) == (2, (), named.parameters)
    assert all_jobs.of(9, "other", {"team": "finance"}).mode is WatchMode.OBSERVE


def test_a_job_may_have_quiet_hours_of_its_own_or_none() -> None:
    jobs = {"1": {"quiet_hours": ""}, "tag:night": {"quiet_hours": "20:00-09:30"}}
    all_jobs = policies(JOB_WATCH_JOBS=json.dumps(jobs), JOB_QUIET_HOURS="22:00-07:00", JOB_TIME_ZONE="Europe/Berlin")
    berlin = ZoneInfo("Europe/Berlin")
    assert all_jobs.of(9).quiet_hours == QuietHours(time(22), time(7), berlin)
    assert all_jobs.of(9, "", {"night": ""}).quiet_hours == QuietHours(time(20), time(9, 30), berlin)
    assert all_jobs.of(1, "", {"night": ""}).quiet_hours is None


def test_people_may_have_names_for_mentions() -> None:
    owner = {"tenant": TENANT.upper(), "id": ANN, "name": "Ann", "email": "ann@contoso.com"}
    policy = policies(JOB_WATCH_JOBS=json.dumps({"1": {"owners": [owner], "viewers": [f"{TENANT}/{ANN}"]}})).of(1)
    assert policy.owners == (Person(TENANT, ANN, "Ann", "ann@contoso.com"),)
    assert policy.viewers == (Person(TENANT, ANN),)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("JOB_WATCH_MODE", "automatic"),
        ("JOB_WATCH_ALLOW", '{"n": {"type": "integer"}}'),
        ("JOB_WATCH_ALLOW", '{"n": {"type": "integer", "min": 2, "max": 1}}'),
        ("JOB_WATCH_ALLOW", '{"n": {"type": "number", "min": 0, "max": NaN}}'),
        ("JOB_WATCH_ALLOW", '{"n": {"type": "text"}}'),
        ("JOB_WATCH_ALLOW", "{"),
        ("JOB_WATCH_JOBS", '{"1": {"mood": "auto"}}'),
        ("JOB_WATCH_JOBS", '["1"]'),
        ("JOB_WATCH_JOBS", '{"1": {"quiet_hours": "24:00-07:00"}}'),
        ("JOB_WATCH_IDS", "1,nightly"),
        ("JOB_WATCH_IDS", "0"),
        ("JOB_WATCH_BREAKER", "0"),
        ("JOB_APPROVERS", "ann@contoso.com"),
        ("JOB_APPROVERS", ANN),
        ("JOB_ESCALATION_EMAILS", "team at contoso.com"),
        ("JOB_WATCH_SCHEDULE", "*/5 * * * *"),
        ("JOB_WATCH_SCHEDULE", "every five minutes"),
        ("JOB_NOTIFICATION_PASSWORD", "short"),
        ("JOB_NOTIFICATION_PASSWORD", "a löng password"),
        ("JOB_NOTIFICATION_USERNAME", "data:bricks"),
        ("JOB_WATCH_HEARTBEAT_URL", "http://heartbeat.example"),
        ("JOB_MAX_MINUTES", "0"),
        ("JOB_MAX_MINUTES", "inf"),
        ("DATABRICKS_HOST", "http://adb-1.azuredatabricks.net"),
        ("JOB_WEBHOOK_URL", "ftp://x.example"),
        ("PAGERDUTY_ROUTING_KEY", "short"),
        ("JOB_QUIET_HOURS", "22-7"),
        ("JOB_DIGEST_AT", "24:00"),
        ("JOB_TIME_ZONE", "Mars/Olympus"),
        ("JOB_TIME_ZONE", "../../etc/passwd"),
        ("SMTP_PORT", "0"),
        ("SENDER_EMAIL", "jobs"),
        ("SMTP_SERVER", "smtp://server"),
        ("AZURE_OPENAI_ENDPOINT", "http://contoso.openai.azure.com"),
        ("MAIL_TENANT_ID", "contoso"),
    ],
)
def test_what_would_only_fail_later_is_refused_at_once_without_repeating_it(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"{name}: not valid") as error:
        load(**{name: value})
    assert len(value) < 5 or value not in str(error.value)


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ({"SMTP_SERVER": "s.example"}, "SENDER_EMAIL"),
        ({"SENDER_EMAIL": "a@b.example"}, "SMTP_SERVER"),
        ({"MAIL_TENANT_ID": TENANT, "MAIL_CLIENT_ID": ANN, "SENDER_EMAIL": "a@b.example"}, "MAIL_CLIENT_SECRET"),
        ({"AZURE_OPENAI_ENDPOINT": "https://x.openai.azure.com"}, "AZURE_OPENAI_DEPLOYMENT"),
        ({"AZURE_OPENAI_KEY": "k"}, "AZURE_OPENAI_ENDPOINT"),
        ({"JOB_WEBHOOK_URL": "https://x.example"}, "JOB_WEBHOOK_SECRET"),
        ({"JOB_NOTIFICATION_USERNAME": "u"}, "JOB_NOTIFICATION_PASSWORD"),
    ],
)
def test_what_is_missing_beside_another_setting_is_said(given: dict[str, str], missing: str) -> None:
    with pytest.raises(SettingsError, match=f"{missing}: missing"):
        load(**given)


def test_without_a_workspace_both_names_are_said() -> None:
    with pytest.raises(SettingsError, match="DATABRICKS_BASE_URL: missing"):
        load_watch_settings({})


def test_the_store_is_a_file_a_connection_string_or_an_address(tmp_path: Path) -> None:
    assert load(JOB_WATCH_STORE=str(tmp_path)).store == tmp_path / "job_watch.sqlite"
    assert load(JOB_WATCH_STORE=str(tmp_path / "jobs.db")).store == tmp_path / "jobs.db"
    text = "DefaultEndpointsProtocol=https;AccountName=kept;AccountKey=YQ=="
    account = load(JOB_WATCH_STORE=text).store
    assert isinstance(account, StorageAccount)
    assert account.connection_string is not None
    assert account.connection_string.get_secret_value() == text
    by_address = load(JOB_WATCH_STORE="https://kept.table.core.windows.net/", AzureWebJobsStorage__clientId=ANN).store
    assert by_address == StorageAccount(
        tables="https://kept.table.core.windows.net",
        queues="https://kept.queue.core.windows.net",
        blobs="https://kept.blob.core.windows.net",
        client_id=ANN,
    )
    assert load(AzureWebJobsStorage="UseDevelopmentStorage=true").store is not None
