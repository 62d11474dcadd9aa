"""Ask the writer something, and read its answer while it is given.

    python ask.py ann-1 "One day in Lisbon: what should I do?"

Whatever happens to the host in between, the question is asked once.
"""

from __future__ import annotations

import argparse
import json
import sys
import urllib.request
import uuid
from typing import Any

import terminal


def ask(url: str, session: str, question: str, screen: terminal.Screen) -> dict[str, Any]:
    """Show the answer as it comes; gives what the last event has.

    A stream that breaks is taken up with the same request under the same key: it joins the turn, or has its answer.
    """
    request = urllib.request.Request(
        f"{url}/agents/guide/run",
        data=json.dumps({"message": question, "session_id": session}).encode(),
        headers={
            "Content-Type": "application/json",
            "Accept": "text/event-stream",
            "Idempotency-Key": uuid.uuid4().hex,
        },
    )
    while True:
        attempt = 1
        for kind, data in terminal.events(request):
            if kind != "delta":
                if data["status"] == "success":
                    screen.whole(data["response"])
                return data
            if data["attempt"] != attempt:
                attempt = data["attempt"]
                screen.broken()
            screen.say(terminal.said(data["data"]))
        screen.broken()


def main() -> None:
    """Read the command line and ask."""
    parser = argparse.ArgumentParser(description="Ask the writer something, and read its answer while it is given.")
    parser.add_argument("session", help="the conversation; the same again goes on with it")
    parser.add_argument("question")
    parser.add_argument("--url", default="http://localhost:7071/api", help="where the host's API is")
    told = parser.parse_args()
    screen = terminal.Screen()
    answer = ask(told.url, told.session, told.question, screen)
    if answer["status"] != "success":
        screen.broken()
        sys.exit(str(answer.get("error", answer["status"])))


if __name__ == "__main__":
    main()
