from __future__ import annotations

from typing import Any

import azure.durable_functions as df  # type: ignore[import-untyped]
import pytest

from .conftest import Serve, Served


async def failed(serve: Serve, name: str) -> tuple[Served, str, Any]:
    served: Served = await serve("language")
    instance_id = await served.start(name)
    status = await served.ended(instance_id)
    assert status["runtimeStatus"] == "Failed"
    return served, instance_id, df.DurableOrchestrationClient(await served.host.functions.client())


async def test_a_rewind_does_again_what_failed_and_nothing_else(serve: Serve) -> None:
    served, instance_id, client = await failed(serve, "rewindable")
    served.module.mended = True

    await client.rewind(instance_id, "mended")

    status = await served.ended(instance_id)
    assert status["output"] == ["first", "good", "bad", "third"]
    assert sorted(served.module.runs) == ["bad", "bad", "first", "good", "third"]


async def test_a_rewind_survives_a_crash(serve: Serve) -> None:
    served, instance_id, client = await failed(serve, "rewindable")
    await served.crash()
    served.module.mended = True
    client = df.DurableOrchestrationClient(await served.host.functions.client())
    await client.rewind(instance_id, "mended")
    await served.crash()

    assert (await served.ended(instance_id))["output"] == ["first", "good", "bad", "third"]


async def test_what_fails_again_is_rewound_again(serve: Serve) -> None:
    served, instance_id, client = await failed(serve, "rewindable")
    await client.rewind(instance_id, "not mended")
    assert (await served.ended(instance_id))["runtimeStatus"] == "Failed"
    served.module.mended = True

    await client.rewind(instance_id, "mended")

    assert (await served.ended(instance_id))["output"] == ["first", "good", "bad", "third"]


async def test_a_rewind_gives_a_retried_activity_all_its_attempts_again(serve: Serve) -> None:
    served, instance_id, client = await failed(serve, "rewindable_retries")
    await client.rewind(instance_id, "not mended")
    await served.ended(instance_id)
    assert served.module.runs == ["bad"] * 4
    served.module.mended = True

    await client.rewind(instance_id, "mended")

    assert (await served.ended(instance_id))["output"] == ["bad", "bad child"]


async def test_a_rewind_starts_a_failed_sub_orchestration_anew(serve: Serve) -> None:
    served, instance_id, client = await failed(serve, "rewindable_child")
    served.module.mended = True

    await client.rewind(instance_id, "mended")

    assert (await served.ended(instance_id))["output"] == "bad child"


async def test_a_rewind_of_a_race_takes_back_the_retry_that_was_waiting(serve: Serve) -> None:
    served, instance_id, client = await failed(serve, "rewindable_race")
    served.module.mended = True

    await client.rewind(instance_id, "mended")

    assert (await served.ended(instance_id))["output"] in ("bad one", "bad two")


async def test_only_what_has_failed_is_rewound(serve: Serve) -> None:
    served: Served = await serve("language")
    client = df.DurableOrchestrationClient(await served.host.functions.client())
    await client.start_new("listening", "lives")

    with pytest.raises(Exception, match="only supported on failed"):
        await client.rewind("lives", "why not")
    with pytest.raises(Exception, match="No instance with ID nobody"):
        await client.rewind("nobody", "why not")
