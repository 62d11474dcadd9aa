"""What a session remembers between its turns: histories in the log, all else of its providers in one document."""

from __future__ import annotations

import collections
import copy
from typing import Final

from agent_framework import AgentSession, Content, Message

from perdure.agents import log, marks, records
from perdure.payloads import refs
from perdure.workflow import values

HISTORY: Final = "messages"
"""Where a provider that keeps a history in the session keeps it."""

NOT_REPLAYED: Final = frozenset({"text_reasoning", "error"})
"""What a model is not shown again as something it said."""

LIVE_SESSIONS: Final = 256


class Memory:
    """A session as it was after some turn.

    Attributes:
        session: What the agent sees.
        head: The newest entry of the log then.
        document: The rest of its state then.
    """

    __slots__ = ("_marks", "document", "head", "session")

    def __init__(self, session: AgentSession, head: refs.Ref | None, document: refs.Ref | None) -> None:
        self.session = session
        self.head = head
        self.document = document
        self._marks: dict[str, list[marks.Mark]] = {}

    @property
    def lengths(self) -> dict[str, int]:
        """How long each history was then."""
        return {source: len(marks) for source, marks in self._marks.items()}

    def mark(self, run: values.RunValues) -> None:
        """Remember what the histories are, to see later what was changed in them."""
        self._marks = {
            source: [marks.of(run, message) for message in history]
            for source, history in histories(self.session).items()
        }

    def changes(self, run: values.RunValues, turn: log.Messages) -> dict[str, records.History]:
        """Say how the histories changed since they were marked, and mark them as they are.

        What was added is put among the turn's messages; of it and in it, what is not replayed is left out.
        """
        changes: dict[str, records.History] = {}
        marked: dict[str, list[marks.Mark]] = {}
        for source, history in histories(self.session).items():
            before = self._marks.get(source, [])
            keep = 0
            for mark, message in zip(before, history, strict=False):
                if not marks.holds(run, mark, message):
                    break
                keep += 1
            added = [bare for message in history[keep:] if (bare := _replayed(message)) is not None]
            if len(added) != len(history) - keep or any(a is not b for a, b in zip(added, history[keep:], strict=True)):
                history[keep:] = added
            changes[source] = records.History(keep, turn.places(added))
            marked[source] = before[:keep] + [marks.of(run, message) for message in added]
        self._marks = marked
        return changes

    def encode(self, run: values.RunValues, blobs: list[refs.Blob]) -> refs.Ref:
        """Encode all of the session's state but its histories.

        Raises:
            CodecError: If a provider keeps what cannot be encoded; says which and where.
        """
        kept_apart = histories(self.session)
        state = {
            source: {key: item for key, item in kept.items() if key != HISTORY} if source in kept_apart else kept
            for source, kept in self.session.state.items()
        }
        value = {"state": state, "service": self.session.service_session_id}
        return run.encode(value, blobs, where=f"the state of session {self.session.session_id!r}")


class Memories:
    """The memories of sessions that spoke lately; any other is read from the log."""

    def __init__(self) -> None:
        self._live: collections.OrderedDict[str, Memory] = collections.OrderedDict()

    def take(self, session: str, head: refs.Ref | None, document: refs.Ref | None) -> Memory | None:
        """Take out a session's memory if it is of this moment: a turn that fails must not leave a changed one."""
        found = self._live.pop(session, None)
        return found if found is not None and (found.head, found.document) == (head, document) else None

    def put(self, session: str, memory: Memory) -> None:
        """Put a memory back after a turn."""
        self._live[session] = memory
        if len(self._live) > LIVE_SESSIONS:
            self._live.popitem(last=False)

    def release(self, session: str) -> None:
        """Forget a session."""
        self._live.pop(session, None)


def restore(run: values.RunValues, session: AgentSession, head: refs.Ref | None, document: refs.Ref | None) -> Memory:
    """Make a new session what it was after a turn.

    Raises:
        PayloadMissing: If a part of it is not in the store.
        CodecError: If a class in it is not known any more.
    """
    memory = Memory(session, head, document)
    if document is not None:
        value = run.decode(document)
        session.service_session_id = value["service"]
        session.state.clear()
        session.state.update(value["state"])
    for source, history in log.histories(run, head).items():
        session.state.setdefault(source, {})[HISTORY] = history
    memory.mark(run)
    return memory


def histories(session: AgentSession) -> dict[str, list[Message]]:
    """The histories that lie in a session's state, themselves and no copies."""
    found: dict[str, list[Message]] = {}
    for source, kept in session.state.items():
        history = kept.get(HISTORY) if isinstance(kept, dict) else None
        if type(history) is list and history and all(type(item) is Message for item in history):
            found[source] = history
    return found


def _replayed(message: Message) -> Message | None:
    """Give a message without what is not replayed; itself if there is no such thing in it, None if nothing is left."""
    if not any(_is_left_out(content) for content in message.contents):
        return message
    kept = [content for content in message.contents if not _is_left_out(content)]
    if not kept:
        return None
    bare = copy.copy(message)
    bare.contents = kept
    return bare


def _is_left_out(content: Content) -> bool:
    return content.type in NOT_REPLAYED
