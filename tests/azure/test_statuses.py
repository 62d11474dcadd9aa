"""What a run shows of itself on Azure stays within what a custom status takes, and leaves little behind."""

from __future__ import annotations

import json
import pathlib
from typing import Any, Never

import pytest
from agent_framework import Executor, WorkflowBuilder, WorkflowContext, handler, response_handler
from tests import polling

from perdure import AgentFunctionApp, testing
from perdure.hosts.azure import statuses, wire
from perdure.hosts.local import replayed
from perdure.hosts.replay import wire as texts
from perdure.payloads import records, refs
from perdure.payloads.stores import folder_store
from perdure.routes import runs
from perdure.workflow import orchestrator, run_state

STATUS_LIMIT_BYTES = 16 * 1024
A_REQUEST = 400


def asked(count: int) -> tuple[run_state.Request, ...]:
    """Requests as they are told apart: by ids that say nothing of their order."""
    return tuple(
        run_state.Request(f"{number * 7919 % 100_003:05}-request", "asks", refs.Ref(b"x" * A_REQUEST), "str", "str")
        for number in range(count)
    )


def said(requests: tuple[run_state.Request, ...], superstep: int = 1, held: str = "", events: int = 0) -> texts.Status:
    value = texts.encode(orchestrator.RunStatus(superstep, requests))
    return texts.Status(value, held, pages=(texts.Page(1, ((0.0, bytes(events)),)),))


async def write(kept: records.RecordStore, named: dict[str, str]) -> int:
    """Write what a status names; gives the bytes that were new."""
    written = 0
    for name, text in named.items():
        if await kept.put_if_absent("run", f"{statuses.RECORD}{name}", text.encode()):
            written += len(text)
    return written


@pytest.mark.parametrize("held", ["", "h" * 5000], ids=["", "held"])
@pytest.mark.parametrize("events", [0, 2048, 9000])
@pytest.mark.parametrize("count", [0, 1, 3, 12, 40, 1000, 5000])
async def test_a_status_of_any_length_fits_and_is_read_as_it_was_said(count: int, events: int, held: str) -> None:
    kept = records.MemoryRecordStore()
    status = said(asked(count), held=held, events=events)
    shown, named = statuses.show(status)
    custom = wire.pack(shown)
    assert 2 * len(json.dumps(custom)) <= STATUS_LIMIT_BYTES
    assert shown.requests == count
    await write(kept, dict(named))
    text = await statuses.said(custom, "run", kept)
    assert text is not None
    assert texts.unpack(text, texts.Status) == status


async def test_a_run_that_goes_on_beside_what_it_has_asked_writes_nothing_of_that_again() -> None:
    kept = records.MemoryRecordStore()
    await write(kept, dict(statuses.show(said(asked(1000)))[1]))
    for superstep in range(2, 100):
        assert await write(kept, dict(statuses.show(said(asked(1000), superstep, events=superstep))[1])) == 0


async def test_a_thousand_answers_one_by_one_write_in_proportion() -> None:
    """A piece each time, where all that is left would be five hundred times a request on average."""
    kept = records.MemoryRecordStore()
    left = list(asked(1000))
    whole = await write(kept, dict(statuses.show(said(tuple(left)))[1]))
    written = 0
    while left:
        del left[len(left) * 7 // 13]
        written += await write(kept, dict(statuses.show(said(tuple(left)))[1]))
    assert written < 100 * whole


class Asks(Executor):
    """Asks much, and goes on for a while beside that."""

    @handler
    async def go_on(self, left: int, ctx: WorkflowContext[int, Never]) -> None:
        if left == STEPS:
            for number in range(REQUESTS):
                await ctx.request_info(f"{number} " + "x" * A_REQUEST, str)
        if left:
            await ctx.send_message(left - 1)

    @response_handler
    async def told(self, question: str, said: str, ctx: WorkflowContext[Never, Never]) -> None:
        """Take it in."""


class Goes(Executor):
    @handler
    async def go_on(self, left: int, ctx: WorkflowContext[int, Never]) -> None:
        if left:
            await ctx.send_message(left - 1)


REQUESTS, STEPS = 40, 40


def idle(run: runs.Run) -> bool:
    return (run.custom_status or {}).get("state") == "waiting_for_human_input"


def numbers(run: runs.Run) -> list[int]:
    return [int(request.data.split()[0]) for request in run.requests]


async def test_a_long_run_with_many_open_requests_keeps_each_once(tmp_path: pathlib.Path) -> None:
    one, other = Asks("asks"), Goes("goes")
    builder = WorkflowBuilder(name="asking", start_executor=one, max_iterations=1000)
    app = AgentFunctionApp(workflow=builder.add_edge(one, other).add_edge(other, one).build(), app_folder=tmp_path)
    async with testing.LocalHost(app, hub=tmp_path / "hub", replay=True) as host:
        run = await host.start("asking", STEPS)
        looked = await polling.until(lambda: host.runs.get(run), lambda looked: looked is not None and idle(looked))
        assert looked is not None
        assert numbers(looked) == list(range(REQUESTS))
        kept = folder_store.FolderRecordStore(tmp_path / "hub" / replayed.KEPT)
        runs_of_host: Any = host.runs
        owner = (await runs_of_host._engine.get(run)).owner
        before = list(await kept.names(owner, statuses.RECORD))
        pieces = statuses.apart(texts.encode(orchestrator.RunStatus(0, asked(REQUESTS))))
        assert 1 < len(before) <= 2 * len(pieces)
        gone = (0, 20, 39)
        for number in gone:
            await host.runs.answer(run, looked.requests[number].id, b'"yes"', "application/json")
        last = 0
        async for event in host.runs.follow(run):
            last += event.type == "response"
            if last == len(gone):
                break
        looked = await host.runs.get(run)
        assert looked is not None
        assert numbers(looked) == [number for number in range(REQUESTS) if number not in gone]
        assert len(await kept.names(owner, statuses.RECORD)) <= len(before) + 2 * len(gone)
