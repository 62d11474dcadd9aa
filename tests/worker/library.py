"""Microsoft's own worker library in a process of its own, and this test's process as its Functions host.

The host is the local one, given functions that pass each invocation on to the worker as the Functions host would.
"""

from __future__ import annotations

import asyncio
import base64
import concurrent.futures
import contextlib
import json
import os
import pathlib
import re
import subprocess
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import azure.functions as func

from perdure import AgentFunctionApp

ROOT = pathlib.Path(__file__).parents[2]
PYTHON = ROOT / ".venv-worker" / "bin" / "python"
PATIENCE_SECONDS = 60.0

NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9_\-]{0,127}")
RESERVED_ROUTES = ("admin", "runtime")
MCP_TRIGGER = "mcpToolTrigger"
MCP_ROUTE = "extension/mcp"
"""Where the function of a tool is called in place of the extension for MCP."""

TIMER_ROUTE = "extension/timer"
"""Where a function with a timer is called in place of the extension for those."""

TRIGGERS = ("orchestrationTrigger", "activityTrigger", "entityTrigger", "httpTrigger", "timerTrigger", MCP_TRIGGER)


class Function(NamedTuple):
    """A function as the worker has indexed it."""

    id: str
    name: str
    bindings: list[dict[str, Any]]

    @property
    def trigger(self) -> dict[str, Any]:
        (found,) = [binding for binding in self.bindings if binding["type"] in TRIGGERS]
        return found

    @property
    def client(self) -> str:
        return next((binding["name"] for binding in self.bindings if binding["type"] == "durableClient"), "")


class Refused(Exception):
    """The worker did not take what it was given."""


class Worker:
    """The worker's process."""

    def __init__(self, folder: pathlib.Path, environment: Mapping[str, str]) -> None:
        command = [str(PYTHON), str(pathlib.Path(__file__).with_name("process.py")), str(folder)]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **environment},
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._input, self._output = self._process.stdin, self._process.stdout
        self._lock = threading.Lock()
        self._waiting: dict[str, concurrent.futures.Future[Any]] = {}
        patience = threading.Timer(PATIENCE_SECONDS, self._process.kill)
        patience.start()
        first = json.loads(self._output.readline() or '{"error": "the worker ended, or did not begin in time"}')
        patience.cancel()
        if "error" in first:
            self.close()
            raise Refused(first["error"])
        self.functions = [Function(**found) for found in first["functions"]]
        threading.Thread(target=self._read, daemon=True).start()

    def begin(self, function: Function, inputs: Mapping[str, Any]) -> concurrent.futures.Future[Any]:
        """Invoke a function; the future gives what it gave."""
        invocation = uuid.uuid4().hex
        future = self._waiting[invocation] = concurrent.futures.Future()
        with self._lock:
            self._input.write(json.dumps({"id": invocation, "function": function.id, "inputs": inputs}) + "\n")
            self._input.flush()
        return future

    async def call(self, function: Function, inputs: Mapping[str, Any]) -> Any:
        """Invoke a function and wait for what it gave."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await asyncio.wrap_future(self.begin(function, inputs))

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._input.close()
        self._output.close()

    def _read(self) -> None:
        with contextlib.suppress(ValueError):
            for line in self._output:
                answer = json.loads(line)
                future = self._waiting.pop(answer["id"])
                if not future.set_running_or_notify_cancel():
                    continue  # Nobody waits for it any more.
                if answer["error"]:
                    future.set_exception(Refused(answer["error"]))
                else:
                    future.set_result(answer["value"])
        for future in self._waiting.values():
            future.cancel()


@contextlib.contextmanager
def started(folder: pathlib.Path, environment: Mapping[str, str]) -> Iterator[Worker]:
    """Start a worker on an app's folder.

    Raises:
        Refused: If it cannot index the app.
    """
    worker = Worker(folder, environment)
    try:
        yield worker
    finally:
        worker.close()


def check(functions: list[Function]) -> None:
    """Refuse what the Functions host would refuse."""
    names = [function.name.lower() for function in functions]
    assert len(set(names)) == len(names), "two functions have one name"
    routes: set[tuple[str, str]] = set()
    for function in functions:
        assert NAME.fullmatch(function.name), f"{function.name!r} is no name of a function"
        parameters = [binding["name"] for binding in function.bindings]
        assert len(set(parameters)) == len(parameters), f"two bindings of {function.name} have one name"
        for binding in function.bindings:
            assert binding["direction"] in ("IN", "OUT", "INOUT"), binding
        trigger = function.trigger
        if trigger["type"] != "httpTrigger":
            continue
        assert trigger["authLevel"] in ("ANONYMOUS", "FUNCTION", "ADMIN"), trigger
        route = trigger["route"]
        assert route.split("/")[0].lower() not in RESERVED_ROUTES, f"the route {route!r} is the host's own"
        holes = re.findall(r"{([^}]*)}", route)
        assert len(set(holes)) == len(holes), f"two parameters of {route!r} have one name"
        shape = re.sub(r"{[^}]*}", "{}", route.lower())
        for method in trigger["methods"]:
            assert (method, shape) not in routes, f"two functions answer {method} {route}"
            routes.add((method, shape))


def app_of(worker: Worker) -> AgentFunctionApp:
    """Give an app whose functions pass each invocation on to a worker."""
    app = AgentFunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS, enable_health_check=False)
    for function in worker.functions:
        _add(app, worker, function)
    return app


def _add(app: AgentFunctionApp, worker: Worker, function: Function) -> None:
    trigger = function.trigger
    parameter = trigger["name"]
    proxy: Callable[..., Any]
    match trigger["type"]:
        case "orchestrationTrigger":
            declare, proxy = app.orchestration_trigger(parameter, trigger["orchestration"]), _handle(worker, function)
        case "entityTrigger":
            declare = app.generic_trigger(parameter, "entityTrigger", entityName=trigger["entityName"])
            proxy = _operate(worker, function)
        case "activityTrigger":
            declare, proxy = app.activity_trigger(parameter, trigger["activity"]), _perform(worker, function)
        case "httpTrigger":
            declare = app.route(route=trigger["route"], methods=trigger["methods"])
            proxy = _answer(worker, function)
        case "mcpToolTrigger":
            declare = app.route(
                route=f"{MCP_ROUTE}/{trigger['toolName']}", methods=["POST"], trigger_arg_name=parameter
            )
            proxy = _use(worker, function, "string")
        case "timerTrigger":
            declare = app.route(route=f"{TIMER_ROUTE}/{function.name}", methods=["POST"], trigger_arg_name=parameter)
            proxy = _use(worker, function, "json")
        case other:
            raise AssertionError(f"a host for {other} is not played here")

    async def declared(context: Any = None, **given: Any) -> None:
        """Stand where the proxy is put."""

    built: Any = app.function_name(function.name)(declare(declared))
    if function.client:
        built = app.durable_client_input(function.client)(built)
    built._function._func = proxy


def _handle(worker: Worker, function: Function) -> Callable[[str], str]:
    def handle(context: str) -> str:
        try:
            value = worker.begin(function, {function.trigger["name"]: {"string": context}}).result(PATIENCE_SECONDS)
        except Refused as error:
            # As the extension reads it: what the function said of itself is in the text of its exception.
            raise Exception(str(error).split("\nTraceback", 1)[0].strip()) from None
        found: str = value.get("string") or value["json"]
        return found

    return handle


def _operate(worker: Worker, function: Function) -> Callable[..., Any]:
    async def operate(body: str) -> str:
        value = await worker.call(function, {function.trigger["name"]: {"string": body}})
        found: str = value.get("string") or value["json"]
        return found

    return operate


def _perform(worker: Worker, function: Function) -> Callable[..., Any]:
    async def perform(**given: Any) -> Any:
        inputs = {function.trigger["name"]: {"json": json.dumps(given[function.trigger["name"]])}}
        value = await worker.call(function, inputs)
        return None if value is None else json.loads(value.get("string") or value["json"])

    return perform


def _answer(worker: Worker, function: Function) -> Callable[..., Any]:
    async def answer(**given: Any) -> func.HttpResponse:
        request: func.HttpRequest = given[function.trigger["name"]]
        http = {
            "method": request.method,
            "url": request.url,
            "headers": dict(request.headers),
            "params": dict(request.route_params),
            "query": dict(request.params),
            "body": base64.b64encode(request.get_body() or b"").decode(),
        }
        inputs = {function.trigger["name"]: {"http": http}}
        if function.client:
            inputs[function.client] = {"string": given[function.client]}
        value = (await worker.call(function, inputs))["http"]
        (body,) = (value["body"] or {"bytes": ""}).items()
        found = base64.b64decode(body[1]) if body[0] == "bytes" else body[1].encode()
        return func.HttpResponse(found, status_code=int(value["status"]), headers=value["headers"])

    return answer


def _use(worker: Worker, function: Function, kind: str) -> Callable[..., Any]:
    async def use(**given: Any) -> func.HttpResponse:
        parameter = function.trigger["name"]
        inputs = {
            parameter: {kind: given[parameter].get_body().decode()},
            function.client: {"string": given[function.client]},
        }
        value = await worker.call(function, inputs)
        return func.HttpResponse("" if value is None else value["string"])

    return use
