"""What befalls an app on the worker whose storage or code changes under a run: it is told, and nothing is lost."""

from __future__ import annotations

import asyncio
import contextlib
import json
import pathlib
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx
import pytest
from azure.storage.blob import ContainerClient
from tests import polling
from tests.azurite import emulator
from tests.host import gates, served
from tests.worker import library

from perdure.hosts.local import host
from perdure.payloads.stores import blob_container

HEADER = f"{served.HEADER}\n{gates.CODE}"

APP = """
class First(Executor):
    @handler
    async def step(self, text: str, ctx: WorkflowContext[str]) -> None:
        ctx.set_state("mail", text * 10_000)
        await ctx.send_message(text * 10_000)


class Second(Executor):
    @handler
    async def step(self, text: str, ctx: WorkflowContext[str]) -> None:
        await held("second")
        await ctx.send_message(f"done {text}")


class Third(Executor):
    @handler
    async def step(self, text: str, ctx: WorkflowContext[Never, str]) -> None:
        await ctx.yield_output(f"{len(text)} {len(ctx.get_state('mail'))}")


first, second, third = First("first"), Second("SECOND"), Third("third")
flow = WorkflowBuilder(name="flow", start_executor=first, output_from="all")
app = AgentFunctionApp(workflow=flow.add_edge(first, second).add_edge(second, third).build())
"""


class Place:
    """An app's folder, its task hub and its storage account."""

    def __init__(self, folder: pathlib.Path, azurite: emulator.Azurite, gate: gates.Gate) -> None:
        self.gate = gate
        self.folder = folder
        self.app = folder / "app"
        self.hub = f"t{uuid.uuid4().hex[:8]}"
        self.account = azurite.connection()

    def write(self, second: str) -> None:
        """Write the code, with an executor of that id."""
        served.write_app(self.app, APP.replace("SECOND", second), header=HEADER)

    def container(self) -> ContainerClient:
        name = blob_container.name_of(self.hub)
        return ContainerClient.from_connection_string(self.account, name, api_version=blob_container.API_VERSION)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[httpx.AsyncClient]:
        """The code as it is now on a worker; what the engine keeps is there from before."""
        settings = {"AzureWebJobsStorage": self.account, "TASKHUB_NAME": self.hub, "GATE_PORT": self.gate.port}
        with library.started(self.app, {**settings, "WEBSITE_HOSTNAME": "localhost:7071"}) as worker:
            playing = host.LocalHost(library.app_of(worker), hub=self.folder / "hub", port=0)
            async with playing as hosting, httpx.AsyncClient(base_url=f"{hosting.url}/api", timeout=60) as client:
                yield client


@pytest.fixture
def place(tmp_path: pathlib.Path, azurite: emulator.Azurite) -> Iterator[Place]:
    with gates.Gate() as gate:
        made = Place(tmp_path, azurite, gate)
        made.write("second")
        yield made


async def start(client: httpx.AsyncClient) -> None:
    assert (await client.post("/workflow/flow/run?runId=r", content="x")).status_code == 202


async def until(client: httpx.AsyncClient, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Ask after the run until it is as wanted: nothing is pushed to a client there."""

    async def ask() -> dict[str, Any]:
        found: dict[str, Any] = (await client.get("/workflow/flow/status/r")).json()
        return found

    return await polling.until(ask, holds, library.PATIENCE_SECONDS)


def waiting_for(what: str) -> Callable[[dict[str, Any]], bool]:
    return lambda status: what in str((status.get("customStatus") or {}).get("waitingFor", ""))


def ended(status: dict[str, Any]) -> bool:
    return status.get("runtimeStatus") in ("Completed", "Failed")


async def test_a_container_that_is_deleted_under_a_run_holds_it_up_and_loses_nothing_once_restored(
    place: Place,
) -> None:
    async with place.running() as client:
        await start(client)
        await asyncio.to_thread(place.gate.came, "second")
        with place.container() as kept:
            saved = [(name, kept.download_blob(name).readall()) for name in kept.list_blob_names()]
            kept.delete_container()
            place.gate.open()
            refused = await client.post("/workflow/flow/run?runId=other", content="x")
            unhealthy = await client.get("/health")
            await until(client, waiting_for("is not there"))
            kept.create_container()
            for name, body in saved:
                kept.upload_blob(name, body)
        status = await until(client, ended)
        await polling.until(
            lambda: client.get("/health"), lambda answer: answer.status_code == 200, library.PATIENCE_SECONDS
        )
    assert unhealthy.status_code == 503
    assert refused.status_code == 503
    assert "is not there" in refused.json()["error"]
    assert status["output"] == ["10005 10000"]


async def test_a_payload_that_is_deleted_under_a_run_fails_it_with_its_name(place: Place) -> None:
    async with place.running() as client:
        await start(client)
        await asyncio.to_thread(place.gate.came, "second")
    with place.container() as kept:
        gone = [name for name in kept.list_blob_names() if name.startswith("r%2F") and "/p/" in name]
        for name in gone:
            kept.delete_blob(name)
    place.gate.open()
    # Another worker has seen nothing of what is gone.
    async with place.running() as client:
        status = await until(client, ended)
    assert status["runtimeStatus"] == "Failed"
    assert "is not in the store" in json.dumps(status["error"])
    assert any(name.rpartition("/")[2] in json.dumps(status["error"]) for name in gone)


async def test_a_run_whose_executor_is_gone_from_the_code_waits_and_goes_on_with_one_that_has_it(place: Place) -> None:
    async with place.running() as client:
        await start(client)
        await asyncio.to_thread(place.gate.came, "second")
    place.gate.open()
    place.write("renamed")
    async with place.running() as client:
        status = await until(client, waiting_for("dafx-flow-second"))
        assert status["runtimeStatus"] == "Running"
    place.write("second")
    async with place.running() as client:
        status = await until(client, ended)
    assert status["output"] == ["10005 10000"]
