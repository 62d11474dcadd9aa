"""What the SDK says of a worker's connection: one line of what nobody else says, and that not again and again."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from typing import Final

AGAIN_SECONDS: Final = 60.0
"""How long the same trouble is not told a second time."""

_SAID_ELSEWHERE: Final = re.compile(
    # A call that is tried again; a stream's error, which comes once more; the end of a connection that somebody ends.
    r"Connection failed, retrying|Error in work item stream|Timed out waiting for work items"
    # Whoever asks the scheduler for its health is told of these too.
    r"|.*StatusCode\.(UNAVAILABLE|DEADLINE_EXCEEDED|CANCELLED|UNAUTHENTICATED)|.*failed to retrieve a token",
    re.DOTALL,
)
_TROUBLE: Final = re.compile(r"Failed to create connection|(Connection|Application)-level gRPC error|Unexpected error")
_STATUS: Final = re.compile(r"StatusCode\.([A-Z_]+)")
_DETAILS: Final = re.compile(r'details = "(.*)"')


class Connection(logging.Filter):
    """Lets a record of trouble with the connection through as one line, once a minute; other records as they are.

    Args:
        clock: Gives the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._told: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Say whether a record is shown."""
        text = record.getMessage()
        if _SAID_ELSEWHERE.match(text):
            return False
        if _TROUBLE.match(text) is None:
            return True
        line = _line(text)
        now = self._clock()
        if now - self._told.get(line, -AGAIN_SECONDS) < AGAIN_SECONDS:
            return False
        self._told[line] = now
        record.msg, record.args = line, None
        return True


def _line(text: str) -> str:
    status, details = _STATUS.search(text), _DETAILS.search(text)
    if status is None:
        return text.splitlines()[0]
    said = f"This worker is given no work: {status[1]}: {details[1] if details else ''}".rstrip(": ")
    if status[1] == "PERMISSION_DENIED":
        return f"{said}. The identity needs the role Durable Task Data Contributor on the task hub."
    return said
