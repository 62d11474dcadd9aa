"""A batch: everything produced since the last one was handed to the writer."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

import apsw

from perdure.engine import instance, records, rows, writer
from perdure.payloads import compression
from perdure.workflow import protocol

SMALL_LIMIT_BYTES = 64 * 1024
"""A payload up to this size goes into the transaction of the record that refers to it."""


class Batch:
    """What goes into one commit, and who waits for it.

    Attributes:
        instances: Values of new instance rows, row after row.
        updates: New values of instance rows, by number; the last word of a batch counts.
        history: Values of history rows, row after row.
        payloads: Small payloads, uncompressed, by owner and digest.
        kept: States to resume from, by instance number.
        timers: The timers of a parked instance by its number; none for one that is no longer parked.
        purged: Number and id of instances to delete.
        owners: Owners whose payloads are deleted.
        entities: States of entities by name and key; None deletes.
        meta: Numbers that belong to the hub.
        turns: The turns to announce once it is durable.
        futures: Who waits for it, and with what they are answered.
        settled: Whether its turns were announced or dropped.
    """

    __slots__ = (
        "entities",
        "futures",
        "history",
        "instances",
        "kept",
        "meta",
        "owners",
        "payloads",
        "purged",
        "settled",
        "timers",
        "turns",
        "updates",
    )

    def __init__(self) -> None:
        self.instances: list[apsw.SQLiteValue] = []
        self.updates: dict[int, tuple[apsw.SQLiteValue, ...]] = {}
        self.history: list[apsw.SQLiteValue] = []
        self.payloads: dict[tuple[str, bytes], bytes] = {}
        self.kept: dict[int, records.Kept] = {}
        self.timers: dict[int, list[tuple[str, float]]] = {}
        self.purged: list[int] = []
        self.owners: list[str] = []
        self.entities: dict[tuple[str, str], tuple[float, bytes] | None] = {}
        self.meta: dict[str, int] = {}
        self.turns: list[instance.Turn] = []
        self.futures: list[tuple[asyncio.Future[Any], Any]] = []
        self.settled = False

    @property
    def lean(self) -> bool:
        """Whether it is history rows and nothing else."""
        return not (
            self.instances
            or self.updates
            or self.payloads
            or self.kept
            or self.timers
            or self.purged
            or self.owners
            or self.entities
            or self.meta
        )

    def add(self, turn: instance.Turn, outcome: protocol.Outcome | None) -> None:
        """Take in a turn and the small payloads of the result that caused it."""
        live = turn.live
        self.turns.append(turn)
        if turn.row is not None:
            self.history += turn.row
        if outcome is not None:
            owner = outcome.owner or live.instance_id
            for blob in outcome.blobs:
                if len(blob.body) <= SMALL_LIMIT_BYTES:
                    self.payloads[owner, blob.digest] = blob.body
        if turn.kept is not None:
            self.kept[live.number] = turn.kept
        parked = live.parkable
        if parked or live.parked_row:
            timers = [(work.key, work.fire_at) for work in live.outstanding.values()] if parked else []
            if timers or live.parked_row:
                self.timers[live.number] = timers
            turn.unparked = live.parked_row and not parked
        if turn.first:
            self.instances += rows.columns(turn, parked)
        elif parked or live.parked_row or turn.ended is not None:
            self.updates[live.number] = (live.number, *rows.mutable_columns(turn, parked))
        live.parked_row = parked


HISTORY_WIDTH = 4


def single(batches: Sequence[Batch]) -> bool:
    """Say whether batches come down to one statement."""
    count = sum(len(batch.history) for batch in batches) // HISTORY_WIDTH
    return 0 < count <= writer.CHUNK_ROWS_LIMIT and count & (count - 1) == 0 and all(batch.lean for batch in batches)


def apply(cursor: apsw.Cursor, batches: Sequence[Batch]) -> None:
    """Write batches."""
    if len(batches) == 1:
        _write(cursor, batches[0])
    elif all(batch.lean for batch in batches):
        writer.write_rows(cursor, "insert_history", [value for batch in batches for value in batch.history])
    elif any(batch.purged or batch.owners for batch in batches):
        # A deleted id may be started anew in a later batch: their order matters.
        for batch in batches:
            _write(cursor, batch)
    else:
        _write(cursor, _merge(batches))


def _merge(batches: Sequence[Batch]) -> Batch:
    whole = Batch()
    for batch in batches:
        whole.instances += batch.instances
        whole.updates.update(batch.updates)
        whole.history += batch.history
        whole.payloads.update(batch.payloads)
        whole.kept.update(batch.kept)
        whole.timers.update(batch.timers)
        whole.entities.update(batch.entities)
        whole.meta.update(batch.meta)
    return whole


def _write(cursor: apsw.Cursor, batch: Batch) -> None:
    if not batch.lean:
        _write_rest(cursor, batch)
    writer.write_rows(cursor, "insert_history", batch.history)


def _write_rest(cursor: apsw.Cursor, batch: Batch) -> None:
    if batch.purged:
        for name in ("delete_history", "delete_kept", "delete_timers", "delete_instances"):
            writer.write_rows(cursor, name, batch.purged)
    writer.write_rows(cursor, "delete_payloads", batch.owners)
    writer.write_rows(cursor, "insert_instances", batch.instances)
    writer.write_rows(cursor, "update_instances", _flat(batch.updates.values()))
    packed = [(owner, digest, compression.pack(body)) for (owner, digest), body in batch.payloads.items()]
    writer.write_rows(cursor, "insert_payloads", _flat(packed))
    writer.write_rows(cursor, "replace_kept", _flat(batch.kept.values()))
    writer.write_rows(cursor, "delete_timers", list(batch.timers))
    timers = [(number, key, fire_at) for number, row in batch.timers.items() for key, fire_at in row]
    writer.write_rows(cursor, "insert_timers", _flat(timers))
    present = [(*place, *state) for place, state in batch.entities.items() if state is not None]
    writer.write_rows(cursor, "replace_entities", _flat(present))
    absent = [place for place, state in batch.entities.items() if state is None]
    writer.write_rows(cursor, "delete_entities", _flat(absent))
    writer.write_rows(cursor, "replace_meta", _flat(batch.meta.items()))


def _flat(lines: Iterable[Iterable[apsw.SQLiteValue]]) -> list[apsw.SQLiteValue]:
    return [value for line in lines for value in line]
