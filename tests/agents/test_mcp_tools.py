"""Agents whose tools are those of MCP servers: the server is a host of ours, over a real port."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from agent_framework import (
    Agent,
    AgentExecutor,
    AgentExecutorResponse,
    MCPStreamableHTTPTool,
    Message,
    WorkflowBuilder,
    WorkflowContext,
    executor,
)
from tests.agents import world

from perdure import AgentFunctionApp
from perdure.testing import LocalHost, ScriptedChatClient, tool_call


def server() -> AgentFunctionApp:
    """Offers a tool ``clerk``."""
    app = AgentFunctionApp(enable_mcp_tool_trigger=True, app_folder=world.TESTS)
    clerk = ScriptedChatClient(lambda messages, options: f"the clerk heard {messages[-1].text}")
    app.add_agent(Agent(client=clerk, name="clerk", description="It knows."))
    return app


def asks_the_clerk(messages: Sequence[Message], options: Mapping[str, Any]) -> Any:
    last = messages[-1]
    if last.role == "user":
        return tool_call("clerk", {"query": last.text})
    return f"So {last.contents[0].result}."


class Watched(Agent):
    """Counts how often its connections are closed."""

    closed = 0

    async def close(self) -> None:
        Watched.closed += 1
        await super().close()


def agent(url: str | None) -> Agent:
    tool = MCPStreamableHTTPTool(name="desk", url=f"{url}/runtime/webhooks/mcp")
    return Watched(client=ScriptedChatClient(asks_the_clerk), name="asker", tools=[tool])


async def test_an_agent_calls_tools_of_a_server_turn_after_turn_and_over_a_crash() -> None:
    Watched.closed = 0
    async with LocalHost(server(), port=0) as desk:
        app = AgentFunctionApp(agents=[agent(desk.url)], app_folder=world.TESTS)
        async with world.serve(app) as served:
            first = await served.say("one", "asker", session_id="s")
            beside = await asyncio.gather(*(served.say(f"beside {n}", "asker", session_id=f"b{n}") for n in range(8)))
            await served.host.crash()
            await served.host.restart()
            second = await served.say("two", "asker", session_id="s")

    assert first.json()["response"] == "So the clerk heard one."
    assert [answer.json()["response"] for answer in beside] == [f"So the clerk heard beside {n}." for n in range(8)]
    assert second.json()["response"] == "So the clerk heard two."
    assert second.json()["message_count"] == 4
    assert Watched.closed == 10, "each turn closes what it opened"


async def test_an_agent_in_a_workflow_calls_tools_of_a_server_and_leaves_no_connection_behind() -> None:
    Watched.closed = 0

    @executor(id="again")
    async def again(response: AgentExecutorResponse, ctx: WorkflowContext[str, str]) -> None:
        if ctx.get_state("asked", False):
            await ctx.yield_output(response.agent_response.text)
        else:
            ctx.set_state("asked", True)
            await ctx.send_message(f"{response.agent_response.text} Sure?")

    async with LocalHost(server(), port=0) as desk:
        asker = AgentExecutor(agent(desk.url), id="asker", context_mode="last_agent")
        graph = WorkflowBuilder(start_executor=asker, name="flow").add_edge(asker, again).add_edge(again, asker).build()
        async with LocalHost(AgentFunctionApp(workflow=graph, app_folder=world.TESTS)) as host:
            outputs = await asyncio.gather(*(host.run("flow", f"run {number}") for number in range(4)))
            left = [task for task in asyncio.all_tasks() if "MCPTool" in repr(task)]

    assert [output[-1] for output in outputs] == [
        f"So the clerk heard So the clerk heard run {number}. Sure?." for number in range(4)
    ]
    assert Watched.closed == 8, "each step closes what it opened"
    assert not left


async def test_a_server_that_is_not_there_is_an_error_with_the_reason(unused_tcp_port: int) -> None:
    app = AgentFunctionApp(agents=[agent(f"http://127.0.0.1:{unused_tcp_port}")], app_folder=world.TESTS)
    async with world.serve(app) as served:
        answer = await served.say("one", "asker")

    assert answer.status_code == 500
    assert "connect" in answer.json()["error"].lower()
