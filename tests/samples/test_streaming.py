from __future__ import annotations

import http.server
import json
import pathlib
import sys
import threading

from tests.host import served
from tests.samples import tried

from perdure.testing import ModelServer
from perdure.testing.model_server import Call, Reply

CHAPTERS = ["Getting there", "What to see", "Where to eat"]


def _follow(it: tried.Tried, place: str = "Lisbon") -> served.Served:
    return served.Served([sys.executable, str(it.folder / "follow.py"), "guide-1", place, "--url", it.host.url], {})


def test_the_guide_is_followed_to_its_end_and_its_writer_answers_in_the_hosts_terminal(tmp_path: pathlib.Path) -> None:
    with tried.sample("streaming", tmp_path) as it:
        following = _follow(it)
        assert following.ended() == 0, following.output
        following.close()
        it.ask("A guide")
        stream = it.send("What happens in it").text
        page = it.ask("The same in pages")["events"]
        rest = it.send("What happens in it", last="5").text
        answer = it.ask("Ask the writer")["response"]
        it.host.expect(r"\(guide, session ann-1\)")
        assert not it.unsent

    assert f"{answer}  (guide, session ann-1)" in it.host.output
    assert [line for line in following.lines if line.startswith("##")] == [f"## {title}" for title in CHAPTERS]
    assert "Climb the tower at dusk." in following.output
    assert "[3] plan ..." in following.lines
    told = [json.loads(line[6:]) for line in stream.splitlines() if line.startswith("data: ")]
    assert told == page
    assert told[-1]["type"] == "completed"
    assert rest.count("data: ") == len(told) - 5


def test_the_client_goes_on_when_the_host_was_killed_and_no_chapter_comes_twice(tmp_path: pathlib.Path) -> None:
    asked, never = threading.Event(), threading.Event()

    def reply(call: Call) -> Reply:
        if "Which chapters" in call.last_text:
            return Reply(json.dumps({"chapters": CHAPTERS}))
        if "What to see" in call.last_text and not asked.is_set():
            asked.set()
            return Reply("Too late.", wait_for=never)
        return Reply("A chapter.")

    with ModelServer(reply) as server, tried.sample("streaming", tmp_path, model=server.base_url) as it:
        following = _follow(it)
        following.expect("## Getting there")
        assert asked.wait(served.PATIENCE_SECONDS)
        it.host.kill()
        following.expect("trying again")
        it.restart()
        assert following.ended() == 0, following.output
        following.close()

    assert [line for line in following.lines if line.startswith("##")] == [f"## {title}" for title in CHAPTERS]
    numbered = [line.partition("]")[0] for line in following.lines if line.startswith("[")]
    assert len(set(numbered)) == len(numbered)
    assert len(server.calls) == 5


def test_what_the_host_refuses_ends_the_client_with_the_reason(tmp_path: pathlib.Path) -> None:
    with tried.sample("streaming", tmp_path) as it:
        it.ask("A guide")
        following = _follow(it, "Porto")
        assert following.ended() == 1
        following.close()
    assert following.lines[0].startswith("409: ")


def test_an_event_without_an_id_and_one_cut_in_the_middle_do_not_move_the_place_to_go_on_from() -> None:
    asked: list[str | None] = []
    streams = [
        'id: 4\ndata: {"id": 4, "type": "output", "data": {"data": {"title": "One", "text": "."}}}\n\n'
        'data: {"type": "delta", "data": {}}\n\nid: 5\ndata: {"id": 5, "type": "compl',
        'id: 5\ndata: {"id": 5, "type": "completed", "data": {}}\n\n',
    ]

    class Host(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.headers["Last-Event-ID"])
            self._answer(streams[len(asked) - 1])

        def do_POST(self) -> None:
            self._answer("{}")

        def _answer(self, body: str) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Host) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}"
        client = str(tried.SAMPLES / "streaming" / "follow.py")
        following = served.Served([sys.executable, client, "guide-1", "Lisbon", "--url", url], {})
        assert following.ended() == 0, following.output
        following.close()
        server.shutdown()
        thread.join()

    assert asked == ["0", "4"]
    assert following.lines == ["", "## One", "", ".", "", "[5] completed"]
