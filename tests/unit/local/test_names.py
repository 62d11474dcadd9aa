from __future__ import annotations

import pytest

from perdure.hosts.local import names


@pytest.mark.parametrize(
    ("host", "own"),
    [
        ("127.0.0.1:7071", True),
        ("[::1]:7071", True),
        ("192.168.1.5", True),
        ("LocalHost:7071", True),
        ("app.localhost", True),
        ("hub.example:80", True),
        ("a.b.below.example", True),
        ("below.example", False),
        ("notbelow.example", False),
        ("below.example.evil.example", False),
        ("evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("localhost.evil.example", False),
        ("127.0.0.1@evil.example", False),
        ("127.0.0.1, evil.example", False),
        ("", False),
        ("[", False),
    ],
)
def test_what_a_host_is_called(host: str, own: bool) -> None:
    assert names.of("127.0.0.1", ["Hub.Example", ".below.example"]).admit(host) is own


def test_a_host_may_go_by_any_name() -> None:
    assert names.of("127.0.0.1", ["*"]).admit("evil.example")


@pytest.mark.parametrize(
    ("address", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.8.0.1", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.1.5", False),
        ("hub.example", False),
    ],
)
def test_what_only_this_machine_reaches(address: str, loopback: bool) -> None:
    assert names.of(address, []).everywhere is loopback
