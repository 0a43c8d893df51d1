"""The server's end of one connection: its socket, its session, its timer, its pace.

What becomes of what arrives is the server's business. A connection ends in one place,
`Connection.drop`.
"""

import os
import socket
from functools import partial
from typing import Protocol

from chat.budgets import Account
from chat.errors import Reason
from chat.kex import Offer
from chat.limits import FAREWELL_SECONDS
from chat.reactor import Reactor
from chat.relaylog import RelayLog, Splice
from chat.room import Member
from chat.session import Controlled, Ended, Established, Relayed, ServerSession, SessionEvent, State
from chat.transport import Transport


class Relay(Protocol):
    """What a connection wants of the server."""

    reactor: Reactor
    log: RelayLog

    def offer(self) -> Offer:
        """What newcomers are offered."""

    def let_in(self, connection: "Connection", client: Established) -> None:
        """A client has proved who it is."""

    def relay(self, connection: "Connection", run: bytes) -> None:
        """A member has sent messages."""

    def charge(self, connection: "Connection", controls: int) -> None:
        """A client has sent so many control messages, and perhaps more; it may be too much."""

    def splice(self, connection: "Connection", data: Splice, at: int) -> None:
        """Put something into the connection's stream, to be sent at the end of the turn."""

    def part(self, connection: "Connection", reason: Reason, text: str) -> None:
        """A connection ends."""

    def forget(self, connection: "Connection") -> None:
        """A connection's socket is closed."""


class Connection:
    """One client: its socket, its session and, once it is in, its membership. `account` is where
    what it does is charged, if anything is."""

    __slots__ = (
        "_held_until",
        "_server",
        "_timer",
        "account",
        "address",
        "member",
        "session",
        "source",
        "transport",
    )

    def __init__(self, server: Relay, connected: socket.socket, address: str, source: str) -> None:
        """`address` is for people, `source` for limits (`sockets.source_of`)."""
        now = server.reactor.clock()
        self._server = server
        self._held_until = now
        self.account: Account | None = None
        self.address = address
        self.source = source
        self.member: Member | None = None
        self.session = ServerSession(server.offer(), os.urandom, now)
        self.transport = Transport(server.reactor, connected, server.log, self)
        self._timer = server.reactor.call_at(self.session.deadline, self._on_timer)
        self.send_session_data()

    def received(self, data: bytes) -> None:
        if self.session.state is not State.AWAIT_PUBKEY:
            before = self.session.controls_received
            self.handle(self.session.receive(data, self._server.reactor.clock()))
            self._server.charge(self, self.session.controls_received - before)
        else:
            # This costs a millisecond or two: one at a time, between messages.
            self.transport.pause_reading()
            self._server.reactor.defer(partial(self._go_on, data))

    def _go_on(self, data: bytes) -> None:
        if not self.transport.finishing:
            self.transport.resume_reading()
            self.handle(self.session.receive(data, self._server.reactor.clock()))

    def receive_eof(self) -> None:
        self.handle(self.session.receive_eof())

    def closed(self) -> None:
        self._timer.cancel()
        self._server.forget(self)

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
                case Relayed(_, run):
                    self._server.relay(self, run)
                case Established():
                    self._server.let_in(self, event)
                case Controlled(control):
                    self.drop(Reason.PROTOCOL, f"a {type(control).__name__} is out of place")
                case Ended(by_peer=True):
                    self.drop(Reason.LEFT)
                case Ended(reason, text):
                    self.drop(reason, text)
        self.send_session_data()

    def send_session_data(self) -> None:
        """Send what the session has to say, at the end of all there is. Nothing is sealed before
        its turn has come: what is sealed and not sent would be missed on the link."""
        if self.session.has_data_to_send:
            self._server.splice(self, self.session.data_to_send, self._server.log.end)

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
        self._server.part(self, reason, text)
        cursor = self.transport.cursor
        if reason is not Reason.CLOSING:
            cursor.cut()
        self.session.close(reason, text)
        cursor.splice(self.session.data_to_send, self._server.log.end)
        self.transport.finish(FAREWELL_SECONDS)
