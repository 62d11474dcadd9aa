from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pydantic
import pytest
from agent_framework import (
    Agent,
    AgentExecutor,
    AgentExecutorRequest,
    AgentExecutorResponse,
    AgentResponse,
    Content,
    Executor,
    Message,
    Workflow,
    WorkflowBuilder,
    WorkflowContext,
    handler,
    tool,
)
from tests.workflow import support

from perdure import testing

Seen = list[list[tuple[str, str, str | None]]]


class Models:
    """Makes clients that note what each model is asked, and answer with what they were asked last."""

    def __init__(self) -> None:
        self.seen: Seen = []

    def client(self, name: str) -> testing.ScriptedChatClient:
        """Give a client."""

        def answer(messages: Sequence[Message], options: Any) -> str:
            self.seen.append([(str(message.role), message.text, message.author_name) for message in messages])
            return f"{name} heard: {messages[-1].text}"

        return testing.ScriptedChatClient(answer)

    def agent(self, name: str, **options: Any) -> Agent[Any]:
        """Give an agent."""
        return Agent(self.client(name), name=name, id=name, instructions=f"You are {name}.", **options)


async def same_models(build: Callable[[Models], Workflow], value: Any) -> Seen:
    """Compare what the models are asked, in process and hosted; gives it."""
    expected = Models()
    in_process = await support.in_process(build(expected), value)
    for mode in support.MODES:
        actual = Models()
        hosted = await support.hosted_run(functools.partial(build, actual), value, mode=mode)
        assert (hosted.failure, in_process.failure) == (None, None)
        assert actual.seen == expected.seen, mode
        assert [output.text for output in hosted.outputs] == [output.text for output in in_process.outputs], mode
    return expected.seen


async def test_workflow_that_ends_in_an_agent_outputs_its_response() -> None:
    """A workflow that ends in an agent has that agent's response as its output."""

    def build() -> Workflow:
        first, last = Models().agent("first"), Models().agent("last")
        return WorkflowBuilder(start_executor=first, output_from=[last]).add_edge(first, last).build()

    for mode in support.MODES:
        (output,) = (await support.hosted_run(build, "hello", mode=mode)).outputs
        assert isinstance(output, AgentResponse)
        assert output.text == "last heard: first heard: hello"
        (expected,) = (await support.in_process(build(), "hello")).outputs
        assert support.plain(output) == support.plain(expected)


async def test_output_from_and_intermediate_outputs_hold() -> None:
    """output_from and intermediate outputs hold: the others are hidden."""

    def build() -> Workflow:
        models = Models()
        agents = [models.agent(name) for name in ("first", "second", "third")]
        builder = WorkflowBuilder(
            start_executor=agents[0], output_from=[agents[2]], intermediate_output_from=[agents[1]]
        )
        return builder.add_edge(agents[0], agents[1]).add_edge(agents[1], agents[2]).build()

    expected = await support.in_process(build(), "hello")
    for mode in support.MODES:
        result = await support.hosted_run(build, "hello", mode=mode)
        assert [output.text for output in result.outputs] == [output.text for output in expected.outputs]
        assert len(result.outputs) == len(result.intermediate) == len(expected.intermediate) == 1
        assert "second heard" in str(result.intermediate[0])


def _last_two(messages: list[Message]) -> list[Message]:
    return messages[-2:]


@pytest.mark.parametrize("context", ["full", "last_agent", "custom"])
async def test_agent_between_agents_sees_what_it_would_in_process(context: Any) -> None:
    """An agent between agents sees what it would in process: full conversation, context_mode, context_filter."""

    def build(models: Models) -> Workflow:
        options = {"context_mode": context, "context_filter": _last_two if context == "custom" else None}
        executors = [AgentExecutor(models.agent(name), id=name, **options) for name in ("a", "b", "c", "d")]
        builder = WorkflowBuilder(start_executor=executors[0])
        return builder.add_chain(executors).build()

    seen = await same_models(build, "hello")
    assert len(seen) == 4
    assert len(seen[-1]) == {"full": 4, "last_agent": 1, "custom": 2}[context]


class Asks(Executor):
    """Sends what it was built with."""

    def __init__(self, id: str, *values: Any) -> None:
        super().__init__(id=id)
        self.values = values

    @handler
    async def go(self, given: Any, ctx: WorkflowContext[Any]) -> None:
        for value in self.values:
            await ctx.send_message(value)


INPUTS: dict[str, list[Any]] = {
    "text": ["hello"],
    "message": [Message("user", ["hello"], author_name="Ann")],
    "several messages": ["one", "two", "three"],
    "list of messages": [[Message("user", ["one"]), Message("assistant", ["two"]), Message("user", ["three"])]],
    "list of texts and messages": [["one", Message("user", ["two"])]],
    "request": [AgentExecutorRequest([Message("user", ["one"])])],
    "should not respond": [
        AgentExecutorRequest([Message("user", ["one"])], should_respond=False),
        AgentExecutorRequest([Message("user", ["two"])], should_respond=False),
        AgentExecutorRequest([Message("user", ["three"])]),
        "four",
    ],
}


@pytest.mark.parametrize("kind", INPUTS)
async def test_agent_is_given_what_it_would_be_given_in_process(kind: str) -> None:
    """An agent sees should_respond=False, several messages, list[Message] as in process."""

    def build(models: Models) -> Workflow:
        asks, agent, after = Asks("asks", *INPUTS[kind]), models.agent("agent"), models.agent("after")
        return WorkflowBuilder(start_executor=asks).add_edge(asks, agent).add_edge(agent, after).build()

    assert await same_models(build, "go")


async def test_fan_in_list_goes_into_an_agent() -> None:
    """An agent sees fan-in lists as in process."""

    def build(models: Models) -> Workflow:
        start, agent = Asks("start", "go"), models.agent("agent")
        parts = [Asks("b", "from b"), Asks("a", Message("user", ["from a"])), Asks("c", "from c", "and more")]
        builder = WorkflowBuilder(start_executor=start).add_fan_out_edges(start, parts)
        return builder.add_fan_in_edges(parts, agent).build()

    (seen,) = await same_models(build, "go")
    assert [text for _, text, _ in seen] == ["from b", "from a", "from c"]


async def test_conversation_in_a_loop_grows_as_in_process() -> None:
    """An agent between agents sees the full conversation, round after round."""

    def build(models: Models) -> Workflow:
        a, b = models.agent("a"), models.agent("b")
        return (
            WorkflowBuilder(start_executor=a)
            .add_edge(a, b)
            .add_edge(b, a, condition=lambda said: len(said.full_conversation) < 12)
            .build()
        )

    assert len(await same_models(build, "hello")) > 4


class Verdict(pydantic.BaseModel):
    spam: bool
    reason: str


@dataclass
class Whole:
    """What arrived of an agent's response."""

    executor: str
    value: Any
    texts: list[tuple[str, str | None, str | None]]
    calls: list[tuple[str, Any]]
    tokens: Any
    response_id: str | None
    agent_id: str | None
    conversation: list[tuple[str, str]]


class Looks(Executor):
    """Yields all that it can see of an agent's response."""

    @handler
    async def look(self, said: AgentExecutorResponse, ctx: WorkflowContext[Any, Whole]) -> None:
        response = said.agent_response
        whole = Whole(
            said.executor_id,
            response.value,
            [(message.text, message.author_name, message.message_id) for message in response.messages],
            [(item.type, item.call_id) for message in response.messages for item in message.contents],
            response.usage_details,
            response.response_id,
            response.agent_id,
            [(str(message.role), message.text) for message in said.full_conversation],
        )
        await ctx.yield_output(whole)


@tool
def rules(kind: str) -> str:
    """Give the rules for a kind of mail."""
    return f"{kind}: no prizes"


async def test_agent_response_arrives_whole() -> None:
    """An AgentExecutorResponse arrives whole: structured value, tool calls, usage, author, ids."""

    def build() -> Workflow:
        client = testing.ScriptedChatClient(
            [testing.tool_call("rules", {"kind": "mail"}), Verdict(spam=True, reason="a prize")],
            usage={"input_token_count": 11, "output_token_count": 7, "total_token_count": 18},
        )
        options: Any = {"response_format": Verdict}
        agent = Agent(client, name="Detector", id="detector", tools=[rules], default_options=options)
        looks = Looks(id="looks")
        return WorkflowBuilder(start_executor=agent, output_from=[looks]).add_edge(agent, looks).build()

    result = await support.both(build, "You won a prize")
    (whole,) = result.outputs
    assert whole.value == Verdict(spam=True, reason="a prize")
    assert type(whole.value) is Verdict
    assert [kind for kind, _ in whole.calls] == ["function_call", "function_result", "text"]
    assert whole.calls[0][1] == whole.calls[1][1] != ""
    assert whole.tokens["total_token_count"] == 36
    assert whole.texts[-1][1:] == ("Detector", "scripted-2")
    assert (whole.response_id, whole.agent_id, whole.executor) == ("scripted-2", None, "Detector")


async def test_contents_of_any_kind_arrive() -> None:
    """An AgentExecutorResponse arrives whole: images, data, reasoning and errors too."""
    contents = [
        Content.from_text("look"),
        Content.from_data(b"\x89PNG" * 300, "image/png"),
        Content.from_uri("https://example.org/a.png", media_type="image/png"),
        Content.from_text_reasoning(text="because"),
        Content.from_error(message="no more", error_code="E1"),
    ]

    def build() -> Workflow:
        agent = Agent(testing.ScriptedChatClient([Message("assistant", contents)]), name="painter", id="painter")
        collects = Collects(id="collects")
        return WorkflowBuilder(start_executor=agent, output_from=[collects]).add_edge(agent, collects).build()

    result = await support.both(build, "paint")
    assert [item["type"] for item in result.outputs[0]] == ["text", "data", "uri", "text_reasoning", "error"]


class Collects(Executor):
    """Yields the contents of an agent's messages as plain data."""

    @handler
    async def look(self, said: AgentExecutorResponse, ctx: WorkflowContext[Any, list[Any]]) -> None:
        await ctx.yield_output(
            [item.to_dict() for message in said.agent_response.messages for item in message.contents]
        )


async def test_agent_that_raises_fails_the_run_with_that_reason() -> None:
    """An agent that raises fails the run with that reason, never an empty success."""

    def build() -> Workflow:
        agent = Agent(testing.ScriptedChatClient([PermissionError("the model is away")]), name="agent", id="agent")
        return WorkflowBuilder(start_executor=agent).build()

    result = await support.both(build, "hello")
    assert result.failure is not None
    assert "the model is away" in result.failure[1]
    assert result.outputs == []
