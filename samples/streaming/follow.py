"""Start a run, or find it, and follow it in the terminal until it ends, whatever happens to the host in between.

    python follow.py guide-1 "Lisbon"

Nothing but the standard library is needed.
"""

from __future__ import annotations

import argparse
import http.client
import json
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

T = TypeVar("T")

FINAL = ("completed", "failed", "terminated")
RETRY_SECONDS = 1.0
HEARTBEATS_MISSED_SECONDS = 40.0
"""A host that lives sends at least a comment every 15 seconds."""


def start(url: str, run_id: str, place: str) -> None:
    """Start the run. Its id is ours: sent twice it is one run, so this may be tried until there is an answer."""
    request = urllib.request.Request(
        f"{url}/workflow/travel_guide/run?runId={urllib.parse.quote(run_id)}",
        data=json.dumps(place).encode(),
        headers={"Content-Type": "application/json"},
    )
    until_it_answers(lambda: urllib.request.urlopen(request, timeout=HEARTBEATS_MISSED_SECONDS).close())


def events(url: str, run_id: str) -> Iterator[dict[str, Any]]:
    """Give the events of the run, each once, to the final one; a stream that breaks is taken up where it broke."""
    last = 0

    def connected() -> http.client.HTTPResponse:
        request = urllib.request.Request(
            f"{url}/workflow/travel_guide/events/{urllib.parse.quote(run_id)}",
            headers={"Accept": "text/event-stream", "Last-Event-ID": str(last)},
        )
        found: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=HEARTBEATS_MISSED_SECONDS)
        return found

    while True:
        with until_it_answers(connected) as stream:
            for event in parsed(lines_of(stream)):
                # What is only said while it is being said has no id, and does not come again.
                last = event.get("id", last)
                yield event
                if event["type"] in FINAL:
                    return


def lines_of(stream: Iterable[bytes]) -> Iterator[str]:
    """Give the lines that come until the connection ends or breaks."""
    try:
        for line in stream:
            yield line.decode().rstrip("\n")
    except (OSError, http.client.HTTPException):
        return


def parsed(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Read server-sent events; an event is whole when an empty line follows it."""
    data = ""
    for line in lines:
        if line.startswith("data: "):
            data = line.removeprefix("data: ")
        elif not line and data:
            yield json.loads(data)
            data = ""


def until_it_answers(ask: Callable[[], T]) -> T:
    """Ask again while there is no host, or one that is about to stop. What it refuses, it refuses for good."""
    while True:
        try:
            return ask()
        except urllib.error.HTTPError as error:
            if error.code != http.client.SERVICE_UNAVAILABLE:
                sys.exit(f"{error.code}: {json.load(error)['error']}")
        except OSError as error:
            print(f"... the host does not answer ({error}); trying again", file=sys.stderr, flush=True)
        time.sleep(RETRY_SECONDS)


def show(event: dict[str, Any]) -> None:
    """Print what people want to know of an event."""
    data = event["data"]
    if event["type"] == "executor_invoked":
        print(f"[{event['id']}] {data['executorId']} ...", flush=True)
    elif event["type"] == "output":
        print(f"\n## {data['data']['title']}\n\n{data['data']['text']}\n", flush=True)
    elif event["type"] == "executor_failed":
        print(f"[{event['id']}] {data['executorId']} failed: {data['error']['message']}", flush=True)
    elif event["type"] in FINAL:
        print(f"[{event['id']}] {event['type']}", flush=True)


def main() -> None:
    """Read the command line, start and follow."""
    parser = argparse.ArgumentParser(description="Start a run, or find it, and follow it until it ends.")
    parser.add_argument("run", help="the run's id; the same again follows the same run from its start")
    parser.add_argument("place", help="what the guide is about")
    parser.add_argument("--url", default="http://localhost:7071/api", help="where the host's API is")
    told = parser.parse_args()
    start(told.url, told.run, told.place)
    event: dict[str, Any] = {}
    for event in events(told.url, told.run):
        show(event)
    sys.exit(0 if event["type"] == "completed" else 1)


if __name__ == "__main__":
    main()
