"""One room at the server, and the connections of its members.

The room decides what happens to members; here that is carried to their connections, and at the end
of a turn of the loop everything that is new is sent. Which rooms there are, and who gets a place at
all, is not known here.
"""

import os
import time
from collections.abc import Callable
from functools import partial
from operator import itemgetter

from chat import phrases
from chat.cipher import RandomBytes
from chat.errors import LOSSES, REASONS, ProtocolError, Reason, RefusedError
from chat.limits import BEHIND, MAX_TEXT_BYTES, SILENCE_SECONDS, WINDOW_BYTES
from chat.presence import Presence
from chat.reactor import Reactor, WakeUp
from chat.roomevents import Topic
from chat.server import words
from chat.server.connection import Connection
from chat.server.console import Console
from chat.server.log import Front, OrderedLog
from chat.server.members import Member
from chat.server.oplog import Event
from chat.server.ordering import Arrival, Ordering
from chat.server.room import Room, Unicast, bytes_again
from chat.server.state import State
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
    2. `fan_out`: members that had everything before this turn, and so are at the front, are sent
       what is new, the same bytes in one `send` each. Members that are behind, or have a splice,
       send at their own pace, and join the front when they have caught up.
    3. `trim`, when splices have left: if the log is larger than its window, members that are still
       before the new start are dropped, and then the log is trimmed. This comes after sending,
       which is what brings members forward.

    Each step may append again: a send that fails shows that a member is lost, and others are to
    hear of that. So the steps are repeated until nothing is new (`settled`). Whenever the loop
    waits, this invariant holds: *each cursor is at the end of the log and has no splice, or its
    transport waits for its socket*. Otherwise something would stay unsent until the loop wakes up
    by chance. While a long welcome waits to be sent (`Server`), the loop does not wait.

    `_members` are the connections whose `member` is set, by that member's id. The room has more
    members than these: those that are lost. `_front` is how far the log has been sent to all that
    are up to date, and `_behind` since when others have been far behind.

    `ordering` decides in which order things happen here. `clock` is the room's, and `ahead` says by
    how many seconds it is ahead of the reactor's. While `is_past`, what happens was over before
    this server carried the room, so it is no news for the operator and is not noted. `spare` says
    by which part of its window the log may be longer than that, before it is trimmed. Where several
    servers carry the room, `OrderedRoom` sets all five.
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
        random_bytes: RandomBytes | None = None,
    ) -> None:
        """`tag` is that of a sealed room, and empty for the open one. The room puts itself into
        `busy` when it is to be called at the end of the turn. `note_name` is told who has come and
        stays, and who goes. `greeting`: see `Room`. `random_bytes`: None for those of
        the system."""
        self.tag = tag
        self.ordering: Ordering = self
        self.title = words.room_title(tag)
        self.clock = reactor.clock
        self.ahead = 0.0
        self.is_past = False
        self.spare = 0.0
        self._reactor = reactor
        self._console = console
        self._busy = busy
        self._note_name = note_name
        self.grace_seconds = grace_seconds
        self._greeting = greeting
        self._random_bytes = random_bytes or os.urandom
        self._members: dict[int, Connection] = {}
        self._behind: dict[Connection, float] = {}
        self._wake_up = WakeUp(reactor, self.touch)
        self._no_tick_before = float("-inf")
        self._ended_messages = self._ended_bytes = 0
        """In rooms that were here before this one."""
        self.begin()

    def begin(self) -> None:
        """The room begins, with an empty log. No connection may be here."""
        assert not self._members
        self.log = OrderedLog(WINDOW_BYTES)
        self._carry(Room(self.log, self._random_bytes, self.grace_seconds))

    def begin_anew(self) -> None:
        """The same, in the place of the room that was here."""
        self._ended_messages, self._ended_bytes = self.relayed, self.relayed_bytes
        self.begin()

    @property
    def relayed(self) -> int:
        """Messages relayed here so far."""
        return self._ended_messages + self.room.messages

    @property
    def relayed_bytes(self) -> int:
        """Bytes of the log so far."""
        return self._ended_bytes + self.log.end

    def keep_places_for(self, seconds: float) -> None:
        """From now on the place of who is lost is kept for so long."""
        self.grace_seconds = self.room.grace_seconds = seconds

    def state(self) -> tuple[State, State, bytes]:
        """The room and its log, for `restore` at another server."""
        log, window = self.log.state()
        return self.room.state(), log, window

    def restore(self, room: State, log: State, window: bytes) -> None:
        """Go on with a room of which this is the `state`. No connection may be here."""
        assert not self._members
        self.log = OrderedLog.restored(log, window, WINDOW_BYTES)
        self._carry(Room.restored(room, self.log, self._random_bytes, self.grace_seconds))

    def _carry(self, room: Room) -> None:
        self.room = room
        self.room.greeting = self._greeting
        self._front = Front(self.log.end)

    # -- as its own ordering

    @property
    def is_over(self) -> bool:
        """Whether nobody is in, and nobody's place is kept."""
        return self.room.is_empty and not self._members

    @property
    def deadline(self) -> float | None:
        """When something is due, by the clock of the room."""
        return self.room.deadline

    def touch(self) -> None:
        """Something has happened here, or is due: take the steps at the end of the turn."""
        self._busy.add(self)

    def _show(self, *lines: str) -> None:
        if not self.is_past:
            self._console.news(*(f"{line}{self.title}" for line in lines))

    def _note(
        self, event: Event, member: Member, reason: Reason | None = None, text: str = ""
    ) -> None:
        if self.is_past:
            return
        self._console.log.note(
            event,
            address=member.address,
            tag=self.tag,
            fingerprint=fingerprint_of(member.fingerprint),
            reason=reason,
            name=member.name,
            text=text,
        )

    def _note_use(self, member: Member, *, stays: bool) -> None:
        # What is past is past for names as well: an operator may have freed them since.
        if not self.is_past:
            self._note_name(member, stays)

    # -- members come and go

    def admit(self, arrival: Arrival, connection: Connection | None) -> Member | None:
        """Somebody comes in: back to its place, or as a new member. Returns the member; None if it
        may not, and then its connection is dropped."""
        self.touch()
        try:
            resumed = self._resume(arrival, connection)
            member, sent_again = resumed or self._join(arrival, connection)
        except RefusedError as refusal:
            if connection is not None:
                connection.drop(refusal.reason, str(refusal))
            return None
        if connection is not None:
            connection.admitted(sent_again)
        return member

    def _resume(self, arrival: Arrival, connection: Connection | None) -> tuple[Member, int] | None:
        """The member, and how many bytes it is sent a second time; None if it has no place to come
        back to."""
        request, name = arrival.resume, arrival.name
        if request is None or all(one.id != request.member for one in self.room.find(name)):
            return None
        before = self.room.presence(name)
        resumed = self.room.resume(request, arrival.fingerprint, self.clock())
        if resumed is None:
            return None
        member, unicasts = resumed
        self._drop_old(member, elsewhere=connection is None)
        self._enter(arrival, connection, member)
        sent_again = bytes_again(member, unicasts)
        self._deliver(unicasts)
        self._show_change(member, before)
        self._note(Event.BACK, member)
        return member, sent_again

    def _join(self, arrival: Arrival, connection: Connection | None) -> tuple[Member, int]:
        try:
            name = self.room.usable_name(arrival.name)
            before = self.room.presence(name)
            member = self.room.join(name, arrival.fingerprint, arrival.joined_at, arrival.card)
        except RefusedError as refusal:
            text = str(refusal)
            if refusal.reason is Reason.NAME_TAKEN:
                text = f"{text}: {self._who_has_it(arrival.name)}"
            raise RefusedError(refusal.reason, text) from refusal
        self._enter(arrival, connection, member)
        self._show_change(member, before)
        self._note(Event.JOINED, member)
        return member, 0

    def _who_has_it(self, name: str) -> str:
        """Why a name is taken, and for how long."""
        now, namesakes = self.clock(), self.room.find(name)
        graces = [self.room.grace(one, now) for one in namesakes]
        lost = [grace for grace in graces if grace is not None]
        if len(lost) < len(graces):
            return words.in_use(time.time() - min(one.joined_at for one in namesakes))
        return words.kept(namesakes[0].name, *max(lost, key=itemgetter(1)))

    def _enter(self, arrival: Arrival, connection: Connection | None, member: Member) -> None:
        self._note_use(member, stays=True)
        member.source, member.address = arrival.source, arrival.address
        if connection is not None:
            connection.home = self
            connection.member = member
            self._members[member.id] = connection

    def _exit(self, member: Member) -> Connection | None:
        """The member's connection, if it has one, is no member's any more."""
        connection = self._members.pop(member.id, None)
        if connection is not None:
            connection.member = None
            connection.cursor.leave_front()
            member.sent = max(member.sent, connection.cursor.offset)
        return connection

    @property
    def connections(self) -> list[Connection]:
        """Those of the members that are connected to this server."""
        return list(self._members.values())

    def connection_of(self, member: Member) -> Connection | None:
        """This member's, if it is connected to this server."""
        return self._members.get(member.id)

    def disconnect(self, member: Member) -> None:
        """Send this member nothing more. What that means for its stay is said later."""
        self._exit(member)

    def _drop_old(self, member: Member, *, elsewhere: bool) -> None:
        """A member is back. Its old connection, which may be dead without our knowing, goes. The
        membership does not end with it: `_exit` comes first.

        If the member has come back `elsewhere`, where it asked may be known late, and the one here
        may be the newer one. Then it is to come back once more."""
        old = self._exit(member)
        if old is not None:
            reason = Reason.LOST if elsewhere else Reason.REPLACED
            self._reactor.call(partial(old.drop, reason))

    def connection_lost(self, member: Member, reason: Reason, text: str) -> None:
        """A member's connection is dropped: have that put in order."""
        self.ordering.lose(member, reason, text)

    def lose(self, member: Member, reason: Reason, text: str) -> None:
        """A member's connection is dropped. The room keeps the member's place for a while if it was
        lost (LOSSES), and otherwise the membership ends."""
        self.touch()
        self._note_use(member, stays=False)
        before = self.room.presence(member.name)
        kept = reason in LOSSES and self.room.suspend(member, self.clock())
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
        connection.cursor.leave_front()
        if self._members.get(member.id) is connection:
            del self._members[member.id]

    # -- what is said

    def submit(self, member: Member, run: bytes, now: float, connection: Connection) -> None:
        """A member says this: have it put in order."""
        self.ordering.relay(member, run, now, connection)

    def relay(self, member: Member, run: bytes, now: float, connection: Connection | None) -> None:
        """Append a run of MESSAGE frames to the log. If the member may not send one of these, those
        before it are appended, and its connection is dropped."""
        self.touch()
        messages, end = self.room.messages, self.log.end
        try:
            self._deliver(self.room.submit(member, run, now))
        except ProtocolError as error:
            if connection is not None:
                connection.drop(error.reason, str(error))
                connection = None
        finally:
            count = self.room.messages - messages
            if not self.is_past:
                self._console.exchanged(count)
        if connection is not None:
            connection.relayed(len(run), count, self.log.end - end)

    def check(self) -> bytes:
        """The control message that tells the running hash at the end of the log."""
        return self.room.check()

    def _deliver(self, unicasts: list[Unicast]) -> None:
        for unicast in unicasts:
            connection = self._members.get(unicast.member.id)
            if connection is None:
                self.room.tell_no_more(unicast.member)
            else:
                self._reactor.call(partial(connection.deliver, unicast))

    # -- the end of a turn

    def gather(self) -> None:
        """See step 1 of the class."""
        now = self.clock()
        if now < self._no_tick_before:
            return
        try:
            self.ordering.pass_time(now)
            self._deliver(self.room.tell_hash(now))
        except Exception as fault:
            # What is due stays due. Do not try it in every turn, and do not stop the talk for it.
            self._no_tick_before = now + self._reactor.contain(self, fault)

    def pass_time(self, now: float) -> None:
        """Let take effect what is due."""
        ended = self.room.end_grace(now)
        for member in ended:
            self._note(Event.LEFT, member, Reason.LOST)
        staying = {fold_name(one.name): one for one in ended if one.stays}
        for name, member in staying.items():
            if self.room.presence(name) is Presence.GONE:
                self._show(phrases.left(member.name, Reason.LOST))
        self._deliver(self.room.tick(now))

    def fan_out(self) -> None:
        """See step 2 of the class."""
        front, start, end = self._front, self._front.offset, self.log.end
        if start == end:
            return
        faults = front.advance(self.log.read(start, end), end)
        behind, threshold = self._behind, end - self.log.window_bytes * BEHIND
        self._behind, now = {}, self._reactor.clock()
        for connection in self._not_at_front():
            try:
                transport, cursor = connection.transport, connection.cursor
                if cursor in faults:
                    raise faults[cursor]
                if not transport.writing and not connection.welcome_waits:
                    transport.flush()
                if cursor.is_at(end):
                    cursor.join_front(front, transport.send)
                elif cursor.offset < threshold and cursor.following:
                    self._behind[connection] = behind.get(connection, now)
            except Exception as fault:
                self._reactor.contain(connection, fault)

    @property
    def window_guarded(self) -> bool:
        """Whether what falls out of the log's window next may still be needed: by a member that is
        lost, or by one that is behind, but not for so long that it must be alive. A connection may
        be dead for SILENCE_SECONDS before that is known."""
        return self.room.anybody_lost or (bool(self._behind) and self._is_anybody_behind())

    def _is_anybody_behind(self) -> bool:
        """Whether one of those is still behind who were when the log moved last. They catch up by
        themselves; if they were not looked at again, all would be held, and the log stand still."""
        threshold = self.log.end - self.log.window_bytes * BEHIND
        self._behind = {
            connection: since
            for connection, since in self._behind.items()
            if connection.cursor.following and connection.cursor.offset < threshold
        }
        oldest = self._reactor.clock() - SILENCE_SECONDS
        return any(since >= oldest for since in self._behind.values())

    def _not_at_front(self) -> list[Connection]:
        """The members that are behind, or have something else to send, or are not welcomed yet."""
        if len(self._front.sends) == len(self._members):
            return []
        return [one for one in self._members.values() if not one.cursor.at_front]

    @property
    def must_trim(self) -> bool:
        """Whether `trim` has something to do."""
        return self.log.surplus > self.log.window_bytes * self.spare

    def trim(self) -> None:
        """See step 3 of the class."""
        if not self.must_trim:
            return
        start = self.log.start_after_trim()
        for connection in self._not_at_front():
            cursor = connection.cursor
            if cursor.following and cursor.offset < start:
                self._reactor.call(partial(connection.drop, Reason.TOO_SLOW))
        # Dropping members appended LOST events. They make the log too large again, perhaps, which
        # is for the next pass.
        self.log.trim(start)

    @property
    def settled(self) -> bool:
        """Whether nothing was appended since `fan_out`."""
        return self._front.offset == self.log.end

    def prepare_wait(self) -> None:
        """Say when to wake up."""
        deadline = self.ordering.deadline
        if deadline is not None:
            deadline = max(deadline, self._no_tick_before) - self.ahead
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
        self.ordering.put_out(list(self.room.find(name)), "")

    def ban(self, fingerprint: str, text: str) -> None:
        """Put out whoever has this key. `text` says more than that the operator wants it."""
        self.ordering.put_out(self.room.of_key(fingerprint), text)

    def put_out(self, members: list[Member], text: str) -> None:
        """Put these out. One that is lost goes at once; the others go with their connections, which
        are dropped."""
        self.touch()
        # Whoever has a connection goes last: so nobody seems to be lost in between.
        for member in sorted(members, key=lambda one: not one.lost):
            connection = self._members.get(member.id)
            if connection is not None:
                self._reactor.call(partial(connection.drop, Reason.KICKED, text))
            elif member.lost:
                before = self.room.presence(member.name)
                self.room.leave(member, Reason.KICKED)
                self._show_change(member, before, Reason.KICKED, text)
                self._note(Event.KICKED, member, Reason.KICKED, text)

    def say(self, text: str) -> None:
        """Tell everybody here something."""
        self.touch()
        self.room.say(clip_text(text, MAX_TEXT_BYTES))

    def set_topic(self, topic: Topic) -> None:
        """Tell everybody here the topic."""
        self.touch()
        self.room.set_topic(topic)

    def close(self) -> None:
        """Tell everybody here that the room ends."""
        self.room.close()

    def end(self) -> None:
        """Nobody is here any more, and nothing is due."""
        self._wake_up.set(None)
