"""A process that hosts a workflow until it kills itself, as it is told: read by ``test_runs_*``.

Run as a script it is a fork server: each line of its standard input is a :class:`Life`, lived by a fork that has
everything imported already; how the fork ended goes to standard output.
"""

from __future__ import annotations

import asyncio
import contextvars
import faulthandler
import hashlib
import itertools
import os
import pathlib
import random
import signal
import sys
import threading
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Never

import msgspec
from agent_framework import Case, Default, Executor, Workflow, WorkflowBuilder, WorkflowContext, executor, handler

from perdure import AgentFunctionApp
from perdure.engine import writer
from perdure.hosts.local import host as local
from perdure.workflow import activity, deadlines, orchestrator, protocol

Phase = Literal["", "before", "inside", "after"]

ROUNDS = 2
LARGE_BYTES = {1: 1 << 20, 2: 100_000}
"""What an executor writes in each round; both sizes go to the file of large payloads."""

WORKFLOW = "mill"

LIFE_SECONDS = 60.0
"""A life that takes longer is stuck: it ends as failed, and says where its threads are."""


class Life(msgspec.Struct):
    """One process's life.

    Attributes:
        hub: The hub's folder.
        ran: The file to which executors append the steps that they run.
        name: What this life is called there.
        runs: The ids of the runs that it starts (or finds) and waits for.
        accepted: The file to which it appends the ids of the runs that it was told are started.
        report: Where it writes the outputs and final states.
        phase: When it kills itself relative to a commit; never if empty.
        commit: Which commit that is, from 1, counted over the hub's files together.
        step: Or the step in whose executor it kills itself.
    """

    hub: str
    ran: str
    name: str
    runs: list[str]
    accepted: str
    report: str
    phase: Phase = ""
    commit: int = 0
    step: str = ""


class Ended(msgspec.Struct):
    """How a run ended, as its report says."""

    outputs: list[Any]
    state: dict[str, Any]


@dataclass
class Ticket:
    """What goes round."""

    round: int
    words: list[str]


_step: contextvars.ContextVar[tuple[str, str]] = contextvars.ContextVar("step")
_life: Life


def ran() -> None:
    """Put on record that this step runs; a step that is to be fatal is so here, in user code."""
    run, key = _step.get()
    _append(_life.ran, f"{_life.name} {run} {key}")
    if _life.step == key:
        os.kill(os.getpid(), signal.SIGKILL)


def _append(file: str, line: str) -> None:
    handle = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(handle, f"{line}\n".encode())
    os.close(handle)


@executor(id="entry")
async def entry(text: str, ctx: WorkflowContext[Ticket]) -> None:
    ctx.set_state("rounds", 0)
    ctx.set_state("seen", [])
    ran()
    await ctx.send_message(Ticket(0, [text]))


@executor(id="split")
async def split(ticket: Ticket, ctx: WorkflowContext[Ticket]) -> None:
    ctx.set_state("rounds", ctx.get_state("rounds") + 1)
    ran()
    await ctx.send_message(Ticket(ticket.round + 1, ticket.words))


class Left(Executor):
    """Counts its calls in an attribute and writes a value that has a file of its own to go to."""

    def __init__(self) -> None:
        super().__init__(id="left")
        self.calls = 0

    @handler
    async def go(self, ticket: Ticket, ctx: WorkflowContext[str]) -> None:
        self.calls += 1
        ctx.set_state("large", random.Random(ticket.round).randbytes(LARGE_BYTES[ticket.round]))
        ran()
        await ctx.send_message(f"left{self.calls}")


@executor(id="right")
async def right(ticket: Ticket, ctx: WorkflowContext[str]) -> None:
    ctx.set_state(f"right:{ticket.round}", b"r" * 2000)
    ran()
    await ctx.send_message(f"right{ticket.round}")


@executor(id="join")
async def join(words: list[str], ctx: WorkflowContext[Ticket]) -> None:
    ctx.set_state("seen", [*ctx.get_state("seen"), *words])
    ran()
    await ctx.send_message(Ticket(ctx.get_state("rounds"), [*words, str(len(ctx.get_state("large")))]))


@executor(id="judge")
async def judge(ticket: Ticket, ctx: WorkflowContext[Ticket]) -> None:
    ran()
    await ctx.send_message(ticket)


@executor(id="polish")
async def polish(ticket: Ticket, ctx: WorkflowContext[str]) -> None:
    ran()
    for word in ticket.words[:2]:
        await ctx.send_message(word)


@executor(id="sign")
async def sign(word: str, ctx: WorkflowContext[str]) -> None:
    ctx.set_state("signed", ctx.get_state("signed", 0) + 1)
    ran()
    await ctx.send_message(f"{word}/{ctx.get_state('signed')}")


@executor(id="finish")
async def finish(word: str, ctx: WorkflowContext[Never, str]) -> None:
    ran()
    await ctx.yield_output(f"{word} after {ctx.get_state('rounds')} rounds: {' '.join(ctx.get_state('seen'))}")


def build() -> Workflow:
    """Twelve supersteps: a loop walked twice, with a fan-out and a fan-in in it, and two deliveries to one executor."""
    left = Left()
    builder = WorkflowBuilder(name=WORKFLOW, start_executor=entry, output_from=[finish])
    return (
        builder.add_edge(entry, split)
        .add_fan_out_edges(split, [left, right])
        .add_fan_in_edges([left, right], join)
        .add_edge(join, judge)
        .add_switch_case_edge_group(
            judge, [Case(condition=lambda ticket: ticket.round < ROUNDS, target=split), Default(target=polish)]
        )
        .add_edge(polish, sign)
        .add_edge(sign, finish)
        .build()
    )


async def live(life: Life) -> None:
    """Host the workflow and wait for the runs."""
    async with local.LocalHost(AgentFunctionApp(workflow=build()), hub=life.hub) as host:
        for run in life.runs:
            await host.start(WORKFLOW, f"grist of {run}", run_id=run)
            _append(life.accepted, run)
        ended = {run: Ended(await host.outputs(run), _digested(await host.state(run))) for run in life.runs}
    pathlib.Path(life.report).write_bytes(msgspec.json.encode(ended))


def _digested(state: dict[str, Any]) -> dict[str, Any]:
    """Large values stand in a report by their digests."""
    return {
        key: hashlib.sha256(value).hexdigest() if isinstance(value, bytes) else value for key, value in state.items()
    }


def _kill_at_commit(phase: Phase, at: int) -> None:
    count = itertools.count(1)
    commit = writer.Writer._commit  # pyright: ignore[reportPrivateUsage]

    def doomed(self: writer.Writer[Any], items: Sequence[Any]) -> None:
        # Both writers come through here, each on its thread; the loop too, where it commits by itself.
        fatal = next(count) == at
        if fatal and phase == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        if fatal and phase == "inside":
            apply = self._apply  # pyright: ignore[reportPrivateUsage]

            def half(cursor: Any, given: Sequence[Any]) -> None:
                apply(cursor, given)
                os.kill(os.getpid(), signal.SIGKILL)

            self._apply = half  # pyright: ignore[reportPrivateUsage]
        commit(self, items)
        if fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    writer.Writer._commit = doomed  # type: ignore[method-assign]  # pyright: ignore[reportPrivateUsage]


def _tell_steps() -> None:
    run = activity.Activities.__call__

    async def told(
        self: activity.Activities, instance_id: str, key: str, call: orchestrator.Call | deadlines.Expiry
    ) -> protocol.Outcome:
        _step.set((instance_id, key))
        return await run(self, instance_id, key, call)

    activity.Activities.__call__ = told  # type: ignore[method-assign]


def _serve_forks() -> None:
    assert threading.active_count() == 1, "a fork would take locks of other threads along"
    for line in sys.stdin.buffer:
        life = msgspec.json.decode(line, type=Life)
        pid = os.fork()
        if pid == 0:
            _die(life)
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _die(life: Life) -> Never:
    global _life  # noqa: PLW0603  # one process, one life
    _life = life
    code = 1
    faulthandler.dump_traceback_later(LIFE_SECONDS, exit=True)
    try:
        _tell_steps()
        if life.commit:
            _kill_at_commit(life.phase, life.commit)
        asyncio.run(live(life))
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)
    raise AssertionError("unreachable")


if __name__ == "__main__":
    _serve_forks()
