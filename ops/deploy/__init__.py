"""Brings a package to the Function App, or an earlier one back. Needs only the standard library and the Azure CLI."""

from __future__ import annotations


class DeployError(Exception):
    """The Function App does not run what it should; `str()` says why and what to do."""


class NotAllowedError(DeployError):
    """Storage refuses the signed-in account. A role assigned minutes ago may not be effective yet."""


class UnhealthyError(DeployError):
    """The package is deployed, and its health endpoint does not answer 200."""
