"""One room at the server, and the connections of its members.

The room decides what happens to members; here that is carried to their connections, and at the end
of a turn of the loop everything that is new is sent. Which rooms there are, and who gets a place at
all, is not known here.
"""

import os
import time
from collections.abc import Callable, Iterable
from functools import partial
from operator import itemgetter

from chat import phrases
from chat.controls import Resume
from chat.errors import LOSSES, REASONS, Reason, RefusedError
from chat.limits import BEHIND, MAX_TEXT_BYTES, SILENCE_SECONDS, WINDOW_BYTES
from chat.presence import Presence
from chat.reactor import Reactor, WakeUp
from chat.roomevents import Topic
from chat.server import words
from chat.server.connection import Connection
from chat.server.console import Console
from chat.server.log import OrderedLog
from chat.server.members import Member
from chat.server.oplog import Event
from chat.server.room import Room, Unicast, bytes_again
from chat.session import Established
from chat.text import fingerprint_of, fold_name
from chat.wire import clip_text


class HostedRoom:
    """A room, its log, and the connections to it.

    How it turns. Within a turn of the loop, callbacks only gather: what happens in the room is
    appended to the log, and what is for one member alone is spliced into its cursor. Only farewells
    leave at once, and what a full socket takes again. A room in which something has happened, or
    something is due, puts itself among the *busy* ones. At the end of the turn the server calls for
    each of these

    1. `gather`: memberships end whose grace is over, and joins and leaves that are due take effect.
       This appends, so it comes before what is appended is sent.
    2. `fan_out`: members that had everything before this turn are sent what is new, the same bytes
       in one `send` each. Members that are behind, or have a splice, send at their own pace.
    3. `trim`, when splices have left: if the log is larger than its window, members that are still
       before the new start are dropped, and then the log is trimmed. This comes after sending,
       which is what brings members forward.

    Each step may append again: a send that fails shows that a member is lost, and others are to
    hear of that. So the steps are repeated until nothing is new (`settled`). Whenever the loop
    waits, this invariant holds: *each cursor is at the end of the log and has no splice, or its
    transport waits for its socket*. Otherwise something would stay unsent until the loop wakes up
    by chance. While a long welcome waits to be sent (`Server`), the loop does not wait.

    `_members` are the connections whose `member` is set, by that member's id. The room has more
    members than these: those that are lost. `_sent_end` is how far the log has been sent to all
    that are up to date, and `_behind` since when the others have been far behind.
    """

    def __init__(
        self,
        reactor: Reactor,
        console: Console,
        grace_seconds: float,
        busy: "set[HostedRoom]",
        tag: bytes,
        note_name: Callable[[Member, bool], None],
        greeting: Callable[[], bytes],
    ) -> None:
        """`tag` is that of a sealed room, and empty for the open one. The room puts itself into
        `busy` when it is to be called at the end of the turn. `note_name` is told who has come and
        stays, and who goes. `greeting`: see `Room`."""
        self.tag = tag
        self.title = words.room_title(tag)
        self.log = OrderedLog(WINDOW_BYTES)
        self.room = Room(self.log, os.urandom, grace_seconds)
        self.room.greeting = greeting
        self.window_guarded = False
        self._reactor = reactor
        self._console = console
        self._busy = busy
        self._note_name = note_name
        self._members: dict[int, Connection] = {}
        self._sent_end = 0
        self._behind: dict[Connection, float] = {}
        self._somebody_behind = False
        self._wake_up = WakeUp(reactor, self._touch)
        self._no_tick_before = float("-inf")

    @property
    def is_empty(self) -> bool:
        """Whether nobody is in, and nobody's place is kept."""
        return self.room.is_empty and not self._members

    def _touch(self) -> None:
        """Something has happened here, or is due."""
        self._busy.add(self)

    def _show(self, *lines: str) -> None:
        self._console.news(*(f"{line}{self.title}" for line in lines))

    def _note(
        self, event: Event, member: Member, reason: Reason | None = None, text: str = ""
    ) -> None:
        self._console.log.note(
            event,
            address=member.address,
            tag=self.tag,
            fingerprint=fingerprint_of(member.fingerprint),
            reason=reason,
            name=member.name,
            text=text,
        )

    # -- members come and go

    def admit(self, connection: Connection, client: Established) -> int:
        """A client in whose key is proved comes in: back to its place, or as a new member. Returns
        how many bytes it is sent a second time.

        Raises:
            RefusedError: it may not come in.
        """
        self._touch()
        if client.resume is not None:
            sent_again = self._resume(connection, client, client.resume)
            if sent_again is not None:
                return sent_again
        self._join(connection, client)
        return 0

    def _resume(self, connection: Connection, client: Established, request: Resume) -> int | None:
        """How many bytes are sent a second time; None if this client may not resume."""
        name = client.identity.name
        if all(one.id != request.member for one in self.room.find(name)):
            return None
        before = self.room.presence(name)
        resumed = self.room.resume(request, client.public_key.digest, self._reactor.clock())
        if resumed is None:
            return None
        member, unicasts = resumed
        self._drop_old(member)
        self._enter(connection, member)
        sent_again = bytes_again(member, unicasts)
        self._deliver(unicasts)
        self._show_change(member, before)
        self._note(Event.BACK, member)
        return sent_again

    def _join(self, connection: Connection, client: Established) -> None:
        identity, fingerprint = client.identity, client.public_key.digest
        try:
            name = self.room.usable_name(identity.name)
            before = self.room.presence(name)
            member = self.room.join(name, fingerprint, time.time(), identity.card)
        except RefusedError as refusal:
            text = str(refusal)
            if refusal.reason is Reason.NAME_TAKEN:
                text = f"{text}: {self._who_has_it(identity.name)}"
            raise RefusedError(refusal.reason, text) from refusal
        self._enter(connection, member)
        self._show_change(member, before)
        self._note(Event.JOINED, member)

    def _who_has_it(self, name: str) -> str:
        """Why a name is taken, and for how long."""
        now, namesakes = self._reactor.clock(), self.room.find(name)
        graces = [self.room.grace(one, now) for one in namesakes]
        lost = [grace for grace in graces if grace is not None]
        if len(lost) < len(graces):
            return words.in_use(time.time() - min(one.joined_at for one in namesakes))
        return words.kept(namesakes[0].name, *max(lost, key=itemgetter(1)))

    def _enter(self, connection: Connection, member: Member) -> None:
        self._note_name(member, True)
        connection.home = self
        connection.member = member
        member.source, member.address = connection.source, connection.address
        self._members[member.id] = connection

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
            self._reactor.call(partial(old.drop, Reason.REPLACED))

    def lose(self, member: Member, reason: Reason, text: str) -> None:
        """A member's connection is dropped. The room keeps the member's place for a while if it was
        lost (LOSSES), and otherwise the membership ends."""
        self._touch()
        self._note_name(member, False)
        before = self.room.presence(member.name)
        kept = reason in LOSSES and self.room.suspend(member, self._reactor.clock())
        if not kept:
            self.room.leave(member, Reason.LOST if reason in LOSSES else reason)
        self._exit(member)
        self._show_change(member, before, reason, text)
        put_out = Event.KICKED if reason is Reason.KICKED else Event.LEFT
        self._note(Event.LOST if kept else put_out, member, reason, text)

    def _show_change(
        self, member: Member, before: Presence, reason: Reason = Reason.LOST, text: str = ""
    ) -> None:
        """Show what has become of a person, if anything has: how it was here `before` one of its
        connections came or went, and why that went."""
        name = member.name
        match before, self.room.presence(name):
            case Presence.GONE, Presence.HERE:
                self._show(*words.joined(name, heard_by=len(self._members) - 1))
            case Presence.LOST, Presence.HERE:
                self._show(phrases.back(name))
            case Presence.HERE, Presence.LOST:
                self._show(phrases.lost(name, text or REASONS[reason] if reason in LOSSES else ""))
            case Presence.HERE | Presence.LOST, Presence.GONE:
                self._show(phrases.left(name, reason, text))

    def abandon(self, member: Member, connection: Connection) -> None:
        """What is left of a member whose connection could not be lost in order."""
        if self._members.get(member.id) is connection:
            del self._members[member.id]

    # -- what is said

    def relay(self, member: Member, run: bytes, now: float) -> int:
        """Append a run of MESSAGE frames to the log. Returns how many frames were appended.

        Raises:
            ProtocolError: the client may not send one of these. Those before it were appended.
        """
        self._touch()
        before = self.room.messages
        try:
            self._deliver(self.room.submit(member, run, now))
        finally:
            count = self.room.messages - before
            self._console.exchanged(count)
        return count

    def check(self) -> bytes:
        """The control message that tells the running hash at the end of the log."""
        return self.room.check()

    def _deliver(self, unicasts: list[Unicast]) -> None:
        for unicast in unicasts:
            connection = self._members.get(unicast.member.id)
            if connection is not None:
                self._reactor.call(partial(connection.deliver, unicast))

    # -- the end of a turn

    def gather(self) -> None:
        """See step 1 of the class."""
        now = self._reactor.clock()
        if now < self._no_tick_before:
            return
        try:
            ended = self.room.end_grace(now)
            for member in ended:
                self._note(Event.LEFT, member, Reason.LOST)
            staying = {fold_name(one.name): one for one in ended if one.stays}
            for name, member in staying.items():
                if self.room.presence(name) is Presence.GONE:
                    self._show(phrases.left(member.name, Reason.LOST))
            self._deliver(self.room.tick(now))
        except Exception as fault:
            # What is due stays due. Do not try it in every turn, and do not stop the talk for it.
            self._no_tick_before = now + self._reactor.contain(self, fault)

    def fan_out(self) -> None:
        """See step 2 of the class."""
        start, self._sent_end = self._sent_end, self.log.end
        end = self._sent_end
        if start == end:
            return
        data = self.log.read(start, end)
        size = len(data)
        behind, threshold = self._behind, end - self.log.window_bytes * BEHIND
        self._behind, now = {}, self._reactor.clock()
        for connection in list(self._members.values()):
            try:
                transport = connection.transport
                cursor = connection.cursor
                if cursor.is_at(start):
                    sent = transport.try_send(data)
                    if sent == size:
                        # The same number object for all, and not one for each.
                        cursor.offset = end
                        continue
                    cursor.offset += sent or 0
                if not transport.writing and not connection.welcome_waits:
                    transport.flush()
                if cursor.offset < threshold and cursor.following:
                    self._behind[connection] = behind.get(connection, now)
            except Exception as fault:
                self._reactor.contain(connection, fault)
        oldest = now - SILENCE_SECONDS
        self._somebody_behind = any(since >= oldest for since in self._behind.values())

    def trim(self) -> None:
        """See step 3 of the class."""
        if not self.log.surplus:
            return
        start = self.log.start_after_trim()
        for connection in list(self._members.values()):
            cursor = connection.cursor
            if cursor.following and cursor.offset < start:
                self._reactor.call(partial(connection.drop, Reason.TOO_SLOW))
        # Dropping members appended LOST events. They make the log too large again, perhaps, which
        # is for the next pass.
        self.log.trim(start)

    @property
    def settled(self) -> bool:
        """Whether nothing was appended since `fan_out`."""
        return self._sent_end == self.log.end

    def prepare_wait(self) -> None:
        """Say when to wake up, and whether what falls out of the log's window in the next turn may
        still be needed: by a member that is lost, or by one that is behind, but not for so long
        that it must be alive. A connection may be dead for SILENCE_SECONDS before that is known."""
        deadline = self.room.deadline
        self.window_guarded = self.room.anybody_lost or self._somebody_behind
        if deadline is not None:
            deadline = max(deadline, self._no_tick_before)
        self._wake_up.set(deadline)

    # -- what the operator can do

    def members(self) -> list[Member]:
        """Who is in, by each connection."""
        return list(self.room.members.values())

    def has(self, name: str) -> bool:
        """Whether somebody of this name is in, or is about to be."""
        return bool(self.room.find(name))

    def kick(self, name: str) -> None:
        """Put somebody out who is in, by all connections."""
        self._put_out(self.room.find(name))

    def ban(self, fingerprint: str, text: str) -> None:
        """Put out whoever has this key. `text` says more than that the operator wants it."""
        self._put_out(self.room.of_key(fingerprint), text)

    def _put_out(self, members: Iterable[Member], text: str = "") -> None:
        self._touch()
        # Whoever has a connection goes last: so nobody seems to be lost in between.
        for member in sorted(members, key=lambda one: not one.lost):
            connection = self._members.get(member.id)
            if connection is not None:
                self._reactor.call(partial(connection.drop, Reason.KICKED, text))
            else:
                before = self.room.presence(member.name)
                self.room.leave(member, Reason.KICKED)
                self._show_change(member, before, Reason.KICKED, text)
                self._note(Event.KICKED, member, Reason.KICKED, text)

    def say(self, text: str) -> None:
        """Tell everybody here something."""
        self._touch()
        self.room.say(clip_text(text, MAX_TEXT_BYTES))

    def set_topic(self, topic: Topic) -> None:
        """Tell everybody here the topic."""
        self._touch()
        self.room.set_topic(topic)

    def close(self) -> None:
        """Tell everybody here that the room ends."""
        self.room.close()

    def end(self) -> None:
        """Nobody is here any more, and nothing is due."""
        self._wake_up.set(None)
