"""Trace context from where it was sent to where work is done."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry import context, propagate


@contextmanager
def attached(carrier: Mapping[str, str]) -> Iterator[None]:
    """Let what happens meanwhile belong to the trace that a carrier names; to the present one if it names none."""
    if not carrier or propagate.get_global_textmap().fields.isdisjoint(carrier):
        yield
        return
    token = context.attach(propagate.extract(carrier))
    try:
        yield
    finally:
        context.detach(token)
