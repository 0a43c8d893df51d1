"""The client's half of the conversation: keys of the epochs, opening, the outbox.

Implements PROTOCOL 6 as a client does it. Frames and control messages in, things to show and frames
out. Sockets, the screen and the handshake are not known here.
"""

from collections import deque
from dataclasses import dataclass, field

from chat.cipher import RandomBytes, SealingKey, sealed_bytes
from chat.errors import OpenError, ProtocolError, Reason, UsageError
from chat.kex import RoomSecret
from chat.limits import EPOCH_KEEP_SECONDS, MAX_TEXT_BYTES, OUTBOX_BYTES, OUTBOX_MESSAGES
from chat.messages import (
    Closing,
    Control,
    Joined,
    Left,
    Notice,
    Rekey,
    Resend,
    Roster,
    RosterEntry,
    Speech,
    Welcome,
    decode_room_event,
)
from chat.wire import Event, Message, room_header, room_headers

# -- what there is to show ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Entered:
    """We are in; these are the members, ourselves among them."""

    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Said:
    """Somebody said something; `own` when it is ours, which acknowledges it."""

    name: str
    time_ms: int
    text: str
    own: bool


@dataclass(frozen=True, slots=True)
class Came:
    """Somebody joined."""

    name: str


@dataclass(frozen=True, slots=True)
class Went:
    """Somebody left."""

    name: str
    reason: Reason


@dataclass(frozen=True, slots=True)
class Noticed:
    """The server's operator says something."""

    text: str


@dataclass(frozen=True, slots=True)
class RoomClosed:
    """The room has come to its end."""


@dataclass(frozen=True, slots=True)
class Warned:
    """Something is not as it should be; said once for each sender and kind."""

    text: str


Happening = Entered | Said | Came | Went | Noticed | RoomClosed | Warned


# -- the participant ---------------------------------------------------------------------------


class _Peer:
    """Another member (or ourselves, or the server), and how far we have heard it."""

    __slots__ = ("name", "seq", "warned")

    def __init__(self, name: str, seq: int) -> None:
        self.name = name
        self.seq = seq
        self.warned: set[str] = set()


class _Epoch:
    """An epoch's secret and its keys, derived when they are first needed."""

    __slots__ = ("_event_key", "_message_key", "ended_at", "secret")

    def __init__(self, secret: RoomSecret) -> None:
        self.secret = secret
        self.ended_at = float("inf")
        self._message_key: SealingKey | None = None
        self._event_key: SealingKey | None = None

    @property
    def message_key(self) -> SealingKey:
        if self._message_key is None:
            self._message_key = self.secret.message_key()
        return self._message_key

    @property
    def event_key(self) -> SealingKey:
        if self._event_key is None:
            self._event_key = self.secret.event_key()
        return self._event_key


@dataclass(frozen=True, slots=True)
class _Unacknowledged:
    seq: int
    speech: Speech = field(repr=False)


_SERVER = 0


class Participant:
    """A member's view of the room.

    Invariants: `_epochs` holds consecutive epochs of which `_epoch` is the last, and the first
    is no earlier than the one we were welcomed to. `_outbox` holds consecutive sequence numbers.
    """

    def __init__(self, random_bytes: RandomBytes) -> None:
        self._random_bytes = random_bytes
        self._id = 0
        self._epoch = 0
        self._first_epoch = 0
        self._members_missing = 0
        self._awaiting_rekey = False
        self._epochs: dict[int, _Epoch] = {}
        self._peers: dict[int, _Peer] = {}
        self._outbox: deque[_Unacknowledged] = deque()
        self._outbox_bytes = 0
        self._seq = 0
        self._out: list[bytes] = []

    # -- what is typed

    @property
    def entered(self) -> bool:
        """Whether we are in and know who else is."""
        return self._id != 0 and not self._members_missing

    @property
    def unacknowledged(self) -> int:
        """How many messages are under way."""
        return len(self._outbox)

    @property
    def full(self) -> bool:
        """Whether so much is under way that nothing more should be said for the moment."""
        return len(self._outbox) >= OUTBOX_MESSAGES or self._outbox_bytes >= OUTBOX_BYTES

    def say(self, text: str, time_ms: int) -> None:
        """Send a message, stamped with our clock in milliseconds since 1970.

        Raises:
            UsageError: the text is longer than a message may be.
        """
        size = len(text.encode())
        if size > MAX_TEXT_BYTES:
            raise UsageError(
                f"a message of {size} bytes is too long",
                f"a message has at most {MAX_TEXT_BYTES} bytes; send it in parts",
            )
        self._seq += 1
        message = _Unacknowledged(self._seq, Speech(time_ms, text))
        self._outbox.append(message)
        self._outbox_bytes += size
        self._send(message)

    def data_to_send(self) -> bytes:
        """The frames that are to be sent since the last call."""
        data = b"".join(self._out)
        self._out.clear()
        return data

    def _send(self, message: _Unacknowledged) -> None:
        content = message.speech.encode()
        header = room_header(
            Message.TYPE, self._epoch, self._id, message.seq, sealed_bytes(len(content))
        )
        key = self._epochs[self._epoch].message_key
        self._out.append(header + key.seal(header, content, self._random_bytes))

    # -- what arrives on the link

    def receive_control(self, control: Control, now: float) -> list[Happening]:
        """Take a control message.

        Raises:
            ProtocolError: it makes no sense here.
        """
        match control:
            case Welcome() if not self._id:
                return self._on_welcome(control)
            case Roster() if self._members_missing:
                return self._on_roster(control)
            case Rekey() if self._awaiting_rekey and control.epoch == self._epoch + 1:
                self._awaiting_rekey = False
                self._begin_epoch(RoomSecret(control.secret), now)
                return []
            case Resend() if self.entered:
                for message in self._outbox:
                    if message.seq >= control.seq:
                        self._send(message)
                return []
        raise ProtocolError(f"a {type(control).__name__} message is out of place")

    def _on_welcome(self, welcome: Welcome) -> list[Happening]:
        self._id = welcome.member
        self._first_epoch = self._epoch = welcome.epoch
        self._epochs[welcome.epoch] = _Epoch(RoomSecret(welcome.secret))
        self._members_missing = welcome.members
        self._peers[_SERVER] = _Peer("the server", welcome.event_seq)
        return []

    def _on_roster(self, roster: Roster) -> list[Happening]:
        if len(roster.entries) > self._members_missing:
            raise ProtocolError("more members than the welcome said")
        self._members_missing -= len(roster.entries)
        for entry in roster.entries:
            self._add(entry)
        if self._members_missing:
            return []
        if self._id not in self._peers:
            raise ProtocolError("we are not in the list of members")
        members = (peer.name for number, peer in self._peers.items() if number != _SERVER)
        return [Entered(tuple(members))]

    def _add(self, entry: RosterEntry) -> None:
        if entry.id in self._peers:
            raise ProtocolError("a member is in the room twice")
        self._peers[entry.id] = _Peer(entry.name, entry.seq)

    def _begin_epoch(self, secret: RoomSecret, now: float) -> None:
        self._epochs[self._epoch].ended_at = now
        self._epoch += 1
        self._epochs[self._epoch] = _Epoch(secret)
        oldest = next(iter(self._epochs))
        while now - self._epochs[oldest].ended_at > EPOCH_KEEP_SECONDS:
            del self._epochs[oldest]
            oldest += 1

    # -- what arrives in the room

    def receive_frames(self, frame_type: int, run: bytes, now: float) -> list[Happening]:
        """Take a run of room frames.

        Raises:
            ProtocolError: the server breaks the protocol. What a single member could have got wrong
                is not raised: it is dropped and said once.
        """
        if not self.entered:
            raise ProtocolError("a room frame before the welcome")
        happenings: list[Happening] = []
        for header in room_headers(run):
            if self._awaiting_rekey:
                raise ProtocolError("a room frame where a new key was due")
            frame = run[header.start : header.end]
            if frame_type == Event.TYPE:
                happenings += self._on_event(Event.from_wire(frame), now)
            else:
                happenings += self._on_message(Message.from_wire(frame))
        return happenings

    def _on_message(self, frame: Message) -> list[Happening]:
        peer = self._peers.get(frame.sender)
        if peer is None or frame.sender == _SERVER:
            return self._warn(self._peers[_SERVER], "a message of somebody who is not here")
        if frame.seq <= peer.seq:
            return self._warn(peer, "a message arrived twice, and was dropped the second time")
        if frame.epoch < self._first_epoch:
            # Sealed before we came, by somebody who had not heard of it: not for us.
            peer.seq = frame.seq
            return []
        epoch = self._epochs.get(frame.epoch)
        try:
            if epoch is None:
                raise OpenError
            content = epoch.message_key.open(frame.header, frame.sealed)
        except OpenError:
            # Its number stays free: the one that bears it rightly may be still to come.
            return self._warn(peer, "a message could not be opened, and was dropped")
        happenings = self._watch_gap(peer, frame.seq)
        peer.seq = frame.seq
        try:
            speech = Speech.decode(content)
        except ProtocolError as error:
            return [*happenings, *self._warn(peer, f"{error}, and was dropped")]
        own = frame.sender == self._id
        if own:
            self._acknowledge(frame.seq, speech)
        return [*happenings, Said(peer.name, speech.time_ms, speech.text, own)]

    def _acknowledge(self, seq: int, speech: Speech) -> None:
        if not self._outbox or self._outbox[0] != _Unacknowledged(seq, speech):
            raise ProtocolError("our own message came back, but not as we sent it")
        self._outbox.popleft()
        self._outbox_bytes -= len(speech.text.encode())

    def _on_event(self, frame: Event, now: float) -> list[Happening]:
        server = self._peers[_SERVER]
        if frame.sender != _SERVER or frame.epoch != self._epoch:
            raise ProtocolError("an event that does not fit in here")
        if frame.seq <= server.seq:
            return self._warn(server, "an event arrived twice, and was dropped the second time")
        try:
            content = self._epochs[self._epoch].event_key.open(frame.header, frame.sealed)
        except OpenError:
            return self._warn(server, "an event could not be opened, and was dropped")
        happenings = self._watch_gap(server, frame.seq)
        server.seq = frame.seq
        match decode_room_event(content):
            case Joined(entries):
                for entry in entries:
                    self._add(entry)
                self._begin_epoch(self._epochs[self._epoch].secret.step(), now)
                return [*happenings, *(Came(entry.name) for entry in entries)]
            case Left(departures):
                self._awaiting_rekey = True
                return [*happenings, *(self._remove(*departure) for departure in departures)]
            case Notice(text):
                return [*happenings, Noticed(text)]
            case Closing():
                return [*happenings, RoomClosed()]
        raise AssertionError

    def _remove(self, member: int, reason: Reason) -> Went:
        if member in (_SERVER, self._id) or member not in self._peers:
            raise ProtocolError("somebody left who was not here")
        return Went(self._peers.pop(member).name, reason)

    def _watch_gap(self, peer: _Peer, seq: int) -> list[Happening]:
        missing = seq - peer.seq - 1
        if not missing:
            return []
        text = f"{missing} of {peer.name}'s messages did not arrive: somebody withheld them"
        return [Warned(text)]

    def _warn(self, peer: _Peer, text: str) -> list[Happening]:
        if text in peer.warned:
            return []
        peer.warned.add(text)
        return [Warned(f"{peer.name}: {text}")]
