"""Brings a package to the Function App, or an earlier one back. Standard library and the Azure CLI alone."""

from __future__ import annotations


class DeployError(Exception):
    """The Function App does not run what it should; `str()` says why and what to do."""


class NotAllowedError(DeployError):
    """Storage refuses whoever is signed in; a role given minutes ago may only have to take effect."""


class UnhealthyError(DeployError):
    """The package is in place and does not answer as healthy."""
