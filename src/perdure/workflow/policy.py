"""How long an executor may take, how often it is tried, and how long a person has: what an app says of its runs."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

import msgspec
from agent_framework import AgentExecutor, Executor

from perdure.workflow import failures, graph, naming, protocol, run_state

EVERYTHING: Final = "*"
"""The key that stands for all executors, or all requests, that have no key of their own."""

ExceptionTypes = type[BaseException] | tuple[type[BaseException], ...]
On = ExceptionTypes | Callable[[BaseException], bool] | None


@dataclass(frozen=True, slots=True)
class Retry:
    """When a step that raised is tried again.

    A service that says how long it wants to be left alone (``Retry-After``) is given that time if it is longer.

    Attributes:
        attempts: How often it is tried in all; 1 is never again.
        first_delay_seconds: The wait before the second attempt.
        backoff: What each further wait is longer by.
        max_delay_seconds: The longest wait; also of one that a service asks for.
        jitter: By what share of it a wait may be longer, so that many runs do not come back at once; 0 to 1.
        on: Which exceptions: a class or classes, of the exception or of one that caused it; a function that is given
            the exception; or None for what may go away by itself: too many requests (429), a server's own error
            (5xx), a broken connection, a time that ran out.
    """

    attempts: int = 3
    first_delay_seconds: float = 1.0
    backoff: float = 2.0
    max_delay_seconds: float = 60.0
    jitter: float = 0.25
    on: On = None

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise ValueError(f"Retry(attempts={self.attempts!r}): a step is tried at least once.")
        if self.first_delay_seconds < 0 or self.max_delay_seconds < 0 or self.backoff < 1:
            raise ValueError("Retry: delays are not negative, and backoff is 1 or more.")
        if not 0 <= self.jitter <= 1:
            raise ValueError(f"Retry(jitter={self.jitter!r}): it must be from 0 to 1.")


@dataclass(frozen=True, slots=True)
class Expired:
    """A request whose deadline has passed, as an escalation is told of it.

    Attributes:
        run_id: The run.
        request_id: The request.
        executor: Who asked.
        data: What it asked.
    """

    run_id: str
    request_id: str
    executor: str
    data: Any


Escalation = Callable[[Expired], Any | Awaitable[Any]]

_UNSET: Final[Any] = object()


@dataclass(frozen=True, slots=True)
class Deadline:
    """What becomes of a request that nobody answers.

    Attributes:
        seconds: How long it may stay open.
        answer: The answer that it then gets; of the type that it asks for.
        escalate: Called then instead, at least once, with an :class:`Expired`; may be async. What it gives is the
            answer; None leaves the request open, for whoever was told.
    """

    seconds: float
    answer: Any = field(default=_UNSET)
    escalate: Escalation | None = None

    def __post_init__(self) -> None:
        if self.seconds < 0:
            raise ValueError(f"Deadline(seconds={self.seconds!r}): it must not be negative.")
        if (self.answer is _UNSET) == (self.escalate is None):
            raise ValueError("Deadline: give either answer=... or escalate=...")

    @property
    def gives_answer(self) -> bool:
        """Whether it has an answer, and does not escalate."""
        return self.answer is not _UNSET

    async def give(self, expired: Expired) -> Any:
        """Give the answer, or what the escalation gives.

        Raises:
            Exception: Whatever the escalation raises.
        """
        if self.escalate is None:
            return self.answer
        given = self.escalate(expired)
        return await given if inspect.isawaitable(given) else given


RetryOption = Retry | Mapping[str, Retry] | None
TimeoutOption = float | Mapping[str, float] | None
DeadlineOption = Deadline | Mapping[str, Deadline] | None

TRANSIENT: Final = Retry()
ONCE: Final = Retry(attempts=1)


class Attempts(msgspec.Struct, frozen=True, array_like=True):
    """A :class:`Retry` as a run keeps it; ``on`` is kinds of failures, all of one of its members being needed."""

    attempts: int
    first_delay: float
    backoff: float
    longest: float
    jitter: float
    on: tuple[tuple[str, ...], ...]


class Rule(msgspec.Struct, frozen=True, array_like=True):
    """What holds for one executor: its attempts, and how long each may take in seconds (0 for any time)."""

    retry: Attempts
    timeout: float = 0.0


class Policies(msgspec.Struct, frozen=True, array_like=True):
    """What a run was started with; the code of the day does not change it.

    Attributes:
        rules: By the executor's place; under ``"*"`` that of those that have none of their own.
        deadlines: Seconds by executor or by class of what is asked.
    """

    rules: dict[str, Rule] = {}
    deadlines: dict[str, float] = {}

    def rule(self, executor: str) -> Rule | None:
        """Give an executor's rule."""
        return self.rules.get(executor) or self.rules.get(EVERYTHING)

    def expires_after(self, request: run_state.Request) -> float | None:
        """Give how many seconds a request may stay open; None for any time."""
        found: float | None = _find(self.deadlines, (request.executor, request.request_type))
        return found


_encoder: Final = msgspec.msgpack.Encoder()


@lru_cache(maxsize=256)
def decode(data: bytes) -> Policies:
    """Read back what a run was started with; runs from before there were policies have none."""
    return _decoder.decode(data) if data else Policies()


def encode(policies: Policies) -> bytes:
    """Encode policies as a run's input carries them."""
    return _encoder.encode(policies)


class Options:
    """An app's policies, resolved for the executors of one workflow.

    Args:
        retry: One for all executors, or by executor id (``id`` or ``workflow/id``), agent name or ``"*"``.
        timeouts: Likewise, in seconds.
        deadlines: One for all requests, or by executor id, class name of what is asked, or ``"*"``.
    """

    def __init__(
        self, retry: RetryOption = None, timeouts: TimeoutOption = None, deadlines: DeadlineOption = None
    ) -> None:
        self._retry: Mapping[str, Retry] = _by_key(retry)
        self._timeouts: Mapping[str, float] = _by_key(timeouts)
        self.deadlines: Mapping[str, Deadline] = _by_key(deadlines)
        for key, seconds in self._timeouts.items():
            if seconds <= 0:
                raise ValueError(f"timeouts[{key!r}] is {seconds!r}; a timeout is more than 0 seconds.")

    def check(self, workflows: Mapping[str, Mapping[str, Executor]], agents: Iterable[str] = ()) -> None:
        """Refuse policies for what is not there.

        Args:
            workflows: The executors of each hosted workflow, by their place.
            agents: Names of the agents that are hosted beside them.

        Raises:
            ValueError: If a key names no executor and no agent.
        """
        known = {name for wf, found in workflows.items() for executor in found.values() for name in names(wf, executor)}
        known |= set(agents)
        for option, keys in (("retry", self._retry), ("timeouts", self._timeouts)):
            for key in keys:
                if key != EVERYTHING and key not in known:
                    shown = ", ".join(sorted(name for name in known if "/" not in name)) or "none"
                    raise ValueError(f"{option} has the key {key!r}, which is no executor and no agent: {shown}.")

    def retry(self, workflow: str, chain: Sequence[Executor]) -> Retry | None:
        """Give an executor's own retry policy, that of the nearest one around it, or the app's; None for the default.

        Args:
            workflow: The hosted name.
            chain: What wraps the executor, from the top, and itself.
        """
        found: Retry | None = _find(self._retry, (key for item in reversed(chain) for key in names(workflow, item)))
        return found

    def _rule(self, workflow: str, chain: Sequence[Executor]) -> Rule:
        executor = chain[-1]
        own = names(workflow, executor)
        if graph.wraps(executor):
            # Its steps are tried again each by itself; a time of its own is that of the whole turn.
            return Rule(_attempts(ONCE, ()), next((self._timeouts[key] for key in own if key in self._timeouts), 0.0))
        chosen = self.retry(workflow, chain)
        timeout = _find(self._timeouts, own) or 0.0
        on = default_on(executor) if chosen is None else kinds_of(chosen.on)
        return Rule(_attempts(TRANSIENT if chosen is None else chosen, on), timeout)

    def agent(self, name: str, retry: Retry | None, timeout: float | None) -> tuple[Retry | None, Rule]:
        """Give what holds for the turns of a hosted agent: its policy, None for the default, and the rule of it.

        If nobody says, what may go away by itself is tried again, but no answer of which something had come.

        Args:
            name: The name it is hosted under.
            retry: Its own policy.
            timeout: Its own timeout, seconds.
        """
        found: Retry | None = retry if retry is not None else _find(self._retry, (name,))
        seconds: float | None = timeout if timeout is not None else _find(self._timeouts, (name,))
        if seconds is not None and seconds <= 0:
            raise ValueError(f"The timeout of agent {name!r} is {seconds!r}; a timeout is more than 0 seconds.")
        on = ((failures.TRANSIENT, failures.UNHEARD),) if found is None else kinds_of(found.on)
        return found, Rule(_attempts(TRANSIENT if found is None else found, on), seconds or 0.0)

    def deadline(self, request: run_state.Request) -> Deadline | None:
        """Give the deadline of a request."""
        found: Deadline | None = _find(self.deadlines, (request.executor, request.request_type))
        return found

    def resolve(self, workflow: str, executors: Mapping[str, Executor]) -> Policies:
        """Give what a run of these executors, given by their place, is started with."""
        rules: dict[str, Rule] = {}
        for place, chain in _chains(executors):
            rule = self._rule(workflow, chain)
            if rules.setdefault(EVERYTHING, rule) != rule:
                rules[place] = rule
        return Policies(rules, {key: found.seconds for key, found in self.deadlines.items()})


def _chains(executors: Mapping[str, Executor]) -> Iterator[tuple[str, list[Executor]]]:
    """Give every executor with what wraps it, from the top."""
    for place in executors:
        yield place, [executors[name] for name in naming.chain(place)]


def names(workflow: str, executor: Executor) -> tuple[str, ...]:
    """Give the keys under which an executor's policy may stand: ``workflow/id``, its id, and its agent's name."""
    found = (f"{workflow}/{executor.id}", executor.id)
    if isinstance(executor, AgentExecutor) and executor.agent.name:
        return (*found, executor.agent.name)
    return found


def default_on(executor: Executor) -> tuple[tuple[str, ...], ...]:
    """Give what is tried again if nobody says: transient failures of agents and models, and nothing else."""
    if isinstance(executor, AgentExecutor):
        return ((failures.TRANSIENT,),)
    return ((failures.TRANSIENT, failures.MODEL),)


def kinds_of(on: On) -> tuple[tuple[str, ...], ...]:
    """Give the kinds of failures that a policy is for."""
    if on is None:
        return ((failures.TRANSIENT,),)
    if isinstance(on, type) and issubclass(on, BaseException):
        return ((failures.name(on),),)
    if isinstance(on, tuple):
        return tuple((failures.name(kind),) for kind in on)
    return ((failures.CHOSEN,),)


def notice(retry: Retry | None, error: Exception) -> None:
    """Ask a policy's predicate of a live exception; what it says is recorded with the failure."""
    on = None if retry is None else retry.on
    if on is not None and not isinstance(on, (type, tuple)) and on(error):
        failures.choose(error)


def delay(rule: Rule | None, step: str, attempt: int, failure: protocol.Failure) -> float | None:
    """Give how long to wait before the next attempt, in seconds; None if there is none.

    Args:
        rule: The executor's rule.
        step: Name of the step in all of the hub: the jitter is derived from it, so that a replay waits the same.
        attempt: The attempt that failed, from 1.
        failure: Why.
    """
    if rule is None or attempt >= rule.retry.attempts or not _matches(rule.retry.on, failure.kinds):
        return None
    told = rule.retry
    # Past 2 ** 64 every wait is the longest one; the power would not fit.
    wait = min(told.first_delay * told.backoff ** min(attempt - 1, 64), told.longest)
    wait += wait * told.jitter * _share(f"{step}#{attempt}")
    return max(wait, min(failure.retry_after or 0.0, told.longest))


def _matches(on: Iterable[tuple[str, ...]], kinds: tuple[str, ...]) -> bool:
    return any(all(kind in kinds for kind in needed) for needed in on)


def _share(text: str) -> float:
    """A number from 0 to 1 that a text always gives."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=7).digest()) / float(1 << 56)


def _attempts(retry: Retry, on: tuple[tuple[str, ...], ...]) -> Attempts:
    return Attempts(retry.attempts, retry.first_delay_seconds, retry.backoff, retry.max_delay_seconds, retry.jitter, on)


def _by_key(option: Any) -> Mapping[str, Any]:
    if option is None:
        return {}
    return option if isinstance(option, Mapping) else {EVERYTHING: option}


def _find(found: Mapping[str, Any], keys: Iterable[str]) -> Any:
    return next((found[key] for key in (*keys, EVERYTHING) if key in found), None)


_decoder: Final = msgspec.msgpack.Decoder(Policies)
