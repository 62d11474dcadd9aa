from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from agent_framework import (
    Agent,
    AgentSession,
    CompactionProvider,
    ContextProvider,
    FileHistoryProvider,
    HistoryProvider,
    InMemoryHistoryProvider,
    Message,
    SessionContext,
    SlidingWindowStrategy,
)
from tests.agents import world

from perdure import AgentFunctionApp
from perdure.testing import ScriptedChatClient

Answering = ScriptedChatClient


@dataclasses.dataclass
class Facts:
    """What a provider keeps of its user: a class of the app's own."""

    names: list[str] = dataclasses.field(default_factory=list)


class Remembering(ContextProvider):
    """Keeps every name it hears in the session, and tells the model."""

    def __init__(self) -> None:
        super().__init__("facts")
        self.turns_seen_by_this_copy = 0

    async def before_run(
        self, *, agent: Any, session: AgentSession, context: SessionContext, state: dict[str, Any]
    ) -> None:
        facts: Facts = state.setdefault("facts", Facts())
        context.extend_instructions(self.source_id, f"You know {', '.join(facts.names) or 'nobody'}.")

    async def after_run(
        self, *, agent: Any, session: AgentSession, context: SessionContext, state: dict[str, Any]
    ) -> None:
        self.turns_seen_by_this_copy += 1
        state["facts"].names.append(context.input_messages[-1].text)
        state["copy"] = self.turns_seen_by_this_copy
        session.state["whole"] = {"session": session.session_id}


def echoing() -> ScriptedChatClient:
    return ScriptedChatClient(lambda messages, options: f"heard {messages[-1].text}")


@pytest.mark.parametrize("crash", [False, True])
async def test_a_context_provider_sees_the_session_it_saw_the_turn_before_with_its_state(crash: bool) -> None:
    client = echoing()
    async with world.serve(world.app_of(client, context_providers=[Remembering()])) as served:
        for name in ("Ann", "Bob", "Cem"):
            assert (await served.say(name, session_id="s1")).status_code == 200
            if crash:
                await served.crash()
        other = await served.say("Dan", session_id="s2")

    known = [request.options["instructions"] for request in client.requests]
    assert other.status_code == 200
    assert known == ["You know nobody.", "You know Ann.", "You know Ann, Bob.", "You know nobody."]
    assert [message.text for message in client.requests[2].messages] == [
        "Ann", "heard Ann", "Bob", "heard Bob", "Cem",
    ]  # fmt: skip


class Recording(HistoryProvider):
    """A history provider of its own kind, which keeps its messages elsewhere in the state."""

    def __init__(self) -> None:
        super().__init__("recorded")

    async def get_messages(
        self, session_id: str | None, *, state: dict[str, Any] | None = None, **kwargs: Any
    ) -> list[Message]:
        assert state is not None
        return [message for turn in state.get("turns", []) for message in turn]

    async def save_messages(
        self, session_id: str | None, messages: Any, *, state: dict[str, Any] | None = None, **kwargs: Any
    ) -> None:
        assert state is not None
        state.setdefault("turns", []).append(list(messages))
        state["session"] = session_id


async def test_a_history_provider_of_ones_own_sees_what_it_saved() -> None:
    client = echoing()
    async with world.serve(world.app_of(client, context_providers=[Recording()])) as served:
        await served.say("Ann", session_id="s1")
        await served.crash()
        await served.say("Bob", session_id="s1")

    assert [message.text for message in client.requests[1].messages] == ["Ann", "heard Ann", "Bob"]


@pytest.mark.filterwarnings("ignore:.*experimental:FutureWarning")  # The framework says so once a process.
async def test_a_history_in_files_is_the_session_s_own(tmp_path: Any) -> None:
    client = echoing()
    history = FileHistoryProvider(tmp_path)
    async with world.serve(world.app_of(client, context_providers=[history])) as served:
        await served.say("Ann", session_id="s1")
        await served.crash()
        await served.say("Bob", session_id="s1")

    assert [message.text for message in client.requests[1].messages] == ["Ann", "heard Ann", "Bob"]


@pytest.mark.parametrize("crash", [False, True])
async def test_history_that_outgrows_the_model_is_compacted_as_in_process(crash: bool) -> None:
    def build(client: ScriptedChatClient) -> Agent[Any]:
        history = InMemoryHistoryProvider(skip_excluded=True)
        window = CompactionProvider(
            before_strategy=SlidingWindowStrategy(keep_last_groups=4),
            after_strategy=SlidingWindowStrategy(keep_last_groups=2),
            history_source_id=history.source_id,
        )
        return Agent(client=client, name="helper", context_providers=[history, window])

    inside = echoing()
    agent = build(inside)
    session = agent.create_session()
    for number in range(8):
        await agent.run(f"turn {number}", session=session)

    client = echoing()
    async with world.serve(AgentFunctionApp(agents=[build(client)], app_folder=world.TESTS)) as served:
        for number in range(8):
            assert (await served.say(f"turn {number}", session_id="s1")).status_code == 200
            if crash:
                await served.crash()
        read = await served.conversation("s1")

    sent = [[message.text for message in request.messages] for request in client.requests]
    assert sent == [[message.text for message in request.messages] for request in inside.requests]
    assert len(sent[-1]) < 8
    assert [turn["request"][0]["contents"][0]["text"] for turn in read["turns"]] == [f"turn {n}" for n in range(8)]


async def test_a_provider_that_keeps_what_cannot_be_encoded_fails_the_turn_with_the_reason() -> None:
    class Leaky(ContextProvider):
        async def after_run(
            self, *, agent: Any, session: AgentSession, context: SessionContext, state: dict[str, Any]
        ) -> None:
            state["connection"] = object()

    async with world.serve(world.app_of(echoing(), context_providers=[Leaky("leaky")])) as served:
        answer = await served.say("Ann", session_id="s1")

    assert answer.status_code == 500
    assert "connection" in answer.json()["error"] and "s1" in answer.json()["error"]


async def test_a_conversation_that_the_service_keeps_is_continued_there() -> None:
    class Keeping(ScriptedChatClient):
        STORES_BY_DEFAULT = True

    def answer(messages: Any, options: Any) -> Any:
        from agent_framework import ChatResponse

        seen.append(options.get("conversation_id"))
        return ChatResponse(messages=Message("assistant", ["Yes."]), conversation_id="conv-1")

    seen: list[Any] = []
    client = Keeping(answer)
    async with world.serve(world.app_of(client)) as served:
        await served.say("Ann", session_id="s1")
        await served.crash()
        await served.say("Bob", session_id="s1")

    assert seen == [None, "conv-1"]
    assert [message.text for message in client.requests[1].messages] == ["Bob"]
