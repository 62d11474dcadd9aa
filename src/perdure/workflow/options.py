"""What a run may be given beside its input: tools, keyword arguments for tools and chat clients, streaming mode."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from perdure import errors
from perdure.payloads import refs
from perdure.workflow import snapshot

MEDIA_TYPE: Final = "application/vnd.perdure.run+json"
"""A body of this type is an :class:`Envelope`; of any other it is the input itself."""


class RunOptions(msgspec.Struct, frozen=True, array_like=True):
    """What a run keeps of what it was given, by reference.

    Attributes:
        stream: Whether agents run in streaming mode.
        tools: The tools that agents are offered beside their own: a list of names and declarations.
        state: What its shared state holds from the start: the keyword arguments, where the framework looks for them.
    """

    stream: bool = False
    tools: refs.Ref | None = None
    state: snapshot.Layer | None = None


NONE: Final = RunOptions()


class Envelope(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A request that gives a run more than its input.

    Attributes:
        input: The input, as the body is without an envelope.
        tools: Names of tools that the app knows, declarations of others, or tools that the model's side runs.
        function_invocation_kwargs: What tools are given.
        client_kwargs: What chat clients are given.
        stream: Whether agents run in streaming mode.
    """

    input: msgspec.Raw
    tools: list[str | dict[str, Any]] = []
    function_invocation_kwargs: dict[str, Any] | None = None
    client_kwargs: dict[str, Any] | None = None
    stream: bool = False


_envelopes: Final = msgspec.json.Decoder(Envelope)


def open_envelope(body: bytes) -> Envelope:
    """Read an envelope.

    Raises:
        InvalidInput: If it is none.
    """
    try:
        found = _envelopes.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        said, found_place, place = str(error).partition(" - at `$")
        pointer = place.rstrip("`").replace("[", "/").replace("]", "").replace(".", "/") if found_place else ""
        raise errors.InvalidInput(
            [(pointer, said)],
            f"The body is no run: {pointer or 'the whole'}: {said}. "
            f'A body of the type {MEDIA_TYPE} is {{"input": ..., "tools": [...], "function_invocation_kwargs": {{...}},'
            ' "client_kwargs": {...}, "stream": false}; all but input may be left out.',
        ) from error
    return found


_encoder: Final = msgspec.msgpack.Encoder()


def digest(value: refs.Ref, given: RunOptions = NONE) -> bytes:
    """Name an encoded input with its options, wherever it is kept: tells a repeated start from a clash."""
    named = value.digest if value.inline is None else refs.digest(value.inline)
    return named if given == NONE else refs.digest(named + _encoder.encode(given))
