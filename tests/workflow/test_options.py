"""What a run is given beside its input reaches agents, tools and clients as it does in process."""

from __future__ import annotations

import asyncio
import pathlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pydantic
import pytest
from agent_framework import (
    Agent,
    AgentExecutor,
    AgentResponse,
    AgentResponseUpdate,
    Content,
    FunctionInvocationContext,
    FunctionTool,
    Workflow,
    WorkflowBuilder,
    WorkflowExecutor,
    WorkflowInvocationKwargs,
    tool,
)
from agent_framework_orchestrations import SequentialBuilder
from tests import polling
from tests.workflow import support, teams

from perdure import errors, testing
from perdure.hosts.local import host as local


@tool
def weather(city: str, ctx: FunctionInvocationContext) -> str:
    """Tell the weather."""
    return f"{ctx.kwargs.get('unit', 'no unit')} in {city} for {ctx.kwargs.get('user', 'nobody')}"


def forecast(day: str) -> str:
    """Look ahead."""
    return f"rain on {day}"


def _asks(name: str) -> Agent[Any]:
    """An agent that calls each tool it is offered and says what came of it, and which client arguments it has."""

    def reply(messages: Any, options: Any) -> Any:
        results = [item.result for message in messages for item in message.contents if item.type == "function_result"]
        offered = [item.name for item in options.get("tools") or () if isinstance(item, FunctionTool)]
        plain = [item["type"] for item in options.get("tools") or () if isinstance(item, dict)]
        if offered and not results:
            arguments = {"weather": {"city": "Ulm"}, "forecast": {"day": "Monday"}}
            return [testing.tool_call(each, arguments.get(each, {})) for each in offered]
        return f"{name}: {results} {plain}"

    return Agent(Remembering(reply), name=name, id=name)


class Remembering(testing.ScriptedChatClient):
    """Says what it was given beside messages and options."""

    def _inner_get_response(self, *, messages: Any, stream: bool, options: Any, **given: Any) -> Any:
        GIVEN.append({key: value for key, value in given.items() if key in ("tenant", "level")})
        return super()._inner_get_response(messages=messages, stream=stream, options=options, **given)


GIVEN: list[dict[str, Any]] = []


def one() -> Workflow:
    return WorkflowBuilder(start_executor=AgentExecutor(_asks("asker"), id="asker")).build()


def two() -> Workflow:
    agents = [_asks("first"), _asks("second")]
    return SequentialBuilder(participants=agents, intermediate_output_from=agents[:1]).build()


def nested() -> Workflow:
    inner = WorkflowBuilder(start_executor=AgentExecutor(_asks("asker"), id="asker")).build()
    return WorkflowBuilder(start_executor=WorkflowExecutor(inner, id="inner", allow_direct_output=True)).build()


OPTIONS: dict[str, dict[str, Any]] = {
    "tools": {"tools": [weather, forecast]},
    "one function": {"tools": forecast},
    "a tool that the model's side runs": {"tools": [{"type": "web_search"}, forecast]},
    "arguments for all": {
        "tools": [weather],
        "function_invocation_kwargs": {"unit": "kelvin", "user": "anna"},
        "client_kwargs": {"tenant": "t1"},
    },
    "arguments by executor": {
        "tools": [weather],
        "function_invocation_kwargs": {"first": {"unit": "kelvin"}, "asker": {"unit": "celsius"}},
        "client_kwargs": {"second": {"tenant": "t2"}},
    },
    "arguments of both kinds": {
        "tools": [weather],
        "function_invocation_kwargs": WorkflowInvocationKwargs(
            {"unit": "kelvin", "user": "anna"}, {"second": {"user": "bert"}, "asker": {"user": "carl"}}
        ),
        "client_kwargs": WorkflowInvocationKwargs({"tenant": "t1"}, {"first": {"level": {"deep": [1, None]}}}),
    },
    "no arguments": {"function_invocation_kwargs": {}, "client_kwargs": {}},
}


@pytest.mark.parametrize("build", [one, two, nested])
@pytest.mark.parametrize("name", OPTIONS)
async def test_tools_and_arguments_given_with_the_run_reach_whom_they_reach_in_process(
    name: str, build: Callable[[], Workflow]
) -> None:
    given = OPTIONS[name]
    GIVEN.clear()
    expected = await support.in_process(build(), "go", **given)
    by_clients = list(GIVEN)
    assert expected.failure is None
    for mode in support.MODES:
        GIVEN.clear()
        actual = await support.Process(build, runtime_tools=[weather, forecast]).run("go", mode=mode, given=given)
        assert actual.failure is None, mode
        assert _texts(actual.outputs) == _texts(expected.outputs), mode
        assert [_shown_text(output) for output in actual.intermediate] == _texts(expected.intermediate), mode
        assert by_clients == GIVEN, mode
        assert _not_empty(actual.reserved) == _not_empty(expected.reserved), mode


def _texts(outputs: list[Any]) -> list[str]:
    return [teams.text(output) for output in outputs]


def _shown_text(output: dict[str, Any]) -> str:
    contents = [content for message in output["messages"] for content in message["contents"]]
    return "".join(content["text"] for content in contents if "text" in content)


def _not_empty(state: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in state.items() if value}


async def test_a_declared_tool_that_a_run_is_given_is_carried_out_by_whoever_answers() -> None:
    declared = FunctionTool(name="lookup", description="Look it up.", func=None, input_model={"type": "object"})

    def answer(data: Any) -> Any:
        return Content.from_function_result(data.call_id, result="looked up")

    expected = await support.in_process(one(), "go", answer=answer, tools=[declared])
    process = support.Process(one)
    for mode in support.MODES:
        actual = await process.run("go", mode=mode, answer=answer, given={"tools": [declared]})
        assert [output.text for output in actual.outputs] == ["asker: ['looked up'] []"]
        assert len(actual.asked) == len(expected.asked) == 1


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"tools": [lambda: None]}, "knows no runtime tool"),
        ({"tools": ["unheard"]}, "'unheard'; it knows weather, forecast"),
        ({"tools": [{"title": "x"}]}, "neither a type"),
    ],
)
async def test_a_tool_that_a_restart_would_lose_is_refused_at_the_door(given: dict[str, Any], said: str) -> None:
    app = support.app_of(one(), runtime_tools=[weather, forecast])
    async with testing.LocalHost(app) as host:
        with pytest.raises(errors.InvalidInput, match=said):
            await host.start("workflow", "go", **given)


def test_runtime_tools_have_names_that_differ() -> None:
    with pytest.raises(ValueError, match="two tools that are called 'forecast'"):
        support.app_of(one(), runtime_tools=[forecast, forecast])
    with pytest.raises(ValueError, match="no name"):
        support.app_of(one(), runtime_tools=[{"type": "web_search"}])


async def test_a_run_keeps_its_options_over_a_restart_and_waits_for_a_tool_that_is_gone(tmp_path: pathlib.Path) -> None:
    entered, gate = asyncio.Event(), asyncio.Event()

    async def slow(messages: Any, options: Any) -> Any:
        entered.set()
        await gate.wait()
        return "slow"

    def build() -> Workflow:
        first = Agent(testing.ScriptedChatClient(slow), name="slow", id="slow")
        return SequentialBuilder(participants=[first, _asks("second")]).build()

    given: Any = {"tools": [forecast], "function_invocation_kwargs": {"user": "anna"}}
    async with testing.LocalHost(support.app_of(build(), runtime_tools=[forecast]), hub=tmp_path) as host:
        (name,) = host.app.hosted_workflows
        run = await host.start(name, "go", **given)
        await entered.wait()
    gate.set()
    async with testing.LocalHost(support.app_of(build()), hub=tmp_path) as host:
        found = await polling.until(
            lambda: host.runs.get(run), lambda found: found is not None and found.custom_status is not None
        )
        assert found is not None and found.custom_status is not None
        assert "needs the runtime tool 'forecast', which the app no longer has" in found.custom_status["waitingFor"]
    async with testing.LocalHost(support.app_of(build(), runtime_tools=[forecast]), hub=tmp_path) as host:
        (output,) = await host.outputs(run)
    assert "rain on Monday" in output.text


# Streaming mode.


def talks(name: str) -> Agent[Any]:
    return teams.agent(name, lambda messages, options: f"{name} says a word or two")


def speaking() -> Workflow:
    agents = [talks("writer"), talks("editor")]
    return SequentialBuilder(participants=agents, intermediate_output_from=agents[:1]).build()


STREAMED: dict[str, Callable[[], Workflow]] = {
    "sequential": speaking,
    "group chat": teams.group_chat_with_intermediate,
    "group chat led by an agent": teams.group_chat_with_chair,
    "handoff": teams.handoff,
    "handoff in autonomous mode": teams.handoff_alone,
    "magentic": teams.magentic_that_stalls,
}


@pytest.mark.parametrize("name", STREAMED)
async def test_a_run_in_streaming_mode_says_live_what_it_yields_in_process(name: str) -> None:
    """Each update that ``Workflow.run(stream=True)`` yields is heard, in order; whole responses are recorded."""
    build = STREAMED[name]
    expected = await support.in_process(build(), "run-1, go", answer=teams.answers(), streaming=True)
    whole = await support.in_process(build(), "run-1, go", answer=teams.answers())
    assert all(isinstance(output, AgentResponseUpdate) for output in [*expected.outputs, *expected.intermediate])

    process = support.Process(build)
    heard: list[AgentResponseUpdate] = []
    with process.bound.activities.deltas.listen("r") as listener:
        result = await process.run("run-1, go", run="r", answer=teams.answers(), given={"stream": True})
        said = listener.take()
    for kind, updates in (("output", expected.outputs), ("intermediate", expected.intermediate)):
        heard = [delta.data for delta in said if delta.type == kind]
        assert [update.text for update in heard] == [update.text for update in updates]
    assert result.failure is None
    assert {type(output) for output in result.outputs} == {AgentResponse}
    assert "".join(_texts(result.outputs)) == "".join(_texts(expected.outputs))
    assert len(result.outputs) == len(whole.outputs)
    assert len(result.intermediate) == len(whole.intermediate)
    assert result.invoked() == whole.invoked()


async def test_agents_stream_only_in_streaming_mode() -> None:
    for stream in (False, True):
        agent = talks("writer")
        workflow = WorkflowBuilder(start_executor=AgentExecutor(agent, id="writer")).build()
        async with testing.LocalHost(support.app_of(workflow)) as host:
            (output,) = await host.run("workflow", "go", stream=stream)
        assert isinstance(agent.client, testing.ScriptedChatClient)
        assert [request.stream for request in agent.client.requests] == [stream]
        assert output.text == "writer says a word or two"


@pytest.mark.embedded
async def test_updates_are_heard_while_the_agent_still_speaks_and_are_not_recorded() -> None:
    listening, gate = asyncio.Event(), asyncio.Event()

    class Halting(testing.ScriptedChatClient):
        async def _stream(self, request: Any) -> AsyncIterator[Any]:
            await listening.wait()
            async for update in super()._stream(request):
                yield update
                if "half" in update.text:
                    await gate.wait()

    agent = Agent(Halting(lambda messages, options: "the first half and the second"), name="writer", id="writer")
    app = support.app_of(WorkflowBuilder(start_executor=AgentExecutor(agent, id="writer")).build())
    async with testing.LocalHost(app) as host:
        run = await host.start("workflow", "go", stream=True)
        text = ""
        async with asyncio.timeout(20):
            async for event in host.runs.follow(run, live=True):
                listening.set()
                if event.type == "delta":
                    assert event.id == 0
                    assert (event.data["type"], event.data["executorId"]) == ("output", "writer")
                    text += "".join(content["text"] for content in event.data["data"]["contents"])
                    if "half" in text and not gate.is_set():
                        recorded = await host.runs.events(run)
                        assert not any(item.type == "output" for item in recorded)
                        gate.set()
        events = await host.runs.events(run)
    assert text == "the first half and the second"
    assert [event.id for event in events] == list(range(1, len(events) + 1))
    assert [event.type for event in events].count("output") == 1
    assert "delta" not in {event.type for event in events}


async def test_a_value_that_the_model_gave_is_there_in_streaming_mode_too() -> None:
    class City(pydantic.BaseModel):
        name: str

    def build() -> Workflow:
        agent = Agent(
            testing.ScriptedChatClient(lambda messages, options: City(name="Ulm")),
            name="a",
            id="a",
            default_options={"response_format": City},  # type: ignore[arg-type]  # as its users write it
        )
        return WorkflowBuilder(start_executor=AgentExecutor(agent, id="a")).build()

    async with testing.LocalHost(support.app_of(build(), types=[City])) as host:
        (plain,) = await host.run("workflow", "go")
        (streamed,) = await host.run("workflow", "go", stream=True)
    assert streamed.value == plain.value == City(name="Ulm")


async def test_an_agent_that_raises_mid_stream_fails_the_run_and_records_nothing_of_it() -> None:
    class Breaking(testing.ScriptedChatClient):
        async def _stream(self, request: Any) -> AsyncIterator[Any]:
            async for update in super()._stream(request):
                yield update
                raise ValueError("broken off")

    agent = Agent(Breaking(lambda messages, options: "one two"), name="a", id="a")
    app = support.app_of(WorkflowBuilder(start_executor=AgentExecutor(agent, id="a")).build())
    async with testing.LocalHost(app) as host:
        run = await host.start("workflow", "go", stream=True)
        with pytest.raises(local.RunFailed, match="broken off"):
            await host.outputs(run)
        assert "output" not in {event.type for event in await host.runs.events(run)}
