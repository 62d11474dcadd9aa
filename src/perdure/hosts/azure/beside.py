"""What an orchestration has done beside its steps: see ``wire.Aside``."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import msgspec

from perdure import errors
from perdure.hosts.azure import statuses, wire
from perdure.hosts.replay import start_records
from perdure.hosts.replay import wire as texts
from perdure.payloads import owners, records, store
from perdure.workflow import hosted, options


class Beside:
    """Does what is neither a step nor a note.

    Args:
        bounds: The workflows by their orchestrations' durable names.
        payloads: Where payloads are.
        kept: Where the records beside orchestrations are.
    """

    def __init__(
        self, bounds: Mapping[str, hosted.Bound], payloads: store.PayloadStore, kept: records.RecordStore
    ) -> None:
        self._bounds = bounds
        self._payloads = payloads
        self._records = kept

    async def __call__(self, aside: wire.Aside) -> str:
        """Do it.

        Raises:
            HubError: If the store cannot be had: it is asked for again.
            EmptyInput: If a run was started by hand without an input.
            InvalidInput: If a run was started by hand with an input that its workflow does not take.
        """
        if aside.what == "accept":
            return await self._accept(aside)
        if aside.what == "status":
            named = {f"{statuses.RECORD}{statuses.name_of(str(text))}": str(text) for text in aside.value}
            await asyncio.gather(
                *(self._records.put_if_absent(aside.owner, name, text.encode()) for name, text in named.items())
            )
            return ""
        if aside.what == "outputs":
            return await self._outputs(aside)
        found = [await self._records.get(aside.owner, str(name)) for name in aside.value]
        heard = [texts.decode(body, texts.Heard) for body in found if body is not None]
        # What a deadline has decided its own activity tells, as what it is.
        return texts.pack([each for each in heard if each.at])

    async def _accept(self, aside: wire.Aside) -> str:
        bound = self._bounds.get(aside.name)
        if bound is None:
            raise errors.UsageError(f"{aside.name!r} takes no input of one's own.", "Start it through its routes.")
        ref, blobs = bound.hosted.accept(_json(aside.value), "application/json")
        await self._payloads.put(aside.owner, blobs)
        run, incarnation = owners.parts(aside.owner)
        start = texts.pack(texts.Start(bound.start(ref, {}), incarnation=incarnation))
        # As a start by a route: the routes know the run by it.
        digest = options.digest(ref, options.NONE)
        started = start_records.Started(aside.name, digest, time.time(), start, incarnation=incarnation)
        await self._records.put_if_absent(run, start_records.START, texts.encode(started))
        return start

    async def _outputs(self, aside: wire.Aside) -> str:
        text = str(aside.value)
        await self._records.put_if_absent(aside.owner, wire.OUTPUT, text.encode())
        output = texts.unpack(text, texts.End).output
        bound = self._bounds[aside.name]
        plain = [] if output is None else await asyncio.to_thread(bound.plain_outputs, aside.owner, output)
        return msgspec.json.encode(plain).decode()


def _json(value: Any) -> bytes:
    return b"" if value is None else msgspec.json.encode(value)
