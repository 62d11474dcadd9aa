"""Activities of deadlines that are given twice."""

from __future__ import annotations

from typing import Any

from perdure.hosts.azure import beside
from perdure.hosts.azure import wire as azure
from perdure.hosts.replay import activities, wire
from perdure.payloads import records, refs, store
from perdure.workflow import deadlines, orchestrator, protocol, run_state

REQUEST = run_state.Request("q", "asker", refs.Ref(b"x"), "dict", "str", superstep=1)
TASK = wire.Task("expired/q", wire.encode_call(deadlines.Expiry(REQUEST)))


async def given(kept: records.RecordStore, answer: bytes) -> run_state.StepResult:
    """Give what the activity gives whose deadline has this answer."""

    async def expire(instance_id: str, key: str, call: Any) -> protocol.Outcome:
        result = run_state.StepResult((run_state.Sent(refs.Ref(answer)),))
        return protocol.Outcome(result, orchestrator.encode_result(result), (), instance_id)

    work = activities.Activities({"asker": expire}, store.MemoryPayloadStore(), kept)
    reply = await work("r", "asker", TASK)
    assert reply.kind == "result", reply
    return wire.decode(reply.data, run_state.StepResult)


async def test_a_deadline_that_is_asked_twice_gives_its_first_answer_as_its_own() -> None:
    """Though what it asks says something else the second time."""
    kept = records.MemoryRecordStore()
    first, second = await given(kept, b"one"), await given(kept, b"two")
    assert first == second
    assert (first.messages[0].ref.inline, first.told) == (b"one", False)


async def test_what_a_deadline_decided_is_told_by_its_activity_alone() -> None:
    """A life that looks for what it was not told does not take it for what a person said."""
    kept = records.MemoryRecordStore()
    await given(kept, b"one")
    looking = beside.Beside({}, store.MemoryPayloadStore(), kept)
    unread = await looking(azure.Aside("r", "dafx-w", "unread", [wire.request_record(REQUEST)]))
    assert wire.unpack(unread, tuple[wire.Heard, ...]) == ()
