from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from typing import Any

import pytest
from agent_framework import Agent
from tests.azurite import emulator
from tests.conformance import workflows

from perdure import AgentFunctionApp, errors
from perdure.agents import hosted, naming, records, requests
from perdure.hosts.azure import agents, entities, sessions, sweep
from perdure.hosts.replay import wire
from perdure.payloads import records as beside
from perdure.payloads import refs, store
from perdure.testing import ScriptedChatClient

HELPER = naming.instance("helper", "s1")


class Engine:
    """An entity as its extension keeps it, that does no turns."""

    def __init__(self, kept: agents.Kept) -> None:
        self.state: Any = agents.encode(kept)
        self.told: list[str] = []

    async def signal(self, name: str, key: str, operation: str, value: Any) -> None:
        self.told.append(operation)
        if operation == agents.DELETE:
            self.state = None

    async def read(self, name: str, key: str) -> Any:
        # Each sees what there was before the others did anything.
        state = self.state
        await asyncio.sleep(0)
        return state

    async def list(self, name: str) -> Sequence[entities.Listed]:
        return [entities.Listed("s1", self.state)]


class Slow(beside.MemoryRecordStore):
    """Deletes what lies there only when a turn has been sent meanwhile, but for the first time."""

    def __init__(self) -> None:
        super().__init__()
        self.forgotten = 0
        self.sent = asyncio.Event()

    async def forget(self, owner: str, last: Sequence[str] = ()) -> None:
        self.forgotten += 1
        if self.forgotten > 1:
            await self.sent.wait()
        await super().forget(owner, last)

    async def put_if_absent(self, owner: str, name: str, body: bytes) -> bool:
        put = await super().put_if_absent(owner, name, body)
        if name.startswith(agents.SENT):
            self.sent.set()
        return put


def helper(payloads: store.PayloadStore, *answers: str) -> hosted.Bound:
    app = AgentFunctionApp(agents=[Agent(client=ScriptedChatClient(answers), name="helper")])
    return app.hosted_agents["helper"].bind(payloads)


async def test_of_several_who_begin_an_expired_session_anew_none_deletes_the_turn_of_another() -> None:
    payloads, kept = store.MemoryPayloadStore(), Slow()
    bound = helper(payloads)
    engine = Engine(agents.Kept(1.0, records.State(touched=1.0, ttl=1.0)))
    held = sessions.EntitySessions(engine, payloads, kept, {"helper": bound})
    asked = {key: bound.hosted.accept(requests.read(key))[0] for key in ("a", "b", "c")}
    await asyncio.gather(*(held.send("helper", "s1", key, request) for key, request in asked.items()))
    for key in asked:
        assert await kept.get(HELPER, agents.sent(key)) is not None, f"the turn {key} was accepted, and is gone"
    assert engine.told == [agents.DELETE, agents.TURN, agents.TURN, agents.TURN]


async def test_an_answer_is_given_when_the_session_shows_it() -> None:
    payloads, kept = store.MemoryPayloadStore(), beside.MemoryRecordStore()
    bound = helper(payloads, "Noted.")
    request, blobs = bound.hosted.accept(requests.read("I am Ann."))
    await payloads.put(HELPER, blobs)
    turn = bound.hosted.turn("k", request)
    given = await bound.turns(HELPER, "turn-1", records.Call(turn, 1, None, None, 0))
    await payloads.put(HELPER, given.blobs)
    head = given.value.head
    await kept.put_if_absent(HELPER, agents.sent("k"), wire.encode(time.time()))
    await kept.put_if_absent(HELPER, agents.ended("k"), wire.encode(agents.Outcome(1, head)))
    engine = Engine(agents.Kept(1.0, records.State(touched=1.0)))
    held = sessions.EntitySessions(engine, payloads, kept, {"helper": bound})

    waiting = asyncio.create_task(held.wait("helper", "s1", "k", 20))
    early, _ = await asyncio.wait([waiting], timeout=0.5)
    engine.state = agents.encode(agents.Kept(1.0, records.State(head=head, entries=1, touched=time.time())))
    answer = await waiting
    read = await held.read("helper", "s1", None, 10)
    assert not early
    assert answer is not None and read is not None
    assert (answer.text, read.session.turns) == ("Noted.", 1)


@pytest.mark.parametrize(("ttl", "left"), [(1.0, []), (1e12, ["sent/old"])])
async def test_a_sweep_deletes_what_expired_sessions_left_and_nothing_else(ttl: float, left: list[str]) -> None:
    payloads, kept = store.MemoryPayloadStore(), beside.MemoryRecordStore()
    engine = Engine(agents.Kept(1.0, records.State(touched=1.0, ttl=ttl)))
    said = refs.blob(b"I am Ann.")
    await payloads.put(HELPER, [said])
    await kept.put_if_absent(HELPER, "sent/old", b"")
    held = sessions.EntitySessions(engine, payloads, kept, {"helper": helper(payloads)})
    await held.sweep()
    await held.sweep()
    assert await kept.names(HELPER) == left
    assert (engine.state is None) is (not left)
    with contextlib.nullcontext() if left else pytest.raises(errors.PayloadMissing):
        assert payloads.read(HELPER, said.digest) == b"I am Ann."
    assert engine.told == ([] if left else [agents.DELETE])


def test_an_app_whose_sessions_expire_or_that_has_workflows_has_a_function_that_sweeps(
    azurite: emulator.Azurite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AzureWebJobsStorage", azurite.connection())

    def swept(app: AgentFunctionApp) -> bool:
        return sweep.NAME in {function.get_function_name() for function in app.get_functions()}

    def helping(ttl: float | None) -> AgentFunctionApp:
        return AgentFunctionApp(agents=[Agent(client=ScriptedChatClient([]), name="helper")], session_ttl=ttl)

    assert (swept(helping(60.0)), swept(helping(None))) == (True, False)
    assert swept(workflows.app_of(asyncio.Event()))
