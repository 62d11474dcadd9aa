from __future__ import annotations

from perdure import errors
from perdure.agents import naming, records
from perdure.hosts.replay import lifetimes, turn_records
from perdure.payloads import records as beside
from perdure.payloads import refs, store
from perdure.workflow import protocol

SESSION = naming.instance("helper", "s1")
LIFE = naming.life(SESSION, 1)
CALL = records.Call(records.Turn("k", accepted=1.0), 1, None, None, 0)


class Model:
    """Answers otherwise each time."""

    def __init__(self, *waits: float | None) -> None:
        self.asked = 0
        self._waits = waits or (None,)

    async def __call__(self, instance_id: str, key: str, call: records.Call) -> protocol.Outcome:
        wait = self._waits[min(self.asked, len(self._waits) - 1)]
        self.asked += 1
        entry = refs.blob(f"answer {self.asked}".encode())
        head = refs.stored(entry)
        receipt = refs.Blob(records.receipt(instance_id, call.turn.correlation_id), records.encode_ref(head))
        result = records.Result(None if wait is not None else head, None, wait)
        blobs = [] if wait is not None else [entry, receipt]
        return protocol.Outcome(result, records.encode(result), blobs, instance_id)


class World:
    def __init__(self, *waits: float | None) -> None:
        self.model = Model(*waits)
        self.payloads = store.MemoryPayloadStore()
        self.records = beside.MemoryRecordStore()
        self.turns = turn_records.Recorded(self.model, self.payloads, self.records)

    def has(self, digest: bytes) -> bool:
        try:
            self.payloads.read(LIFE, digest)
        except errors.PayloadMissing:
            return False
        return True


class Late:
    """Answers after another worker has done the whole turn."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def __call__(self, instance_id: str, key: str, call: records.Call) -> protocol.Outcome:
        await self._world.turns(instance_id, key, call)
        return await self._world.model(instance_id, key, call)


async def test_a_turn_given_again_is_what_it_was_and_asks_no_model() -> None:
    """A worker was killed after the record and before the scheduler heard of it."""
    world = World()
    first = await world.turns(LIFE, "turn-1", CALL)
    again = await world.turns(LIFE, "turn-1", CALL)
    assert again.value == first.value and again.data == first.data
    assert world.model.asked == 1


async def test_of_two_workers_at_one_turn_the_first_record_holds_and_the_receipt_leads_to_it() -> None:
    world = World()
    late = await turn_records.Recorded(Late(world), world.payloads, world.records)(LIFE, "turn-1", CALL)
    assert world.model.asked == 2
    assert records.decode_ref(world.payloads.read(LIFE, records.receipt(LIFE, "k"))) == late.value.head
    assert late.value.head == refs.stored(refs.blob(b"answer 1"))


async def test_an_attempt_that_is_to_be_followed_by_another_is_no_outcome() -> None:
    world = World(1.0, None)
    assert (await world.turns(LIFE, "turn-1", CALL)).value.wait == 1.0
    assert (await world.turns(LIFE, "turn-1", CALL)).value.wait is None
    assert world.model.asked == 2


async def test_a_turn_that_ends_after_its_session_was_deleted_leaves_nothing() -> None:
    world = World()
    await lifetimes.Lifetimes(world.payloads, world.records).end(LIFE)
    await world.turns(LIFE, "turn-1", CALL)
    assert await world.records.names(LIFE) == []
    assert not world.has(records.receipt(LIFE, "k"))
    assert not world.has(refs.blob(b"answer 1").digest)


async def test_the_next_turn_after_an_end_is_for_another_life() -> None:
    world = World()
    lives = lifetimes.Lifetimes(world.payloads, world.records)
    assert await lives.current(SESSION) == LIFE
    await lives.end(LIFE)
    await lives.end(LIFE)
    assert await lives.current(SESSION) == naming.life(SESSION, 2)
    assert await lives.over(LIFE)
