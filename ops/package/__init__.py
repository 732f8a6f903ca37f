"""The deployment package: what Azure Functions runs, with the same content from any machine."""

from __future__ import annotations

DEPLOYED_ROOT = "/home/site/wwwroot"
"""Where Azure puts the package; tracebacks name files below it."""

SITE_PACKAGES = ".python_packages/lib/site-packages"
"""Where the Functions worker looks for dependencies."""


class PackageError(Exception):
    """There is no package; `str()` says why and what to do."""
