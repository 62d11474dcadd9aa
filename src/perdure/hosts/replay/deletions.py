"""Deleting orchestrations where the engine takes an id again, and purges whatever has it.

An orchestration is marked first: from then on it is unknown to all. It goes from the engine, then what it owns goes,
and last the record of its start, which frees the id. Several may do this at once, and late, without harm to whoever has
the id next: what is owned lies under the incarnation, and the record goes only if it is this one's. The engine alone
cannot be asked for a certain orchestration; so whoever takes one out of it has a claim to do so, for a short time.

Marks stay for a day: what is still at work for an orchestration that is deleted has written all that it writes by then.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import Final

from perdure import errors
from perdure.hosts.replay import client, start_records, wire
from perdure.payloads import owners, records, store

MARKS: Final = "@deleted"
"""Whose records the marks are; no run can have such an id."""

CLAIM_SECONDS: Final = 10.0
"""For so long whoever has a claim to take an orchestration out of the engine is let do so, before another is."""

PURGE_SECONDS: Final = 5.0
"""Whoever has a claim gives up after that; clocks may differ by the rest."""

LATE_SECONDS: Final = 86_400.0
"""For so long an activity may be at work for a run that is deleted; what it leaves is deleted after that."""

SWEPT_AT_ONCE: Final = 16

FIRST_LOOK_SECONDS: Final = 0.05
LAST_LOOK_SECONDS: Final = 0.5

_OUT: Final = "out"


class Deletions:
    """Deletes orchestrations.

    Args:
        engine: The engine.
        payloads: Where payloads are.
        kept: Where records are.
    """

    def __init__(self, engine: client.Client, payloads: store.PayloadStore, kept: records.RecordStore) -> None:
        self._engine = engine
        self._payloads = payloads
        self._records = kept

    async def begun(self, instance_id: str, found: start_records.Started) -> bool:
        """Say whether somebody began to delete an orchestration."""
        return await self._claimed(_mark(instance_id, found), 1) is not None

    async def delete(self, instance_id: str, found: start_records.Started) -> bool:
        """Delete an orchestration that has ended, with all that belongs to it; False if it goes on.

        Where this is broken off, it is as if it were deleted, and the next to delete or to start it deletes the rest.

        Raises:
            HubError: If the engine or the store cannot be reached.
        """
        taken = await self._take_out(instance_id, found)
        if taken is None:
            return False
        for owner in {found.owner(instance_id), *filter(None, [taken])}:
            await self.wipe(owner)
        await start_records.remove(self._records, instance_id, found)
        return True

    async def wipe(self, owner: str) -> None:
        """Delete what is owned, but for the record of a start."""
        await self._payloads.purge(owner)
        if owners.parts(owner)[1]:
            await self._records.forget(owner)
            return
        # An earlier perdure has kept them beside the record of the start.
        for name in await self._records.names(owner):
            if name != start_records.START:
                await self._records.remove(owner, name)

    async def sweep(self) -> None:
        """Delete what came late for what was deleted, and finish deletions that were broken off.

        Raises:
            HubError: If the engine or the store cannot be reached.
        """
        at_once = asyncio.Semaphore(SWEPT_AT_ONCE)

        async def clear(mark: str, names: list[str]) -> None:
            async with at_once:
                await self._sweep(mark, names)

        names = await self._records.names(MARKS)
        grouped = itertools.groupby(names, lambda name: name.rpartition("/")[0])
        await asyncio.gather(*(clear(mark, list(group)) for mark, group in grouped))

    async def _sweep(self, mark: str, names: list[str]) -> None:
        since = await self._claimed(mark, 1)
        if since is not None and time.time() - since < LATE_SECONDS:
            return
        instance_id, _, incarnation = mark.partition("/")
        found = await start_records.find(self._records, instance_id)
        if found is not None and found.mark == incarnation:
            await self.delete(instance_id, found)
            return
        await self.wipe(owners.of(instance_id, incarnation))
        # The first claim last: it says that the others are there.
        for name in reversed(names):
            await self._records.remove(MARKS, name)

    async def _take_out(self, instance_id: str, found: start_records.Started) -> str | None:
        """Take an orchestration out of the engine, one at a time; gives who it said that it is, None if it goes on."""
        mark = _mark(instance_id, found)
        number = 0
        while True:
            number += 1
            since = time.time()
            if await self._records.put_if_absent(MARKS, _claim(mark, number), wire.encode(since)):
                if number > 1 and (taken := await self._taken(mark)) is not None:
                    return taken
                if number > 1 and await self._claimed(mark, 1) is None:
                    # It went on meanwhile, and is marked no more.
                    await self._records.remove(MARKS, _claim(mark, number))
                    number = 0
                    continue
                if not await self._has_id(instance_id, found):
                    return ""
                return await self._purge(instance_id, mark, number, since)
            since = await self._claimed(mark, number) or since
            delay = FIRST_LOOK_SECONDS
            while time.time() - since < CLAIM_SECONDS:
                if (taken := await self._taken(mark)) is not None:
                    return taken
                await asyncio.sleep(delay)
                delay = min(delay * 2, LAST_LOOK_SECONDS)

    async def _purge(self, instance_id: str, mark: str, number: int, since: float) -> str | None:
        left = since + PURGE_SECONDS - time.time()
        try:
            if left <= 0:
                raise TimeoutError
            async with asyncio.timeout(left):
                # Another than was recorded, if it was started by hand once the engine had been made to forget that.
                state = await self._engine.get(instance_id)
                taken = "" if state is None else state.owner or ""
                await self._engine.purge(instance_id)
                if await self._engine.get(instance_id) is not None:
                    # Told just now, or rewound: it is marked no more, or a sweep would delete it once it has ended.
                    for earlier in range(number, 0, -1):
                        await self._records.remove(MARKS, _claim(mark, earlier))
                    return None
                await self._records.put_if_absent(MARKS, f"{mark}/{_OUT}", taken.encode())
        except TimeoutError:
            raise errors.HubError(
                f"The engine has not deleted {instance_id!r} within {PURGE_SECONDS:g} s.", "Delete it again."
            ) from None
        return taken

    async def _has_id(self, instance_id: str, found: start_records.Started) -> bool:
        current = await start_records.find(self._records, instance_id)
        return current is not None and current.mark == found.mark

    async def _taken(self, mark: str) -> str | None:
        body = await self._records.get(MARKS, f"{mark}/{_OUT}")
        return None if body is None else body.decode()

    async def _claimed(self, mark: str, number: int) -> float | None:
        body = await self._records.get(MARKS, _claim(mark, number))
        return None if body is None else wire.decode(body, float)


def _mark(instance_id: str, found: start_records.Started) -> str:
    return f"{instance_id}/{found.mark}"


def _claim(mark: str, number: int) -> str:
    return f"{mark}/{number:06d}"
