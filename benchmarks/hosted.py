"""Workflows run for real, on perdure and on the incumbent, with everything counted that a bill counts."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import pathlib
import statistics
import sys
import tempfile
import threading
import time
import types
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar
from unittest import mock

import azure.durable_functions as df
from agent_framework import Executor, Workflow, WorkflowBuilder, WorkflowContext, handler, response_handler
from benchmarks import traced
from tests.azurite import emulator

from perdure import AgentFunctionApp
from perdure.hosts.local import host as local
from perdure.hosts.local import replayed
from perdure.hosts.local.functions import entities, sdk
from perdure.hosts.replay import activities
from perdure.payloads.codec import cache
from perdure.payloads.stores import blob_container, blob_store
from perdure.workflow import values

SAMPLES = pathlib.Path(__file__).parent.parent / "samples"
MAIL = "Hi! A reminder that the team meeting is on Monday at 10. Could you bring the figures?"
PATIENCE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Case:
    """A workflow to run.

    Attributes:
        title: What it does.
        build: Builds it.
        input: What it is started with.
        types: Classes that its values are of.
        answer: What the person that it waits for says; None if it waits for nobody.
    """

    title: str
    build: Callable[[], Workflow]
    input: Any
    types: tuple[type, ...] = ()
    answer: Any = None


class Step(Executor):
    """Passes on how many steps are left; the first one sets a text in the shared state."""

    def __init__(self, id: str, steps: int, text: str) -> None:
        super().__init__(id)
        self.steps = steps
        self.text: Callable[[], str] = lambda: text

    @handler
    async def step(self, left: int, ctx: WorkflowContext[int, int]) -> None:
        if left == self.steps and (text := self.text()):
            ctx.set_state("value", text)
        if left > 1:
            await ctx.send_message(left - 1)
        else:
            await ctx.yield_output(left)


@dataclass
class Question:
    """What a person is asked."""

    text: str


class Asks(Executor):
    """Asks a person, and passes on what they say."""

    @handler
    async def ask(self, text: str, ctx: WorkflowContext[str, str]) -> None:
        await ctx.request_info(Question(text), str)

    @response_handler
    async def told(self, question: Question, said: str, ctx: WorkflowContext[str, str]) -> None:
        await ctx.yield_output(f"{question.text} {said}")


def chain(steps: int, kib: int) -> Case:
    """Steps that do nothing, with so many KiB of text in the shared state."""
    text = "".join(f"{number:07} " for number in range(kib * 128))

    def build() -> Workflow:
        here, there = Step("here", steps, text), Step("there", steps, text)
        builder = WorkflowBuilder(name="chain", start_executor=here, max_iterations=10_000, output_from="all")
        return builder.add_edge(here, there).add_edge(there, here).build()

    return Case(f"{steps} steps, {kib} KiB of state", build, steps)


def asking() -> Case:
    """A workflow that waits for a person."""

    def build() -> Workflow:
        return WorkflowBuilder(name="asking", start_executor=Asks("asks"), output_from="all").build()

    return Case("one question to a person", build, "May I?", (Question,), "yes")


def triage() -> Case:
    """The e-mail triage sample with its offline client, on a mail that is answered."""
    folder = str(SAMPLES / "email_triage")
    if folder not in sys.path:
        sys.path.append(folder)
    import chat
    import workflow

    kept = (workflow.Email, workflow.DetectionResult, workflow.DetectionResultAgent, workflow.EmailResponse)
    return Case("e-mail triage, 6 steps", lambda: workflow.build_workflow(chat.OfflineChatClient()), MAIL, kept)


# Blob Storage.


class Forgetful(cache.DecodeCache):
    """A cache that can be emptied, as if another process had the next step."""

    all: ClassVar[list[Forgetful]] = []

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(limit_bytes)
        self.all.append(self)

    def forget(self) -> None:
        self._kept.clear()
        self._size = 0


@contextlib.contextmanager
def scattered() -> Iterator[None]:
    """Have each step find nothing at hand that another one has read, as where each runs on another instance."""
    act = activities.Activities.__call__

    async def acting(self: activities.Activities, *given: Any) -> Any:
        for each in Forgetful.all:
            each.forget()
        return await act(self, *given)

    with (
        mock.patch.object(values.cache, "DecodeCache", Forgetful),
        mock.patch.object(activities, "RUNS_AT_HAND", 0),
        mock.patch.object(activities.Activities, "__call__", acting),
    ):
        yield
    Forgetful.all.clear()


@dataclass(frozen=True, slots=True)
class Blobs:
    """A container in Azurite, and what has gone to it.

    Attributes:
        container: The container.
        passed: What has gone to it.
    """

    container: blob_container.Container
    passed: list[emulator.Passed]

    @property
    def payloads(self) -> blob_store.BlobPayloadStore:
        return blob_store.BlobPayloadStore(self.container)

    @property
    def records(self) -> blob_store.BlobRecordStore:
        return blob_store.BlobRecordStore(self.container)

    @contextlib.contextmanager
    def not_counting_looks(self) -> Iterator[None]:
        """Leave out what somebody reads who only waits for a question to be there."""
        mark = len(self.passed)
        yield
        self.passed[mark:] = [each for each in self.passed[mark:] if not _is_look(each.request)]

    def take(self, trace: traced.Trace) -> None:
        """Write what has gone since into a trace."""
        for each in self.passed:
            trace.blobs[kind_of(each.request)] += 1
            trace.blob_bytes += each.sent
            trace.blob_read_bytes += each.received
        self.passed.clear()


def _is_look(request: str) -> bool:
    return request.startswith("GET ") and ("comp=list" in request or "/r/start" in request)


def kind_of(request: str) -> str:
    """Say what a request to Blob Storage is billed as."""
    verb, path, _ = request.split(" ", 2)
    if verb == "PUT":
        return "blob_write"
    if verb == "DELETE":
        return "blob_delete"
    if verb == "GET":
        return "blob_list" if "comp=list" in path else "blob_read"
    return "blob_other"


@contextlib.asynccontextmanager
async def blobs(azurite: emulator.Azurite, *, counted: bool = True) -> AsyncIterator[Blobs]:
    """Give a new container; behind a line that counts, unless that would only take time."""
    if not counted:
        container = azurite.container()
        await container.open()
        yield Blobs(container, [])
        await container.close()
        return
    line = emulator.Line(azurite.port)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    opened = line.open()
    await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(opened.__aenter__(), loop))
    container = azurite.container(port=line.port)
    await container.open()
    line.passed.clear()
    try:
        yield Blobs(container, line.passed)
    finally:
        await container.close()
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(opened.__aexit__(None, None, None), loop))
        loop.call_soon_threadsafe(loop.stop)
        await asyncio.to_thread(thread.join)
        loop.close()


# The embedded engine.


async def embedded(case: Case, runs: int, rounds: int = 3, at_once: int = 32) -> tuple[float, float]:
    """Run a workflow many times on the embedded engine; gives the processor seconds of a run, and what it leaves.

    Args:
        case: The workflow.
        runs: How often in a round.
        rounds: Of how many the median is taken.
        at_once: How many runs at a time.
    """
    gate = asyncio.Semaphore(at_once)
    with tempfile.TemporaryDirectory() as folder:
        app = AgentFunctionApp(workflow=case.build(), types=list(case.types))
        name = next(iter(app.hosted_workflows))
        hub = pathlib.Path(folder)

        async def one(host: local.LocalHost) -> None:
            async with gate:
                await host.run(name, case.input)

        async with local.LocalHost(app, hub=hub) as host:
            await one(host)
        before = _size(hub)
        async with local.LocalHost(app, hub=hub) as host:
            taken = []
            for _ in range(rounds):
                began = time.process_time()
                await asyncio.gather(*(one(host) for _ in range(runs)))
                taken.append((time.process_time() - began) / runs)
        return statistics.median(taken), (_size(hub) - before) / (runs * rounds)


def _size(folder: pathlib.Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


# Durable Functions.


class Watched:
    """A local host on which each thing that is counted leaves its trace."""

    def __init__(
        self, host: local.LocalHost, kept: Blobs, seen: traced.Episodes, ops: list[int], looks: list[int]
    ) -> None:
        self.host = host
        self._kept = kept
        self._seen = seen
        self._ops = ops
        self._looks = looks

    async def run(self, case: Case) -> traced.Trace:
        """Run a workflow over HTTP to its end."""
        self._ops.clear()
        self._looks.clear()
        trace = traced.Trace(requests=1)
        begun = await self._post(f"workflow/{case.build().name}/run", case.input)
        instance_id = begun["instanceId"]
        if case.answer is not None:
            trace.requests += 1
            looked = len(self._looks)
            with self._kept.not_counting_looks():
                request = await self._asked(begun["statusQueryGetUri"])
            del self._looks[looked:]
            await self._post(begun["respondUri"].replace("{requestId}", request), case.answer)
        async with asyncio.timeout(PATIENCE_SECONDS):
            state = await self.host.functions.instances.ended(instance_id, PATIENCE_SECONDS)
        assert state is not None and state.runtime_status == "Completed", state
        log = [json.loads(event.data) for event in self.host.engine.events(instance_id, 0, 1 << 20)]
        trace.episodes = self._seen.of(instance_id, log)
        trace.entities = list(self._ops)
        trace.looks = len(self._looks)
        return trace

    async def _asked(self, address: str) -> str:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                status = await asyncio.to_thread(_get, address)
                asked = status.get("pendingHumanInputRequests") or ()
                if asked:
                    return str(asked[0]["requestId"])
                await asyncio.sleep(0.02)

    async def _post(self, path: str, body: Any) -> Any:
        address = path if path.startswith("http") else f"{(self.host.url or '').rstrip('/')}/api/{path}"
        return await asyncio.to_thread(_get, address, json.dumps(body).encode())


def _get(address: str, body: bytes | None = None) -> Any:
    request = urllib.request.Request(address, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        return json.loads(answer.read())


@contextlib.contextmanager
def _watching() -> Iterator[tuple[traced.Episodes, list[int], list[int]]]:
    seen, ops, looks = traced.Episodes(), [], []
    decide, take, look = sdk.decide, entities.Entities._run, df.DurableOrchestrationClient.get_status

    def deciding(handle: Any, context: Any) -> Any:
        seen.take(dict(context))
        return decide(handle, context)

    @functools.wraps(take)
    async def taking(self: Any, *given: Any, **named: Any) -> Any:
        found = await take(self, *given, **named)
        ops.append(len(str(found)))
        return found

    async def looking(self: Any, *given: Any, **named: Any) -> Any:
        looks.append(1)
        return await look(self, *given, **named)

    got = replayed.InstancesClient.get
    begun = replayed.InstancesClient.start

    async def getting(self: Any, instance_id: str) -> Any:
        looks.append(1)
        return await got(self, instance_id)

    async def beginning(self: Any, *given: Any) -> Any:
        # On Azure it looks first.
        looks.append(1)
        return await begun(self, *given)

    with (
        mock.patch.object(sdk, "decide", deciding),
        mock.patch.object(entities.Entities, "_run", taking),
        mock.patch.object(df.DurableOrchestrationClient, "get_status", looking),
        mock.patch.object(replayed.InstancesClient, "get", getting),
        mock.patch.object(replayed.InstancesClient, "start", beginning),
    ):
        yield seen, ops, looks


@contextlib.asynccontextmanager
async def perdure_functions(case: Case, kept: Blobs) -> AsyncIterator[Callable[[], Any]]:
    """perdure on Durable Functions: through the official SDK, payloads and records in Blob Storage."""
    stores = types.SimpleNamespace(
        FolderPayloadStore=lambda place: kept.payloads, FolderRecordStore=lambda place: kept.records
    )
    with _watching() as watching, mock.patch.object(replayed, "folder_store", stores):
        app = AgentFunctionApp(workflow=case.build(), types=list(case.types))
        async with local.LocalHost(app, replay=True, port=0) as host:
            yield functools.partial(Watched(host, kept, *watching).run, case)


@contextlib.asynccontextmanager
async def incumbent_functions(case: Case, kept: Blobs) -> AsyncIterator[Callable[[], Any]]:
    """agent-framework-azurefunctions on the same host."""
    import agent_framework_azurefunctions as theirs

    app = AgentFunctionApp()
    sdk.adopt(theirs.AgentFunctionApp(workflow=case.build()), app)
    with _watching() as watching:
        async with local.LocalHost(app, port=0) as host:
            yield functools.partial(Watched(host, kept, *watching).run, case)
