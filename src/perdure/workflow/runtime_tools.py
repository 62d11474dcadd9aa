"""Tools that a run is given: by name, so that it finds them again in another process."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from agent_framework import FunctionTool, normalize_tools

from perdure import errors

Tools: TypeAlias = Sequence[Any] | Callable[..., Any] | Mapping[str, Any] | FunctionTool | None
"""What the framework takes as tools: functions, tools, or objects that the model's side understands."""

Named: TypeAlias = str | dict[str, Any]
"""How a run names a tool: by the name that the app knows it by, or as it is where it holds no code."""


class RuntimeTools:
    """The tools that an app knows by name, for runs that ask for them.

    A run outlives the process, so that code cannot travel with it: its name does.

    Args:
        tools: The tools.

    Raises:
        ValueError: If one has no name, or two have the same one.
    """

    def __init__(self, tools: Tools = None) -> None:
        self._known: dict[str, Any] = {}
        for tool in normalize_tools(tools):
            name = getattr(tool, "name", None)
            if not isinstance(name, str) or not name:
                raise ValueError(f"runtime_tools holds {tool!r}, which has no name for a run to ask for it by.")
            if name in self._known:
                raise ValueError(f"runtime_tools holds two tools that are called {name!r}.")
            self._known[name] = tool

    def named(self, given: Tools) -> list[Named]:
        """Say of tools how a run names them: by name, or as they are where they hold no code.

        Raises:
            InvalidInput: If one is code that the app does not know, or is no tool.
        """
        if given is None:
            return []
        several = given if isinstance(given, Sequence) else [given]
        return [self._name(item, index) for index, item in enumerate(several)]

    def _name(self, item: Any, index: int) -> Named:
        if isinstance(item, str):
            if item not in self._known:
                raise self._unknown(item, index)
            return item
        if isinstance(item, Mapping):
            return self._declared(dict(item), index)
        (tool,) = normalize_tools([item]) or [item]
        name = getattr(tool, "name", None)
        known = self._known.get(name) if isinstance(name, str) else None
        if known is not None and (known is tool or _code(known) is _code(tool)):
            return str(name)
        if isinstance(tool, FunctionTool) and tool.declaration_only:
            return {"name": tool.name, "description": tool.description, "parameters": tool.parameters()}
        raise self._unknown(str(name or item), index)

    def _declared(self, item: dict[str, Any], index: int) -> dict[str, Any]:
        if isinstance(item.get("type"), str):
            return item
        if isinstance(item.get("name"), str) and isinstance(item.get("parameters", {}), dict):
            return item
        said = "it has neither a type, as tools of the model's side have, nor a name, as a declaration has"
        raise errors.InvalidInput([(f"/tools/{index}", said)], f"Tool {index} of the run is none: {said}.")

    def _unknown(self, name: str, index: int) -> errors.InvalidInput:
        known = ", ".join(self._known) or "none"
        return errors.InvalidInput(
            [(f"/tools/{index}", f"unknown tool {name!r}")],
            f"The app knows no runtime tool {name!r}; it knows {known}. Register it "
            "with AgentFunctionApp(runtime_tools=[...]): a run finds it there by name, after a restart too.",
        )

    def missing(self, named: Sequence[Named]) -> list[str]:
        """Give the names that the app does not know (any more)."""
        return [item for item in named if isinstance(item, str) and item not in self._known]

    def find(self, named: Sequence[Named]) -> list[Any]:
        """Give the tools that a run names, as the framework takes them."""
        return [self._tool(item) for item in named]

    def _tool(self, item: Named) -> Any:
        if isinstance(item, str):
            return self._known[item]
        if "type" in item:
            return item
        schema = item.get("parameters") or {"type": "object", "properties": {}}
        return FunctionTool(name=item["name"], description=item.get("description", ""), func=None, input_model=schema)


def _code(tool: Any) -> Any:
    """What a tool runs; None for one that runs nothing here."""
    return getattr(tool, "func", None) or tool
