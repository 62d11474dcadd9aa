"""A gate in the test's process: steps of other processes say there that they have come, and wait until it opens."""

from __future__ import annotations

import socketserver
import threading
from types import TracebackType
from typing import Self

PATIENCE_SECONDS = 60.0

# What an app takes to its code; the environment of its process says where the gate is.
CODE = '''
async def held(name: str) -> None:
    """Say at the gate who is here, and wait until it is open."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(os.environ["GATE_PORT"]))
    writer.write(f"{name} {os.getpid()}\\n".encode())
    await reader.read()
    writer.close()


'''


class Gate:
    """A gate that is shut at first, and stays open once it is opened."""

    def __init__(self) -> None:
        self._news = threading.Condition()
        self._came: dict[str, set[int]] = {}
        self._opened = threading.Event()
        gate = self

        class Arrival(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                gate._hold(self.rfile.readline().decode())

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Arrival)
        self._serving = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._serving.start()

    @property
    def port(self) -> str:
        """Where it is, for ``GATE_PORT``."""
        return str(self._server.server_address[1])

    def _hold(self, line: str) -> None:
        name, _, pid = line.rpartition(" ")
        with self._news:
            self._came.setdefault(name, set()).add(int(pid))
            self._news.notify_all()
        self._opened.wait(PATIENCE_SECONDS)

    def came(self, name: str) -> set[int]:
        """Wait until somebody of this name has come; gives the ids of the processes that have."""
        with self._news:
            assert self._news.wait_for(lambda: name in self._came, PATIENCE_SECONDS), f"{name} did not come"
            return set(self._came[name])

    def open(self) -> None:
        """Let go whoever waits, and whoever comes."""
        self._opened.set()

    def close(self) -> None:
        """Open it, and take it away."""
        self.open()
        self._server.shutdown()
        self._serving.join()
        self._server.server_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
