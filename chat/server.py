"""The server: joins the reactor, the sockets, the sessions, the room and the console.

Nothing is decided here that the core could decide; this connects. A connection ends in one place,
`Connection.drop`.
"""

import errno
import os
import socket
import time
from functools import partial

from chat import transcript
from chat.console import Console
from chat.errors import REASONS, ProtocolError, Reason, RefusedError, TransportError
from chat.kex import Offer, PrivateKey
from chat.limits import (
    ACCEPT_PAUSE_SECONDS,
    ACCEPT_PER_TURN,
    BACKLOG,
    FAREWELL_SECONDS,
    MAX_HANDSHAKES,
    MAX_SPLICES,
    MAX_TEXT_BYTES,
    SHARE_SECONDS,
    WINDOW_BYTES,
)
from chat.reactor import Reactor, Timer
from chat.relaylog import RelayLog
from chat.room import Delivery, Member, Room
from chat.session import Controlled, Ended, Established, Relayed, ServerSession, SessionEvent
from chat.transport import Transport
from chat.wire import clip_text


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
    except socket.gaierror as exc:
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


class Connection:
    """One client: its socket, its session and, once it is in, its membership."""

    __slots__ = ("_deadline", "_server", "address", "member", "session", "transport")

    def __init__(self, server: "Server", connected: socket.socket, address: str) -> None:
        self._server = server
        self.address = address
        self.member: Member | None = None
        self.session = ServerSession(server.offer(), os.urandom, server.reactor.clock())
        self.transport = Transport(server.reactor, connected, server.log, self)
        assert self.session.deadline is not None
        self._deadline: Timer | None = server.reactor.call_at(
            self.session.deadline, self._on_deadline
        )
        self.send_session_data()

    def received(self, data: bytes) -> None:
        if self.member is not None:
            self.handle(self.session.receive(data))
        else:
            # A step of the handshake costs a millisecond or two: one at a time, between messages.
            self.transport.pause_reading()
            self._server.reactor.defer(partial(self._go_on, data))

    def _go_on(self, data: bytes) -> None:
        if not self.transport.finishing:
            self.transport.resume_reading()
            self.handle(self.session.receive(data))

    def receive_eof(self) -> None:
        self.handle(self.session.receive_eof())

    def closed(self) -> None:
        self._server.forget(self)

    def _on_deadline(self) -> None:
        self._deadline = None
        self.handle(self.session.time_out())

    def handle(self, events: list[SessionEvent]) -> None:
        """Do what the session says."""
        for event in events:
            if self.transport.finishing:
                return
            match event:
                case Relayed(_, run):
                    self._server.relay(self, run)
                case Established(name, key):
                    if self._deadline is not None:
                        self._deadline.cancel()
                        self._deadline = None
                    self._server.let_in(self, name, key.digest)
                case Controlled(control):
                    self.drop(Reason.PROTOCOL, f"a {type(control).__name__} is out of place")
                case Ended(reason, text, _):
                    self.drop(reason, text)
        self.send_session_data()

    def send_session_data(self) -> None:
        """Send what the session has to say, at the end of all there is."""
        data = self.session.data_to_send()
        if data:
            self.transport.cursor.splice(data, self._server.log.end)
            self._server.flush_later(self)

    def drop(self, reason: Reason, text: str = "") -> None:
        """End this connection: the room hears of it once, the peer is told why, the socket closes
        when that has left. What comes after the first time is ignored."""
        if self.transport.finishing:
            return
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        self._server.part(self, reason, text)
        self.session.close(reason, text)
        if reason is not Reason.CLOSING:
            self.transport.cursor.cut()
        self.transport.cursor.splice(self.session.data_to_send(), self._server.log.end)
        self.transport.finish(FAREWELL_SECONDS)


class Server:
    """See the module's text. `run` returns when the server has been terminated."""

    def __init__(
        self, reactor: Reactor, listener: socket.socket, key: PrivateKey, console: Console
    ) -> None:
        self.reactor = reactor
        self.log = RelayLog(WINDOW_BYTES)
        self._room = Room(self.log, os.urandom)
        self.relayed = 0
        self._listener = listener
        self._key = key
        self._console = console
        self._offer: Offer | None = None
        self._connections: set[Connection] = set()
        self._members: dict[int, Connection] = {}
        self._to_flush: set[Connection] = set()
        self._sent_end = 0
        self._room_timer: Timer | None = None
        self._accepting = False
        self._terminating = False
        listener.setblocking(False)
        reactor.before_wait(self._before_wait)

    def run(self) -> None:
        """Serve until terminated."""
        self._accept_again()
        self.reactor.run()
        self._listener.close()

    # -- connections come and go

    def offer(self) -> Offer:
        """What newcomers are offered; forgotten when it has run out, and made when it is needed."""
        if self._offer is None or not self._offer.is_fresh(time.time()):
            self._offer = Offer.make(self._key, time.time(), os.urandom)
            self.reactor.call_at(self.reactor.clock() + SHARE_SECONDS, self._forget_offer)
        return self._offer

    def _forget_offer(self) -> None:
        if self._offer is not None and not self._offer.is_fresh(time.time()):
            self._offer = None

    def _accept(self) -> None:
        for _ in range(ACCEPT_PER_TURN):
            if len(self._connections) - len(self._members) >= MAX_HANDSHAKES:
                self._stop_accepting()
                return
            try:
                connected, address = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    return
                self._console.show(transcript.OUT_OF_DESCRIPTORS)
                self._stop_accepting()
                again = self.reactor.clock() + ACCEPT_PAUSE_SECONDS
                self.reactor.call_at(again, self._accept_again)
                return
            self._connections.add(Connection(self, connected, f"{address[0]}:{address[1]}"))

    def _stop_accepting(self) -> None:
        self._accepting = False
        self.reactor.unwatch(self._listener.fileno())

    def _accept_again(self) -> None:
        if not self._accepting and not self._terminating:
            self._accepting = True
            self.reactor.watch_read(self._listener.fileno(), self._accept)

    def let_in(self, connection: Connection, name: str, fingerprint: bytes) -> None:
        """A client has proved who it is: it becomes a member, or is told why not."""
        try:
            member = self._room.join(name, fingerprint, time.time())
        except RefusedError as refusal:
            connection.drop(refusal.reason, str(refusal))
            return
        connection.member = member
        heard_by = len(self._members)
        self._members[member.id] = connection
        self._console.show(*transcript.newcomer(member.name, heard_by))
        self._accept_again()

    def part(self, connection: Connection, reason: Reason, text: str) -> None:
        """A connection ends, and with it the membership, if there was one."""
        member = connection.member
        if self._terminating:
            return
        if member is None:
            self._console.show(transcript.refused(connection.address, text or REASONS[reason]))
            return
        connection.member = None
        del self._members[member.id]
        self._room.leave(member, reason)
        self._console.show(transcript.left(member.name, reason, text))

    def forget(self, connection: Connection) -> None:
        """A connection's socket is closed."""
        self._connections.discard(connection)
        self._to_flush.discard(connection)
        if self._terminating and not self._connections:
            self.reactor.stop()
        elif not self._accepting:
            self._accept_again()

    # -- what is said

    def relay(self, connection: Connection, run: bytes) -> None:
        """A member has sent messages."""
        assert connection.member is not None
        try:
            count, deliveries = self._room.submit(connection.member, run, self.reactor.clock())
        except ProtocolError as error:
            connection.drop(error.reason, str(error))
            return
        self.relayed += count
        self._console.exchanged(count)
        self._deliver(deliveries)

    def flush_later(self, connection: Connection) -> None:
        """This connection has something of its own to send at the end of the turn."""
        self._to_flush.add(connection)

    def _deliver(self, deliveries: list[Delivery]) -> None:
        for delivery in deliveries:
            connection = self._members.get(delivery.member.id)
            if connection is None:
                continue
            for control in delivery.controls:
                connection.session.send(control)
            cursor = connection.transport.cursor
            if not cursor.following:
                cursor.follow(delivery.at)
            cursor.splice(connection.session.data_to_send(), delivery.at)
            self._to_flush.add(connection)
            if cursor.splices > MAX_SPLICES:
                connection.drop(Reason.TOO_SLOW)

    def _before_wait(self) -> None:
        """Everything that happened in this turn leaves in as few sends as can be."""
        if not self._terminating:
            self._deliver(self._room.tick(self.reactor.clock()))
        self._fan_out()
        while self._to_flush:
            self._to_flush.pop().transport.flush()
        if self.log.surplus:
            self._trim()
        self._set_room_timer()

    def _fan_out(self) -> None:
        """Send what is new to all who have had everything before it: one `send` each. The others
        go on at their own pace when their sockets can be written."""
        start, self._sent_end = self._sent_end, self.log.end
        if start == self._sent_end:
            return
        data = self.log.read(start, self._sent_end)
        size = len(data)
        for connection in list(self._members.values()):
            transport = connection.transport
            cursor = transport.cursor
            if cursor.offset == start and cursor.at_log:
                sent = transport.try_send(data)
                if sent == size:
                    cursor.offset = self._sent_end
                elif sent is not None:
                    cursor.offset += sent
                    transport.flush()

    def _trim(self) -> None:
        for connection in list(self._members.values()):
            cursor = connection.transport.cursor
            if cursor.following and self.log.is_leaving(cursor.offset):
                connection.drop(Reason.TOO_SLOW)
        self.log.trim()

    def _set_room_timer(self) -> None:
        deadline = self._room.deadline
        if self._room_timer is not None:
            if self._room_timer.callback is not None and self._room_timer.deadline == deadline:
                return
            self._room_timer.cancel()
        # Waking up is all it has to do: the room's tick belongs to the end of every turn.
        self._room_timer = None if deadline is None else self.reactor.call_at(deadline, _wake_up)

    # -- what the operator can do

    @property
    def relayed_bytes(self) -> int:
        """Bytes of the room's log so far."""
        return self.log.end

    def members(self) -> list[Member]:
        """Who is in the room."""
        return list(self._room.members.values())

    def terminate(self) -> None:
        """Tell everybody, send what is queued, and stop. The second time: stop at once."""
        if self._terminating or not self._connections:
            self.reactor.stop()
            return
        self._room.close()
        self._fan_out()
        self._terminating = True
        self._stop_accepting()
        for connection in list(self._connections):
            connection.drop(Reason.CLOSING)

    def kick(self, name: str) -> bool:
        """Put somebody out; False if nobody has that name."""
        member = self._room.find(name)
        if member is None:
            return False
        self._members[member.id].drop(Reason.KICKED)
        return True

    def say(self, text: str) -> None:
        """Tell everybody something."""
        self._room.say(clip_text(text, MAX_TEXT_BYTES))


def _wake_up() -> None:
    pass
