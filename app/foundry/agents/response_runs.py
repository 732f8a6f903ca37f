"""One response of one agent: started once, and polled to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

from app.foundry.agents.agent_response import AgentResponse, read_response
from app.foundry.agents.foundry_errors import (
    FoundryError,
    NoEndError,
    NotFoundError,
    UnavailableError,
    question_was_put,
)
from app.foundry.agents.orchestrator import Report
from app.foundry.agents.project_client import AgentVersion, FoundryProject

_LONGEST_PAUSE_SECONDS = 5.0


class ResponseRuns:
    """Those of one question. `started` are the ids of all, `running` of those whose end was not seen; `lost` where the
    answer to a request was lost, so that a response may run whose id nobody knows.
    """

    def __init__(
        self,
        project: FoundryProject,
        metadata: Mapping[str, str],
        traceparent: str,
        report: Report,
        *,
        poll_seconds: float,
    ) -> None:
        self._project = project
        self._metadata = dict(metadata)
        self._traceparent = traceparent
        self._report = report
        self._poll_seconds = poll_seconds
        self.started: list[str] = []
        self.running: set[str] = set()
        self.lost = False

    async def run(
        self, agent: AgentVersion, given: str | Sequence[Mapping[str, Any]], conversation_id: str = ""
    ) -> AgentResponse:
        """The ended response. `given` is what a person asks, or what functions returned. Raises `FoundryError`."""
        reference = {"type": "agent_reference", "name": agent.name, "version": agent.version}
        body: dict[str, Any] = {
            "input": given if isinstance(given, str) else list(given),
            "background": True,
            "metadata": self._metadata,
            "agent_reference": reference,
        }
        if conversation_id:
            body["conversation"] = conversation_id
        with question_was_put() if self.started else nullcontext():
            response = await self._start(agent.name, body)
        self.started.append(response.id)
        self.running.add(response.id)
        with question_was_put():
            response = await self._ended(agent.name, response)
        self.running.discard(response.id)
        if response.problem is not None:
            raise response.problem
        return response

    async def _start(self, agent_name: str, body: Mapping[str, Any]) -> AgentResponse:
        known = False
        try:
            response = read_response(await self._project.create_response(body, self._traceparent))
            known = bool(response.id)
        except UnavailableError as error:
            known = error.was_refused
            raise
        except FoundryError:
            known = True
            raise
        finally:
            # Also when cancelled: the request may have arrived.
            self.lost = self.lost or not known
        if not known:
            raise NoEndError("Foundry began a response without an id.")
        self._report(f"{agent_name}: {response.id} {response.status}")
        return response

    async def _ended(self, agent_name: str, response: AgentResponse) -> AgentResponse:
        pause = self._poll_seconds
        while not response.has_ended:
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE_SECONDS)
            status = response.status
            try:
                response = read_response(await self._project.response(response.id))
            except NotFoundError:
                raise NoEndError(f"The response {response.id} is gone: somebody has removed it.") from None
            if response.status != status:
                self._report(f"{agent_name}: {response.id} {response.status}")
        return response
