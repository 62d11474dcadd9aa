"""A hosted workflow as the routes see it."""

from __future__ import annotations

from typing import Any, Protocol

from perdure.payloads import refs


class Hosted(Protocol):
    """A workflow that can be started by HTTP."""

    @property
    def name(self) -> str:
        """The name it is hosted under."""
        ...

    def accept(self, body: bytes, content_type: str) -> tuple[refs.Ref, list[refs.Blob]]:
        """Decode a request body to the start executor's input type and encode it for the engine.

        Pure and safe to call from any thread.

        Raises:
            EmptyInput: If the body is empty or ``null``.
            InvalidInput: If it does not fit the type.
        """
        ...

    def describe(self) -> dict[str, Any]:
        """Give the graph as plain JSON.

        Keys: ``name``, ``description``, ``start``, ``nodes`` (``id``, ``type``), ``edges`` (``from``, ``to``,
        ``kind``, perhaps ``condition``), ``inputSchema`` (a JSON schema) and ``mermaid``.
        """
        ...


def input_digest(value: refs.Ref) -> bytes:
    """Name an encoded input, wherever it is kept: tells a repeated start from a clash."""
    return value.digest if value.inline is None else refs.digest(value.inline)
