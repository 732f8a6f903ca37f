"""Where a package is deployed to, from the variables that provision wrote."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ops.deploy import DeployError

Plan = Literal["consumption", "flex"]

_NAMES = {
    "AZURE_SUBSCRIPTION_ID": r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}",
    "AZURE_RESOURCE_GROUP_NAME": r"[\w.()-]{1,90}",
    "FUNCTION_APP_NAME": r"[a-zA-Z0-9-]{2,60}",
    "STORAGE_ACCOUNT_NAME": r"[a-z0-9]{3,24}",
    "PACKAGE_CONTAINER_NAME": r"[a-z0-9-]{3,63}",
    "HEALTH_URL": r"https?://[^\s\"'<>]+",
}


@dataclass(frozen=True, slots=True)
class Target:
    """`python` is the version that the Function App runs, if that is known."""

    subscription: str
    resource_group: str
    function_app: str
    storage_account: str
    container: str
    health_url: str
    plan: Plan
    python: str | None

    @classmethod
    def from_variables(cls, variables: Mapping[str, str]) -> Target:
        """Raises `DeployError`, naming every variable that is missing or wrong."""
        missing = [name for name in _NAMES if not variables.get(name)]
        if missing:
            raise DeployError(
                f"No value for {', '.join(missing)}. Provision first: it writes them into env/.env.dev, or its like."
            )
        for name, form in _NAMES.items():
            if not re.fullmatch(form, variables[name]):
                raise DeployError(f"{name} cannot be {variables[name]!r}.")
        plan = variables.get("HOSTING_PLAN") or "consumption"
        if plan not in ("consumption", "flex"):
            raise DeployError(f"HOSTING_PLAN is {plan!r}, neither consumption nor flex.")
        # Where Python images set PYTHON_VERSION, it has three parts and is not provision's.
        python = variables.get("PYTHON_VERSION", "")
        return cls(
            subscription=variables["AZURE_SUBSCRIPTION_ID"],
            resource_group=variables["AZURE_RESOURCE_GROUP_NAME"],
            function_app=variables["FUNCTION_APP_NAME"],
            storage_account=variables["STORAGE_ACCOUNT_NAME"],
            container=variables["PACKAGE_CONTAINER_NAME"],
            health_url=variables["HEALTH_URL"],
            plan="flex" if plan == "flex" else "consumption",
            python=python if re.fullmatch(r"3\.\d+", python) else None,
        )

    @property
    def resource_id(self) -> str:
        group = f"/subscriptions/{self.subscription}/resourceGroups/{self.resource_group}"
        return f"{group}/providers/Microsoft.Web/sites/{self.function_app}"
