"""Runs of the classic API, their steps, and agents that are connected to each other.

A run is queued, then in progress, may require an action of the client, and expires after ten minutes.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from app.local.foundry_stand_in.agent_run import AgentRuns
from app.local.foundry_stand_in.classic_agents import ClassicAgents, Thread, classic_tools
from app.local.foundry_stand_in.clock import Clock
from app.local.foundry_stand_in.function_queues import FunctionQueues
from app.local.foundry_stand_in.refusals import FailedToolCallError, Json, RefusedError, body_of, page_of
from app.local.foundry_stand_in.responses import RUN_SECONDS
from app.local.foundry_stand_in.script import ChosenCall, next_step

_ENDED = {"completed", "failed", "cancelled", "expired", "incomplete"}
_MAX_STEPS = 20
_MAX_DEPTH = 2


@dataclass(slots=True)
class Run:
    """`items` are the conversation in the script's format; `outputs` awaits what the client submits."""

    json: Json
    thread: Thread
    items: list[Json]
    steps: list[Json] = field(default_factory=list)
    outputs: asyncio.Future[list[Json]] | None = None
    task: asyncio.Task[None] | None = None

    @property
    def ended(self) -> bool:
        return self.json["status"] in _ENDED


class ClassicRuns:
    """Its ends are those of `AgentRuns`."""

    def __init__(self, clock: Clock, agents: ClassicAgents, queues: FunctionQueues, runs: AgentRuns) -> None:
        self._clock = clock
        self._agents = agents
        self._queues = queues
        self._ends = runs.ends
        self.all: dict[str, Run] = {}

    def routes(self) -> Sequence[web.RouteDef]:
        every, one = "/threads/{thread}/runs", "/threads/{thread}/runs/{id}"
        return (
            web.post(every, self._create),
            web.get(every, self._list),
            web.get(one, self._get),
            web.post(f"{one}/submit_tool_outputs", self._submit),
            web.post(f"{one}/cancel", self._cancel),
            web.get(f"{one}/steps", self._steps),
        )

    def running(self) -> list[str]:
        return [run.json["id"] for run in self.all.values() if not run.ended]

    async def _create(self, request: web.Request) -> web.Response:
        thread, body = self._agents.thread(request.match_info["thread"]), await body_of(request)
        if thread.active:
            raise RefusedError(400, None, f"Thread {thread.id} already has an active run {thread.active}.")
        agent = self._agents.find(str(body.get("assistant_id")))
        run = Run(self._new(thread, agent, body), thread, [_item(message) for message in thread.messages])
        self.all[run.json["id"]] = run
        thread.active = run.json["id"]
        run.task = asyncio.create_task(self._carry_out(run, agent))
        return web.json_response(run.json)

    def _new(self, thread: Thread, agent: Json, body: Mapping[str, Any]) -> Json:
        now = int(self._clock.now())
        return {
            "id": f"run_{secrets.token_hex(12)}",
            "object": "thread.run",
            "thread_id": thread.id,
            "assistant_id": agent["id"],
            "status": "queued",
            "required_action": None,
            "last_error": None,
            "model": agent["model"],
            "instructions": agent["instructions"],
            "tools": agent["tools"],
            "created_at": now,
            "expires_at": now + int(RUN_SECONDS),
            "incomplete_details": None,
            "metadata": body.get("metadata") or {},
            "parallel_tool_calls": True,
        }

    async def _carry_out(self, run: Run, agent: Json) -> None:
        run.json["status"] = "in_progress"
        end = self._ends.popleft() if self._ends else None
        try:
            work = self._end(run, end) if end else self._answer(run, agent)
            text = await self._clock.before(run.json["created_at"] + RUN_SECONDS, work)
            if text:
                message = self._agents.add_message(run.thread, {"role": "assistant", "content": text}, run.json)
                created = {"message_id": message["id"]}
                self._add_step(run, {"type": "message_creation", "message_creation": created})
            if not run.ended:
                run.json["status"] = "completed"
        except TimeoutError:
            run.json["status"] = "expired"
        except FailedToolCallError as error:
            run.json |= {"status": "failed", "last_error": {"code": "tool_user_error", "message": str(error)}}
        except asyncio.CancelledError:
            run.json["status"] = "cancelled"
        finally:
            run.json["required_action"] = None
            run.thread.active = None

    async def _end(self, run: Run, end: str) -> str:
        if end in {"incomplete", "content_filter"}:
            reason = "max_completion_tokens" if end == "incomplete" else end
            run.json |= {"status": "incomplete", "incomplete_details": {"reason": reason}}
        elif end == "failed":
            run.json |= {"status": "failed", "last_error": {"code": "server_error", "message": "Sorry."}}
        elif end in {"expired", "cancelled"}:
            run.json["status"] = end
        elif end in {"approval", "consent"}:
            call = {"id": "call_1", "type": "mcp", "server_label": "databricks", "name": "ask", "arguments": "{}"}
            action = {"type": "submit_tool_approval", "submit_tool_approval": {"tool_calls": [call]}}
            run.json |= {"status": "requires_action", "required_action": action}
            await asyncio.Event().wait()
        elif end == "stuck":
            await asyncio.Event().wait()
        elif end == "empty":
            return ""
        return {"no_tool": "I know that without a tool.", "refusal": "I cannot help with that."}.get(end, "")

    async def _answer(self, run: Run, agent: Json, depth: int = 0) -> str:
        """The text of `agent`, which may be one that is connected to the run's own, with items of its own."""
        for _ in range(_MAX_STEPS):
            step = next_step(classic_tools(agent["tools"]), run.items)
            if isinstance(step, str):
                return step
            calls = [(f"call_{secrets.token_hex(12)}", call, _definition(agent["tools"], call.name)) for call in step]
            submitted = [each for each in calls if each[2]["type"] == "function"]
            if submitted:
                await self._require_action(run, [(call_id, call) for call_id, call, _ in submitted])
            for call_id, call, tool in calls:
                if tool["type"] != "function":
                    await self._call(run, call_id, call, tool, depth)
        raise FailedToolCallError("The agent called too many tools.")

    async def _call(self, run: Run, call_id: str, call: ChosenCall, tool: Json, depth: int) -> None:
        kind = tool["type"]
        if kind == "connected_agent":
            if depth >= _MAX_DEPTH:
                raise FailedToolCallError("Connected agents go two levels deep at most.")
            connected = self._agents.find(tool["connected_agent"]["id"])
            question = {"role": "user", "content": call.arguments["query"]}
            inner = Run(run.json, run.thread, [question], run.steps)
            output = await self._answer(inner, connected, depth + 1)
        else:
            output = await self._queues.call(tool, call_id, call.arguments)
        detail = {"name": call.name, "arguments": json.dumps(call.arguments), "output": output}
        self._add_step(run, {"type": "tool_calls", "tool_calls": [{"id": call_id, "type": kind, kind: detail}]})
        run.items.append({"type": "function_call_output", "call_id": call_id, "output": output})

    async def _require_action(self, run: Run, calls: Sequence[tuple[str, ChosenCall]]) -> None:
        functions = [
            {
                "id": call_id,
                "type": "function",
                "function": {"name": call.name, "arguments": json.dumps(call.arguments)},
            }
            for call_id, call in calls
        ]
        run.outputs = asyncio.get_running_loop().create_future()
        action = {"type": "submit_tool_outputs", "submit_tool_outputs": {"tool_calls": functions}}
        run.json |= {"status": "requires_action", "required_action": action}
        outputs = {each["tool_call_id"]: each["output"] for each in await run.outputs}
        run.json |= {"status": "in_progress", "required_action": None}
        run.outputs = None
        for call_id, call in calls:
            run.items.append({"type": "function_call_output", "call_id": call_id, "output": outputs.get(call_id, "")})
            detail = {"name": call.name, "arguments": json.dumps(call.arguments), "output": outputs.get(call_id)}
            self._add_step(
                run, {"type": "tool_calls", "tool_calls": [{"id": call_id, "type": "function", "function": detail}]}
            )

    def _add_step(self, run: Run, details: Json) -> None:
        run.steps.append(
            {
                "id": f"step_{secrets.token_hex(12)}",
                "object": "thread.run.step",
                "type": details["type"],
                "assistant_id": run.json["assistant_id"],
                "thread_id": run.thread.id,
                "run_id": run.json["id"],
                "status": "completed",
                "step_details": details,
                "last_error": None,
                "created_at": int(self._clock.now()),
                "metadata": {},
            }
        )

    async def _list(self, request: web.Request) -> web.Response:
        thread = self._agents.thread(request.match_info["thread"])
        return page_of(request, [run.json for run in self.all.values() if run.thread is thread])

    async def _get(self, request: web.Request) -> web.Response:
        return web.json_response(self._find(request).json)

    async def _steps(self, request: web.Request) -> web.Response:
        return page_of(request, self._find(request).steps)

    async def _submit(self, request: web.Request) -> web.Response:
        run, body = self._find(request), await body_of(request)
        if run.outputs is None or run.outputs.done():
            status = run.json["status"]
            raise RefusedError(400, None, f"Runs in status '{status}' do not accept tool outputs.")
        expected = {call["id"] for call in run.json["required_action"]["submit_tool_outputs"]["tool_calls"]}
        given = body.get("tool_outputs") or []
        if expected != {each.get("tool_call_id") for each in given}:
            raise RefusedError(400, None, f"Expected tool outputs for call_ids {sorted(expected)}.")
        run.outputs.set_result(given)
        run.json |= {"status": "queued", "required_action": None}
        return web.json_response(run.json)

    async def _cancel(self, request: web.Request) -> web.Response:
        run = self._find(request)
        if run.ended:
            raise RefusedError(400, None, f"Cannot cancel run with status '{run.json['status']}'.")
        await _stop(run)
        return web.json_response(run.json)

    def _find(self, request: web.Request) -> Run:
        thread = self._agents.thread(request.match_info["thread"])
        run = self.all.get(request.match_info["id"])
        if run is None or run.thread is not thread:
            raise RefusedError(404, None, f"No run found with id '{request.match_info['id']}'.")
        return run

    async def close(self) -> None:
        for run in self.all.values():
            await _stop(run)


async def _stop(run: Run) -> None:
    if run.task is not None:
        run.task.cancel()
        await asyncio.gather(run.task, return_exceptions=True)
        if not run.ended:
            # It was cancelled before it had begun.
            run.json["status"] = "cancelled"
            run.thread.active = None


def _item(message: Mapping[str, Any]) -> Json:
    return {"role": message["role"], "content": message["content"][0]["text"]["value"]}


def _definition(tools: Sequence[Json], name: str) -> Json:
    for tool in tools:
        kind = tool["type"]
        named = tool[kind]["function"] if kind == "azure_function" else tool[kind]
        if named["name"] == name:
            return tool
    raise FailedToolCallError(f"There is no tool {name}.")
