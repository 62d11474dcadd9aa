"""What an executor carries from delivery to delivery: by its own checkpoint hooks, or its changed attributes."""

from __future__ import annotations

from typing import Any, Final, Protocol

from agent_framework import Executor

from perdure import errors
from perdure.payloads import refs
from perdure.workflow import function_executor, graph, isolation, shared_state

IDLE_COPIES: Final = 256
"""How many copies that hold nothing are kept for runs to come."""

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
        self._slots = _slots(type(template.executor))
        self._pristine: dict[str, Any] | None = None
        # Without attributes of the user's there is nothing that one run could leave to another.
        self._blank = (
            isinstance(template, isolation.Template)
            and not self._hooks
            and not _attributes(template.executor, self._slots)
        )
        self._idle: list[Live] = []

    def give_back(self, live: Live) -> None:
        """Take back the copy of a run that is over; one that holds nothing serves another run."""
        self.drop(live)
        if (
            self._blank
            and live.ref is None
            and not _attributes(live.executor, self._slots)
            and len(self._idle) < IDLE_COPIES
        ):
            self._idle.append(live)

    @staticmethod
    def drop(live: Live) -> None:
        """Let go of a copy that no step will run again."""
        if isinstance(live.executor, function_executor.FunctionExecutor):
            live.executor.release()

    async def make(self, run: str, ref: refs.Ref | None, values: shared_state.Values) -> Live:
        """Make a run's copy, in the state that it was saved in."""
        if ref is None and self._idle:
            return self._idle.pop()
        executor = self.template.copy(run)
        if self._pristine is None:
            self._pristine = {} if self._hooks else _marks(self.template.executor, self._slots, values)
        pristine = _of_copy(self._pristine, _attributes(executor, self._slots))
        live = Live(executor, dict(pristine), pristine)
        if ref is not None:
            saved = values.decode(ref)
            if self._hooks:
                await executor.on_checkpoint_restore(saved)
            else:
                put(executor, saved)
                live.changed.clear()
                live.changed.update(_marks(executor, self._slots, values))
            live.ref = ref
        return live

    def unchanged(self, live: Live, values: shared_state.Values) -> bool:
        """Say whether a copy is certainly as it was last saved."""
        return not self._hooks and _marks(live.executor, self._slots, values) == live.changed

    async def save(self, live: Live, values: shared_state.Values, blobs: list[refs.Blob]) -> list[str]:
        """Encode what changed into ``live.ref``; gives the attributes that newly stay behind in this process.

        Raises:
            CodecError: If what a hook gives cannot be encoded, or ``strict`` and an attribute cannot.
        """
        where = f"the state of executor {live.executor.id!r}"
        if self._hooks:
            saved = await live.executor.on_checkpoint_save()
            own: list[refs.Blob] = []
            ref = values.encode(saved, own, where=where, inline_limit=values.inline.executor)
            if not shared_state.same(ref, live.ref):
                blobs.extend(own)
                live.ref = ref
            return []
        found = _attributes(live.executor, self._slots)
        if not found and not live.changed:
            return []
        return self._save_attributes(live, found, values, blobs, where)

    def _save_attributes(
        self, live: Live, found: dict[str, Any], values: shared_state.Values, blobs: list[refs.Blob], where: str
    ) -> list[str]:
        marks = {name: _mark(value, values, live.changed.get(name)) for name, value in found.items()}
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
            changed[name] = found[name]
        self._stay(live, behind)
        gone = [name for name in live.pristine if name not in marks]
        live.ref = values.encode(
            {"set": changed, "gone": gone}, blobs, where=where, inline_limit=values.inline.executor
        )
        live.changed.clear()
        live.changed.update(marks)
        return behind

    def _stay(self, live: Live, behind: list[str]) -> None:
        if behind and self._strict:
            raise errors.CodecError(
                f"The state of executor {live.executor.id!r} cannot be carried to the next step: "
                f"{', '.join(behind)} changed and cannot be encoded.",
                "Override on_checkpoint_save and on_checkpoint_restore, or host without strict_executor_state.",
            )
        live.stays.update(behind)


def changed(executor: Executor, built: Executor, values: shared_state.Values) -> dict[str, Any] | None:
    """Give what an executor's attributes are that differ from those it was built with, for ``put``; None if none do.

    What cannot be encoded is left out.
    """
    slots = _slots(type(executor))
    before, found = _marks(built, slots, values), _attributes(executor, slots)
    marks = {name: _mark(value, values, None) for name, value in found.items()}
    carried = {
        name: found[name]
        for name, mark in marks.items()
        if not isinstance(mark, _Behind) and mark != before.get(name, _Behind)
    }
    gone = [name for name in before if name not in marks]
    return {"set": carried, "gone": gone} if carried or gone else None


def put(executor: Executor, carried: dict[str, Any]) -> None:
    """Give an executor the attributes that were carried along."""
    for name, value in carried["set"].items():
        setattr(executor, name, value)
    for name in carried["gone"]:
        delattr(executor, name)


class _Behind:
    """The mark of a value that cannot be encoded: only its identity is known."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Behind) and other.value is self.value

    __hash__ = None  # type: ignore[assignment]  # marks are compared, never keys


def _attributes(executor: Executor, slots: tuple[str, ...]) -> dict[str, Any]:
    """The user's attributes and their values, those in slots too."""
    found = graph.own_attributes(executor)
    for name in slots:
        if hasattr(executor, name):
            found[name] = getattr(executor, name)
    return found


def _slots(kind: type) -> tuple[str, ...]:
    found: list[str] = []
    for base in kind.__mro__:
        slots = vars(base).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            private = name.startswith("__") and not name.endswith("__")
            found.append(f"_{base.__name__.lstrip('_')}{name}" if private else name)
    return tuple(name for name in found if name not in ("__dict__", "__weakref__"))


def _marks(executor: Executor, slots: tuple[str, ...], values: shared_state.Values) -> dict[str, Any]:
    return {name: _mark(value, values, None) for name, value in _attributes(executor, slots).items()}


def _of_copy(marks: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    """The template's marks as a copy's: what cannot be encoded is another object in each copy."""
    return {
        name: _Behind(found[name]) if isinstance(mark, _Behind) and name in found else mark
        for name, mark in marks.items()
    }


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
