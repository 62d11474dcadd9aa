"""The embedded engine: what a host opens, starts orchestrations on, and asks."""

from __future__ import annotations

import contextlib
import functools
import pathlib
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence

from perdure import errors
from perdure.engine import batch, blobs, core, hub, queries, reader, records, rows, watchers
from perdure.payloads import refs
from perdure.workflow import protocol

EVENTS_PAGE = 500


class Engine:
    """Durable orchestrations on a hub folder.

    The asynchronous methods belong to the loop that ``start`` was called on, which also runs activities.
    ``view``, ``query``, ``events``, ``entity`` and ``payloads.read`` may be called from any thread.

    Args:
        folder: The hub's folder; made if it is not there.
        orchestrators: The kinds of orchestrations, by name.
        activities: The activities, by name.
        on_commit: Called on the loop after each commit with an instance's id and name, the events it emitted,
            and how it ended, if it did.
        clock: Gives seconds since the epoch.
    """

    def __init__(
        self,
        folder: pathlib.Path,
        *,
        orchestrators: Mapping[str, protocol.Orchestrator],
        activities: Mapping[str, protocol.Activity],
        on_commit: watchers.OnCommit | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.folder = folder
        self._orchestrators = orchestrators
        self._activities = activities
        self._on_commit = on_commit
        self._clock = clock
        self._home: hub.Hub | None = None
        self._purging: set[str] = set()

    async def start(self) -> None:
        """Open the hub, become its owner, and set going what was in flight.

        Raises:
            HubError: If the hub is in use, cannot be written, or is of a newer schema.
        """
        async with contextlib.AsyncExitStack() as undo:
            home = hub.open_hub(self.folder)
            undo.callback(home.release)
            self._readers = reader.Readers(home.reader)
            undo.callback(self._readers.close)
            self._large = blobs.LargeBlobs(home)
            undo.push_async_callback(self._large.crash)
            self._core = core.Core(
                home, self._readers, self._large, self._orchestrators, self._activities, self._clock, self._on_commit
            )
            undo.push_async_callback(self._core.crash)
            self.payloads = blobs.Payloads(self._readers, self._large, self._put_small, self._purge_small)
            await self._core.recover()
            self._home = home
            undo.pop_all()

    @property
    def in_memory(self) -> int:
        """How many instances are in memory: right after the start, those that go on from where they were."""
        return len(self._core.live)

    async def drain(self, seconds: float) -> None:
        """Begin to stop: starts no more activities and waits for the running ones, at most so long.

        Raises:
            HubError: If what they gave could not be made durable.
        """
        await self._core.drain(seconds)

    async def close(self) -> None:
        """Stop, and let go of the hub. What has not finished goes on at the next start."""
        home, self._home = self._home, None
        if home is None:
            return
        try:
            await self._core.close()
            await self._large.close()
        finally:
            self._readers.close()
            home.release()

    async def crash(self) -> None:
        """Stop as if killed: nothing more is committed. For tests."""
        home, self._home = self._home, None
        if home is None:
            return
        await self._core.crash()
        await self._large.crash()
        self._readers.close()
        home.release()

    async def begin(
        self,
        name: str,
        instance_id: str,
        call: bytes,
        *,
        input_digest: bytes = b"",
        definition: bytes = b"",
        blobs: Sequence[refs.Blob] = (),
    ) -> tuple[records.InstanceView, bool]:
        """Start an orchestration unless the id exists; gives it and whether it is new. Durable when it returns.

        Args:
            name: The orchestrator's name.
            instance_id: The id, unique in the hub.
            call: Its encoded input.
            input_digest: Kept with it, to tell a repeated start from a clash.
            definition: Digest of the definition it runs.
            blobs: Payloads that ``call`` refers to, owned by this instance.

        Raises:
            UsageError: If there is no orchestrator of that name.
            HubError: If it could not be made durable: nothing was started.
        """
        if name not in self._orchestrators:
            known = ", ".join(sorted(self._orchestrators)) or "none"
            raise errors.UsageError(f"There is no orchestrator {name!r}.", f"This app has: {known}.")
        if self._core.draining:
            raise errors.HubError("The host is shutting down.", "Start it again.")
        found = await self._existing(instance_id)
        if found is not None:
            return found, False
        small, large = _split(blobs)
        if large:
            await self._large.put(instance_id, large)
            found = await self._existing(instance_id)
            if found is not None:
                return found, False
        turn = self._core.begin(name, instance_id, call, definition=definition, input_digest=input_digest)
        self._core.take(turn)
        if small:
            self._core.commits.put(functools.partial(_add_payloads, owner=instance_id, items=small))
        await self._core.commits.committed()
        return self.view(instance_id) or rows.view(turn), True

    async def raise_event(
        self,
        instance_id: str,
        name: str,
        data: bytes,
        *,
        guard: Callable[[bytes | None], bool] = lambda custom_status: True,
    ) -> bool:
        """Send an event; durable when it returns. False if the instance is unknown, has ended, or is guarded from it.

        Args:
            instance_id: Whom to.
            name: The event's name.
            data: What it carries.
            guard: Given the custom status of this moment, says whether to send it; nothing comes between.

        Raises:
            HubError: If it could not be made durable: it was not sent.
        """
        live = self._core.find(instance_id)
        turn = None
        if live is not None and guard(live.custom_status):
            turn = live.land(records.EVENT, name, data, data, self._clock())
        self._core.take(turn)
        # A refusal may rest on an end that is not durable yet.
        await self._core.commits.committed()
        return turn is not None

    async def terminate(self, instance_id: str, reason: str, event: bytes | None = None) -> bool:
        """End an instance and its children as Terminated; False if it is unknown or had ended.

        Args:
            instance_id: Which.
            reason: Why, for people.
            event: The last entry of its event log, if it is to have one for this.

        Raises:
            HubError: If it could not be made durable: it goes on.
        """
        live = self._core.find_any(instance_id)
        turn = None if live is None or live.ended is not None else live.terminate(reason, self._clock(), event)
        self._core.take(turn)
        await self._core.commits.committed()
        return turn is not None

    async def reopen(self, instance_id: str, name: str) -> bool:
        """Set a failed instance going again from just before its failure; durable when it returns.

        What had completed stays completed, and its event log goes on. False if it is unknown, has not failed, or
        left no state to go on from.

        Args:
            instance_id: Which.
            name: Name of the event that is sent to it first.

        Raises:
            HubError: If it could not be made durable: it stays failed.
        """
        if self._core.draining:
            raise errors.HubError("The host is shutting down.", "Start it again.")
        turn = self._core.reopen(instance_id, name)
        self._core.take(turn)
        await self._core.commits.committed()
        return turn is not None

    async def purge(self, instance_id: str) -> bool:
        """Delete an ended instance, its ended children, and their history, payloads and events.

        False if it is unknown or has not ended.

        Raises:
            HubError: If it could not be made durable.
        """
        view = self.view(instance_id)
        if view is None or not view.ended or instance_id in self._purging:
            return False
        numbers, ids = self._family(instance_id)
        self._purging.update(ids)
        try:
            self._core.commits.put(functools.partial(_add_purge, numbers=numbers, owners=ids))
            await self._core.commits.committed()
            for owner in ids:
                await self._large.purge(owner)
        finally:
            self._purging.difference_update(ids)
        return True

    def view(self, instance_id: str) -> records.InstanceView | None:
        """Give an instance as committed, or None."""
        return queries.view(self._readers, self._core.live, instance_id)

    async def wait(self, instance_id: str, seconds: float) -> records.InstanceView | None:
        """Give an instance as soon as it has ended, or as it stands when the time is over."""
        view = self.view(instance_id)
        if view is None or view.ended or seconds <= 0:
            return view
        return await self._core.watchers.ended(instance_id, seconds) or self.view(instance_id)

    def query(
        self,
        *,
        names: Sequence[str] = (),
        statuses: Sequence[str] = (),
        created_from: float | None = None,
        created_to: float | None = None,
        prefix: str = "",
        children: bool = False,
        cursor: str | None = None,
        limit: int = 100,
    ) -> tuple[list[records.InstanceView], str | None]:
        """List instances, newest first; gives a page and the cursor of the next one (None at the end).

        Args:
            names: Only of these orchestrators.
            statuses: Only in one of these.
            created_from: Only created at this time (seconds since the epoch) or later.
            created_to: Only created before this time.
            prefix: Only those whose id starts so.
            children: Also those that other instances started.
            cursor: Where the page before ended.
            limit: Instances a page, 1 to 1000.
        """
        return queries.page(
            self._readers,
            self._core.live,
            names=names,
            statuses=statuses,
            created_from=created_from,
            created_to=created_to,
            prefix=prefix,
            children=children,
            cursor=cursor,
            limit=limit,
        )

    def events(self, instance_id: str, after: int = 0, limit: int = 1000) -> list[records.Event]:
        """Give up to ``limit`` events with ids above ``after``."""
        return queries.events(self._readers, self._core.live, instance_id, after, limit)[0]

    async def follow(self, instance_id: str, after: int = 0) -> AsyncIterator[records.Event]:
        """Give the events with ids above ``after`` and those to come; ends when the instance has and all are given."""
        seq = 0
        with self._core.watchers.following(instance_id) as told:
            while True:
                told.clear()
                # Asked before the events are read: an end seen here has all its events before it.
                view = self.view(instance_id)
                more = True
                while more:
                    found, seq = queries.events(self._readers, self._core.live, instance_id, after, EVENTS_PAGE, seq)
                    for event in found:
                        after = event.id
                        yield event
                    more = len(found) == EVENTS_PAGE
                if view is None or view.ended:
                    return
                await told.wait()

    def last_event(self, instance_id: str) -> int:
        """Give the id of the last event of an instance, as committed; 0 of one that is not in memory."""
        present = self._core.live.get(instance_id)
        return 0 if present is None or present.shown is None else present.shown[2]

    def entity(self, name: str, key: str) -> bytes | None:
        """Give an entity's state, or None."""
        found = self._readers.row("select_entity", (name, key))
        return None if found is None else found[0]

    async def put_entity(self, name: str, key: str, state: bytes | None) -> None:
        """Set an entity's state, None to delete it; durable when it returns.

        Raises:
            HubError: If it could not be made durable.
        """
        value = None if state is None else (self._clock(), state)
        self._core.commits.put(lambda target: target.entities.__setitem__((name, key), value))
        await self._core.commits.committed()

    def entities(self, name: str, after: str = "", limit: int = 100) -> list[tuple[str, float]]:
        """List the keys above ``after`` of one kind of entity, with the time of their last change."""
        return [(key, updated) for key, updated in self._readers.rows("select_entities", (name, after, limit))]

    async def _existing(self, instance_id: str) -> records.InstanceView | None:
        if instance_id in self._purging:
            await self._core.commits.committed()
        live = self._core.live.get(instance_id)
        if live is not None and live.shown is None:
            # Its own start is not durable yet.
            await self._core.commits.committed()
        return self.view(instance_id)

    def _family(self, instance_id: str) -> tuple[list[int], list[str]]:
        number = queries.number(self._readers, {}, instance_id)
        numbers = [] if number is None else [number]
        ids = [instance_id]
        for owner in ids:
            for child, child_id, status in self._readers.rows("select_children", (owner,)):
                if status != "Running":
                    numbers.append(child)
                    ids.append(child_id)
        return numbers, ids

    async def _put_small(self, owner: str, items: Sequence[refs.Blob]) -> None:
        self._core.commits.put(functools.partial(_add_payloads, owner=owner, items=items))
        await self._core.commits.committed()

    async def _purge_small(self, owner: str) -> None:
        self._core.commits.put(functools.partial(_add_purge, numbers=(), owners=(owner,)))
        await self._core.commits.committed()


def _split(items: Sequence[refs.Blob]) -> tuple[list[refs.Blob], list[refs.Blob]]:
    return blobs.split(items)


def _add_payloads(target: batch.Batch, *, owner: str, items: Sequence[refs.Blob]) -> None:
    for item in items:
        target.payloads[owner, item.digest] = item.body


def _add_purge(target: batch.Batch, *, numbers: Sequence[int], owners: Sequence[str]) -> None:
    target.purged += numbers
    target.owners += owners
