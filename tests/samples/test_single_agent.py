from __future__ import annotations

import pathlib

from tests.samples import tried

from perdure.testing import ModelServer
from perdure.testing.model_server import Reply, ToolCall


def test_it_runs_without_a_model_and_remembers_across_a_kill(tmp_path: pathlib.Path) -> None:
    with tried.sample("single_agent", tmp_path) as it:
        first = it.ask("A first question")
        assert first["response"] == "Order 1002 is on its way, and arrives on Monday."
        it.restart()
        second = it.ask("The next turn")
        assert "1002" in second["response"]
        assert second["message_count"] > first["message_count"]
        assert it.send("Asked in text").text == "Which order is it? Please tell me its number."
        assert it.ask("Under a key") == it.ask("Under a key")
        assert it.send("Not waiting").status_code == 202
        assert "Where is order 1002?" in it.send("The conversation").text
        assert {session["session_id"] for session in it.ask("All sessions")["sessions"]} == {"ann-1", "bob-1"}
        assert it.send("Forget").is_success
        assert it.send("Delete").status_code == 204
        assert not it.unsent


def test_with_a_model_the_tool_is_called_and_its_answer_told(tmp_path: pathlib.Path) -> None:
    replies = [Reply(tool_calls=(ToolCall("order_status", {"number": "1003"}),)), Reply("Your neighbour has it.")]
    with ModelServer(replies) as server, tried.sample("single_agent", tmp_path, model=server.base_url) as it:
        assert it.ask("Under a key")["response"] == "Your neighbour has it."

    told = server.calls[1].body["messages"][-1]
    assert told["role"] == "tool" and "number 12" in str(told["content"])
