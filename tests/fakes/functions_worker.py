"""One invocation by Microsoft's worker library: `python -I -S functions_worker.py FOLDER LIBRARY`.

`LIBRARY` holds the worker library alone; everything else comes from the package in `FOLDER`. The first line of
standard input is the invocation's body. Prints the functions and the answer as JSON, and ends when standard input does.
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

    body = sys.stdin.readline().encode()
    await succeeds(
        worker.worker_init_request(request(worker_init_request={"capabilities": {}, "function_app_directory": folder}))
    )
    metadata = (await succeeds(worker.functions_metadata_request(request()))).function_metadata_results
    functions = {function.name: function for function in metadata}
    wanted = functions["messages"].function_id
    await succeeds(worker.function_load_request(request(function_load_request={"function_id": wanted})))
    answer = await succeeds(worker.invocation_request(request(invocation_request=invocation(wanted, body))))
    http = answer.return_value.http
    routes = {name: [json.loads(raw).get("route") for raw in each.raw_bindings] for name, each in functions.items()}
    directories = sorted({each.directory for each in metadata})
    sys.stdout.write(json.dumps({"functions": routes, "directories": directories, "status": http.status_code}))
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)


def invocation(function: str, body: bytes) -> dict[str, Any]:
    headers = {"content-type": "application/json", "host": "127.0.0.1:7071"}
    http = Record(
        method="POST",
        url="http://127.0.0.1:7071/api/messages",
        headers=headers,
        params={},
        query={},
        body=Record(bytes=body),
    )
    trace = Record(trace_parent=f"00-{'1' * 32}-{'2' * 16}-01", trace_state="", attributes={})
    retry = Record(retry_count=0, max_retry_count=0, exception=Record(source="", stack_trace="", message=""))
    parameter = Record(data=Record(http=http))
    parameter.name = "req"
    return {
        "function_id": function,
        "invocation_id": "1",
        "input_data": [parameter],
        "trigger_metadata": {},
        "trace_context": trace,
        "retry_context": retry,
    }


async def succeeds(response: Any) -> Any:
    answer = await response
    if answer.result.status != StatusResult.Success:
        sys.exit(f"{answer.result.exception}")
    return answer


if __name__ == "__main__":
    asyncio.run(main())
