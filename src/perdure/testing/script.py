"""What a scripted model answers, one call after the other."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from perdure import errors

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")


class ScriptExhausted(errors.PerdureError):
    """A scripted model was called more often than its script has answers."""


class Script(Generic[Asked, Answer]):
    """Answers in order, or a function of what is asked; remembers what was asked. Safe to use from many threads.

    Args:
        answers: The answers, or the function that gives one.
    """

    def __init__(self, answers: Iterable[Answer] | Callable[[Asked], Answer]) -> None:
        self._function = answers if callable(answers) else None
        self._answers: list[Answer] = [] if callable(answers) else list(answers)
        self._asked: list[Asked] = []
        self._lock = threading.Lock()

    @property
    def asked(self) -> list[Asked]:
        """What was asked so far, in order."""
        with self._lock:
            return list(self._asked)

    @property
    def remaining(self) -> int:
        """How many answers were not given yet; 0 where a function answers."""
        with self._lock:
            return max(0, len(self._answers) - len(self._asked))

    def ask(self, asked: Asked) -> tuple[int, Answer]:
        """Give the number of this call, counted from 1, and its answer.

        Raises:
            ScriptExhausted: If all answers were given.
        """
        with self._lock:
            self._asked.append(asked)
            number = len(self._asked)
        if self._function is not None:
            return number, self._function(asked)
        if number > len(self._answers):
            raise ScriptExhausted(
                f"The scripted model was called {number} times and its script has {len(self._answers)} answers.",
                "Add the missing answer, or look at its requests for the call that should not have been made.",
            )
        return number, self._answers[number - 1]
