"""Activities as they run: a task each, on the engine's loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence

from perdure import errors, tracebacks
from perdure.engine import blobs, instance
from perdure.payloads import refs
from perdure.workflow import protocol

FIRST_RETRY_SECONDS = 0.1
LONGEST_RETRY_SECONDS = 5.0

log = logging.getLogger("perdure.engine")


class Arrival:
    """What an activity gave: kept until its commit, so that a failed commit does not cost it."""

    __slots__ = ("key", "outcome")

    def __init__(self, key: str, outcome: protocol.Outcome | protocol.Failure) -> None:
        self.key = key
        self.outcome = outcome


class Running:
    """The activities that run.

    Args:
        activities: The activities by name.
        large: Where large payloads of a result go before the result itself.
        arrived: Called with the instance id and what an activity gave; not for a cancelled one.
    """

    def __init__(
        self,
        activities: Mapping[str, protocol.Activity],
        large: blobs.LargeBlobs,
        arrived: Callable[[str, Arrival], None],
    ) -> None:
        self._activities = activities
        self._large = large
        self._arrived = arrived
        self._loop = asyncio.get_running_loop()
        self._tasks: dict[tuple[str, str], asyncio.Task[None]] = {}

    def __len__(self) -> int:
        return len(self._tasks)

    def start(self, instance_id: str, work: instance.Work) -> None:
        """Run an activity, unless it runs already: an instance that was rebuilt takes over what it had started."""
        place = (instance_id, work.key)
        if place not in self._tasks:
            self._tasks[place] = self._loop.create_task(self._run(place, work))

    def cancel(self, instance_id: str, key: str) -> None:
        """Cancel an activity; what it gives is not waited for."""
        task = self._tasks.pop((instance_id, key), None)
        if task is not None:
            task.cancel()

    async def settle(self, seconds: float) -> None:
        """Give those that run now some time to end."""
        if self._tasks:
            await asyncio.wait(list(self._tasks.values()), timeout=seconds)

    async def stop(self) -> None:
        """Cancel all."""
        tasks = list(self._tasks.values())
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, place: tuple[str, str], work: instance.Work) -> None:
        outcome: protocol.Outcome | protocol.Failure
        try:
            activity = self._activities.get(work.name)
            if activity is None:
                outcome = unknown(work.name)
            else:
                outcome = await activity(place[0], work.key, work.call)
                if outcome.blobs:
                    await self._put_large(outcome.owner or place[0], outcome.blobs)
        except asyncio.CancelledError as error:
            if self._tasks.get(place) is not asyncio.current_task():
                raise  # The engine cancelled it; what it would have given is not waited for.
            outcome = tracebacks.failure(error)
        except protocol.Stranded:
            # It stays outstanding, and holds up no drain.
            if self._tasks.get(place) is asyncio.current_task():
                del self._tasks[place]
            return
        except GeneratorExit:
            raise  # The loop is gone.
        except BaseException as error:
            # One that took the host with it would take it again at each start.
            outcome = tracebacks.failure(error)
        if self._tasks.get(place) is asyncio.current_task():
            del self._tasks[place]
            self._arrived(place[0], Arrival(work.key, outcome))

    async def _put_large(self, owner: str, items: Sequence[refs.Blob]) -> None:
        """Make large payloads durable; a result that was paid for waits for room instead of being lost."""
        large = blobs.split(items)[1]
        delay = FIRST_RETRY_SECONDS
        while large:
            try:
                await self._large.put(owner, large)
                return
            except errors.HubError as error:
                log.error("%s", error)
            await asyncio.sleep(delay)
            delay = min(delay * 2, LONGEST_RETRY_SECONDS)


def unknown(name: str) -> protocol.Failure:
    """Describe an activity or orchestrator that this app does not have."""
    return protocol.Failure("LookupError", f"This app has nothing named {name!r}.")
