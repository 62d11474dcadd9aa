"""Executors of one run: deep copies of a pristine template, so that nothing leaks from run to run.

What serves all runs is shared by every copy: functions, classes, modules, locks, chat clients, tools, and
whatever cannot be copied. All else is copied, agents, sessions, middleware and context providers included.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import copy
import copyreg
import enum
import io
import logging
import pickle
import threading
import types
import uuid
from typing import Any, Final

from agent_framework import (
    AgentSession,
    Executor,
    FunctionalWorkflow,
    FunctionTool,
    StepWrapper,
    SupportsChatGetResponse,
)

from perdure.workflow import graph

SESSION_NAMESPACE: Final = uuid.UUID("8a3c1d52-7a36-5a0f-9f57-6f6b2a0a4d11")

_SHARED_TYPES: Final[tuple[Any, ...]] = (
    type,
    types.FunctionType,
    types.BuiltinFunctionType,
    types.ModuleType,
    types.GenericAlias,
    enum.Enum,
    types.UnionType,
    logging.Logger,
    logging.LoggerAdapter,
    FunctionTool,
    FunctionalWorkflow,
    StepWrapper,
    type(threading.Lock()),
    type(threading.RLock()),
    threading.Event,
    threading.Condition,
    threading.Semaphore,
    threading.Barrier,
    threading.Thread,
    threading.local,
    concurrent.futures.Executor,
    asyncio.Lock,
    asyncio.Semaphore,
    asyncio.Condition,
    asyncio.Barrier,
    asyncio.AbstractEventLoop,
)
_SCOPE: Final = "scope"
_TABLE: Final = "table"


class Template:
    """A pristine executor, and as many copies of it as there are runs.

    A workflow that it wraps is not copied: its executors have templates of their own.

    Args:
        executor: The executor as the user built it; it is never run.
        place: Its place in the workflow on top; its id unless it is in a sub-workflow.
    """

    def __init__(self, executor: Executor, place: str = "") -> None:
        self.executor = executor
        self._place = place or executor.id
        self._shared: list[Any] = []
        buffer = io.BytesIO()
        _Pickler(buffer, self._shared, executor).dump(executor)
        self._pickled = buffer.getvalue()

    def copy(self, run: str) -> Executor:
        """Make the copy of a run; its agent sessions have ids derived from run and executor."""
        copied: Executor = _Unpickler(io.BytesIO(self._pickled), self._shared, f"{run}/{self._place}").load()
        return copied


class _Pickler(pickle.Pickler):
    """Writes an object graph, with what is shared as references into a table."""

    def __init__(self, file: io.BytesIO, shared: list[Any], root: Executor) -> None:
        super().__init__(file, protocol=5)
        self._shared = shared
        self._root = root
        self._wrapped = graph.inner(root)
        self._known: dict[int, int] = {}

    def persistent_id(self, obj: Any) -> Any:
        if obj is _SCOPE_TOKEN:
            return _SCOPE
        if obj is _TABLE_TOKEN:
            return _TABLE
        if obj is self._wrapped and obj is not None:
            return self._share(obj)
        if isinstance(obj, _SHARED_TYPES) or _is_client(obj):
            return None if self._is_tied(obj) else self._share(obj)
        return None

    def reducer_override(self, obj: Any) -> Any:
        kind = type(obj)
        if kind in copyreg.dispatch_table:
            return NotImplemented
        if isinstance(obj, types.FunctionType):
            return _closed, (_TABLE_TOKEN, self._share(obj), _contents(obj))
        if isinstance(obj, types.MethodType):
            return types.MethodType, (obj.__func__, obj.__self__)
        if isinstance(obj, AgentSession) and kind is AgentSession:
            return _session, (_SCOPE_TOKEN, obj.session_id, obj.service_session_id, obj.state)
        deepcopy = getattr(kind, "__deepcopy__", None)
        if deepcopy is not None:
            if kind.__module__.split(".")[0].startswith("agent_framework") and hasattr(obj, "__dict__"):
                # The framework's own pickle state leaves runtime fields out; a copy needs them all.
                return copyreg.__newobj__, (kind,), dict(vars(obj)), None, None, _restore  # type: ignore[attr-defined]
            return _deepcopied, (_TABLE_TOKEN, self._share(obj))
        try:
            reduced = obj.__reduce_ex__(5)
        except (TypeError, AttributeError, pickle.PicklingError):
            # A socket, a generator, a connection: it cannot be copied, so the copies share it.
            return _picked, (_TABLE_TOKEN, self._share(obj))
        # The lock that an executor got by running in process is its own: shared, it would put all runs in a row.
        return _idle(reduced) if isinstance(obj, Executor) else reduced

    def _is_tied(self, obj: Any) -> bool:
        """Say whether a function or tool acts on the executor itself: the copy needs one that acts on the copy."""
        called = obj.func if isinstance(obj, FunctionTool) else obj
        if isinstance(called, types.MethodType):
            return called.__self__ is self._root
        return isinstance(called, types.FunctionType) and any(held is self._root for held in _contents(called))

    def _share(self, obj: Any) -> int:
        index = self._known.get(id(obj))
        if index is None:
            index = self._known[id(obj)] = len(self._shared)
            self._shared.append(obj)
        return index


class _Unpickler(pickle.Unpickler):
    """Reads a copy; the bytes were made by :class:`_Pickler` in this process."""

    def __init__(self, file: io.BytesIO, shared: list[Any], scope: str) -> None:
        super().__init__(file)
        self._shared = shared
        self._scope = scope

    def persistent_load(self, pid: Any) -> Any:
        if pid == _SCOPE:
            return self._scope
        if pid == _TABLE:
            return self._shared
        return self._shared[pid]


class _Token:
    """Marks a place that is filled in when a copy is made."""


_SCOPE_TOKEN: Final = _Token()
_TABLE_TOKEN: Final = _Token()


def _is_client(obj: Any) -> bool:
    # Structural: any object that answers as a chat client is one, whatever it derives from.
    return not isinstance(obj, Executor) and isinstance(obj, SupportsChatGetResponse)


def _contents(function: types.FunctionType) -> tuple[Any, ...]:
    """What a function closes over; a cell that is not filled yet holds None."""
    found: list[Any] = []
    for cell in function.__closure__ or ():
        try:
            found.append(cell.cell_contents)
        except ValueError:
            found.append(None)
    return tuple(found)


def _closed(table: list[Any], index: int, contents: tuple[Any, ...]) -> types.FunctionType:
    original: types.FunctionType = table[index]
    cells = tuple(types.CellType(held) for held in contents)
    made = types.FunctionType(original.__code__, original.__globals__, original.__name__, original.__defaults__, cells)
    made.__kwdefaults__ = original.__kwdefaults__
    made.__qualname__ = original.__qualname__
    made.__annotations__ = original.__annotations__
    made.__dict__.update(original.__dict__)
    return made


def _idle(reduced: Any) -> Any:
    if isinstance(reduced, str) or len(reduced) < 3:
        return reduced
    function, arguments, state, *rest = reduced
    if isinstance(state, tuple):
        state = ({**(state[0] or {}), **graph.IDLE}, *state[1:])
    elif isinstance(state, dict):
        state = {**state, **graph.IDLE}
    return (function, arguments, state, *rest)


def _picked(table: list[Any], index: int) -> Any:
    return table[index]


def _deepcopied(table: list[Any], index: int) -> Any:
    return copy.deepcopy(table[index])


def _session(scope: str, session_id: str, service_session_id: Any, state: dict[str, Any]) -> AgentSession:
    derived = str(uuid.uuid5(SESSION_NAMESPACE, f"{scope}/{session_id}"))
    session = AgentSession(session_id=derived, service_session_id=service_session_id)
    session.state.update(state)
    return session


def _restore(obj: Any, state: dict[str, Any]) -> None:
    for name, value in state.items():
        object.__setattr__(obj, name, value)
