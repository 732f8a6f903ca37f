"""`python -m app.foundry`: `app.foundry.agents.command`."""

from __future__ import annotations

import sys

from app.foundry.agents.command import main

if __name__ == "__main__":
    sys.exit(main())
