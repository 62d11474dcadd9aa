"""Schema versions: numbered ``.sql`` files, applied in order, recorded in ``PRAGMA user_version``."""

from __future__ import annotations

import apsw

from perdure import errors
from perdure.engine import statements

HUB: tuple[str, ...] = ("hub_001.sql",)
PAYLOADS: tuple[str, ...] = ("payloads_001.sql",)


def migrate(connection: apsw.Connection, scripts: tuple[str, ...], place: str) -> None:
    """Bring a file to the newest schema, each step in a transaction of its own.

    Raises:
        HubError: If the file was written by a newer perdure.
    """
    version = int(connection.pragma("user_version"))
    if version > len(scripts):
        raise errors.HubError(
            f"{place} has schema version {version}; this perdure knows versions up to {len(scripts)}.",
            "Upgrade perdure to the version that wrote it, or start with another hub (--hub).",
        )
    for number in range(version, len(scripts)):
        with connection:
            connection.execute(statements.script(scripts[number]))
            connection.pragma("user_version", number + 1)
