"""A host with a desk in front of it: what people who are asked see and send, over HTTP."""

from __future__ import annotations

import asyncio
import pathlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx

from perdure import AgentFunctionApp, testing
from perdure.workflow import hosted as hosted_workflow

TESTS = pathlib.Path(__file__).parents[1]
PATIENCE_SECONDS = 20.0

make_host: Callable[..., Any] = testing.LocalHost
"""What hosts an app; other hosts are put here to hold them to the same."""


def app_of(workflow: hosted_workflow.Source, **options: Any) -> AgentFunctionApp:
    """Host a workflow; the classes of these tests are the app's own."""
    return AgentFunctionApp(workflow=workflow, app_folder=TESTS, **options)


class Desk:
    """One run's questions and answers.

    Args:
        host: The host; it serves HTTP.
        client: Talks to it.
        run: The run's id.
        workflow: The hosted name.
    """

    def __init__(self, host: testing.LocalHost, client: httpx.AsyncClient, run: str, workflow: str) -> None:
        self.host = host
        self.client = client
        self.run = run
        self.workflow = workflow

    async def status(self) -> dict[str, Any]:
        """Give the run as its status route shows it."""
        answer = await self.client.get(f"{self.host.url}/api/workflow/{self.workflow}/status/{self.run}")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def pending(self) -> list[dict[str, Any]]:
        """Give the open requests."""
        found: list[dict[str, Any]] = (await self.status()).get("pendingHumanInputRequests", [])
        return found

    async def asked(self, count: int) -> list[dict[str, Any]]:
        """Wait until so many requests in all were announced; gives those that are open then."""
        await self.happened("request_info", count)
        return await self.pending()

    async def happened(self, type: str, count: int = 1, *, executor: str | None = None) -> list[dict[str, Any]]:
        """Wait until events of a type were recorded so many times; gives their data."""
        found: list[dict[str, Any]] = []
        async with asyncio.timeout(PATIENCE_SECONDS):
            async for event in self.host.runs.follow(self.run):
                if event.type == type and executor in (None, event.data.get("executorId")):
                    found.append(event.data)
                    if len(found) == count:
                        return found
        raise AssertionError(f"The run ended with {len(found)} {type} events, not {count}.")

    async def parked(self, count: int) -> list[dict[str, Any]]:
        """Wait until the run was parked so many times; gives the open requests."""
        await self.happened("parked", count)
        return await self.pending()

    async def answer(self, request: str, body: Any = None, **options: Any) -> httpx.Response:
        """Answer a request with a JSON value, or with ``content=``."""
        if "content" not in options:
            options["json"] = body
        url = f"{self.host.url}/api/workflow/{self.workflow}/respond/{self.run}/{request}"
        return await self.client.post(url, **options)

    async def say(self, request: str, body: Any = None, **options: Any) -> None:
        """Answer a request; it must be accepted."""
        answer = await self.answer(request, body, **options)
        assert answer.status_code == 200, answer.text

    async def output(self) -> list[Any]:
        """Wait for the run's end and give its outputs as plain JSON."""
        run = await self.host.runs.wait(self.run, PATIENCE_SECONDS)
        assert run is not None
        assert run.status == "Completed", run
        assert run.output is not None
        return run.output

    async def again(self, *, crash: bool = True) -> None:
        """Let the host die, or stop, and start it again on its hub."""
        if crash:
            await self.host.crash()
        await self.host.restart()


@asynccontextmanager
async def hosted(app: AgentFunctionApp, **options: Any) -> AsyncIterator[Callable[..., Any]]:
    """Serve an app by HTTP on a free port; gives what starts a run and sits down at its desk."""
    async with (
        make_host(app, port=0, **options) as host,
        httpx.AsyncClient(timeout=PATIENCE_SECONDS, trust_env=False) as client,
    ):
        (sole,) = app.workflows

        async def start(value: Any, run: str = "r") -> Desk:
            return Desk(host, client, await host.start(sole, value, run_id=run), sole)

        yield start


def by_data(pending: list[dict[str, Any]], **fields: Any) -> str:
    """Give the id of the one open request whose data has these fields."""
    found = [asked["requestId"] for asked in pending if _has(asked["requestData"], fields)]
    assert len(found) == 1, (fields, pending)
    return str(found[0])


def _has(data: Mapping[str, Any], fields: Mapping[str, Any]) -> bool:
    return all(data.get(name) == value for name, value in fields.items())
