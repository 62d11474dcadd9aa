from __future__ import annotations

import asyncio
import threading

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
