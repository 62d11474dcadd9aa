from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest

from perdure import errors
from perdure.hosts.local import cors, server
from perdure.routes import site as sites


async def test_an_unknown_path_is_a_problem(world: Any) -> None:
    for path in ("/api/nope", "/nope", "/api", "/", "/api/workflow/echo/bogus", "/api/workflow/echo/status"):
        answer = await world.client.get(f"{world.url}{path}")
        assert answer.status_code == 404
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["error"]


async def test_a_method_that_is_not_there_is_405_with_those_that_are(world: Any) -> None:
    answer = await world.client.put("workflow/echo/run", content="x")

    assert answer.status_code == 405
    assert answer.headers["allow"] == "OPTIONS, POST"
    assert "POST" in answer.json()["error"]
    assert (await world.client.post("health")).headers["allow"] == "GET, HEAD, OPTIONS"


async def test_options_tell_the_methods(world: Any) -> None:
    answer = await world.client.options("runs/r1")

    assert answer.status_code == 204
    assert answer.headers["allow"] == "DELETE, OPTIONS"
    assert (await world.client.options("nope")).status_code == 404


async def test_head_has_the_headers_without_the_body(world: Any) -> None:
    got, head = await world.client.get("health"), await world.client.head("health")

    assert head.status_code == 200
    assert head.headers["content-length"] == got.headers["content-length"]
    assert head.content == b""


@pytest.mark.parametrize("prefix", ["", "v1", "flows/v1"])
async def test_the_prefix_is_the_hosts(serve: Any, prefix: str) -> None:
    world = await serve("echo", prefix=prefix)

    answer = await world.client.post("workflow/run", content="hi")

    root = f"{world.url}/{prefix}" if prefix else world.url
    assert answer.json()["statusQueryGetUri"].startswith(f"{root}/workflow/echo/status/")
    assert (await world.client.get(answer.json()["statusQueryGetUri"])).status_code == 200


async def test_a_body_over_the_limit_is_413_and_starts_nothing(serve: Any) -> None:
    world = await serve("echo", body_limit=1000)

    assert (await world.client.post("workflow/run", content=b"x" * 1000)).status_code == 202
    answer = await world.client.post("workflow/run", content=b"x" * 1001)

    assert answer.status_code == 413
    assert "FUNCTIONS_REQUEST_BODY_SIZE_LIMIT" in answer.json()["error"]
    assert len((await world.client.get("runs")).json()["runs"]) == 1


async def test_a_body_that_only_turns_out_too_long_is_413(serve: Any) -> None:
    world = await serve("echo", body_limit=1000)

    async def parts() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b"x" * 100

    answer = await world.client.post("workflow/run", content=parts())

    assert answer.status_code == 413


async def test_a_body_over_the_limit_is_refused_before_it_is_sent(serve: Any) -> None:
    world = await serve("echo", body_limit=1000)
    host, _, port = world.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"POST /api/workflow/run HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n")
    await writer.drain()

    line = await asyncio.wait_for(reader.readline(), 5)

    assert b"413" in line
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


async def test_links_start_with_the_configured_base(serve: Any) -> None:
    world = await serve("echo", base_url="https://flows.example.com/x")

    answer = await world.client.post("workflow/run?runId=r1", content="hi", headers={"X-Forwarded-Host": "evil"})

    assert answer.json()["statusQueryGetUri"] == "https://flows.example.com/x/api/workflow/echo/status/r1"


FORWARDED = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "flows.example.com"}


async def test_a_trusted_proxys_headers_make_the_links(serve: Any) -> None:
    world = await serve("echo", trusted_proxies=sites.parse_proxies("10.0.0.0/8, 127.0.0.1"))

    answer = await world.client.post("workflow/run?runId=r1", content="hi", headers=FORWARDED)

    assert answer.json()["statusQueryGetUri"] == "https://flows.example.com/api/workflow/echo/status/r1"


@pytest.mark.parametrize("trusted", ["", "10.0.0.0/8"])
async def test_anybody_elses_forwarded_headers_are_not_believed(serve: Any, trusted: str) -> None:
    world = await serve("echo", trusted_proxies=sites.parse_proxies(trusted))

    answer = await world.client.post("workflow/run?runId=r1", content="hi", headers=FORWARDED)

    assert answer.json()["statusQueryGetUri"] == f"{world.url}/api/workflow/echo/status/r1"


async def test_a_forwarded_host_that_is_none_is_dropped(serve: Any) -> None:
    world = await serve("echo", trusted_proxies=sites.parse_proxies("*"))

    answer = await world.client.post(
        "workflow/run?runId=r1", content="hi", headers={"X-Forwarded-Host": "a/b", "X-Forwarded-Proto": "gopher"}
    )

    assert answer.json()["statusQueryGetUri"] == f"{world.url}/api/workflow/echo/status/r1"


async def test_pages_of_allowed_origins_may_call(serve: Any) -> None:
    world = await serve("echo", allowed=cors.Cors(("https://app.example.com",)))
    ask = {"Origin": "https://app.example.com", "Access-Control-Request-Headers": "prefer, content-type"}

    preflight = await world.client.options("workflow/run", headers=ask)
    assert preflight.status_code == 204
    assert preflight.headers["access-control-allow-origin"] == "https://app.example.com"
    assert preflight.headers["access-control-allow-headers"] == "prefer, content-type"
    assert "POST" in preflight.headers["access-control-allow-methods"]
    answer = await world.client.post("workflow/run", content="", headers={"Origin": "https://app.example.com"})
    assert answer.status_code == 400
    assert answer.headers["access-control-allow-origin"] == "https://app.example.com"


@pytest.mark.parametrize("allowed", [None, cors.Cors(("https://app.example.com",))])
async def test_pages_of_other_origins_may_not(serve: Any, allowed: cors.Cors | None) -> None:
    world = await serve("echo", allowed=allowed)

    answer = await world.client.options("workflow/run", headers={"Origin": "https://other.example.com"})

    assert "access-control-allow-origin" not in answer.headers
    assert "access-control-allow-methods" not in answer.headers


async def test_a_port_in_use_is_a_usage_error_that_names_it(world: Any) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        with pytest.raises(errors.UsageError, match=f"Port {port} .* --port"):
            server.Server(world.site, "127.0.0.1", port).start()


async def test_an_address_of_another_machine_is_a_usage_error(world: Any) -> None:
    with pytest.raises(errors.UsageError, match="--host"):
        server.Server(world.site, "192.0.2.1", 0).start()
    with pytest.raises(errors.UsageError, match="--host"):
        server.Server(world.site, "no such name.invalid", 0).start()


async def test_a_stopping_server_finishes_what_is_under_way(world: Any) -> None:
    web = server.Server(world.site)
    host, port = web.start()
    asking = asyncio.create_task(
        world.client.post(
            f"http://{host}:{port}/api/workflow/gated/run?runId=r1", content="hi", headers={"Prefer": "wait=20"}
        )
    )
    await world.entered.wait()
    stopping = asyncio.create_task(asyncio.to_thread(web.stop))
    world.gate.set()

    assert (await asking).json()["output"] == ["opened"]
    await stopping


class Stuck:
    """Answers nothing: each request is in a thread that waits."""

    path = "/stuck"
    methods = ("GET",)

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.go = threading.Event()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        yield

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.entered.set()
        await asyncio.to_thread(self.go.wait)


@pytest.mark.parametrize("now", [False, True])
async def test_a_request_that_nothing_ends_does_not_keep_a_host_from_stopping(
    world: Any, now: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(server, "LONGEST_STOP_SECONDS", 0.5)
    stuck = Stuck()
    web = server.Server(world.site, mounted=stuck)
    host, port = web.start()
    asking = asyncio.create_task(world.client.get(f"http://{host}:{port}/stuck"))
    assert await asyncio.to_thread(stuck.entered.wait, 20)
    async with asyncio.timeout(20):
        await asyncio.to_thread(lambda: web.stop(now=now))
    assert "keeps the web server from ending" in caplog.text
    stuck.go.set()
    await asyncio.gather(asking, return_exceptions=True)
    web.stop()


async def test_a_client_that_sends_half_a_request_holds_up_nobody(world: Any) -> None:
    host, _, port = world.url.removeprefix("http://").partition(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"POST /api/workflow/echo/run HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhal")
    await writer.drain()

    assert (await world.client.get("health")).status_code == 200
    writer.close()
    await writer.wait_closed()
    assert (await world.client.get("runs")).json()["runs"] == []
