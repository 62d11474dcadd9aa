"""The shared state as executors see it: the framework's ``State``, read lazily from a snapshot."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, Final, Protocol

from perdure import errors
from perdure.payloads import refs
from perdure.workflow import graph, run_state, snapshot, values

_ABSENT: Final = object()
_DELETED: Final = object()
_KEPT: Final = f"{run_state.RESERVED}kept:"


class Values(Protocol):
    """How values are encoded, decoded and read."""

    @property
    def inline(self) -> values.Inline:
        """What stands in the place of a reference."""
        ...

    def encode(self, value: Any, blobs: list[refs.Blob], *, where: str, inline_limit: int = ...) -> refs.Ref:
        """Encode a value; what is to be stored is appended to ``blobs``."""
        ...

    def decode(self, ref: refs.Ref) -> Any:
        """Give back a value; the caller may change it."""
        ...

    def read(self, digest: bytes, owner: str) -> bytes:
        """Give an encoded payload."""
        ...


class SharedState(graph.State):
    """A run's shared state during one activity.

    What is read is fetched on first use; what is not read is never loaded. Writes are kept here until the
    activity ends, and a value set to what it was is no write.
    """

    def __init__(self, seen: snapshot.Snapshot, run: Values) -> None:
        super().__init__()
        self._seen = seen
        self._values = run
        self._found: dict[str, refs.Ref | None] = {}
        self._written: dict[str, Any] = {}
        self._named: dict[str, str] = {}

    def get(self, key: str, default: Any = None) -> Any:
        """Give a copy of a value, or the default."""
        written = self._written.get(key, _ABSENT)
        if written is not _ABSENT:
            return default if written is _DELETED else copy.deepcopy(written)
        ref = self._find(key)
        return default if ref is None else self._values.decode(ref)

    def set(self, key: str, value: Any) -> None:
        """Set a value; a later change of the object does not change the state.

        Raises:
            CodecError: If the key is no text that can be kept, or one of perdure's own.
        """
        if not isinstance(key, str):
            raise errors.CodecError(f"The shared state key {key!r} is a {type(key).__name__}.", "Use text as the key.")
        if key.startswith(run_state.RESERVED):
            raise errors.CodecError(f"The shared state key {key!r} is one of perdure's own.", "Use another key.")
        try:
            key.encode()
        except UnicodeEncodeError as error:
            raise errors.CodecError(
                f"The shared state key {key!r} is no text that can be kept: it has a lone surrogate.",
                "Use another key.",
            ) from error
        self._written[key] = copy.deepcopy(value)

    def has(self, key: str) -> bool:
        """Say whether there is such a key."""
        written = self._written.get(key, _ABSENT)
        if written is not _ABSENT:
            return written is not _DELETED
        return self._find(key) is not None

    def delete(self, key: str) -> None:
        """Delete a key.

        Raises:
            KeyError: If there is none.
        """
        if self._find(key) is not None:
            self._written[key] = _DELETED
        elif self._written.pop(key, _ABSENT) is _ABSENT:
            raise KeyError(f"Key '{key}' not found in state.")

    def clear(self) -> None:
        """Delete every key."""
        for key in self._keys():
            self._written[key] = _DELETED

    def commit(self) -> None:
        """Do nothing: the superstep's barrier commits."""

    def discard(self) -> None:
        """Drop what was written in this activity."""
        self._written.clear()

    def export_state(self) -> dict[str, Any]:
        """Give a copy of everything committed."""
        return {key: self._values.decode(ref) for key, ref in self._committed_refs().items()}

    def import_state(self, state: dict[str, Any]) -> None:
        """Set every key of a mapping."""
        for key, value in state.items():
            self.set(key, value)

    def _validate(self, key: str, validator: Callable[[Any], None]) -> None:
        if self.has(key):
            validator(self.get(key))

    def keep(self, key: str, value: Any, where: str) -> None:
        """Set what perdure itself keeps in the snapshot under a reserved key.

        Args:
            key: The key without what makes it a reserved one.
            value: The value; it is encoded when the activity ends.
            where: What it is, should it not be possible to encode it.
        """
        self._written[f"{_KEPT}{key}"] = value
        self._named[f"{_KEPT}{key}"] = where

    def kept(self) -> dict[str, Any]:
        """Give everything that was set with ``keep``."""
        found = {key: self._values.decode(ref) for key, ref in self._everything().items() if key.startswith(_KEPT)}
        found |= {key: value for key, value in self._written.items() if key.startswith(_KEPT)}
        return {key.removeprefix(_KEPT): value for key, value in found.items()}

    def has_kept(self, key: str) -> bool:
        """Say whether something was set with ``keep`` under a key."""
        return self.has(f"{_KEPT}{key}")

    def live(self) -> dict[str, Any]:
        """Give a copy of everything, as it stands in this activity."""
        return {key: self.get(key) for key in dict.fromkeys(self._keys()) if self.has(key)}

    def reserved(self, key: str) -> refs.Ref | None:
        """Give what perdure itself keeps in the snapshot under a reserved key."""
        return self._find(key)

    def changes(self, blobs: list[refs.Blob]) -> dict[str, refs.Ref | None]:
        """Encode what was written, without what is as it was.

        Raises:
            CodecError: If a value cannot be encoded; it names the key.
        """
        changed: dict[str, refs.Ref | None] = {}
        for key, value in self._written.items():
            before = self._find(key)
            if value is _DELETED:
                if before is not None:
                    changed[key] = None
                continue
            own: list[refs.Blob] = []
            where = self._named.get(key) or f"the shared state key {key!r}"
            ref = self._values.encode(value, own, where=where, inline_limit=self._values.inline.state)
            if not same(ref, before):
                changed[key] = ref
                blobs.extend(own)
        return changed

    def _find(self, key: object) -> refs.Ref | None:
        if not isinstance(key, str):
            return None
        found = self._found.get(key, _ABSENT)
        if found is _ABSENT:
            found = self._found[key] = snapshot.lookup(self._seen, key, self._values.read)
        return found  # type: ignore[return-value]  # the sentinel is gone here

    def _keys(self) -> list[str]:
        written = (key for key, value in self._written.items() if value is not _DELETED)
        return [*self._committed_refs(), *(key for key in written if not key.startswith(run_state.RESERVED))]

    def _committed_refs(self) -> dict[str, refs.Ref]:
        return {key: ref for key, ref in self._everything().items() if not key.startswith(run_state.RESERVED)}

    def _everything(self) -> dict[str, refs.Ref]:
        return snapshot.entries(self._seen, self._values.read)


def same(one: refs.Ref, other: refs.Ref | None) -> bool:
    """Say whether two references name the same encoded value."""
    return other is not None and one.inline == other.inline and one.digest == other.digest
