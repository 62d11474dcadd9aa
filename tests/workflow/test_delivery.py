from __future__ import annotations

import asyncio
from typing import Any

import pytest
from agent_framework import Case, Default, Executor, Workflow, WorkflowBuilder, WorkflowContext, handler
from tests.workflow import support


class Say(Executor):
    """Sends the values that it was built with, whatever it is given."""

    def __init__(self, id: str, *values: Any, target: str | None = None) -> None:
        super().__init__(id=id)
        self.values = values
        self.target = target

    @handler
    async def go(self, given: Any, ctx: WorkflowContext[Any]) -> None:
        for value in self.values:
            await ctx.send_message(value, target_id=self.target)


class Numbers(Executor):
    """Takes numbers only, and yields them."""

    @handler
    async def take(self, number: int, ctx: WorkflowContext[int, Any]) -> None:
        await ctx.yield_output((self.id, number))


class Texts(Executor):
    """Takes texts only, and yields them."""

    @handler
    async def take(self, text: str, ctx: WorkflowContext[str, Any]) -> None:
        await ctx.yield_output((self.id, text))


class Joins(Executor):
    """Yields a fan-in's list with its sources."""

    @handler
    async def take(self, parts: list[Any], ctx: WorkflowContext[Any, Any]) -> None:
        await ctx.yield_output((parts, ctx.source_executor_ids))


@pytest.mark.parametrize("mode", support.MODES)
async def test_message_that_a_target_cannot_handle_is_dropped_for_that_target(mode: support.Mode) -> None:
    """A message that a target cannot handle is dropped for that target with a warning event, not a failure."""

    def build() -> Workflow:
        say = Say("say", 1, "one", 2.5)
        return (
            WorkflowBuilder(start_executor=say)
            .add_edge(say, Numbers(id="numbers"))
            .add_edge(say, Texts(id="texts"))
            .build()
        )

    result = await support.both(build, "go", modes=[mode])
    assert result.outputs == [("numbers", 1), ("texts", "one")]
    dropped = [data["data"] for data in result.warnings("message_dropped")]
    assert len(dropped) == 4
    assert "'numbers' cannot handle a message of type str from 'say'" in " ".join(dropped)


@pytest.mark.parametrize("target", ["numbers", "texts", "stranger", "nobody", "say"])
async def test_targeted_send_obeys_edges_and_conditions(target: str) -> None:
    """A targeted send obeys edges and conditions; an unknown target is what it is in process."""

    def build() -> Workflow:
        say = Say("say", 1, 2, "one", target=target)
        numbers, texts, stranger = Numbers(id="numbers"), Texts(id="texts"), Numbers(id="stranger")
        return (
            WorkflowBuilder(start_executor=say)
            .add_edge(say, numbers, condition=lambda value: value != 2)
            .add_edge(say, texts)
            .add_edge(numbers, stranger)
            .build()
        )

    expected = {"numbers": [("numbers", 1)], "texts": [("texts", "one")]}.get(target, [])
    assert (await support.both(build, "go")).outputs == expected


@pytest.mark.parametrize("target", [None, "left", "right"])
async def test_targeted_send_through_a_group_goes_to_that_target_if_it_is_selected(target: str | None) -> None:
    """A targeted send obeys edges and conditions."""

    def build() -> Workflow:
        say, left, right = Say("say", 1, 2, target=target), Numbers(id="left"), Numbers(id="right")
        return (
            WorkflowBuilder(start_executor=say)
            .add_multi_selection_edge_group(
                say, [left, right], selection_func=lambda value, ids: ids if value == 1 else ["left", "left"]
            )
            .build()
        )

    expected = {
        None: [("left", 1), ("right", 1), ("left", 2)],
        "left": [("left", 1), ("left", 2)],
        "right": [("right", 1)],
    }
    assert (await support.hosted_run(build, "go")).outputs == expected[target]
    assert sorted((await support.in_process(build(), "go")).outputs) == sorted(expected[target])


@pytest.mark.parametrize("mode", support.MODES)
async def test_conditions_and_selections_run_once_per_message(mode: support.Mode) -> None:
    """Async edge conditions are awaited; conditions and selections run once per message, however often it replays."""
    asked: list[tuple[str, Any]] = []

    async def small(value: Any) -> bool:
        await asyncio.sleep(0)
        asked.append(("small", value))
        return bool(value < 2)

    def even(value: Any) -> bool:
        asked.append(("even", value))
        return bool(value % 2 == 0)

    def select(value: Any, ids: list[str]) -> list[str]:
        asked.append(("select", value))
        return ids[:1]

    def build() -> Workflow:
        say = Say("say", 1, 2, 3)
        ends = [Numbers(id=name) for name in ("a", "b", "c", "d", "e")]
        return (
            WorkflowBuilder(start_executor=say)
            .add_edge(say, ends[0], condition=small)
            .add_switch_case_edge_group(say, [Case(condition=even, target=ends[1]), Default(target=ends[2])])
            .add_multi_selection_edge_group(say, [ends[3], ends[4]], selection_func=select)
            .build()
        )

    result = await support.hosted_run(build, "go", mode=mode)
    assert sorted(result.outputs) == [("a", 1), ("b", 2), ("c", 1), ("c", 3), ("d", 1), ("d", 2), ("d", 3)]
    assert sorted(asked) == [(name, value) for name in ("even", "select", "small") for value in (1, 2, 3)]


async def test_condition_that_is_false_stops_the_message() -> None:
    """Async edge conditions are awaited: a coroutine that gives False is no true value."""

    async def never(value: Any) -> bool:
        return False

    def build() -> Workflow:
        say, end = Say("say", 1), Numbers(id="end")
        return WorkflowBuilder(start_executor=say).add_edge(say, end, condition=never).build()

    assert (await support.both(build, "go")).outputs == []


async def test_condition_that_raises_fails_the_run_and_the_executor_is_not_run_again() -> None:
    """A condition that raises fails the run with that reason; the executor that sent the message is not run again."""

    def broken(value: Any) -> bool:
        raise LookupError("no such mailbox")

    def build() -> Workflow:
        say, end = Say("say", 1), Numbers(id="end")
        return WorkflowBuilder(start_executor=say).add_edge(say, end, condition=broken).build()

    for mode in support.MODES:
        process = support.Process(build)
        result = await process.run("go", mode=mode)
        assert result.failure == ("LookupError", "no such mailbox")
        assert result.invoked() == [["say"]]
        assert ("executor_completed", {"superstep": 1, "executorId": "say"}) in result.events
    assert (await support.in_process(build(), "go")).failure == ("LookupError", "no such mailbox")


async def test_selection_of_a_target_outside_the_group_fails_the_run() -> None:
    """Conditions and selections mean what they mean in process: a selection outside the group is an error."""

    def build() -> Workflow:
        say, a, b = Say("say", 1), Numbers(id="a"), Numbers(id="b")
        builder = WorkflowBuilder(start_executor=say)
        return builder.add_multi_selection_edge_group(say, [a, b], selection_func=lambda value, ids: ["c"]).build()

    result = await support.both(build, "go")
    assert result.failure is not None
    assert result.failure[0] == "RuntimeError"
    assert "Invalid selection result" in result.failure[1]


async def test_fan_in_joins_in_the_order_of_its_edges_with_all_its_sources() -> None:
    """Fan-in delivers what it delivers in process, in that order, with all its sources."""

    def build() -> Workflow:
        say = Say("say", "go")
        parts = [Say("c", 1), Say("a", 2, 3), Say("b", None)]
        joins = Joins(id="joins")
        return WorkflowBuilder(start_executor=say).add_fan_out_edges(say, parts).add_fan_in_edges(parts, joins).build()

    assert (await support.both(build, "go")).outputs == [([1, 2, 3, None], ["c", "a", "b"])]


class Trickle(Executor):
    """Sends to the fan-in in each of three rounds, and to itself through the loop."""

    @handler
    async def go(self, round: int, ctx: WorkflowContext[Any]) -> None:
        if round < 3:
            await ctx.send_message(round + 1, target_id="echo")
        await ctx.send_message(f"{self.id}{round}", target_id="joins")


class Echo(Executor):
    """Sends numbers back, and joins only in the rounds that it was built with."""

    def __init__(self, id: str, *rounds: int) -> None:
        super().__init__(id=id)
        self.rounds = rounds

    @handler
    async def go(self, round: int, ctx: WorkflowContext[Any]) -> None:
        await ctx.send_message(round, target_id="trickle")
        if round in self.rounds:
            await ctx.send_message(f"echo{round}", target_id="joins")


@pytest.mark.parametrize("rounds", [(), (1,), (2,), (3,), (1, 2), (1, 2, 3)])
async def test_fan_in_leftovers_stay_buffered(rounds: tuple[int, ...]) -> None:
    """Fan-in delivers what it delivers in process; leftovers stay buffered."""

    def build() -> Workflow:
        trickle, echo, joins = Trickle(id="trickle"), Echo("echo", *rounds), Joins(id="joins")
        return (
            WorkflowBuilder(start_executor=trickle)
            .add_edge(trickle, echo)
            .add_edge(echo, trickle)
            .add_fan_in_edges([trickle, echo], joins)
            .build()
        )

    await support.both(build, 1)


class Counts(Executor):
    """Adds to a number in the shared state and to one of its own."""

    def __init__(self, id: str) -> None:
        super().__init__(id=id)
        self.own = 0

    @handler
    async def add(self, number: int, ctx: WorkflowContext[Any, Any]) -> None:
        total = ctx.get_state("total", 0) + number
        ctx.set_state("total", total)
        await asyncio.sleep(0)
        self.own += number
        await ctx.yield_output((number, total, self.own))


async def test_two_messages_to_one_executor_are_handled_one_after_another() -> None:
    """Two messages to one executor in one superstep are handled one after another, on each other's writes."""

    def build() -> Workflow:
        say = Say("say", 1, 10, 100)
        return WorkflowBuilder(start_executor=say).add_edge(say, Counts(id="counts")).build()

    result = await support.both(build, "go")
    assert result.outputs == [(1, 1, 1), (10, 11, 11), (100, 111, 111)]
    assert result.state == {"total": 111}
    assert len(result.supersteps) == 2


async def test_two_messages_to_one_executor_from_two_sources_are_handled_one_after_another() -> None:
    """Two messages to one executor in one superstep are handled one after another, on each other's writes."""

    def build() -> Workflow:
        say, left, right, counts = Say("say", "go"), Say("left", 1, 2), Say("right", 10), Counts(id="counts")
        return (
            WorkflowBuilder(start_executor=say)
            .add_fan_out_edges(say, [left, right])
            .add_edge(left, counts)
            .add_edge(right, counts)
            .build()
        )

    for mode in support.MODES:
        result = await support.hosted_run(build, "go", mode=mode)
        assert result.outputs == [(1, 1, 1), (2, 3, 3), (10, 13, 13)]
    assert (await support.in_process(build(), "go")).state == {"total": 13}


async def test_message_sent_to_nobody_ends_the_run() -> None:
    """A message that reaches nobody is no failure: the run is over, as in process."""

    def build() -> Workflow:
        return WorkflowBuilder(start_executor=Say("say", 1, 2)).build()

    result = await support.both(build, "go")
    assert (result.outputs, result.failure) == ([], None)


async def test_hundreds_of_messages_to_one_executor() -> None:
    """Messages to one executor are handled one after another, on each other's writes, however many they are."""

    def build() -> Workflow:
        say = Say("say", *range(400))
        return WorkflowBuilder(start_executor=say).add_edge(say, Counts(id="counts")).build()

    async with asyncio.timeout(20):
        result = await support.hosted_run(build, "go")
    assert result.outputs[-1] == (399, 79800, 79800)
