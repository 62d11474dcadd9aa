"""Rows and views of an instance out of its last turn."""

from __future__ import annotations

from typing import Any

from perdure.engine import instance, records


def view(turn: instance.Turn) -> records.InstanceView:
    """Show an instance as its last turn left it."""
    live, ended = turn.live, turn.ended
    return records.InstanceView(
        id=live.instance_id,
        name=live.name,
        status=turn.status,
        created=live.created,
        updated=turn.time,
        output=None if ended is None else ended.output,
        failure=None if ended is None else ended.failure,
        custom_status=turn.custom_status,
        input_digest=live.input_digest,
        definition=live.definition,
        parent=live.parent,
    )


def mutable_columns(turn: instance.Turn, parked: bool) -> tuple[Any, ...]:
    """Give status, parked, updated, custom status, failure and output."""
    ended = turn.ended
    failure = None if ended is None or ended.failure is None else records.encode(ended.failure)
    return (turn.status, int(parked), turn.time, turn.custom_status, failure, None if ended is None else ended.output)


def columns(turn: instance.Turn, parked: bool) -> records.Instance:
    """Give the whole row of a new instance."""
    live = turn.live
    status, parked_column, updated, custom_status, failure, output = mutable_columns(turn, parked)
    return records.Instance(
        number=live.number,
        id=live.instance_id,
        name=live.name,
        status=status,
        parked=parked_column,
        created=live.created,
        updated=updated,
        epoch=live.epoch,
        parent=live.parent,
        parent_key=live.parent_key,
        definition=live.definition,
        input_digest=live.input_digest,
        custom_status=custom_status,
        failure=failure,
        output=output,
        call=live.call,
    )
