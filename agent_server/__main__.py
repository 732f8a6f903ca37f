"""`python -m agent_server`, where the command `agent-server` is not installed."""

from __future__ import annotations

import sys

from agent_server.cli import command

if __name__ == "__main__":
    sys.exit(command())
