from __future__ import annotations

import asyncio
import threading

import pytest

from perdure import loops


async def where() -> tuple[asyncio.AbstractEventLoop, str]:
    return asyncio.get_running_loop(), threading.current_thread().name


async def test_any_loop_and_any_thread_reach_the_same_one() -> None:
    apart = loops.Loop("apart")
    called = await apart.call(where())
    assert called == await asyncio.to_thread(lambda: apart.call_now(where()))
    assert called[1] == "apart" and called[0] is not asyncio.get_running_loop()
    apart.close()


async def test_what_is_called_after_the_end_is_run_on_a_new_one() -> None:
    apart = loops.Loop("apart")
    first, _ = await apart.call(where())
    apart.close()
    assert first.is_closed()
    second, _ = await apart.call(where())
    assert second is not first
    apart.close()


async def test_what_is_to_be_done_last_is_done_on_the_loop_that_ends_and_on_none_that_never_began() -> None:
    apart = loops.Loop("apart")
    ended: list[asyncio.AbstractEventLoop] = []

    async def last() -> None:
        ended.append(asyncio.get_running_loop())

    apart.close(last)
    assert not ended
    first, _ = await apart.call(where())
    await asyncio.to_thread(apart.close, last)
    assert ended == [first]


async def test_a_loop_that_was_given_is_used_and_left_running() -> None:
    here = asyncio.get_running_loop()
    given = loops.Loop("unused", here)
    assert (await given.call(where()))[0] is here
    given.close()
    assert here.is_running()


@pytest.mark.parametrize("how", ["waited for", "left"])
async def test_what_is_under_way_when_it_is_closed_is_ended_and_whoever_waits_is_told(how: str) -> None:
    """Also who waits on a thread, which nothing else would wake."""
    apart = loops.Loop("apart")
    begun = threading.Semaphore(0)

    async def forever() -> None:
        begun.release()
        await asyncio.Event().wait()

    async with asyncio.timeout(20):
        waiting = [
            asyncio.create_task(apart.call(forever())),
            asyncio.create_task(asyncio.to_thread(lambda: apart.call_now(forever()))),
        ]
        for _ in waiting:
            await asyncio.to_thread(begun.acquire)
        ended: list[bool] = []

        async def last() -> None:
            ended.append(True)

        if how == "waited for":
            await asyncio.to_thread(apart.close, last)
        else:
            await apart.aclose(last)
        told = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(error) for error in told] == [loops.Closed, loops.Closed]
    assert ended


async def test_who_gives_up_what_he_asked_for_ends_it_and_not_the_loop() -> None:
    apart = loops.Loop("apart")
    begun, cancelled = threading.Event(), threading.Event()

    async def forever() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    waiting = asyncio.create_task(apart.call(forever()))
    await asyncio.to_thread(begun.wait, 20)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await asyncio.to_thread(cancelled.wait, 20)
    assert (await apart.call(where()))[1] == "apart"
    apart.close()
