"""One non-blocking socket: reading, sending, closing. It does not know what the bytes mean.

A transport has an `Outgoing` stream, which says what to send, and an `Owner`, which is told what
arrives. It goes through three phases:

- Open. What arrives goes to `owner.received`. `flush` sends what the stream has, as far as the
  kernel takes it; if that is not all, the transport waits until the socket is writable (`writing`)
  and flushes again. A reader that pauses lets the peer's bytes wait in the kernel, so the peer
  slows down.
- Finishing, from `finish` on. The rest of the stream leaves, then our end is shut down (FIN), and
  the socket stays until the peer has closed, too, or the time is up. What arrives is read and
  thrown away. To close with bytes unread would send a RST, and the peer would lose the farewell.
- Closed. The descriptor is unwatched, then closed, then `owner.closed` is called: the last call,
  and the only one that is certain to come.

A connection that breaks can show at any read and at any send. Both come to `_lose`, which tells the
owner once (`receive_eof`) and closes. The owner may call `finish` within `receive_eof`; that does
no harm, since its own attempt to send comes back to `_lose`, which only closes by then. So `flush`
and `try_send` may close the transport under their caller, and say so by None.
"""

import contextlib
import socket
from typing import Protocol

from chat.limits import READ_BYTES, SEND_BYTES
from chat.reactor import Reactor, Timer


class Outgoing(Protocol):
    """The stream of bytes that a transport sends."""

    @property
    def idle(self) -> bool:
        """Whether there is nothing to send."""

    def pending(self, limit: int) -> bytes:
        """What to send next: at least one byte unless `idle`, and about `limit` bytes at most."""

    def advance(self, size: int) -> None:
        """The first `size` bytes of `pending` have been sent."""


class SendBuffer:
    """An outgoing stream of whatever was added to it."""

    __slots__ = ("_unsent",)

    def __init__(self) -> None:
        self._unsent = b""

    @property
    def idle(self) -> bool:
        return not self._unsent

    def add(self, data: bytes) -> None:
        """Send this after the rest."""
        self._unsent += data

    def pending(self, limit: int) -> bytes:
        return self._unsent[:limit]

    def advance(self, size: int) -> None:
        self._unsent = self._unsent[size:]


class Owner(Protocol):
    """The object that a transport tells what happens."""

    def received(self, data: bytes) -> None:
        """These bytes arrived."""

    def receive_eof(self) -> None:
        """The peer sends no more, or the connection broke. Called at most once."""

    def closed(self) -> None:
        """The socket is closed. Called exactly once, last."""


class Transport:
    """See the module's text. `writing`: it waits for the socket to take more. `patient`: reading
    lets other descriptors go first."""

    __slots__ = (
        "_finishing",
        "_reactor",
        "_socket",
        "outgoing",
        "owner",
        "patient",
        "read_bytes",
        "send",
        "writing",
    )

    def __init__(
        self,
        reactor: Reactor,
        connected: socket.socket,
        outgoing: Outgoing,
        owner: Owner,
        patient: bool = False,
    ) -> None:
        connected.setblocking(False)
        # Some systems refuse this when the peer is gone already. That shows soon enough.
        with contextlib.suppress(OSError):
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._reactor = reactor
        self._socket = connected
        self.owner = owner
        self._finishing: Timer | None = None
        self.writing = False
        self.patient = patient
        self.outgoing = outgoing
        self.read_bytes = READ_BYTES
        self.send = connected.send
        self._watch()

    @property
    def finishing(self) -> bool:
        """Whether the transport is finishing or closed."""
        return self._finishing is not None or self._socket.fileno() < 0

    def pause_reading(self) -> None:
        """Let what arrives wait in the kernel."""
        if not self.finishing:
            self._reactor.watch_read(self._socket.fileno(), None)

    def resume_reading(self) -> None:
        if not self.finishing:
            self._watch()

    def _watch(self) -> None:
        self._reactor.watch_read(self._socket.fileno(), self._on_readable, self.patient)

    def flush(self) -> None:
        """Send what there is, as far as the kernel takes it, and the rest when it takes more."""
        outgoing = self.outgoing
        blocked = False
        while not blocked and not outgoing.idle:
            data = outgoing.pending(SEND_BYTES)
            sent = self.try_send(data)
            if sent is None:
                return
            outgoing.advance(sent)
            blocked = sent < len(data)
        if blocked is not self.writing:
            self.writing = blocked
            self._reactor.watch_write(self._socket.fileno(), self.flush if blocked else None)
        if self.finishing and not blocked:
            self._shut_down()

    def try_send(self, data: bytes) -> int | None:
        """Send, and return how many bytes the kernel took; None: the connection was broken, and is
        closed now."""
        try:
            return self.send(data)
        except BlockingIOError:
            return 0
        except OSError:
            self._lose()
            return None

    def finish(self, seconds: float) -> None:
        """Send the rest, then close; at the latest after `seconds`."""
        if self.finishing:
            return
        self._finishing = self._reactor.call_at(self._reactor.clock() + seconds, self.close)
        self._watch()
        self.flush()

    def close(self) -> None:
        """Close at once."""
        if self._socket.fileno() < 0:
            return
        if self._finishing is not None:
            self._finishing.cancel()
        self._reactor.unwatch(self._socket.fileno())
        self._socket.close()
        self.owner.closed()

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
            self.owner.received(data)

    def _lose(self) -> None:
        if not self.finishing:
            self.owner.receive_eof()
        self.close()
