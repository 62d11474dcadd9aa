"""A process with an engine that kills itself at a commit; run as a script by test_engine_kill.py.

Arguments: the hub folder, the log to append to, ``before`` or ``after``, and the number of the commit (0: none).
"""

from __future__ import annotations

import asyncio
import os
import pathlib
import signal
import sys
from collections.abc import Sequence
from typing import Any

import msgspec

from perdure.engine import engine, writer
from perdure.payloads import refs
from perdure.workflow import protocol

FOLDER, LOG, MOMENT, NUMBER = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
STEPS = 6
KILL = getattr(signal, "SIGKILL", signal.SIGTERM)


def note(*words: object) -> None:
    with LOG.open("ab") as file:
        file.write((" ".join(map(str, words)) + "\n").encode())


class Deadly(writer.Writer[Any]):
    """Dies at a commit of the hub file."""

    count = 0

    def _commit(self, items: Sequence[Any]) -> None:
        if self._thread.name == "perdure-writer":
            Deadly.count += 1
        fatal = Deadly.count == NUMBER and self._thread.name == "perdure-writer"
        if fatal and MOMENT == "before":
            os.kill(os.getpid(), KILL)
        super()._commit(items)
        if fatal:
            os.kill(os.getpid(), KILL)


class Round:
    """A loop of fan-outs with a question and a child in it."""

    name = "round"

    def begin(self, host: protocol.Host, call: bytes) -> protocol.Steps:
        return self._steps(host, 0, 0)

    def resume(self, host: protocol.Host, call: bytes, state: bytes) -> protocol.Steps:
        step, total = msgspec.msgpack.decode(state)
        return self._steps(host, step, total)

    def decode(self, data: bytes) -> Any:
        return msgspec.msgpack.decode(data)

    def _steps(self, host: protocol.Host, first: int, total: int) -> protocol.Steps:
        for step in range(first, STEPS):
            host.keep(lambda step=step, total=total: msgspec.msgpack.encode((step, total)))  # type: ignore[misc]  # bound
            host.emit(b"step %d" % step)
            for branch in range(3):
                host.activity(f"{step}.{branch}", "add", (step, branch))
            for _ in range(3):
                landed = yield
                total += landed.value
                host.emit(b"landed " + landed.key.encode())
            if step == 2:
                host.status(b"asking")
                landed = yield
                total += int(landed.value)
                host.status(None)
            if step == 4:
                host.child("kid", "leaf", host.instance_id + "/kid", b"")
                landed = yield
                total += landed.value
        return protocol.Ended(output=msgspec.msgpack.encode(total))


class Leaf(Round):
    """A child with two steps."""

    name = "leaf"

    def _steps(self, host: protocol.Host, first: int, total: int) -> protocol.Steps:
        for step in range(2):
            host.activity(f"{step}", "add", (step, 100))
            landed = yield
            total += landed.value
        return protocol.Ended(output=msgspec.msgpack.encode(total))


async def add(instance_id: str, key: str, call: Any) -> protocol.Outcome:
    note("ran", instance_id, key)
    step, branch = call
    # The branches land in different commits.
    for _ in range(branch * 20):
        await asyncio.sleep(0)
    blob = refs.blob(b"%d.%d" % call * (40_000 if branch == 1 else 1))
    return protocol.Outcome(step + branch, msgspec.msgpack.encode(step + branch), [blob])


async def main() -> None:
    writer.Writer = Deadly  # type: ignore[misc]  # the engine's writer, with a death wish
    told = asyncio.Event()
    hosted = engine.Engine(
        FOLDER,
        orchestrators={"round": Round(), "leaf": Leaf()},
        activities={"add": add},
        on_commit=lambda instance_id, name, events, view: told.set(),
    )
    await hosted.start()
    for instance_id in ("a", "b"):
        _, new = await hosted.begin("round", instance_id, b"")
        note("begun", instance_id, new)
    while True:
        told.clear()
        views = [hosted.view(instance_id) for instance_id in ("a", "b")]
        for view in views:
            assert view is not None, "an accepted start was lost"
            if view.custom_status == b"asking" and not view.ended:
                note("asking", view.id)
                if await hosted.raise_event(view.id, "answer", b"1000"):
                    note("accepted", view.id)
        if all(view is not None and view.ended for view in views):
            break
        await told.wait()
    await hosted.close()


asyncio.run(main())
