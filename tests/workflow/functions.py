"""Functional workflows that tests run in process and hosted; what they do is noted in ``CALLS``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pydantic
from agent_framework import (
    FunctionalWorkflowDefinition,
    InMemoryCheckpointStorage,
    RunContext,
    WorkflowEvent,
    get_run_context,
    step,
    workflow,
)

from perdure import WorkflowHitlContext

CALLS: list[str] = []
"""What was called, of the present run."""


TROUBLE: list[Exception] = []
"""What the step ``flaky`` raises the next times."""


class Connection:
    """Cannot be encoded."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()

    def __deepcopy__(self, memo: dict[int, Any]) -> Connection:
        return self


@dataclass
class Order:
    """What is bought."""

    article: str
    pieces: int


class Verdict(pydantic.BaseModel):
    """What somebody says."""

    approved: bool
    note: str = ""


@step
async def price(order: Order) -> int:
    CALLS.append(f"price {order.article}")
    return len(order.article) * order.pieces


@step
async def double(number: int) -> int:
    CALLS.append(f"double {number}")
    return number * 2


@step
async def later(number: int) -> int:
    CALLS.append(f"later {number}")
    for _ in range(number):  # later than those before it
        await asyncio.sleep(0)
    return number * 10


@step
async def outer(number: int) -> int:
    CALLS.append(f"outer {number}")
    return await double(number) + await double(number + 1)


@step
async def asking(number: int, ctx: RunContext) -> str:
    CALLS.append(f"asking {number}")
    await asyncio.sleep(0)  # so that those beside it are asking too
    said: Verdict = await ctx.request_info({"number": number}, Verdict)
    return f"{number}:{said.approved}:{said.note}"


@workflow
async def follow_up(number: int, ctx: RunContext) -> list[Any]:
    """Asks in a step, and again once that has returned; both without ids."""
    first = await asking(number)
    who: str = await ctx.request_info({"after": first}, str)
    again = await asking(number + 1)
    pieces: int = await ctx.request_info({"after": again, "who": who}, int)
    return [first, who, again, pieces]


@step
async def breaks(number: int) -> int:
    CALLS.append(f"breaks {number}")
    raise LookupError(f"no {number}")


@workflow
async def chain(order: Order, ctx: RunContext) -> dict[str, Any]:
    """Steps one after another, over state."""
    found = await price(order)
    ctx.set_state("price", found)
    for turn in range(3):
        found = await double(found)
        ctx.set_state("seen", {**ctx.get_state("seen", {}), str(turn): found})
    return {"order": order, "sum": found}


@workflow
async def wide(count: int) -> list[int]:
    """Steps beside each other."""
    return list(await asyncio.gather(*(later(number) for number in range(count))))


@workflow
async def nested(number: int) -> int:
    """Steps in steps."""
    return await outer(number) + await outer(number * 2)


@workflow
async def twice(number: int) -> list[int]:
    """The same step with the same argument, more than once."""
    return [await double(number), await double(number)]


@workflow
async def stepless(text: str) -> str:
    """No steps at all."""
    CALLS.append("body")
    return text.upper()


@workflow
async def silent(text: str) -> None:
    """Gives nothing."""
    CALLS.append(text)


@workflow
async def emitting(number: int, ctx: RunContext) -> int:
    """Says how far it is."""
    await ctx.add_event(WorkflowEvent("progress", data={"at": 1}))  # type: ignore[arg-type]
    found = await double(number)
    current = get_run_context()
    assert current is ctx
    await ctx.add_event(WorkflowEvent("progress", data={"at": 2}))  # type: ignore[arg-type]
    return found


@workflow
async def failing(number: int) -> int:
    """Raises in its second step."""
    return await breaks(await double(number))


@workflow
async def catching(number: int) -> str:
    """Goes on where a step raised."""
    try:
        return str(await breaks(number))
    except LookupError as error:
        return f"{error}, {await double(number)}"


@workflow
async def reviewed(order: Order, ctx: RunContext) -> str:
    """Asks, and asks again when a step later."""
    found = await price(order)
    said: Verdict = await ctx.request_info(Order(order.article, found), Verdict)
    if not said.approved:
        return f"no: {said.note}"
    found = await double(found)
    name: str = await ctx.request_info("who signs?", str, request_id="signature")
    return f"{found} {name}"


@workflow
async def panel(count: int) -> list[str]:
    """Asks several at once, each in a step of its own."""
    return list(await asyncio.gather(*(asking(number) for number in range(count))))


@step
async def named(name: str, ctx: RunContext) -> str:
    await asyncio.sleep(0)
    return str(await ctx.request_info(f"{name}?", str, request_id=name))


@workflow
async def either(number: int, ctx: RunContext) -> str:
    """Asks two at once, and when it has one answer does not ask for the other again."""
    if ctx.get_state("asked") is None:
        ctx.set_state("asked", True)
        return " ".join(await asyncio.gather(named("first"), named("second")))
    return await named("first")


@step
async def flaky(number: int) -> int:
    CALLS.append(f"flaky {number}")
    if TROUBLE:
        raise TROUBLE.pop()
    return number


@step
async def forever(number: int) -> int:
    CALLS.append("forever")
    try:
        await asyncio.Event().wait()
    finally:
        CALLS.append("cancelled")
    return number


@step
async def connect(number: int) -> Connection:
    return Connection()


@workflow
async def fragile(number: int) -> int:
    """Its second step may raise."""
    return await flaky(await double(number))


@workflow
async def endless(number: int) -> int:
    """Its second step never returns."""
    return await forever(await double(number))


@workflow
async def partly(number: int) -> list[int]:
    """One of two steps beside each other may raise, after the other has returned."""
    return list(await asyncio.gather(double(number), flaky(number)))


@workflow
async def opaque(number: int) -> str:
    """A step returns what cannot be encoded."""
    return type(await connect(number)).__name__


@workflow
async def mailing(subject: str, ctx: RunContext) -> str:
    """Tells where it can be answered, and how it runs."""
    found = WorkflowHitlContext.from_context(ctx)
    where = "in process" if found is None else found.build_respond_url("approval")
    CALLS.append(where)
    yes: bool = await ctx.request_info(subject, bool, request_id="approval")
    return f"{yes} {ctx.is_streaming()}"


async def in_process(
    definition: FunctionalWorkflowDefinition, value: Any, answer: Callable[[str, Any], Any] | None = None
) -> tuple[list[Any], dict[str, Any], str]:
    """Run with ``FunctionalWorkflow.run()``: outputs, the user's state, and what it failed with.

    Args:
        definition: The workflow.
        value: Its input.
        answer: Gives the answer to a request, by its id and what it asks.
    """
    storage = InMemoryCheckpointStorage()
    built = definition.build(checkpoint_storage=storage)
    answers: dict[str, Any] = {}
    try:
        result = await built.run(value)
        while asked := result.get_request_info_events():
            assert answer is not None
            answers |= {event.request_id: answer(event.request_id, event.data) for event in asked}
            result = await built.run(responses=answers)
    except Exception as error:
        return [], {}, f"{type(error).__name__}: {error}"
    latest = await storage.get_latest(workflow_name=built.name)
    state = {} if latest is None else {key: item for key, item in latest.state.items() if not key.startswith("_")}
    return result.get_outputs(), state, ""
