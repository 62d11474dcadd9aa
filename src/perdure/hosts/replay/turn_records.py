"""Turns of agents where an activity may be given twice: a record says what came of a turn, and the first one holds."""

from __future__ import annotations

import hashlib
from typing import Final

from perdure.agents import records
from perdure.hosts.replay import lifetimes
from perdure.payloads import records as beside
from perdure.payloads import refs, store
from perdure.workflow import protocol

ENDED: Final = "ended/"


class Recorded:
    """The activity that runs an agent, with its outcome recorded before the engine hears of it.

    A worker may be killed between the two, or thought dead while it works: whoever does the turn again then finds the
    record, and the model is not asked again.

    Args:
        turns: Runs the agent.
        payloads: Where conversations are.
        kept: Where records are.
    """

    def __init__(self, turns: protocol.Activity, payloads: store.PayloadStore, kept: beside.RecordStore) -> None:
        self._turns = turns
        self._payloads = payloads
        self._records = kept
        self._lifetimes = lifetimes.Lifetimes(payloads, kept)

    async def __call__(self, instance_id: str, key: str, call: records.Call) -> protocol.Outcome:
        """Run one turn, or give what came of it before."""
        name = _name(call)
        receipt = records.receipt(instance_id, call.turn.correlation_id)
        body = await self._records.get(instance_id, name)
        if body is None:
            outcome = await self._turns(instance_id, key, call)
            result: records.Result = outcome.value
            if result.wait is not None:
                return outcome
            # The conversation before what leads to it: whoever finds one finds the other.
            await self._payloads.put(instance_id, [item for item in outcome.blobs if item.digest != receipt])
            body = outcome.data
            if not await self._records.put_if_absent(instance_id, name, body):
                body = await self._records.get(instance_id, name) or body
        result = records.decode_result(body)
        assert result.head is not None
        await self._payloads.put(instance_id, [refs.Blob(receipt, records.encode_ref(result.head))])
        if await self._lifetimes.over(instance_id):
            # The session was deleted while the agent was at work.
            await self._lifetimes.delete(instance_id)
        return protocol.Outcome(result, body, (), instance_id)


def _name(call: records.Call) -> str:
    turn = f"{call.turn.accepted!r} {call.turn.correlation_id}"
    return f"{ENDED}{call.number:012d}/{hashlib.sha256(turn.encode('utf-8', 'surrogatepass')).hexdigest()[:40]}"
