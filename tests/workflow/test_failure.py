from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from agent_framework import Executor, Workflow, WorkflowBuilder, WorkflowContext, executor, handler
from tests.workflow import support

from perdure import AgentFunctionApp, testing


class Refused(Exception):
    """The user's own exception."""


class Raises(Executor):
    """Raises when it is given a certain number; sends the next otherwise."""

    def __init__(self, id: str, at: int) -> None:
        super().__init__(id=id)
        self.at = at

    @handler
    async def go(self, number: int, ctx: WorkflowContext[int, int]) -> None:
        ctx.set_state("number", number)
        await ctx.yield_output(number)
        if number == self.at:
            raise Refused(f"not {number}")
        await ctx.send_message(number + 1)


@pytest.mark.parametrize("at", [1, 2, 5])
async def test_executor_that_raises_fails_the_run_with_that_reason(at: int) -> None:
    """An agent or executor that raises fails the run with that reason, never an empty success."""

    def build() -> Workflow:
        one, two = Raises("one", at), Raises("two", at)
        return WorkflowBuilder(start_executor=one).add_edge(one, two).add_edge(two, one).build()

    result = await support.both(build, 1)
    assert result.failure == ("Refused", f"not {at}")
    failed = [data for kind, data in result.events if kind == "executor_failed"]
    assert [(data["executorId"], data["superstep"]) for data in failed] == [(("two", "one")[at % 2], at)]
    assert result.events[-1][0] == "failed"


@pytest.mark.parametrize(
    "error", [ValueError("bad"), KeyError("key"), Exception(), RuntimeError("a\nb"), OSError(2, "no")]
)
async def test_reason_is_the_exceptions_type_and_text(error: Exception) -> None:
    """An executor that raises fails the run with that reason, whatever the exception."""

    def build() -> Workflow:
        @executor(id="raises")
        async def raises(value: int, ctx: WorkflowContext[Any, Any]) -> None:
            raise error

        return WorkflowBuilder(start_executor=raises).build()

    result = await support.both(build, 1)
    assert result.failure == (type(error).__name__, str(error))


async def test_sync_function_that_raises_fails_the_run() -> None:
    """An executor that raises fails the run with that reason: in a thread too."""

    def build() -> Workflow:
        @executor(id="raises")
        def raises(value: int) -> None:
            raise Refused("in a thread")

        return WorkflowBuilder(start_executor=raises).build()

    assert (await support.both(build, 1)).failure == ("Refused", "in a thread")


async def test_failure_does_not_wait_for_its_siblings() -> None:
    """An executor that raises fails the run, as in process, while a sibling is still at work."""
    forever = asyncio.Event()

    def build() -> Workflow:
        @executor(id="start")
        async def start(value: int, ctx: WorkflowContext[int]) -> None:
            await ctx.send_message(value)

        @executor(id="waits")
        async def waits(value: int, ctx: WorkflowContext[Any, Any]) -> None:
            await forever.wait()

        raises = Raises("raises", 1)
        return WorkflowBuilder(start_executor=start).add_fan_out_edges(start, [waits, raises]).build()

    async with asyncio.timeout(20):
        assert (await support.both(build, 1)).failure == ("Refused", "not 1")


async def test_run_that_does_not_converge_fails_as_in_process() -> None:
    """max_iterations follows the core runner."""

    def build() -> Workflow:
        one, two = Raises("one", 99), Raises("two", 99)
        builder = WorkflowBuilder(start_executor=one, max_iterations=7)
        return builder.add_edge(one, two).add_edge(two, one).build()

    result = await support.both(build, 1)
    assert result.failure == ("WorkflowConvergenceException", "Runner did not converge after 7 iterations.")
    assert len(result.supersteps) == 7


def iter_of_nothing() -> Iterator[int]:
    yield from ()


async def test_value_that_cannot_be_encoded_fails_the_run_and_names_it() -> None:
    """A value that cannot be encoded is an error that names what it is, where, and what to do."""

    def build(key: bool) -> Workflow:
        @executor(id="holds")
        async def holds(value: int, ctx: WorkflowContext[Any, Any]) -> None:
            if key:
                ctx.set_state("lock", iter_of_nothing())
            else:
                await ctx.yield_output(object())

        return WorkflowBuilder(start_executor=holds).build()

    failure = (await support.hosted_run(lambda: build(False), 1)).failure
    assert failure is not None
    assert failure[0] == "CodecError"
    assert "An output of executor 'holds'" in failure[1]
    failure = (await support.hosted_run(lambda: build(True), 1)).failure
    assert failure is not None
    assert "generator" in failure[1]


class Unusual(BaseException):
    """Derives from what no handler of errors catches."""


@pytest.mark.parametrize("error", [KeyboardInterrupt("now"), GeneratorExit(), SystemExit(3), Unusual("so")])
async def test_whatever_an_executor_raises_fails_its_run_and_leaves_the_host(error: BaseException) -> None:
    class Leaves(Executor):
        @handler
        async def take(self, text: str, ctx: WorkflowContext[str, str]) -> None:
            if text == "leave":
                raise error
            await ctx.yield_output(text)

    app = AgentFunctionApp(workflow=WorkflowBuilder(start_executor=Leaves(id="leaves")).build())
    async with testing.LocalHost(app) as host:
        run = await host.start("workflow", "leave")
        ended = await host.runs.wait(run, 10)
        assert ended is not None and ended.status == "Failed"
        assert ended.failure is not None and ended.failure.type == "ExecutorLeft"
        assert await host.run("workflow", "stay") == ["stay"]
