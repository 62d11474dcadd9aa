from __future__ import annotations

from tests.agents import world

from perdure.testing import ScriptedChatClient


async def test_two_turns_of_a_session_are_one_conversation_across_a_crash() -> None:
    client = ScriptedChatClient(["Hello, Ann.", "You are Ann."])
    async with world.serve(world.app_of(client)) as served:
        first = await served.say("I am Ann.", session_id="s1")
        await served.crash()
        second = await served.say("Who am I?", session_id="s1")

    assert first.json()["response"] == "Hello, Ann." and first.json()["message_count"] == 2
    assert second.json()["response"] == "You are Ann." and second.json()["message_count"] == 4
    assert world.told(client) == [("user", "I am Ann."), ("assistant", "Hello, Ann."), ("user", "Who am I?")]
