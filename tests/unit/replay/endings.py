"""How an orchestration on an engine that replays ended, as a client and the records tell it."""

from __future__ import annotations

from perdure.hosts.replay import client, ends, start_records, wire
from perdure.payloads import records
from perdure.workflow import protocol


async def wait(
    engine: client.Client, kept: records.RecordStore, instance_id: str, seconds: float
) -> protocol.Ended | None:
    """Wait for the end; None if it has not come in time. An engine keeps no output of what failed: a record has why."""
    state = await engine.wait(instance_id, seconds)
    if state is None or not state.ended:
        return None
    if state.output is not None:
        end = wire.unpack(state.output, wire.End)
        return protocol.Ended(end.output, end.failure)
    left = await ends.last(kept, await start_records.owner(kept, instance_id))
    assert left is not None
    return protocol.Ended(failure=left.failure)
