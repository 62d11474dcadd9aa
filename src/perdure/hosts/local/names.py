"""By which names a local host may be asked: it asks for no key, and pages of other names must not reach it."""

from __future__ import annotations

import functools
import ipaddress
import socket
from collections.abc import Iterable
from typing import Final, NamedTuple
from urllib.parse import urlsplit

ANY: Final = "*"


class Names(NamedTuple):
    """The names of a host.

    Attributes:
        known: Names in lower case, ``.example.com`` for all below it; ``*`` for any.
        everywhere: Whether everything is refused to other names, and not only what is guarded in any case.
    """

    known: frozenset[str]
    everywhere: bool

    def admit(self, host: str) -> bool:
        """Say whether a request with this ``Host`` header is for this host."""
        return ANY in self.known or is_own(host, self.known)


def of(address: str, more: Iterable[str]) -> Names:
    """Give the names of what listens on an address.

    On an address that only this machine reaches, whoever comes by another name was sent by a page; elsewhere people may
    know the machine by names that it does not know itself.

    Args:
        address: Where it listens.
        more: Other names that it goes by.
    """
    known = {"localhost", socket.gethostname(), address, *more}
    return Names(frozenset(name.casefold() for name in known if name), is_loopback(address))


def is_loopback(address: str) -> bool:
    """Say whether only this machine reaches what listens on an address."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address.casefold() == "localhost"


@functools.lru_cache(maxsize=256)
def is_own(host: str, known: frozenset[str]) -> bool:
    """Say whether a ``Host`` header is an address, or one of some names.

    A page whose own name was made to point at this machine sends that name: it must not get through, though to
    the browser it calls its own origin. Addresses cannot be rebound.
    """
    try:
        name = (urlsplit(f"//{host}").hostname or "").casefold()
    except ValueError:
        return False
    try:
        ipaddress.ip_address(name)
    except ValueError:
        above = (name[at:] for at, sign in enumerate(name) if sign == ".")
        return name in known or name.endswith(".localhost") or any(part in known for part in above)
    return True
