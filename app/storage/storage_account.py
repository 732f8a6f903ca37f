"""Which storage account is meant, and how it is signed in to."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import SecretStr


@dataclass(frozen=True, slots=True)
class StorageAccount:
    """A connection string, or the services' addresses and the managed identity's client id."""

    connection_string: SecretStr | None = None
    tables: str = ""
    queues: str = ""
    blobs: str = ""
    client_id: str | None = None
