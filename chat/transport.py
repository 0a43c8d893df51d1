"""One non-blocking socket: connecting, reading, sending what a cursor points at, closing.

What the bytes mean is not known here.
"""

import contextlib
import errno
import os
import socket
from collections import deque
from collections.abc import Callable
from typing import Protocol

from chat.errors import TransportError
from chat.limits import HANDSHAKE_SECONDS, READ_BYTES, SEND_BYTES
from chat.reactor import Reactor, Timer
from chat.relaylog import Cursor, RelayLog


class Owner(Protocol):
    """Whom a transport tells what happens."""

    def received(self, data: bytes) -> None:
        """These bytes arrived."""

    def receive_eof(self) -> None:
        """The peer sends no more, or the connection broke. Told at most once."""

    def closed(self) -> None:
        """The socket is closed. Told exactly once, last."""


class Transport:
    """See the module's text. The stream that goes out is the cursor's; `writing` is whether it
    waits for the socket to take more."""

    __slots__ = (
        "_finishing",
        "_owner",
        "_reactor",
        "_socket",
        "cursor",
        "read_bytes",
        "send",
        "writing",
    )

    def __init__(
        self, reactor: Reactor, connected: socket.socket, log: RelayLog, owner: Owner
    ) -> None:
        connected.setblocking(False)
        # Some systems refuse where the peer is gone already, which shows soon enough.
        with contextlib.suppress(OSError):
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._reactor = reactor
        self._socket = connected
        self._owner = owner
        self._finishing: Timer | None = None
        self.writing = False
        self.cursor = Cursor(log)
        self.read_bytes = READ_BYTES
        self.send = connected.send
        reactor.watch_read(connected.fileno(), self._on_readable)

    @property
    def finishing(self) -> bool:
        """Whether nothing but the rest of the stream is going out any more, or not even that."""
        return self._finishing is not None or self._socket.fileno() < 0

    def pause_reading(self) -> None:
        """Let what arrives wait in the kernel, so that the peer slows down."""
        if not self.finishing:
            self._reactor.watch_read(self._socket.fileno(), None)

    def resume_reading(self) -> None:
        if not self.finishing:
            self._reactor.watch_read(self._socket.fileno(), self._on_readable)

    def flush(self) -> None:
        """Send what there is, as far as the kernel takes it; the rest when it takes more."""
        cursor = self.cursor
        blocked = False
        while not blocked and not cursor.idle:
            data = cursor.pending(SEND_BYTES)
            sent = self.try_send(data)
            if sent is None:
                return
            cursor.advance(sent)
            blocked = sent < len(data)
        if blocked is not self.writing:
            self.writing = blocked
            self._reactor.watch_write(self._socket.fileno(), self.flush if blocked else None)
        if self.finishing and not blocked:
            self._shut_down()

    def try_send(self, data: bytes) -> int | None:
        """How many bytes the kernel took; None when the connection is broken and now closed."""
        try:
            return self.send(data)
        except BlockingIOError:
            return 0
        except OSError:
            self._lose()
            return None

    def finish(self, seconds: float) -> None:
        """Send the rest, then close; at the latest after `seconds`. What still arrives is thrown
        away: closing with bytes unread would take back what the peer has not read yet."""
        if self.finishing:
            return
        self._finishing = self._reactor.call_at(self._reactor.clock() + seconds, self.close)
        self._reactor.watch_read(self._socket.fileno(), self._on_readable)
        self.flush()

    def close(self) -> None:
        """Close at once."""
        if self._socket.fileno() < 0:
            return
        if self._finishing is not None:
            self._finishing.cancel()
        self._reactor.unwatch(self._socket.fileno())
        self._socket.close()
        self._owner.closed()

    def _shut_down(self) -> None:
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            self.close()

    def _on_readable(self) -> None:
        try:
            data = self._socket.recv(self.read_bytes)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            self._lose()
        elif not self.finishing:
            self._owner.received(data)

    def _lose(self) -> None:
        if not self.finishing:
            self._owner.receive_eof()
        self.close()


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
