"""Children: what an instance that starts another by an id finds there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from perdure.engine import instance, reader, records
from perdure.workflow import protocol


class Child(NamedTuple):
    """An instance that is there already under the id of a child.

    Attributes:
        parent: Whose child it is; empty if it is none.
        key: Under which key its parent started it.
        ended: How it ended; None if it has not, or if that will be told.
    """

    parent: str
    key: str
    ended: protocol.Ended | None = None


def find(live: Mapping[str, instance.Live], readers: reader.Readers, child_id: str) -> Child | None:
    """Give what is there under an id, if anything is."""
    present = live.get(child_id)
    if present is not None:
        return Child(present.parent, present.parent_key)
    found = readers.row("select_instance", (child_id,))
    if found is None:
        return None
    row = records.Instance._make(found)
    if row.status == "Running":
        return Child(row.parent, row.parent_key)
    failure = None if row.failure is None else records.decode_failure(row.failure)
    return Child(row.parent, row.parent_key, protocol.Ended(row.output, failure))


def result(child: Child, parent: str, work: instance.Work) -> protocol.Ended | None:
    """Give what a parent hears at once of what is there under the id of its child; None if it hears later."""
    if (child.parent, child.key) == (parent, work.key):
        return child.ended
    message = f"The child {work.child_id!r} exists already and belongs to another orchestration."
    return protocol.Ended(failure=protocol.Failure("InstanceExists", message))
