"""What both clients need: server-sent events as they come, and answers in the terminal while they are given.

Nothing but the standard library is needed.
"""

from __future__ import annotations

import http.client
import json
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

T = TypeVar("T")

RETRY_SECONDS = 1.0
HEARTBEATS_MISSED_SECONDS = 40.0
"""A host that lives sends at least a comment every 15 seconds."""


class Screen:
    """The terminal: an answer grows in its last line, and stands there once, however it came.

    Attributes:
        shown: What stands there of the answer that is being given.
    """

    def __init__(self) -> None:
        self.shown = ""

    def say(self, text: str) -> None:
        """Show the next piece of an answer."""
        print(text, end="", flush=True)
        self.shown += text

    def whole(self, text: str) -> None:
        """Show an answer that is there for good: what is missing of it, or all of it where pieces were missed."""
        if not text.startswith(self.shown):
            self.broken()
        print(text[len(self.shown) :], end="\n\n", flush=True)
        self.shown = ""

    def broken(self) -> None:
        """Leave an answer that broke off: it will be given from its beginning, or shown when it is whole."""
        if self.shown:
            print(" ...\n", flush=True)
        self.shown = ""

    def note(self, text: str) -> None:
        """Show a line of its own."""
        self.broken()
        print(text, flush=True)


def said(message: dict[str, Any]) -> str:
    """Give the text of a message, or of a piece of one, out of the framework's JSON."""
    # Some models say a text once more when it is whole, to replace its pieces.
    texts = [part for part in message["contents"] if part["type"] == "text" and part.get("merge_mode") != "replace"]
    return "".join(part["text"] for part in texts)


def events(request: urllib.request.Request) -> Iterator[tuple[str, dict[str, Any]]]:
    """Send a request until a host answers it; give the type and the data of each event until the connection ends."""
    with until_it_answers(lambda: urllib.request.urlopen(request, timeout=HEARTBEATS_MISSED_SECONDS)) as stream:
        yield from parsed(lines_of(stream))


def lines_of(stream: Iterable[bytes]) -> Iterator[str]:
    """Give the lines that come until the connection ends or breaks."""
    try:
        for line in stream:
            yield line.decode().rstrip("\n")
    except (OSError, http.client.HTTPException):
        return


def parsed(lines: Iterable[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Read server-sent events; an event is whole when an empty line follows it."""
    fields: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
            continue
        if "data" in fields:
            yield fields["event"], json.loads(fields["data"])
        fields = {}


def until_it_answers(ask: Callable[[], T]) -> T:
    """Ask again while there is no host, or one that is about to stop. What it refuses, it refuses for good."""
    while True:
        try:
            return ask()
        except urllib.error.HTTPError as error:
            if error.code != http.client.SERVICE_UNAVAILABLE:
                sys.exit(f"{error.code}: {json.load(error)['error']}")
        except (OSError, http.client.HTTPException) as error:
            print(f"... the host does not answer ({error}); trying again", file=sys.stderr, flush=True)
        time.sleep(RETRY_SECONDS)
