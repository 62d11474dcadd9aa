"""The official SDK as this host uses it: the only module that touches what is not public in it."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from azure.durable_functions.models.utils import http_utils  # type: ignore[import-untyped]  # it ships no types
from azure.functions import durable_functions as converters
from azure.functions import meta
from azure.functions.decorators import function_app

from perdure import tracebacks

STATE_LABEL = "\n\n$OutOfProcData$:"
"""What stands between the text of an orchestrator's exception and its state."""

SCHEMA_V2 = 1
SCHEMA_V3 = 2

Handle = Callable[[str], str]


class Decision(msgspec.Struct, frozen=True):
    """What an orchestrator function answered when it was run over its history.

    Attributes:
        actions: What it waits or waited for, in the order of its waits; lists of lists.
        schema: How ``actions`` are meant: 0, 1 or 2 for V1, V2 and V3.
        done: Whether it returned, or continues as new.
        output: What it returned, plain JSON.
        error: The text of what it raised; None if it raised nothing.
        detail: The user's frames of that.
        custom_status: What it says of itself, plain JSON.
    """

    actions: list[list[dict[str, Any]]]
    schema: int
    done: bool = False
    output: Any = None
    error: str | None = None
    detail: str = ""
    custom_status: Any = None


def decide(handle: Handle, context: Mapping[str, Any]) -> Decision:
    """Run an orchestrator function over a history, through the SDK's own handler."""
    error: Exception | None = None
    try:
        text = handle(json.dumps(context))
    except Exception as raised:
        said, label, text = str(raised).rpartition(STATE_LABEL)
        if not label:
            return Decision([[]], SCHEMA_V3, error=str(raised), detail=tracebacks.user_frames(raised))
        error = raised.__cause__ if isinstance(raised.__cause__, Exception) else raised
        del said
    state = json.loads(text)
    return Decision(
        actions=state["actions"],
        schema=state.get("schemaVersion", 0),
        done=state["isDone"],
        output=state.get("output"),
        error=None if error is None else state.get("error", ""),
        detail="" if error is None else tracebacks.user_frames(error),
        custom_status=state.get("customStatus"),
    )


def functions_of(app: function_app.FunctionRegister) -> Sequence[function_app.Function]:
    """Give the functions of an app; may be asked again and again.

    Raises:
        ValueError: If one has no trigger, or two have one name.
    """
    # The names seen by an earlier call would be taken for duplicates.
    app.functions_bindings = {}
    # Set, so that an app without HTTP triggers is not warned of by logging.warning(), which sets up the root logger.
    app._require_auth_level = True  # pyright: ignore[reportPrivateUsage]
    # Its own, without those that an app of ours adds for the worker on Azure: here the host itself is those.
    return function_app.FunctionRegister.get_functions(app)


def has_functions(app: function_app.FunctionRegister) -> bool:
    """Say whether an app has functions of its own."""
    return bool(app._function_builders)  # pyright: ignore[reportPrivateUsage]


def adopt(app: function_app.FunctionRegister, into: function_app.FunctionRegister) -> None:
    """Give an app's functions to another one too."""
    into._function_builders.extend(app._function_builders)  # pyright: ignore[reportPrivateUsage]


def decode_input(text: str) -> Any:
    """Give an activity's input as its function takes it."""
    return converters.ActivityTriggerConverter.decode(meta.Datum(text, "string"), trigger_metadata=None)


def encode_result(value: Any) -> str:
    """Give an activity's result as JSON.

    Raises:
        ValueError: If it is not serialisable.
    """
    text: str = converters.ActivityTriggerConverter.encode(value, expected_type=None).value
    return text


def quiet() -> None:
    """Ignore what the SDK warns of on every replay: a landing that nobody waits for any more."""
    warnings.filterwarnings("ignore", message="Potential duplicate Task completion", category=UserWarning)
    warnings.filterwarnings("ignore", message="azure.functions df_loads was called", category=DeprecationWarning)
    warnings.filterwarnings("ignore", message="azure.functions Durable JSON codec", category=DeprecationWarning)


async def close_client() -> None:
    """Close the connections that the SDK's clients of this loop have open."""
    await http_utils._close_session()
