"""Microsoft's own worker library over a pipe: run by a Python that has it, driven by ``tests.worker.library``.

It is told the app's folder, and answers with the functions that it has indexed; then with what each invocation gave.
The protobuf messages between host and worker are plain objects with the same fields: the library asks no more of them.
"""

from __future__ import annotations

import asyncio
import base64
import importlib
import json
import os
import sys
import threading
from typing import Any


class Message:
    """A message: what it was given, by name."""

    def __init__(self, **fields: Any) -> None:
        self.__dict__.update(fields)

    def WhichOneof(self, group: str) -> str | None:
        """Give the name of the one field that is there."""
        return next((name for name, value in self.__dict__.items() if value is not None), None)


class Kinds:
    """Every kind of message by its name; an enumeration's member is its name."""

    def __init__(self) -> None:
        self._kinds: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return self._kinds.setdefault(name, Kind(name, (Message,), {}))


class Kind(type):
    """A kind of message, which may have members of an enumeration."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        # Directions and data types are numbers in the library's own bindings.
        return NUMBERS.get(f"{cls.__name__}.{name}", name)


NUMBERS = {"BindingInfo.in": 0, "BindingInfo.out": 1, "BindingInfo.inout": 2, "BindingInfo.undefined": 0}


def typed(value: dict[str, Any]) -> Message:
    """Give typed data out of its JSON: one of ``string``, ``json``, ``bytes`` and ``http``."""
    ((kind, given),) = value.items()
    if kind == "bytes":
        return Message(bytes=base64.b64decode(given))
    if kind != "http":
        return Message(**{kind: given})
    http = {**given, "body": Message(bytes=base64.b64decode(given["body"]))}
    return Message(http=Message(**http))


def untyped(data: Any) -> Any:
    """Give typed data as JSON."""
    if data is None:
        return None
    kind: str = data.WhichOneof("data")
    value: Any = getattr(data, kind)
    if kind == "bytes":
        return {"bytes": base64.b64encode(value).decode()}
    if kind == "http":
        return {"http": {"status": value.status_code, "headers": dict(value.headers), "body": untyped(value.body)}}
    return {kind: value}


def raised(result: Any) -> str:
    """Give what went wrong, or nothing."""
    if result.status == "Success":
        return ""
    return f"{result.exception.message}\n{result.exception.stack_trace}"


async def main() -> None:
    """Index the app, and serve."""
    handle_event: Any = importlib.import_module("azure_functions_runtime.handle_event")

    folder = sys.argv[1]
    sys.path.insert(0, folder)
    os.chdir(folder)
    # What the app prints is not for the pipe.
    pipe = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)
    lock = threading.Lock()

    def answer(value: Any) -> None:
        with lock:
            pipe.write(json.dumps(value) + "\n")

    begin = Message(worker_init_request=Message(capabilities={}, function_app_directory=folder))
    request = Message(request=begin, properties={"host": "127.0.0.1", "protos": Kinds()})
    started = await handle_event.worker_init_request(request)
    if problem := raised(started.result):
        answer({"error": problem})
        return
    indexed = await handle_event.functions_metadata_request(request)
    answer(
        {
            "functions": [
                {
                    "id": found.function_id,
                    "name": found.name,
                    "bindings": [json.loads(raw) for raw in found.raw_bindings],
                }
                for found in indexed.function_metadata_results
            ]
        }
    )

    async def invoke(asked: dict[str, Any]) -> None:
        inputs = [Message(name=name, data=typed(value)) for name, value in asked["inputs"].items()]
        for given in inputs:
            given.WhichOneof = lambda group: "data"  # type: ignore[method-assign]  # beside its name it has data
        invocation = Message(
            invocation_id=asked["id"],
            function_id=asked["function"],
            input_data=inputs,
            trigger_metadata={},
            trace_context=Message(trace_parent="", trace_state="", attributes={}),
            retry_context=Message(retry_count=0, max_retry_count=0, exception=None),
        )
        given = await handle_event.invocation_request(Message(request=Message(invocation_request=invocation)))
        problem = raised(given.result)
        answer({"id": asked["id"], "error": problem, "value": None if problem else untyped(given.return_value)})

    loop = asyncio.get_running_loop()
    tasks: set[asyncio.Task[None]] = set()

    def begin_one(asked: dict[str, Any]) -> None:
        task = loop.create_task(invoke(asked))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    def read() -> None:
        for line in sys.stdin:
            loop.call_soon_threadsafe(begin_one, json.loads(line))
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
