from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from agent_framework import (
    Agent,
    AgentExecutor,
    Executor,
    Workflow,
    WorkflowBuilder,
    WorkflowContext,
    WorkflowExecutor,
    handler,
)
from tests.people import desk

from perdure import Retry, testing
from perdure.hosts.local import host as local
from perdure.workflow import failures, policy, protocol

TRIED: list[str] = []
QUICK = Retry(first_delay_seconds=0.01, max_delay_seconds=0.02, on=Exception)


class Busy(Exception):
    """What a model's client raises."""

    def __init__(self, status_code: int, **headers: str) -> None:
        super().__init__(f"status {status_code}")
        self.status_code = status_code
        self.response = httpx.Response(status_code, headers={key.replace("_", "-"): v for key, v in headers.items()})


class Flaky(Executor):
    """Raises so many times, and then yields how often it was tried."""

    def __init__(self, errors: Iterator[BaseException], id: str = "flaky") -> None:
        super().__init__(id=id)
        self.errors = errors

    @handler
    async def work(self, text: str, ctx: WorkflowContext[str, str]) -> None:
        TRIED.append(self.id)
        error = next(self.errors, None)
        if error is not None:
            raise error
        await ctx.yield_output(f"{text} at {len(TRIED)}")


@pytest.fixture(autouse=True)
def untried() -> None:
    TRIED.clear()


def flaky(*errors: BaseException) -> Callable[[], Workflow]:
    left = iter(errors)
    return lambda: WorkflowBuilder(start_executor=Flaky(left)).build()


def agent(*answers: Any, id: str = "clerk") -> Workflow:
    found = Agent(client=testing.ScriptedChatClient(answers), name="Clerk")
    return WorkflowBuilder(start_executor=AgentExecutor(found, id=id)).build()


async def failure_of(start: Any, value: str = "go") -> protocol.Failure:
    at = await start(value)
    run = await at.host.runs.wait(at.run, desk.PATIENCE_SECONDS)
    assert run is not None and run.status == "Failed", run
    found: protocol.Failure = run.failure
    return found


async def test_a_step_that_raises_is_tried_again_and_each_attempt_is_an_event() -> None:
    async with desk.hosted(desk.app_of(flaky(ValueError("one"), KeyError("two")), retry=QUICK)) as start:
        at = await start("done")
        output = await at.output()
        retries = await at.happened("executor_retry", 2)
        invoked = await at.happened("executor_invoked", 3)

    assert output == ["done at 3"]
    assert [(retry["attempt"], retry["attempts"], retry["error"]["type"]) for retry in retries] == [
        (1, 3, "ValueError"), (2, 3, "KeyError"),
    ]  # fmt: skip
    assert [event.get("attempt") for event in invoked] == [None, 2, 3]


async def test_after_the_last_attempt_the_run_fails_with_that_reason() -> None:
    errors = [ValueError(str(number)) for number in range(9)]
    async with desk.hosted(desk.app_of(flaky(*errors), retry=QUICK)) as start:
        failure = await failure_of(start)

    assert (failure.type, failure.message) == ("ValueError", "2")
    assert len(TRIED) == 3


async def test_executors_are_tried_once_unless_told_otherwise() -> None:
    for error in (ValueError("no"), ConnectionError("my own service"), Busy(503)):
        async with desk.hosted(desk.app_of(flaky(error))) as start:
            await failure_of(start)

    assert len(TRIED) == 3


@pytest.mark.parametrize(
    "error", [Busy(429), Busy(500), Busy(503), ConnectionError("reset"), httpx.ReadTimeout("slow")]
)
async def test_a_models_transient_errors_are_tried_three_times(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(policy, "TRANSIENT", Retry(first_delay_seconds=0.01))
    async with desk.hosted(desk.app_of(agent(error, error, "at last"))) as start:
        at = await start("go")
        await at.output()
        (output,) = await at.host.outputs(at.run)

    assert output.text == "at last"


@pytest.mark.parametrize("error", [Busy(400), Busy(401), Busy(404), ValueError("a bug")])
async def test_a_models_other_errors_fail_at_once(error: Exception) -> None:
    async with desk.hosted(desk.app_of(agent(error, "never"))) as start:
        failure = await failure_of(start)

    assert failure.type == type(error).__name__


async def test_a_service_that_says_how_long_is_given_that_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy, "TRANSIENT", Retry(first_delay_seconds=0.01))
    async with desk.hosted(desk.app_of(agent(Busy(429, retry_after="0.3"), "at last"))) as start:
        at = await start("go")
        await at.output()
        (retry,) = await at.happened("executor_retry")

    assert retry["delaySeconds"] == 0.3


@pytest.mark.parametrize(
    ("on", "error", "again"),
    [
        (LookupError, KeyError("x"), True),
        (LookupError, ValueError("x"), False),
        ((ValueError, KeyError), ValueError("x"), True),
        (lambda error: "again" in str(error), ValueError("again"), True),
        (lambda error: "again" in str(error), ValueError("never"), False),
        (None, Busy(503), True),
        (None, ValueError("x"), False),
    ],
)
async def test_which_exceptions_are_tried_again_is_told_by_type_or_by_a_function(
    on: Any, error: Exception, again: bool
) -> None:
    app = desk.app_of(flaky(error), retry=Retry(first_delay_seconds=0, on=on))
    async with desk.hosted(app) as start:
        if again:
            assert await (await start("done")).output() == ["done at 2"]
        else:
            await failure_of(start)


async def test_an_exception_is_known_by_its_cause_too() -> None:
    error = RuntimeError("wrapped")
    error.__cause__ = Busy(503)
    async with desk.hosted(desk.app_of(flaky(error), retry=Retry(first_delay_seconds=0))) as start:
        assert await (await start("done")).output() == ["done at 2"]


@pytest.mark.parametrize("key", ["clerk", "Clerk", "workflow/clerk", "*"])
async def test_a_policy_is_found_by_executor_by_agent_and_for_the_app(key: str) -> None:
    app = desk.app_of(agent(ValueError("once"), "done"), retry={key: Retry(first_delay_seconds=0, on=ValueError)})
    async with desk.hosted(app) as start:
        at = await start("go")
        await at.output()


@pytest.mark.parametrize("options", [{"retry": {"nobody": QUICK}}, {"timeouts": {"nobody": 1.0}}])
def test_a_policy_for_nobody_is_refused_when_the_app_is_built(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"'nobody', which is no executor and no agent: flaky"):
        desk.app_of(flaky(), **options)


async def test_a_retry_survives_a_restart_and_counts_on() -> None:
    app = desk.app_of(flaky(*[ValueError("no")] * 3), retry=Retry(first_delay_seconds=0.5, backoff=1, on=ValueError))
    async with desk.hosted(app) as start:
        at = await start("go")
        await at.happened("executor_retry", 1)
        await at.again()
        await at.happened("executor_retry", 2)
        await at.again()
        run = await at.host.runs.wait(at.run, desk.PATIENCE_SECONDS)

    assert run is not None and run.status == "Failed"
    assert len(TRIED) == 3


async def test_a_run_keeps_the_policy_that_it_was_started_with() -> None:
    failing = flaky(ValueError("one"), ValueError("two"))
    first = desk.app_of(failing, retry=Retry(first_delay_seconds=0.5, on=ValueError))
    second = desk.app_of(failing)
    async with local.LocalHost(first) as host:
        run = await host.start("workflow", "done")
        async for event in host.runs.follow(run):
            if event.type == "executor_retry":
                break
        await host.crash()
        host.app = second
        await host.restart()
        assert await host.outputs(run) == ["done at 3"]


async def test_a_step_that_takes_too_long_is_cancelled_and_fails_the_run() -> None:
    cancelled = asyncio.Event()

    class Slow(Executor):
        @handler
        async def work(self, text: str, ctx: WorkflowContext[str, str]) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()

    app = desk.app_of(lambda: WorkflowBuilder(start_executor=Slow(id="slow")).build(), timeouts={"slow": 0.05})
    async with desk.hosted(app) as start:
        failure = await failure_of(start)
        await cancelled.wait()

    assert failure.type == "TimeoutError"
    assert failure.message == "Executor 'slow' did not finish within 0.05 s; it was cancelled."


async def test_a_step_that_took_too_long_is_tried_again_where_the_policy_says_so() -> None:
    turns = itertools.count(1)

    class Slow(Executor):
        @handler
        async def work(self, text: str, ctx: WorkflowContext[str, str]) -> None:
            if next(turns) == 1:
                await asyncio.Event().wait()
            await ctx.yield_output("in time")

    build = lambda: WorkflowBuilder(start_executor=Slow(id="slow")).build()  # noqa: E731
    async with desk.hosted(desk.app_of(build, timeouts=0.05, retry=Retry(first_delay_seconds=0))) as start:
        assert await (await start("go")).output() == ["in time"]


async def test_a_step_in_time_is_left_alone_and_its_clock_is_stopped() -> None:
    async with desk.hosted(desk.app_of(flaky(), timeouts=3600)) as start:
        at = await start("done")
        assert await at.output() == ["done at 1"]


async def test_siblings_go_on_while_one_waits_for_its_next_attempt() -> None:
    left = iter([ValueError("once")])
    gate = asyncio.Event()

    class Split(Executor):
        @handler
        async def split(self, text: str, ctx: WorkflowContext[str]) -> None:
            await ctx.send_message(text)

    class Steady(Executor):
        @handler
        async def work(self, text: str, ctx: WorkflowContext[str, str]) -> None:
            await ctx.yield_output("steady")
            gate.set()

    def build() -> Workflow:
        split = Split(id="split")
        builder = WorkflowBuilder(start_executor=split)
        return builder.add_fan_out_edges(split, [Flaky(left), Steady(id="steady")]).build()

    app = desk.app_of(build, retry={"flaky": Retry(first_delay_seconds=0.2, jitter=0, on=ValueError)})
    async with desk.hosted(app) as start:
        at = await start("done")
        await gate.wait()
        first, second = await at.happened("output", 2)
        await at.output()

    assert (first["data"], second["data"]) == ("steady", "done at 2")


async def test_a_sub_workflow_whose_model_is_busy_is_tried_again_from_where_it_stood(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(policy, "TRANSIENT", Retry(first_delay_seconds=0.01))

    def build() -> Workflow:
        child = WorkflowExecutor(agent(error_of_framework(), "at last"), id="child", allow_direct_output=True)
        return WorkflowBuilder(start_executor=child).build()

    async with desk.hosted(desk.app_of(build())) as start:
        at = await start("go")
        await at.output()
        (output,) = await at.host.outputs(at.run)

    assert output.text == "at last"


def error_of_framework() -> Exception:
    from agent_framework.exceptions import ChatClientException

    return ChatClientException("busy", inner_exception=Busy(429))


@pytest.mark.parametrize("attempt", [1, 2, 3, 50, 5000])
def test_a_wait_grows_to_its_limit_and_is_the_same_in_a_replay(attempt: int) -> None:
    told = policy.Attempts(10_000, 1.0, 2.0, 60.0, 0.25, (("builtins.ValueError",),))
    failure = protocol.Failure("ValueError", "", kinds=("builtins.ValueError",))
    wait = policy.delay(policy.Rule(told), "run/1/0/a", attempt, failure)
    least = min(2.0 ** min(attempt - 1, 10), 60.0)

    assert wait is not None and least <= wait <= least * 1.25
    assert wait == policy.delay(policy.Rule(told), "run/1/0/a", attempt, failure)
    assert wait != policy.delay(policy.Rule(told), "run/1/0/b", attempt, failure)


def test_a_date_in_retry_after_is_counted_from_now() -> None:
    error = Busy(429, retry_after="Thu, 01 Jan 1970 00:01:40 GMT")
    assert failures.retry_after(error, 40.0) == 60.0
    assert failures.retry_after(error, 400.0) == 0.0
    assert failures.retry_after(Busy(429, retry_after="soon"), 0.0) is None
    assert failures.retry_after(Busy(429, retry_after_ms="250"), 0.0) == 0.25


@pytest.mark.parametrize(
    "wrong", [{"attempts": 0}, {"first_delay_seconds": -1}, {"backoff": 0.5}, {"jitter": 2}, {"max_delay_seconds": -1}]
)
def test_a_policy_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="Retry"):
        Retry(**wrong)
