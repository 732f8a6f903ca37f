"""Settings: everything wrong is said at once, by name, and no secret is ever shown."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path

import pytest

from app.config import CoreSettings, HostSettings, Settings, SettingsError, load_sections, load_settings
from app.jobs.environment import all_setting_names
from app.settings.databricks_settings import AUTH_TYPES, DatabricksSettings
from ops.settings_page import PAGE, sections, server_sections, settings_page

ROOT = Path(__file__).parent.parent
APP = "https://agent-1.azure.databricksapps.com"
GOOD = {
    "DATABRICKS_BASE_URL": "https://adb-1.azuredatabricks.net/serving-endpoints",
    "DATABRICKS_MODEL_NAME": "databricks-claude",
    "DATABRICKS_TOKEN": "dapi-very-secret",
}
IDENTITY = {
    "MicrosoftAppId": "11111111-2222-3333-4444-555555555555",
    "MicrosoftAppTenantId": "99999999-2222-3333-4444-555555555555",
}


def problems(environment: dict[str, str]) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load_settings(environment)
    return [problem.partition(":")[0] for problem in caught.value.problems]


def test_every_problem_is_reported_at_once_and_by_name() -> None:
    found = problems(
        {
            **IDENTITY,
            "MicrosoftAppType": "SingleTenant",
            "OPENAI_TEMPERATURE": "hot",
            "DATABRICKS_CLIENT_ID": "only-half",
            "DATABRICKS_API": "soap",
        }
    )
    assert sorted(found) == sorted(
        [
            "DATABRICKS_BASE_URL", "DATABRICKS_MODEL_NAME", "DATABRICKS_API", "OPENAI_TEMPERATURE",
            "MicrosoftAppPassword", "DATABRICKS_CLIENT_SECRET",
        ]
    )  # fmt: skip


def test_a_host_without_a_bot_starts_in_azure_without_the_bots_settings() -> None:
    azure = {**GOOD, **ADDRESSES, "WEBSITE_SITE_NAME": "f", "MicrosoftAppType": "no type", "BOT_CLOUD": "moon"}
    assert load_sections(CoreSettings, azure).databricks.model_name == "databricks-claude"
    assert sorted(problems(azure)) == ["BOT_CLOUD", "MicrosoftAppId", "MicrosoftAppType"]


def test_a_host_reads_no_setting_outside_of_its_sections() -> None:
    class WatchSettings(HostSettings):
        databricks: DatabricksSettings

    with pytest.raises(SettingsError) as error:
        load_sections(
            WatchSettings, {"DATABRICKS_CLIENT_ID": "half", "TURN_LEASE_SECONDS": "x", "WEBSITE_SITE_NAME": "f"}
        )
    assert [problem.partition(":")[0] for problem in error.value.problems] == [
        "DATABRICKS_BASE_URL",
        "DATABRICKS_MODEL_NAME",
        "DATABRICKS_CLIENT_SECRET",
    ]


def test_a_problem_says_what_to_put_there() -> None:
    with pytest.raises(
        SettingsError, match="MicrosoftAppType: not valid; put UserAssignedMSI, SingleTenant or MultiTenant"
    ):
        load_settings({**GOOD, **IDENTITY, "MicrosoftAppType": "singletenant"})


@pytest.mark.parametrize("typo", ["Multitenant", "UserAssignedMsi", "MSI", "x"])
def test_a_typo_in_the_app_type_is_not_taken_for_multi_tenant(typo: str) -> None:
    assert problems({**GOOD, **IDENTITY, "MicrosoftAppType": typo}) == ["MicrosoftAppType"]


@pytest.mark.parametrize(
    "azure", [{"WEBSITE_SITE_NAME": "f"}, {"WEBSITE_INSTANCE_ID": "1"}, {"WEBSITE_HOSTNAME": "f.azurewebsites.net"}]
)
def test_in_azure_the_bot_refuses_to_start_without_its_id(azure: dict[str, str]) -> None:
    assert problems({**GOOD, **azure, **ADDRESSES}) == ["MicrosoftAppId"]


def test_func_start_on_a_laptop_is_not_azure() -> None:
    assert not load_settings({**GOOD, "WEBSITE_HOSTNAME": "localhost:7071"}).host.in_azure


@pytest.mark.parametrize("app_type", ["UserAssignedMSI", "SingleTenant"])
def test_a_bot_of_one_tenant_needs_the_tenant(app_type: str) -> None:
    app_id = {"MicrosoftAppId": IDENTITY["MicrosoftAppId"], "MicrosoftAppPassword": "p"}
    assert problems({**GOOD, **app_id, "MicrosoftAppType": app_type}) == ["MicrosoftAppTenantId"]


@pytest.mark.parametrize(
    "url",
    [
        "adb-1.net", "http://adb-1.net", "ftp://adb-1.net", "https://", "https://u:p@adb-1.net", "https://adb 1.net",
        "https://adb_1.net", "https://adb-1.net:99999", "https://adb-1.net:0", "https://adb-1.net:x", "https://[::1",
    ],
)  # fmt: skip
def test_the_workspace_has_to_be_an_https_address(url: str) -> None:
    assert problems({**GOOD, "DATABRICKS_BASE_URL": url}) == ["DATABRICKS_BASE_URL"]


def test_a_stand_in_on_loopback_may_do_without_tls() -> None:
    settings = load_settings({**GOOD, "DATABRICKS_BASE_URL": "http://127.0.0.1:9/x/"})
    assert settings.databricks.base_url == "http://127.0.0.1:9/x"


def test_a_managed_identity_other_than_the_bots_is_named_by_its_client_id_alone() -> None:
    identity = {"DATABRICKS_AUTH_TYPE": "azure-managed-identity", "DATABRICKS_CLIENT_ID": "c"}
    assert load_settings({**GOOD, **identity}).databricks.client_id == "c"


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        ({"GENIE_SPACES": "all", "GENIE_TIMEOUT_SECONDS": "300"}, ["GENIE_TIMEOUT_SECONDS"]),
        ({"GENIE_SPACES": "all", "TURN_TIMEOUT_SECONDS": "240"}, ["GENIE_TIMEOUT_SECONDS"]),
    ],
)
def test_genies_time_limit_is_below_that_of_the_turn(given: dict[str, str], wrong: list[str]) -> None:
    assert problems({**GOOD, **given}) == wrong
    load_settings({**GOOD, **given, "TURN_TIMEOUT_SECONDS": "301"})
    load_settings({**GOOD, **given, "GENIE_SPACES": ""})


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        ({"DATABRICKS_TOKEN": "dapi0123"}, ["DATABRICKS_TOKEN"]),
        ({"DATABRICKS_TOKEN": "eyJ0.oauth.token"}, []),
        ({"DATABRICKS_CLIENT_ID": "c", "DATABRICKS_CLIENT_SECRET": "s"}, ["MLFLOW_BASE_URL"]),
        (
            {
                "DATABRICKS_CLIENT_ID": "c",
                "DATABRICKS_CLIENT_SECRET": "s",
                "MLFLOW_BASE_URL": GOOD["DATABRICKS_BASE_URL"],
            },
            [],
        ),
    ],
)
def test_an_app_as_the_model_takes_oauth_tokens_of_its_workspace_alone(given: dict[str, str], wrong: list[str]) -> None:
    environment = {name: value for name, value in GOOD.items() if name != "DATABRICKS_TOKEN"} | given
    for app in (APP, f"{APP}/api/v1"):
        if wrong:
            assert problems({**environment, "DATABRICKS_BASE_URL": app}) == wrong
        else:
            load_settings({**environment, "DATABRICKS_BASE_URL": app})
    load_settings(environment)


def test_no_secret_shows_in_any_text() -> None:
    secrets = {
        "DATABRICKS_TOKEN": "s3cret-a",
        "MicrosoftAppPassword": "s3cret-b",
        "DATABRICKS_CLIENT_SECRET": "s3cret-c",
    }
    settings = load_settings({**GOOD, **IDENTITY, **secrets, "DATABRICKS_CLIENT_ID": "c"})
    assert "s3cret" not in f"{settings!r} {settings} {settings.model_dump_json()}"
    with pytest.raises(SettingsError) as caught:
        load_settings({**secrets, "OPENAI_MAX_TOKENS": "s3cret-d", "MicrosoftAppId": "s3cret-e"})
    assert "s3cret" not in f"{caught.value!r} {caught.value}"


def test_only_teams_may_call_and_the_emulator_on_a_laptop_alone() -> None:
    laptop = load_settings(GOOD)
    assert laptop.bot.channels == {"msteams"}
    assert laptop.accepts_emulator
    azure = {**GOOD, **IDENTITY, **ADDRESSES, "WEBSITE_SITE_NAME": "f"}
    assert not load_settings(azure).accepts_emulator
    assert load_settings({**azure, "BOT_ACCEPTS_EMULATOR": "true"}).accepts_emulator


def test_images_are_shown_from_hosts_that_are_named() -> None:
    assert load_settings(GOOD).bot.image_hosts == frozenset()
    hosts = load_settings({**GOOD, "IMAGE_HOSTS": "Charts.example.com, a.example"}).bot.image_hosts
    assert hosts == {"charts.example.com", "a.example"}
    for wrong in ("https://a.example", "*.example", "a.example,", "a.example/x", "."):
        assert problems({**GOOD, "IMAGE_HOSTS": wrong}) == ["IMAGE_HOSTS"]


def test_a_sensitivity_label_has_a_name() -> None:
    label = {
        "SENSITIVITY_LABEL_ID": "e4cd6b3a-0b1c-4d1f-9d5b-2a1f0c9b7e11",
        "SENSITIVITY_LABEL_DESCRIPTION": "Staff only",
    }
    assert (
        load_settings({**GOOD, **label, "SENSITIVITY_LABEL_NAME": "Internal"}).bot.sensitivity_label_name == "Internal"
    )
    assert problems({**GOOD, **label}) == ["SENSITIVITY_LABEL_NAME", "SENSITIVITY_LABEL_NAME"]
    assert problems({**GOOD, "SENSITIVITY_LABEL_NAME": "a", "SENSITIVITY_LABEL_ID": "b"}) == ["SENSITIVITY_LABEL_ID"]


def test_channels_are_names_with_commas_between_them() -> None:
    assert load_settings({**GOOD, "BOT_CHANNELS": "msteams, webchat"}).bot.channels == {"msteams", "webchat"}
    for wrong in ("msteams,", "Teams", "teams", "msteams webchat", "*", "x" * 41):
        assert problems({**GOOD, "BOT_CHANNELS": wrong}) == ["BOT_CHANNELS"]


def test_a_line_end_pasted_behind_a_secret_is_no_part_of_it() -> None:
    token = load_settings({**GOOD, "DATABRICKS_TOKEN": " dapi123\n"}).databricks.token
    assert token is not None
    assert token.get_secret_value() == "dapi123"


def test_an_empty_setting_counts_as_not_set() -> None:
    assert load_settings({**GOOD, "OPENAI_MAX_TOKENS": "", "MicrosoftAppId": " "}).databricks.max_tokens is None


def test_the_sample_file_lists_every_setting() -> None:
    sample = json.loads((ROOT / "local.settings.sample.json").read_text())
    of_the_host = {"FUNCTIONS_WORKER_RUNTIME"}
    assert set(sample["Values"]) - of_the_host == set(all_setting_names())


def test_the_page_of_settings_is_what_the_code_says() -> None:
    assert (ROOT / PAGE).read_text(encoding="utf-8") == settings_page()
    listed = re.findall(r"^\| `([A-Za-z_]+)` \|", settings_page(), re.MULTILINE)
    of_the_server = {name for section in server_sections() for name in section.setting_names()}
    assert of_the_server >= {"AGENT_SERVER_IDENTITY", "TRACE_CONTENT", "DATABASE_URL"}
    assert sorted(listed) == sorted([*all_setting_names(), *of_the_server])


def test_what_to_put_there_names_the_largest_and_the_smallest_number() -> None:
    bounds = {"minimum", "maximum"}
    silent = []
    every = [*sections(), *server_sections()]
    fields = {name: field for section in every for name, field in section.model_json_schema()["properties"].items()}
    for name, field in fields.items():
        for kind in [field, *field.get("anyOf", [])]:
            silent += [name for bound in bounds & kind.keys() if f"{kind[bound]:.0f}" not in field["description"]]
    assert fields.keys() > all_setting_names().keys()
    assert silent == []


def test_settings_cannot_be_changed_after_start() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_settings(GOOD).databricks.max_tokens = 5


def test_every_field_has_a_name_and_a_description() -> None:
    assert set(Settings.model_fields) - set(Settings.sections()) == {"host"}
    assert len(all_setting_names()) == sum(len(section.model_fields) for section in sections())
    assert all(all_setting_names().values())


def test_a_secret_that_key_vault_did_not_give_is_named_with_the_role_that_is_missing() -> None:
    reference = "@Microsoft.KeyVault(SecretUri=https://v.vault.azure.net/secrets/databricks-token/)"
    with pytest.raises(SettingsError) as error:
        load_settings({**GOOD, "DATABRICKS_TOKEN": reference})
    assert error.value.problems == (
        "DATABRICKS_TOKEN: its Key Vault reference is not resolved; the app's identity needs the role "
        "Key Vault Secrets User",
    )


@pytest.mark.parametrize("text", ["AAD", "Authorization=AAD;ClientId=me", "Authorization=Key"])
def test_a_sign_in_to_application_insights_that_would_not_work_is_said_at_start(text: str) -> None:
    with pytest.raises(SettingsError, match="APPLICATIONINSIGHTS_AUTHENTICATION_STRING"):
        load_settings({**GOOD, "APPLICATIONINSIGHTS_AUTHENTICATION_STRING": text})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MicrosoftAppTenantId", "contoso"),
        ("DATABRICKS_AUTH_TYPE", "azure-managed-identty"),
        ("APPLICATIONINSIGHTS_CONNECTION_STRING", "garbage"),
        ("AzureWebJobsStorage", "garbage"),
        ("AzureWebJobsStorage", "DefaultEndpointsProtocol=https;AccountName=theirs"),
        ("AzureWebJobsStorage__clientId", "the-bots-identity"),
        ("CONVERSATION_RETENTION_DAYS", "3651"),
        ("TURN_LEASE_SECONDS", "1.5"),
        ("APPLICATIONINSIGHTS_CONNECTION_STRING", "InstrumentationKey=not-a-guid;IngestionEndpoint=https://x.example"),
    ],
)
def test_what_would_only_fail_later_is_refused_at_start_without_repeating_it(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"{name}: not valid") as error:
        load_settings({**GOOD, name: value})
    assert value not in str(error.value)


def test_every_way_that_databricks_sdk_signs_in_is_a_value_of_the_setting() -> None:
    from databricks.sdk import credentials_provider

    names = re.findall(r'credentials_strategy\(\s*"([\w-]+)"', inspect.getsource(credentials_provider))
    assert {"azure-managed-identity", *names} == set(AUTH_TYPES)


TABLES = {"AzureWebJobsStorage__tableServiceUri": "https://kept.table.core.windows.net/"}
QUEUES = {"AzureWebJobsStorage__queueServiceUri": "https://kept.queue.core.windows.net/"}
BLOBS = {"AzureWebJobsStorage__blobServiceUri": "https://kept.blob.core.windows.net/"}
ADDRESSES = {**TABLES, **QUEUES, **BLOBS}


@pytest.mark.parametrize(
    "storage",
    [
        {"AzureWebJobsStorage": "UseDevelopmentStorage=true"},
        {"AzureWebJobsStorage": "DefaultEndpointsProtocol=https;AccountName=kept;AccountKey=YQ=="},
        {
            "AzureWebJobsStorage": "TableEndpoint=https://kept.table.core.windows.net;"
            "QueueEndpoint=https://kept.queue.core.windows.net;SharedAccessSignature=sv=1&sig=x"
        },
        {**ADDRESSES, "AzureWebJobsStorage__clientId": IDENTITY["MicrosoftAppId"]},
        ADDRESSES,
    ],
)
def test_a_storage_account_is_chosen_by_a_connection_string_or_by_its_addresses(storage: dict[str, str]) -> None:
    assert load_settings({**GOOD, **storage}).storage.uses_storage_account


def test_without_a_storage_account_conversations_are_in_the_data_folder() -> None:
    settings = load_settings({**GOOD, "DATA_DIR": "somewhere"}).storage
    assert not settings.uses_storage_account
    assert settings.conversations_file == Path("somewhere/conversations.sqlite")


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ({**TABLES, **BLOBS}, QUEUES),
        ({**QUEUES, **BLOBS}, TABLES),
        (TABLES, {**QUEUES, **BLOBS}),
        (QUEUES, {**TABLES, **BLOBS}),
    ],
)
def test_some_services_of_a_storage_account_are_none(given: dict[str, str], missing: dict[str, str]) -> None:
    assert problems({**GOOD, **given}) == list(missing)


@pytest.mark.parametrize(
    "given", [{}, {"AzureWebJobsStorage__accountName": "kept"}, {"DATA_DIR": "/home"}], ids=["none", "name", "folder"]
)
def test_in_azure_no_instance_keeps_conversations_of_its_own(given: dict[str, str]) -> None:
    with pytest.raises(SettingsError) as error:
        load_settings({**GOOD, **IDENTITY, "WEBSITE_SITE_NAME": "f", **given})
    (problem,) = error.value.problems
    assert all(name in problem for name in ADDRESSES)
    for account in (ADDRESSES, {"AzureWebJobsStorage": "UseDevelopmentStorage=true"}):
        assert load_settings({**GOOD, **IDENTITY, "WEBSITE_SITE_NAME": "f", **account}).storage.uses_storage_account


@pytest.mark.parametrize("address", ["http://kept.table.core.windows.net", "kept", "https://u:p@kept.example"])
def test_the_address_of_a_storage_account_has_to_be_an_https_one(address: str) -> None:
    name = "AzureWebJobsStorage__tableServiceUri"
    assert problems({**GOOD, **ADDRESSES, name: address}) == [name]
