"""A scripted model server on loopback, for tests in which the client's own code runs against real HTTP."""

from __future__ import annotations

import asyncio
import json
import math
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import uvicorn
from starlette import applications, requests, responses, routing, types

from perdure.testing import script, wire

ToolCall = wire.ToolCall

GRACE_SECONDS = 2


@dataclass(frozen=True, slots=True)
class Call:
    """A request that the server got.

    Attributes:
        path: ``/v1/chat/completions`` or ``/v1/responses``.
        body: The decoded JSON body.
        headers: The headers, names in lower case.
    """

    path: str
    body: Mapping[str, Any]
    headers: Mapping[str, str]

    @property
    def last_text(self) -> str:
        """The text of the last message in the request."""
        entries = self.body.get("messages") or self.body.get("input") or ""
        if isinstance(entries, str):
            return entries
        content = entries[-1].get("content") or ""
        return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


@dataclass(frozen=True, slots=True)
class Reply:
    """What the server answers.

    Attributes:
        text: What the model says.
        tool_calls: The tools that it asks for.
        status: 200, or an error's status, with ``text`` as the error's message.
        retry_after: Seconds to say in ``Retry-After`` with an error.
        wait_for: Answer only after this was set. Closing the server sets it too.
        wait_after: Of a stream, how many events come before that wait.
        cut_after: Cut the connection after this many events of a stream, or after as many bytes of a whole answer.
    """

    text: str = ""
    tool_calls: tuple[wire.ToolCall, ...] = ()
    status: int = 200
    retry_after: float | None = None
    wait_for: threading.Event | None = None
    wait_after: int = 0
    cut_after: int | None = None


def echo(call: Call) -> Reply:
    """Answer with the last message's text."""
    return Reply(call.last_text)


class ModelServer:
    """Speaks the chat completions and the responses API, whole and streamed, from a script.

    Use it as ``with ModelServer(["Hello"]) as server:`` and give a client ``base_url=server.base_url``. It answers
    on 127.0.0.1 at a free port, from a thread of its own. A call past the end of the script is answered with 400.

    Args:
        replies: The replies in order (a text stands for a reply that says it), or a function of the call; it echoes
            when none are given.
    """

    def __init__(self, replies: Iterable[Reply | str] | Callable[[Call], Reply | str] = echo) -> None:
        self._script: script.Script[Call, Reply | str] = script.Script(replies)
        self._closed = False
        self._waits: set[threading.Event] = set()
        self._lock = threading.Lock()
        self._socket = socket.create_server(("127.0.0.1", 0))
        app = applications.Starlette(
            routes=[
                routing.Route("/v1/chat/completions", self._completions, methods=["POST"]),
                routing.Route("/v1/responses", self._responses, methods=["POST"]),
            ]
        )
        config = uvicorn.Config(
            app,
            log_config=None,
            log_level="critical",
            lifespan="off",
            ws="none",
            loop="asyncio",
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, args=([self._socket],), name="perdure-model-server", daemon=True
        )

    @property
    def base_url(self) -> str:
        """Where clients find it, with the ``/v1``."""
        host, port = self._socket.getsockname()[:2]
        return f"http://{host}:{port}/v1"

    @property
    def calls(self) -> list[Call]:
        """The calls so far, in order."""
        return self._script.asked

    def start(self) -> ModelServer:
        """Start answering. The socket listens already: a client that comes early waits."""
        self._thread.start()
        return self

    def close(self) -> None:
        """Let go of replies that wait, finish what is being answered for a few seconds at most, and stop.

        The client may be on the loop that this blocks, amid a request that it can then never finish.
        """
        with self._lock:
            self._closed = True
            for event in self._waits:
                event.set()
        self._server.should_exit = True
        self._thread.join()

    def __enter__(self) -> ModelServer:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    async def _completions(self, request: requests.Request) -> types.ASGIApp:
        return await self._answer(request, wire.completion, wire.completion_events, b"data: [DONE]\n\n")

    async def _responses(self, request: requests.Request) -> types.ASGIApp:
        return await self._answer(request, wire.response, wire.response_events, b"")

    async def _answer(
        self,
        request: requests.Request,
        whole: Callable[[wire.Turn], wire.Json],
        events: Callable[[wire.Turn], Iterable[wire.Json]],
        end: bytes,
    ) -> types.ASGIApp:
        call = Call(request.url.path, await request.json(), dict(request.headers))
        try:
            number, answer = self._script.ask(call)
        except script.ScriptExhausted as error:
            return responses.JSONResponse(wire.problem(400, str(error)), 400)
        reply = Reply(answer) if isinstance(answer, str) else answer
        stream = bool(call.body.get("stream"))
        if not (stream and reply.status == 200 and reply.wait_after):
            await self._wait(reply)
        if reply.status != 200:
            return responses.JSONResponse(wire.problem(reply.status, reply.text), reply.status, _retry(reply))
        turn = wire.Turn(number, str(call.body.get("model", "scripted")), reply.text, reply.tool_calls)
        if stream:
            chunks = [_event(event) for event in events(turn)] + ([end] if end else [])
            if reply.cut_after is not None:
                return CutResponse(b"".join(chunks[: reply.cut_after]), "text/event-stream")
            return responses.StreamingResponse(self._each(chunks, reply), media_type="text/event-stream")
        body = json.dumps(whole(turn)).encode()
        if reply.cut_after is not None:
            return CutResponse(body[: reply.cut_after], "application/json")
        return responses.Response(body, media_type="application/json")

    async def _each(self, chunks: Sequence[bytes], reply: Reply) -> AsyncIterator[bytes]:
        for number, chunk in enumerate(chunks):
            if reply.wait_after and number == reply.wait_after:
                await self._wait(reply)
            yield chunk

    async def _wait(self, reply: Reply) -> None:
        if reply.wait_for is None:
            return
        with self._lock:
            if self._closed:
                return
            self._waits.add(reply.wait_for)
        await asyncio.to_thread(reply.wait_for.wait)


class CutResponse(responses.Response):
    """A response that breaks off: it promises more bytes than it sends, and the connection closes."""

    def __init__(self, body: bytes, media_type: str) -> None:
        super().__init__(body, media_type=media_type, headers={"content-length": str(len(body) + 1)})

    async def __call__(self, scope: types.Scope, receive: types.Receive, send: types.Send) -> None:
        """Send the head and what there is of the body, and leave."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": True})


def _retry(reply: Reply) -> dict[str, str]:
    if reply.retry_after is None:
        return {}
    milliseconds = str(math.ceil(reply.retry_after * 1000))
    return {"retry-after": str(math.ceil(reply.retry_after)), "retry-after-ms": milliseconds}


def _event(event: wire.Json) -> bytes:
    name = f"event: {event['type']}\n" if "type" in event else ""
    return f"{name}data: {json.dumps(event)}\n\n".encode()
