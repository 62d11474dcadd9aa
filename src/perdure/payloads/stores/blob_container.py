"""A container of Blob Storage, reached from any thread and any event loop.

The client lives on a loop of its own in one thread: executors read the shared state by a plain call, and on Azure
activities come on loops and threads of the worker's choosing.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import hashlib
import logging
import random
import re
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final, TypeVar

from perdure import errors, loops
from perdure.payloads.stores import storage_account

try:
    from azure.core import MatchConditions, exceptions
    from azure.storage.blob import aio
except ImportError as missing_extra:
    raise ImportError(
        "Payloads in Blob Storage need azure-storage-blob and azure-identity: pip install 'perdure[azure]'"
    ) from missing_extra

T = TypeVar("T")

AlreadyThere = exceptions.ResourceExistsError
NotThere = exceptions.ResourceNotFoundError
Modified = exceptions.ResourceModifiedError
IF_NOT_MODIFIED: Final = MatchConditions.IfNotModified

AT_ONCE: Final = 32
"""How many requests one call has under way."""

API_VERSION: Final = "2023-11-03"
"""Old enough for Azurite as people have it installed: by default the client asks for the newest, which that refuses."""

ATTEMPTS: Final = 6
FIRST_BACKOFF_SECONDS: Final = 1
CONNECT_SECONDS: Final = 10
READ_SECONDS: Final = 60
LARGE_BYTES: Final = 4 * 1024 * 1024
"""From this size on a blob goes up, and comes down, in blocks beside each other."""

_LEGAL_HUB: Final = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_NAME_LIMIT: Final = 63
_PREFIX: Final = "perdure-"


def name_of(task_hub: str) -> str:
    """Name the container of a task hub: lower-case letters, digits and single hyphens, 63 at most."""
    folded = task_hub.lower()
    if folded == task_hub and _LEGAL_HUB.fullmatch(folded) and len(_PREFIX + folded) <= _NAME_LIMIT:
        return _PREFIX + folded
    clean = re.sub(r"[^a-z0-9]+", "-", folded).strip("-")[:40].strip("-")
    return f"{_PREFIX}{clean}{'-' if clean else ''}{hashlib.sha256(task_hub.encode()).hexdigest()[:8]}"


class _Line:
    """A client, and the loop that it lives on; opened when it is first needed, and never again once it is closed."""

    def __init__(self) -> None:
        self.loop = loops.Loop("perdure-blobs")
        self.opening = asyncio.Lock()
        self.client: Any = None
        self.credential: Any = None

    async def hang_up(self) -> None:
        for opened in (self.client, self.credential):
            if opened is not None:
                await opened.close()


class Container:
    """One container.

    Args:
        account: The storage account.
        name: The container's name.
        backoff_seconds: How long after its first failure a request is repeated; twice as long after each further one.
    """

    def __init__(
        self, account: storage_account.Account, name: str, *, backoff_seconds: float = FIRST_BACKOFF_SECONDS
    ) -> None:
        self.name = name
        self._backoff_seconds: Any = backoff_seconds
        self._account = account
        self._lock = threading.Lock()
        self._line = _Line()

    async def open(self) -> None:
        """Make the container if it is not there.

        Raises:
            HubError: If the account cannot be reached or refuses.
        """

        async def create(client: Any) -> None:
            try:
                await client.create_container()
            except exceptions.ResourceExistsError:
                return

        try:
            await self.do(create)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """End the connections and the thread; what is under way fails, what comes after opens them anew."""
        with self._lock:
            line, self._line = self._line, _Line()
        await line.loop.aclose(line.hang_up)

    async def do(self, work: Callable[[Any], Coroutine[Any, Any, T]]) -> T:
        """Do something with the client, an ``azure.storage.blob.aio.ContainerClient``, from any loop.

        Raises:
            HubError: If the account cannot be reached or refuses, or the container is closed meanwhile.
        """
        with self._open():
            return await asyncio.wrap_future(self.begin(work))

    def do_now(self, work: Callable[[Any], Coroutine[Any, Any, T]]) -> T:
        """Do the same, and wait for it on this thread."""
        with self._open():
            return self.begin(work).result()

    def begin(self, work: Callable[[Any], Coroutine[Any, Any, T]]) -> concurrent.futures.Future[T]:
        """Have the same done; the future gives what it gives, or that the loop was closed."""
        # With the lock held, so that it is not begun on a line that is closed just now.
        with self._lock:
            return self._line.loop.begin(self._work(self._line, work))

    async def _work(self, line: _Line, work: Callable[[Any], Coroutine[Any, Any, T]]) -> T:
        async with self._told():
            async with line.opening:
                if line.client is None:
                    # Opened here: requests that open it at once leave connections behind that nobody closes.
                    line.client = await self._connect(line).__aenter__()
            return await work(line.client)

    @contextmanager
    def _open(self) -> Iterator[None]:
        """Say that the container was closed."""
        try:
            yield
        except loops.Closed:
            raise errors.HubError(
                f"The {self._where} was closed before it had answered.", "Ask again once the host is up."
            ) from None

    def _connect(self, line: _Line) -> Any:
        options: dict[str, Any] = {
            "api_version": API_VERSION,
            "retry_policy": _Retry(initial_backoff=self._backoff_seconds, retry_total=ATTEMPTS - 1),
            "connection_timeout": CONNECT_SECONDS,
            "read_timeout": READ_SECONDS,
            # At the level of what the Functions host sends on each request would be two records, and is paid for.
            "http_logging_level": logging.DEBUG,
            "max_single_put_size": LARGE_BYTES,
            "max_block_size": LARGE_BYTES,
            "max_single_get_size": LARGE_BYTES,
            "max_chunk_get_size": LARGE_BYTES,
        }
        try:
            if self._account.connection:
                return aio.ContainerClient.from_connection_string(self._account.connection, self.name, **options)
            line.credential = _credential(self._account)
            return aio.ContainerClient(self._account.url, self.name, credential=line.credential, **options)
        except ValueError as error:
            raise errors.UsageError(
                f"The storage account cannot be used: {error}", f"Look at {storage_account.SETTING}."
            ) from None

    @property
    def described(self) -> str:
        """Name it for people."""
        return f"Blob Storage ({self._where})"

    @property
    def _where(self) -> str:
        # What comes after may be a signature, and this is told to clients.
        return f"container {self.name!r} of {self._account.url.partition('?')[0]}"

    @asynccontextmanager
    async def _told(self) -> AsyncIterator[None]:
        """Say what is wrong with the account in words that help."""
        where = self._where
        try:
            yield
        except exceptions.HttpResponseError as error:
            code = _code(error)
            if is_gone(error):
                raise errors.HubError(
                    f"The {where} is not there: it was deleted, and what runs had in it is gone.",
                    "Restore it (soft delete keeps containers for some days), or start the host again for a new one.",
                ) from error
            if error.status_code in (401, 403):
                raise errors.HubError(
                    f"Blob Storage does not accept the credentials for {where} ({code}).",
                    f"Check {storage_account.SETTING}, and the firewall of the account; "
                    "by identity the role Storage Blob Data Contributor is needed on it.",
                ) from error
            if isinstance(error, exceptions.ClientAuthenticationError):
                raise errors.HubError(
                    f"No sign-in for {where}: {_first_line(error)}", "Run az login, or give the host an identity."
                ) from error
            raise errors.HubError(f"Blob Storage failed for {where} ({code}): {_first_line(error)}") from error
        except exceptions.AzureError as error:
            raise errors.HubError(
                f"Blob Storage cannot be reached for {where}: {_first_line(error)}",
                "Is the address right, and does it run (Azurite on this machine)? What was accepted is kept.",
            ) from error


class _Retry(aio.ExponentialRetry):
    """Doubles the time before each further attempt, give or take a half."""

    def get_backoff_time(self, settings: dict[str, Any]) -> float:
        doubled: int = 1 << int(settings["count"])
        return float(self.initial_backoff) * doubled * random.uniform(0.5, 1.5)


async def each(work: Iterable[Awaitable[T]]) -> list[T]:
    """Do several things beside each other, so many at a time; the first that fails ends the others."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(item: Awaitable[T]) -> T:
        async with gate:
            return await item

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(item)) for item in work]
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return [task.result() for task in tasks]


def _credential(account: storage_account.Account) -> Any:
    from azure.identity import aio as identity

    if account.managed:
        return identity.ManagedIdentityCredential(client_id=account.client_id or None)
    named = {"managed_identity_client_id": account.client_id} if account.client_id else {}
    return identity.DefaultAzureCredential(**named)


def _code(error: exceptions.HttpResponseError) -> str:
    code = getattr(error, "error_code", None) or error.status_code
    return str(getattr(code, "value", code))


def is_gone(error: exceptions.HttpResponseError) -> bool:
    """Say whether it is the container that is not there."""
    return _code(error) == "ContainerNotFound"


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
