"""The server: joins the reactor, the connections, the room and the console.

The room decides what happens to members, the doorman decides which connections get a place. The
server carries what the room decides to the connections, and what these say to the room.
"""

import contextlib
import os
import re
import socket
import time
from collections.abc import Sequence
from functools import partial

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
    NAMES_SAVE_SECONDS,
    PATIENT_PER_TURN,
    RATE,
    SILENCE_SECONDS,
    WINDOW_BYTES,
)
from chat.messages import Resume
from chat.reactor import Reactor, WakeUp
from chat.server import words
from chat.server.access import Access, KeptName
from chat.server.admission import Admission
from chat.server.budgets import Budgets
from chat.server.connection import Connection
from chat.server.console import Console
from chat.server.doorman import Doorman
from chat.server.lists import is_fingerprint
from chat.server.log import OrderedLog
from chat.server.room import Member, Room, Unicast, bytes_again
from chat.session import Established
from chat.text import fingerprint_of
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
        access: Access | None = None,
    ) -> None:
        """`pending`: connections that are not members yet, in all and of one source. `access`: who
        may come in; None: everybody, and no name is kept."""
        self.reactor = reactor
        self.access = access or Access()
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
        for member in self._room.members.values():
            self.access.used(member.name, member.fingerprint, time.time())
        self.access.save()

    # -- members come and go

    def admit(self, connection: Connection, client: Established) -> int:
        """A client in whose key is proved comes in: back to its place, or as a new member. Returns
        how many bytes it is sent a second time."""
        refusal = self.access.admit(client.name, client.public_key, time.time())
        if isinstance(refusal, KeptName) and self._room.find(client.name) is not None:
            # The room knows better who has it.
            refusal = None
        if refusal is not None:
            connection.drop(refusal.REASON, words.not_admitted(refusal))
            return 0
        if client.resume is not None:
            sent_again = self._resume(connection, client, client.resume)
            if sent_again is not None:
                return sent_again
        self._join(connection, client.name, client.public_key.digest)
        return 0

    def _note_name(self, member: Member) -> None:
        """A member has come, or goes: its key keeps the name from now on."""
        if self.access.used(member.name, member.fingerprint, time.time()):
            self.reactor.call_at(self.reactor.clock() + NAMES_SAVE_SECONDS, self._save_names)

    def _save_names(self) -> None:
        if not self.access.save():
            self.reactor.call_at(self.reactor.clock() + NAMES_SAVE_SECONDS, self._save_names)

    def _resume(self, connection: Connection, client: Established, request: Resume) -> int | None:
        """How many bytes are sent a second time; None if this client may not resume."""
        namesake = self._room.find(client.name)
        if namesake is None or namesake.id != request.member:
            return None
        resumed = self._room.resume(request, client.public_key.digest, self.reactor.clock())
        if resumed is None:
            return None
        member, unicasts = resumed
        self._take_over(member)
        self._enter(connection, member)
        sent_again = bytes_again(member, unicasts)
        self._deliver(unicasts)
        self._console.show(phrases.back(member.name))
        return sent_again

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

    def _who_has_it(self, namesake: Member) -> str:
        """Why a name is taken, and for how long."""
        grace = self._room.grace(namesake, self.reactor.clock())
        if grace is None:
            return words.in_use(time.time() - namesake.joined_at)
        return words.kept(namesake.name, *grace)

    def _enter(self, connection: Connection, member: Member) -> None:
        self._note_name(member)
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

    def _take_over(self, member: Member) -> None:
        """A member is here anew. Its old connection, which may be dead without our knowing, goes.
        The membership does not end with it: `_exit` comes first."""
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
        self._note_name(member)
        kept = reason in LOSSES and self._room.suspend(member, self.reactor.clock())
        if not kept:
            self._room.leave(member, Reason.LOST if reason in LOSSES else reason)
        self._exit(member)
        if kept:
            self._console.show(phrases.lost(member.name, text or REASONS[reason]))
        else:
            self._console.show(phrases.left(member.name, reason, text))

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
            for member in self._room.end_grace(now):
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
        """Who is in the room."""
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
        """Put somebody out; False if nobody has that name."""
        member = self._room.find(name)
        if member is None:
            return False
        self._put_out(member)
        return True

    def _put_out(self, member: Member, text: str = "") -> None:
        """`text` says more than that the operator wants it."""
        connection = self._members.get(member.id)
        if connection is not None:
            self.reactor.call(partial(connection.drop, Reason.KICKED, text))
        else:
            self._room.leave(member, Reason.KICKED)
            self._console.show(phrases.left(member.name, Reason.KICKED, text))

    def ban(self, argument: str) -> bool:
        """Let a key in no more, and put out who has it. The argument is a name or a fingerprint,
        and then the reason, if there is one. False if no such name is known."""
        found = self._key_and_rest(argument)
        if found is None:
            return False
        fingerprint, name, why = found
        ban = self.access.ban(fingerprint, name, why, time.time())
        self._console.show(words.ban_made(ban))
        for member in self.members():
            if fingerprint_of(member.fingerprint) == fingerprint:
                self._put_out(member, words.banned(ban))
        return True

    def _key_and_rest(self, argument: str) -> tuple[str, str, str] | None:
        """The fingerprint that is meant, the name, and the words after it. A name may have spaces,
        so the longest beginning that is one counts."""
        ends = [found.start() for found in re.finditer(r"\s+|$", argument)]
        for end in reversed(ends):
            name, rest = argument[:end], argument[end:].strip()
            member = self._room.find(name)
            if is_fingerprint(name):
                return name, "", rest
            if member is not None:
                return fingerprint_of(member.fingerprint), member.name, rest
            if (use := self.access.use_of(name)) is not None:
                return use.fingerprint, use.name, rest
        return None

    def say(self, text: str) -> None:
        """Tell everybody something."""
        if not self._terminating:
            self._room.say(clip_text(text, MAX_TEXT_BYTES))
