"""The tail of a run's events: what may not be in its log yet, cut into pages and shown in the status meanwhile."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from perdure.hosts.replay import wire

PAGE_BYTES: Final = 4096


class Tail:
    """The tail as a life of the orchestration adds to it, and hands it on.

    Args:
        start: The input of the life.
        most_shown: Events up to this size stand in the status; 0 where none do.

    Attributes:
        next: The id of the first event that is in no page yet.
        pages: Pages that wait for something to take them to the log.
        shown: What stands in the status.
        shown_to: The id up to which events have stood in the status, or in the log.
    """

    def __init__(self, start: wire.Start, most_shown: int) -> None:
        self._most_shown = most_shown
        self._emitted = list(start.told)
        self._before = len(start.told)
        self.next = start.next
        self.pages = list(start.pages)
        self.shown: tuple[wire.Page, ...] = ()
        self.shown_to = start.shown

    @property
    def following(self) -> int:
        """The id that the next event will have."""
        return self.next + len(self._emitted)

    @property
    def uncut(self) -> tuple[tuple[float, bytes], ...]:
        """The events after the pages."""
        return tuple(self._emitted)

    @property
    def waiting_bytes(self) -> int:
        """How large what waits is."""
        return sum(map(size, self.pages)) + sum(len(data) for _, data in self._emitted)

    @property
    def is_long(self) -> bool:
        """Whether more waits than may stand in the status."""
        return self.waiting_bytes > self._most_shown

    def emit(self, time: float, event: bytes) -> None:
        """Add an event."""
        self._emitted.append((time, event))

    def forget_emitted(self) -> None:
        """Forget what this life has emitted: the one before has told it."""
        del self._emitted[self._before :]

    def give_back(self, pages: Iterable[wire.Page]) -> None:
        """Put back pages of which nobody will be told whether they are in the log."""
        self.pages += pages

    def cut(self) -> list[wire.Page]:
        """Cut what was emitted into pages and give all; those that were cut before stay as they are."""
        pages, self.pages = self.pages, []
        first, taken = 0, 0
        for place, (_, data) in enumerate(self._emitted):
            if taken and taken + len(data) > PAGE_BYTES:
                pages.append(self._page(first, place))
                first, taken = place, 0
            taken += len(data)
        if first < len(self._emitted):
            pages.append(self._page(first, len(self._emitted)))
        self._emitted.clear()
        return pages

    def show(self, carried: Sequence[wire.Page]) -> None:
        """Say which events may not be in the log: all if they are few, else those that were said before.

        Args:
            carried: Pages that are on their way to it.
        """
        pages = [*carried, *self.pages]
        if self._emitted:
            pages.append(wire.Page(self.next, tuple(self._emitted)))
        if sum(map(size, pages)) <= self._most_shown:
            self.shown_to = max(self.shown_to, self.following)
        self.shown = tuple(
            wire.Page(page.first, page.events[: self.shown_to - page.first])
            for page in sorted(pages, key=lambda page: page.first)
            if page.first < self.shown_to
        )

    def _page(self, start: int, stop: int) -> wire.Page:
        page = wire.Page(self.next, tuple(self._emitted[start:stop]))
        self.next += stop - start
        return page


def size(page: wire.Page) -> int:
    """How large the events of a page are."""
    return sum(len(data) for _, data in page.events)
