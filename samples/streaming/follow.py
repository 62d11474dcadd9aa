"""Start a run, or find it, and follow it in the terminal until it ends, whatever happens to the host in between.

    python follow.py guide-1 "Lisbon"

What is written shows while it is being written.
"""

from __future__ import annotations

import argparse
import json
import sys
import urllib.parse
import urllib.request
from typing import Any

import terminal

FINAL = ("completed", "failed", "terminated")
RUN = "application/vnd.perdure.run+json"
"""A body of this type has the input and more: here, that the agents speak while they write."""


def start(url: str, run_id: str, place: str) -> None:
    """Start the run. Its id is ours: sent twice it is one run, so this may be tried until there is an answer."""
    request = urllib.request.Request(
        f"{url}/workflow/travel_guide/run?runId={urllib.parse.quote(run_id)}",
        data=json.dumps({"input": place, "stream": True}).encode(),
        headers={"Content-Type": RUN},
    )
    terminal.until_it_answers(
        lambda: urllib.request.urlopen(request, timeout=terminal.HEARTBEATS_MISSED_SECONDS).close()
    )


def follow(url: str, run_id: str, screen: terminal.Screen) -> str:
    """Show the events of the run, each once, to the final one, and give its type.

    A stream that breaks is taken up after the last event that was recorded. What is only said while it is being said
    has no id: a step that a killed host was at begins anew, and says it again.
    """
    last = 0
    while True:
        request = urllib.request.Request(
            f"{url}/workflow/travel_guide/events/{urllib.parse.quote(run_id)}",
            headers={"Accept": "text/event-stream", "Last-Event-ID": str(last)},
        )
        for kind, event in terminal.events(request):
            last = event.get("id", last)
            show(kind, event, screen)
            if kind in FINAL:
                return kind
        screen.broken()


def show(kind: str, event: dict[str, Any], screen: terminal.Screen) -> None:
    """Show what people want to know of an event."""
    data = event["data"]
    if kind == "delta":
        screen.say(terminal.said(data["data"]))
    elif kind == "output":
        screen.whole("".join(terminal.said(message) for message in data["data"]["messages"]))
    elif kind == "executor_invoked":
        screen.note(f"[{event['id']}] {data['executorId']} ...")
    elif kind == "executor_retry":
        screen.note(f"[{event['id']}] {data['executorId']} failed, and tries again: {data['error']['message']}")
    elif kind == "executor_failed":
        screen.note(f"[{event['id']}] {data['executorId']} failed: {data['error']['message']}")
    elif kind in FINAL:
        screen.note(f"[{event['id']}] {kind}")


def main() -> None:
    """Read the command line, start and follow."""
    parser = argparse.ArgumentParser(description="Start a run, or find it, and follow it until it ends.")
    parser.add_argument("run", help="the run's id; the same again follows the same run from its start")
    parser.add_argument("place", help="what the guide is about")
    parser.add_argument("--url", default="http://localhost:7071/api", help="where the host's API is")
    told = parser.parse_args()
    start(told.url, told.run, told.place)
    sys.exit(0 if follow(told.url, told.run, terminal.Screen()) == "completed" else 1)


if __name__ == "__main__":
    main()
