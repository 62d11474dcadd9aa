"""The executors of a sub-workflow are steps of the run, each recorded by itself."""

from __future__ import annotations

import asyncio
import logging
import pathlib
from typing import Any

import pytest
from agent_framework import (
    Executor,
    Workflow,
    WorkflowBuilder,
    WorkflowContext,
    WorkflowEvent,
    WorkflowExecutor,
    handler,
)
from tests.people import desk, nested

from perdure import Retry
from perdure.workflow import orchestrator, run_state

STAGES = 4


class Site:
    """What the stages of a test's sub-workflow do, and did."""

    def __init__(self) -> None:
        self.did: list[str] = []
        self.broken: dict[str, int] = {}
        self.held = ""
        self.reached = asyncio.Event()
        self.gate = asyncio.Event()

    async def visit(self, stage: str) -> None:
        self.did.append(stage)
        if self.broken.get(stage, 0):
            self.broken[stage] -= 1
            raise ConnectionError(f"{stage} is broken")
        if stage == self.held:
            self.reached.set()
            await self.gate.wait()


SITE = Site()


@pytest.fixture(autouse=True)
def site() -> Site:
    vars(SITE).update(vars(Site()))
    return SITE


class Stage(Executor):
    """Passes on what it is given and counts in its attributes and in the shared state."""

    def __init__(self, number: int) -> None:
        super().__init__(id=f"s{number}")
        self.number = number
        self.times = 0

    @handler
    async def work(self, text: str, ctx: WorkflowContext[str, str]) -> None:
        await SITE.visit(self.id)
        self.times += 1
        ctx.set_state("seen", [*ctx.get_state("seen", []), self.id])
        if self.number < STAGES:
            await ctx.send_message(f"{text}{self.number}")
        else:
            await ctx.add_event(WorkflowEvent("data", data="here"))
            await ctx.yield_output(f"{text} {self.times} {ctx.get_state('seen')} {ctx.get_state('own')}")


class Loop(Executor):
    """Goes round as often as it is told."""

    @handler
    async def go(self, left: int, ctx: WorkflowContext[int, str]) -> None:
        SITE.did.append(f"{left}")
        if left:
            await ctx.send_message(left - 1)
        else:
            await SITE.visit("end")
            await ctx.yield_output("round")


class Outer(Executor):
    """Sets a key that the sub-workflow must not see, and passes on what it is given."""

    @handler
    async def relay(self, text: str, ctx: WorkflowContext[str]) -> None:
        ctx.set_state("own", "of the parent")
        for word in text.split("|"):
            await ctx.send_message(word)


def stages() -> Workflow:
    made = [Stage(number) for number in range(1, STAGES + 1)]
    return WorkflowBuilder(start_executor=made[0], name="stages").add_chain(made).build()


def wrapped(inner: Workflow, levels: int, **options: Any) -> Workflow:
    for level in range(levels, 1, -1):
        child = WorkflowExecutor(inner, id=f"level{level}", allow_direct_output=True)
        inner = WorkflowBuilder(start_executor=child, name=f"inner{level}").build()
    outer, child = Outer(id="outer"), WorkflowExecutor(inner, id="level1", **options)
    publisher = nested.Publisher(id="publisher")
    return WorkflowBuilder(start_executor=outer, name="parent").add_chain([outer, child, publisher]).build()


def looping(limit: int) -> Workflow:
    loop = Loop(id="loop")
    inner = WorkflowBuilder(start_executor=loop, name="looping", max_iterations=limit).add_edge(loop, loop).build()
    child = WorkflowExecutor(inner, id="level1", allow_direct_output=True)
    return WorkflowBuilder(start_executor=child, name="parent").build()


OUTPUT = "published: x123 1 ['s1', 's2', 's3', 's4'] None"


async def rewind(at: Any) -> None:
    answer = await at.client.post(f"{at.host.url}/api/runs/{at.run}/rewind")
    assert answer.status_code == 202, answer.text


async def failed(at: Any) -> Any:
    run = await at.host.runs.wait(at.run, desk.PATIENCE_SECONDS)
    assert run is not None and run.status == "Failed", run
    return run.failure


@pytest.mark.parametrize("levels", [1, 3])
@pytest.mark.parametrize("crash", [True, False])
async def test_a_step_inside_that_is_recorded_is_not_run_again(site: Site, levels: int, crash: bool) -> None:
    site.held = "s3"
    async with desk.hosted(desk.app_of(lambda: wrapped(stages(), levels))) as start:
        at = await start("x")
        await site.reached.wait()
        site.reached.clear()
        site.gate.set()
        if crash:
            site.gate.clear()
            await at.again()
            await site.reached.wait()
            site.gate.set()
        output = await at.output()

    assert output == [OUTPUT]
    assert site.did == (["s1", "s2", "s3", "s3", "s4"] if crash else ["s1", "s2", "s3", "s4"])


async def test_each_input_has_a_turn_and_what_the_sub_workflow_keeps_stays_also_after_a_crash(site: Site) -> None:
    async with desk.hosted(desk.app_of(lambda: wrapped(stages(), 2))) as start:
        site.held = "s2"
        at = await start("x|y")
        await site.reached.wait()
        await at.again()
        site.gate.set()
        output = await at.output()
    in_process = (await wrapped(stages(), 2).run("x|y")).get_outputs()

    assert output == in_process
    assert "y123 2 " in output[1]


@pytest.mark.parametrize("levels", [1, 2])
@pytest.mark.parametrize("crash", [True, False])
async def test_a_run_that_failed_inside_is_rewound_to_where_it_failed(site: Site, levels: int, crash: bool) -> None:
    site.broken["s3"] = 1
    async with desk.hosted(desk.app_of(lambda: wrapped(stages(), levels))) as start:
        at = await start("x")
        failure = await failed(at)
        if crash:
            await at.again()
        await rewind(at)
        output = await at.output()

    assert (failure.type, failure.message) == ("ConnectionError", "s3 is broken")
    assert output == [OUTPUT]
    assert site.did == ["s1", "s2", "s3", "s3", "s4"]


class Beside(Executor):
    """Fails while a stage of the sub-workflow works."""

    @handler
    async def work(self, text: str, ctx: WorkflowContext[str, str]) -> None:
        await SITE.reached.wait()
        await SITE.visit(self.id)
        await ctx.yield_output(self.id)


@pytest.mark.parametrize("crash", [True, False])
async def test_a_run_that_failed_beside_a_sub_workflow_is_rewound_with_what_that_had_done(
    site: Site, crash: bool
) -> None:
    def beside() -> Workflow:
        outer, child, publisher = Outer(id="outer"), WorkflowExecutor(stages(), id="level1"), nested.Publisher(id="p")
        builder = WorkflowBuilder(start_executor=outer, name="parent")
        return builder.add_fan_out_edges(outer, [child, Beside(id="beside")]).add_edge(child, publisher).build()

    site.held = "s3"
    site.broken["beside"] = 1
    async with desk.hosted(desk.app_of(beside)) as start:
        at = await start("x")
        failure = await failed(at)
        if crash:
            await at.again()
        site.gate.set()
        await rewind(at)
        output = await at.output()

    assert failure.message == "beside is broken"
    assert sorted(output) == ["beside", OUTPUT]
    assert sorted(site.did) == ["beside", "beside", "s1", "s2", "s3", "s3", "s4"]


async def test_a_sub_workflow_whose_outputs_could_not_be_routed_does_not_work_again_when_rewound(site: Site) -> None:
    def choosy() -> Workflow:
        def condition(text: Any) -> bool:
            site.did.append("condition")
            if site.broken.pop("condition", 0):
                raise LookupError("which way?")
            return True

        child, publisher = WorkflowExecutor(stages(), id="level1"), nested.Publisher(id="p")
        builder = WorkflowBuilder(start_executor=child, name="parent")
        return builder.add_edge(child, publisher, condition=condition).build()

    site.broken["condition"] = 1
    async with desk.hosted(desk.app_of(choosy)) as start:
        at = await start("x")
        failure = await failed(at)
        await rewind(at)
        output = await at.output()

    assert failure.type == "LookupError"
    assert output == [OUTPUT]
    assert site.did == ["s1", "s2", "s3", "s4", "condition", "condition"]


@pytest.mark.parametrize("key", ["s3", "level1", "*"])
async def test_a_step_inside_is_tried_again_by_itself(site: Site, key: str) -> None:
    site.broken["s3"] = 2
    retry = {key: Retry(attempts=3, first_delay_seconds=0.0, jitter=0.0, on=ConnectionError)}
    async with desk.hosted(desk.app_of(lambda: wrapped(stages(), 2), retry=retry)) as start:
        at = await start("x")
        output = await at.output()
        retried = [event.data for event in await at.host.runs.events(at.run) if event.type == "executor_retry"]

    assert output == [OUTPUT]
    assert site.did == ["s1", "s2", "s3", "s3", "s3", "s4"]
    assert [(event["executorId"], event["path"]) for event in retried] == [("s3", ["level1", "level2"])] * 2


async def test_a_sub_workflow_that_takes_too_long_fails_and_has_its_time_again_when_rewound(site: Site) -> None:
    site.held = "s3"
    timeouts = {"level1": 0.3}
    async with desk.hosted(desk.app_of(lambda: wrapped(stages(), 2), timeouts=timeouts)) as start:
        at = await start("x")
        failure = await failed(at)
        site.gate.set()
        await rewind(at)
        output = await at.output()

    assert (failure.type, failure.message) == (
        "TimeoutError",
        "Executor 'level1' did not finish within 0.3 s; it was cancelled.",
    )
    assert output == [OUTPUT]
    assert site.did == ["s1", "s2", "s3", "s3", "s4"]


async def test_the_events_tell_what_goes_on_inside_and_where(site: Site) -> None:
    async with desk.hosted(desk.app_of(lambda: wrapped(stages(), 2))) as start:
        at = await start("x")
        await at.output()
        events = [event for event in await at.host.runs.events(at.run) if event.data.get("executorId")]

    inside = [(event.type, event.data["executorId"]) for event in events if "path" in event.data]
    assert {tuple(event.data["path"]) for event in events if "path" in event.data} == {
        ("level1",),
        ("level1", "level2"),
    }
    assert inside == [
        ("executor_invoked", "level2"),
        *(
            step
            for number in range(1, STAGES + 1)
            for step in [
                ("executor_invoked", f"s{number}"),
                *([("data", "s4")] if number == STAGES else []),
                ("executor_completed", f"s{number}"),
            ]
        ),
        ("executor_completed", "level2"),
    ]
    outside = [(event.type, event.data["executorId"]) for event in events if "path" not in event.data]
    assert outside == [
        (type, name) for name in ("outer", "level1") for type in ("executor_invoked", "executor_completed")
    ] + [("executor_invoked", "publisher"), ("output", "publisher"), ("executor_completed", "publisher")]


@pytest.mark.parametrize("factory", [True, False])
async def test_a_sub_workflow_without_a_name_is_the_same_in_each_process(site: Site, factory: bool) -> None:
    def build() -> Workflow:
        inner = WorkflowBuilder(start_executor=Stage(STAGES)).build()
        child = WorkflowExecutor(inner, id="level1", allow_direct_output=True)
        return WorkflowBuilder(start_executor=child, name="parent").build()

    one, other = (desk.app_of(build if factory else build()).hosted_workflows["parent"] for _ in range(2))

    assert one.shape == other.shape


async def test_the_graph_shows_those_of_sub_workflows() -> None:
    async with desk.hosted(desk.app_of(lambda: wrapped(stages(), 2))) as start:
        at = await start("x")
        graph = (await at.client.get(f"{at.host.url}/api/workflow/parent")).json()
    inner = {node["id"]: node for node in graph["nodes"]}["level1"]["workflow"]
    innermost = inner["nodes"][0]["workflow"]

    assert (inner["name"], inner["start"], innermost["name"]) == ("inner2", "level2", "stages")
    assert [node["id"] for node in innermost["nodes"]] == ["s1", "s2", "s3", "s4"]
    assert innermost["edges"][0] == {"from": "s1", "to": "s2", "kind": "single"}


async def test_a_run_that_is_cancelled_inside_ends_there_and_leaves_nothing(site: Site) -> None:
    site.held = "s2"
    async with desk.hosted(desk.app_of(lambda: wrapped(stages(), 2))) as start:
        at = await start("x")
        await site.reached.wait()
        listed = (await at.client.get(f"{at.host.url}/api/runs")).json()["runs"]
        cancelled = await at.client.post(f"{at.host.url}/api/runs/{at.run}/cancel")
        site.gate.set()
        await at.again(crash=False)
        status = await at.status()
        purged = await at.client.delete(f"{at.host.url}/api/runs/{at.run}")
        left = (await at.client.get(f"{at.host.url}/api/runs")).json()["runs"]

    assert [run["instanceId"] for run in listed] == ["r"]
    assert (cancelled.status_code, status["runtimeStatus"]) == (200, "Terminated")
    assert site.did == ["s1", "s2"]
    assert (purged.status_code, left) == (204, [])


async def test_the_supersteps_of_a_sub_workflow_are_counted_for_each_input() -> None:
    async with desk.hosted(desk.app_of(lambda: looping(4))) as start:
        enough = await (await start(3, "enough")).output()
        failure = await failed(await start(4, "more"))
    with pytest.raises(Exception, match="did not converge after 4 iterations"):
        await looping(4).run(4)

    assert enough == ["round"]
    assert failure.type == "WorkflowConvergenceException"


@pytest.mark.embedded
async def test_a_long_sub_workflow_is_resumed_from_where_it_was_kept(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    resumed: list[run_state.RunState] = []
    resume = orchestrator.WorkflowOrchestrator.resume

    def noting(self: orchestrator.WorkflowOrchestrator, host: Any, call: bytes, state: bytes) -> Any:
        resumed.append(run_state.decode(state))
        return resume(self, host, call, state)

    monkeypatch.setattr(orchestrator.WorkflowOrchestrator, "resume", noting)
    site.held = "end"
    async with desk.hosted(desk.app_of(lambda: looping(1000))) as start:
        at = await start(300)
        await site.reached.wait()
        await at.again()
        site.gate.set()
        output = await at.output()

    assert output == ["round"]
    ((turn,),) = [state.turns for state in resumed]
    assert turn.state is not None and turn.state.superstep > 200
    assert site.did[:-2] == [*(str(left) for left in range(300, -1, -1)), "end"]
    assert site.did[-2:] == ["0", "end"]


@pytest.mark.embedded
async def test_an_executor_inside_that_the_code_no_longer_has_parks_the_run(
    site: Site, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.held = "s2"
    app = desk.app_of(lambda: wrapped(stages(), 1))
    async with desk.hosted(app, hub=tmp_path) as start:
        await start("x")
        await site.reached.wait()
    said_so = asyncio.Event()
    loop = asyncio.get_running_loop()
    told = logging.Handler(logging.WARNING)
    told.emit = lambda record: loop.call_soon_threadsafe(said_so.set)  # type: ignore[method-assign,assignment]
    monkeypatch.setattr(logging.getLogger("perdure"), "handlers", [told])
    shorter = Stage(1)
    less = WorkflowBuilder(start_executor=shorter, name="stages").build()
    async with desk.hosted(desk.app_of(wrapped(less, 1)), hub=tmp_path) as start:
        at = await start("x", "another")
        at.run = "r"
        await said_so.wait()
        said = (await at.status())["customStatus"]["waitingFor"]

    assert "'level1/s2'" in said
