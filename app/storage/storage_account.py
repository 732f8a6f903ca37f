"""Which storage account is meant, and how it is signed in to."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import SecretStr

# Those of Azurite, published: https://learn.microsoft.com/azure/storage/common/storage-connect-azurite
EMULATOR_ACCOUNT = "devstoreaccount1"
EMULATOR_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


@dataclass(frozen=True, slots=True)
class StorageAccount:
    """A connection string, or the services' addresses and the managed identity's client id."""

    connection_string: SecretStr | None = None
    tables: str = ""
    queues: str = ""
    blobs: str = ""
    client_id: str | None = None
