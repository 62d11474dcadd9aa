"""What the framework does with a workflow in process is what a hosted run must do: tried on generated programs."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from tests.differential import programs
from tests.workflow import support

BATCH = 15
"""Programs to a test."""


class Differs(AssertionError):
    """A hosted run did something else."""


async def compare(program: programs.Program, modes: tuple[support.Mode, ...]) -> bool:
    """Run a program in process and hosted.

    Gives:
        Whether it says anything: False if two correct runners could differ on it.
    """
    log = programs.Log()
    expected = await support.in_process(programs.build(program, log), program.value, on_superstep=log.next_step)
    unordered = log.several_sources()
    if log.raced() or (unordered and program.ordered()) or (program.joins() and (unordered or log.overtook())):
        return False
    for mode in modes:
        actual = await support.hosted_run(lambda: programs.build(program, programs.Log()), program.value, mode=mode)
        _same(program, mode, expected, actual, unordered=unordered)
    return True


def _same(
    program: programs.Program, mode: str, expected: support.Result, actual: support.Result, *, unordered: bool
) -> None:
    def check(what: str, hosted: Any, in_process: Any) -> None:
        if hosted != in_process:
            raise Differs(f"{what} in mode {mode}: hosted {hosted!r}, in process {in_process!r}\n{program!r}")

    if expected.failure is not None and expected.failure[0] == "Boom" and actual.failure != expected.failure:
        # Of several that raise in one superstep, the first to be recorded is the reason.
        raisers = [node.id for node in program.nodes if any(op.kind == "raise" for op in node.ops)]
        last = [executor for executor, _ in actual.supersteps[-1] if executor in raisers]
        if len(last) > 1 and actual.failure is not None and actual.failure[0] == "Boom":
            return
    check("failure", actual.failure, expected.failure)
    # Of the superstep in which one failed, the others may or may not have done something.
    raised = expected.failure is not None and expected.failure[0] in ("Boom", "ValueError")
    whole = len(expected.supersteps) - raised
    check("invocations", actual.invoked()[:whole], expected.invoked()[:whole])
    for number in range(whole):
        check(
            f"values of superstep {number + 1}",
            _values(actual, number, unordered),
            _values(expected, number, unordered),
        )
    if expected.failure is None:
        check("outputs", _by_executor(actual.outputs, unordered), _by_executor(expected.outputs, unordered))
        check(
            "intermediate outputs",
            _by_executor(actual.intermediate, unordered),
            _by_executor(expected.intermediate, unordered),
        )
        check("state", support.plain(actual.state), support.plain(expected.state))


def _values(result: support.Result, number: int, unordered: bool) -> dict[str, list[str]]:
    """What each executor was given; ids that agents make up afresh are left out."""
    given: dict[str, list[str]] = {}
    for executor, value in result.supersteps[number]:
        shown = sorted(_shown(item) for item in value) if unordered and isinstance(value, list) else _shown(value)
        given.setdefault(executor, []).append(repr(shown))
    return {executor: sorted(values) if unordered else values for executor, values in given.items()}


def _shown(value: Any) -> str:
    if hasattr(value, "agent_response"):
        conversation = [(message.role, message.text) for message in value.full_conversation]
        return repr((value.executor_id, value.agent_response.text, conversation))
    if isinstance(value, list):
        return repr([_shown(item) for item in value])
    return repr(value)


def _by_executor(outputs: list[Any], unordered: bool) -> Any:
    """Outputs of siblings of a superstep have no order among them; those of one executor do."""
    if unordered:
        return Counter(_output(item) for item in outputs)
    found: dict[str, list[str]] = {}
    for item in outputs:
        found.setdefault(item[0] if isinstance(item, list) else "agent", []).append(_output(item))
    return found


def _output(item: Any) -> str:
    return repr(item) if isinstance(item, list) else repr(getattr(item, "text", item))


async def least(program: programs.Program, modes: tuple[support.Mode, ...]) -> Differs:
    """Find the least program that still differs."""
    error = Differs()
    shrinking = True
    while shrinking:
        shrinking = False
        for candidate in programs.smaller(program):
            try:
                await compare(candidate, modes)
            except Differs as found:
                program, error, shrinking = candidate, found, True
                break
            except Exception:  # a smaller program need not be one that builds
                continue
    return error


async def try_seeds(
    seeds: range,
    modes: tuple[support.Mode, ...],
    generate: Callable[[int], programs.Program] = programs.generate,
) -> int:
    """Compare the programs of some seeds; gives how many said anything."""
    logging.getLogger("agent_framework").setLevel(logging.CRITICAL)
    told = 0
    for seed in seeds:
        program = generate(seed)
        try:
            told += await compare(program, modes)
        except Differs as found:
            smallest = await least(program, modes)
            pytest.fail(f"seed {seed}: {smallest if smallest.args else found}")
    return told


@pytest.mark.parametrize("batch", range(10))
async def test_hosted_workflow_means_what_it_means_in_process(batch: int) -> None:
    """For generated race-free programs, outputs, final state and invocations per superstep equal those in process."""
    told = await try_seeds(range(batch * BATCH, (batch + 1) * BATCH), ("steady", "rebuilt", "fresh"))
    assert told >= BATCH // 3


@pytest.mark.parametrize("batch", range(6))
async def test_sub_workflows_mean_what_they_mean_in_process(batch: int) -> None:
    """The same, with executors that wrap generated programs, several levels deep."""
    seeds = range(batch * BATCH, (batch + 1) * BATCH)
    told = await try_seeds(seeds, ("steady", "rebuilt", "fresh"), programs.generate_nested)
    assert told >= BATCH // 3


@pytest.mark.soak
@pytest.mark.parametrize("batch", range(40))
async def test_thousands_of_programs_mean_what_they_mean_in_process(batch: int) -> None:
    """The same, for thousands of programs."""
    await try_seeds(range(1000 + batch * 100, 1100 + batch * 100), support.MODES)


async def test_comparison_sees_a_difference() -> None:
    """A runner that loses an output, a value or an invocation is caught."""
    program = next(p for p in map(programs.generate, range(100)) if _speaks(p))
    log = programs.Log()
    expected = await support.in_process(programs.build(program, log), program.value, on_superstep=log.next_step)
    wrong = [
        replace(expected, outputs=expected.outputs[:-1]),
        replace(expected, state={**expected.state, "more": 1}),
        replace(expected, supersteps=expected.supersteps[:-1]),
        replace(expected, failure=("Boom", "never")),
    ]
    for actual in wrong:
        with pytest.raises(Differs):
            _same(program, "steady", expected, actual, unordered=False)


def _speaks(program: programs.Program) -> bool:
    return any(op.kind == "yield" for op in program.nodes[0].ops) and program.output_from is None
