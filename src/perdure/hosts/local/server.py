"""The local web server: a thread and a loop of its own, so that it answers while user code works."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import threading
from collections.abc import Iterator

import uvicorn

from perdure import errors
from perdure.hosts.local import corked, web
from perdure.hosts.local import cors as origins
from perdure.hosts.local import names as host_names
from perdure.routes import site as sites

BACKLOG = 2048
GRACE_SECONDS = 5

LONGEST_STOP_SECONDS = 15.0
"""How long a stop may take: a request may be in a thread that nothing ends, such as one in which user code waits."""

logger = logging.getLogger("perdure.http")


class Server:
    """Serves a site on a socket.

    Args:
        site: What is served. Its runs are awaited on the server's own loop: give it bridged ones.
        host: The address to listen on.
        port: The port to listen on; 0 takes a free one.
        cors: Which browser origins may call from other sites.
        beside: What is served beside the site.
        mounted: What has a path to itself.
        names: By which names it may be asked; any if not given.
    """

    def __init__(
        self,
        site: sites.Site,
        host: str = "127.0.0.1",
        port: int = 0,
        cors: origins.Cors | None = None,
        beside: web.Beside | None = None,
        mounted: web.Mounted | None = None,
        names: host_names.Names | None = None,
    ) -> None:
        self._mounted = mounted
        self._address = (host, port)
        config = uvicorn.Config(
            web.Application(site, cors, beside, mounted, names),
            log_config=None,
            access_log=False,
            lifespan="off",
            proxy_headers=False,
            server_header=False,
            http=corked.CorkedProtocol,
            ws="none",
            backlog=BACKLOG,
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
        self._uvicorn = _Quiet(config)
        self._socket: socket.socket | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> tuple[str, int]:
        """Listen and serve; gives the address and port bound. Requests are answered from here on.

        Raises:
            UsageError: If the address or port cannot be had.
        """
        self._socket = _bound(*self._address)
        bound: tuple[str, int] = self._socket.getsockname()[:2]
        self._thread = threading.Thread(target=self._run, name="perdure-http", daemon=True)
        self._thread.start()
        return bound

    def _run(self) -> None:
        assert self._socket is not None
        try:
            asyncio.run(self._serve(self._socket))
        except Exception:
            logger.exception("The web server failed")

    async def _serve(self, listener: socket.socket) -> None:
        async with contextlib.AsyncExitStack() as running:
            if self._mounted is not None:
                await running.enter_async_context(self._mounted.running())
            await self._uvicorn.serve(sockets=[listener])

    def stop(self, *, now: bool = False) -> None:
        """Take no more requests, finish those under way for a few seconds, and end; waits until it has, or cannot.

        Args:
            now: Drop the requests under way.
        """
        self._uvicorn.should_exit = True
        if now:
            self._uvicorn.force_exit = True
        if self._thread is not None:
            self._thread.join(LONGEST_STOP_SECONDS)
            if self._thread.is_alive():
                logger.warning("A request keeps the web server from ending: it is not waited for any longer.")
        if self._socket is not None:
            self._socket.close()


class _Quiet(uvicorn.Server):
    """A uvicorn that leaves the process's signals to whoever started it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _bound(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise errors.UsageError(
            f"{host!r} is no address of this machine: {error}.", "Give another with --host."
        ) from error
    try:
        _exclusively(listener)
        listener.bind(address)
        # Listening already here: whoever is told the address can connect before the loop runs.
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise _refused(host, port, error) from error
    return listener


def _exclusively(listener: socket.socket) -> None:
    # On Windows SO_REUSEADDR would let two hosts share the port; elsewhere it only skips the wait after a restart.
    exclusive = getattr(socket, "SO_EXCLUSIVEADDRUSE", None)
    if exclusive is None:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    else:
        listener.setsockopt(socket.SOL_SOCKET, exclusive, 1)


def _refused(host: str, port: int, error: OSError) -> errors.UsageError:
    import errno

    if error.errno == errno.EADDRINUSE:
        return errors.UsageError(
            f"Port {port} on {host} is in use, perhaps by another host.",
            "Give another with --port, or --port 0 for a free one.",
        )
    if error.errno == errno.EACCES:
        return errors.UsageError(
            f"Port {port} on {host} may not be used by this user.", "Give one above 1023 with --port."
        )
    return errors.UsageError(
        f"Cannot listen on {host} port {port}: {error.strerror}.", "Give others with --host and --port."
    )


def host_in_url(address: str) -> str:
    """Give the host under which this machine reaches what listens on an address, as it stands in a URL."""
    if address in ("0.0.0.0", "::"):
        return "127.0.0.1"
    return f"[{address}]" if ":" in address else address
