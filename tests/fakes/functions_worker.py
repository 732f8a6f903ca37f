"""Invocations by Microsoft's worker library: `python -I -S functions_worker.py FOLDER LIBRARY`.

`LIBRARY` holds the worker library alone; everything else comes from the package in `FOLDER`. The first line of
standard input is a list of functions, each with what it is given. Prints the functions and their answers as JSON, and
ends when standard input does.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
from types import SimpleNamespace
from typing import Any


class Record(SimpleNamespace):
    """A protobuf message as far as the library looks at one."""

    def WhichOneof(self, _: str) -> str | None:  # noqa: N802 - protobuf's own name
        return next(iter(vars(self)), None)


class StatusResult(Record):
    Success, Failure = 1, 0


class BindingInfo(Record):
    # `in` is a keyword here and a name there.
    locals().update({"in": 0})
    out, inout = 1, 2
    undefined = object()


class Protos:
    """Every message of the worker's protocol by its name."""

    StatusResult = StatusResult
    BindingInfo = BindingInfo

    def __getattr__(self, name: str) -> type[Record]:
        return Record


def request(**content: Any) -> Record:
    properties = {"host": "127.0.0.1", "protos": Protos()}
    return Record(request=Record(**{name: Record(**value) for name, value in content.items()}), properties=properties)


async def main() -> None:
    folder, library = sys.argv[1:]
    sys.path[:0] = [folder, f"{folder}/.python_packages/lib/site-packages"]
    sys.path.append(library)

    worker: Any = importlib.import_module("azure_functions_runtime")

    wanted = json.loads(sys.stdin.readline())
    await succeeds(
        worker.worker_init_request(request(worker_init_request={"capabilities": {}, "function_app_directory": folder}))
    )
    metadata = (await succeeds(worker.functions_metadata_request(request()))).function_metadata_results
    functions = {function.name: function for function in metadata}
    for function in metadata:
        load = {"function_id": function.function_id}
        await succeeds(worker.function_load_request(request(function_load_request=load)))
    answers = [
        said_by(await worker.invocation_request(request(invocation_request=invocation(functions[name], given, str(n)))))
        for n, (name, given) in enumerate(wanted)
    ]
    routes = {name: [json.loads(raw).get("route") for raw in each.raw_bindings] for name, each in functions.items()}
    directories = sorted({each.directory for each in metadata})
    sys.stdout.write(json.dumps({"functions": routes, "directories": directories, "answers": answers}))
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)


def invocation(function: Any, given: Any, number: str) -> dict[str, Any]:
    """What the host sends to the worker: of an activity, the body of a message, or what a timer says of itself."""
    (trigger,) = [binding for binding in map(json.loads, function.raw_bindings) if binding["direction"] == "IN"]
    binary = trigger.get("dataType") == "BINARY"
    taken = taken_bytes if binary else taken_text
    data, about = {"httpTrigger": posted, "queueTrigger": taken, "timerTrigger": due}[trigger["type"]](given)
    trace = Record(trace_parent=f"00-{'1' * 32}-{'2' * 16}-01", trace_state="", attributes={})
    retry = Record(retry_count=0, max_retry_count=0, exception=Record(source="", stack_trace="", message=""))
    parameter = Record(data=data)
    parameter.name = trigger["name"]
    return {
        "function_id": function.function_id,
        "invocation_id": number,
        "input_data": [parameter],
        "trigger_metadata": about,
        "trace_context": trace,
        "retry_context": retry,
    }


def posted(activity: Any) -> tuple[Record, dict[str, Record]]:
    headers = {"content-type": "application/json", "host": "127.0.0.1:7071"}
    http = Record(
        method="POST",
        url="http://127.0.0.1:7071/api/messages",
        headers=headers,
        params={},
        query={},
        body=Record(bytes=json.dumps(activity).encode()),
    )
    return Record(http=http), {}


def taken_bytes(body: str) -> tuple[Record, dict[str, Record]]:
    """The host leaves the members of a text of JSON alone where the function asks for bytes."""
    return Record(bytes=body.encode()), taken_text("")[1]


def taken_text(body: str) -> tuple[Record, dict[str, Record]]:
    time = Record(json=json.dumps("2026-01-02T03:04:05+00:00"))
    about = dict.fromkeys(("ExpirationTime", "InsertionTime", "NextVisibleTime"), time)
    return Record(string=body), about | {
        "QueueTrigger": Record(string=body),
        "Id": Record(string="00000000-0000-0000-0000-000000000001"),
        "PopReceipt": Record(string="AgAAAAMAAAAAAAAA"),
        "DequeueCount": Record(json="1"),
    }


def due(timer: Any) -> tuple[Record, dict[str, Record]]:
    return Record(json=json.dumps(timer)), {}


def said_by(response: Any) -> dict[str, str]:
    if response.result.status != StatusResult.Success:
        return {"failed": str(response.result.exception.message)}
    value = response.return_value
    return {} if value is None else {"status": str(value.http.status_code)}


async def succeeds(response: Any) -> Any:
    answer = await response
    if answer.result.status != StatusResult.Success:
        sys.exit(f"{answer.result.exception}")
    return answer


if __name__ == "__main__":
    asyncio.run(main())
