"""From an address to a socket: listening, dialling, and addresses as people read them.

`resolver` looks hosts up. What travels over a socket is not known here.
"""

import contextlib
import errno
import os
import socket
from collections.abc import Callable, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from itertools import chain, zip_longest
from typing import NamedTuple, Protocol

from chat import journal
from chat.errors import TransportError
from chat.limits import (
    ATTEMPT_SECONDS,
    BACKLOG,
    FREE_PORT_TRIES,
    HANDSHAKE_SECONDS,
    MAX_ADDRESSES,
)
from chat.place import Endpoint, with_port
from chat.reactor import Reactor, Timer, do_nothing
from chat.resolver import Address, LookUp

_SOURCE_PREFIX_BITS = 64
"""A site with one IPv6 address usually has the whole /64 around it (RFC 6177)."""


@lru_cache(maxsize=1024)
def _address_of(host: str) -> IPv4Address | IPv6Address:
    """The address in a host of `socket`; one that is IPv4 mapped into IPv6 (RFC 4291, 2.5.5.2), as
    IPv4."""
    address = ip_address(host.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def host_text(host: str) -> str:
    """A host for people: `192.0.2.1`, `2001:db8::1`."""
    address = _address_of(host)
    return str(address) if isinstance(address, IPv4Address) else host


def is_this_machine(host: str) -> bool:
    """Whether a host, as a person writes it, means each machine itself."""
    try:
        return _address_of(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def own_host(listener: socket.socket) -> str:
    """The address of a listener, for people; a link-local one with its zone: `fe80::1%eth0`."""
    numbers = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV
    return host_text(socket.getnameinfo(listener.getsockname(), numbers)[0])


def address_text(host: str, port: int) -> str:
    """A peer's address for people: `192.0.2.1:9443`, `[2001:db8::1]:9443`."""
    return with_port(host_text(host), port)


@lru_cache(maxsize=1024)
def source_of(host: str) -> str:
    """What counts as one source for the limits: an IPv4 address, or an IPv6 /64."""
    address = _address_of(host)
    if isinstance(address, IPv4Address):
        return str(address)
    return str(IPv6Network((address, _SOURCE_PREFIX_BITS), strict=False))


# -- listening


def listen(host: str, port: int) -> list[socket.socket]:
    """A listening socket for each address that the host has on this machine. Port 0 takes a port
    that is free on all of them. Blocks while a name is looked up.

    Raises:
        TransportError: the host is unknown, or its address is in use or not of this machine.
    """
    addresses = _find(host, port)
    tries = FREE_PORT_TRIES if port == 0 else 1
    try:
        while True:
            tries -= 1
            try:
                return _listen_on(addresses, port)
            except OSError as exc:
                if exc.errno != errno.EADDRINUSE or not tries:
                    raise
    except OSError as exc:
        hint = ""
        if exc.errno == errno.EADDRINUSE:
            hint = "another server may be running; --port 0 takes a free port"
        elif exc.errno == errno.EACCES:
            hint = "ports below 1024 are for the administrator; take a higher one"
        elif exc.errno == errno.EADDRNOTAVAIL:
            hint = "--host takes an address of this machine; 0.0.0.0 or :: is all of them"
        reason = os.strerror(exc.errno or 0).lower()
        raise TransportError(f"cannot listen on {host} port {port}: {reason}", hint) from exc


def _find(host: str, port: int) -> list[Address]:
    with contextlib.closing(Reactor()) as reactor:
        with contextlib.closing(LookUp(reactor, host, port, reactor.stop)) as look_up:
            if not look_up.over:
                reactor.run()
        if look_up.error is not None:
            raise look_up.error
        return look_up.addresses


def _listen_on(addresses: list[Address], port: int) -> list[socket.socket]:
    """A listener on each of these addresses that this machine has; raises OSError if on none."""
    listeners: list[socket.socket] = []
    lacking: list[OSError] = []
    try:
        for address in dict.fromkeys(addresses):
            try:
                listeners.append(_listen_at(address, port))
            except OSError as exc:
                # `localhost` includes ::1 even without IPv6.
                if exc.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                    raise
                lacking.append(exc)
            else:
                port = listeners[0].getsockname()[1]
        if not listeners:
            raise lacking[0]
    except OSError:
        for listener in listeners:
            listener.close()
        raise
    return listeners


def _listen_at(address: Address, port: int) -> socket.socket:
    host, _, *scope = address.where
    takes_ipv4 = host == "::" or isinstance(_address_of(host), IPv4Address)
    return socket.create_server(
        (host, port, *scope),
        family=address.family,
        backlog=BACKLOG,
        dualstack_ipv6=(
            address.family == socket.AF_INET6 and takes_ipv4 and socket.has_dualstack_ipv6()
        ),
    )


_ELSEWHERE = {4: (socket.AF_INET, "198.51.100.1"), 6: (socket.AF_INET6, "2001:db8::1")}
"""Addresses of nobody (RFC 5737, RFC 3849), to find out the way there; nothing is sent."""


def reachable_at(hosts: Sequence[str]) -> str | None:
    """The address at which other machines reach a server that listens on these; None if they
    cannot."""
    for host in hosts:
        address = _address_of(host)
        if address.is_unspecified:
            return _outward_host([4] if address.version == 4 else [4, 6])
        if not address.is_loopback:
            return host_text(host)
    return None


def _outward_host(versions: Sequence[int]) -> str:
    """The source address of this machine's traffic; its name, if there is no way out."""
    for version in versions:
        family, host = _ELSEWHERE[version]
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((host, 9))
            return str(probe.getsockname()[0])
    return socket.gethostname()


# -- dialling


class Way(Protocol):
    """What connects to a host, again and again if asked to. It may lead to several servers, which
    take turns: each has one turn in a *round*. What is written out here is right for one server,
    for which a round is one dial."""

    host: str
    port: int
    looked_up: str
    """The host whose addresses are looked up here: this one, or that of a proxy."""
    on_found: Callable[[], None]
    """Called when the look-up that `dial` waits for has found addresses."""

    def dial(
        self,
        on_connected: Callable[[socket.socket], None],
        on_failed: Callable[[TransportError], None],
    ) -> None:
        """Try to connect, and call one of the two. If a dial is under way, it begins anew."""

    def close(self) -> None:
        """Give up. Nothing is left open, and nothing is called any more."""

    @property
    def server(self) -> Endpoint:
        """The server that is dialled, or was dialled last; of several, the one that answered."""
        return Endpoint(self.host, self.port)

    @property
    def servers(self) -> tuple[Endpoint, ...]:
        """All to which this may lead, in the order in which they were given."""
        return (self.server,)

    @property
    def has_next(self) -> bool:
        """Whether `dial` would go on with a round that has begun, to a server that has not had its
        turn."""
        return False

    def settle(self) -> None:
        """The server that answered has let us in: the round is over, and the next one begins with
        it."""
        return

    @property
    def is_hasty(self) -> bool:
        """Whether the server that answered is not to be waited for as long as usual, since others
        have not had their turn."""
        return False

    def postpone(self) -> None:
        """The server that answered was too slow. If that was in haste, dial it once more in this
        round, when the others have had their turns."""
        return

    def pass_over(self) -> bool:
        """The server that answered does not want us: dial it no more in this round. Returns what
        `has_next` says then."""
        return False


class _Attempt(NamedTuple):
    """An address that is being tried; `limit` ends it."""

    address: Address
    dialing: socket.socket
    limit: Timer


_SERVER = "the server"


class Dialer(Way):
    """The direct `Way` to a host. `close` when done.

    Each `dial` looks the host up and tries its addresses side by side (RFC 8305): when one has
    failed, or has not answered for a moment, the next attempt begins, and the first that answers
    ends the others. If the look-up fails or takes long, the addresses of the one before are tried,
    since it may be the name server that is down.

    While it dials, at least one of these is under way, each of which leads to `_try_next`: the
    look-up, an attempt (with a limit), or the timer `_next` for the next attempt. When none is left
    and no address is untried, it has failed. `_tried` and `_errors` belong to one `dial`; `_known`
    and `_answered`, the address that answered last, outlive it. So do the `_useless` ones, which
    have answered since `settle`, and came to nothing: they are tried last, until all have answered.
    Behind one name may be several servers, and one that is frozen still takes connections.
    """

    def __init__(self, reactor: Reactor, host: str, port: int, what: str = _SERVER) -> None:
        """Begin the look-up already, so that it may be over when `dial` is called. `what`, with its
        article, should be there, for a hint."""
        self.host = self.looked_up = host
        self.port = port
        self.on_found: Callable[[], None] = do_nothing
        self._what = what
        self._reactor = reactor
        self._name = f"{host} port {port}"
        self._dialling = False
        self._known: list[Address] = []
        self._answered: Address | None = None
        self._useless: set[Address] = set()
        self._tried: set[Address] = set()
        self._errors: list[int] = []
        self._attempts: dict[int, _Attempt] = {}
        self._next: Timer | None = None
        self._on_connected: Callable[[socket.socket], None]
        self._on_failed: Callable[[TransportError], None]
        self._look_up: LookUp | None = None
        self._begin_look_up()

    def dial(
        self,
        on_connected: Callable[[socket.socket], None],
        on_failed: Callable[[TransportError], None],
    ) -> None:
        if self._dialling:
            self.close()
        self._dialling = True
        self._on_connected = on_connected
        self._on_failed = on_failed
        if self._useless.issuperset(self._known):
            self._answered = None
            self._useless.clear()
        if self._begin_look_up().over:
            self._on_looked_up()
        else:
            self._try_later()

    def close(self) -> None:
        self._dialling = False
        if self._look_up is not None:
            self._look_up.close()
            self._look_up = None
        self._stop_waiting()
        for descriptor in list(self._attempts):
            self._take(descriptor).close()
        self._tried.clear()
        self._errors.clear()

    def settle(self) -> None:
        self._useless.clear()

    def _begin_look_up(self) -> LookUp:
        if self._look_up is None:
            self._look_up = LookUp(
                self._reactor,
                self.host,
                self.port,
                self._on_looked_up,
                may_be_kept=self._what == _SERVER,
            )
        return self._look_up

    def _on_looked_up(self) -> None:
        if not self._dialling:
            return
        assert self._look_up is not None
        count = len(self._look_up.addresses)
        journal.note(self._name, f"{count} address{'' if count == 1 else 'es'} found")
        if self._look_up.addresses:
            self._known = in_order(self._look_up.addresses, self._answered)
            self.on_found()
        if not self._attempts or self._next is None:
            self._try_next()

    def _try_later(self) -> None:
        self._next = self._reactor.call_at(self._reactor.clock() + ATTEMPT_SECONDS, self._try_next)

    def _stop_waiting(self) -> None:
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def _try_next(self) -> None:
        self._stop_waiting()
        for address in sorted(self._known, key=self._useless.__contains__):
            if address not in self._tried:
                self._tried.add(address)
                if self._try(address):
                    self._try_later()
                    return
        assert self._look_up is not None
        if not self._attempts and self._look_up.over:
            self._fail()

    def _try(self, address: Address) -> bool:
        """Begin to connect. Returns whether that may succeed."""
        journal.note(self._name, f"tries {address.where[0]}")
        try:
            dialing = socket.socket(address.family, socket.SOCK_STREAM)
        except OSError as exc:
            self._note_failure(exc.errno or 0)
            return False
        dialing.setblocking(False)
        try:
            with contextlib.suppress(BlockingIOError):
                dialing.connect(address.where)
        except OSError as exc:
            dialing.close()
            self._note_failure(exc.errno or 0)
            return False
        descriptor = dialing.fileno()
        limit = self._reactor.call_at(
            self._reactor.clock() + HANDSHAKE_SECONDS,
            lambda: self._give_up(descriptor, errno.ETIMEDOUT),
        )
        self._attempts[descriptor] = _Attempt(address, dialing, limit)
        self._reactor.watch_write(descriptor, lambda: self._on_writable(descriptor))
        return True

    def _on_writable(self, descriptor: int) -> None:
        attempt = self._attempts[descriptor]
        error = attempt.dialing.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            self._give_up(descriptor, error)
            return
        journal.note(self._name, f"connected to {attempt.address.where[0]}")
        self._answered = attempt.address
        self._useless.add(attempt.address)
        connected = self._take(descriptor)
        self.close()
        self._on_connected(connected)

    def _give_up(self, descriptor: int, error: int) -> None:
        self._note_failure(error)
        self._take(descriptor).close()
        self._try_next()

    def _note_failure(self, error: int) -> None:
        journal.note(self._name, f"an address failed: {os.strerror(error)}")
        self._errors.append(error)

    def _take(self, descriptor: int) -> socket.socket:
        """End an attempt; the socket is the caller's."""
        attempt = self._attempts.pop(descriptor)
        attempt.limit.cancel()
        self._reactor.unwatch(descriptor)
        return attempt.dialing

    def _fail(self) -> None:
        assert self._look_up is not None
        error = self._look_up.error
        if self._errors:
            reason = os.strerror(min(self._errors, key=_vagueness)).lower()
            hint = f"is {self._what} running, and is this its port?"
            error = TransportError(f"cannot reach {self.host} port {self.port}: {reason}", hint)
        assert error is not None
        self.close()
        self._on_failed(error)


def in_order(found: Sequence[Address], answered: Address | None) -> list[Address]:
    """The order in which to try addresses. The one that answered last comes first. Then the
    families take turns, beginning with that of the first address (RFC 8305, 4), so that a family
    without a way out costs little. Within a family the order stays (RFC 6724)."""
    first = [address for address in found if address.family == found[0].family]
    others = [address for address in found if address.family != found[0].family]
    turns = chain.from_iterable(zip_longest(first, others))
    addresses = [address for address in dict.fromkeys(turns) if address is not None]
    addresses.sort(key=lambda address: address != answered)
    return addresses[:MAX_ADDRESSES]


_VAGUE = (errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
"""Errors that say only that this machine lacks an address family or a route: another address may
have failed for a more telling reason."""


def _vagueness(error: int) -> int:
    if error == errno.ECONNREFUSED:
        return 0
    return 2 if error in _VAGUE else 1
