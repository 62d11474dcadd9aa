"""Who owns what runs keep on Azure: where they were started by hand, or are asked for by another process."""

from __future__ import annotations

import asyncio
import json
import pathlib
from typing import Any

import pytest
from tests.conformance import workflows

from perdure import errors, testing
from perdure.hosts.replay import start_records

LONG = "x" * 100_000


async def test_a_run_that_was_started_by_hand_where_another_was_purged_by_hand_is_deleted_whole() -> None:
    """The record of the start is that of the run before: it was not told of the purge."""
    async with testing.LocalHost(workflows.app_of(asyncio.Event()), replay=True) as host:
        await host.start("echo", "hello", run_id="r")
        await host.outputs("r")
        runs: Any = host.runs
        before = await start_records.owner(runs._records, "r")
        await runs._engine.purge("r")
        await runs._engine._instances.start("dafx-echo", "r", json.dumps(LONG))
        assert await host.outputs("r") == [LONG]
        events = [event.type for event in await host.runs.events("r")]
        assert (events[0], events[-1]) == ("started", "completed")

        state = await runs._engine.get("r")
        owner = state.owner
        assert owner != before
        digest = host.app.hosted_workflows["echo"].take(LONG)[0].digest
        assert await asyncio.to_thread(runs._payloads.read, owner, digest)
        assert await host.runs.purge("r")
        for gone in ("r", before, owner):
            assert list(await runs._records.names(gone)) == []
        with pytest.raises(errors.PayloadMissing):
            await asyncio.to_thread(runs._payloads.read, owner, digest)


async def test_a_host_that_is_started_again_gives_outputs_that_are_stored(tmp_path: pathlib.Path) -> None:
    async with testing.LocalHost(workflows.app_of(asyncio.Event()), hub=tmp_path, replay=True) as host:
        await host.start("echo", LONG, run_id="r")
        await host.outputs("r")
    async with testing.LocalHost(workflows.app_of(asyncio.Event()), hub=tmp_path, replay=True) as host:
        assert await host.outputs("r") == [LONG]
