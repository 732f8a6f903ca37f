from __future__ import annotations

from collections.abc import Mapping

import pytest

from agent_server.composition.postgres_database import postgres_database
from agent_server.settings import load_server_settings
from app.config import SettingsError
from app.storage.postgres_database import PostgresDatabase

# What Databricks Apps sets for an app with a database.
IN_AN_APP = {
    "PGHOST": "instance-1.database.azuredatabricks.net",
    "PGPORT": "5432",
    "PGDATABASE": "databricks_postgres",
    "PGUSER": "5a3c1b2e-0000-4000-8000-000000000000",
    "PGSSLMODE": "require",
    "PGAPPNAME": "agent",
}
LAKEBASE_URL = "postgresql://ann%40example.com@ep-1.database.eu.databricks.com/databricks_postgres"
LOCAL = {"PGHOST": "localhost", "PGUSER": "me"}


async def token() -> str:
    return "token"


def database(environment: Mapping[str, str]) -> PostgresDatabase:
    settings = load_server_settings(environment).postgres
    assert settings.is_configured
    return postgres_database(settings, token)


@pytest.mark.parametrize(
    ("environment", "password", "ssl_mode"),
    [
        (IN_AN_APP, "token", "require"),
        ({**IN_AN_APP, "PGSSLMODE": ""}, "token", "require"),
        ({**IN_AN_APP, "PGSSLMODE": "verify-full"}, "token", "verify-full"),
        ({**IN_AN_APP, "PGPASSWORD": "own"}, "own", "require"),
        ({**LOCAL, "LAKEBASE_INSTANCE_NAME": "agents"}, "token", "require"),
        ({"DATABASE_URL": LAKEBASE_URL}, "token", "require"),
        ({"DATABASE_URL": f"{LAKEBASE_URL}?sslmode=verify-full"}, "token", None),
        ({"DATABASE_URL": LAKEBASE_URL.replace("@ep", ":own@ep")}, None, None),
        ({"DATABASE_URL": LAKEBASE_URL, "PGPASSWORD": "own"}, "own", None),
        ({"DATABASE_URL": "postgresql://me@localhost/agents"}, None, None),
        ({"DATABASE_URL": "postgresql://me@databricks.com.example/agents"}, None, None),
        (LOCAL, None, None),
        ({**LOCAL, "PGPASSWORD": "own"}, "own", None),
    ],
)
async def test_tokens_are_for_databases_of_databricks_and_go_over_tls_alone(
    environment: Mapping[str, str], password: str | None, ssl_mode: str | None
) -> None:
    found = database(environment)
    assert (found.password and await found.password(), found.ssl_mode) == (password, ssl_mode)


def test_the_parts_that_databricks_apps_sets_name_the_database() -> None:
    found = database(IN_AN_APP)
    assert (found.host, found.port, found.database, found.user) == (
        "instance-1.database.azuredatabricks.net", 5432, "databricks_postgres", "5a3c1b2e-0000-4000-8000-000000000000"
    )  # fmt: skip
    assert (found.url, found.schema) == (None, "databricks_agent")


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("postgres://u:p@h/d", "postgresql://u:p@h/d"),
        (" postgresql+asyncpg://u:p@h:6/d?a=b ", "postgresql://u:p@h:6/d?a=b"),
        ("postgresql://u:p@h/d?channel_binding=require&sslmode=require", "postgresql://u:p@h/d?sslmode=require"),
        ("postgresql:///d?host=/var/run/postgresql", "postgresql:///d?host=/var/run/postgresql"),
    ],
)
def test_a_connection_string_is_taken_as_other_programs_write_it(url: str, kept: str) -> None:
    found = database({"DATABASE_URL": url, "PGHOST": "elsewhere"})
    assert found.url is not None
    assert found.url.get_secret_value() == kept
    assert found.host is None
    assert "p@h" not in repr(found)


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({"DATABASE_URL": "mysql://u:s3cret@h/d"}, "DATABASE_URL"),
        ({"PGHOST": "h"}, "PGUSER"),
        ({**LOCAL, "PGPORT": "s3cret"}, "PGPORT"),
        ({**LOCAL, "PGSSLMODE": "s3cret"}, "PGSSLMODE"),
        ({**LOCAL, "LAKEBASE_ENDPOINT": "agents"}, "LAKEBASE_ENDPOINT"),
        ({**LOCAL, "DATABASE_SCHEMA": 'a"; DROP'}, "DATABASE_SCHEMA"),
        (
            {**LOCAL, "LAKEBASE_ENDPOINT": "projects/p/branches/b/endpoints/e", "LAKEBASE_INSTANCE_NAME": "agents"},
            "LAKEBASE_INSTANCE_NAME",
        ),
    ],
)
def test_what_names_no_database_is_said_by_the_setting_without_its_value(
    environment: Mapping[str, str], named: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        load_server_settings(environment)
    assert [problem.partition(":")[0] for problem in caught.value.problems] == [named]
    assert "s3cret" not in str(caught.value)


def test_without_any_of_them_there_is_no_database() -> None:
    assert not load_server_settings({}).postgres.is_configured


def test_a_database_takes_no_schema_that_would_have_to_be_quoted() -> None:
    with pytest.raises(ValueError, match="names no schema"):
        PostgresDatabase(schema="a-b")
