"""A room that several servers carry: each of them proposes what happens, and all apply the same.

`OrderedRoom` stands between a `HostedRoom` and the stream of its room. What a connection or the
operator asks becomes a proposal (`Ordering`); what comes back from the stream is done in the
`HostedRoom` (`Follower`), by all servers alike. Which entries count, and whether the stream is what
it was, is the `stream`'s. Which servers are alive is the registry's.

Theory of operation
-------------------

*The same everywhere.* What is applied depends on the entries alone: the time, the randomness and
`--grace` are in them (`proposals`). The room's log, its members and its epochs are the same at
every server, byte for byte. Only connections are one server's own: the room gives what is for one
member alone to its connection, or to nobody where that is elsewhere.

*Whose member.* A member belongs to the connection over which it came in last: to a server, and to a
ticket there. `_seats` has this of all that are in, or about to be, and are not lost. What is
proposed for a member over any other connection does not count any more. So a server that was taken
for dead, and whose members have come back elsewhere, can neither speak for them nor end their stay;
and a connection that is found to be broken after its member has come back, even to the same server,
does not end that stay either. No ticket comes twice, so what was proposed in a room that is over
says nothing in the next one, where numbers begin anew.

*Waiting.* Whoever wants to come in here waits (`_waiting`) until the proposal comes back. It may
never do: it is void when the room is lost, and a server that was behind goes on from a snapshot, in
which what it proposed has been done already. Then it is proposed anew (`_ask_again`).

*The end.* A server in which nobody is follows the room no more, unless there is nobody elsewhere
either: then it stays until every place that is kept has been given up, and the room is empty. If
Redis loses that the last one of a server has left, the server does not see it. So whoever begins to
carry a room asks all servers that have members in it whether they carry it (`unsure`). A
sealed room that nobody carries any more is forgotten by Redis after a while: all who carry it ask
for that, again and again (`expire`), so none of them can take it away from another.

*Time.* The room's clock stands still while something is applied, at the time that the proposal
says, and goes on from there by the reactor's. It never goes back. When something is due, every
server proposes a `Tick`, and whichever is first has it done.

*A snapshot* must hold all of the epoch, since the running hash goes on from its beginning. So an
epoch ends when its part of the log gets too long.
"""

import json
from collections.abc import Callable, Iterator
from functools import partial
from hashlib import shake_256
from typing import NamedTuple, Protocol

from chat.cipher import RandomBytes
from chat.errors import ProtocolError, Reason
from chat.limits import (
    EMPTY_ROOM_SECONDS,
    MAX_EPOCH_BYTES,
    MAX_PROPOSED_BYTES,
    PROPOSAL_SEED_BYTES,
    SEALED_ROOM_AGAIN_SECONDS,
    SEALED_ROOM_SECONDS,
    SPARE,
    STREAM_HOLD_SECONDS,
)
from chat.reactor import do_nothing
from chat.roomevents import Topic
from chat.server import words
from chat.server.cluster.proposals import (
    WHOEVER,
    Come,
    Header,
    Lose,
    Proposal,
    PutOut,
    Relay,
    Retitle,
    Say,
    Tick,
    Vanish,
    decode,
    encode,
)
from chat.server.cluster.store import EntryId
from chat.server.cluster.stream import Batch, Stream
from chat.server.connection import Connection
from chat.server.hosted import HostedRoom
from chat.server.lists import Ban
from chat.server.members import Member
from chat.server.ordering import Arrival
from chat.text import fingerprint_of

_LENGTH_BYTES = 4
_COUNT_BYTES = 8
_ROUNDING_SECONDS = 1e-6
"""When we wake up, it is so late by the clock of the room, too, that what is due is due. Otherwise
a sum that was rounded down would have us wait for what is never due."""


class Randomness:
    """The random bytes of a room: the same at every server, since they follow from the seed of the
    proposal that is applied."""

    def __init__(self) -> None:
        self._seed = b""
        self._calls = 0

    def sow(self, seed: bytes) -> None:
        """From now on they follow from this."""
        self._seed, self._calls = seed, 0

    def __call__(self, size: int) -> bytes:
        # Not the next part of one long output: that would be made anew from its beginning each
        # time, and a server that dies with thousands of members takes thousands of parts.
        self._calls += 1
        return shake_256(self._seed + self._calls.to_bytes(_COUNT_BYTES, "big")).digest(size)


class Site(Protocol):
    """What a room needs of the server that carries it, too."""

    server_id: bytes
    random_bytes: RandomBytes
    clock: Callable[[], float]
    tickets: Iterator[int]
    """Numbers, none of which comes twice: a room that was not carried here for a while is read from
    entries in which this server had connections, too."""

    @property
    def cut_off(self) -> bool:
        """Whether nobody is let in here, since nothing comes back from Redis in time."""

    def call(self, callback: Callable[[], None]) -> float:
        """Call this; an unforeseen error is contained."""

    def ban_on(self, fingerprint: str) -> Ban | None:
        """The ban of this key that holds here by now, if there is one."""

    def report(self, text: str) -> None:
        """Something for the operator to know."""


class _Seat(NamedTuple):
    """Where a member is: at which server, and over which connection."""

    server: bytes
    ticket: int


class _Guest(NamedTuple):
    """Somebody who waits to come in here, and what was proposed for that. `taken_back`: also that
    nobody waits any more."""

    connection: Connection
    arrival: Arrival
    proposed: bytes
    taken_back: bool = False


class OrderedRoom:
    """See the module's text. `stream` is to be set before anything is asked."""

    stream: Stream

    def __init__(self, hosted: HostedRoom, randomness: Randomness, site: Site) -> None:
        """`randomness` must be that of the hosted room."""
        self.on_end: Callable[[], None] = do_nothing
        """Called when nobody here needs the room any more."""
        self.behind_since: float | None = site.clock()
        """Since when not all that is in the room was read; None: all was."""
        self._hosted = hosted
        self._site = site
        self._randomness = randomness
        self._grace_seconds = hosted.grace_seconds
        self._waiting: dict[int, _Guest] = {}
        self._seats: dict[int, _Seat] = {}
        self._unsure: set[bytes] = set()
        self._at = 0.0
        self._since = 0.0
        self._expire_again_at = 0.0
        self._applying = self._room_is_void = False
        self._tick_proposed_at: float | None = None
        self._go_on_from(0.0)
        hosted.ordering = self
        hosted.clock = self._clock
        hosted.is_past = True
        hosted.spare = SPARE

    # -- what is asked (Ordering)

    def _propose(self, proposal: Proposal) -> bytes:
        seed = self._site.random_bytes(PROPOSAL_SEED_BYTES)
        header = Header(self._site.server_id, self._clock(), self._grace_seconds, seed)
        item = encode(header, proposal)
        self.stream.propose(item)
        return item

    def admit(self, arrival: Arrival, connection: Connection | None) -> None:
        """Somebody wants to come in here."""
        assert connection is not None
        if self._site.cut_off:
            connection.drop(Reason.LOST, words.CUT_OFF)
            return
        if self._far_too_much_waits:
            # Those who give up and come again would add to it each time.
            connection.drop(Reason.LOST, words.TOO_MUCH_WAITS)
            return
        if self.stream.lost:
            # Nothing is under way for those who have given up. They may come again and again.
            here = {one: guest for one, guest in self._waiting.items() if not guest.connection.over}
            self._waiting = here
        self._ask_for(connection, arrival)

    @property
    def _far_too_much_waits(self) -> bool:
        """Whether so much waits that nobody here should wait for it, too."""
        return self.stream.proposed_bytes >= 2 * MAX_PROPOSED_BYTES

    def _ask_for(self, connection: Connection, arrival: Arrival) -> None:
        ticket = next(self._site.tickets)
        proposed = self._propose(Come(ticket, arrival))
        self._waiting[ticket] = _Guest(connection, arrival, proposed)

    def take_back_wishes(self) -> None:
        """Propose that those who have given up waiting are gone. What they wished may come back
        late. It would be a place that nobody has, and there are only so many for each key. (Who
        wishes to come back has a place, and perhaps comes back to it elsewhere.)"""
        for ticket, guest in self._waiting.items():
            is_new = guest.arrival.resume is None
            if is_new and guest.connection.over and not guest.taken_back:
                self._waiting[ticket] = guest._replace(taken_back=True)
                self._propose(Lose(WHOEVER, ticket, Reason.LOST, ""))

    def relay(self, member: Member, run: bytes, now: float, connection: Connection | None) -> None:
        """A member of this server says something."""
        self._propose(Relay(member.id, self._seats[member.id].ticket, run))
        if connection is None or not self.stream.full:
            return
        if self._far_too_much_waits:
            # It keeps what it has said until it is acknowledged, and comes back with it.
            connection.drop(Reason.LOST, words.TOO_MUCH_WAITS)
        else:
            connection.hold(STREAM_HOLD_SECONDS)

    def lose(self, member: Member, reason: Reason, text: str) -> None:
        """A connection of this server has been dropped."""
        self._hosted.disconnect(member)
        if not self._room_is_void:
            self._propose(Lose(member.id, self._seats[member.id].ticket, reason, text))

    def put_out(self, members: list[Member], text: str) -> None:
        """The operator of this server wants these out."""
        if members:
            named = tuple((member.id, member.fingerprint) for member in members)
            self._propose(PutOut(named, text))

    def say(self, text: str) -> None:
        """The operator of this server tells everybody something."""
        self._propose(Say(text))

    def set_topic(self, topic: Topic) -> None:
        """The operator of this server sets the topic."""
        self._propose(Retitle(topic))

    def pass_time(self, now: float) -> None:
        """Propose that what is due takes effect."""
        due_at = self._hosted.room.due_at
        if due_at is None or now < due_at or self._tick_proposed_at == due_at:
            return
        self._tick_proposed_at = due_at
        self._propose(Tick())

    @property
    def deadline(self) -> float | None:
        """When something is due, but for what was proposed already."""
        room = self._hosted.room
        due_at = room.due_at
        if due_at == self._tick_proposed_at:
            return room.hash_at
        return room.deadline

    @property
    def is_over(self) -> bool:
        """Whether nobody is in here, nothing that was asked is still to come, and nothing is due
        that no other server would see to. A room that was found broken stays until there is another
        one."""
        used = self._waiting or self._hosted.connections or not self.stream.idle
        used = used or self.stream.remembers
        return not used and (self._hosted.room.is_empty or bool(self._seats))

    def expire(self) -> None:
        """Have a sealed room be forgotten some time after nobody has asked this any more; soon, if
        nobody is in. Whoever lets somebody in at the same moment asks again before."""
        if self._hosted.tag:
            self._expire_again_at = self._site.clock() + SEALED_ROOM_AGAIN_SECONDS
            is_empty = self._hosted.room.is_empty
            self.stream.expire(EMPTY_ROOM_SECONDS if is_empty else SEALED_ROOM_SECONDS)

    def expire_again(self) -> None:
        """The same, if it was asked long ago."""
        if self._site.clock() >= self._expire_again_at:
            self.expire()

    def end(self) -> None:
        """Follow the room no more."""
        self.expire()
        self.on_end()
        self._hosted.end()

    # -- members of servers

    @property
    def people(self) -> int:
        """How many members are connected to this server."""
        return len(self._hosted.connections)

    def servers(self) -> set[bytes]:
        """Those at which somebody is in."""
        return {seat.server for seat in self._seats.values()}

    def ban(self, ban: Ban) -> None:
        """Another server has banned a key: put out whoever has it."""
        self._hosted.ban(ban.fingerprint, words.banned(ban))

    @property
    def unsure(self) -> set[bytes]:
        """Servers at which somebody is in, and of which it is not known whether they know that."""
        return self._unsure & self.servers()

    def answer(self, server: bytes, before: int) -> None:
        """One of these says that it does not carry this room, and that all connections it ever had
        to it have tickets before this one; 0 if it does carry the room."""
        if server in self._unsure:
            self._unsure.discard(server)
            if self._members_of(server, before):
                self._propose(Vanish(server, before))

    def vanish(self, server: bytes) -> None:
        """Propose that this server is gone, with its connections."""
        self._propose(Vanish(server))

    # -- what is applied (Follower)

    def opening(self) -> bytes:
        """Randomness for a new room."""
        return self._site.random_bytes(PROPOSAL_SEED_BYTES)

    def begin(self, batch: Batch) -> None:
        """A new room begins. Those who wait come to this one."""
        self._drop_members("")
        self._randomness.sow(batch.id.encode() + batch.items[0])
        self._seats.clear()
        self._hosted.begin_anew()
        self._go_on_from(0.0)
        self._ask_again()

    def _ask_again(self) -> None:
        """Propose again that those may come in for whom nothing is under way any more. They get
        another ticket: with the one before they may be in already, and be given up as lost."""
        under_way = self.stream.proposed()
        for ticket, guest in list(self._waiting.items()):
            if guest.proposed not in under_way:
                del self._waiting[ticket]
                if not guest.connection.over:
                    self._ask_for(guest.connection, guest.arrival)

    def apply(self, batch: Batch) -> None:
        """Do what was proposed."""
        for number, item in enumerate(batch.items):
            try:
                header, proposal = decode(item)
            except ProtocolError as error:
                self._site.report(f"a proposal that nobody here understands: {error}")
                continue
            self._randomness.sow(batch.id.encode() + number.to_bytes(4, "big") + header.seed)
            self._at = max(self._at, header.at)
            self._hosted.keep_places_for(header.grace)
            self._applying = True
            try:
                # What was due before comes before, even if no server was here to say so.
                self._pass_time()
                self._do(header, proposal)
                self._pass_time()
            finally:
                self._applying = False
                self._go_on_from(self._at)

    def _do(self, header: Header, proposal: Proposal) -> None:
        own = header.server == self._site.server_id
        match proposal:
            case Come(ticket, arrival):
                self._come(_Seat(header.server, ticket), arrival)
            case Relay(number, ticket, run):
                member = self._member_in(_Seat(header.server, ticket), number)
                if member is not None:
                    connection = self._hosted.connection_of(member) if own else None
                    self._hosted.relay(member, run, self._at, connection)
            case Lose(number, ticket, reason, text):
                member = self._member_in(_Seat(header.server, ticket), number)
                if member is not None:
                    del self._seats[member.id]
                    self._hosted.lose(member, reason, text)
            case PutOut(named, text):
                self._do_put_out([one for each in named for one in self._named(*each)], text)
            case Say(text):
                self._hosted.say(text)
            case Retitle(topic):
                self._hosted.set_topic(topic)
            case Vanish(server, before):
                self._do_vanish(server, before)
            case Tick():
                pass

    def _come(self, seat: _Seat, arrival: Arrival) -> None:
        own = seat.server == self._site.server_id
        guest = self._waiting.pop(seat.ticket, None) if own else None
        connection = None if guest is None else guest.connection
        gone = connection is not None and connection.over
        try:
            member = self._hosted.admit(arrival, None if gone else connection)
        except Exception:
            if connection is not None:
                # It waits no more, and is nobody's whom the others have in the room.
                self._drop_in_void([connection], "")
            raise
        if member is not None:
            self._seats[member.id] = seat
            if guest is not None and gone and not guest.taken_back:
                self._propose(Lose(member.id, seat.ticket, Reason.LOST, ""))
            elif connection is not None and not gone:
                self._look_at(member, connection)

    def _look_at(self, member: Member, connection: Connection) -> None:
        """Between the wish of somebody here to come in and the answer, the key may have been
        banned."""
        ban = self._site.ban_on(fingerprint_of(member.fingerprint))
        if ban is not None:
            connection.drop(Reason.KICKED, words.banned(ban))

    def _member_in(self, seat: _Seat, number: int) -> Member | None:
        """This member, if it came in there last; WHOEVER did, if that is the number."""
        if number == WHOEVER:
            number = next((one for one, its in self._seats.items() if its == seat), number)
        return self._hosted.room.member(number) if self._seats.get(number) == seat else None

    def _named(self, number: int, fingerprint: bytes) -> list[Member]:
        """This member, if the number is not that of somebody else in a later room."""
        member = self._hosted.room.member(number)
        return [] if member is None or member.fingerprint != fingerprint else [member]

    def _do_put_out(self, members: list[Member], text: str) -> None:
        """Those that are connected to another server are out here as well: it may be gone, or may
        have lost them at this moment, and then it would keep their places."""
        # Whoever has a connection goes last: so nobody seems to be lost in between.
        self._hosted.put_out([member for member in members if member.lost], text)
        for member in members:
            if member.id in self._seats:
                self._take_seat(member, Reason.KICKED, text, text)

    def _do_vanish(self, server: bytes, before: int) -> None:
        for number in self._members_of(server, before):
            member = self._hosted.room.member(number)
            assert member is not None
            # If it is connected here, it is we who were taken for dead.
            farewell = "the other servers have not heard of this one"
            self._take_seat(member, Reason.LOST, "its server is gone", farewell)

    def _take_seat(self, member: Member, reason: Reason, text: str, farewell: str) -> None:
        """A member's connection does not count any more, wherever it is. Others are told `text`,
        and the member `farewell`."""
        del self._seats[member.id]
        connection = self._hosted.connection_of(member)
        self._hosted.lose(member, reason, text)
        if connection is not None:
            self._site.call(partial(connection.drop, reason, farewell))

    def _members_of(self, server: bytes, before: int) -> list[int]:
        """Who is in at this server, over connections of which the tickets are before this one."""
        seats = self._seats.items()
        return [one for one, seat in seats if seat.server == server and seat.ticket < before]

    def _pass_time(self) -> None:
        """Let take effect what is due. Bring the log back into its window, and the epoch into what
        a snapshot can hold. All servers do that at the same place."""
        self._hosted.pass_time(self._at)
        hosted = self._hosted
        room = hosted.room
        if room.epoch_bytes > MAX_EPOCH_BYTES:
            room.end_epoch(self._at)
        if hosted.must_trim:
            # Who keeps up must have been sent what goes.
            hosted.fan_out()
            hosted.trim()
        if room.is_empty and hosted.log.end and hosted.tag:
            # As where there is one server: it is a new room for whoever comes next.
            hosted.begin_anew()

    # -- snapshots

    def state(self) -> bytes:
        """The room, its log, and whose its members are."""
        room, log, window = self._hosted.state()
        seats = [[number, seat.server.hex(), seat.ticket] for number, seat in self._seats.items()]
        state = {"at": self._at, "room": room, "log": log, "seats": seats}
        encoded = json.dumps(state).encode()
        return len(encoded).to_bytes(_LENGTH_BYTES, "big") + encoded + window

    def restore(self, state: bytes, at: EntryId) -> None:
        """Go on with this one."""
        self._drop_members("")
        end = _LENGTH_BYTES + int.from_bytes(state[:_LENGTH_BYTES], "big")
        kept = json.loads(state[_LENGTH_BYTES:end])
        self._seats = {
            number: _Seat(bytes.fromhex(server), ticket) for number, server, ticket in kept["seats"]
        }
        self._hosted.restore(kept["room"], kept["log"], state[end:])
        self._go_on_from(kept["at"])

    # -- the stream

    def on_following(self, follows: bool) -> None:
        """What is proposed waits in the stream while it does not follow. When it does again, there
        may be members here whose connections are gone: what we said of that was lost with the end
        of the stream, or was said in a room that has gone on from a place before."""
        self.behind_since = None if follows else self._site.clock()
        if not follows:
            return
        # Perhaps nobody is here any more who needs the room: what was proposed has come back.
        self._hosted.touch()
        self._unsure = self.servers() - {self._site.server_id}
        self._hosted.is_past = False
        for number, seat in self._seats.items():
            member = self._hosted.room.member(number)
            assert member is not None
            if seat.server == self._site.server_id and not self._hosted.connection_of(member):
                self._propose(Lose(number, seat.ticket, Reason.LOST, ""))
        self._ask_again()

    def on_lost(self, text: str) -> None:
        """What members were told may not be so. They come back to a room of which all are sure."""
        if text:
            self._site.report(words.room_lost(text, self._hosted.tag))
        self._drop_members(text)
        # Perhaps nobody is here any more who needs the room.
        self._hosted.touch()

    def on_trouble(self, text: str) -> None:
        self._site.report(text)

    def let_go(self, text: str) -> None:
        """Drop everybody who is connected here, or waits to come in: this server can do nothing for
        them, and perhaps another one can."""
        waiting = [guest.connection for guest in self._waiting.values()]
        for connection in [*self._hosted.connections, *waiting]:
            self._site.call(partial(connection.drop, Reason.LOST, text))

    def _drop_members(self, text: str) -> None:
        """Drop every member that is connected here: they come back at once."""
        self._tick_proposed_at = None
        self._drop_in_void(self._hosted.connections, text)

    def _drop_in_void(self, connections: list[Connection], text: str) -> None:
        """Drop these. Nothing is proposed for that, since the room in which they are is void."""
        self._room_is_void = True
        for connection in connections:
            self._site.call(partial(connection.drop, Reason.LOST, text))
        self._room_is_void = False

    # -- the clock

    def _clock(self) -> float:
        if self._applying:
            return self._at
        return self._at + (self._site.clock() - self._since)

    def _go_on_from(self, at: float) -> None:
        """Something has been applied: it is so late in the room, and the clock goes on from here.
        What is due next may be something else, and members here are to hear of it."""
        self._at, self._since = at, self._site.clock()
        self._hosted.ahead = at - self._since - _ROUNDING_SECONDS
        self._tick_proposed_at = None
        self._hosted.touch()
