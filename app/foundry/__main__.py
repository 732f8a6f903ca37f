"""`python -m app.foundry`: `app.foundry.agents.command`."""

from __future__ import annotations

import logging
import sys

from app.foundry.agents.command import main

if __name__ == "__main__":
    # At a desk the sentence that says what went wrong is enough.
    logging.getLogger("app").setLevel(logging.ERROR)
    sys.exit(main())
