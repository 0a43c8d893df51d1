"""The server: joins the reactor, the connections, the room and the console.

The room decides what happens to members, the doorman decides which connections get a place. The
server carries what the room decides to the connections, and what these say to the room.
"""

import contextlib
import os
import socket
import time
from collections.abc import Sequence
from functools import partial
from operator import itemgetter

from chat import phrases
from chat.errors import LOSSES, REASONS, ProtocolError, Reason, RefusedError
from chat.kex import PrivateKey
from chat.limits import (
    BEHIND,
    FAULT_PAUSE_SECONDS,
    GRACE_SECONDS,
    MAX_PENDING,
    MAX_PENDING_PER_SOURCE,
    MAX_TEXT_BYTES,
    PATIENT_PER_TURN,
    RATE,
    SILENCE_SECONDS,
    WINDOW_BYTES,
)
from chat.messages import Resume
from chat.presence import Presence
from chat.reactor import Reactor, WakeUp
from chat.server import words
from chat.server.admission import Admission
from chat.server.budgets import Budgets
from chat.server.connection import Connection
from chat.server.console import Console
from chat.server.doorman import Doorman
from chat.server.log import OrderedLog
from chat.server.room import Member, Room, Unicast, bytes_again
from chat.session import Established
from chat.text import fold_name
from chat.transport import Transport
from chat.wire import clip_text


class Server:
    """One room and all connections to it. `run` returns when the server has been terminated.

    How it turns. Within a turn of the loop, callbacks only gather: what happens in the room is
    appended to the log, and what is for one member alone is spliced into its cursor. Only farewells
    leave at once, and what a full socket takes again. At the end of the turn the hook
    `_before_wait` does the following, in this order:

    1. `_tick`: memberships end whose grace is over, and joins and leaves that are due take effect.
       This appends, so it comes before what is appended is sent.
    2. `_fan_out`: members that had everything before this turn are sent what is new, the same bytes
       in one `send` each. Members that are behind, or have a splice, send at their own pace.
    3. `_flush`: what was spliced leaves, unless 2 has sent it already.
    4. `_trim`: if the log is larger than its window, members that are still before the new start
       are dropped, and then the log is trimmed. This comes after sending, which is what brings
       members forward.

    Each step may append again: a send that fails shows that a member is lost, and others are to
    hear of that. So the steps are repeated until nothing is new. Whenever the loop waits, this
    invariant holds: *each cursor is at the end of the log and has no splice, or its transport waits
    for its socket*. Otherwise something would stay unsent until the loop wakes up by chance.

    What belongs together: `connections` are all that have a socket. `_members` are those of them
    whose `member` is set, by that member's id, and none of them is a guest of the doorman. The room
    has more members than these: those that are lost. `_sent_end` is how far the log has been sent
    to all that are up to date, and `_behind` since when the others have been far behind.
    """

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
        self.budgets = Budgets(rate, grace_seconds, self.log.window_bytes) if rate else None
        self.connections: set[Connection] = set()
        self.to_flush: set[Connection] = set()
        self.window_guarded = False
        self._room = Room(self.log, os.urandom, grace_seconds)
        self._console = console
        admission: Admission[Connection] = Admission(pending, pending_per_source)
        self.doorman = Doorman(self, self.connections, listeners, key, console, admission)
        self._members: dict[int, Connection] = {}
        self._sent_end = 0
        self._behind: dict[Connection, float] = {}
        self._somebody_behind = False
        self._wake_up = WakeUp(reactor)
        self._no_tick_before = float("-inf")
        self._terminating = False
        reactor.patient_per_turn = PATIENT_PER_TURN
        reactor.before_wait(self._before_wait)

    def run(self) -> None:
        """Serve until terminated."""
        self.doorman.open()
        self.reactor.run()
        for listener in self.doorman.listeners:
            listener.close()

    # -- members come and go

    def admit(self, connection: Connection, client: Established) -> int:
        """A client in whose key is proved comes in: back to its place, or as a new member. Returns
        how many bytes it is sent a second time."""
        if client.resume is not None:
            sent_again = self._resume(connection, client, client.resume)
            if sent_again is not None:
                return sent_again
        self._join(connection, client)
        return 0

    def _resume(self, connection: Connection, client: Established, request: Resume) -> int | None:
        """How many bytes are sent a second time; None if this client may not resume."""
        name = client.identity.name
        if all(one.id != request.member for one in self._room.find(name)):
            return None
        before = self._room.presence(name)
        resumed = self._room.resume(request, client.public_key.digest, self.reactor.clock())
        if resumed is None:
            return None
        member, unicasts = resumed
        self._drop_old(member)
        self._enter(connection, member)
        sent_again = bytes_again(member, unicasts)
        self._deliver(unicasts)
        self._show_change(member, before)
        return sent_again

    def _join(self, connection: Connection, client: Established) -> None:
        identity, fingerprint = client.identity, client.public_key.digest
        try:
            name = self._room.usable_name(identity.name)
            before = self._room.presence(name)
            member = self._room.join(name, fingerprint, time.time(), identity.card)
        except RefusedError as refusal:
            text = str(refusal)
            if refusal.reason is Reason.NAME_TAKEN:
                text = f"{text}: {self._who_has_it(identity.name)}"
            connection.drop(refusal.reason, text)
            return
        self._enter(connection, member)
        self._show_change(member, before)

    def _who_has_it(self, name: str) -> str:
        """Why a name is taken, and for how long."""
        now, namesakes = self.reactor.clock(), self._room.find(name)
        graces = [self._room.grace(one, now) for one in namesakes]
        lost = [grace for grace in graces if grace is not None]
        if len(lost) < len(graces):
            return words.in_use(time.time() - min(one.joined_at for one in namesakes))
        return words.kept(namesakes[0].name, *max(lost, key=itemgetter(1)))

    def _enter(self, connection: Connection, member: Member) -> None:
        connection.member = member
        member.source = connection.source
        self._members[member.id] = connection
        self.doorman.forget(connection)

    def _exit(self, member: Member) -> Connection | None:
        """The member's connection, if it has one, is no member's any more."""
        connection = self._members.pop(member.id, None)
        if connection is not None:
            connection.member = None
            member.sent = max(member.sent, connection.cursor.offset)
        return connection

    def _drop_old(self, member: Member) -> None:
        """A member is back. Its old connection, which may be dead without our knowing, goes. The
        membership does not end with it: `_exit` comes first."""
        old = self._exit(member)
        if old is not None:
            self.reactor.call(partial(old.drop, Reason.REPLACED))

    def connection_lost(self, connection: Connection, reason: Reason, text: str) -> None:
        """A connection is dropped (`Connection.drop`, the first step). The room keeps the member's
        place for a while if it was lost (LOSSES), and otherwise the membership ends."""
        member = connection.member
        if self._terminating or reason is Reason.REPLACED:
            return
        if member is None:
            self.doorman.turn_away(connection, reason, text)
            return
        before = self._room.presence(member.name)
        kept = reason in LOSSES and self._room.suspend(member, self.reactor.clock())
        if not kept:
            self._room.leave(member, Reason.LOST if reason in LOSSES else reason)
        self._exit(member)
        self._show_change(member, before, reason, text)

    def _show_change(
        self, member: Member, before: Presence, reason: Reason = Reason.LOST, text: str = ""
    ) -> None:
        """Show what has become of a person, if anything has: how it was here `before` one of its
        connections came or went, and why that went."""
        name, show = member.name, self._console.show
        match before, self._room.presence(name):
            case Presence.GONE, Presence.HERE:
                show(*words.joined(name, heard_by=len(self._members) - 1))
            case Presence.LOST, Presence.HERE:
                show(phrases.back(name))
            case Presence.HERE, Presence.LOST:
                show(phrases.lost(name, text or REASONS[reason] if reason in LOSSES else ""))
            case Presence.HERE | Presence.LOST, Presence.GONE:
                show(phrases.left(name, reason, text))

    def connection_closed(self, connection: Connection) -> None:
        """A connection's socket is closed (`Connection.drop`, the last step)."""
        self.connections.discard(connection)
        self.to_flush.discard(connection)
        self.doorman.forget(connection)
        self.doorman.end_pause()
        if self._terminating and not self.connections:
            self.reactor.stop()

    def check(self) -> bytes:
        return self._room.check()

    # -- what is said

    def relay(self, connection: Connection, run: bytes, now: float) -> int:
        """Append a run of MESSAGE frames to the log. Returns how many frames were appended.

        Raises:
            ProtocolError: the client may not send one of these. Those before it were appended.
        """
        if connection.member is None:
            raise ProtocolError("a message before the welcome")
        before = self._room.messages
        try:
            self._deliver(self._room.submit(connection.member, run, now))
        finally:
            count = self._room.messages - before
            self._console.exchanged(count)
        return count

    def _deliver(self, unicasts: list[Unicast]) -> None:
        for unicast in unicasts:
            connection = self._members.get(unicast.member.id)
            if connection is not None:
                self.reactor.call(partial(connection.deliver, unicast))

    # -- the end of a turn

    def _before_wait(self) -> None:
        if self._terminating:
            return
        while True:
            self._tick()
            self._fan_out()
            self._flush()
            if self.log.surplus:
                self._trim()
            if self._sent_end == self.log.end:
                break
        self._prepare_wait()

    def _tick(self) -> None:
        now = self.reactor.clock()
        if now < self._no_tick_before:
            return
        try:
            ended = [one for one in self._room.end_grace(now) if one.stays]
            for name, member in {fold_name(one.name): one for one in ended}.items():
                if self._room.presence(name) is Presence.GONE:
                    self._console.show(phrases.left(member.name, Reason.LOST))
            self._deliver(self._room.tick(now))
        except Exception as fault:
            # What is due stays due. Do not try it in every turn, and do not stop the talk for it.
            self._no_tick_before = now + self.reactor.contain(self, fault)

    def _fan_out(self) -> None:
        start, self._sent_end = self._sent_end, self.log.end
        end = self._sent_end
        if start == end:
            return
        data = self.log.read(start, end)
        size = len(data)
        behind, threshold = self._behind, end - self.log.window_bytes * BEHIND
        self._behind, now = {}, self.reactor.clock()
        for connection in list(self._members.values()):
            try:
                transport = connection.transport
                cursor = connection.cursor
                if cursor.offset == start and cursor.at_log:
                    sent = transport.try_send(data)
                    if sent == size:
                        # The same number object for all, and not one for each.
                        cursor.offset = end
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
        while self.to_flush:
            self.reactor.call(self.to_flush.pop().transport.flush)

    def _trim(self) -> None:
        start = self.log.start_after_trim()
        for connection in list(self._members.values()):
            cursor = connection.cursor
            if cursor.following and cursor.offset < start:
                self.reactor.call(partial(connection.drop, Reason.TOO_SLOW))
        # Dropping members appended LOST events. They make the log too large again, perhaps, which
        # is for the next pass.
        self.log.trim(start)

    def _prepare_wait(self) -> None:
        """Say when to wake up, and whether what falls out of the log's window in the next turn may
        still be needed: by a member that is lost, or by one that is behind, but not for so long
        that it must be alive. A connection may be dead for SILENCE_SECONDS before that is known."""
        deadline = self._room.deadline
        self.window_guarded = self._room.anybody_lost or self._somebody_behind
        if deadline is not None:
            deadline = max(deadline, self._no_tick_before)
        self._wake_up.set(deadline)

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
        """Drop a connection whose own `drop` may be what fails. Its first and its last steps are
        done, each whether or not another one fails; there is no farewell."""
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
        self.connections.discard(connection)
        self.to_flush.discard(connection)

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
        """Who is in the room, by each connection."""
        return list(self._room.members.values())

    def terminate(self) -> None:
        """Tell everybody, send what is queued, and stop. The second time: stop at once.

        CLOSING is the last event of the log. Then every connection is dropped without being cut
        (`Connection.drop`), so each transport sends the rest of the log, up to CLOSING, and the
        farewell. From here on the room does not change any more: no membership ends with its
        connection, and nothing is left for `_before_wait` to do. In particular the log must not be
        trimmed, since slow members are still reading it. When the last connection is closed, the
        reactor stops.
        """
        if self._terminating or not self.connections:
            self.reactor.stop()
            return
        self._terminating = True
        self.doorman.close()
        self.reactor.call(self._room.close)
        for connection in list(self.connections):
            self.reactor.call(partial(connection.drop, Reason.CLOSING))

    def kick(self, name: str) -> bool:
        """Put somebody out, by all connections; False if nobody has that name."""
        members = self._room.find(name)
        # Whoever has a connection goes last: so nobody seems to be lost in between.
        for member in sorted(members, key=lambda one: not one.lost):
            connection = self._members.get(member.id)
            if connection is not None:
                self.reactor.call(partial(connection.drop, Reason.KICKED))
            else:
                before = self._room.presence(name)
                self._room.leave(member, Reason.KICKED)
                self._show_change(member, before, Reason.KICKED)
        return bool(members)

    def say(self, text: str) -> None:
        """Tell everybody something."""
        if not self._terminating:
            self._room.say(clip_text(text, MAX_TEXT_BYTES))
