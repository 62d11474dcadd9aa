"""Promises that are kept at once: whoever waits goes on in the call that settles what it waits for."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence


class Promise:
    """Something that completes; ``value`` is a result's JSON text."""

    __slots__ = ("_then", "done", "failed", "value")

    def __init__(self, *, done: bool = False) -> None:
        self.done = done
        self.failed = False
        self.value: str | None = None
        self._then: list[Callable[[Promise], None]] = []

    def settle(self, value: str | None = None, *, failed: bool = False) -> None:
        """Complete it, and let those go on who wait for it; once only."""
        if self.done:
            return
        self.done, self.failed, self.value = True, failed, value
        then, self._then = self._then, []
        for call in then:
            call(self)

    def then(self, call: Callable[[Promise], None]) -> None:
        """Call this when it has completed, at once if it has."""
        if self.done:
            call(self)
        else:
            self._then.append(call)


Body = Generator[Promise, Promise | None, Promise]


def run(body: Body) -> Promise:
    """Run what awaits promises, as far as it goes now; gives a promise of its end."""
    end = Promise()

    def go_on(settled: Promise | None) -> None:
        try:
            waited = body.send(settled)
            while waited.done:
                waited = body.send(waited)
        except StopIteration as stop:
            end.settle(stop.value.value, failed=stop.value.failed)
            return
        waited.then(go_on)

    go_on(None)
    return end


def all_of(parts: Sequence[Promise]) -> Promise:
    """Give one that completes with the last of these, failed if one has."""
    end, left = Promise(), len(parts)

    def landed(_: Promise) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            end.settle(failed=any(part.failed for part in parts))

    for part in parts:
        part.then(landed)
    if not parts:
        end.settle()
    return end


def any_of(parts: Sequence[Promise]) -> Promise:
    """Give one that completes as the first of these does."""
    end = Promise()
    for part in parts:
        part.then(lambda settled: end.settle(settled.value, failed=settled.failed))
    if not parts:
        end.settle()
    return end
