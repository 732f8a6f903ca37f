"""How a person types the commands of dev.py on this system. Standard library only, as dev.py itself."""

from __future__ import annotations

import os

# `python` alone is missing on macOS and on Debian, `python3` on Windows.
DEV = "py dev.py" if os.name == "nt" else "python3 dev.py"
