"""Executors of runs whose workflow is built by a factory: each run has a build of its own."""

from __future__ import annotations

from collections.abc import Callable

from agent_framework import Executor, Workflow

from perdure.workflow import graph


class Builds:
    """The workflows that a factory built for live runs."""

    def __init__(self, factory: Callable[[], Workflow]) -> None:
        self._factory = factory
        self._unused: dict[str, dict[str, Executor]] = {}

    def take(self, run: str, place: str) -> Executor:
        """Give an executor that no one used yet."""
        unused = self._unused.get(run)
        if unused is None or place not in unused:
            unused = self._unused[run] = graph.places(self._factory())
        return unused.pop(place)

    def release(self, run: str) -> None:
        """Forget a run's builds."""
        self._unused.pop(run, None)


class Built:
    """Copies of an executor from builds of its own."""

    def __init__(self, executor: Executor, place: str, builds: Builds) -> None:
        self.executor = executor
        self._place = place
        self._builds = builds

    def copy(self, run: str) -> Executor:
        """Give a run's executor."""
        return self._builds.take(run, self._place)
