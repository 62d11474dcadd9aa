"""Runs one workflow in process and hosted, and gives both runs in a form that can be compared."""

from __future__ import annotations

import asyncio
import itertools
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from agent_framework import Workflow, normalize_tools
from tests.workflow import lived

from perdure import app as app_module
from perdure.payloads import refs, store
from perdure.testing import memory_engine
from perdure.workflow import function_executor, hosted, orchestrator, protocol, run_state

TESTS = pathlib.Path(__file__).parents[1]

Build = Callable[[], function_executor.Hostable]
Mode = Literal["steady", "rebuilt", "thirds", "fresh"]

lives = False
"""Whether hosted runs have lives, as on engines that replay; ``--replay`` sets it."""

MODES: tuple[Mode, ...] = ("steady", "rebuilt", "thirds", "fresh")
"""Never rebuilt; rebuilt from its history after every landing; after every third; and each step in a new process."""

Answerer = Callable[[Any], Any]
"""Gives the answer to what was asked."""

_OF_THE_RUNNER = frozenset(
    {
        *("started", "status", "superstep_started", "superstep_completed", "completed", "failed", "parked", "rewound"),
        *("executor_invoked", "executor_completed", "executor_failed", "executor_bypassed", "warning", "error"),
        *("output", "intermediate", "data", "request_info", "response"),
    }
)

_EVERY: Mapping[Mode, int] = {"steady": 0, "rebuilt": 1, "thirds": 3, "fresh": 1}
_ids = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Result:
    """What a run did.

    Attributes:
        outputs: What it yielded, in order.
        intermediate: Its intermediate outputs.
        state: Its final shared state, without the framework's own keys; empty if it failed.
        supersteps: Who was invoked in each superstep, and with what.
        failure: Type and message of what it failed with.
        asked: Who asked, and what, in the order in which it was answered.
        events: Type and data of each event; in process only those that are the workflow's own, without data.
        run: The run's id, hosted runs only.
        reserved: What the framework keeps in the shared state for the arguments of a run.
    """

    outputs: list[Any] = field(default_factory=list)
    intermediate: list[Any] = field(default_factory=list)
    state: dict[str, Any] = field(default_factory=dict)
    supersteps: list[list[tuple[str, Any]]] = field(default_factory=list)
    failure: tuple[str, str] | None = None
    asked: list[tuple[str, Any]] = field(default_factory=list)
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    run: str = ""
    reserved: dict[str, Any] = field(default_factory=dict)

    def received(self, executor: str) -> list[Any]:
        """What an executor was given, in order."""
        return [value for step in self.supersteps for invoked, value in step if invoked == executor]

    def invoked(self) -> list[list[str]]:
        """The executors of each superstep, sorted."""
        return [sorted(executor for executor, _ in step) for step in self.supersteps]

    def own_events(self) -> list[str]:
        """The types of the events that the workflow made up."""
        return sorted(kind for kind, _ in self.events if kind not in _OF_THE_RUNNER)

    def warnings(self, code: str) -> list[dict[str, Any]]:
        """The warning events of a kind."""
        return [data for kind, data in self.events if kind == "warning" and data.get("code") == code]


async def in_process(
    workflow: Workflow,
    value: Any,
    on_superstep: Callable[[], None] = lambda: None,
    *,
    answer: Answerer | None = None,
    **options: Any,
) -> Result:
    """Run with ``Workflow.run()``: what it does there is what it must do when hosted.

    Args:
        workflow: The workflow.
        value: Its input.
        on_superstep: Told when a superstep begins.
        answer: Answers what it asks, always the request that is open for longest; nobody does if not given.
        options: What else the run is given: tools and such.
    """
    result = Result()
    failure: tuple[str, str] | None = None
    asked: dict[str, Any] = {}
    given: dict[str, Any] = {"message": value, **options}
    if "tools" in options:
        workflow._runner.context.set_runtime_tools(normalize_tools(options["tools"]))  # pyright: ignore[reportPrivateUsage]
    try:
        while given:
            # What run() without a stream does, event by event: there a failed run gives none.
            async for event in workflow._run_core(**given):  # pyright: ignore[reportPrivateUsage]
                if event.type == "superstep_started":
                    on_superstep()
                    result.supersteps.append([])
                elif event.type == "executor_invoked":
                    result.supersteps[-1].append((event.executor_id or "", event.data))
                elif event.type == "output":
                    result.outputs.append(event.data)
                elif event.type == "intermediate":
                    result.intermediate.append(event.data)
                elif event.type == "request_info":
                    asked[event.request_id] = event
                elif event.type not in _OF_THE_RUNNER:
                    result.events.append((event.type, {}))
            if result.supersteps and not result.supersteps[-1]:
                # In process a superstep also passes when what was sent reached nobody; a hosted run is over then.
                result.supersteps.pop()
            given = {}
            if answer is not None and asked:
                request = next(iter(asked))
                event = asked.pop(request)
                result.asked.append((event.source_executor_id, event.data))
                streaming = {"streaming": options["streaming"]} if "streaming" in options else {}
                given = {"responses": {request: answer(event.data)}, **streaming}
    except Exception as error:
        failure = (type(error).__name__, str(error))
        if result.supersteps and not result.supersteps[-1]:
            result.supersteps.pop()
    state = {} if failure else workflow._runner.state.export_state()  # pyright: ignore[reportPrivateUsage]
    return replace(result, state=_user_state(state), reserved=_framework_state(state), failure=failure)


def app_of(workflow: hosted.Source, **options: Any) -> app_module.AgentFunctionApp:
    """Host a workflow; the classes of these tests are the app's own."""
    return app_module.AgentFunctionApp(workflow=workflow, app_folder=TESTS, **options)


def sole(app: app_module.AgentFunctionApp) -> hosted.HostedWorkflow:
    """The only workflow of an app."""
    (found,) = app.hosted_workflows.values()
    return found


class Process:
    """A hosted workflow on a store, as one process has it.

    Args:
        build: Builds the workflow.
        options: What the app is constructed with.
        payloads: The store; a new one if not given.
    """

    def __init__(self, build: Build, payloads: store.PayloadStore | None = None, **options: Any) -> None:
        self.build = build
        self.options = options
        self.payloads = payloads if payloads is not None else store.MemoryPayloadStore()
        self.app = app_of(build(), **options)
        self.hosted = sole(self.app)
        self.bound = self.hosted.bind(self.payloads)

    def again(self) -> Process:
        """The same app in a new process, over the same store."""
        return Process(self.build, self.payloads, **self.options)

    def engine(
        self, mode: Mode = "steady", on_turn: Callable[[str], None] = lambda run: None
    ) -> tuple[memory_engine.MemoryEngine, Watched]:
        """Give an engine, and what watches its activities."""
        watched = Watched(self, fresh=mode == "fresh")
        if lives:
            landings = 0 if mode == "steady" else 1
            made = lived.LivedEngine(
                self.bound.orchestrator,
                watched,
                self.payloads,
                landings=landings,
                rebuild_every=_EVERY[mode],
                on_turn=on_turn,
            )
            return made, watched
        engine = memory_engine.MemoryEngine(
            {self.bound.orchestrator.name: self.bound.orchestrator},
            watched,
            payloads=self.payloads,
            rebuild_every=_EVERY[mode],
            on_turn=on_turn,
        )
        return engine, watched

    async def run(
        self,
        value: Any,
        *,
        mode: Mode = "steady",
        run: str = "",
        trace: dict[str, str] | None = None,
        answer: Answerer | None = None,
        given: dict[str, Any] | None = None,
    ) -> Result:
        """Run to the end; with ``answer``, the request that is open for longest is answered whenever it waits."""
        run = run or f"run-{next(_ids)}"
        ref, blobs = self.hosted.encode(value)
        options, more = self.hosted.options(**given or {})
        await self.payloads.put(run, [*blobs, *more])
        turned = asyncio.Event()
        engine, watched = self.engine(mode, lambda _: turned.set())
        async with asyncio.TaskGroup() as group:
            running = group.create_task(
                engine.run(self.bound.orchestrator.name, run, self.bound.start(ref, trace or {}, options))
            )
            running.add_done_callback(lambda _: turned.set())
            asked = [] if answer is None else await self._answer(engine, run, answer, turned, running)
        ended = running.result()
        told = await engine.told(run) if isinstance(engine, lived.LivedEngine) else engine.events[run]
        events = [self.bound.event(run, data) for data in told]
        events = [(kind, data) for kind, data in events if "path" not in data]
        failure = (ended.failure.type, ended.failure.message) if ended.failure else None
        steps = [watched.calls[number] for number in sorted(watched.calls)]
        return Result(
            [] if ended.output is None else self.bound.outputs(run, ended.output),
            [data["data"] for kind, data in events if kind == "intermediate"],
            {} if ended.output is None else _user_state(self.bound.state(run, ended.output)),
            [[(executor, value) for _, executor, value in sorted(step, key=_ordinal)] for step in steps],
            failure,
            asked,
            events,
            run,
            {} if ended.output is None else _framework_state(self.bound.state(run, ended.output)),
        )

    async def _answer(
        self,
        engine: memory_engine.MemoryEngine,
        run: str,
        answer: Answerer,
        turned: asyncio.Event,
        running: asyncio.Task[protocol.Ended],
    ) -> list[tuple[str, Any]]:
        asked: list[tuple[str, Any]] = []
        answered: set[str] = set()
        while not running.done():
            turned.clear()
            said = engine.statuses.get(run)
            status = None if said is None else orchestrator.decode_status(said)
            if status is None or not status.idle or status.requests[0].id in answered:
                # An answer may come as a life ends; the next one is told.
                await turned.wait()
                continue
            request = status.requests[0]
            answered.add(request.id)
            values = (self.again() if engine.rebuild_every else self).bound.values_of(run)
            data = values.decode(request.data)
            asked.append((request.executor, data))
            kept: list[refs.Blob] = []
            given = orchestrator.encode_answer(
                run_state.Answer(request.id, values.encode(answer(data), kept, where="an answer"))
            )
            await self.payloads.put(run, kept)
            await engine.raise_event(run, orchestrator.ANSWER, given)
        return asked


class Watched(Mapping[str, protocol.Activity]):
    """A process's activities, each call of which is noted; if ``fresh``, each runs in a process of its own."""

    def __init__(self, process: Process, *, fresh: bool) -> None:
        self._process = process
        self._fresh = fresh
        self._names = process.bound.activity_names
        self.calls: dict[int, list[tuple[int, str, Any]]] = {}
        self.sizes: list[int] = []

    def __getitem__(self, name: str) -> protocol.Activity:
        return self._call

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    async def _call(self, instance_id: str, key: str, call: orchestrator.Call) -> protocol.Outcome:
        process = self._process.again() if self._fresh else self._process
        values = process.bound.values_of(instance_id)
        delivery: run_state.Delivery = call.delivery
        if not call.path and call.turned is None:
            # What goes on inside a sub-workflow, and its end, are no deliveries of the run's own supersteps.
            decoded = [values.decode(ref) for ref in delivery.messages]
            noted = (delivery.ordinal, delivery.executor, decoded if delivery.joined else decoded[0])
            self.calls.setdefault(call.superstep, []).append(noted)
        outcome = await process.bound.activities(instance_id, key, call)
        if self._fresh:
            # What the process was still at ends with it.
            process.bound.activities.release(instance_id)
        self.sizes.append(len(outcome.data))
        return outcome


async def hosted_run(
    workflow: Build, value: Any, *, mode: Mode = "steady", answer: Answerer | None = None, **options: Any
) -> Result:
    """Host a workflow in memory and run it once."""
    return await Process(workflow, **options).run(value, mode=mode, answer=answer)


async def both(
    workflow: Callable[[], Workflow],
    value: Any,
    *,
    modes: Sequence[Mode] = MODES,
    answer: Callable[[], Answerer | None] = lambda: None,
    **options: Any,
) -> Result:
    """Run in process and hosted, in every mode; all must agree. Gives the last hosted result.

    ``answer`` makes the one who answers what is asked, anew for each run.
    """
    expected = await in_process(workflow(), value, answer=answer())
    actual = Result()
    for mode in modes:
        actual = await hosted_run(workflow, value, mode=mode, answer=answer(), **options)
        assert plain(actual.failure) == plain(expected.failure), mode
        if expected.failure is None:
            assert plain(actual.outputs) == plain(expected.outputs), mode
            assert len(actual.intermediate) == len(expected.intermediate), mode
        assert plain(actual.state) == plain(expected.state), mode
        assert plain(actual.asked) == plain(expected.asked), mode
        assert actual.own_events() == expected.own_events(), mode
        assert actual.invoked() == expected.invoked(), mode
        for executor in {executor for step in expected.supersteps for executor, _ in step}:
            assert plain(actual.received(executor)) == plain(expected.received(executor)), (mode, executor)
    return actual


def plain(value: Any) -> Any:
    """Make framework objects comparable: they have no equality of their own."""
    if hasattr(value, "to_dict"):
        return (type(value).__name__, plain(value.to_dict()))
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, str) and value.startswith("af-call-"):
        return "af-call"  # the framework makes it up afresh in each run
    if isinstance(value, (list, tuple)):
        return type(value)(plain(item) for item in value) if type(value) in (list, tuple) else value
    if hasattr(value, "__dict__") and type(value).__module__.startswith("agent_framework"):
        return (type(value).__name__, plain(vars(value)))
    return value


def _user_state(state: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in state.items() if not key.startswith("_")}


def _framework_state(state: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in state.items() if key.endswith("_run_kwargs")}


def _ordinal(noted: tuple[int, str, Any]) -> tuple[str, int]:
    return noted[1], noted[0]


async def gather_runs(process: Process, values: Sequence[Any], *, mode: Mode = "steady") -> list[Result]:
    """Run several at once in one process."""
    return list(await asyncio.gather(*(process.run(value, mode=mode) for value in values)))
