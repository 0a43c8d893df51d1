"""A server that lies: it shows one member of a room another conversation than the others, or two
others swapped.

It does so as well as it can: the log that the victim is shown has offsets and a running hash of its
own, so every CHECK agrees, and the lie goes on for as long as the victim is in. What it cannot do
is to change a message, in which the sender says what it has seen.
"""

import dataclasses
from copy import deepcopy
from dataclasses import dataclass

from chat.cipher import sealed_bytes
from chat.controls import Check, Control, Resume, Resumed, Roster, Welcome, decode_control
from chat.errors import Reason
from chat.frozen import replace
from chat.identities import Card, RosterEntry
from chat.kex import RoomSecret
from chat.limits import PROOF_BYTES, X25519_BYTES
from chat.roomevents import Joined, decode_room_event
from chat.server.connection import Connection
from chat.server.members import Member
from chat.server.ordering import Arrival
from chat.server.room import Unicast
from chat.wire import Event, RoomHeader, room_header, room_headers
from tests.support.cheap_keys import fingerprint_of
from tests.support.helpers import open_frame
from tests.support.simulated_record import Entry, Life, Membership, RecordedHome, RecordedRoom

GHOST = "ghost"
"""The name of the member that is invented."""

LIES = ("leave out", "swap", "invent")
"""What the victim is not shown, shown in another order, or shown though it never was."""


SWAPS = (("name", "fingerprint"), ("name", "fingerprint", "share", "proof"), ("fingerprint",))
"""What of two entries of a roster is swapped. The last one lasts only as long as both members have
one connection each: no client believes that one name has two keys."""


class SwappedLife(Life):
    """A room as it is shown to a newcomer, in whose roster two members are swapped. The log is the
    same."""

    def __init__(self, real: Life, one: int, other: int, fields: tuple[str, ...]) -> None:
        self.__dict__.update(real.__dict__)
        self._real = real
        self._partners = {one: other, other: one}
        self._fields = fields
        self.mistaken = pair = frozenset(self._partners)
        self.unreadable = pair if real.tag else frozenset()
        self.unproved = self.unreadable if "proof" not in fields else frozenset()

    @property
    def memberships(self) -> dict[int, Membership]:
        """The stays as the newcomer is told of them."""
        stays = self._real.memberships
        told = dict(stays)
        for one, other in self._partners.items():
            fields = {each: getattr(stays[other], each) for each in self._fields}
            told[one] = dataclasses.replace(stays[one], **fields)
        return told

    def proof_of(self, member: int) -> bytes:
        return self._real.proof_of(member)

    def told(self, roster: Roster) -> Roster:
        """What is said instead of this."""
        stays = self.memberships
        return Roster(
            tuple(
                replace(
                    each,
                    name=stays[each.id].name,
                    fingerprint=stays[each.id].fingerprint,
                    card=replace(each.card, share=stays[each.id].share, proof=stays[each.id].proof),
                )
                for each in roster.entries
            )
        )


@dataclass(frozen=True, slots=True)
class Place:
    """What the victim knows of a place of the log: at which offset it is, the running hash there,
    and how many messages came before."""

    offset: int
    digest: bytes
    messages: int


class Lie:
    """What one member is shown from a place of the log on, in the place of the log. It is the home
    of that member's connection.

    `_places` says for each place of the true log what the victim is told of it. Before the lie
    began both are the same.
    """

    def __init__(self, home: RecordedHome, room: "LyingRoom", member: int, trick: str) -> None:
        self.member = member
        self.trick = trick
        self.window_guarded = home.window_guarded
        self.log = deepcopy(home.log)
        self.life: Life = room.life.copy()
        self.diverged_at: int | None = None
        """Where the two logs differ first, by their common offset."""
        self._home = home
        self._room = room
        self._hash = room._hash.copy()
        self._messages = room.messages
        self._began = self.log.end
        self._places = {self._began: self._place}
        self._left_out = 0
        self._held: tuple[RoomHeader, bytes] | None = None
        self._ghost: RosterEntry | None = None

    @property
    def _place(self) -> Place:
        return Place(self.log.end, self._hash.digest(), self._messages)

    # -- what the victim's connection needs of its room

    def check(self) -> bytes:
        return Check(self.log.end, self._hash.digest()).encode()

    def submit(self, member: Member, run: bytes, now: float, connection: Connection) -> None:
        self._home.submit(member, run, now, connection)

    def connection_lost(self, member: Member, reason: Reason, text: str) -> None:
        self._home.connection_lost(member, reason, text)

    def abandon(self, member: Member, connection: Connection) -> None:
        self._home.abandon(member, connection)

    # -- the log that the victim is shown

    def take(self, run: bytes, start: int) -> None:
        """These frames were appended to the true log at `start`."""
        for header in room_headers(run[2], run):
            frame = run[header.start : header.end]
            if run[2] == Event.TYPE:
                self._take_event(header, frame)
            else:
                self._take_message(header, frame)
            self._places[start + header.end] = self._place

    def begin_epoch(self) -> None:
        self._hash.begin_epoch()

    def invent(self, ghost: RosterEntry) -> None:
        """The next JOINED names somebody who is not there."""
        self._ghost = ghost

    def _take_event(self, header: RoomHeader, frame: bytes) -> None:
        self._release()
        event = decode_room_event(open_frame(self._room._epochs.event_key, frame))
        if self._ghost is not None and self.diverged_at is None:
            self.diverged_at = self.log.end
            event = Joined((self._ghost,))
            frame = self._room.sealed_event(event)
        start = self._append(frame)
        self.life.note(Entry(start, self.log.end, self._room.now, header.epoch, event))

    def _take_message(self, header: RoomHeader, frame: bytes) -> None:
        own = header.sender == self.member
        if self.trick == "leave out" and self.diverged_at is None and not own:
            self.diverged_at = self.log.end
            self._left_out = header.sender
        if header.sender == self._left_out:
            # Without that one, the next ones of the same sender do not count.
            return
        held = self._held
        if held is not None and held[0].sender != header.sender:
            self.diverged_at = self.log.end
            self._write(header, frame)
            self._release()
        elif self.trick == "swap" and self.diverged_at is None and not own:
            self._release()
            self._held = header, frame
        else:
            self._write(header, frame)

    def _release(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            self._write(*held)

    def _write(self, header: RoomHeader, frame: bytes) -> None:
        start, now = self._append(frame), self._room.now
        self._messages += 1
        entry = Entry(
            start, self.log.end, now, header.epoch, None, header.sender, header.seq, frame
        )
        self.life.note(entry)

    def _append(self, frame: bytes) -> int:
        start = self.log.end
        self.log.append(frame)
        self._hash.update(frame)
        return start

    # -- what the victim alone is told

    def true_offset(self, offset: int) -> int:
        """The place of the true log up to which a victim has been told that is at `offset`."""
        if offset <= self._began:
            return offset
        return next((at for at, told in self._places.items() if told.offset >= offset), 2**64 - 1)

    def told(self, unicast: Unicast, resumed_at: int | None = None) -> Unicast:
        """What is said to the victim instead of this. `resumed_at`: from where it asked to go
        on."""
        if unicast.member.id != self.member:
            return unicast
        place = self._places.get(unicast.at)
        offset = unicast.at if place is None else place.offset
        controls = []
        for data in unicast.controls:
            match decode_control(data):
                case Resumed() if resumed_at is not None:
                    offset = resumed_at
                case Check() if place is not None:
                    data = Check(offset, place.digest).encode()
                case Welcome() as welcome if place is not None:
                    data = self._welcome(welcome, place).encode()
            controls.append(data)
        if self._ghost is not None and isinstance(decode_control(controls[0]), Welcome):
            controls.append(Roster((self._ghost,)).encode())
        return Unicast(unicast.member, offset, tuple(controls))

    def _welcome(self, welcome: Welcome, place: Place) -> Welcome:
        # The roster says how many messages of each there were, so the next ones count again.
        self._left_out = 0
        return replace(
            welcome,
            offset=place.offset,
            base=place.digest,
            messages=place.messages,
            members=welcome.members + (self._ghost is not None),
        )


class LyingRoom(RecordedRoom):
    """The server's half, which may tell one member a lie."""

    lie: Lie | None = None
    swap: tuple[str, ...] = ()
    """What is swapped in the roster of the next one who comes to two others."""

    @property
    def now(self) -> float:
        return self._clock()

    def invent(self, lie: Lie) -> None:
        """The victim is told of somebody who joined; the others, that nobody did, since all must
        have the same epochs."""
        proof = self._random_bytes(PROOF_BYTES) if self.life.tag else b""
        card = Card(self._random_bytes(X25519_BYTES), proof)
        lie.invent(RosterEntry(self._members.next_id, 0, GHOST, fingerprint_of(GHOST), card=card))
        self._members.next_id += 1
        self._append(Joined(()))
        self._begin_epoch(self._epochs.secret.step(), self.now)

    def sealed_event(self, event: Joined) -> bytes:
        """An event in the place of the one that was appended last."""
        content = event.encode()
        header = room_header(Event.TYPE, self.epoch, 0, self._event_seq, sealed_bytes(len(content)))
        return header + self._epochs.event_key.seal(header, content, self._random_bytes)

    def _append_run(self, run: bytes) -> None:
        super()._append_run(run)
        if self.lie is not None and run:
            self.lie.take(run, self._log.end - len(run))

    def _begin_epoch(self, secret: RoomSecret, now: float) -> None:
        super()._begin_epoch(secret, now)
        if self.lie is not None:
            self.lie.begin_epoch()

    def tick(self, now: float) -> list[Unicast]:
        return self._told(super().tick(now))

    def tell_hash(self, now: float) -> list[Unicast]:
        return self._told(super().tell_hash(now))

    def submit(self, member: Member, run: bytes, now: float) -> list[Unicast]:
        return self._told(super().submit(member, run, now))

    def resume(
        self, request: Resume, fingerprint: bytes, now: float
    ) -> tuple[Member, list[Unicast]] | None:
        lie = self.lie
        if lie is None or request.member != lie.member:
            resumed = super().resume(request, fingerprint, now)
            return resumed and (resumed[0], self._told(resumed[1]))
        asked = replace(request, offset=lie.true_offset(request.offset))
        resumed = super().resume(asked, fingerprint, now)
        return resumed and (resumed[0], self._told(resumed[1], request.offset))

    def _told(self, unicasts: list[Unicast], resumed_at: int | None = None) -> list[Unicast]:
        lie = self.lie
        told = unicasts if lie is None else [lie.told(one, resumed_at) for one in unicasts]
        return [self._swapped(unicast) for unicast in told]

    def _swapped(self, unicast: Unicast) -> Unicast:
        swaps, newcomer = self.life.swaps, unicast.member.id
        if not self.swap and newcomer not in swaps:
            return unicast
        controls = [decode_control(data) for data in unicast.controls]
        if newcomer not in swaps and not self._begin_swap(unicast.member, controls):
            return unicast
        view = swaps[newcomer]
        assert isinstance(view, SwappedLife)
        told = (view.told(each) if isinstance(each, Roster) else each for each in controls)
        return replace(unicast, controls=tuple(each.encode() for each in told))

    def _begin_swap(self, newcomer: Member, controls: list[Control]) -> bool:
        """If this is a first welcome, swap two people of whom none is the newcomer; whether it is.
        Later they would be known."""
        welcomes = [one for one in controls if isinstance(one, Welcome)]
        if not any(one.offset == newcomer.welcomed_at for one in welcomes):
            return False
        entries = [each for one in controls if isinstance(one, Roster) for each in one.entries]
        names = {newcomer.name, GHOST}
        others = [each for each in entries if each.name not in names and not each.card.caller]
        pairs = ((one, other) for one in others for other in others if one.name != other.name)
        pair = next(pairs, None)
        if pair is None or (self.lie is not None and self.lie.member == newcomer.id):
            return False
        one, other = pair
        self.life.swaps[newcomer.id] = SwappedLife(self.life, one.id, other.id, self.swap)
        self.swap = ()
        return True


class LyingHome(RecordedHome):
    """A room at the server that may show one member another log."""

    room: LyingRoom

    def deceive(self, member_id: int, trick: str) -> None:
        """From now on, show this member something else; once in the life of a room."""
        connection = self._members.get(member_id)
        if self.room.lie is not None or connection is None or not connection.cursor.following:
            return
        if member_id in self.life.swaps:
            return
        lie = self.room.lie = Lie(self, self.room, member_id, trick)
        self.life.lie = lie
        connection.home = lie
        connection.cursor.leave_front()
        connection.cursor._log = lie.log
        if trick == "invent":
            self.room.invent(lie)
        self.touch()

    def end_for(self, member_id: int) -> int:
        """Where the log ends, as this member is told."""
        lie = self.room.lie
        return lie.log.end if lie is not None and lie.member == member_id else self.log.end

    def _enter(self, arrival: Arrival, connection: Connection | None, member: Member) -> None:
        super()._enter(arrival, connection, member)
        lie = self.room.lie
        if connection is not None and lie is not None and lie.member == member.id:
            connection.home = lie

    def fan_out(self) -> None:
        victim = self._set_victim_aside()
        super().fan_out()
        self._take_victim_back(victim)
        if victim is not None and not victim.over and not victim.transport.writing:
            self._reactor.call(victim.transport.flush)

    def trim(self) -> None:
        # The victim's log is not trimmed, so the victim may be as far behind as it likes.
        victim = self._set_victim_aside()
        super().trim()
        self._take_victim_back(victim)

    def prepare_wait(self) -> None:
        super().prepare_wait()
        if self.room.lie is not None:
            self.room.lie.window_guarded = self.window_guarded

    def _set_victim_aside(self) -> Connection | None:
        lie = self.room.lie
        return None if lie is None else self._members.pop(lie.member, None)

    def _take_victim_back(self, victim: Connection | None) -> None:
        if victim is not None and victim.member is not None:
            self._members[victim.member.id] = victim
