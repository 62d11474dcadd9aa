from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from agent_framework import Agent, Executor, Workflow, WorkflowBuilder, WorkflowContext, handler, observability
from opentelemetry import propagate, trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from tests.workflow import support

from perdure import testing


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """Every span that ends while the test runs."""
    provider = trace.get_tracer_provider()
    if not isinstance(provider, TracerProvider):
        provider = TracerProvider()
        trace.set_tracer_provider(provider)
    exporter = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(observability.OBSERVABILITY_SETTINGS, "enable_instrumentation", True)
    yield exporter
    exporter.shutdown()


class Sends(Executor):
    """Passes on what it is given."""

    @handler
    async def go(self, given: str, ctx: WorkflowContext[str]) -> None:
        await ctx.send_message(given)


class Joins(Executor):
    """Yields a fan-in's list."""

    @handler
    async def go(self, given: list[str], ctx: WorkflowContext[str, str]) -> None:
        await ctx.send_message(" ".join(given))


def _build() -> Workflow:
    start, one, two, joins = Sends(id="start"), Sends(id="one"), Sends(id="two"), Joins(id="joins")
    agent = Agent(testing.ScriptedChatClient(lambda messages, options: "hello"), name="agent", id="agent")
    return (
        WorkflowBuilder(start_executor=start)
        .add_fan_out_edges(start, [one, two])
        .add_fan_in_edges([one, two], joins)
        .add_edge(joins, agent)
        .build()
    )


def _named(found: list[ReadableSpan], prefix: str) -> list[ReadableSpan]:
    return [span for span in found if span.name.startswith(prefix)]


async def _spans_of_run(exporter: InMemorySpanExporter, mode: support.Mode) -> tuple[int, list[ReadableSpan]]:
    tracer = trace.get_tracer("caller")
    carrier: dict[str, str] = {}
    with tracer.start_as_current_span("caller") as caller:
        propagate.inject(carrier)
    # The run goes on after its caller is gone, in a context of its own.
    result = await support.Process(_build).run("hello", mode=mode, trace=carrier)
    assert result.failure is None
    return caller.get_span_context().trace_id, list(exporter.get_finished_spans())


@pytest.mark.parametrize("mode", support.MODES)
async def test_trace_context_crosses_every_step(spans: InMemorySpanExporter, mode: support.Mode) -> None:
    """Trace context crosses every step: the spans of all executors, agents and models are in the caller's trace."""
    trace_id, found = await _spans_of_run(spans, mode)
    ran = {str((span.attributes or {}).get("executor.id")) for span in _named(found, "executor.process")}
    assert ran == {"start", "one", "two", "joins", "agent"}
    stray = {span.name for span in found if span.context and span.context.trace_id != trace_id}
    assert stray <= {"workflow.build"}
    assert len(_named(found, "edge_group.process")) == 4
    assert _named(found, "chat")
    assert _named(found, "invoke_agent")


async def test_step_links_to_the_messages_that_caused_it(spans: InMemorySpanExporter) -> None:
    """Trace context crosses every step: each step links to the sending of its messages, a fan-in to all of them."""
    _, found = await _spans_of_run(spans, "fresh")
    sent = {span.context.span_id for span in _named(found, "message.send") if span.context}
    links: dict[Any, set[int]] = {}
    for span in _named(found, "executor.process"):
        links[str((span.attributes or {}).get("executor.id"))] = {link.context.span_id for link in span.links}
    assert {executor: len(found) for executor, found in links.items()} == {
        "start": 0,
        "one": 1,
        "two": 1,
        "joins": 2,
        "agent": 1,
    }
    assert set().union(*links.values()) <= sent
