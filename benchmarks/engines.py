"""A step on an engine that replays: bytes and time, for perdure, the incumbent, and activities that do nothing."""

from __future__ import annotations

import os
import sys

# This folder's http.py must not hide the standard library's: the folder goes last, and is found as a package.
sys.path.sort(key=lambda place: place == os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import asyncio
import contextlib
import functools
import importlib.util
import logging
import pathlib
import random
import tempfile
import threading
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent import futures
from dataclasses import dataclass
from typing import Any

import click
import grpc
from agent_framework import Executor, Workflow, WorkflowBuilder, WorkflowContext, handler
from benchmarks import figures
from durabletask.azuremanaged.worker import DurableTaskSchedulerWorker
from durabletask.client import TaskHubGrpcClient
from durabletask.grpc_options import GrpcChannelOptions
from durabletask.internal import orchestrator_service_pb2_grpc as stubs
from durabletask.testing.in_memory_backend import InMemoryOrchestrationBackend
from durabletask.worker import TaskHubGrpcWorker

from perdure import AgentFunctionApp
from perdure.hosts.durabletask import hub, sdk
from perdure.payloads import records, store

STEPS = (10, 50, 200, 1000)
STATES_KIB = (0, 64, 1024)
STATE_STEPS = 50
UNLIMITED = 1_000_000
FLAT = 1.2
OVER_FLOOR = 1.5
PATIENCE_SECONDS = 60.0
ROUND_STEPS = 100
"""A round has so many runs without state that they have about so many steps: one short run says little."""

INCUMBENT_STEPS = 200
"""The incumbent is asked for no longer runs: each of its steps takes longer than the one before."""

SERVER_THREADS = 40
UNLIMITED_MESSAGE = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]

_WORDS = ("the", "of", "a", "spam", "order", "meeting", "invoice", "please", "tomorrow", "attached", "thanks", "team")


class Step(Executor):
    """Passes on how many steps are left; the first one sets a text in the shared state that nobody reads."""

    def __init__(self, id: str, steps: int, text: str) -> None:
        super().__init__(id)
        self.steps = steps
        self.kib = len(text) // 1024

    @handler
    async def step(self, left: int, ctx: WorkflowContext[int, int]) -> None:
        if left == self.steps and self.kib:
            ctx.set_state("value", text_of(self.kib))
        if left > 1:
            await ctx.send_message(left - 1)
        else:
            await ctx.yield_output(left)


@functools.cache
def text_of(kib: int) -> str:
    """Give a text of this size, of words."""
    return " ".join(random.Random(1).choices(_WORDS, k=kib * 256))[: kib * 1024].ljust(kib * 1024)


def loop(steps: int, kib: int) -> Workflow:
    here, there = Step("here", steps, text_of(kib)), Step("there", steps, text_of(kib))
    builder = WorkflowBuilder(name="workflow", start_executor=here, max_iterations=UNLIMITED, output_from="all")
    return builder.add_edge(here, there).add_edge(there, here).build()


class Engine(InMemoryOrchestrationBackend):
    """The SDK's in-memory backend, which counts the bytes of its work items and of their answers."""

    def __init__(self) -> None:
        super().__init__(port=0, max_history_size=UNLIMITED)
        self.bytes = 0
        self.turns = 0
        self.activities = 0

    def start(self) -> str:
        self._shutdown_event.clear()
        server = self._server = grpc.server(futures.ThreadPoolExecutor(SERVER_THREADS), options=UNLIMITED_MESSAGE)
        stubs.add_TaskHubSidecarServiceServicer_to_server(self, server)
        self._port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        return f"http://127.0.0.1:{self._port}"

    def GetWorkItems(self, request: Any, context: Any) -> Iterator[Any]:
        for item in super().GetWorkItems(request, context):
            self.bytes += item.ByteSize()
            self.turns += item.HasField("orchestratorRequest")
            self.activities += item.HasField("activityRequest")
            yield item

    def CompleteOrchestratorTask(self, request: Any, context: Any) -> Any:
        self.bytes += request.ByteSize()
        return super().CompleteOrchestratorTask(request, context)

    def CompleteActivityTask(self, request: Any, context: Any) -> Any:
        self.bytes += request.ByteSize()
        return super().CompleteActivityTask(request, context)


@dataclass(frozen=True, slots=True)
class Taken:
    """What one run took, a step.

    Attributes:
        seconds: Time.
        bytes: Bytes of work items and their answers.
    """

    seconds: float
    bytes: float


Run = Callable[[], None]
"""Runs once, to the end."""

Contender = Callable[[str, int, int], contextlib.AbstractContextManager[Run]]
"""Sets up a worker on the engine at an address, for so many steps with so many KiB of state."""


@contextlib.contextmanager
def floor(address: str, steps: int, kib: int) -> Iterator[Run]:
    """Activities that do nothing, one after another, each with a small text in and out."""

    def nothing(context: Any, text: str) -> str:
        return text

    def chain(context: Any, count: int) -> Any:
        for _ in range(count):
            yield context.call_activity(nothing, input="a small text")
        return "done"

    worker = _worker(address)
    worker.add_orchestrator(chain)
    worker.add_activity(nothing)
    with _serving(worker), _client(address) as client:
        yield lambda: _finish(client, client.schedule_new_orchestration(chain, input=steps))


@contextlib.contextmanager
def incumbent(address: str, steps: int, kib: int) -> Iterator[Run]:
    """The same workflow on agent-framework-durabletask."""
    from agent_framework_durabletask import DurableAIAgentWorker, DurableWorkflowClient

    worker = _worker(address)
    agents = DurableAIAgentWorker(worker)
    agents.configure_workflow(loop(steps, kib))
    with _serving(worker), _client(address) as client:
        workflows = DurableWorkflowClient(client, workflow_name="workflow")
        yield lambda: _finish(client, workflows.start_workflow(steps))


@contextlib.contextmanager
def perdure(address: str, steps: int, kib: int) -> Iterator[Run]:
    """The same workflow on perdure, its payloads and records in memory."""
    kept = hub.Stores(store.MemoryPayloadStore(), records.MemoryRecordStore())
    with _hosted(address, steps, kib, kept) as run:
        yield run


@contextlib.contextmanager
def perdure_folder(address: str, steps: int, kib: int) -> Iterator[Run]:
    """The same, with payloads and records in a folder."""
    with tempfile.TemporaryDirectory() as folder:
        kept = hub.stores(folder, "bench", {})
        with _hosted(address, steps, kib, kept) as run:
            yield run


@contextlib.contextmanager
def _hosted(address: str, steps: int, kib: int, kept: hub.Stores) -> Iterator[Run]:
    made = hub.Hub(AgentFunctionApp(workflow=loop(steps, kib)), sdk.address(address, "bench"), kept)

    @contextlib.asynccontextmanager
    async def working() -> AsyncIterator[Any]:
        worker = made.worker().start()
        connected = made.connect()
        yield made.runs(connected)
        await connected.close()
        await worker.stop()

    ref, blobs = made.app.hosted_workflows["workflow"].accept(str(steps).encode(), "application/json")

    async def once(runs: Any) -> None:
        run, _ = await runs.start("workflow", uuid.uuid4().hex, ref, blobs, fresh=True, wait=PATIENCE_SECONDS)
        assert run.output == [1], run

    home = asyncio.new_event_loop()
    thread = threading.Thread(target=home.run_forever, daemon=True)
    thread.start()
    held = working()
    runs = asyncio.run_coroutine_threadsafe(held.__aenter__(), home).result()
    try:
        yield lambda: asyncio.run_coroutine_threadsafe(once(runs), home).result()
    finally:
        asyncio.run_coroutine_threadsafe(held.__aexit__(None, None, None), home).result()
        home.call_soon_threadsafe(home.stop)
        thread.join()
        home.close()


CONTENDERS: dict[str, Contender] = {
    "floor": floor,
    "perdure": perdure,
    "perdure, folder": perdure_folder,
    "incumbent": incumbent,
}


def _worker(address: str) -> TaskHubGrpcWorker:
    """Make a worker as all contenders have it; what it may receive is not limited, or the incumbent would not end."""
    return DurableTaskSchedulerWorker(
        host_address=address,
        taskhub="bench",
        token_credential=None,
        secure_channel=False,
        channel_options=_options(),
        logger=logging.getLogger("bench"),
    )


def _options() -> GrpcChannelOptions:
    return GrpcChannelOptions(raw_options=UNLIMITED_MESSAGE)


@contextlib.contextmanager
def _serving(worker: TaskHubGrpcWorker) -> Iterator[None]:
    worker.use_work_item_filters()
    worker.start()
    try:
        yield
    finally:
        worker.stop()


@contextlib.contextmanager
def _client(address: str) -> Iterator[TaskHubGrpcClient]:
    client = TaskHubGrpcClient(host_address=address, channel_options=_options(), logger=logging.getLogger("client"))
    try:
        yield client
    finally:
        client.close()


def _finish(client: TaskHubGrpcClient, instance_id: str) -> None:
    state = client.wait_for_orchestration_completion(instance_id, timeout=PATIENCE_SECONDS)
    assert state is not None and state.runtime_status.name == "COMPLETED", state


@dataclass(slots=True)
class Case:
    """What is measured side by side, a round each.

    Attributes:
        steps: Of a run.
        kib: KiB in its state.
        taken: By contender; None for one that does not end in time, or is not asked to.
    """

    steps: int
    kib: int
    taken: dict[str, list[Taken] | None]

    def ratio(self, over: str, under: str, of: Case | None = None) -> float | None:
        """Give the median of the ratios of time within each round: of two contenders, or two sizes of run."""
        a, b = self.taken.get(over), (of or self).taken.get(under)
        return figures.ratio([item.seconds for item in a], [item.seconds for item in b]) if a and b else None

    def milliseconds(self, name: str) -> float:
        """Give the median of the time a step."""
        return figures.median([item.seconds for item in self.taken[name] or ()]) * 1e3

    def kibibytes(self, name: str) -> float:
        """Give the median of what goes through the engine a step."""
        return figures.median([item.bytes for item in self.taken[name] or ()]) / 1024


def measure(report: figures.Report, names: list[str], sizes: list[tuple[int, int]], rounds: int) -> list[Case]:
    """Run all contenders on runs of all sizes in turns, each once beforehand, and report.

    Args:
        report: Where the figures go.
        names: The contenders.
        sizes: Steps, and KiB of state.
        rounds: How often.
    """
    cases = [Case(steps, kib, {name: [] for name in names}) for steps, kib in sizes]
    with contextlib.ExitStack() as stack:
        ready: list[tuple[Case, str, Engine, Run]] = []
        for case in cases:
            if case.steps > INCUMBENT_STEPS and "incumbent" in names:
                case.taken["incumbent"] = None
            for name in [name for name in names if case.taken[name] is not None]:
                engine = Engine()
                address = engine.start()
                stack.callback(engine.stop, 0)
                run = stack.enter_context(CONTENDERS[name](address, case.steps, case.kib))
                ready.append((case, name, engine, run))
        for number in range(rounds + 1):
            for case, name, engine, run in reversed(ready) if number % 2 else ready:
                so_far = case.taken[name]
                if so_far is None:
                    continue
                taken = _once(engine, run, case)
                if taken is None:
                    case.taken[name] = None
                elif number:
                    so_far.append(taken)
    for case in cases:
        _report(report, case)
    return cases


def _report(report: figures.Report, case: Case) -> None:
    said = [
        f"{name} {case.milliseconds(name):.2f} ms {case.kibibytes(name):.1f} KiB" if taken else f"{name} -"
        for name, taken in case.taken.items()
    ]
    values = {name: (case.milliseconds(name), case.kibibytes(name)) for name, taken in case.taken.items() if taken}
    line = f"{case.steps:5} steps, {case.kib:5} KiB of state, a step: {'; '.join(said)}"
    report.add(line, steps=case.steps, kib=case.kib, **values)


def _once(engine: Engine, run: Run, case: Case) -> Taken | None:
    times = 1 if case.kib else max(ROUND_STEPS // case.steps, 1)
    before, began = engine.bytes, time.perf_counter()
    try:
        for _ in range(times):
            run()
    except (TimeoutError, AssertionError) as error:
        click.echo(f"  (not in {PATIENCE_SECONDS:g} s: {str(error)[:100]})")
        return None
    steps = case.steps * times
    return Taken((time.perf_counter() - began) / steps, (engine.bytes - before) / steps)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--quick", is_flag=True, help="Fewer rounds with state, and without the longest case.")
@click.option("--rounds", default=7, show_default=True, help="Runs of each contender, in turns.")
@click.option("--without", multiple=True, type=click.Choice(list(CONTENDERS)), help="Leave a contender out.")
@click.option("--json", "file", metavar="FILE", help="Write every figure there too.")
def main(quick: bool, rounds: int, without: tuple[str, ...], file: str | None) -> None:
    """Measure a step on the durabletask SDK's in-memory backend, over real gRPC."""
    logging.disable(logging.ERROR)
    names = [name for name in CONTENDERS if name not in without]
    if "incumbent" in names and importlib.util.find_spec("agent_framework_durabletask") is None:
        click.echo("Without the incumbent: pip install --pre agent-framework-durabletask\n")
        names.remove("incumbent")
    report = figures.Report("engines")
    report.head(pathlib.Path(tempfile.gettempdir()))
    met = True

    def judge(what: str, value: float | None, *, least: float | None = None, most: float | None = None) -> None:
        nonlocal met
        if value is None:
            click.echo(f"  {what}: not measured")
            return
        click.echo(f"  {what}: {figures.judged(value, least=least, most=most)}")
        met = met and (least is None or value >= least) and (most is None or value <= most)

    lengths = measure(report, names, [(steps, 0) for steps in (STEPS[:-1] if quick else STEPS)], rounds)
    for case in lengths:
        judge(f"{case.steps} steps, perdure over floor", case.ratio("perdure", "floor"), most=OVER_FLOOR)
    over_shortest = lengths[-1].ratio("perdure", "perdure", lengths[0])
    judge("time of a step, longest run over shortest", over_shortest, most=FLAT)
    for case, least in zip(lengths[1:3], (1.3, 2.5), strict=True):
        judge(f"{case.steps} steps, incumbent over perdure", case.ratio("incumbent", "perdure"), least=least)
    click.echo()
    states = measure(report, names, [(STATE_STEPS, kib) for kib in STATES_KIB], min(rounds, 3) if quick else rounds)
    over_none = states[-1].ratio("perdure", "perdure", states[0])
    judge("time of a step, most state over none", over_none, most=FLAT)
    judge("1 MiB, incumbent over perdure", states[-1].ratio("incumbent", "perdure"), least=20)
    report.save(file)
    if not met:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
