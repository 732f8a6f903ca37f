"""Instances of the command `agent-server` that share a PostgreSQL and are killed, and clients that follow answers."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import openai

from tests.fakes.azurite import free_port

ROOT = Path(__file__).resolve().parents[2]
LEASE_SECONDS = 2
WORDS = 40
# One line for each time that a question is asked of the agent.
AGENT = f"""
import asyncio, os
from agent_server.server import create_server, stream

@stream()
async def answer(request):
    question = request["input"][-1]["content"]
    with open(os.environ["ASKED"], "a") as asked:
        asked.write(question + "\\n")
    for number in range({WORDS}):
        await asyncio.sleep(0.05)
        yield {{"type": "response.output_text.delta", "item_id": "m", "delta": f"{{question}}-{{number}} "}}

def main():
    create_server("agent/v1/responses")
"""


def answer_to(question: str) -> str:
    return "".join(f"{question}-{number} " for number in range(WORDS))


class Instance:
    def __init__(self, folder: Path, database_url: str) -> None:
        self._folder = folder
        self._environment = {
            "DATABASE_URL": database_url,
            "TURN_LEASE_SECONDS": str(LEASE_SECONDS),
            "AGENT_SERVER_MODULE": "my_agent",
            "ASKED": str(folder / "asked"),
        }
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("DATABRICKS_", "MLFLOW_"))}
        log = (self._folder / f"log-{self.port}").open("ab")
        command = ["-c", "import sys; from agent_server.cli import command; sys.exit(command())"]
        self._process = subprocess.Popen(
            [sys.executable, *command, "--port", str(self.port)],
            cwd=self._folder,
            env={**kept, "PYTHONPATH": str(ROOT), **self._environment},
            stdout=log,
            stderr=log,
        )
        log.close()

    async def ready(self) -> None:
        async with httpx.AsyncClient() as client:
            while True:
                with contextlib.suppress(httpx.TransportError):
                    if (await client.get(f"http://127.0.0.1:{self.port}/health", timeout=5)).status_code == 200:
                        return
                await asyncio.sleep(0.1)

    async def end(self, how: signal.Signals) -> float:
        """Seconds until it has ended."""
        assert self._process is not None
        began = time.monotonic()
        self._process.send_signal(how)
        await asyncio.to_thread(self._process.wait)
        return time.monotonic() - began

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


@asynccontextmanager
async def instances(folder: Path, database_url: str, count: int) -> AsyncIterator[list[Instance]]:
    (folder / "my_agent.py").write_text(AGENT)
    made = [Instance(folder, database_url) for _ in range(count)]
    try:
        for each in made:
            each.start()
        await asyncio.gather(*(each.ready() for each in made))
        yield made
    finally:
        for each in made:
            each.kill()


@dataclass
class Followed:
    """What a client with openai's package has seen of one response, over all its connections."""

    question: str
    id: str = ""
    text: str = ""
    last_number: int = -1
    end: dict[str, Any] = field(default_factory=dict)
    connections: int = 0

    async def follow(self, all_instances: list[Instance], chance: random.Random) -> None:
        """Asks, then reads on at any instance wherever a connection is cut, until the end."""
        while not self.end:
            instance = chance.choice(all_instances)
            client = openai.AsyncOpenAI(
                base_url=f"http://127.0.0.1:{instance.port}", api_key="none", max_retries=0, timeout=30
            )
            self.connections += 1
            try:
                await self._read(client)
            except openai.APIStatusError as refusal:
                if refusal.status_code < 500:
                    raise
                await asyncio.sleep(0.3)
            except (openai.APIError, httpx.HTTPError):
                await asyncio.sleep(0.3)
            finally:
                await client.close()

    async def _read(self, client: openai.AsyncOpenAI) -> None:
        if not self.id:
            created = await client.responses.create(
                input=self.question, background=True, extra_headers={"Idempotency-Key": self.question}
            )
            self.id = created.id
        after = openai.omit if self.last_number < 0 else self.last_number
        stream = await client.responses.retrieve(self.id, stream=True, starting_after=after)
        async for event in stream:
            number: int = event.sequence_number
            assert number == self.last_number + 1, f"{self.question}: event {number} came after {self.last_number}"
            self.last_number = number
            if event.type == "response.output_text.delta":
                self.text += event.delta
            if event.type in ("response.completed", "response.failed", "response.incomplete"):
                self.end = event.response.model_dump()

    def faults(self) -> Iterator[str]:
        """What a person would complain about."""
        if self.end.get("status") != "completed":
            yield f"{self.question} ended as {self.end.get('status')}: {self.end.get('error')}"
            return
        messages = [item for item in self.end["output"] if item["type"] == "message"]
        texts = [message["content"][0]["text"] for message in messages]
        if "".join(texts) != self.text:
            yield f"{self.question}: what was streamed is not what the response says"
        if texts[-1] != answer_to(self.question):
            yield f"{self.question}: the answer is not whole: {texts[-1]!r}"
        if any(message["status"] != "incomplete" for message in messages[:-1]):
            yield f"{self.question}: there are two whole answers"


async def run(
    folder: Path, database_url: str, *, questions: int, instance_count: int, kills: int, seed: int
) -> tuple[list[Followed], list[float]]:
    """Questions to several instances, of which one after the other is killed and started again. Returns what was seen,
    and how long each SIGTERM took.
    """
    chance = random.Random(seed)
    async with instances(folder, database_url, instance_count) as running:
        followed = [Followed(f"q{seed}-{number}") for number in range(questions)]

        async def ask(each: Followed, after: float) -> None:
            await asyncio.sleep(after)
            await each.follow(running, random.Random(f"{seed} {each.question}"))

        asking = asyncio.gather(*(ask(each, chance.uniform(0, 2.0 * kills)) for each in followed))
        terms: list[float] = []
        for number in range(kills):
            await asyncio.sleep(chance.uniform(1.0, 2.0))
            victim = chance.choice(running)
            how = signal.SIGTERM if number % 3 == 2 else signal.SIGKILL
            took = await victim.end(how)
            if how is signal.SIGTERM:
                terms.append(took)
            victim.start()
            await victim.ready()
        await asyncio.wait_for(asking, 120)
    return followed, terms
