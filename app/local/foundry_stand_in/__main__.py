"""Runs the stand-in project until it is told to stop; prints the settings that make `python -m app.foundry` use it."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import sys

from aiohttp import web

from app.local.foundry_stand_in.function_queues import ALL_FORMS
from app.local.foundry_stand_in.server import PROJECT_PATH, FoundryStandIn
from app.local.lifetime import LOOPBACK, PortInUseError, listen, port_number, port_of, stop_requested


async def serve(stand_in: FoundryStandIn, listener: socket.socket, parent: int | None) -> None:
    runner = web.AppRunner(stand_in.application(), handler_cancellation=True, access_log=None, shutdown_timeout=1)
    await runner.setup()
    await web.SockSite(runner, listener).start()
    address = f"http://{LOOPBACK}:{port_of(listener)}"
    print(f"MODEL_DEPLOYMENT_NAME={next(iter(stand_in.agents.deployments))}")
    print(f"STORAGE_SERVICE_ENDPOINT={stand_in.queues.endpoint}")
    print(f"PROJECT_ENDPOINT_ENT={address}{PROJECT_PATH}", flush=True)
    try:
        await stop_requested(parent)
    finally:
        await runner.cleanup()


def main() -> int:
    """The queues are in the storage account of the connection string FOUNDRY_STORAGE, as a rule Azurite's.

    FOUNDRY_CONNECTIONS are the project's connections to MCP servers: JSON, headers by the connection's name.
    """
    parser = argparse.ArgumentParser(prog="python -m app.local.foundry_stand_in", description=__doc__)
    parser.add_argument("--port", type=port_number, default=0, help="0 takes a free one")
    parser.add_argument("--parent", type=int, metavar="PID", help="end when this parent process is gone")
    parser.add_argument("--forms", choices=("one", "all"), default="one", help="of the messages: all of them in turn")
    options = parser.parse_args()
    try:
        with listen(options.port) as listener:
            asyncio.run(_serve(listener, options))
    except PortInUseError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


async def _serve(listener: socket.socket, options: argparse.Namespace) -> None:
    stand_in = FoundryStandIn(os.environ.get("FOUNDRY_STORAGE"))
    if options.forms == "all":
        stand_in.queues.forms = ALL_FORMS
    stand_in.agents.keys |= json.loads(os.environ.get("FOUNDRY_CONNECTIONS", "{}"))
    await serve(stand_in, listener, options.parent)


if __name__ == "__main__":
    sys.exit(main())
