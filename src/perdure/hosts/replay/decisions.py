"""What becomes of a run's requests: whoever is the first to record it decides, and the event only wakes the run."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Sequence
from typing import Final

import msgspec

from perdure import errors
from perdure.hosts.replay import client, wire
from perdure.payloads import owners, records
from perdure.routes import runs
from perdure.workflow import run_state

FEW_REQUESTS: Final = 10
"""For more it costs less to list what is decided than to ask for each."""

UNHEARD_SECONDS: Final = 10.0
"""A run that has not heard of a decision for so long is told again, when it is looked at."""

logger = logging.getLogger("perdure")


class Decisions:
    """What was answered and withdrawn, beside the runs that asked.

    Args:
        engine: The engine's client.
        kept: Where the records are.
    """

    def __init__(self, engine: client.Client, kept: records.RecordStore) -> None:
        self._engine = engine
        self._records = kept

    async def decide(self, owner: str, request: run_state.Request, heard: wire.Heard) -> runs.Accepted:
        """Be the first to say what becomes of a request, and wake the run."""
        name = wire.request_record(request)
        run, incarnation = owners.parts(owner)
        heard = msgspec.structs.replace(heard, incarnation=incarnation)
        first = await self._records.put_if_absent(owner, name, wire.encode(heard))
        if not first:
            # Whoever was first may have died before it woke the run, which ignores what it knows.
            body = await self._records.get(owner, name)
            heard = heard if body is None else wire.decode(body, wire.Heard)
        try:
            await self._engine.raise_event(run, wire.EVENT, wire.pack(heard))
        except errors.HubError as error:
            # It is decided, and whoever asks again would be told that somebody else did so.
            logger.warning("Run %r is told of what was accepted when it is looked at: %s", run, error)
        return "accepted" if first else "answered"

    async def made(self, owner: str, asked: Sequence[run_state.Request]) -> dict[str, wire.Heard]:
        """Give what became of requests, as far as that is decided, by the names of the records that say so."""
        names = [wire.request_record(request) for request in asked]
        if len(names) > FEW_REQUESTS:
            there = frozenset(await self._records.names(owner, wire.REQUEST))
            names = [name for name in names if name in there]
        bodies = await asyncio.gather(*(self._records.get(owner, name) for name in names))
        found = zip(names, bodies, strict=True)
        return {name: wire.decode(body, wire.Heard) for name, body in found if body is not None}

    async def tell_again(self, owner: str, name: str, heard: wire.Heard) -> None:
        """Wake a run that has not heard of a decision: who was accepted may have died before it was told."""
        if not heard.at or (waited := time.time() - heard.at) < UNHEARD_SECONDS:
            return
        # After twice as long each time, whoever looks: a run that no worker takes up is not sent ever more events.
        often = int(math.log2(waited / UNHEARD_SECONDS))
        if await self._records.put_if_absent(owner, f"{wire.TOLD}{name}/{often}", b""):
            await self._engine.raise_event(owners.run_of(owner), wire.EVENT, wire.pack(heard))
