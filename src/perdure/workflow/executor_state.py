"""What an executor carries from delivery to delivery: by its own checkpoint hooks, or its changed attributes."""

from __future__ import annotations

from typing import Any, Final, Protocol

from agent_framework import Executor

from perdure import errors
from perdure.payloads import refs
from perdure.workflow import graph, shared_state

_ATOMS: Final = (str, int, float, bool, bytes, type(None))


class Live:
    """An executor's copy that is alive in this process.

    Attributes:
        executor: The copy.
        ref: The state it is known to be in; None while pristine.
        stays: Attributes that cannot be encoded and changed; named once.
    """

    __slots__ = ("_marks", "_pristine", "executor", "ref", "stays")

    def __init__(self, executor: Executor, marks: dict[str, Any], pristine: dict[str, Any]) -> None:
        self.executor = executor
        self.ref: refs.Ref | None = None
        self.stays: set[str] = set()
        self._marks = marks
        self._pristine = pristine

    @property
    def changed(self) -> dict[str, Any]:
        """Marks of the attributes as last saved."""
        return self._marks

    @property
    def pristine(self) -> dict[str, Any]:
        """Marks of the attributes as the user built the executor."""
        return self._pristine


class Copies(Protocol):
    """Where the copies of an executor come from."""

    @property
    def executor(self) -> Executor:
        """The executor as the user built it."""
        ...

    def copy(self, run: str) -> Executor:
        """Make a run's copy."""
        ...


class Kind:
    """How the copies of one executor are made, saved and restored.

    Args:
        template: The executor as the user built it.
        strict: Whether an attribute that changed and cannot be encoded is an error.
    """

    def __init__(self, template: Copies, *, strict: bool = False) -> None:
        self.template = template
        self._strict = strict
        self._hooks = graph.is_custom_state(template.executor)
        self._pristine: dict[str, Any] | None = None

    async def make(self, run: str, ref: refs.Ref | None, values: shared_state.Values) -> Live:
        """Make a run's copy, in the state that it was saved in."""
        executor = self.template.copy(run)
        if self._pristine is None:
            self._pristine = {} if self._hooks else _marks(self.template.executor, values)
        live = Live(executor, dict(self._pristine), self._pristine)
        if ref is not None:
            saved = values.decode(ref)
            if self._hooks:
                await executor.on_checkpoint_restore(saved)
            else:
                for name, value in saved["set"].items():
                    setattr(executor, name, value)
                for name in saved["gone"]:
                    delattr(executor, name)
                live.changed.clear()
                live.changed.update(_marks(executor, values))
            live.ref = ref
        return live

    async def save(self, live: Live, values: shared_state.Values, blobs: list[refs.Blob]) -> list[str]:
        """Encode what changed into ``live.ref``; gives the attributes that newly stay behind in this process.

        Raises:
            CodecError: If what a hook gives cannot be encoded, or ``strict`` and an attribute cannot.
        """
        where = f"the state of executor {live.executor.id!r}"
        if self._hooks:
            saved = await live.executor.on_checkpoint_save()
            own: list[refs.Blob] = []
            ref = values.encode(saved, own, where=where)
            if not shared_state.same(ref, live.ref):
                blobs.extend(own)
                live.ref = ref
            return []
        names = _names(live.executor)
        if not names and not live.changed:
            return []
        return self._save_attributes(live, names, values, blobs, where)

    def _save_attributes(
        self, live: Live, names: list[str], values: shared_state.Values, blobs: list[refs.Blob], where: str
    ) -> list[str]:
        marks = {name: _mark(vars(live.executor)[name], values, live.changed.get(name)) for name in names}
        if marks == live.changed:
            return []
        behind: list[str] = []
        changed: dict[str, Any] = {}
        for name, mark in marks.items():
            if mark == live.pristine.get(name, _Behind):
                continue
            if isinstance(mark, _Behind):
                if name not in live.stays:
                    behind.append(name)
                continue
            changed[name] = vars(live.executor)[name]
        if behind and self._strict:
            raise errors.CodecError(
                f"{where} cannot be carried to the next step: {', '.join(behind)} changed and cannot be encoded.",
                "Override on_checkpoint_save and on_checkpoint_restore, or host without strict_executor_state.",
            )
        live.stays.update(behind)
        gone = [name for name in live.pristine if name not in marks]
        live.ref = values.encode({"set": changed, "gone": gone}, blobs, where=where)
        live.changed.clear()
        live.changed.update(marks)
        return behind


class _Behind:
    """The mark of a value that cannot be encoded: only its identity is known."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Behind) and other.value is self.value

    __hash__ = None  # type: ignore[assignment]  # marks are compared, never keys


def _names(executor: Executor) -> list[str]:
    return [name for name in vars(executor) if name not in graph.EXECUTOR_ATTRIBUTES]


def _marks(executor: Executor, values: shared_state.Values) -> dict[str, Any]:
    return {name: _mark(vars(executor)[name], values, None) for name in _names(executor)}


def _mark(value: Any, values: shared_state.Values, before: Any) -> Any:
    """Something that differs when the value does: the value itself if it cannot change, else its encoding."""
    if type(value) in _ATOMS:
        return (type(value), value)
    if isinstance(before, _Behind) and before.value is value:
        return before
    try:
        ref = values.encode(value, [], where="an attribute")
    except errors.CodecError:
        return _Behind(value)
    return (ref.inline, ref.digest)
