"""Copies of executors that hold nothing serve one run after another."""

from __future__ import annotations

from agent_framework import Executor, WorkflowContext, handler

from perdure.payloads import codec, store
from perdure.payloads.codec import registry
from perdure.workflow import executor_state, isolation, values


class Plain(Executor):
    @handler
    async def take(self, text: str, ctx: WorkflowContext[str]) -> None:
        await ctx.send_message(text)


class Keeping(Plain):
    def __init__(self, id: str) -> None:
        super().__init__(id=id)
        self.seen: list[str] = []


async def test_a_copy_that_holds_nothing_serves_the_next_run_and_one_that_holds_something_does_not() -> None:
    blank = executor_state.Kind(isolation.Template(Plain(id="plain")))
    held = executor_state.Kind(isolation.Template(Keeping(id="keeping")))
    shelf = values.RunValues(values.Shelf(codec.Codec(registry.Registry()), store.MemoryPayloadStore()), "run")

    first, kept = await blank.make("one", None, shelf), await held.make("one", None, shelf)
    blank.give_back(first)
    held.give_back(kept)

    assert (await blank.make("two", None, shelf)).executor is first.executor
    assert (await held.make("two", None, shelf)).executor is not kept.executor


async def test_a_copy_that_was_given_an_attribute_serves_no_other_run() -> None:
    blank = executor_state.Kind(isolation.Template(Plain(id="plain")))
    shelf = values.RunValues(values.Shelf(codec.Codec(registry.Registry()), store.MemoryPayloadStore()), "run")

    first = await blank.make("one", None, shelf)
    vars(first.executor)["seen"] = 1
    blank.give_back(first)

    assert (await blank.make("two", None, shelf)).executor is not first.executor
