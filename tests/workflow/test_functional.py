from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from agent_framework import FunctionalWorkflowDefinition, RunContext, step, workflow
from tests import polling
from tests.people import desk
from tests.workflow import functions, support

from perdure import Deadline, Retry

PROGRAMS: list[tuple[FunctionalWorkflowDefinition, Any]] = [
    (functions.chain, functions.Order("pencil", 3)),
    (functions.wide, 4),
    (functions.nested, 3),
    (functions.twice, 5),
    (functions.stepless, "hello"),
    (functions.silent, "hello"),
    (functions.emitting, 4),
    (functions.failing, 4),
    (functions.catching, 4),
]


@pytest.fixture(autouse=True)
def calls() -> Iterator[list[str]]:
    functions.CALLS.clear()
    yield functions.CALLS
    functions.CALLS.clear()


@pytest.mark.parametrize("mode", support.MODES)
@pytest.mark.parametrize(("program", "value"), PROGRAMS, ids=[program.name for program, _ in PROGRAMS])
async def test_a_functional_workflow_does_hosted_what_it_does_in_process(
    program: FunctionalWorkflowDefinition, value: Any, mode: support.Mode, calls: list[str]
) -> None:
    outputs, state, failure = await functions.in_process(program, value)
    expected = sorted(calls)
    calls.clear()

    hosted = await support.hosted_run(lambda: program, value, mode=mode)

    assert hosted.outputs == outputs
    assert hosted.state == state
    assert ("" if hosted.failure is None else ": ".join(hosted.failure)) == failure
    if mode == "steady":
        assert sorted(calls) == expected


@pytest.mark.parametrize("mode", support.MODES)
async def test_a_step_that_returned_is_not_run_again_in_whatever_process(mode: support.Mode, calls: list[str]) -> None:
    await support.hosted_run(lambda: functions.chain, functions.Order("pencil", 3), mode=mode)

    assert calls == ["price pencil", "double 18", "double 36", "double 72"]


async def test_of_steps_beside_each_other_each_is_recorded_as_it_returns() -> None:
    result = await support.hosted_run(lambda: functions.wide, 3)
    completed = [data["superstep"] for kind, data in result.events if kind == "executor_completed"
                 and data["executorId"] == "later"]  # fmt: skip

    assert len(completed) == 3
    assert len(set(completed)) > 1, "they would all be lost with the last one"


async def test_the_function_stays_where_it_is_while_a_step_is_recorded(calls: list[str]) -> None:
    @workflow
    async def body(number: int) -> int:
        calls.append("body")
        return await functions.double(await functions.double(number))

    await support.hosted_run(lambda: body, 1)

    assert calls == ["body", "double 1", "double 2"]


async def test_steps_have_events_and_a_failed_run_its_reason() -> None:
    result = await support.hosted_run(lambda: functions.failing, 4)
    steps = [(kind, data["executorId"]) for kind, data in result.events if data.get("executorId") == "double"]

    assert steps == [("executor_invoked", "double"), ("executor_completed", "double")]
    assert result.failure == ("LookupError", "no 8")


async def test_custom_events_are_logged_once() -> None:
    result = await support.hosted_run(lambda: functions.emitting, 4)

    assert [data["data"] for kind, data in result.events if kind == "progress"] == [{"at": 1}, {"at": 2}]


@pytest.mark.parametrize("mode", support.MODES)
async def test_a_step_that_raised_is_tried_again_without_those_before_it(mode: support.Mode, calls: list[str]) -> None:
    functions.TROUBLE.extend(ConnectionError("gone") for _ in range(2))
    retry = {"fragile": Retry(attempts=3, first_delay_seconds=0.0, on=ConnectionError)}
    result = await support.hosted_run(lambda: functions.fragile, 4, mode=mode, retry=retry)

    assert result.outputs == [8]
    assert calls == ["double 4", "flaky 8", "flaky 8", "flaky 8"]


async def test_a_timeout_ends_a_step_that_takes_too_long(calls: list[str]) -> None:
    result = await support.hosted_run(lambda: functions.endless, 4, timeouts={"endless": 0.05})

    assert result.failure is not None and result.failure[0] == "TimeoutError"
    assert calls == ["double 4", "forever", "cancelled"]


async def test_a_sibling_that_returned_before_a_step_raised_is_not_run_again(calls: list[str]) -> None:
    functions.TROUBLE.append(ConnectionError("gone"))
    retry = {"partly": Retry(attempts=2, first_delay_seconds=0.0, on=ConnectionError)}
    result = await support.hosted_run(lambda: functions.partly, 4, retry=retry)

    assert result.outputs == [[8, 4]]
    assert calls.count("double 4") == 1
    assert calls.count("flaky 4") == 2


async def test_what_a_step_returns_that_cannot_be_encoded_fails_the_run_and_says_which() -> None:
    result = await support.hosted_run(lambda: functions.opaque, 4)

    assert result.failure is not None
    assert "What step 'connect' returned" in result.failure[1]


def test_a_step_whose_results_cannot_be_told_apart_is_refused_when_the_app_is_built() -> None:
    captured = object()

    @step
    async def lost(number: int) -> int:
        return number if captured else 0

    @workflow
    async def losing(number: int) -> int:
        return await lost(number)

    with pytest.raises(ValueError, match=r"'lost' of workflow 'losing' cannot be recorded.*replay_key"):
        support.app_of(losing)


def test_a_function_without_an_input_is_refused_when_the_app_is_built() -> None:
    @workflow
    async def nightly(ctx: RunContext) -> None: ...

    with pytest.raises(ValueError, match="'nightly' takes no input"):
        support.app_of(nightly)


@pytest.mark.parametrize("source", [functions.double, lambda: "text", 3], ids=["step", "factory", "number"])
def test_what_is_no_workflow_is_refused_when_the_app_is_built(source: Any) -> None:
    with pytest.raises(ValueError, match=r"must be a Workflow, a @workflow function"):
        support.app_of(source)


def test_an_async_factory_is_refused_when_the_app_is_built() -> None:
    async def factory() -> Any:
        return functions.chain

    with pytest.raises(ValueError, match="cannot be async"):
        support.app_of(factory)  # type: ignore[arg-type]  # that is the mistake


SOURCES: list[Any] = [
    functions.chain,
    functions.chain.build(),
    lambda: functions.chain,
    functions.chain.build,
]


@pytest.mark.parametrize("source", SOURCES, ids=["definition", "instance", "factory", "builder"])
async def test_a_functional_workflow_is_given_like_any_other(source: Any) -> None:
    async with desk.hosted(desk.app_of(source)) as start:
        at = await start(functions.Order("ink", 2))
        output = await at.output()

    assert at.workflow == "chain"
    assert output == [{"order": {"article": "ink", "pieces": 2}, "sum": 48}]


async def test_runs_of_one_functional_workflow_share_nothing() -> None:
    process = support.Process(lambda: functions.chain)
    orders = [functions.Order("x" * number, 1) for number in range(1, 8)]
    results = await support.gather_runs(process, orders)

    assert [result.outputs[0]["sum"] for result in results] == [8 * number for number in range(1, 8)]
    assert [result.state["price"] for result in results] == list(range(1, 8))


# Over HTTP.


async def test_the_body_of_a_start_is_read_as_the_type_of_the_parameter() -> None:
    async with desk.hosted(desk.app_of(functions.chain)) as start:
        at = await start(functions.Order("ink", 2))
        url = f"{at.host.url}/api/workflow/chain/run"
        good = await at.client.post(url, json={"article": "pen", "pieces": 2}, headers={"Prefer": "wait=10"})
        bad = await at.client.post(url, json={"article": "pen", "pieces": "many"})

    assert good.json()["output"] == [{"order": {"article": "pen", "pieces": 2}, "sum": 48}]
    assert bad.status_code == 400 and bad.json()["errors"][0]["pointer"] == "/pieces"


async def test_the_description_shows_the_function_its_steps_and_its_input() -> None:
    async with desk.hosted(desk.app_of(functions.nested)) as start:
        at = await start(1)
        shown = (await at.client.get(f"{at.host.url}/api/workflow/nested")).json()

    assert shown["start"] == "nested"
    assert shown["nodes"] == [
        {"id": "nested", "type": "function"},
        {"id": "double", "type": "step"},
        {"id": "outer", "type": "step"},
    ]
    assert shown["edges"] == [
        {"from": "nested", "to": "double", "kind": "calls"},
        {"from": "nested", "to": "outer", "kind": "calls"},
    ]
    assert shown["inputSchema"] == {"type": "integer"}
    assert "nested" in shown["mermaid"] and "outer" in shown["mermaid"]


APPROVE = {"approved": True, "note": "fine"}


def said(request: str, asked: Any) -> Any:
    return "Ann" if request == "signature" else functions.Verdict(approved=True, note="fine")


@pytest.mark.parametrize("restarts", [False, True])
async def test_a_function_pauses_for_requests_and_goes_on_with_their_answers(restarts: bool, calls: list[str]) -> None:
    outputs, _, _ = await functions.in_process(functions.reviewed, functions.Order("ink", 2), said)
    calls.clear()
    async with desk.hosted(desk.app_of(functions.reviewed)) as start:
        at = await start(functions.Order("ink", 2))
        (first,) = await at.parked(1)
        if restarts:
            await at.again()
        assert (await at.answer(first["requestId"], {"approved": "perhaps"})).status_code == 422
        await at.say(first["requestId"], APPROVE)
        (second,) = await at.parked(2)
        if restarts:
            await at.again()
        assert (await at.answer(first["requestId"], APPROVE)).status_code == 409
        await at.say(second["requestId"], "Ann")
        output = await at.output()

    assert output == outputs
    assert first["requestData"] == {"article": "ink", "pieces": 6}
    assert first["responseType"].endswith("functions:Verdict") and first["requestType"].endswith("functions:Order")
    assert first["responseSchema"]["required"] == ["approved"]
    assert (second["requestId"], second["responseSchema"]) == ("signature", {"type": "string"})
    assert calls == ["price ink", "double 6"]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
async def test_requests_of_steps_beside_each_other_are_answered_in_any_order(order: tuple[int, ...]) -> None:
    async with desk.hosted(desk.app_of(functions.panel)) as start:
        at = await start(3)
        open_requests = {asked["requestData"]["number"]: asked["requestId"] for asked in await at.parked(1)}
        assert len(open_requests) == 3
        for position, number in enumerate(order, 1):
            await at.say(open_requests[number], {"approved": True, "note": f"n{number}"})
            if position < len(order):
                left = await at.parked(position + 1)
                assert {asked["requestData"]["number"] for asked in left} == set(order[position:])
        output = await at.output()
        events = await at.host.runs.events(at.run)

    assert output == [["0:True:n0", "1:True:n1", "2:True:n2"]]
    assert sum(event.type == "request_info" for event in events) == 3, "each is announced once"


@pytest.mark.parametrize("restarts", [False, True])
async def test_a_request_after_a_step_that_asked_is_another_request(restarts: bool) -> None:
    said: list[Any] = [{"approved": True, "note": "fine"}, "Ann", {"approved": False, "note": "dear"}, 4]
    async with desk.hosted(desk.app_of(functions.follow_up)) as start:
        at = await start(1)
        asked: list[str] = []
        for turn, answer in enumerate(said, 1):
            (request,) = await at.parked(turn)
            if restarts:
                await at.again()
            asked.append(request["requestId"])
            await at.say(request["requestId"], answer)
        output = await at.output()

    assert output == [["1:True:fine", "Ann", "2:False:dear", 4]]
    assert len(set(asked)) == len(said)


async def test_a_request_that_is_not_made_again_is_withdrawn_and_holds_up_nothing() -> None:
    async with desk.hosted(desk.app_of(functions.either)) as start:
        at = await start(1)
        assert {asked["requestId"] for asked in await at.parked(1)} == {"first", "second"}
        await at.say("first", "yes")
        output = await at.output()
        withdrawn = await at.happened("request_withdrawn")
        late = await at.answer("second", "no")

    assert output == ["yes"]
    assert [data["requestId"] for data in withdrawn] == ["second"]
    assert late.status_code == 409


async def test_a_failed_function_is_rewound_to_the_step_that_raised(calls: list[str]) -> None:
    functions.TROUBLE.append(LookupError("not there"))
    async with desk.hosted(desk.app_of(functions.fragile)) as start:
        at = await start(4)
        run = await at.host.runs.wait(at.run, 10)
        assert run is not None and run.failure is not None and run.failure.message == "not there"
        assert await at.host.runs.rewind(at.run)
        output = await at.output()

    assert output == [8]
    assert calls == ["double 4", "flaky 8", "flaky 8"]


@pytest.mark.embedded
async def test_a_terminated_run_leaves_no_step_running(calls: list[str]) -> None:
    async with desk.hosted(desk.app_of(functions.endless)) as start:
        at = await start(4)
        await at.happened("superstep_started", 2)
        await polling.until(lambda: calls, lambda calls: "forever" in calls)
        assert await at.host.runs.terminate(at.run, "enough")
        await polling.until(lambda: calls, lambda calls: "cancelled" in calls)

    assert calls == ["double 4", "forever", "cancelled"]


async def test_a_function_learns_the_address_of_the_answer_to_its_request(calls: list[str]) -> None:
    async with desk.hosted(desk.app_of(functions.mailing)) as start:
        at = await start("approve?")
        await at.parked(1)
        answer = await at.client.post(calls[0], json=True)
        output = await at.output()

    assert calls[0].endswith("/api/workflow/mailing/respond/r/approval") and answer.status_code == 200
    assert output == ["True False"]


async def test_a_function_is_told_that_its_run_streams_and_takes_no_tools_that_would_reach_nobody() -> None:
    media = {"content-type": "application/vnd.perdure.run+json"}
    async with desk.hosted(desk.app_of(functions.mailing)) as start:
        at = await start("approve?", "first")
        url = f"{at.host.url}/api/workflow/mailing/run"
        streams = await at.client.post(f"{url}?runId=s", content=b'{"input": "x", "stream": true}', headers=media)
        at.run = "s"
        await at.parked(1)
        await at.say("approval", False)
        output = await at.output()
        refused = await at.client.post(url, content=b'{"input": "x", "client_kwargs": {"a": 1}}', headers=media)

    assert streams.status_code == 202, streams.text
    assert output == ["False True"]
    assert refused.status_code == 400 and "Make them part of its input" in refused.json()["error"]


async def test_a_withdrawn_request_fails_the_run_that_cannot_go_on_without_its_answer() -> None:
    async with desk.hosted(desk.app_of(functions.mailing)) as start:
        at = await start("approve?")
        (asked,) = await at.parked(1)
        gone = await at.client.delete(asked["respondUrl"])
        run = await at.host.runs.wait(at.run, 10)

    assert gone.status_code in (200, 204), gone.text
    assert run is not None and run.failure is not None and run.failure.type == "RequestWithdrawn"


async def test_deadlines_answer_what_a_function_asks() -> None:
    app = desk.app_of(functions.mailing, deadlines={"mailing": Deadline(0.05, answer=True)})
    async with desk.hosted(app) as start:
        output = await (await start("approve?")).output()

    assert output == ["True False"]
