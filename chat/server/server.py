"""The server: joins the reactor, the sockets, the sessions, the room and the console.

Nothing is decided here that the core could decide; this connects.
"""

import contextlib
import errno
import os
import socket
import time
from collections.abc import Sequence
from functools import partial

from chat import phrases
from chat.errors import REASONS, ProtocolError, Reason, RefusedError
from chat.kex import PrivateKey, SignedShare
from chat.limits import (
    ACCEPT_PAUSE_SECONDS,
    ACCEPT_PER_TURN,
    BEHIND,
    FAULT_PAUSE_SECONDS,
    GRACE_SECONDS,
    MAKE_ROOM_PER_TURN,
    MAX_ARRIVAL_WAIT_SECONDS,
    MAX_PENDING,
    MAX_PENDING_PER_SOURCE,
    MAX_SPLICES,
    MAX_TEXT_BYTES,
    RATE,
    RATED_READ_BYTES,
    SHARE_SECONDS,
    SILENCE_SECONDS,
    WINDOW_BYTES,
)
from chat.messages import Resume
from chat.reactor import Reactor, Timer
from chat.server import words
from chat.server.admission import Admission, Turns
from chat.server.budgets import Budgets
from chat.server.connection import CROWDED, Connection
from chat.server.console import Console
from chat.server.log import OrderedLog, Splice
from chat.server.room import Member, Room, Unicast, bytes_again
from chat.session import Established
from chat.sockets import address_text, source_of
from chat.transport import Transport
from chat.wire import Refused, clip_text

LOSSES = (Reason.LOST, Reason.TIMEOUT, Reason.TOO_SLOW)
"""Endings that a member did not want: it may come back."""

_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
"""Errors of `accept` that say that there is no room for another connection."""

_PASSING = (
    errno.ECONNABORTED,
    errno.EINTR,
    errno.EPROTO,
    errno.EPERM,
    errno.ENETDOWN,
    errno.ENOPROTOOPT,
    errno.EHOSTDOWN,
    errno.EHOSTUNREACH,
    errno.EOPNOTSUPP,
    errno.ENETUNREACH,
)
"""Errors of `accept` that belong to one connection: the next one is another matter (accept(2))."""

_REFUSAL = Refused(Reason.TIMEOUT, CROWDED).to_wire()


class Server:
    """See the module's text. `run` returns when the server has been terminated."""

    def __init__(
        self,
        reactor: Reactor,
        listeners: Sequence[socket.socket],
        key: PrivateKey,
        console: Console,
        grace_seconds: float = GRACE_SECONDS,
        rate: float = RATE,
        pending: int = MAX_PENDING,
        pending_per_source: int = MAX_PENDING_PER_SOURCE,
    ) -> None:
        """`pending`: connections that are not members yet, in all and of one source."""
        self.reactor = reactor
        self.log = OrderedLog(WINDOW_BYTES)
        self._room = Room(self.log, os.urandom, grace_seconds)
        self._budgets = Budgets(rate, grace_seconds, self.log.window_bytes) if rate else None
        self._listeners = listeners
        self._key = key
        self._console = console
        self._offer: SignedShare | None = None
        self._connections: set[Connection] = set()
        self._members: dict[int, Connection] = {}
        self._admission: Admission[Connection] = Admission(pending, pending_per_source)
        self._turns: Turns[Connection] = Turns()
        self._deferred = False
        self._to_flush: set[Connection] = set()
        self._sent_end = 0
        self._behind: dict[Connection, float] = {}
        self._somebody_behind = False
        self._room_timer: Timer | None = None
        self._accepting = False
        self._backlog = False
        self._exhausted = False
        self._terminating = False
        self._no_tick_before = float("-inf")
        for listener in listeners:
            listener.setblocking(False)
        reactor.before_wait(self._before_wait)

    def run(self) -> None:
        """Serve until terminated."""
        self._accept_again()
        self.reactor.run()
        for listener in self._listeners:
            listener.close()

    # -- connections come and go

    def offer(self) -> SignedShare:
        """What newcomers are offered; forgotten when it has run out, and made when it is needed."""
        if self._offer is None or not self._offer.is_fresh(time.time()):
            self._offer = SignedShare.make(self._key, time.time(), os.urandom)
            self.reactor.call_at(self.reactor.clock() + SHARE_SECONDS, self._forget_offer)
        return self._offer

    def _forget_offer(self) -> None:
        if self._offer is not None and not self._offer.is_fresh(time.time()):
            self._offer = None

    def _accept(self, listener: socket.socket) -> None:
        """Take who is waiting outside. Nobody is left there, since all wait in one line: where
        places are short, a connection that has said nothing makes room, or the new one is closed.
        Closing it is cheaper, so that is done with most when more come than can be taken in.
        """
        may_make_room = MAKE_ROOM_PER_TURN if self._backlog else ACCEPT_PER_TURN
        self._backlog = True
        for _ in range(ACCEPT_PER_TURN):
            try:
                connected, address = listener.accept()
            except BlockingIOError:
                self._exhausted = self._backlog = False
                return
            except OSError as error:
                if error.errno not in _PASSING and not self._go_on_accepting(error):
                    return
                continue
            try:
                host, port = address[:2]
                may_make_room -= self._take_in(connected, host, port, may_make_room > 0)
            except Exception as fault:
                connected.close()
                self.reactor.contain(self, fault)

    def _take_in(self, connected: socket.socket, host: str, port: int, may_make_room: bool) -> bool:
        """Take a connection in, or close it if there is no place. Whether another had to go."""
        address, source = address_text(host, port), source_of(host)
        idle = None
        if self._admission.is_full(source):
            idle = self._admission.oldest_idle(source) if may_make_room else None
            if idle is None:
                self._refuse(connected, address, source)
                return False
            self._make_room(idle)
        connection = Connection(self, connected, address, source)
        try:
            self._connections.add(connection)
            self._admission.add(connection, source)
            connection.open()
        except Exception as fault:
            self.reactor.contain(connection, fault)
        return idle is not None

    def _go_on_accepting(self, error: OSError) -> bool:
        """After an error that may last: whether to go on at once, or only after a pause."""
        if error.errno in _EXHAUSTED:
            idle = self._admission.oldest_idle()
            if idle is not None:
                self._make_room(idle)
                return True
            if not self._exhausted:
                self._console.show(words.OUT_OF_DESCRIPTORS)
            self._exhausted = True
        else:
            self.reactor.contain(self, error)
        self._stop_accepting()
        self.reactor.call_at(self.reactor.clock() + ACCEPT_PAUSE_SECONDS, self._accept_again)
        return False

    def _refuse(self, connected: socket.socket, address: str, source: str) -> None:
        with contextlib.suppress(OSError):
            connected.setblocking(False)
            connected.send(_REFUSAL)
        connected.close()
        self._console.refused(words.refused(address, CROWDED), source)

    def _make_room(self, idle: Connection) -> None:
        try:
            idle.make_room()
        except Exception as fault:
            self.reactor.contain(idle, fault)

    def _stop_accepting(self) -> None:
        self._accepting = False
        for listener in self._listeners:
            self.reactor.unwatch(listener.fileno())

    def _accept_again(self) -> None:
        if not self._accepting and not self._terminating:
            self._accepting = True
            for listener in self._listeners:
                self.reactor.watch_read(listener.fileno(), partial(self._accept, listener))

    def await_turn(self, connection: Connection) -> None:
        """Let a connection shake hands when it is its turn: one a turn of the loop, so that what
        members say comes first, and one source after the other."""
        self._admission.set_busy(connection)
        self._turns.add(connection, connection.source)
        if not self._deferred:
            self._deferred = True
            self.reactor.defer(self._shake_hands)

    def _shake_hands(self) -> None:
        self._deferred = bool(self._turns)
        if not self._turns:
            return
        self.reactor.defer(self._shake_hands)
        connection = self._turns.take()
        try:
            connection.take_turn()
        except Exception as fault:
            self.reactor.contain(connection, fault)

    def let_in(self, connection: Connection, client: Established) -> None:
        """A client has proved who it is: it comes in, at once or, if its key or its source comes
        too often, later."""
        if self._budgets is None:
            self.admit(connection, client)
            return
        now = self.reactor.clock()
        account = self._budgets.open(client.public_key.digest, connection.source, now)
        connection.account = account
        connection.transport.read_bytes = RATED_READ_BYTES
        wait = account.arrive(now)
        if wait > MAX_ARRIVAL_WAIT_SECONDS:
            account.take_back_arrival(now)
            connection.drop(Reason.LOST, words.COMES_TOO_OFTEN)
        elif wait > 0:
            connection.hold(wait)
            self.reactor.call_at(now + wait, partial(connection.enter, client))
        else:
            self.admit(connection, client)

    def admit(self, connection: Connection, client: Established) -> None:
        """A client comes back to its place, becomes a member, or is told why not."""
        fingerprint = client.public_key.digest
        if client.resume is None or not self._resume(connection, client.resume, client):
            self._join(connection, client.name, fingerprint)

    def _resume(self, connection: Connection, request: Resume, client: Established) -> bool:
        namesake = self._room.find(client.name)
        if namesake is None or namesake.id != request.member:
            return False
        resumed = self._room.resume(request, client.public_key.digest, self.reactor.clock())
        if resumed is None:
            return False
        member, unicasts = resumed
        self._take_over(member)
        self._enter(connection, member)
        if connection.account is not None:
            again = bytes_again(member, unicasts)
            connection.account.resend(again, self.reactor.clock())
        self._deliver(unicasts)
        self._console.show(phrases.back(member.name))
        return True

    def _join(self, connection: Connection, name: str, fingerprint: bytes) -> None:
        namesake = None
        try:
            name = self._room.usable_name(name)
            namesake = self._room.find(name)
            if namesake is not None and namesake.fingerprint == fingerprint:
                self._take_over(namesake)
                self._room.leave(namesake, Reason.REPLACED)
            member = self._room.join(name, fingerprint, time.time())
        except RefusedError as refusal:
            text = str(refusal)
            if namesake is not None and refusal.reason is Reason.NAME_TAKEN:
                text = f"{text}: {self._who_has_it(namesake)}"
            connection.drop(refusal.reason, text)
            return
        heard_by = len(self._members)
        self._enter(connection, member)
        self._console.show(*words.joined(member.name, heard_by))

    def _enter(self, connection: Connection, member: Member) -> None:
        connection.member = member
        member.source = connection.source
        self._members[member.id] = connection
        self._admission.remove(connection)

    def _exit(self, member: Member) -> Connection | None:
        connection = self._members.pop(member.id, None)
        if connection is not None:
            connection.member = None
            member.sent = max(member.sent, connection.cursor.offset)
        return connection

    def _who_has_it(self, namesake: Member) -> str:
        """Why a name is taken, and for how long."""
        grace = self._room.grace(namesake, self.reactor.clock())
        if grace is None:
            return words.in_use(time.time() - namesake.joined_at)
        return words.kept(namesake.name, *grace)

    def _take_over(self, member: Member) -> None:
        """A member is here anew: its old connection, dead perhaps without our knowing, goes."""
        old = self._exit(member)
        if old is not None:
            self._drop(old, Reason.REPLACED)

    def _drop(self, connection: Connection, reason: Reason) -> None:
        """Drop a connection on behalf of something else, which must not suffer if that fails."""
        try:
            connection.drop(reason)
        except Exception as fault:
            self.reactor.contain(connection, fault)

    def connection_lost(self, connection: Connection, reason: Reason, text: str) -> None:
        """A connection ends. Who lost it keeps the membership for a while; for others it ends, too,
        if there was one."""
        member = connection.member
        if self._terminating or reason is Reason.REPLACED:
            return
        if member is None:
            self._part_guest(connection, reason, text)
            return
        kept = reason in LOSSES and self._room.suspend(member, self.reactor.clock())
        if not kept:
            self._room.leave(member, Reason.LOST if reason in LOSSES else reason)
        self._exit(member)
        if kept:
            self._console.show(phrases.lost(member.name, text or REASONS[reason]))
        else:
            self._console.show(phrases.left(member.name, reason, text))

    def _part_guest(self, connection: Connection, reason: Reason, text: str) -> None:
        self._turns.remove(connection, connection.source)
        self._admission.set_idle(connection)
        if reason is not Reason.LOST:
            line = words.refused(connection.address, text or REASONS[reason])
        elif connection.spoke:
            line = words.went_away(connection.address, text or REASONS[reason])
        else:
            # It wanted to see whether somebody listens here, as monitoring does all day long.
            return
        self._console.refused(line, connection.source)

    def connection_closed(self, connection: Connection) -> None:
        """A connection's socket is closed."""
        self._connections.discard(connection)
        self._to_flush.discard(connection)
        if self._budgets is not None and connection.account is not None:
            account, connection.account = connection.account, None
            self._budgets.close(account, self.reactor.clock())
        self._admission.remove(connection)
        self._turns.remove(connection, connection.source)
        if self._terminating and not self._connections:
            self.reactor.stop()
        elif not self._accepting:
            self._accept_again()

    # -- when this program is at fault

    def on_fault(self, answering: object, fault: Exception) -> float:
        """Deal with an exception that nobody foresaw, for the reactor: it is written down, and if a
        connection answers for it, that connection ends and no other."""
        connection = answering.owner if isinstance(answering, Transport) else answering
        closed = ""
        if isinstance(connection, Connection):
            closed = connection.member.name if connection.member else connection.address
        with contextlib.suppress(Exception):
            self._console.fault(fault, closed)
        if isinstance(connection, Connection):
            self._abandon(connection)
        return FAULT_PAUSE_SECONDS

    def _abandon(self, connection: Connection) -> None:
        """Close a connection of which nothing is certain any more: no step relies on another."""
        member = connection.member
        for step in (
            partial(self.connection_lost, connection, Reason.LOST, "an error in the server"),
            connection.transport.close,
            partial(self.connection_closed, connection),
        ):
            try:
                step()
            except Exception as fault:
                with contextlib.suppress(Exception):
                    self._console.fault(fault)
        if member is not None and self._members.get(member.id) is connection:
            del self._members[member.id]
        self._connections.discard(connection)
        self._to_flush.discard(connection)

    # -- what is said

    def relay(self, connection: Connection, run: bytes) -> None:
        """A member has sent messages."""
        if connection.member is None:
            connection.drop(Reason.PROTOCOL, "a message before the welcome")
            return
        now = self.reactor.clock()
        messages, end = self._room.messages, self.log.end
        try:
            self._deliver(self._room.submit(connection.member, run, now))
        except ProtocolError as error:
            self._console.exchanged(self._room.messages - messages)
            connection.drop(error.reason, str(error))
            return
        count = self._room.messages - messages
        self._console.exchanged(count)
        if connection.account is not None:
            connection.account.say(count, len(run), now)
            if self._window_guarded:
                connection.account.fill_window(self.log.end - end, now)

    def charge(self, connection: Connection, controls: int) -> None:
        """A client has sent so many control messages, and perhaps more; if it is too much, it is
        read later."""
        account = connection.account
        if account is not None and not connection.transport.finishing:
            now = self.reactor.clock()
            if controls:
                account.say(controls, 0, now)
            connection.hold(account.hold_seconds(now, window_guarded=self._window_guarded))

    @property
    def _window_guarded(self) -> bool:
        """Whether somebody may need what falls out of the window next: a lost member, or one that
        is behind, for so short a time that it may have lost its connection without our knowing."""
        return self._room.anybody_lost or self._somebody_behind

    def splice(self, connection: Connection, data: Splice, at: int) -> None:
        """Put something into one connection's stream, to be sent at the end of the turn."""
        cursor = connection.cursor
        cursor.splice(data, at)
        self._to_flush.add(connection)
        if cursor.splices > MAX_SPLICES:
            connection.drop(Reason.TOO_SLOW)

    def _deliver(self, unicasts: list[Unicast]) -> None:
        for unicast in unicasts:
            connection = self._members.get(unicast.member.id)
            if connection is None:
                continue
            try:
                cursor = connection.cursor
                if not cursor.following:
                    cursor.follow(unicast.at)
                sealed = partial(connection.session.seal, *unicast.controls)
                self.splice(connection, sealed, unicast.at)
            except Exception as fault:
                self.reactor.contain(connection, fault)

    def _before_wait(self) -> None:
        """Everything that happened in this turn leaves in as few sends as can be. Sending shows
        who is gone, of which the others are to hear at once, too."""
        while True:
            if not self._terminating:
                self._tick()
            self._fan_out()
            self._flush()
            if self.log.surplus and not self._terminating:
                self._trim()
            if self._sent_end == self.log.end:
                break
        self._set_room_timer()

    def _tick(self) -> None:
        now = self.reactor.clock()
        if now < self._no_tick_before:
            return
        try:
            for member in self._room.end_grace(now):
                self._console.show(phrases.left(member.name, Reason.LOST))
            self._deliver(self._room.tick(now))
        except Exception as fault:
            # What is due stays due: do not try it in every turn, and do not stop the talk for it.
            self._no_tick_before = now + FAULT_PAUSE_SECONDS
            self.reactor.contain(self, fault)

    def _fan_out(self) -> None:
        """Send what is new: one `send` each, and the same bytes, to all who have had everything
        before it. Whose socket is full goes on at its own pace when it can be written."""
        start, self._sent_end = self._sent_end, self.log.end
        if start == self._sent_end:
            return
        data = self.log.read(start, self._sent_end)
        size = len(data)
        behind, threshold = self._behind, self._sent_end - self.log.window_bytes * BEHIND
        self._behind, now = {}, self.reactor.clock()
        for connection in list(self._members.values()):
            try:
                transport = connection.transport
                cursor = connection.cursor
                if cursor.offset == start and cursor.at_log:
                    sent = transport.try_send(data)
                    if sent == size:
                        cursor.offset += size
                        continue
                    cursor.offset += sent or 0
                if not transport.writing:
                    transport.flush()
                if cursor.offset < threshold and cursor.following:
                    self._behind[connection] = behind.get(connection, now)
            except Exception as fault:
                self.reactor.contain(connection, fault)
        oldest = now - SILENCE_SECONDS
        self._somebody_behind = any(since >= oldest for since in self._behind.values())

    def _flush(self) -> None:
        while self._to_flush:
            connection = self._to_flush.pop()
            try:
                connection.transport.flush()
            except Exception as fault:
                self.reactor.contain(connection, fault)

    def _trim(self) -> None:
        start = self.log.start_after_trim()
        for connection in list(self._members.values()):
            cursor = connection.cursor
            if cursor.following and cursor.offset < start:
                self._drop(connection, Reason.TOO_SLOW)
        # What was appended since, of those who were cut off, is for the next time.
        self.log.trim(start)

    def _set_room_timer(self) -> None:
        deadline = self._room.deadline
        if deadline is not None:
            deadline = max(deadline, self._no_tick_before)
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
        try:
            self._room.close()
            self._before_wait()
        except Exception as fault:
            self.reactor.contain(self, fault)
        self._terminating = True
        self._stop_accepting()
        for connection in list(self._connections):
            self._drop(connection, Reason.CLOSING)
        if not self._connections:
            self.reactor.stop()

    def kick(self, name: str) -> bool:
        """Put somebody out; False if nobody has that name."""
        member = self._room.find(name)
        if member is None:
            return False
        connection = self._members.get(member.id)
        if connection is not None:
            self._drop(connection, Reason.KICKED)
        else:
            self._room.leave(member, Reason.KICKED)
            self._console.show(phrases.left(member.name, Reason.KICKED))
        return True

    def say(self, text: str) -> None:
        """Tell everybody something."""
        if not self._terminating:
            self._room.say(clip_text(text, MAX_TEXT_BYTES))


def _wake_up() -> None:
    pass
