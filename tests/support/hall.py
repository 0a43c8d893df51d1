"""Two ways to put a participant to the test without sockets or sessions.

`RoomInMemory` joins one real `Room` and several participants. `Server` makes what a server sends,
and `Desk` gives it to one participant, so that it can do what no honest server does.
"""

import hashlib
from collections import deque
from typing import Any

from chat import limits
from chat.cipher import SealingKey, sealed_bytes
from chat.client.events import ClientEvent, MessageQueued, MessageReceived, Reconnected, Warned
from chat.client.participant import Participant
from chat.contents import Kind, MessageContent, Repeat, text_of
from chat.controls import Check, Control, Rekey, Resume, Roster, Welcome, decode_control
from chat.errors import Reason
from chat.frozen import replace
from chat.identities import Card, RosterEntry
from chat.kex import KeyShare, RoomKey, RoomSecret
from chat.roomevents import Joined, Left, RoomEvent
from chat.runninghash import RunningHash
from chat.server.log import OrderedLog
from chat.server.members import Member
from chat.server.room import Room, Unicast
from chat.server.state import State
from chat.wire import Event, FrameReader, Message, room_header, room_headers
from tests.support.helpers import WALL_CLOCK, FixedBytes, key, open_frame


def fingerprint(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()


def cut(run: bytes) -> list[bytes]:
    """The frames of a run, all of the type of the first."""
    return [run[header.start : header.end] for header in room_headers(run[2] if run else 0, run)]


# -- a room and its participants, in memory ----------------------------------------------------


class Archive(OrderedLog):
    """A log that forgets like any other, and of which the test remembers everything."""

    def __init__(self) -> None:
        super().__init__(2**30)
        self.everything = b""

    def append(self, entries: bytes) -> None:
        super().append(entries)
        self.everything += entries


class MemberInMemory:
    """Somebody's participant, its membership, and its place in its stream."""

    def __init__(self, hall: "RoomInMemory", member: Member, title: str, share: KeyShare) -> None:
        self.hall = hall
        self.member = member
        self.participant = Participant(
            FixedBytes(f"participant {title}"), member.name, hall.room_key, share
        )
        self.participant.meet(key("server").public)
        self.connected = True
        self.following = False
        self.offset = 0
        self.splices: deque[tuple[int, bytes]] = deque()
        self.shown: list[ClientEvent] = []
        self.texts: list[str] = []
        self.under_way: deque[bytes] = deque()

    def say(self, text: str) -> None:
        """Type something. It is on its way until it is carried."""
        self.texts.append(text)
        self.participant.say(text, time_ms=int(self.hall.now * 1000))

    def say_to(self, name: str, text: str) -> MessageQueued:
        """The same, in private."""
        (person,) = [one for one in self.participant.members() if one.name == name]
        return self.participant.say_direct(person, text, time_ms=int(self.hall.now * 1000))

    def carry(self, count: int | None = None) -> None:
        """Let the server have the next `count` frames that are on their way, or all of them."""
        self.under_way.extend(cut(b"".join(self.participant.data_to_send())))
        count = len(self.under_way) if count is None else min(count, len(self.under_way))
        run = b"".join(self.under_way.popleft() for _ in range(count))
        if run:
            self.hall.deliver(self.hall.room.submit(self.member, run, self.hall.now))

    def read(self, count: int = 1_000_000) -> None:
        """Read the next `count` frames of the stream, or all of them. Splices come where they
        belong, and what lies between two of them comes in as few runs as can be."""
        while count and self.following:
            if self.splices and self.splices[0][0] == self.offset:
                control = decode_control(self.splices.popleft()[1])
                self.shown += self.participant.receive_control(control, self.hall.now)
                count -= 1
                continue
            end = self.splices[0][0] if self.splices else self.hall.log.end
            data = self.hall.log.read(self.offset, end)
            if not data:
                return
            frame_type, run = next(FrameReader(limits.MAX_FRAME_BYTES).feed(data))
            frames = cut(run)[:count]
            self.offset += sum(map(len, frames))
            count -= len(frames)
            self.shown += self.participant.receive_frames(frame_type, b"".join(frames))

    def lose(self) -> None:
        """The connection breaks: what is on its way in either direction does not arrive."""
        self.connected = self.following = False
        self.splices.clear()
        self.under_way.clear()
        self.participant.disconnect()

    def said(self) -> list[tuple[str, str]]:
        """Who said what, as this member was shown it."""
        return [
            (event.name, event.text) for event in self.shown if isinstance(event, MessageReceived)
        ]

    def warnings(self) -> list[str]:
        return [event.text for event in self.shown if isinstance(event, Warned)]

    def missed(self) -> int:
        return sum(event.missed for event in self.shown if isinstance(event, Reconnected))


class RoomInMemory:
    """A room, its log and the seats in it."""

    def __init__(self, room_key: RoomKey | None = None) -> None:
        """`room_key` is what its members have; None: it is the open room."""
        self.room_key = room_key
        self.log = Archive()
        self.room = Room(self.log, FixedBytes("room"), limits.GRACE_SECONDS)
        self.now = 1_000.0
        self.seats: dict[int, MemberInMemory] = {}
        self.everybody: list[MemberInMemory] = []

    def join(self, name: str, key_name: str = "", **card: Any) -> MemberInMemory:
        """Let somebody in, whose key is called as the person is, or otherwise. `card` has what is
        not as it should be in the card; then this client does not look at its own."""
        share = KeyShare(FixedBytes(f"share {len(self.everybody)}"))
        shown = replace(self._card(name, fingerprint(key_name or name), share), **card)
        member = self._join(name, fingerprint(key_name or name), shown)
        seat = MemberInMemory(self, member, f"{member.id} {name}", share)
        if card:
            seat.participant._share = None
        self.seats[member.id] = seat
        self.everybody.append(seat)
        return seat

    def _card(self, name: str, digest: bytes, share: KeyShare) -> Card:
        return Card(share.public, self.proof(name, digest, share.public))

    def proof(self, name: str, digest: bytes, share: bytes) -> bytes:
        """What somebody can say who has the room key, if there is one."""
        if self.room_key is None:
            return b""
        room = self.room_key.at(key("server").public.digest)
        return room.proof(name, digest, share, caller=False)

    def _join(self, name: str, digest: bytes, card: Card) -> Member:
        return self.room.join(name, digest, WALL_CLOCK + self.now, card)

    def crash(self) -> None:
        """The server dies, and is started anew."""
        for seat in self.everybody:
            seat.lose()
        self.seats.clear()
        self.log = Archive()
        self.room = Room(self.log, FixedBytes(f"room {self.now}"), limits.GRACE_SECONDS)

    def kept(self) -> tuple[State, bytes]:
        """The room and its log as they are now, for `put_back`."""
        return self.room.state(), self.log.everything

    def put_back(self, kept: tuple[State, bytes]) -> None:
        """What has happened since then is gone, and all connections with it."""
        for seat in self.everybody:
            seat.lose()
        state, everything = kept
        self.log = Archive()
        self.log.append(everything)
        random_bytes = FixedBytes(f"room {self.now}")
        self.room = Room.restored(state, self.log, random_bytes, limits.GRACE_SECONDS)
        self.seats = {
            one.member.id: one for one in self.everybody if one.member.id in self.room.members
        }
        for number, seat in self.seats.items():
            seat.member = self.room.members[number]

    def enter(self, *names: str) -> list[MemberInMemory]:
        """Let these in, and let everybody hear of it."""
        seats = [self.join(name) for name in names]
        self.pass_time(1)
        self.settle()
        return seats

    def leave(self, seat: MemberInMemory, reason: Reason = Reason.LEFT) -> None:
        del self.seats[seat.member.id]
        self.room.leave(seat.member, reason)

    def lose(self, seat: MemberInMemory) -> None:
        """A member's connection breaks, and the server notices."""
        seat.lose()
        self.room.suspend(seat.member, self.now)

    def come_back(self, seat: MemberInMemory) -> None:
        """A member connects anew: to where it was, or as a new member."""
        if seat.connected:
            seat.lose()
        seat.connected = True
        before = seat.member
        first = seat.participant.first_control()
        resumed = None
        if isinstance(first, Resume):
            resumed = self.room.resume(first, before.fingerprint, self.now)
        if resumed is None:
            seat.member = self._join(before.name, before.fingerprint, before.entry().card)
            self.seats[seat.member.id] = seat
        else:
            self.deliver(resumed[1])

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        for member in self.room.end_grace(self.now):
            del self.seats[member.id]
        self.deliver(self.room.tick(self.now))
        self.deliver(self.room.tell_hash(self.now))

    def deliver(self, unicasts: list[Unicast]) -> None:
        for unicast in unicasts:
            seat = self.seats[unicast.member.id]
            if not seat.connected:
                continue
            if not seat.following:
                seat.following = True
                seat.offset = unicast.at
            seat.splices.extend((unicast.at, control) for control in unicast.controls)

    def trim(self, window_bytes: int) -> None:
        """Forget all but so much of the log; who is still behind that loses its connection."""
        self.log.window_bytes = window_bytes
        while behind := [seat for seat in self.seats.values() if self.is_behind(seat)]:
            # Which is said in the log, so that others may fall behind.
            self.lose(behind[0])
        self.log.trim(self.log.start_after_trim())

    def is_behind(self, seat: MemberInMemory) -> bool:
        return seat.following and seat.offset < self.log.start_after_trim()

    def settle(self) -> None:
        """Let everybody send and read until nothing is on its way."""
        for _ in range(5):
            for seat in self.seats.values():
                seat.carry()
                seat.read()


# -- the server by hand ------------------------------------------------------------------------

US, THEM, OTHER = 1, 2, 3
EPOCH = 5
ROOM = b"room one"
TOKEN = b"t" * limits.RESUME_TOKEN_BYTES
SEED = "participant"
ORIGIN = FixedBytes(SEED)(limits.ORIGIN_BYTES)
CUT = None
"""In a script: the connection is lost."""


def entry(
    number: int,
    name: str,
    seq: int = 0,
    since: int = 0,
    *,
    lost: bool = False,
    caller: bool = False,
) -> RosterEntry:
    return RosterEntry(number, seq, name, fingerprint(name), since, Card(caller=caller), lost=lost)


MEMBERS = (
    entry(US, "Ira", since=11),
    entry(THEM, "Sahnawaz", since=12),
    entry(OTHER, "Thea", since=13),
)


def hi(number: int, name: str = "Sahnawaz", text: str = "Hi") -> MessageReceived:
    """What is shown of `Server.message`."""
    return MessageReceived(name, 7, text, own=False, number=number)


def own(number: int, text: str) -> MessageReceived:
    """What is shown of `Server.ours`."""
    return MessageReceived("Ira", 9, text, own=True, number=number)


class Server:
    """What a server can send, true or not. Room, token, epoch and secret are those of now."""

    def __init__(self, epoch: int = EPOCH) -> None:
        self.random_bytes = FixedBytes("desk")
        self.room = ROOM
        self.token = TOKEN
        self.secret = RoomSecret(b"5" * 32)
        self.secrets: dict[tuple[bytes, int], RoomSecret] = {}
        """Those of all rooms and epochs in which something was said."""
        self.epoch = epoch
        self.event_seq = 0
        self.oldest = 1
        self.hash = RunningHash(bytes(32))
        self.offset = 4_711

    def welcome(
        self, member: int = US, members: int = 3, offset: int = 4_711, messages: int = 0
    ) -> Welcome:
        self.hash, self.offset = RunningHash(bytes(32)), offset
        epochs = (self.epoch, self.oldest, self.secret.secret)
        return Welcome(
            self.room,
            member,
            self.token,
            *epochs,
            offset,
            self.hash.base,
            messages,
            self.event_seq,
            members,
        )

    def check(self) -> Check:
        """The running hash of what was made since the welcome."""
        return Check(self.offset, self.hash.digest())

    def seal(self, kind: int, key: SealingKey, sender: int, seq: int, content: bytes) -> bytes:
        header = room_header(kind, self.epoch, sender, seq, sealed_bytes(len(content)))
        return self.write(header + key.seal(header, content, self.random_bytes))

    def write(self, frame: bytes) -> bytes:
        """The frame is in the log now."""
        self.hash.update(frame)
        self.offset += len(frame)
        return frame

    def content(self, seq: int, content: bytes, sender: int = THEM) -> bytes:
        """A message with any content, well sealed."""
        self.secrets[self.room, self.epoch] = self.secret
        return self.seal(Message.TYPE, self.secret.message_key(), sender, seq, content)

    def message(
        self,
        seq: int,
        text: str = "Hi",
        sender: int = THEM,
        time_ms: int = 7,
        origin: bytes | None = None,
        number: int | None = None,
    ) -> bytes:
        """A message of another member. By default its number in the sender's run is `seq`."""
        origin = bytes((sender % 256,)) * limits.ORIGIN_BYTES if origin is None else origin
        number = seq if number is None else number
        content = MessageContent(Kind.SAY, time_ms, origin, number, text.encode())
        return self.content(seq, content.encode(), sender)

    def ours(self, seq: int, text: str, number: int | None = None) -> bytes:
        """A message of the participant's own, as it sends it."""
        return self.message(seq, text, US, 9, ORIGIN, number)

    def broken(self, seq: int, sender: int = THEM) -> bytes:
        """A message that does not open."""
        return self.write(Message(self.epoch, sender, seq, bytes(128)).to_wire())

    def event(self, event: RoomEvent) -> bytes:
        """The next event; the epoch changes as the event says."""
        self.event_seq += 1
        key = self.secret.event_key()
        data = self.seal(Event.TYPE, key, 0, self.event_seq, event.encode())
        if isinstance(event, Joined | Left):
            self.hash.begin_epoch()
            self.renew(self.secret.step() if isinstance(event, Joined) else RoomSecret(b"r" * 32))
        if isinstance(event, Left):
            self.oldest = self.epoch
        return data

    def joined(self, *entries: RosterEntry) -> bytes:
        return self.event(Joined(entries))

    def left(self, *members: int, reason: Reason = Reason.LEFT) -> bytes:
        return self.event(Left(tuple((member, reason) for member in members)))

    def renew(self, secret: RoomSecret) -> None:
        """Go on to the next epoch."""
        self.epoch += 1
        self.secret = secret

    def rekey(self) -> Rekey:
        return Rekey(self.epoch, self.secret.secret)

    def restart(self, room: bytes = b"") -> None:
        """The server died, and is there again with a new room; or, with the room of before, it put
        the participant out."""
        self.room = room or bytes(((self.room[0] + 1) % 256,)) + self.room[1:]
        self.token = bytes(((self.token[0] + 1) % 256,)) + self.token[1:]
        self.secret = RoomSecret((self.room[:7] + self.token[:1]) * 4)
        self.epoch = 2
        self.oldest = 1
        self.event_seq = 1


class Desk(Server):
    """A server by hand, and the one participant that it welcomed to epoch 5."""

    def __init__(self, *script: str, welcomed: bool = True) -> None:
        """`script`: what was said and acknowledged already."""
        super().__init__()
        self.participant = Participant(FixedBytes(SEED), "Ira")
        self.now = 1_000.0
        if welcomed:
            self.play(self.welcome(), Roster(MEMBERS))
        for seq, text in enumerate(script, 1):
            self.now += 1
            self.play(text)
            self.sent()
            self.play(self.ours(seq, text))
        if welcomed:
            self.play(self.check())

    def new_room(self, *members: RosterEntry, room: bytes = b"") -> list[ClientEvent]:
        """Lose the connection to `restart`, and come back, to these or to MEMBERS."""
        self.restart(room)
        members = members or MEMBERS
        return self.play(CUT, self.welcome(members=len(members)), Roster(members))

    def play(self, *script: str | bytes | Control | None) -> list[ClientEvent]:
        """Let this happen to the participant, and return what it shows. Text is said, bytes are
        frames of the room (each run by itself), None is CUT."""
        shown: list[ClientEvent] = []
        for step in script:
            match step:
                case str():
                    self.participant.say(step, 9)
                case bytes():
                    self.participant.note_activity(self.now)
                    for frame_type, run in FrameReader(limits.MAX_FRAME_BYTES).feed(step):
                        shown += self.participant.receive_frames(frame_type, run)
                case None:
                    self.participant.disconnect()
                case _:
                    control = decode_control(step.encode())
                    shown += self.participant.receive_control(control, self.now)
        return shown

    def contents(self) -> list[tuple[int, MessageContent]]:
        """Number and content of what the participant sends, all under the current key."""
        found, key = [], self.secret.message_key()
        for frame in cut(b"".join(self.participant.data_to_send())):
            (header,) = room_headers(Message.TYPE, frame)
            assert (header.epoch, header.sender) == (self.epoch, US)
            found.append((header.seq, MessageContent.decode(open_frame(key, frame))))
        return found

    def sent(self) -> list[tuple[int, str]]:
        """Number and text of what the participant sends, all under the current key."""
        return [(seq, self.text(content)) for seq, content in self.contents()]

    def text(self, content: MessageContent) -> str:
        """What is said, or repeated."""
        if content.kind is Kind.SAY:
            return text_of(content.body)
        repeat = Repeat.decode(content.body)
        key = self.secrets[repeat.room, repeat.epoch].repeat_key()
        return text_of(key.open(content.bound(), repeat.sealed))

    def echo(self) -> list[ClientEvent]:
        """Let the participant send, and have it all back from the log."""
        run = b"".join(self.participant.data_to_send())
        return self.play(*map(self.write, cut(run)))
