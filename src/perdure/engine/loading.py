"""Instances out of the store: one that is needed, or all that were in flight."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from perdure.engine import instance, reader, records
from perdure.workflow import protocol

CHUNK_INSTANCES = 128

log = logging.getLogger("perdure.engine")


class Loaded(NamedTuple):
    """An instance out of the store, and its last turn if replaying it ended it."""

    live: instance.Live
    turn: instance.Turn | None


class Absent:
    """Stands for an orchestrator that is gone: its instances wait, whatever lands."""

    def __init__(self, name: str) -> None:
        self.name = name

    def begin(self, host: protocol.Host, call: bytes) -> protocol.Steps:
        """Wait."""
        while True:
            yield

    def resume(self, host: protocol.Host, call: bytes, state: bytes) -> protocol.Steps:
        """Wait."""
        return self.begin(host, call)

    def decode(self, data: bytes) -> None:
        """Nobody looks at what landed."""


def load(
    readers: reader.Readers, orchestrators: Mapping[str, protocol.Orchestrator], row: records.Instance, epoch: int
) -> Loaded | None:
    """Rebuild one running instance; None if its orchestrator is not known."""
    found = readers.row("select_kept", (row.number,))
    kept = None if found is None else records.Kept._make(found)
    rows = readers.rows("select_history", (row.number, 0 if kept is None else kept.seq))
    return _rebuild(orchestrators, row, kept, map(records.Row._make, rows), epoch)


def load_failed(
    readers: reader.Readers, orchestrators: Mapping[str, protocol.Orchestrator], instance_id: str, epoch: int
) -> instance.Live | None:
    """Rebuild an instance as it was just before it failed; None if it has not failed, or left no state for that."""
    found = readers.row("select_instance", (instance_id,))
    row = None if found is None else records.Instance._make(found)
    if row is None or row.status != "Failed" or row.parent:
        return None
    loaded = load(readers, orchestrators, row, epoch)
    # One that is replayed to its end again was not kept at its failure.
    if loaded is None or loaded.turn is not None:
        return None
    # As if it had been parked: its row is written with its first turn.
    loaded.live.parked_row = True
    return loaded.live


def load_active(
    readers: reader.Readers, orchestrators: Mapping[str, protocol.Orchestrator], epoch: int
) -> Iterator[list[Loaded]]:
    """Rebuild every running instance that is not parked, oldest first, a chunk at a time."""
    last = 0
    while True:
        rows = [records.Instance._make(row) for row in readers.rows("select_active", (last, CHUNK_INSTANCES))]
        if not rows:
            return
        span = (rows[0].number, rows[-1].number)
        kept = {row[0]: records.Kept._make(row) for row in readers.rows("select_active_kept", span)}
        history = itertools.groupby(
            map(records.Row._make, readers.rows("select_active_history", span)), key=lambda row: row.instance
        )
        past = {number: list(group) for number, group in history}
        loaded = [
            _rebuild(orchestrators, row, kept.get(row.number), iter(past.get(row.number, ())), epoch) for row in rows
        ]
        yield [item for item in loaded if item is not None]
        last = rows[-1].number


def _rebuild(
    orchestrators: Mapping[str, protocol.Orchestrator],
    row: records.Instance,
    kept: records.Kept | None,
    rows: Iterator[records.Row],
    epoch: int,
) -> Loaded | None:
    orchestrator = orchestrators.get(row.name)
    if orchestrator is None:
        log.warning(
            "The instance %r waits: this app has no orchestrator named %r. It goes on when that is back.",
            row.id,
            row.name,
        )
        return None
    live = instance.Live(
        orchestrator,
        number=row.number,
        instance_id=row.id,
        name=row.name,
        call=row.call,
        created=row.created,
        epoch=row.epoch,
        parent=row.parent,
        parent_key=row.parent_key,
        definition=row.definition,
        input_digest=row.input_digest,
    )
    turn = live.rebuild(kept, rows, epoch)
    live.parked_row = bool(row.parked)
    live.shown = (live.now, live.custom_status, live.events)
    return Loaded(live, turn)
