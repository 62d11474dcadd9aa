"""Rewinding: a run that failed goes on from before the step that failed, once for each time that it failed."""

from __future__ import annotations

import time
from typing import Final

from perdure.hosts.replay import client, decisions, ends, starts, wire
from perdure.payloads import records
from perdure.workflow import orchestrator, run_state

REWOUND: Final = "rewound/"
"""What the names of records begin with that say that a run was rewound after an end."""

REWIND_SECONDS: Final = 10.0
"""For so long whoever began to rewind a run is let do so, before another does it."""


class Rewinds:
    """Lets failed runs go on.

    Args:
        engine: The engine's client.
        kept: Where the records are.
        started: The starts of runs.
        decided: What became of requests.
    """

    def __init__(
        self,
        engine: client.Client,
        kept: records.RecordStore,
        started: starts.Starts,
        decided: decisions.Decisions,
    ) -> None:
        self._engine = engine
        self._records = kept
        self._starts = started
        self._decisions = decided

    async def rewind(self, run_id: str) -> bool:
        """Let a failed run go on from the step that failed; False if there is no such run or step."""
        state = await self._engine.get(run_id)
        if state is None or state.status != "Failed" or (started := await self._starts.write_down(state)) is None:
            return False
        owner = started.owner(run_id)
        end = await ends.last(self._records, owner)
        if end is None or end.state is None:
            return False
        if not await self._may_rewind(owner, end) or not await self._starts.stands(run_id, started):
            return False
        first = wire.unpack(started.start, wire.Start)
        heard = (wire.Heard(orchestrator.REWIND, b""), *await self._unheard(owner, end.state))
        again = wire.Start(
            first.call,
            first.stored,
            state=end.state,
            next=end.next,
            heard=heard,
            incarnation=first.incarnation,
            digest=first.digest,
        )
        if not await self._engine.start_again(started.name, run_id, wire.pack(again)):
            return False
        if await self._starts.stands(run_id, started):
            return True
        # Deleted just now.
        await self._starts.undo(run_id, started)
        return False

    async def _may_rewind(self, owner: str, end: wire.End) -> bool:
        """Say whether this is the one that rewinds a run after it failed so; whoever was first may have died."""
        name = f"{REWOUND}{end.next:012d}"
        if await self._records.put_if_absent(owner, name, wire.encode(time.time())):
            return True
        body = await self._records.get(owner, name)
        return (
            body is not None
            and time.time() - wire.decode(body, float) > REWIND_SECONDS
            and await ends.last(self._records, owner) == end
        )

    async def _unheard(self, owner: str, state: bytes) -> list[wire.Heard]:
        """Give what was accepted for requests that a run had open when it failed: it may not have heard of it."""
        made = await self._decisions.made(owner, run_state.decode(state).requests)
        # What a deadline has decided its own activity tells.
        return [heard for heard in made.values() if heard.at]
