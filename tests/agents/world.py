"""An app with agents, hosted in the test's process and talked to by HTTP."""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import AsyncIterator
from typing import Any, Protocol

import httpx
from agent_framework import Agent
from agent_framework.openai import OpenAIChatCompletionClient
from openai import AsyncOpenAI

from perdure import AgentFunctionApp
from perdure.agents import callbacks
from perdure.testing import LocalHost, ScriptedChatClient
from perdure.workflow import policy

TESTS = pathlib.Path(__file__).parents[1]


class World:
    """A hosted app, and a client of it."""

    def __init__(self, host: LocalHost) -> None:
        self.host = host

    async def call(self, method: str, path: str, **request: Any) -> httpx.Response:
        # A client of its own for each request: a restarted host has another port.
        async with httpx.AsyncClient(timeout=30) as client:
            return await client.request(method, f"{self.host.url}/api/{path}", **request)

    async def say(self, message: Any, agent: str = "helper", **body: Any) -> httpx.Response:
        headers = body.pop("headers", None)
        return await self.call("POST", f"agents/{agent}/run", json={"message": message, **body}, headers=headers)

    async def conversation(self, session_id: str, agent: str = "helper", **query: Any) -> dict[str, Any]:
        found = await self.call("GET", f"agents/{agent}/sessions/{session_id}", params=query)
        assert found.status_code == 200, found.text
        read: dict[str, Any] = found.json()
        return read

    async def crash(self) -> None:
        """End as a killed process does, and begin again on what it left."""
        await self.host.crash()
        await self.host.restart()


@contextlib.asynccontextmanager
async def serve(app: AgentFunctionApp, **options: Any) -> AsyncIterator[World]:
    async with LocalHost(app, **{"port": 0, **options}) as host:
        yield World(host)


def app_of(client: ScriptedChatClient, **options: Any) -> AgentFunctionApp:
    """An app with one agent."""
    return AgentFunctionApp(agents=[Agent(client=client, name="helper", **options)], app_folder=TESTS)


def told(client: ScriptedChatClient, number: int = -1) -> list[tuple[str, str]]:
    """What the model was sent in one of its calls."""
    return [(str(message.role), message.text) for message in client.requests[number].messages]


class Model(Protocol):
    """A model that is talked to over HTTP."""

    @property
    def base_url(self) -> str: ...


@contextlib.asynccontextmanager
async def serve_over(
    server: Model,
    callback: callbacks.AgentResponseCallbackProtocol | None = None,
    *,
    retry: policy.Retry | None = None,
    **options: Any,
) -> AsyncIterator[World]:
    """Serve an agent that talks to a model over HTTP with the official client."""
    async with AsyncOpenAI(api_key="none", base_url=server.base_url, max_retries=0) as connection:
        client = OpenAIChatCompletionClient(model="scripted", async_client=connection)
        app = AgentFunctionApp(app_folder=TESTS, default_callback=callback)
        app.add_agent(Agent(client=client, name="helper", **options), retry=retry)
        async with serve(app) as served:
            yield served
