"""What a workflow that asks people does with their answers is what it does in process: tried on generated programs."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any, Never

import pytest
from agent_framework import (
    Executor,
    SubWorkflowRequestMessage,
    SubWorkflowResponseMessage,
    Workflow,
    WorkflowBuilder,
    WorkflowContext,
    WorkflowExecutor,
    handler,
    response_handler,
)
from tests.people import desk

from perdure import testing

SEEDS = 12


@dataclass(frozen=True)
class Word:
    """A message, with the hops it has left."""

    text: str
    hops: int


@dataclass(frozen=True)
class Question:
    """What is asked."""

    who: str
    number: int
    about: Word


class Member(Executor):
    """Asks about each word it is given, and sends each answer on."""

    def __init__(self, id: str, questions: int) -> None:
        super().__init__(id=id)
        self.questions = questions
        self.asked = 0
        self.heard: list[str] = []

    @handler
    async def ask(self, word: Word, ctx: WorkflowContext[Word, str]) -> None:
        for _ in range(self.questions):
            self.asked += 1
            await ctx.request_info(Question(self.id, self.asked, word), str)
        if not self.questions:
            await self._pass_on(word, f"{self.id}:{word.text}", ctx)

    @response_handler
    async def hear(self, question: Question, answer: str, ctx: WorkflowContext[Word, str]) -> None:
        self.heard.append(answer)
        ctx.set_state(f"heard:{self.id}", list(self.heard))
        await ctx.yield_output(f"{self.id} asked {question.number} about {question.about.text}: {answer}")
        await self._pass_on(question.about, answer, ctx)

    async def _pass_on(self, word: Word, text: str, ctx: WorkflowContext[Word, str]) -> None:
        if word.hops:
            await ctx.send_message(Word(text, word.hops - 1))


class Minutes(Executor):
    """Notes what all of several members say."""

    @handler
    async def note(self, words: list[Word], ctx: WorkflowContext[Word, str]) -> None:
        await ctx.yield_output("minutes: " + ", ".join(word.text for word in words))


class Speaker(Executor):
    """Says what it is given."""

    @handler
    async def say(self, word: Word, ctx: WorkflowContext[Never, Word]) -> None:
        await ctx.yield_output(word)


class Deputy(Executor):
    """Answers what a sub-workflow asks."""

    @handler
    async def answer(self, asked: SubWorkflowRequestMessage, ctx: WorkflowContext[SubWorkflowResponseMessage]) -> None:
        response = asked.create_response(f"deputy: {_answer(asked.source_event.data)}")
        await ctx.send_message(response, target_id=asked.executor_id)


@dataclass(frozen=True)
class Panel:
    """A generated program: how many questions each member asks, who sends to whom, and whose words are noted.

    ``inside`` says for each member how many levels down it stands; below 0 its questions are answered by a deputy.
    """

    questions: tuple[int, ...]
    edges: tuple[tuple[int, int], ...]
    noted: tuple[int, ...]
    hops: int
    inside: tuple[int, ...] = ()

    def build(self) -> Workflow:
        """Build it."""
        inside = self.inside or (0,) * len(self.questions)
        members = [_member(f"m{number}", count, inside[number]) for number, count in enumerate(self.questions)]
        builder = WorkflowBuilder(start_executor=members[0])
        for source, target in self.edges:
            builder.add_edge(members[source], members[target])
        for member, levels in zip(members, inside, strict=True):
            if levels < 0:
                deputy = Deputy(id=f"deputy-{member.id}")
                builder.add_edge(member, deputy).add_edge(deputy, member)
        if len(self.noted) > 1:
            builder.add_fan_in_edges([members[number] for number in self.noted], Minutes(id="minutes"))
        return builder.build()


def _member(id: str, questions: int, levels: int) -> Executor:
    member: Executor = Member(id, questions)
    for level in range(abs(levels)):
        speaker = Speaker(id="speaker")
        inner = WorkflowBuilder(start_executor=member, name=f"{id}-{level}").add_edge(member, speaker).build()
        member = WorkflowExecutor(inner, id=f"{id}-{level}", propagate_request=levels > 0 or level < -levels - 1)
    return member


def panel(chance: random.Random, *, nested: bool = False) -> Panel:
    """Generate one; no member is given words by two others in one superstep, so that there is one right order."""
    size = chance.randint(1, 4)
    edges = tuple((chance.randrange(number), number) for number in range(1, size))
    asking = (chance.randint(1, 3), *(chance.randint(0, 2) for _ in range(1, size)))
    noted = tuple(sorted(chance.sample(range(size), chance.randint(0, min(size, 2)))))
    inside = tuple(chance.choice((-2, -1, 0, 1, 1, 2)) for _ in range(size)) if nested else ()
    return Panel(asking, edges, noted, chance.randint(0, 3), inside)


Said = list[tuple[list[Any], list[Any]]]
"""After each answer: the new outputs, and the open questions."""


async def in_process(workflow: Workflow, word: Word, answers: random.Random) -> tuple[Said, dict[str, Any]]:
    said: Said = []
    open_requests: dict[str, Any] = {}
    result = await workflow.run(word)
    while True:
        for event in result.get_request_info_events():
            open_requests[event.request_id] = event.data
        said.append((sorted(result.get_outputs()), _sorted(open_requests.values())))
        if not open_requests:
            state = workflow._runner.state.export_state()
            return said, {key: value for key, value in state.items() if not key.startswith("_")}
        chosen = answers.choice(_sorted(open_requests.values()))
        request = next(key for key, question in open_requests.items() if question == chosen)
        del open_requests[request]
        result = await workflow.run(responses={request: _answer(chosen)})


async def hosted(
    host: testing.LocalHost, word: Word, answers: random.Random, crashes: random.Random
) -> tuple[Said, dict[str, Any]]:
    said: Said = []
    run = await host.start("workflow", word, run_id="r")
    seen = 0
    while True:
        outputs, rest, seen = await _to_rest(host, run, seen)
        questions = {asked.id: _question(asked.data) for asked in rest}
        said.append((sorted(outputs), _sorted(questions.values())))
        if not questions:
            return said, await host.state(run)
        if crashes.random() < 0.4:
            await host.crash()
            await host.restart()
        chosen = answers.choice(_sorted(questions.values()))
        request = next(key for key, question in questions.items() if question == chosen)
        assert await host.runs.answer(run, request, _answer(chosen).encode(), "text/plain") == "accepted"


async def _to_rest(host: testing.LocalHost, run: str, seen: int) -> tuple[list[Any], Any, int]:
    """Wait until the run waits or has ended: the outputs since the event ``seen``, and the open requests."""
    outputs: list[Any] = []
    async for event in host.runs.follow(run, seen):
        seen = event.id
        if event.type == "output":
            outputs.append(event.data["data"])
        if event.type in ("parked", "completed", "failed"):
            assert event.type != "failed", event.data
            break
    found = await host.runs.get(run)
    assert found is not None
    return outputs, found.requests, seen


def _answer(question: Question) -> str:
    return f"{question.who}{question.number}({question.about.text})"


def _question(data: dict[str, Any]) -> Question:
    return Question(data["who"], data["number"], Word(**data["about"]))


def _sorted(questions: Any) -> list[Question]:
    return sorted(questions, key=lambda question: (question.who, question.number))


@pytest.mark.parametrize("nested", [False, True], ids=["flat", "nested"])
@pytest.mark.parametrize("seed", range(SEEDS))
async def test_what_follows_from_each_answer_is_what_follows_in_process(seed: int, nested: bool) -> None:
    chance = random.Random(seed)
    program = panel(chance, nested=nested)
    word = Word("start", program.hops)
    expected = await in_process(program.build(), word, random.Random(seed))
    async with desk.make_host(desk.app_of(program.build())) as host:
        actual = await hosted(host, word, random.Random(seed), random.Random(seed))

    assert actual == expected, program
