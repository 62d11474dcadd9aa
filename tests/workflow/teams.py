"""Teams of agents by the framework's stock builders: scripted, and each says what it saw.

What a scripted agent answers depends on nothing but what it is sent, so that any number of runs may share its client.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from agent_framework import (
    Agent,
    AgentExecutor,
    AgentExecutorResponse,
    AgentResponse,
    AgentResponseUpdate,
    AgentSession,
    ChatResponse,
    Content,
    ContextProvider,
    Executor,
    InMemoryHistoryProvider,
    Message,
    SessionContext,
    Workflow,
    WorkflowContext,
    handler,
    tool,
)
from agent_framework_orchestrations import (
    AgentOrchestrationOutput,
    AgentRequestInfoResponse,
    BaseGroupChatOrchestrator,
    ConcurrentBuilder,
    GroupChatBuilder,
    GroupChatRequestMessage,
    GroupChatState,
    HandoffAgentUserRequest,
    HandoffBuilder,
    MagenticBuilder,
    MagenticContext,
    MagenticManagerBase,
    MagenticPlanReviewRequest,
    MagenticProgressLedger,
    MagenticProgressLedgerItem,
    SequentialBuilder,
)
from agent_framework_orchestrations._base_group_chat_orchestrator import (
    GroupChatParticipantMessage,
    GroupChatResponseMessage,
    ParticipantRegistry,
)

from perdure import testing

Messages = Sequence[Message]
Reply = Callable[[Messages, Mapping[str, Any]], Any]

TOKEN = re.compile(r"run-\d+")


def tokens(value: Any) -> set[str]:
    """The names of runs that stand anywhere in a value."""
    return set(TOKEN.findall(str(value)))


def saw(name: str, messages: Messages) -> str:
    """Say what one saw, short enough to be seen again and again: how much, whose, and the last of it."""
    last = messages[-1].text if messages else ""
    heard = ",".join(sorted({message.author_name or message.role for message in messages}))
    return (
        f"{name} saw {len(messages)} of {heard} in {'+'.join(sorted(tokens([m.text for m in messages])))}: {last[:40]}"
    )


class Visits(ContextProvider):
    """Remembers whose words each session of an agent saw, and how often, in the session too."""

    def __init__(self) -> None:
        super().__init__("visits")
        self.by_session: dict[str, set[str]] = {}

    def __deepcopy__(self, memo: Any) -> Visits:
        return self

    async def before_run(
        self, *, agent: Any, session: AgentSession, context: SessionContext, state: dict[str, Any]
    ) -> None:
        """Note who comes."""
        state["visits"] = state.get("visits", 0) + 1
        seen = tokens([message.text for message in context.input_messages])
        self.by_session.setdefault(session.session_id, set()).update(seen)


visits = Visits()


def agent(name: str, reply: Reply | None = None, **options: Any) -> Agent[Any]:
    """An agent that says what it saw, or replies otherwise."""

    def answer(messages: Messages, options: Mapping[str, Any]) -> ChatResponse[Any]:
        return _response(name, messages, options, reply(messages, options) if reply else saw(name, messages))

    options.setdefault("instructions", f"You are {name}.")
    options.setdefault("context_providers", [visits, InMemoryHistoryProvider()])
    return Agent(testing.ScriptedChatClient(answer), name=name, id=name, description=f"{name} of the team", **options)


def _response(name: str, messages: Messages, options: Mapping[str, Any], said: Any) -> ChatResponse[Any]:
    """Answer under ids that depend on what was said only: a process of its own numbers its answers from one."""
    seen = repr(
        [
            (message.role, [(item.type, item.text, item.name, item.result) for item in message.contents])
            for message in messages
        ]
    )
    id = f"{name}-{hashlib.sha256(seen.encode()).hexdigest()[:8]}"
    if isinstance(said, Content):
        contents = [Content.from_function_call(f"call-{id}", said.name or "", arguments=said.arguments)]
    else:
        contents = [Content.from_text(said if isinstance(said, str) else said.model_dump_json())]
    return ChatResponse(
        messages=Message("assistant", contents, message_id=id),
        response_id=id,
        finish_reason="tool_calls" if isinstance(said, Content) else "stop",
        response_format=options.get("response_format"),
    )


@tool(approval_mode="always_require")
def publish(title: str) -> str:
    """Publish something."""
    return f"published {title}"


def publisher(name: str = "publisher") -> Agent[Any]:
    """An agent that publishes what it is asked to, if it may, and then says so."""

    def reply(messages: Messages, options: Mapping[str, Any]) -> Any:
        # What was said after the publishing is another turn.
        results = [item.result for item in messages[-1].contents if item.type == "function_result"]
        if results:
            return f"{name}: {results[0]}"
        return testing.tool_call("publish", {"title": "+".join(sorted(tokens([m.text for m in messages]))) or "it"})

    return agent(name, reply, tools=[publish])


# Group chats.


def round_robin(state: GroupChatState) -> str:
    """Let each speak in turn."""
    return list(state.participants)[state.current_round % len(state.participants)]


async def by_last_word(state: GroupChatState) -> str:
    """Let the one speak who did not, awaiting something."""
    last = state.conversation[-1].author_name
    return "critic" if last == "writer" else "writer"


def group_chat() -> Workflow:
    """A selection function and a limit of rounds."""
    return GroupChatBuilder(
        participants=[agent("writer"), agent("critic"), agent("editor")], selection_func=round_robin, max_rounds=5
    ).build()


def group_chat_until() -> Workflow:
    """An async selection and an async condition that ends it."""

    async def enough(conversation: list[Message]) -> bool:
        return sum(message.role == "assistant" for message in conversation) >= 3

    return GroupChatBuilder(
        participants=[agent("writer"), agent("critic")], selection_func=by_last_word, termination_condition=enough
    ).build()


def group_chat_with_intermediate() -> Workflow:
    """Its participants' words are intermediate outputs."""
    return GroupChatBuilder(
        participants=[agent("writer"), agent("critic")],
        selection_func=round_robin,
        max_rounds=3,
        intermediate_output_from="all_other",
    ).build()


def chairs(messages: Messages, options: Mapping[str, Any]) -> AgentOrchestrationOutput:
    """Decide who is next, as a model that leads a group chat does; the first decision cannot be read."""
    said = [message for message in messages if message.author_name in ("writer", "critic")]
    if len(said) >= 3:
        final = f"the end after {saw('chair', messages)}"
        return AgentOrchestrationOutput(terminate=True, reason="done", final_message=final)
    return AgentOrchestrationOutput(terminate=False, reason="more", next_speaker=("writer", "critic")[len(said) % 2])


def group_chat_with_chair() -> Workflow:
    """An agent leads it, in a session that remembers."""
    return GroupChatBuilder(
        participants=[agent("writer"), agent("critic")], orchestrator_agent=agent("chair", chairs)
    ).build()


def group_chat_with_publisher() -> Workflow:
    """One of its agents needs an approval."""
    return GroupChatBuilder(
        participants=[agent("writer"), publisher()], selection_func=round_robin, max_rounds=4
    ).build()


def group_chat_with_people() -> Workflow:
    """People look at what one of them says before it counts."""
    return (
        GroupChatBuilder(participants=[agent("writer"), agent("critic")], selection_func=round_robin, max_rounds=3)
        .with_request_info(agents=["critic"])
        .build()
    )


class Ring(BaseGroupChatOrchestrator):
    """An orchestrator of one's own, which carries what it adds by the framework's hooks."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.turn = 0

    async def _handle_messages(self, messages: list[Message], ctx: WorkflowContext[Any, Any]) -> None:
        self._append_messages(messages)
        await self._broadcast_messages_to_participants(messages, ctx)
        await self._next(ctx)

    async def _handle_response(
        self, response: AgentExecutorResponse | GroupChatResponseMessage, ctx: WorkflowContext[Any, Any]
    ) -> None:
        messages = self._process_participant_response(response)
        self._append_messages(messages)
        if await self._check_round_limit_and_yield(ctx):
            return
        await self._broadcast_messages_to_participants(messages, ctx)
        await self._next(ctx)

    async def _next(self, ctx: WorkflowContext[Any, Any]) -> None:
        names = list(self._participant_registry.participants)
        self.turn += 1
        await self._send_request_to_participant(names[self.turn % len(names)], ctx)
        self._increment_round()

    async def on_checkpoint_save(self) -> dict[str, Any]:
        return {**await super().on_checkpoint_save(), "turn": self.turn}

    async def on_checkpoint_restore(self, state: dict[str, Any]) -> None:
        await super().on_checkpoint_restore(state)
        self.turn = state["turn"]


class Listener(Executor):
    """A participant that is no agent: it says how much it has heard."""

    def __init__(self, id: str) -> None:
        super().__init__(id=id)
        self.heard = 0

    @handler
    async def hear(self, said: GroupChatParticipantMessage, ctx: WorkflowContext) -> None:
        self.heard += len(said.messages)

    @handler
    async def speak(self, asked: GroupChatRequestMessage, ctx: WorkflowContext[GroupChatResponseMessage]) -> None:
        said = Message("assistant", [f"{self.id} heard {self.heard}"], author_name=self.id)
        await ctx.send_message(GroupChatResponseMessage(said))


def group_chat_of_ones_own() -> Workflow:
    """An orchestrator and a participant that the framework does not know."""
    writer, listener = AgentExecutor(agent("writer")), Listener("listener")
    ring = Ring(id="ring", participant_registry=ParticipantRegistry([writer, listener]), max_rounds=4)
    return GroupChatBuilder(participants=[writer, listener], orchestrator=ring).build()


# Handoffs.


def hands_off(name: str, *targets: tuple[str, str]) -> Agent[Any]:
    """An agent that hands off to a target when the last word of a user has its name for it, else says what it saw."""

    def reply(messages: Messages, options: Mapping[str, Any]) -> Any:
        users = [message for message in messages if message.role == "user"]
        offered = {item.name for item in options.get("tools") or ()}
        for word, target in targets:
            if users and word in users[-1].text and f"handoff_to_{target}" in offered and messages[-1] is users[-1]:
                return testing.tool_call(f"handoff_to_{target}")
        return saw(name, messages)

    return agent(name, reply, require_per_service_call_history_persistence=True)


def _desk() -> list[Agent[Any]]:
    return [
        hands_off("triage", ("money", "refunds"), ("parcel", "shipping")),
        hands_off("refunds", ("parcel", "shipping")),
        hands_off("shipping", ("money", "refunds")),
    ]


def handoff() -> Workflow:
    """A mesh of three; the user says where things go, and then nothing."""
    triage, refunds, shipping = _desk()
    return HandoffBuilder(participants=[triage, refunds, shipping]).with_start_agent(triage).build()


def handoff_until() -> Workflow:
    """Some may hand off to some; a condition ends it; users answer to the first."""
    triage, refunds, shipping = _desk()

    def bye(conversation: list[Message]) -> bool:
        return any("bye" in message.text for message in conversation if message.role == "user")

    return (
        HandoffBuilder(participants=[triage, refunds, shipping], termination_condition=bye)
        .with_start_agent(triage)
        .add_handoff(triage, [refunds, shipping])
        .add_handoff(refunds, [shipping])
        .enable_return_to_previous(False)
        .build()
    )


def handoff_alone() -> Workflow:
    """Agents that go on by themselves for some turns before they ask."""
    triage, refunds, shipping = _desk()
    return (
        HandoffBuilder(participants=[triage, refunds, shipping])
        .with_start_agent(triage)
        .with_autonomous_mode(agents=[triage], turn_limits={"triage": 2})
        .build()
    )


def handoff_with_approval() -> Workflow:
    """An agent whose tool needs an approval, behind a handoff."""
    triage = hands_off("triage", ("publish", "publisher"))
    clerk = publisher()
    clerk.require_per_service_call_history_persistence = True
    return HandoffBuilder(participants=[triage, clerk]).with_start_agent(triage).build()


# Magentic.


def plans(messages: Messages, options: Mapping[str, Any]) -> str:
    """Be the model of a manager: facts, plan, progress and final answer, told apart by what is asked."""
    asked = messages[-1].text
    spoke = [message.author_name for message in messages if message.author_name in ("coder", "tester")]
    if "next_speaker" not in asked:
        return saw("manager", messages)
    stalled = "stall" in messages[0].text and not spoke
    ledger = {
        "is_request_satisfied": {"reason": "spoke", "answer": len(spoke) >= 3},
        "is_in_loop": {"reason": "no", "answer": False},
        "is_progress_being_made": {"reason": "yes", "answer": not stalled},
        "next_speaker": {"reason": "turn", "answer": ("coder", "tester")[len(spoke) % 2]},
        "instruction_or_question": {"reason": "so", "answer": f"do {len(spoke)}: {saw('manager', messages)}"},
    }
    return json.dumps(ledger)


def magentic(*, plan_review: bool = False, **options: Any) -> Workflow:
    """A manager with a model of its own and two participants."""
    return MagenticBuilder(
        participants=[agent("coder"), agent("tester")],
        manager_agent=agent("manager", plans),
        enable_plan_review=plan_review,
        intermediate_output_from="all_other",
        **options,
    ).build()


class Foreman(MagenticManagerBase):
    """A manager of one's own: it stalls at first, so that everything is reset and planned anew."""

    def __init__(self, stalls: int = 2) -> None:
        super().__init__(max_stall_count=1, max_round_count=8, max_reset_count=3)
        self.stalls = stalls
        self.task_ledger: Any = None

    async def plan(self, magentic_context: MagenticContext) -> Message:
        return Message("assistant", [f"plan for {magentic_context.task}"])

    async def replan(self, magentic_context: MagenticContext) -> Message:
        return Message("assistant", [f"plan {magentic_context.reset_count + 1} for {magentic_context.task}"])

    async def create_progress_ledger(self, magentic_context: MagenticContext) -> MagenticProgressLedger:
        context = magentic_context
        spoke = sum(message.author_name in ("coder", "tester") for message in context.chat_history)
        self.stalls -= 1

        def item(answer: Any) -> MagenticProgressLedgerItem:
            return MagenticProgressLedgerItem(f"after {context.round_count}", answer)

        return MagenticProgressLedger(
            item(context.reset_count > 0 and spoke >= 2),
            item(False),
            item(self.stalls < 0),
            item(("coder", "tester")[context.round_count % 2]),
            item(f"go on with {len(context.chat_history)} for {context.task}"),
        )

    async def prepare_final_answer(self, magentic_context: MagenticContext) -> Message:
        said = [message.text for message in magentic_context.chat_history]
        return Message("assistant", [f"answer: {said}"], author_name="foreman")

    def on_checkpoint_save(self) -> dict[str, Any]:
        return {"stalls": self.stalls}

    def on_checkpoint_restore(self, state: dict[str, Any]) -> None:
        self.stalls = state["stalls"]


def magentic_that_stalls() -> Workflow:
    """A manager of one's own, which has everything planned anew."""
    return MagenticBuilder(
        participants=[agent("coder"), agent("tester")], manager=Foreman(), intermediate_output_from="all_other"
    ).build()


def magentic_reviewed() -> Workflow:
    """People review its plans, also after it stalled."""
    return MagenticBuilder(
        participants=[agent("coder"), agent("tester")], manager=Foreman(), enable_plan_review=True
    ).build()


def magentic_with_approval() -> Workflow:
    """A participant whose tool needs an approval."""
    return MagenticBuilder(
        participants=[agent("coder"), publisher("tester")],
        manager=Foreman(stalls=0),
        intermediate_output_from="all_other",
    ).build()


def magentic_at_its_limit() -> Workflow:
    """One that runs out of rounds."""
    return magentic(max_round_count=2)


# Sequences and crowds with people in them.


def sequence_with_people() -> Workflow:
    """People look at what the first says before the second goes on."""
    return (
        SequentialBuilder(participants=[agent("writer"), agent("critic")]).with_request_info(agents=["writer"]).build()
    )


def sequence_with_people_last() -> Workflow:
    """People look at what each of them says."""
    return SequentialBuilder(participants=[agent("writer"), agent("critic")]).with_request_info().build()


def concurrent_with_people() -> Workflow:
    """People look at what all of them say before it is put together."""
    return ConcurrentBuilder(participants=[agent("writer"), agent("critic")]).with_request_info().build()


# Those who are asked.


def answers(first: str = "my money", second: str = "a parcel, too") -> Callable[[Any], Any]:
    """Answer whatever the builders ask, differently as it goes on: once with something to do, then with consent."""
    asked: list[str] = []

    def answer(data: Any) -> Any:
        kind = type(data).__name__
        asked.append(kind)
        number = asked.count(kind)
        if isinstance(data, HandoffAgentUserRequest):
            said = (first, second, "bye", "")[min(number, 4) - 1]
            return HandoffAgentUserRequest.create_response(said) if said else HandoffAgentUserRequest.terminate()
        if isinstance(data, MagenticPlanReviewRequest):
            return data.revise(f"better than {data.plan.text}") if number == 1 else data.approve()
        if isinstance(data, AgentExecutorResponse):
            if number == 1:
                return AgentRequestInfoResponse.from_strings([f"again, {data.agent_response.text[:10]}"])
            return AgentRequestInfoResponse.approve()
        assert isinstance(data, Content), data
        return data.to_function_approval_response(number != 1)

    return answer


def text(output: Any) -> str:
    """What an output says."""
    if isinstance(output, AgentResponse | AgentResponseUpdate):
        return output.text
    if isinstance(output, list):
        return " | ".join(cast("Message", message).text for message in output)
    return str(output)
