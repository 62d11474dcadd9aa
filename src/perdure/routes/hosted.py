"""A hosted workflow as the routes see it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from perdure import errors
from perdure.payloads import refs


class EmptyInput(errors.PerdureError):
    """The body is empty, or ``null``: the workflow needs an input."""


class InvalidInput(errors.PerdureError):
    """The body does not fit the start executor's input type.

    Args:
        problems: JSON pointers into the body, each with what is wrong there.
        message: The whole in a sentence; made from ``problems`` if not given.
    """

    def __init__(self, problems: Sequence[tuple[str, str]], message: str = "") -> None:
        told = "; ".join(f"{pointer or '(the whole body)'}: {what}" for pointer, what in problems[:5])
        super().__init__(message or f"The body does not fit the workflow's input: {told}.")
        self.errors = tuple(problems)


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
