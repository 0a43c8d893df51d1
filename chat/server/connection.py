"""The server's end of one connection: its socket, its session, its timer, its pace.

What becomes of what arrives is the server's business. A connection ends in one place,
`Connection.drop`.
"""

import os
import socket
from typing import Protocol

from chat.errors import Reason
from chat.kex import SignedShare
from chat.limits import LINGER_SECONDS, MAX_HANDSHAKE_FRAME_BYTES, READ_BYTES
from chat.reactor import Reactor, Timer
from chat.server.budgets import Account
from chat.server.log import Cursor, OrderedLog, Splice
from chat.server.room import Member
from chat.session import (
    ControlReceived,
    Ended,
    Established,
    RoomFramesReceived,
    ServerSession,
    SessionEvent,
)
from chat.transport import Transport

CROWDED = "too many connections wait to be let in"
"""Why somebody has to make room, or finds none."""


class Hub(Protocol):
    """What a connection wants of the server."""

    reactor: Reactor
    log: OrderedLog

    def offer(self) -> SignedShare:
        """What newcomers are offered."""

    def await_turn(self, connection: "Connection") -> None:
        """Call `take_turn` when it is this connection's turn to shake hands."""

    def let_in(self, connection: "Connection", client: Established) -> None:
        """A client has proved who it is."""

    def admit(self, connection: "Connection", client: Established) -> None:
        """It need not wait any longer."""

    def relay(self, connection: "Connection", run: bytes) -> None:
        """A member has sent messages."""

    def charge(self, connection: "Connection", controls: int) -> None:
        """A client has sent so many control messages, and perhaps more; it may be too much."""

    def splice(self, connection: "Connection", data: Splice, at: int) -> None:
        """Put something into the connection's stream, to be sent at the end of the turn."""

    def connection_lost(self, connection: "Connection", reason: Reason, text: str) -> None:
        """A connection ends."""

    def connection_closed(self, connection: "Connection") -> None:
        """A connection's socket is closed."""


class Connection:
    """One client: its socket, its session and, once it is in, its membership. `account` is where
    what it does is charged, if anything is."""

    __slots__ = (
        "_held_until",
        "_server",
        "_spliced",
        "_timer",
        "_unread",
        "account",
        "address",
        "cursor",
        "member",
        "session",
        "source",
        "spoke",
        "transport",
    )

    def __init__(self, server: Hub, connected: socket.socket, address: str, source: str) -> None:
        """`address` is for people, `source` for limits (`sockets.source_of`). Nothing happens
        before `open`."""
        now = server.reactor.clock()
        self._server = server
        self._held_until = now
        self._spliced = False
        self._timer: Timer | None = None
        self._unread = b""
        self.account: Account | None = None
        self.address = address
        self.source = source
        self.spoke = False
        self.member: Member | None = None
        self.session = ServerSession(server.offer(), os.urandom, now)
        self.cursor = Cursor(server.log)
        self.transport = Transport(server.reactor, connected, self.cursor, self, patient=True)
        # What a guest makes us keep is bounded by this, and there may be many guests.
        self.transport.read_bytes = MAX_HANDSHAKE_FRAME_BYTES

    def open(self) -> None:
        """Say HELLO, and wait for what comes."""
        self._timer = self._server.reactor.call_at(self.session.deadline, self._on_timer)
        self.send_session_data()

    def received(self, data: bytes) -> None:
        self.spoke = True
        if self.session.completes_first_frame(data):
            # This costs a millisecond or two: one at a time, between messages.
            self.transport.pause_reading()
            self._unread = data
            self._server.await_turn(self)
        else:
            before = self.session.controls_received
            self.handle(self.session.receive(data, self._server.reactor.clock()))
            self._server.charge(self, self.session.controls_received - before)

    def take_turn(self) -> None:
        """Look into the first frame."""
        if self.transport.finishing:
            return
        data, self._unread = self._unread, b""
        self.transport.resume_reading()
        self.handle(self.session.receive(data, self._server.reactor.clock()))

    def enter(self, client: Established) -> None:
        """Come in, after a wait."""
        if not self.transport.finishing:
            self._server.admit(self, client)

    def receive_eof(self) -> None:
        self.handle(self.session.receive_eof())

    def closed(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._server.connection_closed(self)

    def _on_timer(self) -> None:
        now = self._server.reactor.clock()
        if now >= self._held_until:
            self.handle(self.session.tick(now))
        if not self.transport.finishing:
            again = max(self.session.deadline, self._held_until)
            self._timer = self._server.reactor.call_at(again, self._on_timer)

    def handle(self, events: list[SessionEvent]) -> None:
        """Do what the session says."""
        for event in events:
            if self.transport.finishing:
                return
            match event:
                case RoomFramesReceived(_, run):
                    self._server.relay(self, run)
                case Established():
                    self.transport.read_bytes = READ_BYTES
                    self.transport.patient = False
                    self.transport.resume_reading()
                    self._server.let_in(self, event)
                case ControlReceived(control):
                    self.drop(Reason.PROTOCOL, f"a {type(control).__name__} is out of place")
                case Ended(by_peer=True):
                    self.drop(Reason.LEFT)
                case Ended(reason, text):
                    self.drop(reason, text)
        self.send_session_data()

    def send_session_data(self) -> None:
        """Send what the session has to say, at the end of all there is. Nothing is sealed before
        its turn has come: what is sealed and not sent would be missed on the link."""
        if self.session.has_data_to_send and not self._spliced:
            self._spliced = True
            self._server.splice(self, self._session_data, self._server.log.end)

    def _session_data(self) -> bytes:
        """What the session has to say by now: one splice is enough for all of it."""
        self._spliced = False
        return self.session.data_to_send()

    def hold(self, seconds: float) -> None:
        """Read no further for so long."""
        now = self._server.reactor.clock()
        if seconds > 0 and now + seconds > self._held_until:
            self._held_until = now + seconds
            self.transport.pause_reading()
            self._server.reactor.call_at(self._held_until, self._go_on_reading)

    def _go_on_reading(self) -> None:
        # It may have been held for longer since.
        if self._server.reactor.clock() >= self._held_until:
            self.transport.resume_reading()

    def drop(self, reason: Reason, text: str = "") -> None:
        """End this connection: the room hears of it once, the peer is told why, the socket closes
        when that has left. What comes after the first time is ignored."""
        if self.transport.finishing:
            return
        self._server.connection_lost(self, reason, text)
        cursor = self.cursor
        if reason is not Reason.CLOSING:
            cursor.cut()
        self.session.close(reason, text)
        cursor.splice(self.session.data_to_send, self._server.log.end)
        self.transport.finish(LINGER_SECONDS)

    def make_room(self) -> None:
        """Close at once, for another connection that needs the place."""
        if not self.transport.finishing:
            self._server.connection_lost(self, Reason.TIMEOUT, CROWDED)
            self.session.close(Reason.TIMEOUT, CROWDED)
            self.cursor.splice(self.session.data_to_send(), self._server.log.end)
            self.transport.flush()
        self.transport.close()
