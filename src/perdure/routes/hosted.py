"""A hosted workflow as the routes see it."""

from __future__ import annotations

from typing import Any, Protocol

from perdure.payloads import refs
from perdure.workflow import options


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

    def accept_run(self, body: bytes) -> tuple[refs.Ref, options.RunOptions, list[refs.Blob]]:
        """Decode an envelope: an input, and what else the run is given.

        Pure and safe to call from any thread.

        Raises:
            EmptyInput: If the input is ``null``.
            InvalidInput: If it is no envelope, its input does not fit, or it asks for tools that there are not.
        """
        ...

    def describe(self) -> dict[str, Any]:
        """Give the graph as plain JSON.

        Keys: ``name``, ``description``, ``start``, ``nodes`` (``id``, ``type``), ``edges`` (``from``, ``to``,
        ``kind``, perhaps ``condition``), ``inputSchema`` (a JSON schema) and ``mermaid``.
        """
        ...
