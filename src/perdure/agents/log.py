"""The log of a session: its turns as a chain of payloads, from the newest back to the first."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from agent_framework import AgentResponse, Message

from perdure.agents import records
from perdure.payloads import refs
from perdure.workflow import values

WHOLE: Final = 1 << 62
"""An inline limit that nothing reaches: a turn's messages lie in its entry, but for the large parts of them."""


class Messages:
    """The distinct messages of a turn, in the order in which they were met.

    A history mostly holds the very messages that were asked and answered: those are stored once.
    """

    def __init__(self) -> None:
        self.items: list[Message] = []
        self._places: dict[int, int] = {}

    def places(self, messages: Sequence[Message]) -> tuple[int, ...]:
        """Give the positions of messages, adding those that are new."""
        return tuple(self._place(message) for message in messages)

    def _place(self, message: Message) -> int:
        place = self._places.get(id(message))
        if place is None:
            place = self._places[id(message)] = len(self.items)
            self.items.append(message)
        return place


def read(run: values.RunValues, ref: refs.Ref) -> records.Entry:
    """Give an entry.

    Raises:
        PayloadMissing: If it is not in the store.
    """
    return records.decode_entry(run.read(ref.digest, ref.owner))


def back_from(run: values.RunValues, head: refs.Ref | None) -> Iterator[records.Entry]:
    """Give the entries from the newest on."""
    while head is not None:
        entry = read(run, head)
        yield entry
        head = entry.previous


def histories(run: values.RunValues, head: refs.Ref | None) -> dict[str, list[Message]]:
    """Give the histories as they were after the newest entry, by provider.

    Reads back only as far as they reach: what a history dropped is not looked at.
    """
    if head is None:
        return {}
    wanted: dict[str, float] = {}
    pieces: dict[str, list[list[Message]]] = {}
    for entry in back_from(run, head):
        if not pieces:
            wanted = dict.fromkeys(entry.histories, math.inf)
            pieces = {source: [] for source in wanted}
        if not any(wanted.values()):
            break
        decoded: list[Message] | None = None
        for source, left in wanted.items():
            if not left:
                continue
            change = entry.histories.get(source)
            if change is None:
                wanted[source] = 0
                continue
            places = change.added if left == math.inf else change.added[: max(0, int(left) - change.keep)]
            if places:
                decoded = messages(run, entry) if decoded is None else decoded
                pieces[source].append([decoded[place] for place in places])
            wanted[source] = min(left, change.keep)
    return {source: [item for piece in reversed(found) for item in piece] for source, found in pieces.items()}


def messages(run: values.RunValues, entry: records.Entry) -> list[Message]:
    """Give the distinct messages of an entry."""
    found: list[Message] = run.decode(entry.messages)
    return found


def answer(run: values.RunValues, entry: records.Entry) -> AgentResponse[Any] | None:
    """Give what the agent answered, or what came of it; None if nothing did."""
    if entry.response is None:
        return None
    response: AgentResponse[Any] = run.decode(entry.response)
    found = messages(run, entry)
    response.messages = [found[place] for place in entry.answered]
    return response


def unchanged(lengths: Mapping[str, int]) -> dict[str, records.History]:
    """Say that the histories are as they were."""
    return {source: records.History(length, ()) for source, length in lengths.items()}
