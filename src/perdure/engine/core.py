"""The shell round live instances: it lands things, has what follows committed, and then carries the effects out."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence

from perdure import errors
from perdure.engine import (
    blobs,
    broken,
    children,
    commits,
    hub,
    instance,
    loading,
    reader,
    records,
    running,
    timers,
    watchers,
)
from perdure.workflow import protocol

log = logging.getLogger("perdure.engine")


class Core:
    """Live instances; everything here runs on the engine's loop.

    Attributes:
        live: Instances in memory, by id.
        commits: Their commits.
        watchers: Who is told of their commits.
    """

    def __init__(
        self,
        home: hub.Hub,
        readers: reader.Readers,
        large: blobs.LargeBlobs,
        orchestrators: Mapping[str, protocol.Orchestrator],
        activities: Mapping[str, protocol.Activity],
        clock: Callable[[], float],
        on_commit: watchers.OnCommit | None,
    ) -> None:
        self.live: dict[str, instance.Live] = {}
        self.watchers = watchers.Watchers(on_commit)
        self.clock = clock
        self.draining = False
        self._home = home
        self._readers = readers
        self._orchestrators = orchestrators
        self._running = running.Running(activities, large, self._arrived)
        self._held: list[tuple[instance.Live, instance.Work]] | None = None
        self._broken = broken.Broken(self._rebuild, self._rebuilt)
        self._timers = timers.Timers(readers, clock, self.live, self._broken, self.find, self._take, self._release)
        self._last_number = int(readers.rows("select_last_number")[0][0])
        found = readers.row("select_meta", ("epoch",))
        self.epoch = 1 if found is None else int(found[0]) + 1
        self.commits = commits.Commits(home, self._running, self._announce, self._succeeded, self._fail)

    # Opening and closing.

    async def recover(self) -> None:
        """Rebuild what was in flight and set it going; gives way to the loop now and then."""
        self.commits.put(lambda target: target.meta.__setitem__("epoch", self.epoch))
        await self.commits.committed()
        # Nothing runs before all is rebuilt: what ran would take the time from those still to be set going.
        self._held = []
        for chunk in loading.load_active(self._readers, self._orchestrators, self.epoch):
            for loaded in chunk:
                if loaded.live.instance_id not in self.live:
                    self._revive(loaded, ())
            await asyncio.sleep(0)
        held, self._held = self._held, None
        for live, work in held:
            if self.live.get(live.instance_id) is live and live.outstanding.get(work.key) is work:
                self._start(live, work)
        self._timers.look()

    async def drain(self, seconds: float) -> None:
        """Start no more activities and give the running ones some time."""
        self.draining = True
        await self._running.settle(seconds)
        await self.commits.committed()

    async def close(self) -> None:
        """Cancel what runs, commit what has landed, and end the writer."""
        self.draining = True
        self._stop_timers()
        await self._running.stop()
        await self.commits.close()
        self._empty()

    async def crash(self) -> None:
        """Drop everything that is not committed."""
        await self.commits.crash()
        self._stop_timers()
        await self._running.stop()
        self.commits.forget()
        self._empty()

    def _empty(self) -> None:
        for live in list(self.live.values()):
            self._let_go(live)

    # Landing things.

    def begin(
        self,
        name: str,
        instance_id: str,
        call: bytes,
        *,
        parent: str = "",
        parent_key: str = "",
        definition: bytes = b"",
        input_digest: bytes = b"",
    ) -> instance.Turn:
        """Make a new instance and give its first turn, for ``take``."""
        self._broken.take(instance_id)
        self._last_number += 1
        live = instance.Live(
            self._orchestrators[name],
            number=self._last_number,
            instance_id=instance_id,
            name=name,
            call=call,
            created=self.clock(),
            epoch=self.epoch,
            parent=parent,
            parent_key=parent_key,
            definition=definition,
            input_digest=input_digest,
        )
        self.live[instance_id] = live
        return live.begin()

    def find(self, instance_id: str) -> instance.Live | None:
        """Give a running instance, loading it if it is parked.

        Raises:
            HubError: If its last commit failed and it is not rebuilt yet.
        """
        live = self.live.get(instance_id)
        if live is not None:
            return live
        if instance_id in self._broken:
            raise errors.HubError(
                f"The instance {instance_id!r} waits for the hub {self._home.folder} to be writable again.",
                "Free some space or check the disk, then try again.",
            )
        found = self._readers.row("select_instance", (instance_id,))
        return None if found is None else self._load(records.Instance._make(found))

    def find_any(self, instance_id: str) -> instance.Live | None:
        """Give a running instance, also one whose orchestrator this app no longer has: that can only be ended.

        Raises:
            HubError: If its last commit failed and it is not rebuilt yet.
        """
        live = self.find(instance_id)
        found = None if live is not None else self._readers.row("select_instance", (instance_id,))
        row = None if found is None else records.Instance._make(found)
        if row is None or row.status != "Running" or row.name in self._orchestrators:
            return live
        loaded = loading.load(self._readers, {row.name: loading.Absent(row.name)}, row, self.epoch)
        if loaded is None:
            return None
        self.live[instance_id] = loaded.live
        return loaded.live

    def reopen(self, instance_id: str, key: str) -> instance.Turn | None:
        """Set a failed instance going again, and give the turn for ``take``; None if it cannot go on.

        Raises:
            HubError: If its end is not settled yet.
        """
        if self.find(instance_id) is not None:
            return None
        live = loading.load_failed(self._readers, self._orchestrators, instance_id, self.epoch)
        if live is None:
            return None
        self.live[instance_id] = live
        return live.reopen(key, self.clock())

    def take(self, turn: instance.Turn | None) -> None:
        """Put a turn, and those it causes in parents and children, into the next commit.

        Raises:
            HubError: If the hub could not be read for that: nothing of it happened.
        """
        error = self._take(turn)
        if error is not None:
            raise error

    # What is committed.

    def _take(self, turn: instance.Turn | None) -> errors.HubError | None:
        todo = [] if turn is None else [turn]
        try:
            while todo:
                self._take_one(todo.pop(), todo)
        except errors.HubError as error:
            # What was taken so far must not be committed without the rest.
            for left in todo:
                self.commits.add(left)
            self._fail(error)
            return error
        self.commits.soon()
        return None

    def _take_one(self, turn: instance.Turn, todo: list[instance.Turn]) -> None:
        """Put one turn into the next commit, and those it causes on the list."""
        live = turn.live
        self.commits.add(turn)
        if turn.ended is None:
            for work in turn.scheduled:
                if work.kind == "child" and live.outstanding.get(work.key) is work:
                    todo += self._begin_child(live, work)
            return
        if turn.status == "Terminated":
            self._terminate_children(turn, todo)
        parent = self.live.get(live.parent) if live.parent else None
        if parent is not None:
            todo += self._land_child(parent, live.parent_key, turn.ended)

    def _succeeded(self) -> None:
        self._broken.succeeded()
        if self._timers.left:
            self._timers.ring()

    def _announce(self, turn: instance.Turn) -> None:
        live = turn.live
        live.uncommitted -= 1
        live.shown = (turn.time, turn.custom_status, _events(turn))
        for work in turn.cancelled:
            if work.kind == "activity":
                self._running.cancel(live.instance_id, work.key)
        if turn.ended is not None:
            self._let_go(live)
        else:
            self._go_on(turn)
        if turn.ended is not None or turn.emitted:
            self.watchers.tell(turn)

    def _go_on(self, turn: instance.Turn) -> None:
        live = turn.live
        if live.parked_row and live.uncommitted == 0:
            self._let_go(live)
            for work in live.outstanding.values():
                self._timers.expect(work.fire_at)
            return
        for work in turn.scheduled:
            if live.outstanding.get(work.key) is work:
                self._start(live, work)
        if turn.unparked:
            for work in live.outstanding.values():
                if work.kind == "timer" and work not in turn.scheduled:
                    self._timers.arm(live, work)

    def _fail(self, error: BaseException) -> None:
        """Nothing of these commits was announced: forget what they changed and read the truth again."""
        reason = error if isinstance(error, errors.HubError) else hub.unwritable(self._home.folder, error)
        log.error("%s", reason)
        for turn in self.commits.drop(reason):
            self._let_go(turn.live)
            self._broken.add(turn.live.instance_id, turn.arrival)
        self._broken.rebuild_later()

    def _rebuild(self, instance_id: str) -> None:
        found = self._readers.row("select_instance", (instance_id,))
        row = None if found is None else records.Instance._make(found)
        loaded = None
        if row is not None and row.status == "Running" and not row.parked:
            loaded = loading.load(self._readers, self._orchestrators, row, self.epoch)
        arrivals = self._broken.take(instance_id)
        if loaded is not None and instance_id not in self.live:
            self._revive(loaded, arrivals)

    def _rebuilt(self) -> None:
        self._timers.look()

    # Instances out of the store.

    def _load(self, row: records.Instance) -> instance.Live | None:
        if row.status != "Running":
            return None
        loaded = loading.load(self._readers, self._orchestrators, row, self.epoch)
        if loaded is None:
            return None
        self._revive(loaded, ())
        return loaded.live

    def _revive(self, loaded: loading.Loaded, arrivals: Sequence[running.Arrival]) -> None:
        live = loaded.live
        self.live[live.instance_id] = live
        if loaded.turn is not None:
            self._take(loaded.turn)
            return
        outstanding = list(live.outstanding.values())
        for arrival in arrivals:
            self._arrive(live, arrival)
        for work in outstanding:
            if live.outstanding.get(work.key) is not work:
                continue
            if work.kind == "child":
                for turn in self._begin_child(live, work):
                    self._take(turn)
            elif not live.parked_row:
                self._start(live, work)

    def _release(self, live: instance.Live) -> None:
        """Let a parked instance that was only looked at leave memory again."""
        if live.parked_row and live.uncommitted == 0:
            self._let_go(live)

    def _let_go(self, live: instance.Live) -> None:
        if self.live.get(live.instance_id) is live:
            del self.live[live.instance_id]
            live.leave()

    # Children.

    def _begin_child(self, parent: instance.Live, work: instance.Work) -> list[instance.Turn]:
        """Begin a child, or land what became of one that is there already."""
        child = children.find(self.live, self._readers, work.child_id)
        if child is not None:
            ended = children.result(child, parent.instance_id, work)
            return [] if ended is None else self._land_child(parent, work.key, ended)
        if work.name not in self._orchestrators:
            return self._land_child(parent, work.key, protocol.Ended(failure=running.unknown(work.name)))
        return [self.begin(work.name, work.child_id, work.call, parent=parent.instance_id, parent_key=work.key)]

    def _land_child(self, parent: instance.Live, key: str, ended: protocol.Ended) -> list[instance.Turn]:
        turn = parent.land_child(key, ended, self.clock())
        return [] if turn is None else [turn]

    def _terminate_children(self, turn: instance.Turn, todo: list[instance.Turn]) -> None:
        for work in turn.cancelled:
            child = self.find(work.child_id) if work.kind == "child" else None
            if child is None:
                continue
            if child.ended is None and child.parent == turn.live.instance_id:
                todo.append(child.terminate("The parent was terminated.", self.clock()))
            else:
                self._release(child)

    # Activities and timers.

    def _start(self, live: instance.Live, work: instance.Work) -> None:
        if work.kind == "timer":
            self._timers.arm(live, work)
        elif work.kind == "activity" and self._held is not None:
            self._held.append((live, work))
        elif work.kind == "activity" and not self.draining:
            self._running.start(live.instance_id, work)

    def _arrived(self, instance_id: str, arrival: running.Arrival) -> None:
        live = self.live.get(instance_id)
        if live is not None:
            self._arrive(live, arrival)
        elif instance_id in self._broken:
            self._broken.add(instance_id, arrival)

    def _arrive(self, live: instance.Live, arrival: running.Arrival) -> None:
        outcome = arrival.outcome
        if isinstance(outcome, protocol.Failure):
            turn = live.land(records.FAILURE, arrival.key, outcome, records.encode(outcome), self.clock())
        else:
            turn = live.land(records.RESULT, arrival.key, outcome.value, outcome.data, self.clock())
        if turn is not None:
            turn.arrival = arrival
            self._take(turn)

    def _stop_timers(self) -> None:
        self._timers.stop()
        self._broken.stop()


def _events(turn: instance.Turn) -> int:
    """How many events its instance had emitted when it was over."""
    return turn.live.events if turn.row is None else turn.row.events
