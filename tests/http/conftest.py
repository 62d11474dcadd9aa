from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import msgspec
import pytest

from perdure import errors
from perdure.hosts.local import bridge, cors, server
from perdure.payloads import refs
from perdure.routes import messages
from perdure.routes import site as sites
from perdure.testing import memory_runs
from perdure.workflow import options


class TextWorkflow:
    """A hosted workflow whose start type is a string, or an object with a number and a name."""

    def __init__(self, name: str, *, structured: bool = False) -> None:
        self.name = name
        self._structured = structured

    def accept(self, body: bytes, content_type: str) -> tuple[refs.Ref, list[refs.Blob]]:
        if body.strip() in (b"", b"null"):
            raise errors.EmptyInput("The body is empty.", "Send the input.")
        if self._structured:
            _check_order(body)
        elif messages.media_type(content_type) == "application/json" and body.startswith(b'"'):
            body = msgspec.json.decode(body, type=str).encode()
        if len(body) <= refs.INLINE_LIMIT_BYTES:
            return refs.Ref(body), []
        blob = refs.blob(body)
        return refs.stored(blob), [blob]

    def accept_run(self, body: bytes) -> tuple[refs.Ref, options.RunOptions, list[refs.Blob]]:
        given = options.open_envelope(body)
        value, blobs = self.accept(bytes(given.input), "application/json")
        return value, options.RunOptions(given.stream), blobs

    def describe(self) -> dict[str, Any]:
        schema: dict[str, Any] = {"type": "string"}
        if self._structured:
            schema = {"$ref": "#/$defs/Order", "$defs": {"Order": ORDER_SCHEMA}}
        return {
            "name": self.name,
            "description": "Says it back.",
            "start": "first",
            "nodes": [{"id": "first", "type": "Echo"}],
            "edges": [],
            "inputSchema": schema,
            "mermaid": "flowchart TD\n  first",
        }


class Order(msgspec.Struct):
    number: int
    name: str


ORDER_SCHEMA = {"type": "object", "properties": {"number": {"type": "integer"}, "name": {"type": "string"}}}


def _check_order(body: bytes) -> None:
    try:
        msgspec.json.decode(body, type=Order)
    except msgspec.ValidationError as error:
        raise errors.InvalidInput([("/number", str(error))]) from error
    except msgspec.DecodeError as error:
        raise errors.InvalidInput([("", str(error))]) from error


@dataclasses.dataclass
class World:
    """A served site: its runs in memory on the test's loop, its server on a thread of its own."""

    client: httpx.AsyncClient
    runs: memory_runs.MemoryRuns
    site: sites.Site
    url: str
    entered: asyncio.Event
    gate: asyncio.Event

    async def start(self, workflow: str = "echo", run_id: str = "r1", body: str = "hello") -> httpx.Response:
        return await self.client.post(f"workflow/{workflow}/run", params={"runId": run_id}, content=body)


async def _echo(value: refs.Ref, emit: memory_runs.Emit) -> list[Any]:
    emit("output", {"executor": "first"})
    return [value.inline.decode() if value.inline is not None else value.size]


async def _failing(value: refs.Ref, emit: memory_runs.Emit) -> list[Any]:
    raise ValueError("no such customer")


Serve = Callable[..., Awaitable[World]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Give a function that serves a site; several may be served in one test."""
    opened: list[tuple[httpx.AsyncClient, server.Server, memory_runs.MemoryRuns]] = []

    async def serving(
        *names: str,
        allowed: cors.Cors | None = None,
        around: Callable[[Any], Any] = lambda store: store,
        **settings: Any,
    ) -> World:
        entered, gate = asyncio.Event(), asyncio.Event()

        async def gated(value: refs.Ref, emit: memory_runs.Emit) -> list[Any]:
            entered.set()
            await gate.wait()
            return ["opened"]

        programs = {"echo": _echo, "failing": _failing, "gated": gated, "order": _echo}
        names = names or tuple(programs)
        store = memory_runs.MemoryRuns({name: programs.get(name, _echo) for name in names})
        bridged = bridge.BridgedRuns(around(store), asyncio.get_running_loop())
        hosting = {name: TextWorkflow(name, structured=name == "order") for name in names}
        site = sites.Site(hosting, bridged, **settings)
        web = server.Server(site, "127.0.0.1", 0, allowed)
        host, port = web.start()
        url = f"http://{host}:{port}"
        prefix = f"{site.prefix}/" if site.prefix else ""
        client = httpx.AsyncClient(base_url=f"{url}/{prefix}", timeout=30)
        opened.append((client, web, store))
        return World(client, store, site, url, entered, gate)

    yield serving
    for client, web, store in opened:
        await client.aclose()
        await asyncio.to_thread(web.stop, now=True)
        await store.close()


@pytest.fixture
async def world(serve: Serve) -> World:
    return await serve()
