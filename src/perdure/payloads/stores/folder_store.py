"""Payloads and records in a folder that several processes share: on one machine, or on a file system they mount.

A file is written under a name of its own, made durable, and then linked to the name it is to have: so it is there whole
or not at all, and of many that write one name at once one is first.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import pathlib
import re
import shutil
import sys
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from perdure import errors, platform
from perdure.payloads import compression, refs, store

_PAYLOADS: Final = "p"
_RECORDS: Final = "r"
_PLAIN: Final = re.compile(rb"[a-z0-9_-]")
_NAME_LIMIT: Final = 200
_LENGTH_BYTES: Final = 2
_KNOWN: Final = 4096


class FolderPayloadStore:
    """A ``payloads.store.PayloadStore`` in a folder.

    Args:
        folder: The folder; made if it is not there.
    """

    def __init__(self, folder: pathlib.Path) -> None:
        self._root = _Root(folder)

    async def put(self, owner: str, blobs: Iterable[refs.Blob]) -> None:
        """Store blobs; when this returns they are durable.

        Raises:
            HubError: If they could not be written.
        """
        bodies = {item.digest: item.body for item in blobs}
        if bodies:
            await asyncio.to_thread(self._put, owner, bodies)

    def _put(self, owner: str, bodies: dict[bytes, bytes]) -> None:
        place = self._root.place(owner, _PAYLOADS)
        self._root.write(place, ((_digest(digest), compression.pack(body)) for digest, body in bodies.items()))

    def read(self, owner: str, digest: bytes) -> bytes:
        """Give the encoded value with this digest.

        Raises:
            PayloadMissing: If the owner has no such payload.
            HubError: If the folder cannot be read.
        """
        found = self._root.read(self._root.place(owner, _PAYLOADS) / _digest(digest))
        if found is None:
            raise store.missing(owner, digest)
        return compression.unpack(found)

    async def purge(self, owner: str) -> None:
        """Delete every payload of an owner."""
        await asyncio.to_thread(self._root.delete, self._root.place(owner, _PAYLOADS))


class FolderRecordStore:
    """A ``payloads.records.RecordStore`` in a folder.

    Args:
        folder: The folder; made if it is not there.
    """

    def __init__(self, folder: pathlib.Path) -> None:
        self._root = _Root(folder)

    async def put_if_absent(self, owner: str, name: str, body: bytes) -> bool:
        """Write a record unless there is one of this name.

        Raises:
            HubError: If it could not be written.
        """
        encoded = name.encode()
        whole = len(encoded).to_bytes(_LENGTH_BYTES) + encoded + body
        place = self._root.place(owner, _RECORDS)
        return await asyncio.to_thread(self._root.write, place, [(_file(name), whole)]) == 1

    async def get(self, owner: str, name: str) -> bytes | None:
        """Give a record, or None."""
        found = await asyncio.to_thread(self._root.read, self._root.place(owner, _RECORDS) / _file(name))
        return None if found is None else _split(found)[1]

    async def names(self, owner: str, prefix: str = "", after: str = "") -> Sequence[str]:
        """Give the names that start with ``prefix`` and come after ``after``."""
        found = await asyncio.to_thread(self._names, owner)
        fitting = (name for name in found if name.startswith(prefix) and (not after or name.encode() > after.encode()))
        return sorted(fitting, key=str.encode)

    def _names(self, owner: str) -> list[str]:
        place = self._root.place(owner, _RECORDS)
        found: list[str] = []
        for file in self._root.files(place):
            name = _name(file)
            if name is None:
                body = self._root.read(place / file)
                name = None if body is None else _split(body)[0]
            if name is not None:
                found.append(name)
        return found

    async def remove(self, owner: str, name: str, fits: Callable[[bytes], bool] = lambda body: True) -> None:
        """Delete a record whose body fits."""
        path = self._root.place(owner, _RECORDS) / _file(name)
        await asyncio.to_thread(self._root.remove, path, lambda whole: fits(_split(whole)[1]))

    async def forget(self, owner: str, last: Sequence[str] = ()) -> None:
        """Delete every record of an owner; they go at once, so that none is last."""
        await asyncio.to_thread(self._root.delete, self._root.place(owner, _RECORDS))


class _Root:
    """The folder, and what its file system does."""

    def __init__(self, folder: pathlib.Path) -> None:
        self._folder = folder
        self._new = folder / "new"
        self._gone = folder / "gone"
        self._known: set[pathlib.Path] = set()

    def place(self, owner: str, kind: str) -> pathlib.Path:
        """Give the folder of what an owner has of a kind."""
        return self._folder / _file(owner) / kind

    def write(self, place: pathlib.Path, files: Iterable[tuple[str, bytes]]) -> int:
        """Write the files that are not there; gives how many it wrote. All are durable then, whoever wrote them."""
        try:
            written = sum([self._write(place, name, body) for name, body in files])
            self._settle(place)
        except OSError as error:
            raise self._unusable("written", error) from error
        return written

    def _write(self, place: pathlib.Path, name: str, body: bytes) -> bool:
        path = place / name
        if path.exists():
            return False
        temporary = self._new / uuid.uuid4().hex
        for _ in range(2):
            try:
                with open(temporary, "xb") as file:
                    file.write(body)
                    file.flush()
                    os.fsync(file.fileno())
                os.link(temporary, path)
                return True
            except FileExistsError:
                return False
            except FileNotFoundError:
                # The first of this owner, or somebody purges it just now.
                temporary.unlink(missing_ok=True)
                self._make(place)
            finally:
                temporary.unlink(missing_ok=True)
        raise FileNotFoundError(f"{place} was deleted while something was written to it")

    def _make(self, place: pathlib.Path) -> None:
        self._new.mkdir(parents=True, exist_ok=True)
        place.mkdir(parents=True, exist_ok=True)
        self._known.discard(place)

    def _settle(self, place: pathlib.Path) -> None:
        """Make the names in a place durable: who has linked one, or made the place, may be dead before it did so."""
        _sync(place)
        if place in self._known:
            return
        _sync(place.parent)
        _sync(self._folder)
        if len(self._known) >= _KNOWN:
            self._known.clear()
        self._known.add(place)

    def read(self, path: pathlib.Path) -> bytes | None:
        """Give a file, or None."""
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._unusable("read", error) from error

    def files(self, place: pathlib.Path) -> list[str]:
        """Give the names of the files in a place."""
        try:
            return os.listdir(place)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise self._unusable("read", error) from error

    def delete(self, place: pathlib.Path) -> None:
        """Delete a place, all of it at once: where this is broken off, the next deletion sweeps up."""
        self._known.discard(place)
        try:
            self._gone.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):
                os.rename(place, self._gone / uuid.uuid4().hex)
                _sync(place.parent)
            for left in self.files(self._gone):
                # Somebody else may be at it.
                with contextlib.suppress(FileNotFoundError):
                    shutil.rmtree(self._gone / left)
        except OSError as error:
            raise self._unusable("written", error) from error
        with contextlib.suppress(OSError):
            # Unless the owner has something else.
            place.parent.rmdir()

    def remove(self, path: pathlib.Path, fits: Callable[[bytes], bool]) -> None:
        """Delete a file that fits, one after another: what was found to fit is still what has the name then."""
        if (found := self.read(path)) is None or not fits(found):
            return
        try:
            with platform.locked(self._folder / "removing"):
                found = self.read(path)
                if found is not None and fits(found):
                    # Whoever deletes all of the owner's may be faster.
                    with contextlib.suppress(FileNotFoundError):
                        path.unlink()
                        _sync(path.parent)
        except OSError as error:
            raise self._unusable("written", error) from error
        with contextlib.suppress(OSError):
            # Unless there is something else.
            path.parent.rmdir()
            path.parent.parent.rmdir()

    def _unusable(self, done: str, error: OSError) -> errors.HubError:
        return errors.HubError(
            f"The folder {self._folder} cannot be {done}: {error.strerror or error}.",
            "It must be a folder that all workers share, on a file system with hard links and locks, with room left.",
        )


def _sync(place: pathlib.Path) -> None:
    """Make the names in a folder durable, where the system can be asked to."""
    if sys.platform == "win32":
        return
    handle = os.open(place, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _digest(digest: bytes) -> str:
    return digest.hex() or "-"


def _file(name: str) -> str:
    """Give the name of a file: the same text in every file system, whether it knows of case or not."""
    quoted = "".join(_quoted(name.encode("utf-8", "surrogatepass")))
    if len(quoted) <= _NAME_LIMIT:
        return f"={quoted}"
    return f"+{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()}"


def _quoted(text: bytes) -> Iterator[str]:
    for place in range(len(text)):
        sign = text[place : place + 1]
        yield sign.decode() if _PLAIN.match(sign) else f"%{sign[0]:02x}"


def _name(file: str) -> str | None:
    """Give back what a file is named after; None where only the file itself knows."""
    if not file.startswith("="):
        return None
    parts = re.split(r"%([0-9a-f]{2})", file[1:])
    whole = b"".join(bytes.fromhex(part) if odd % 2 else part.encode() for odd, part in enumerate(parts))
    return whole.decode("utf-8", "surrogatepass")


def _split(whole: bytes) -> tuple[str, bytes]:
    length = int.from_bytes(whole[:_LENGTH_BYTES])
    return whole[_LENGTH_BYTES : _LENGTH_BYTES + length].decode(), whole[_LENGTH_BYTES + length :]
