"""What can be asked of the hub: committed truth only, from any thread."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from perdure import errors
from perdure.engine import instance, reader, records

PAGE_LIMIT = 1_000


def view(readers: reader.Readers, live: Mapping[str, instance.Live], instance_id: str) -> records.InstanceView | None:
    """Give an instance as committed, or None."""
    present = live.get(instance_id)
    if present is not None and present.shown is not None and present.ended is None:
        return _live_view(present, present.shown)
    found = readers.row("select_instance", (instance_id,))
    return None if found is None else _overlay(live, records.view(records.Instance._make(found)))


def page(
    readers: reader.Readers,
    live: Mapping[str, instance.Live],
    *,
    names: Sequence[str],
    statuses: Sequence[str],
    created_from: float | None,
    created_to: float | None,
    prefix: str,
    children: bool,
    cursor: str | None,
    limit: int,
) -> tuple[list[records.InstanceView], str | None]:
    """Give a page of instances, newest first, and where the next one starts.

    Raises:
        UsageError: If the cursor is none of ours or the limit is out of range.
    """
    if not 1 <= limit <= PAGE_LIMIT:
        raise errors.UsageError(f"The limit {limit} is out of range.", f"Ask for 1 to {PAGE_LIMIT} instances a page.")
    before_created, before_number = _parse(cursor)
    bindings: dict[str, Any] = {
        "created_from": -math.inf if created_from is None else created_from,
        "created_to": math.inf if created_to is None else created_to,
        "cursor_created": before_created,
        "cursor_number": before_number,
        "names": msgspec.json.encode(list(names)).decode() if names else None,
        "statuses": msgspec.json.encode(list(statuses)).decode() if statuses else None,
        "prefix": prefix,
        "children": int(children),
        "limit": limit + 1,
    }
    rows = [records.Instance._make(row) for row in readers.rows("select_page", bindings)]
    shown = [_overlay(live, records.view(row)) for row in rows[:limit]]
    if len(rows) <= limit:
        return shown, None
    last = rows[limit - 1]
    return shown, f"{last.created.hex()}~{last.number}"


def events(
    readers: reader.Readers,
    live: Mapping[str, instance.Live],
    instance_id: str,
    after: int,
    limit: int,
    seq: int = 0,
) -> tuple[list[records.Event], int]:
    """Give up to ``limit`` events with ids above ``after``, and the landing from which to look on.

    What is on disk is ahead of what :func:`view` shows for as long as a commit is not announced: an event waits for
    the status that goes with it.
    """
    stored = number(readers, live, instance_id)
    if stored is None:
        return [], seq
    present = live.get(instance_id)
    shown = None if present is None or present.shown is None or present.ended is not None else present.shown[2]
    found: list[records.Event] = []
    while len(found) < limit:
        rows = readers.rows("select_events", (stored, seq, after, limit))
        for row in map(records.Row._make, rows):
            if shown is not None and row.events > shown:
                return found[:limit], seq
            record = records.decode_record(row.record)
            first = row.events - len(record.events) + 1
            found += [
                records.Event(first + place, record.time, data)
                for place, data in enumerate(record.events)
                if first + place > after
            ]
            seq = row.seq
        if len(rows) < limit:
            break
        after = max(after, found[-1].id) if found else after
        seq += 1
    return found[:limit], seq


def number(readers: reader.Readers, live: Mapping[str, instance.Live], instance_id: str) -> int | None:
    """Give the number under which an instance's rows are stored."""
    present = live.get(instance_id)
    if present is not None:
        return present.number
    found = readers.row("select_number", (instance_id,))
    return None if found is None else int(found[0])


def _overlay(live: Mapping[str, instance.Live], stored: records.InstanceView) -> records.InstanceView:
    """The row of a live instance is older than its last commit, which only wrote history."""
    present = live.get(stored.id)
    if present is None or present.shown is None or stored.ended:
        return stored
    return _live_view(present, present.shown)


def _live_view(live: instance.Live, shown: instance.Shown) -> records.InstanceView:
    return records.InstanceView(
        id=live.instance_id,
        name=live.name,
        status="Running",
        created=live.created,
        updated=shown[0],
        custom_status=shown[1],
        input_digest=live.input_digest,
        definition=live.definition,
        parent=live.parent,
    )


def _parse(cursor: str | None) -> tuple[float, int]:
    if cursor is None:
        return math.inf, 0
    created, _, last = cursor.partition("~")
    try:
        return float.fromhex(created), int(last)
    except (ValueError, OverflowError):
        remedy = "Pass on the cursor of the page before."
        raise errors.UsageError(f"The cursor {cursor!r} is none of ours.", remedy) from None
