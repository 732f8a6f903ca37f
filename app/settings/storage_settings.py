"""The settings of storage: a storage account, or a file on a developer's machine."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

from pydantic import SecretStr, field_validator
from pydantic_core import PydanticCustomError

from app.settings.host_environment import HostEnvironment
from app.settings.section import GUID, Section, setting

_SERVICE_URI = r"^https://[A-Za-z0-9.-]+/?$"


class StorageSettings(Section):
    title: ClassVar[str] = "Storage: where conversations are kept, and how long"

    connection_string: SecretStr | None = setting(
        "AzureWebJobsStorage",
        left_out="the file in `DATA_DIR`; in Azure, this or the next three are required",
        default=None,
        description="the storage account's connection string, or UseDevelopmentStorage=true for Azurite",
    )
    table_service_uri: str | None = setting(
        "AzureWebJobsStorage__tableServiceUri",
        default=None,
        pattern=_SERVICE_URI,
        description="the storage account's table service, for example https://<account>.table.core.windows.net",
    )
    queue_service_uri: str | None = setting(
        "AzureWebJobsStorage__queueServiceUri",
        default=None,
        pattern=_SERVICE_URI,
        description="the storage account's queue service, for example https://<account>.queue.core.windows.net",
    )
    blob_service_uri: str | None = setting(
        "AzureWebJobsStorage__blobServiceUri",
        default=None,
        pattern=_SERVICE_URI,
        description="the storage account's blob service, for example https://<account>.blob.core.windows.net",
    )
    client_id: str | None = setting(
        "AzureWebJobsStorage__clientId",
        left_out="the system-assigned identity",
        default=None,
        pattern=GUID,
        description="the client id of the managed identity that may use the storage account, a GUID",
    )
    data_dir: Path = setting(
        "DATA_DIR",
        default=Path(".data"),
        description="the folder that conversations are kept in where there is no storage account; never in Azure",
    )
    retention_days: int = setting(
        "CONVERSATION_RETENTION_DAYS",
        default=30,
        ge=1,
        le=3650,
        description="how long conversations are kept, in days (1 to 3650)",
    )

    @property
    def uses_storage_account(self) -> bool:
        return self.connection_string is not None or self.table_service_uri is not None

    @property
    def conversations_file(self) -> Path:
        return self.data_dir / "conversations.sqlite"

    @field_validator("connection_string")
    @classmethod
    def _names_an_account(cls, value: SecretStr | None) -> SecretStr | None:
        text = value.get_secret_value().lower() if value else "usedevelopmentstorage="
        if not re.search("usedevelopmentstorage=|accountkey=|sharedaccesssignature=", text):
            raise PydanticCustomError("connection_string", "names no storage account")
        return value

    @classmethod
    def cross_field_problems(cls, given: Mapping[str, str], host: HostEnvironment) -> Iterator[str]:
        if "AzureWebJobsStorage" in given:
            return
        addresses = [f"AzureWebJobsStorage__{service}ServiceUri" for service in ("table", "queue", "blob")]
        missing = [name for name in addresses if name not in given]
        if missing == addresses and host.in_azure:
            # In a file each instance would have conversations of its own, and lose them when it ends.
            yield (
                f"{missing[0]}: missing, and {missing[1]} and {missing[2]} too; in Azure conversations are in the "
                "storage account that these three name, or a connection string in AzureWebJobsStorage; __accountName "
                "alone is not enough"
            )
        elif missing != addresses:
            for name in missing:
                yield f"{name}: missing; tables, queues and blobs are of one storage account"
