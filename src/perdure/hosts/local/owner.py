"""The host that owns a hub, as other processes find it: ``host.json`` in the hub's folder."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from perdure import platform

FILE_NAME = "host.json"
LOCK_FILE = "owner.lock"


class Owner(msgspec.Struct, frozen=True):
    """The process that holds a hub.

    Attributes:
        pid: Its process id.
        url: Where its API's routes start, prefix included, without a trailing slash; empty if it serves none.
    """

    pid: int
    url: str = ""


def announce(hub: Path, url: str) -> None:
    """Tell other processes where this one, the hub's owner, serves."""
    fresh = hub / f"{FILE_NAME}.{os.getpid()}"
    fresh.write_bytes(msgspec.json.encode(Owner(os.getpid(), url)))
    # In one step: nobody reads half of it.
    os.replace(fresh, hub / FILE_NAME)


def retract(hub: Path) -> None:
    """Take the announcement back, before the hub is let go."""
    (hub / FILE_NAME).unlink(missing_ok=True)


def find(hub: Path) -> Owner | None:
    """Give the process that owns a hub now; None if nobody does.

    A process that is starting, or serves no HTTP, has no url.
    """
    if not (hub / LOCK_FILE).exists():
        return None
    try:
        platform.lock(hub / LOCK_FILE).release()
    except platform.Locked as held:
        told = _read(hub / FILE_NAME)
        if told is not None and (held.pid is None or held.pid == told.pid):
            return told
        return Owner(held.pid or 0)
    return None


def _read(path: Path) -> Owner | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Owner)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
