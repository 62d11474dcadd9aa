"""The same workflows on Durable Task Scheduler: the SDK's in-memory backend in its place, over real gRPC."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from benchmarks import engines, hosted, traced

from perdure import AgentFunctionApp
from perdure.hosts.durabletask import hub, sdk


class Engine(engines.Engine):
    """The backend, which writes down what it hands out."""

    def __init__(self) -> None:
        super().__init__()
        self.trace = traced.Trace()

    def begin(self) -> None:
        """Begin a new trace."""
        self.trace = traced.Trace()
        self.bytes = 0

    def end(self, requests: int) -> traced.Trace:
        """Give the trace of what has run since."""
        self.trace.wire = self.bytes
        self.trace.requests = requests
        return self.trace

    def GetWorkItems(self, request: Any, context: Any) -> Iterator[Any]:
        for item in super().GetWorkItems(request, context):
            if item.HasField("orchestratorRequest"):
                self.trace.episodes.append(traced.episode_of(item.orchestratorRequest))
            if item.HasField("entityRequestV2"):
                size = len(item.entityRequestV2.entityState.value)
                self.trace.entities += [size] * len(item.entityRequestV2.operationRequests)
                self.bytes += item.ByteSize()
            yield item

    def CompleteOrchestratorTask(self, request: Any, context: Any) -> Any:
        self.trace.episodes[-1].asked += traced.asked_of(request)
        return super().CompleteOrchestratorTask(request, context)

    def CompleteEntityTask(self, request: Any, context: Any) -> Any:
        self.bytes += request.ByteSize()
        return super().CompleteEntityTask(request, context)


@contextlib.contextmanager
def _engine() -> Iterator[tuple[Engine, str]]:
    made = Engine()
    address = made.start()
    try:
        yield made, address
    finally:
        made.stop(0)


@contextlib.asynccontextmanager
async def perdure_scheduler(case: hosted.Case, kept: hosted.Blobs) -> AsyncIterator[Callable[[], Any]]:
    """perdure as a worker, payloads and records in Blob Storage."""
    with _engine() as (engine, address):
        app = AgentFunctionApp(workflow=case.build(), types=list(case.types))
        stores = hub.Stores(kept.payloads, kept.records)
        made = hub.Hub(app, sdk.address(address, "bench"), stores)
        worker = made.worker().start()
        connected = made.connect()
        runs = made.runs(connected)
        name = next(iter(app.hosted_workflows))

        async def run() -> traced.Trace:
            engine.begin()
            ref, blobs = app.hosted_workflows[name].take(case.input)
            run_id = uuid.uuid4().hex
            await runs.start(name, run_id, ref, blobs, fresh=True)
            if case.answer is not None:
                with kept.not_counting_looks():
                    async with asyncio.timeout(hosted.PATIENCE_SECONDS):
                        while not (found := await runs.get(run_id)) or not found.requests:
                            await asyncio.sleep(0.02)
                told = await runs.answer(run_id, found.requests[0].id, f'"{case.answer}"'.encode(), "application/json")
                assert told == "accepted", told
            state = await connected.wait(run_id, hosted.PATIENCE_SECONDS)
            assert state is not None and state.status == "Completed", state
            return engine.end(1 if case.answer is None else 2)

        try:
            yield run
        finally:
            await connected.close()
            await worker.stop()


@contextlib.asynccontextmanager
async def incumbent_scheduler(case: hosted.Case, kept: hosted.Blobs) -> AsyncIterator[Callable[[], Any]]:
    """agent-framework-durabletask as a worker."""
    from agent_framework_durabletask import DurableAIAgentWorker, DurableWorkflowClient

    with _engine() as (engine, address):
        worker = engines._worker(address)
        workflow = case.build()
        DurableAIAgentWorker(worker).configure_workflow(workflow)
        with engines._serving(worker), engines._client(address) as client:
            workflows = DurableWorkflowClient(client, workflow_name=workflow.name)

            async def run() -> traced.Trace:
                engine.begin()
                run_id = await asyncio.to_thread(workflows.start_workflow, case.input)
                if case.answer is not None:
                    async with asyncio.timeout(hosted.PATIENCE_SECONDS):
                        while not (found := await asyncio.to_thread(workflows.get_pending_hitl_requests, run_id)):
                            await asyncio.sleep(0.02)
                    answer = functools.partial(workflows.send_hitl_response, run_id, found[0]["request_id"])
                    await asyncio.to_thread(answer, case.answer)
                await asyncio.to_thread(engines._finish, client, run_id)
                return engine.end(1 if case.answer is None else 2)

            yield run
