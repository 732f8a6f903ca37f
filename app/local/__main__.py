"""`python -m app.local --port N`: the function host alone, in the foreground."""

import gc
import sys

# Objects made by imports stay: collecting garbage among them would only delay the first answer.
gc.disable()

from app.local.host import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
