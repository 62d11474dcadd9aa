"""An executor is given one delivery, and whatever it does then stays its own affair."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

from agent_framework import Executor

from perdure import errors
from perdure.payloads import refs
from perdure.workflow import (
    connections,
    executor_state,
    graph,
    naming,
    orchestrator,
    recorder,
    run_state,
    shared_state,
    turns,
    values,
)


class ExecutorLeft(errors.PerdureError):
    """An executor ended itself instead of returning or raising an error."""


async def execute(
    live: executor_state.Live,
    call: orchestrator.Call,
    run: values.RunValues,
    state: shared_state.SharedState,
    ctx: recorder.Recorder,
    turn: turns.Turn | None,
    blobs: list[refs.Blob],
) -> run_state.RunState | None:
    """Let the executor handle what it was given; gives the workflow inside where it is to have its turn first."""
    delivery = call.delivery
    data: Any = None
    if not delivery.withdrawn:
        found = [run.decode(ref) for ref in delivery.messages]
        data = found if delivery.joined else found[0]
    with graph.hosted(live.executor, ctx, naming.hops(call.path)):
        if turn is None:
            try:
                await _handle(live.executor, delivery, data, run, state, ctx)
            finally:
                await connections.close_all(live.executor)
            return None
        try:
            with turn.inside(live.executor):
                await _handle(live.executor, delivery, data, run, state, ctx)
        except turns.Entered:
            ref = None if delivery.joined or delivery.withdrawn else delivery.messages[0]
            return await turn.entered(data, ref, blobs)
    return None


async def _handle(
    executor: Executor,
    delivery: run_state.Delivery,
    data: Any,
    run: values.RunValues,
    state: shared_state.SharedState,
    ctx: recorder.Recorder,
) -> None:
    if delivery.withdrawn:
        assert delivery.request is not None
        await graph.withdraw(executor, delivery.request.id, state, ctx)
        return
    source = delivery.sources[0]
    if delivery.request is None:
        message = graph.message(data, source, delivery.traces)
    else:
        asked = run.decode(delivery.request.data)
        message = graph.answer(data, source, delivery.request.id, delivery.executor, asked, type(data))
        if not executor.can_handle(message):
            ctx.warn(
                f"Executor {delivery.executor!r} has no response handler for a {type(asked).__name__} answered with "
                f"a {type(data).__name__}; the answer was dropped."
            )
            return
    await executor.execute(
        message,
        list(delivery.sources),
        state,
        ctx,  # type: ignore[arg-type]  # a hosted executor needs only part of the runner's protocol
        trace_contexts=message.trace_contexts,
        source_span_ids=message.source_span_ids,
    )


@contextlib.contextmanager
def contained(executor_id: str) -> Iterator[None]:
    """Make an ordinary failure of what would take the host, or the run without a word, with it."""
    try:
        yield
    except Exception:
        raise
    except SystemExit as error:
        raise ExecutorLeft(f"Executor {executor_id!r} called sys.exit({error.code!r}).") from error
    except BaseException as error:
        try:
            task = asyncio.current_task()
        except RuntimeError:
            task = None
        if task is None or task.cancelling():
            # The host ends this step, by cancelling it or, where the loop is gone, by closing it.
            raise
        if isinstance(error, asyncio.CancelledError):
            raise ExecutorLeft(f"Executor {executor_id!r} was cancelled by something that it awaited.") from error
        said = f"Executor {executor_id!r} raised {type(error).__name__}, which is no ordinary exception: {error}"
        raise ExecutorLeft(said) from error
