"""Cursors of lists that are ordered by time and id."""

from __future__ import annotations

import base64
import binascii

from perdure import errors

Rank = tuple[float, str]
"""When something was created, and its id."""


def encode(rank: Rank) -> str:
    """Give the cursor of the page that ends there."""
    created, id = rank
    return base64.urlsafe_b64encode(f"{created!r} {id}".encode()).decode()


def decode(cursor: str) -> Rank:
    """Give back where a page ended.

    Raises:
        UsageError: If it is no cursor.
    """
    try:
        created, space, id = base64.b64decode(cursor.encode(), altchars=b"-_", validate=True).decode().partition(" ")
        if not space:
            raise ValueError(cursor)
        return float(created), id
    except (ValueError, binascii.Error) as error:
        raise errors.UsageError(
            f"{cursor!r} is no cursor of this store.", "Give back a page's cursor unchanged."
        ) from error
