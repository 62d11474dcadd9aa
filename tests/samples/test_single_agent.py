from __future__ import annotations

import pathlib
import sys
from collections.abc import Iterator

import httpx
import pytest
from agent_framework import Agent
from agent_framework.openai import OpenAIChatCompletionClient
from openai import AsyncOpenAI

from perdure import AgentFunctionApp
from perdure.hosts.local import loading
from perdure.testing import LocalHost, ModelServer
from perdure.testing.model_server import Reply, ToolCall

FOLDER = pathlib.Path(__file__).parents[2] / "samples" / "single_agent"


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> Iterator[AgentFunctionApp]:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    before = list(sys.path)
    yield loading.load(FOLDER / "function_app.py")
    sys.path[:] = before
    sys.modules.pop("function_app", None)


async def _ask(host: LocalHost, message: str, session_id: str = "ann-1") -> str:
    async with httpx.AsyncClient(timeout=30) as client:
        answer = await client.post(
            f"{host.url}/api/agents/support/run", json={"message": message, "session_id": session_id}
        )
    assert answer.status_code == 200, answer.text
    return str(answer.json()["response"])


async def test_it_runs_without_a_model_and_remembers_across_a_crash(app: AgentFunctionApp) -> None:
    async with LocalHost(app, port=0) as host:
        assert await _ask(host, "Where is order 1002?") == "Order 1002 is on its way, and arrives on Monday."
        await host.crash()
        await host.restart()
        assert "1002" in await _ask(host, "And could it come any sooner?")
        assert await _ask(host, "Hello?", "bob-1") == "Which order is it? Please tell me its number."
        assert await _ask(host, "It is 4242.", "bob-1") == "There is no order 4242."


async def test_with_a_model_the_tool_is_called_and_its_answer_told(app: AgentFunctionApp) -> None:
    replies = [Reply(tool_calls=(ToolCall("order_status", {"number": "1003"}),)), Reply("Your neighbour has it.")]
    sample = app.agents["support"]
    assert isinstance(sample, Agent)
    with ModelServer(replies) as server:
        async with AsyncOpenAI(api_key="none", base_url=server.base_url) as connection:
            build = sys.modules["function_app"].build_agent
            client = OpenAIChatCompletionClient(model="scripted", async_client=connection)
            async with LocalHost(AgentFunctionApp(agents=[build(client)]), port=0) as host:
                assert await _ask(host, "Where is order 1003?") == "Your neighbour has it."

    told = server.calls[1].body["messages"][-1]
    assert told["role"] == "tool" and "number 12" in str(told["content"])
