"""What a simulation writes down: every log as its server made it, and each client's own story.

The real classes do the work; these only listen. The laws over all this are in `laws`.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from copy import copy
from dataclasses import dataclass, field, replace
from functools import partial
from math import inf
from pathlib import Path
from typing import Any, Protocol, cast

from chat.cipher import RandomBytes
from chat.client import membership
from chat.client.client import Client
from chat.client.contacts import Contacts, Roster
from chat.client.events import ClientEvent, Person, Standing
from chat.client.known import Known
from chat.client.participant import Participant
from chat.client.peers import Peer
from chat.contents import Kind, MessageContent, Repeat, Seen, text_of
from chat.controls import Check, Control, Rekey, Resume, Resumed, Welcome
from chat.errors import OpenError, Reason
from chat.files.lines import LineFile
from chat.files.members import MembersFile
from chat.kex import KeyShare, RoomKey, RoomSecret
from chat.limits import (
    DIRECT_WRAPS_OF_PERSON,
    KEEP_NAMES_DAYS,
    MAX_CALLERS_OF_KEY,
    MAX_CONNECTIONS_OF_KEY,
    SILENCE_SECONDS,
)
from chat.reactor import Reactor
from chat.roomevents import Back, Joined, Left, Lost, RoomEvent
from chat.server.access import Access
from chat.server.console import Console
from chat.server.hosted import HostedRoom
from chat.server.lists import Ban, InMemory
from chat.server.log import OrderedLog
from chat.server.members import Member
from chat.server.room import Room, Unicast
from chat.text import fingerprint_of
from chat.wire import Message, RoomHeader, room_headers
from tests.support.helpers import open_frame
from tests.support.simulated import ViolationError

Clock = Callable[[], float]


# -- at the server -----------------------------------------------------------------------------


@dataclass(slots=True)
class Entry:
    """One entry of a log: an event, or a message, which is opened with the room's own key. `clock`
    is what time it was by the clock of the room; of messages, nobody asks."""

    start: int
    end: int
    at: float
    epoch: int
    event: RoomEvent | None
    sender: int = 0
    seq: int = 0
    frame: bytes = b""
    clock: float = 0.0


@dataclass(slots=True)
class Membership:
    """One stay of one member in one room, from its JOINED to its LEFT. `moved`: where in the log it
    was lost, and back, in turn."""

    id: int
    name: str
    fingerprint: bytes
    joined: int
    first_epoch: int
    caller: bool
    left: int | None = None
    last_epoch: int = 2**32
    reason: Reason | None = None
    share: bytes = b""
    proof: bytes = b""
    moved: list[int] = field(default_factory=list)

    def is_in(self, offset: int) -> bool:
        return self.joined <= offset < (self.left or 2**63)

    def is_lost(self, offset: int) -> bool:
        return sum(each <= offset for each in self.moved) % 2 == 1

    def is_gone_since(self, offset: int) -> bool:
        """Whether it was lost there, and left without having been back."""
        stays_lost = self.is_lost(offset) and all(each <= offset for each in self.moved)
        return stays_lost and self.left is not None


@dataclass(frozen=True, slots=True)
class Private:
    """A private message: for whom it was, by name and fingerprint, the shares of that person for
    which it was sealed, its text, and the shares of the sender's own connections, which may read
    it, too."""

    to: str
    fingerprint: bytes
    shares: frozenset[bytes]
    text: str
    own: frozenset[bytes]


PrivateTexts = dict[tuple[bytes, int], Private]
"""By the origin and the number of the message."""


class Split(Protocol):
    """What one member of a room is told, where it is not what the others are told."""

    member: int
    trick: str
    life: "Life"
    """The log that it is shown, and what follows from it."""
    diverged_at: int | None
    """Where the two logs differ first, by their common offset; None: nowhere so far."""


RoomKeys = dict[bytes, RoomKey]
"""The keys of sealed rooms by their tags."""

Secrets = dict[bytes, list[dict[int, bytes]]]
"""By room, and by epoch. There is more than one of a room, if its servers did not agree."""


class Life:
    """One life of a room, from its first member to its last, or to the death of its server."""

    tag = b""
    """That of a sealed room; empty for the open one."""
    server = 0
    """Which of the world's servers it was at."""
    lie: Split | None = None
    unproved: frozenset[int] = frozenset()
    """Members that are shown as not having proved to have the room's key."""
    unreadable: frozenset[int] = frozenset()
    """Members of whom no message opens."""
    mistaken: frozenset[int] = frozenset()
    """Members of whom no private message opens."""

    def __init__(
        self,
        room: bytes,
        secrets: Secrets,
        private: PrivateTexts,
        room_keys: RoomKeys,
    ) -> None:
        """`secrets` are those of all rooms; `private` is what was said so in any of them."""
        self.room = room
        self._private = private
        self._room_keys = room_keys
        self.all_secrets = secrets
        self.secrets: dict[int, bytes] = {}
        secrets.setdefault(room, []).append(self.secrets)
        self.entries: list[Entry] = []
        self.boundaries: list[int] = [0]
        """Where something was appended. What is between two of them is forgotten together."""
        self._stays: dict[int, Membership] = {}
        self.swaps: dict[int, Life] = {}
        """The room as it is shown to those to whom two of its members were swapped."""
        self.died_at = float("inf")
        self.terminated = False
        self.crowded_out: set[int] = set()
        """Members that made room for others of their key."""
        self.faults: list[str] = []
        self._contents: dict[int, MessageContent] = {}

    def copy(self) -> "Life":
        """The same so far, to go on otherwise."""
        other = copy(self)
        other.entries = list(self.entries)
        stays = self._stays.items()
        other._stays = {member: replace(stay, moved=list(stay.moved)) for member, stay in stays}
        other._contents = {}
        return other

    @property
    def memberships(self) -> dict[int, Membership]:
        """The stays of members, by their numbers."""
        return self._stays

    def told_to(self, member: int) -> "Life":
        """The room as it is shown to this member."""
        lie = self.lie
        return self.swaps.get(member, self) if lie is None or lie.member != member else lie.life

    def differs_at(self, one: int, other: int) -> int | None:
        """From where on two members are shown different logs; None: they are not."""
        lie = self.lie
        if lie is None or (one == lie.member) is (other == lie.member):
            return None
        return lie.diverged_at

    @property
    def room_key(self) -> RoomKey | None:
        """That of a sealed room."""
        return self._room_keys[self.tag] if self.tag else None

    def proof_of(self, member: int) -> bytes:
        """The proof that a member has shown; nothing in the open room."""
        return self.memberships[member].proof if member in self.memberships else b""

    def opens_with(self, entry: Entry, room_key: RoomKey | None) -> bool:
        """Whether the secret of a message's epoch opens it, together with this key."""
        key = RoomSecret(self.secrets[entry.epoch]).message_key(room_key)
        try:
            open_frame(key, entry.frame, self.proof_of(entry.sender))
        except OpenError:
            return False
        return True

    def note(self, entry: Entry) -> None:
        """Something was appended to the log."""
        self.entries.append(entry)
        event, end = entry.event, entry.end
        if isinstance(event, Joined):
            for each in event.entries:
                self._stays[each.id] = Membership(
                    each.id,
                    each.name,
                    each.fingerprint,
                    end,
                    entry.epoch + 1,
                    each.card.caller,
                    share=each.card.share,
                    proof=each.card.proof,
                )
        if isinstance(event, Lost | Back):
            self.memberships[event.member].moved.append(end)
        if isinstance(event, Left):
            for member, reason in event.departures:
                membership = self.memberships[member]
                membership.left, membership.reason = end, reason
                membership.last_epoch = entry.epoch

    def content(self, entry: Entry) -> MessageContent:
        """What a message says."""
        if entry.start not in self._contents:
            key = RoomSecret(self.secrets[entry.epoch]).message_key(self.room_key)
            opened = open_frame(key, entry.frame, self.proof_of(entry.sender))
            self._contents[entry.start] = MessageContent.decode(opened)
        return self._contents[entry.start]

    def text(self, entry: Entry) -> str:
        """The text of a message, perhaps as it was said in a room before this one."""
        content = self.content(entry)
        if content.kind is Kind.SAY:
            return text_of(content.body)
        if (private := self.private(entry)) is not None:
            return private.text
        repeat = Repeat.decode(content.body)
        for secrets in self.all_secrets[repeat.room]:
            with suppress(OpenError, KeyError):
                key = RoomSecret(secrets[repeat.epoch]).repeat_key(self.room_key)
                return text_of(key.open(content.bound(), repeat.sealed))
        raise ViolationError("what is repeated is bound to another message")

    def private(self, entry: Entry) -> Private | None:
        """What a private message says; None if it is none."""
        content = self.content(entry)
        is_private = content.kind is Kind.DIRECT
        return self._private[content.origin, content.number] if is_private else None

    def readers(self, private: Private) -> list[Membership]:
        """For whom a message was sealed, whether they are in or not."""
        return [
            stay
            for stay in self.memberships.values()
            if stay.share in private.shares and stay.fingerprint == private.fingerprint
        ]

    def has_reader(self, private: Private, offset: int) -> bool:
        """Whether at this place of the log somebody is in for whom a message was sealed."""
        return any(one.is_in(offset) for one in self.readers(private))

    @property
    def key(self) -> tuple[bytes, int]:
        """By what this log is told from all others."""
        return self.room, 0

    def bound(self, offset: int) -> None:
        """Something was appended, up to here."""
        self.boundaries.append(offset)

    def note_secret(self, epoch: int, secret: bytes) -> None:
        """An epoch begins with this secret."""
        self.secrets[epoch] = secret

    def start_of_window(self, window_bytes: int, end: int) -> int:
        """From where on a log that ends here must still be there."""
        oldest = end - window_bytes
        return self.boundaries[bisect_left(self.boundaries, oldest)]

    def renewal(self, epoch: int) -> Entry | None:
        """The LEFT behind which the first secret was given out that does not follow from that of
        this epoch: so far the log can be read with it. None: there is none yet."""
        left = (entry for entry in self.entries if isinstance(entry.event, Left))
        return next((entry for entry in left if entry.epoch >= epoch), None)

    def messages(self) -> list[Entry]:
        return [entry for entry in self.entries if entry.event is None]

    def messages_between(self, start: int, end: int) -> list[Entry]:
        """Those that lie between two offsets."""
        return [entry for entry in self.messages() if start <= entry.start < end]


class RecordedRoom(Room):
    """The server's half, writing down its log."""

    def __init__(
        self,
        life_of: Callable[[bytes], Life],
        clock: Clock,
        log: OrderedLog,
        random_bytes: RandomBytes,
        grace_seconds: float,
    ) -> None:
        super().__init__(log, random_bytes, grace_seconds)
        self.life = life_of(self.id)
        self._clock = self.room_clock = clock
        self.life.note_secret(self.epoch, self._epochs.secret.secret)

    def _begin_epoch(self, secret: RoomSecret, now: float) -> None:
        super()._begin_epoch(secret, now)
        self.life.note_secret(self.epoch, secret.secret)

    def resume(
        self, request: Resume, fingerprint: bytes, now: float
    ) -> tuple[Member, list[Unicast]] | None:
        start = self.life.start_of_window(self._log.window_bytes, self._log.end)
        still_there = start <= request.offset <= self._log.end
        # Somebody on the way may have brought the member's count out of step.
        starts = {entry.start for entry in self.life.entries} | {self._log.end}
        still_there &= request.offset in starts and request.epoch <= self.epoch
        if (renewal := self.life.renewal(request.epoch)) is not None:
            still_there &= renewal.end >= request.offset
            # No secret need be kept for longer: a server that was awake has put out who was silent
            # so long.
            known_for = self.room_clock() - renewal.clock
            still_there &= known_for <= self.grace_seconds + SILENCE_SECONDS
        resumed = super().resume(request, fingerprint, now)
        if resumed is not None and still_there:
            first = next(unicast for unicast in resumed[1] if unicast.member is resumed[0])
            if first.controls[0][0] != Resumed.TYPE:
                self.life.faults.append(f"{resumed[0].name} lost its place without need")
        return resumed

    def _crowd_out(self, lost: Member) -> None:
        of_key = self._members.of_key(fingerprint_of(lost.fingerprint))
        same = [one for one in of_key if one.caller is lost.caller]
        if len(same) < (MAX_CALLERS_OF_KEY if lost.caller else MAX_CONNECTIONS_OF_KEY):
            self.life.faults.append(f"{lost.name} makes room without need")
        self.life.crowded_out.add(lost.id)
        super()._crowd_out(lost)

    def _append(self, event: RoomEvent) -> None:
        start, now = self._log.end, self._clock()
        super()._append(event)
        clock = self.room_clock()
        self.life.note(Entry(start, self._log.end, now, self.epoch, event, clock=clock))

    def _append_run(self, run: bytes) -> None:
        base, now = self._log.end, self._clock()
        super()._append_run(run)
        self.life.bound(self._log.end)
        if not run or run[2] != Message.TYPE:
            return
        for header in room_headers(Message.TYPE, run):
            frame = run[header.start : header.end]
            start, end = base + header.start, base + header.end
            self.life.note(
                Entry(start, end, now, header.epoch, None, header.sender, header.seq, frame)
            )


@dataclass(slots=True)
class Banned:
    """A key that may not come in, and when the operator said so, and took it back."""

    fingerprint: str
    since: float
    until: float = float("inf")

    def holds(self, fingerprint: str, at: float) -> bool:
        """Whether it keeps this key out at a time."""
        return fingerprint == self.fingerprint and self.since < at < self.until


@dataclass(slots=True)
class Doors:
    """What the lists of a world's servers say, whichever of them is running.

    `names`: whether the names are kept. `listed`: since when each fingerprint is on the list of
    those that may come in; None: there is no list. `saves`: which server wrote the names down, and
    when; `forgotten`: when each name was freed.
    """

    names: bool = False
    listed: dict[str, float] | None = None
    bans: list[Banned] = field(default_factory=list)
    saves: list[tuple[int, float]] = field(default_factory=list)
    forgotten: list[tuple[float, str]] = field(default_factory=list)
    name_lines: list[str] = field(default_factory=list)
    key_lines: list[str] = field(default_factory=list)

    def is_listed(self, fingerprint: str, at: float) -> bool:
        """Whether the list, if there is one, lets this key in at a time."""
        return self.listed is None or self.listed.get(fingerprint, float("inf")) <= at


class RecordedAccess(Access):
    """Who may come in, writing down what changes; the lists of the servers before are kept."""

    def __init__(self, doors: Doors, server: int, clock: Clock) -> None:
        """`server`: which of the world's servers asks."""
        now_banned = (ban.fingerprint for ban in doors.bans if ban.until == float("inf"))
        self._server = server
        self._doors = doors
        self._clock = clock
        self._names_kept = InMemory(*doors.name_lines)
        self._keys_kept = InMemory(*doors.key_lines)
        super().__init__(
            keys=None if doors.listed is None else self._keys_kept,
            bans=InMemory(*now_banned),
            names=self._names_kept,
            keep_days=KEEP_NAMES_DAYS if doors.names else 0,
        )

    def ban(self, fingerprint: str, name: str, why: str, now: float) -> Ban:
        self._doors.bans.append(Banned(fingerprint, self._clock()))
        return super().ban(fingerprint, name, why, now)

    def unban(self, which: str) -> list[Ban]:
        lifted = super().unban(which)
        for ban in self._doors.bans:
            if any(one.fingerprint == ban.fingerprint for one in lifted):
                ban.until = min(ban.until, self._clock())
        return lifted

    def save(self) -> bool:
        saved = super().save()
        self._doors.name_lines = list(self._names_kept.lines)
        self._doors.saves.append((self._server, self._clock()))
        return saved

    def forget(self, name: str, until: float = inf) -> bool:
        self._doors.forgotten.append((self._clock(), name))
        return super().forget(name, until)

    def allow(self, which: str) -> list[str] | None:
        allowed = super().allow(which)
        if self._doors.listed is not None and allowed is not None and len(allowed) == 1:
            self._doors.listed.setdefault(allowed[0], self._clock())
            self._doors.key_lines = list(self._keys_kept.lines)
        return allowed


class RecordedHome(HostedRoom):
    """A room at the server whose record says which one it is, and when it ended."""

    def __init__(
        self,
        reactor: Reactor,
        console: Console,
        grace_seconds: float,
        busy: set[HostedRoom],
        tag: bytes,
        note_name: Callable[[Member, bool], None],
        greeting: Callable[[], bytes],
        random_bytes: RandomBytes | None = None,
    ) -> None:
        super().__init__(
            reactor, console, grace_seconds, busy, tag, note_name, greeting, random_bytes
        )

    def begin(self) -> None:
        super().begin()
        self.life.tag = self.tag

    @property
    def life(self) -> Life:
        assert isinstance(self.room, RecordedRoom)
        return self.room.life

    def end(self) -> None:
        if self.room.members:
            self.life.faults.append("a room ends where a place is kept")
        self.life.died_at = self._reactor.clock()
        super().end()


# -- at a client -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Welcomed:
    """A welcome arrived, when this was known: where the client was, whom it knew (how many
    connections of each key), and of which rooms and epochs it could open what is repeated. `epochs`
    are those of the room that it knows then."""

    at: float
    welcome: Welcome
    room_before: bytes
    offset_before: int
    known: Counter[bytes]
    repeatable: frozenset[tuple[bytes, int]]
    epochs: frozenset[int]
    server: str


@dataclass(frozen=True, slots=True)
class Continued:
    """The connection went on where it was, with this server."""

    at: float
    room: bytes
    offset: int
    server: str


@dataclass(frozen=True, slots=True)
class Checked:
    """The server vouched for all that was taken, up to here."""

    room: bytes
    offset: int


@dataclass(frozen=True, slots=True)
class Read:
    """A message was opened: whose it is, what its sender says to have seen, and what is shown for
    it."""

    room: bytes
    member: int
    name: str
    seen: Seen
    shown: list[ClientEvent]


@dataclass(frozen=True, slots=True)
class Sent:
    """A message was sealed and is on its way. `offset` is how far the log was taken then."""

    at: float
    offset: int
    room: bytes
    member: int
    epoch: int
    seq: int
    content: MessageContent


@dataclass(frozen=True, slots=True)
class Loaded:
    """This was known of the members from earlier runs."""

    at: float
    known: tuple[Known, ...]


@dataclass(frozen=True, slots=True)
class Decided:
    """The person has decided to trust, ignore or unignore somebody when the log was taken up to
    `offset`. `possible`: there was something to decide."""

    offset: int
    what: str
    person: tuple[str, bytes]
    possible: bool = True


@dataclass(slots=True)
class Story:
    """What a client was told, what it told its user, and what it sent."""

    origin: bytes
    stream: list[Welcomed | Continued | Checked | Read | Loaded | Decided | ClientEvent] = field(
        default_factory=list
    )
    sent: list[Sent] = field(default_factory=list)
    given: set[bytes] = field(default_factory=set)
    faults: list[str] = field(default_factory=list)


Real = Callable[..., Any]
"""A method that is watched."""


def around(part: object, method: str, watch: Callable[..., object]) -> None:
    """Let `watch` take the place of a method of this one object; it is given the method."""
    setattr(part, method, partial(watch, getattr(part, method)))


class RecordedParticipant(Participant):
    """The client's half, writing down what comes and goes."""

    def __init__(
        self,
        clock: Clock,
        random_bytes: RandomBytes,
        name: str,
        room_key: RoomKey | None,
        share: KeyShare,
    ) -> None:
        super().__init__(random_bytes, name, room_key, share)
        # Parts are broken on purpose by their classes, and watched in this one participant.
        around(self._reader, "_apply", self._applies)
        around(self._reader, "_on_message", self._takes)
        around(self._hearing, "read", self._reads)
        around(self._speech, "_seal", self._seals)
        self.share = share.public
        self.server: Callable[[], str] = str
        """The process to which it is connected."""
        self._clock = clock
        self._oldest_epoch = 0
        self.story = Story(self._outbox._origin)

    def receive_control(self, control: Control, now: float) -> list[ClientEvent]:
        story = self.story
        if isinstance(control, Welcome):
            here = self._membership
            members = Counter[bytes]() if here is None else here.peers.connections()
            repeatable = frozenset(self._keyring._repeat)
            place = self.room, self.offset, members, repeatable
        if isinstance(control, Resumed):
            story.stream.append(Continued(now, self.room, self.offset, self.server()))
        if isinstance(control, Welcome | Rekey):
            story.given.add(control.secret)
        shown = super().receive_control(control, now)
        if isinstance(control, Welcome):
            self._oldest_epoch = 0
            epochs = frozenset(self._keyring._known)
            story.stream.append(Welcomed(now, control, *place, epochs, self.server()))
        if isinstance(control, Check) and not shown:
            story.stream.append(Checked(self.room, self.offset))
        return shown

    def _applies(
        self, real: Real, here: membership.Membership, event: RoomEvent
    ) -> list[ClientEvent]:
        if isinstance(event, Left):
            self._oldest_epoch = self._keyring.current + 1
        shown: list[ClientEvent] = real(here, event)
        return shown

    def _takes(
        self,
        real: Real,
        here: membership.Membership,
        header: RoomHeader,
        frame: bytes,
        opened: bytes | None,
    ) -> list[ClientEvent]:
        shown: list[ClientEvent] = real(here, header, frame, opened)
        if header.epoch < self._oldest_epoch and shown:
            self.story.faults.append("takes what was sealed before somebody left")
        return shown

    def _reads(
        self, real: Real, here: membership.Membership, peer: Peer, content: MessageContent
    ) -> list[ClientEvent]:
        shown: list[ClientEvent] = real(here, peer, content)
        self.story.stream.append(Read(self.room, peer.number, peer.name, content.seen, shown))
        return shown

    def _seals(
        self,
        real: Real,
        here: membership.Membership,
        messages: list[tuple[int, MessageContent]],
    ) -> list[bytes]:
        epoch = self._keyring.current
        for seq, content in messages:
            sent = Sent(self._clock(), self.offset, here.room, here.id, epoch, seq, content)
            self.story.sent.append(sent)
        sealed: list[bytes] = real(here, messages)
        return sealed

    def shares_of(self, person: Person) -> frozenset[bytes]:
        """For whom a private message to this person is sealed now."""
        assert self._entered is not None
        peers = self._entered.peers.of_person(person.name, person.fingerprint)
        return frozenset(peer.card.share for peer in peers[:DIRECT_WRAPS_OF_PERSON])

    # -- where it stands

    @property
    def offset(self) -> int:
        return 0 if self._membership is None else self._membership.trail.offset

    @property
    def room(self) -> bytes:
        return b"" if self._membership is None else self._membership.room


class SharedLines:
    """The list of known members of all runs of a person, which are on one machine."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def errors(self) -> AbstractContextManager[None]:
        return nullcontext()

    def changing(self, _seconds: float) -> AbstractContextManager[None]:
        return nullcontext()

    def read(self) -> list[str]:
        return list(self._lines)

    def write(self, lines: list[str]) -> None:
        self._lines = lines


class RecordedMembers(MembersFile):
    """The list of known members, writing down what a run finds in it."""

    story: Story

    def __init__(self, lines: SharedLines, clock: Clock) -> None:
        super().__init__(Path())
        self._file = cast(LineFile, lines)
        self._clock = clock

    def load(self, room: str) -> tuple[list[Known], str]:
        known, complaint = super().load(room)
        self.story.stream.append(Loaded(self._clock(), tuple(known)))
        return known, complaint


class RecordedContacts(Contacts):
    """Whom a client knows, writing down what is shown of what happens."""

    story: Story

    def take(self, event: ClientEvent, room: str, roster: Roster) -> list[ClientEvent]:
        shown = super().take(event, room, roster)
        self.story.stream += shown
        return shown


class RecordedClient(Client):
    """A client that writes down what it shows."""

    def __init__(self, *arguments: Any, members: RecordedMembers, **options: Any) -> None:
        super().__init__(*arguments, members=members, **options)
        assert isinstance(self._contacts, RecordedContacts)
        self._contacts.story = members.story = self.story

    @property
    def recorded(self) -> RecordedParticipant:
        assert isinstance(self._participant, RecordedParticipant)
        return self._participant

    @property
    def story(self) -> Story:
        return self.recorded.story

    @property
    def lingers(self) -> bool:
        """Whether something could be sent, and waits for nothing."""
        connection = self._connection
        if connection is None or connection.over:
            return False
        can_leave = connection._outgoing.idle and self.recorded.has_data_to_send
        return can_leave or bool(connection._session._out)

    def decide(self, what: str, name: str) -> None:
        """Let the person trust, ignore or unignore a member, or whom it was."""
        here = (one for one in self.members() if one.name == name and not one.unproved)
        found = [one for one in here if one.standing is not Standing.YOU]
        key = found[0].fingerprint if found else b""
        possible = bool(found)
        match what:
            case "trust" if found:
                one = self.trust(name)
                possible = one is not None and one.standing is Standing.CHANGED
            case "ignore" if found:
                self.ignore(name)
            case "unignore":
                possible = self.unignore(name)
            case _:
                return
        decided = Decided(self.recorded.offset, what, (name, key), possible)
        self.story.stream.append(decided)
