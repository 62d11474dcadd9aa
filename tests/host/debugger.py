"""A debugger's side of the Debug Adapter Protocol: as much of it as a breakpoint takes."""

from __future__ import annotations

import itertools
import json
import socket
from types import TracebackType
from typing import Any, Self

Message = dict[str, Any]

PATIENCE_SECONDS = 30.0


class Debugger:
    """A debugger that is attached to a process.

    Args:
        port: Where its debug server listens on this machine.
    """

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS)
        self._stream = self._socket.makefile("rb")
        self._numbers = itertools.count(1)
        self._waiting: list[Message] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()
        self._socket.close()

    def send(self, command: str, **arguments: Any) -> int:
        """Send a request; gives its number."""
        number = next(self._numbers)
        body = json.dumps({"seq": number, "type": "request", "command": command, "arguments": arguments}).encode()
        self._socket.sendall(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        return number

    def ask(self, command: str, **arguments: Any) -> Message:
        """Send a request and give the body of its answer."""
        return self.answer(self.send(command, **arguments))

    def answer(self, number: int) -> Message:
        """Wait for the answer to a request and give its body."""
        found = self._take(lambda message: message["type"] == "response" and message["request_seq"] == number)
        assert found["success"], found
        body: Message = found.get("body") or {}
        return body

    def event(self, name: str) -> Message:
        """Wait for an event and give its body."""
        found = self._take(lambda message: message["type"] == "event" and message["event"] == name)
        body: Message = found.get("body") or {}
        return body

    def _take(self, wanted: Any) -> Message:
        for message in self._waiting:
            if wanted(message):
                self._waiting.remove(message)
                return message
        while True:
            message = self._read()
            if wanted(message):
                return message
            self._waiting.append(message)

    def _read(self) -> Message:
        length = 0
        while line := self._stream.readline().strip():
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        assert length, "the debug server hung up"
        message: Message = json.loads(self._stream.read(length))
        return message
