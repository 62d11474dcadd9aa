"""The ends of runs that failed: what each leaves for clients, and for whoever rewinds it."""

from __future__ import annotations

from typing import Final

from perdure.hosts.replay import wire
from perdure.payloads import records

END: Final = "end/"


async def keep(kept: records.RecordStore, run: str, end: wire.End) -> None:
    """Record what a run leaves that is about to fail; durable when this returns."""
    await kept.put_if_absent(run, f"{END}{end.next:012d}", wire.encode(end))


async def last(kept: records.RecordStore, run: str) -> wire.End | None:
    """Give what a failed run left; one that was rewound may have failed several times."""
    names = await kept.names(run, END)
    body = await kept.get(run, names[-1]) if names else None
    return None if body is None else wire.decode(body, wire.End)
