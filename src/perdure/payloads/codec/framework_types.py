"""How the messages and responses of Agent Framework are encoded: by attribute, so that they come back whole.

Their own ``to_dict`` drops structured values, formats, private state and what sits in nested results.
"""

from __future__ import annotations

from typing import Any

import agent_framework

from perdure.payloads.codec import decoding, encoding, registry

_DROPPED = frozenset({"raw_representation"})
"""What a model's service sent, in its own classes: for looking at while it is live."""

_EMPTY: dict[str, Any] = {}
_ABSENT: dict[str, Any] = {"informational_only": False, "_value_parsed": False, "additional_properties": _EMPTY}
"""What an attribute that was left out is, if not None."""

_LIVE = frozenset(
    {
        "BaseAgent",
        "BaseChatClient",
        "BaseEmbeddingClient",
        "ContextProvider",
        "Executor",
        "FunctionTool",
        "MCPTool",
        "ResponseStream",
        "RunnerContext",
        "Workflow",
        "WorkflowContext",
    }
)


def is_live(cls: type) -> bool:
    """Whether instances do things, so that a copy of their attributes would not be one of them."""
    return any(base.__name__ in _LIVE and registry.is_framework(base.__module__) for base in cls.__mro__)


def _fresh() -> dict[type, dict[str, Any]]:
    samples = [
        agent_framework.Content("text"),
        agent_framework.Message("user"),
        agent_framework.ChatResponse(),
        agent_framework.ChatResponseUpdate(),
        agent_framework.AgentResponse(),
        agent_framework.AgentResponseUpdate(),
    ]
    return {type(sample): {name: _ABSENT.get(name) for name in vars(sample)} for sample in samples}


_FRESH = _fresh()
_HOISTED = frozenset({agent_framework.Message, agent_framework.Content})


def _encode(e: encoding.Encoding, value: Any, depth: int) -> encoding.Node:
    node = own(e, value, depth)
    return e.shared(node) if type(value) in _HOISTED else node


def own(e: encoding.Encoding, value: Any, depth: int) -> dict[str, encoding.Node]:
    """Give the tree of a message or response itself, however large."""
    cls = type(value)
    fresh = _FRESH[cls]
    state = []
    for name, item in vars(value).items():
        if item is None or item is False:
            if name in fresh and fresh[name] is item:
                continue
        elif name in _DROPPED or (name == "additional_properties" and type(item) is dict and not item):
            continue
        state.append((name, _bare(item) if name == "annotations" else item))
    e.tagged = True
    return e.fields(state, {encoding.MARK: cls.__name__}, value, depth)


def _bare(annotations: Any) -> Any:
    if type(annotations) is not list or not any(type(item) is dict and _DROPPED & item.keys() for item in annotations):
        return annotations
    return [{k: v for k, v in item.items() if k not in _DROPPED} for item in annotations]


def _reader(cls: type) -> decoding.Handler:
    def read(d: decoding.Decoding, node: dict[str, Any]) -> Any:
        value: Any = object.__new__(cls)
        state = vars(value)
        state.update(_FRESH[cls])
        state["additional_properties"] = {}
        state.update(d.fields(node))
        return value

    return read


ENCODERS: dict[type, encoding.Handler] = dict.fromkeys(_FRESH, _encode)
DECODERS: dict[str, decoding.Handler] = {cls.__name__: _reader(cls) for cls in _FRESH}
WHOLE = _HOISTED
