"""From an address to a socket: listening, dialling, and what an address says of where it is.

What travels over the socket is not known here.
"""

import contextlib
import errno
import os
import socket
from collections import deque
from collections.abc import Callable
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

from chat.errors import TransportError
from chat.limits import BACKLOG, HANDSHAKE_SECONDS
from chat.reactor import Reactor, Timer

_SOURCE_PREFIX_BITS = 64
"""Whoever has one IPv6 address usually has the whole /64 that it is in (RFC 6177)."""


@lru_cache(maxsize=1024)
def _address_of(host: str) -> IPv4Address | IPv6Address:
    """The address that a socket's peer has; an IPv4 address mapped into IPv6 (RFC 4291, 2.5.5.2)
    as IPv4."""
    address = ip_address(host.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def address_text(host: str, port: int) -> str:
    """A peer's address for people: `192.0.2.1:9443`, `[2001:db8::1]:9443`."""
    address = _address_of(host)
    return f"{address}:{port}" if isinstance(address, IPv4Address) else f"[{host}]:{port}"


@lru_cache(maxsize=1024)
def source_of(host: str) -> str:
    """Where a connection comes from, as far as limits go: an IPv4 address, or an IPv6 /64."""
    address = _address_of(host)
    if isinstance(address, IPv4Address):
        return str(address)
    return str(IPv6Network((address, _SOURCE_PREFIX_BITS), strict=False))


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one.

    Raises:
        TransportError: the address is unknown, in use, or not ours.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        dual_stack = address[0] == "::" and socket.has_dualstack_ipv6()
        return socket.create_server(
            (str(address[0]), port), family=family, backlog=BACKLOG, dualstack_ipv6=dual_stack
        )
    except (socket.gaierror, UnicodeError) as exc:
        raise TransportError(f"the host {host} is not known") from exc
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


class Dialer:
    """Connects to the first address of a host that answers; again and again, if asked to."""

    def __init__(self, reactor: Reactor, host: str, port: int) -> None:
        """Look the host up.

        Raises:
            TransportError: nobody knows it.
        """
        self._reactor = reactor
        self._where = f"{host} port {port}"
        self._socket: socket.socket | None = None
        self._timer: Timer | None = None
        self._last_error = 0
        self._on_connected: Callable[[socket.socket], None]
        self._on_failed: Callable[[TransportError], None]
        try:
            self._found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (socket.gaierror, UnicodeError) as exc:
            raise TransportError(
                f"the host {host} is not known", "is it spelled right, and are you online?"
            ) from exc

    def dial(
        self,
        on_connected: Callable[[socket.socket], None],
        on_failed: Callable[[TransportError], None],
    ) -> None:
        """Try one address after the other, and call one of the two."""
        self._on_connected = on_connected
        self._on_failed = on_failed
        self._addresses = deque(self._found)
        self._try_next()

    def _try_next(self) -> None:
        if not self._addresses:
            reason = os.strerror(self._last_error).lower()
            hint = "is the server running, and is this its port?"
            self._on_failed(TransportError(f"cannot reach {self._where}: {reason}", hint))
            return
        family, kind, protocol, _, address = self._addresses.popleft()
        try:
            self._socket = dialing = socket.socket(family, kind, protocol)
            dialing.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                dialing.connect(address)
        except OSError as exc:
            self._give_up(exc.errno or 0)
            return
        self._timer = self._reactor.call_at(
            self._reactor.clock() + HANDSHAKE_SECONDS, self._on_timeout
        )
        self._reactor.watch_write(dialing.fileno(), self._on_writable)

    def _on_writable(self) -> None:
        assert self._socket is not None
        error = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            self._give_up(error)
            return
        connected, self._socket = self._socket, None
        self._stop_waiting(connected)
        self._on_connected(connected)

    def _on_timeout(self) -> None:
        self._give_up(errno.ETIMEDOUT)

    def _give_up(self, error: int) -> None:
        self._last_error = error
        if self._socket is not None:
            self._stop_waiting(self._socket)
            self._socket.close()
            self._socket = None
        self._try_next()

    def _stop_waiting(self, watched: socket.socket) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._reactor.unwatch(watched.fileno())
