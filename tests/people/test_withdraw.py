"""Requests that are withdrawn: what follows is what follows from ``Workflow.cancel_pending_requests`` in process."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from agent_framework import (
    Content,
    Executor,
    Workflow,
    WorkflowBuilder,
    WorkflowContext,
    WorkflowExecutor,
    handler,
    response_handler,
)
from tests.people import desk, nested, programs
from tests.people.test_agents import Till, clerk

from perdure import Deadline


class Asker(Executor):
    """Asks about each word, notes what was withdrawn, and yields once all is settled."""

    def __init__(self, id: str = "asker") -> None:
        super().__init__(id=id)
        self.open: dict[str, str] = {}
        self.said: list[str] = []

    @handler
    async def ask(self, text: str, ctx: WorkflowContext[str, str]) -> None:
        for number, word in enumerate(text.split()):
            self.open[f"{self.id}-{number}"] = word
            await ctx.request_info(word, bool, request_id=f"{self.id}-{number}")

    @response_handler
    async def hear(self, word: str, yes: bool, ctx: WorkflowContext[str, str]) -> None:
        await self._settle(next(key for key, value in self.open.items() if value == word), f"{word}: {yes}", ctx)

    async def _cancel_pending_request(self, request_id: str, ctx: WorkflowContext[Any, Any]) -> None:
        await self._settle(request_id, f"{self.open[request_id]}: withdrawn", ctx)

    async def _settle(self, request_id: str, said: str, ctx: WorkflowContext[str, str]) -> None:
        del self.open[request_id]
        self.said.append(said)
        ctx.set_state("said", list(self.said))
        if not self.open:
            await ctx.send_message(", ".join(self.said))


def asking(levels: int = 0) -> Workflow:
    """An executor that asks, so many levels down, and one that publishes what it was told."""
    asker: Executor = Asker()
    publisher = nested.Publisher(id="publisher")
    if not levels:
        return WorkflowBuilder(start_executor=asker, name="asking").add_edge(asker, publisher).build()
    ending = nested.Publisher(id="ending")
    inner = WorkflowBuilder(start_executor=asker, name="asking").add_edge(asker, ending).build()
    for level in range(levels, 0, -1):
        child = WorkflowExecutor(inner, id=f"level{level}", propagate_request=True)
        builder = WorkflowBuilder(start_executor=child, name=f"around{level}")
        inner = builder.add_edge(child, nested.Publisher(id=f"p{level}")).build()
    return inner


async def withdraw(at: desk.Desk, request: str) -> httpx.Response:
    return await at.client.delete(f"{at.host.url}/api/workflow/{at.workflow}/respond/{at.run}/{request}")


async def in_process(workflow: Workflow, text: str, steps: str) -> list[str]:
    """Answer ('y') or withdraw ('w') the requests in turn; gives all outputs."""
    result = await workflow.run(text)
    outputs = list(result.get_outputs())
    for asked, step in zip(result.get_request_info_events(), steps, strict=True):
        if step == "y":
            result = await workflow.run(responses={asked.request_id: True})
        else:
            result = await workflow.cancel_pending_requests([asked.request_id])
        outputs += result.get_outputs()
    return outputs


@pytest.mark.parametrize("levels", [0, 1, 3])
@pytest.mark.parametrize("steps", ["w", "ww", "wy", "yw", "wyw"])
@pytest.mark.parametrize("crash", [True, False])
async def test_a_withdrawn_request_has_the_consequences_that_it_has_in_process(
    levels: int, steps: str, crash: bool
) -> None:
    text = " ".join("abc"[: len(steps)])
    expected = await in_process(asking(levels), text, steps)
    async with desk.hosted(desk.app_of(lambda: asking(levels))) as start:
        at = await start(text)
        asked = await at.parked(1)
        for parked, (request, step) in enumerate(zip(asked, steps, strict=True), 1):
            if step == "y":
                await at.say(request["requestId"], True)
            else:
                answer = await withdraw(at, request["requestId"])
                assert answer.status_code == 200, answer.text
            if crash:
                await at.again()
            if parked < len(steps):
                left = await at.parked(parked + 1)
                assert [item["requestId"] for item in left] == [item["requestId"] for item in asked[parked:]]
        output = await at.output()

    assert output == expected


async def test_a_request_is_withdrawn_once_and_an_event_says_so() -> None:
    async with desk.hosted(desk.app_of(asking)) as start:
        at = await start("a b")
        first, second = await at.parked(1)
        unknown = await withdraw(at, "nobody")
        elsewhere = await at.client.delete(f"{at.host.url}/api/workflow/asking/respond/other/{first['requestId']}")
        done = await withdraw(at, first["requestId"])
        pending = await at.pending()
        again = await withdraw(at, first["requestId"])
        late = await at.answer(first["requestId"], True)
        await at.say(second["requestId"], True)
        answered = await withdraw(at, second["requestId"])
        output = await at.output()
        (event,) = await at.happened("request_withdrawn")

    assert (unknown.status_code, elsewhere.status_code) == (404, 404)
    assert done.json() == {"message": "Request withdrawn", "instanceId": "r", "requestId": first["requestId"]}
    assert (done.status_code, again.status_code, late.status_code, answered.status_code) == (200, 409, 409, 409)
    assert pending == [second]
    assert (event["requestId"], event["executorId"]) == (first["requestId"], "asker")
    assert output == ["published: a: withdrawn, b: True"]


@pytest.mark.parametrize("steps", ["w", "yw", "wy"])
async def test_an_agent_is_told_that_what_was_to_be_approved_is_not(steps: str) -> None:
    amounts = (5, 7)[: len(steps)]
    till, other = Till(), Till()
    workflow = clerk(other, *amounts)
    result = await workflow.run("pay them")
    for asked, step in zip(result.get_request_info_events(), steps, strict=True):
        if step == "y":
            response = asked.data.to_function_approval_response(True)
            result = await workflow.run(responses={asked.request_id: response})
        else:
            result = await workflow.cancel_pending_requests([asked.request_id])
    expected = [output.text for output in result.get_outputs()]
    async with desk.hosted(desk.app_of(clerk(till, *amounts))) as start:
        at = await start("pay them")
        for parked, (request, step) in enumerate(zip(await at.parked(1), steps, strict=True), 1):
            if step == "y":
                await at.say(request["requestId"], True)
            else:
                assert (await withdraw(at, request["requestId"])).status_code == 200
            if parked < len(steps):
                await at.parked(parked + 1)
        await at.output()
        outputs = await at.host.outputs(at.run)

    assert [output.text for output in outputs] == expected
    assert till.paid == other.paid


class Operator(Executor):
    """Asks for two things to be done on a computer, and for a word."""

    def __init__(self) -> None:
        super().__init__(id="operator")
        self.gone: list[str] = []

    @handler
    async def operate(self, text: str, ctx: WorkflowContext[str, str]) -> None:
        for number in range(2):
            await ctx.request_info(
                Content("computer_tool_call", call_id=f"c{number}"), Content, request_id=f"c{number}"
            )
        await ctx.request_info(text, str, request_id="word")

    @response_handler
    async def hear(self, asked: str, answer: str, ctx: WorkflowContext[str, str]) -> None:
        await ctx.yield_output(answer)

    @response_handler
    async def see(self, asked: Content, answer: Content, ctx: WorkflowContext[str, str]) -> None:
        await ctx.yield_output("seen")

    async def _cancel_pending_request(self, request_id: str, ctx: WorkflowContext[Any, Any]) -> None:
        self.gone.append(request_id)
        if len(self.gone) == 3:
            await ctx.yield_output(", ".join(sorted(self.gone)))


async def test_with_a_call_of_the_computer_all_that_its_executor_asks_is_withdrawn() -> None:
    def build() -> Workflow:
        return WorkflowBuilder(start_executor=Operator(), name="operating").build()

    in_process = build()
    await in_process.run("x")
    expected = (await in_process.cancel_pending_requests(["c0"])).get_outputs()
    async with desk.hosted(desk.app_of(build)) as start:
        at = await start("x")
        await at.parked(1)
        assert (await withdraw(at, "c0")).status_code == 200
        again = await withdraw(at, "word")
        output = await at.output()

    assert again.status_code == 409
    assert output == expected == ["c0, c1, word"]


async def test_an_executor_that_has_no_use_for_it_lets_the_run_end() -> None:
    async with desk.hosted(desk.app_of(programs.buying)) as start:
        at = await start(2)
        for parked, request in enumerate(await at.parked(1), 1):
            assert (await withdraw(at, request["requestId"])).status_code == 200
            if parked < 2:
                await at.parked(parked + 1)
        output = await at.output()

    assert output == []


async def test_the_deadline_of_a_withdrawn_request_does_not_pass() -> None:
    deadlines = {"*": Deadline(0.4, answer=True)}
    async with desk.hosted(desk.app_of(asking, deadlines=deadlines)) as start:
        at = await start("a b")
        first, _ = await at.parked(1)
        assert (await withdraw(at, first["requestId"])).status_code == 200
        output = await at.output()
        expired = [event for event in await at.host.runs.events(at.run) if event.type == "request_expired"]

    assert output == ["published: a: withdrawn, b: True"]
    assert len(expired) == 1


async def test_a_request_that_the_parent_took_is_withdrawn_where_it_stands() -> None:
    async with desk.hosted(desk.app_of(nested.intercepted)) as start:
        at = await start("a longer text")
        (asked,) = await at.parked(1)
        assert (await withdraw(at, asked["requestId"])).status_code == 200
        output = await at.output()
    in_process = nested.intercepted()
    result = await in_process.run("a longer text")
    result = await in_process.cancel_pending_requests([event.request_id for event in result.get_request_info_events()])

    assert output == list(result.get_outputs()) == []
