"""`python -m benchmarks.agent_servers.ask URL STREAMS SECONDS BODY`: so many streams at a time; prints JSON."""

from __future__ import annotations

import asyncio
import json
import sys
import time

from aiohttp import ClientSession, ClientTimeout, TCPConnector

# A stream that is still open then counts as an error.
_LONGEST_SECONDS = 180
_DELTA = b'"response.output_text.delta"'


async def main(url: str, streams: int, seconds: float, body: str) -> None:
    first_events: list[float] = []
    errors: list[str] = []
    ends = time.monotonic() + seconds

    async def ask(session: ClientSession, number: int) -> None:
        # Not all at once: people are not.
        await asyncio.sleep(5 * number / streams)
        while time.monotonic() < ends:
            began, first, deltas, done = time.monotonic(), 0.0, 0, False
            try:
                async with session.post(url, data=body) as response:
                    async for line in response.content:
                        if line.startswith(b"data: "):
                            first = first or time.monotonic()
                            deltas += _DELTA in line
                            done |= line.startswith(b"data: [DONE]")
                if response.status != 200 or deltas != 100 or not done:
                    errors.append(f"status {response.status}, {deltas} deltas, done {done}")
                    continue
                first_events.append(first - began)
            except Exception as error:
                errors.append(type(error).__name__)

    headers = {"Content-Type": "application/json"}
    timeout = ClientTimeout(total=_LONGEST_SECONDS, sock_read=60)
    async with ClientSession(headers=headers, timeout=timeout, connector=TCPConnector(limit=0)) as session:
        await asyncio.gather(*(ask(session, number) for number in range(streams)))
    first_events.sort()
    p95 = first_events[int(0.95 * (len(first_events) - 1))] if first_events else 0.0
    print(json.dumps({"answered": len(first_events), "errors": errors[:5], "error_count": len(errors), "p95": p95}))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), sys.argv[4]))
