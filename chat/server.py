"""The server: joins the reactor, the sockets, the sessions, the room and the console.

Nothing is decided here that the core could decide; this connects.
"""

import errno
import os
import socket
import time
from functools import partial

from chat import transcript
from chat.connection import Connection
from chat.console import Console
from chat.errors import REASONS, ProtocolError, Reason, RefusedError
from chat.kex import Offer, PrivateKey
from chat.limits import (
    ACCEPT_PAUSE_SECONDS,
    ACCEPT_PER_TURN,
    GRACE_SECONDS,
    MAX_HANDSHAKES,
    MAX_SPLICES,
    MAX_TEXT_BYTES,
    RATE,
    SHARE_SECONDS,
    WINDOW_BYTES,
)
from chat.messages import Resume
from chat.reactor import Reactor, Timer
from chat.relaylog import RelayLog, Splice
from chat.room import Delivery, Member, Room
from chat.session import Established
from chat.sockets import address_text, source_of
from chat.wire import clip_text

LOSSES = (Reason.LOST, Reason.TIMEOUT, Reason.TOO_SLOW)
"""Endings that a member did not want: it may come back."""


class Server:
    """See the module's text. `run` returns when the server has been terminated."""

    def __init__(
        self,
        reactor: Reactor,
        listener: socket.socket,
        key: PrivateKey,
        console: Console,
        grace_seconds: float = GRACE_SECONDS,
        rate: float = RATE,
    ) -> None:
        self.reactor = reactor
        self.log = RelayLog(WINDOW_BYTES)
        self._room = Room(self.log, os.urandom, grace_seconds)
        self._rate = rate
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
        self._exhausted = False
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
            except BlockingIOError:
                self._exhausted = False
                return
            except (InterruptedError, ConnectionAbortedError):
                continue
            except OSError as error:
                if error.errno not in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    return
                if not self._exhausted:
                    self._console.show(transcript.OUT_OF_DESCRIPTORS)
                self._exhausted = True
                self._stop_accepting()
                again = self.reactor.clock() + ACCEPT_PAUSE_SECONDS
                self.reactor.call_at(again, self._accept_again)
                return
            host, port = address[:2]
            self._connections.add(
                Connection(self, connected, address_text(host, port), source_of(host))
            )

    def _stop_accepting(self) -> None:
        self._accepting = False
        self.reactor.unwatch(self._listener.fileno())

    def _accept_again(self) -> None:
        if not self._accepting and not self._terminating:
            self._accepting = True
            self.reactor.watch_read(self._listener.fileno(), self._accept)

    def let_in(self, connection: Connection, client: Established) -> None:
        """A client has proved who it is: it comes back to its place, becomes a member, or is told
        why not."""
        fingerprint = client.public_key.digest
        if client.resume is None or not self._resume(connection, client.resume, client):
            self._join(connection, client.name, fingerprint)
        self._accept_again()

    def _resume(self, connection: Connection, request: Resume, client: Established) -> bool:
        namesake = self._room.find(client.name)
        if namesake is None or namesake.id != request.member:
            return False
        resumed = self._room.resume(request, client.public_key.digest, self.reactor.clock())
        if resumed is None:
            return False
        member, deliveries = resumed
        self._take_over(member)
        connection.member = member
        self._members[member.id] = connection
        self._deliver(deliveries)
        self._console.show(transcript.returned(member.name))
        return True

    def _join(self, connection: Connection, name: str, fingerprint: bytes) -> None:
        namesake = self._room.find(name)
        if namesake is not None and namesake.fingerprint == fingerprint:
            self._take_over(namesake)
            self._room.leave(namesake, Reason.REPLACED)
        try:
            member = self._room.join(name, fingerprint, time.time())
        except RefusedError as refusal:
            text = str(refusal)
            if namesake is not None and refusal.reason is Reason.NAME_TAKEN:
                text = f"{text}: {self._who_has_it(namesake)}"
            connection.drop(refusal.reason, text)
            return
        connection.member = member
        heard_by = len(self._members)
        self._members[member.id] = connection
        self._console.show(*transcript.newcomer(member.name, heard_by))

    def _who_has_it(self, namesake: Member) -> str:
        """Why a name is taken, and for how long."""
        grace = self._room.grace(namesake, self.reactor.clock())
        if grace is None:
            return transcript.in_use(time.time() - namesake.joined_at)
        return transcript.kept(namesake.name, *grace)

    def _take_over(self, member: Member) -> None:
        """A member is here anew: its old connection, dead perhaps without our knowing, goes."""
        old = self._members.pop(member.id, None)
        if old is not None:
            old.member = None
            old.drop(Reason.REPLACED)

    def part(self, connection: Connection, reason: Reason, text: str) -> None:
        """A connection ends. Who lost it keeps the membership for a while; for others it ends, too,
        if there was one."""
        member = connection.member
        if self._terminating or reason is Reason.REPLACED:
            return
        if member is None:
            self._console.show(transcript.refused(connection.address, text or REASONS[reason]))
            return
        connection.member = None
        del self._members[member.id]
        if reason in LOSSES and self._room.suspend(member, self.reactor.clock()):
            self._console.show(transcript.vanished(member.name, text or REASONS[reason]))
        else:
            self._room.leave(member, Reason.LOST if reason in LOSSES else reason)
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
        before = self._room.messages
        try:
            self._deliver(self._room.submit(connection.member, run, self.reactor.clock()))
        except ProtocolError as error:
            self._console.exchanged(self._room.messages - before)
            connection.drop(error.reason, str(error))
            return
        count = self._room.messages - before
        self._console.exchanged(count)
        self.charge(connection, count, len(run))

    def charge(self, connection: Connection, frames: int, size: int) -> None:
        """A member has sent so many frames, or bytes; more than its rate allows, perhaps."""
        if self._rate and not connection.transport.finishing:
            connection.hold_to(self._rate, frames, size)

    def splice(self, connection: Connection, data: Splice, at: int) -> None:
        """Put something into one connection's stream, to be sent at the end of the turn."""
        cursor = connection.transport.cursor
        cursor.splice(data, at)
        self._to_flush.add(connection)
        if cursor.splices > MAX_SPLICES:
            connection.drop(Reason.TOO_SLOW)

    def _deliver(self, deliveries: list[Delivery]) -> None:
        for delivery in deliveries:
            connection = self._members.get(delivery.member.id)
            if connection is None:
                continue
            cursor = connection.transport.cursor
            if not cursor.following:
                cursor.follow(delivery.at)
            sealed = partial(connection.session.seal, *delivery.controls)
            self.splice(connection, sealed, delivery.at)

    def _before_wait(self) -> None:
        """Everything that happened in this turn leaves in as few sends as can be. Sending shows
        who is gone, of which the others are to hear at once, too."""
        while True:
            if not self._terminating:
                self._tick()
            self._fan_out()
            while self._to_flush:
                self._to_flush.pop().transport.flush()
            if self.log.surplus and not self._terminating:
                self._trim()
            if self._sent_end == self.log.end:
                break
        self._set_room_timer()

    def _tick(self) -> None:
        now = self.reactor.clock()
        for member in self._room.end_grace(now):
            self._console.show(transcript.left(member.name, Reason.LOST))
        self._deliver(self._room.tick(now))

    def _fan_out(self) -> None:
        """Send what is new: one `send` each, and the same bytes, to all who have had everything
        before it. Whose socket is full goes on at its own pace when it can be written."""
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
                    cursor.offset += size
                    continue
                cursor.offset += sent or 0
            if not transport.writing:
                transport.flush()

    def _trim(self) -> None:
        start = self.log.start_after_trim()
        for connection in list(self._members.values()):
            cursor = connection.transport.cursor
            if cursor.following and cursor.offset < start:
                connection.drop(Reason.TOO_SLOW)
        # What was appended since, of those who were cut off, is for the next time.
        self.log.trim(start)

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
    def relayed(self) -> int:
        """Messages relayed so far."""
        return self._room.messages

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
        self._before_wait()
        self._terminating = True
        self._stop_accepting()
        for connection in list(self._connections):
            connection.drop(Reason.CLOSING)
        if not self._connections:
            self.reactor.stop()

    def kick(self, name: str) -> bool:
        """Put somebody out; False if nobody has that name."""
        member = self._room.find(name)
        if member is None:
            return False
        connection = self._members.get(member.id)
        if connection is not None:
            connection.drop(Reason.KICKED)
        else:
            self._room.leave(member, Reason.KICKED)
            self._console.show(transcript.left(member.name, Reason.KICKED))
        return True

    def say(self, text: str) -> None:
        """Tell everybody something."""
        if not self._terminating:
            self._room.say(clip_text(text, MAX_TEXT_BYTES))


def _wake_up() -> None:
    pass
