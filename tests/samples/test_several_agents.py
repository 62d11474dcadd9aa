from __future__ import annotations

import pathlib

from tests.samples import tried

from perdure.testing import ModelServer
from perdure.testing.model_server import Reply, ToolCall


def test_each_desk_answers_at_its_own_address_with_its_own_tools_and_sessions(tmp_path: pathlib.Path) -> None:
    with tried.sample("several_agents", tmp_path) as it:
        assert [agent["name"] for agent in it.ask("Which desks")["agents"]] == ["it_desk", "people_desk"]
        assert it.ask("The IT desk looks")["response"] == "VPN is down since 8:40; the provider is at work on it."
        ticket = it.ask("It opens a ticket")
        assert ticket["response"].endswith("is open: My screen is cracked.")
        asked = it.ask("The people desk")
        assert (asked["response"], asked["session_id"]) == ("Ann has 11 days off left.", "ann-1")
        assert asked["message_count"] < ticket["message_count"]
        assert it.send("In text").text == "That is not for this desk."
        assert "service_status" in it.send("What was said").text
        assert not it.unsent


def test_a_model_is_offered_the_tools_of_the_desk_that_was_asked(tmp_path: pathlib.Path) -> None:
    with (
        ModelServer([Reply(tool_calls=(ToolCall("days_off_left", {"employee": "Ann"}),)), "Eleven."]) as server,
        tried.sample("several_agents", tmp_path, model=server.base_url) as it,
    ):
        assert it.ask("The people desk")["response"] == "Eleven."

    offered = [tool["function"]["name"] for tool in server.calls[0].body["tools"]]
    assert offered == ["days_off_left", "public_holidays"]
    assert server.calls[1].last_text == "Ann has 11 days off left."
