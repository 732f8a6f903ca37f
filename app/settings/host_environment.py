"""Where the process runs, from variables that the platform sets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class HostEnvironment:
    """`app_name` is that of the Function App, `instance` that of the machine; both are empty outside of Azure."""

    in_azure: bool = False
    app_name: str = ""
    instance: str = ""

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Self:
        app_name = environment.get("WEBSITE_SITE_NAME", "")
        instance = environment.get("WEBSITE_INSTANCE_ID", "")
        # `func start` sets WEBSITE_HOSTNAME too, to an address of the laptop's own.
        host = environment.get("WEBSITE_HOSTNAME", "").partition(":")[0]
        on_this_machine = host in {"", "localhost", "127.0.0.1", "0.0.0.0"}  # noqa: S104 - compared, not bound
        return cls(bool(app_name or instance) or not on_this_machine, app_name, instance)
