"""Owners of payloads and records: a run, as long as its id is its own.

An id may be taken again once its run is deleted. What the run before still writes then, and what is still deleted of
it, must not be the next one's: so each run that an id is given to is an incarnation, and owns what it keeps as that.
"""

from __future__ import annotations

import uuid
from typing import Final

SEPARATOR: Final = "/"
"""No id of a run has it."""

INCARNATION_DIGITS: Final = 12


def new_incarnation() -> str:
    """Give what an id was never used with."""
    return uuid.uuid4().hex[:INCARNATION_DIGITS]


def of(run: str, incarnation: str) -> str:
    """Give the owner of what a run keeps; the run itself where its id is used once, and it has no incarnation."""
    return f"{run}{SEPARATOR}{incarnation}" if incarnation else run


def parts(owner: str) -> tuple[str, str]:
    """Give the run's id, as clients know it, and its incarnation; that is empty if it has none."""
    run, _, incarnation = owner.partition(SEPARATOR)
    return run, incarnation


def run_of(owner: str) -> str:
    """Give the run's id, as clients know it."""
    return parts(owner)[0]
