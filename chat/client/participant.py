"""A member's view of the room: frames and control messages in, events and frames out.

Implements PROTOCOL 5 and 6 as a client does. Sockets, the screen and the handshake are not known
here.

Theory of operation
-------------------

A participant outlives connections and memberships. What it knows has three lifetimes, and each is
kept where it can be replaced as a whole:

- of one membership (`Membership`): our place in the log and the roster; made by WELCOME;
- of the epochs (`Keyring`): the keys, which a welcome to the same place keeps and extends;
- of the whole run: what we have said (`Outbox`), what we have shown (`SeenMessages`), whom we wait
  for in a new room (`Regroup`), and since when nothing has come (`Progress`).

`Phase` says what may arrive now. Everything else is a breach of the protocol:

    phase           takes                             ends with
    DISCONNECTED    WELCOME; RESUMED, if we may       WELCOME -> LOADING_ROSTER
                    resume                            RESUMED -> CATCHING_UP
    LOADING_ROSTER  ROSTER                            the last name -> REGROUPING or LIVE as a new
                                                      member, CATCHING_UP as the old one
    CATCHING_UP     room frames, REKEY, RESEND        RESEND -> LIVE, or REGROUPING if others are
                                                      still missing
    REGROUPING      room frames, REKEY, RESEND        everybody is there, or time is up -> LIVE
    LIVE            room frames, REKEY, RESEND        -

`disconnect` leads from each of them to DISCONNECTED. We send in LIVE alone, and not between LEFT
and its REKEY. Whatever was said before waits in the outbox.
"""

from enum import Enum, auto

from chat.cipher import RandomBytes, SealingKey, sealed_bytes
from chat.client.events import (
    ClientEvent,
    Entered,
    MemberBack,
    MemberJoined,
    MemberLeft,
    MemberLost,
    MessageQueued,
    MessageReceived,
    NoticeReceived,
    Person,
    Reconnected,
    RoomClosed,
    Warned,
)
from chat.client.keyring import Keyring
from chat.client.membership import Membership
from chat.client.outbox import Outbox, Regroup, SeenMessages
from chat.client.peers import SERVER, Peer
from chat.client.progress import Progress
from chat.errors import OpenError, ProtocolError, Reason, UsageError
from chat.kex import RoomSecret
from chat.limits import (
    ACKNOWLEDGE_SECONDS,
    CATCH_UP_SECONDS,
    MAX_TEXT_BYTES,
    ORIGIN_BYTES,
    OUTBOX_BYTES,
    OUTBOX_MESSAGES,
)
from chat.messages import (
    Back,
    Closing,
    Control,
    Joined,
    Left,
    Lost,
    MessageContent,
    Notice,
    Ready,
    Rekey,
    Resend,
    Resume,
    Resumed,
    RoomEvent,
    Roster,
    Welcome,
    decode_room_event,
)
from chat.wire import ROOM_HEADER_BYTES, Event, Message, RoomHeader, room_header, room_headers


class Phase(Enum):
    """How we stand with the server; the table above says what each phase takes."""

    DISCONNECTED = auto()
    LOADING_ROSTER = auto()
    """Welcomed, but not told all names."""
    CATCHING_UP = auto()
    """Being told what we missed. RESEND comes at its end."""
    REGROUPING = auto()
    """In a new room, and waiting for the members of the old one."""
    LIVE = auto()


_PRESENT = (Phase.CATCHING_UP, Phase.REGROUPING, Phase.LIVE)


class Participant:
    """A member's view of the room, over one connection after the other."""

    def __init__(self, random_bytes: RandomBytes, name: str = "") -> None:
        """`name` is the name under which we join; an empty one matches any roster."""
        self._random_bytes = random_bytes
        self._name = name
        self._phase = Phase.DISCONNECTED
        self._membership: Membership | None = None
        self._keyring = Keyring()
        self._outbox = Outbox(random_bytes(ORIGIN_BYTES))
        self._seen = SeenMessages()
        self._regroup = Regroup()
        self._progress = Progress()
        self.overdue = False
        """Whether the server had owed us something for so long, at the last `tick`, that the
        connection is useless."""

    # -- what is typed

    @property
    def has_joined(self) -> bool:
        """Whether we have been in the room at least once."""
        return self._membership is not None and self._membership.was_in

    @property
    def phase(self) -> Phase:
        """Where we stand with the server."""
        return self._phase

    @property
    def in_room(self) -> bool:
        """Whether we are in the room now, though perhaps not allowed to send yet."""
        return self._phase in _PRESENT

    @property
    def can_send(self) -> bool:
        """Whether what is said now is sent now."""
        return self._phase is Phase.LIVE

    @property
    def unacknowledged(self) -> int:
        """How many messages were said and are not acknowledged."""
        return len(self._outbox.messages)

    @property
    def full(self) -> bool:
        """Whether so much is unacknowledged that nothing more should be said for the moment."""
        outbox = self._outbox
        return len(outbox.messages) >= OUTBOX_MESSAGES or outbox.size >= OUTBOX_BYTES

    def members(self) -> list[Person]:
        """Who is in the room, ourselves among them, as far as the roster has arrived."""
        return [] if self._membership is None else self._membership.peers.people()

    def say(self, text: str, time_ms: int) -> MessageQueued:
        """Send a message, now or when the connection is back. `time_ms` is by our clock, in
        milliseconds since 1970.

        Raises:
            UsageError: the text is longer than a message may be, or is no text.
        """
        try:
            size = len(text.encode())
        except UnicodeEncodeError as exc:
            raise UsageError("a message is text, and this is not UTF-8") from exc
        if size > MAX_TEXT_BYTES:
            raise UsageError(
                f"a message of {size} bytes is too long",
                f"a message has at most {MAX_TEXT_BYTES} bytes; send it in parts",
            )
        return MessageQueued(self._outbox.add(time_ms, text), text)

    @property
    def has_data_to_send(self) -> bool:
        """Whether `data_to_send` has something. Between LEFT and its REKEY it has not: the member
        who left could still read it."""
        return self.can_send and not self._keyring.awaits_rekey and self._outbox.unsent > 0

    def data_to_send(self) -> bytes:
        """The frames that are to be sent since the last call. Call it only when all it gave before
        has left: a message that has to be sent again meanwhile is then sealed once."""
        if not self.has_data_to_send:
            return b""
        return b"".join([self._seal(seq, content) for seq, content in self._outbox.take_to_send()])

    def _seal(self, seq: int, content: MessageContent) -> bytes:
        assert self._membership is not None
        data = content.encode()
        epoch, key = self._keyring.current, self._keyring.current_message_key
        size = sealed_bytes(len(data))
        header = room_header(Message.TYPE, epoch, self._membership.id, seq, size)
        return header + key.seal(header, data, self._random_bytes)

    # -- connections come and go

    @property
    def deadline(self) -> float | None:
        """When to call `tick` at the latest; None: when something arrives."""
        if self._phase is Phase.REGROUPING:
            return self._regroup.until
        if not self._waits_for_server:
            return None
        deadline = max(self._progress.came, self._progress.began) + ACKNOWLEDGE_SECONDS
        if self._phase is Phase.CATCHING_UP:
            return min(deadline, self._progress.began + CATCH_UP_SECONDS)
        return deadline

    @property
    def _waits_for_server(self) -> bool:
        """Whether the server owes us something: an acknowledgement, a key, the end of what we
        missed."""
        owed = bool(self._outbox.messages) or self._keyring.awaits_rekey
        return self._phase is Phase.CATCHING_UP or (self._phase is Phase.LIVE and owed)

    @property
    def stuck_since(self) -> float:
        """Since when nothing has come that the user waits for, not even the connection: while
        something is unacknowledged, an acknowledgement; otherwise what we missed."""
        return self._progress.since

    def tick(self, now: float, *, listening: bool = True) -> None:
        """Time has passed. Call this in each turn; `listening` is whether we read what arrived
        since the last call."""
        if self._phase is Phase.REGROUPING and now >= self._regroup.until:
            self.stop_waiting()
        owed = self._waits_for_server
        waiting = owed or self._phase not in _PRESENT or bool(self._outbox.messages)
        self._progress.look(now, self._phase, waiting=waiting, owed=owed, listening=listening)
        self.overdue = owed and self.deadline is not None and now >= self.deadline

    def stop_waiting(self) -> None:
        """In a new room: send what there is to say, whoever is still missing."""
        if self._phase is Phase.REGROUPING:
            self._phase = Phase.LIVE
            self._regroup.stop()

    def first_control(self) -> Ready | Resume:
        """What to say first on a new link."""
        if self._membership is None:
            return Ready()
        return self._membership.resume(self._keyring.current)

    def note_activity(self, now: float) -> None:
        """Something arrived on the connection, if only a PONG."""
        if self._phase in _PRESENT:
            self._outbox.age(now)

    def disconnect(self) -> None:
        """The connection is lost. What is said from now on waits for the next one."""
        self._phase = Phase.DISCONNECTED
        self._outbox.rewind()

    # -- what arrives on the link

    def receive_control(self, control: Control, now: float) -> list[ClientEvent]:
        """Take a control message.

        Raises:
            ProtocolError: it makes no sense here.
        """
        match control, self._phase:
            case Welcome(), Phase.DISCONNECTED:
                self._on_welcome(control)
                return []
            case Roster(), Phase.LOADING_ROSTER:
                return self._on_roster(control, now)
            case Resumed(), Phase.DISCONNECTED if self._membership and self._membership.entered:
                self._phase = Phase.CATCHING_UP
                return [Reconnected(0, new_room=False, awaiting=False)]
            case Rekey(), _ if self._phase in _PRESENT and self._keyring.expects(control.epoch):
                self._keyring.renew(RoomSecret(control.secret))
                return []
            case Resend(), Phase.CATCHING_UP | Phase.REGROUPING if self._regroup.waits:
                self._phase = Phase.REGROUPING
                return []
            case Resend(), Phase.CATCHING_UP | Phase.LIVE:
                self._phase = Phase.LIVE
                self._outbox.rewind(control.seq)
                return []
        raise ProtocolError(f"a {type(control).__name__} message is out of place")

    def _on_welcome(self, welcome: Welcome) -> None:
        before = self._membership
        membership = self._membership = Membership(welcome, before)
        if not membership.same_place:
            # A new member's sequence numbers begin at 1, and its keys with this epoch.
            self._outbox.renumber(replay=not membership.same_room)
            self._keyring.forget()
        if before is not None and before.was_in and not membership.same_room:
            self._regroup.expect(before.peers.fingerprints())
        self._keyring.welcome(welcome.epoch, RoomSecret(welcome.secret))
        self._phase = Phase.LOADING_ROSTER

    def _on_roster(self, roster: Roster, now: float) -> list[ClientEvent]:
        membership = self._membership
        assert membership is not None
        return self._enter(membership, now) if membership.take(roster.entries) else []

    def _enter(self, membership: Membership, now: float) -> list[ClientEvent]:
        """The roster is complete. The order of the steps matters:

        1. What the roster says of our own messages acknowledges them, since they lie in a part of
           the log that we shall not see. A lying roster is refused before anything has changed.
        2. The phase depends on who is missing, so those who are here are counted first.
        3. The user is told that the connection is back and what was missed, then who is in, and
           only then of our own messages: they came after all that was missed.
        """
        us = membership.ourselves(self._name)
        accepted = self._take_acknowledged(us)
        again = membership.was_in
        membership.enter()
        self._regroup.arrived(membership.peers.fingerprints())
        self._phase = self._phase_on_entering(membership, now)
        events: list[ClientEvent] = []
        if again:
            # Our own messages were counted as missed, but are shown now.
            missed = max(0, membership.missed - len(accepted))
            awaiting = self._phase is Phase.REGROUPING
            events.append(Reconnected(missed, membership.changed_room, awaiting))
        if membership.is_new:
            events.append(Entered(tuple(peer.name for peer in membership.peers), again))
        for content in accepted:
            events += self._show(us, content, own=True)
        return events

    def _take_acknowledged(self, us: Peer) -> list[MessageContent]:
        """Acknowledge and return what the roster counts of our own messages."""
        outbox = self._outbox
        if us.seq > outbox.sent_seq:
            raise ProtocolError("the server counts messages that we did not send")
        accepted = [content for seq, content in outbox.numbered(0) if seq <= us.seq]
        for _ in accepted:
            outbox.acknowledge()
            self._progress.move()
        return accepted

    def _phase_on_entering(self, membership: Membership, now: float) -> Phase:
        if not membership.is_new:
            return Phase.CATCHING_UP
        self._regroup.begin(now)
        return Phase.REGROUPING if self._regroup.waits else Phase.LIVE

    # -- what arrives in the room

    def receive_frames(self, frame_type: int, run: bytes) -> list[ClientEvent]:
        """Take a run of room frames, all of the same type.

        Raises:
            ProtocolError: the server breaks the protocol. What a single member could have got wrong
                is not raised: the frame is dropped, with one warning for each member and kind.
        """
        membership = self._membership
        if membership is None or self._phase not in _PRESENT:
            raise ProtocolError("a room frame before the welcome")
        events: list[ClientEvent] = []
        if self._phase is Phase.CATCHING_UP:
            self._progress.move(awaited=not self._outbox.messages)
        for header in room_headers(run):
            if self._keyring.awaits_rekey:
                raise ProtocolError("a room frame where a new key was due")
            sealed_at = header.start + ROOM_HEADER_BYTES
            bound, sealed = run[header.start : sealed_at], run[sealed_at : header.end]
            if frame_type == Event.TYPE:
                events += self._on_event(membership, header, bound, sealed)
            else:
                membership.messages += 1
                events += self._on_message(membership, header, bound, sealed)
            membership.offset += header.end - header.start
        return events

    def _on_message(
        self, membership: Membership, header: RoomHeader, bound: bytes, sealed: bytes
    ) -> list[ClientEvent]:
        """`bound` are the header's bytes, which the sealed part is bound to."""
        peer = membership.peers.find(header.sender)
        if peer is None:
            return _warn(membership.server, "a message of somebody who is not here")
        if header.seq <= peer.seq:
            return _warn(peer, "a message arrived twice, and was dropped the second time")
        key = self._keyring.message_key(header.epoch)
        if key is None and header.epoch < self._keyring.first:
            # Sealed before we came, by a member who had not heard of us: not for us.
            peer.account_for(header.seq)
            return []
        data = _opened(key, bound, sealed)
        if data is None:
            # Its number stays free: the message that rightly bears it may still come.
            peer.account_for(header.seq)
            return _warn(peer, "a message could not be opened, and was dropped")
        events = _hear(peer, header.seq)
        own = header.sender == membership.id
        try:
            content = MessageContent.decode(data)
        except ProtocolError as error:
            if own:
                raise
            return [*events, *_warn(peer, f"{error}, and was dropped")]
        if own:
            self._acknowledge(header.seq, content)
        return [*events, *self._show(peer, content, own)]

    def _acknowledge(self, seq: int, content: MessageContent) -> None:
        outbox = self._outbox
        if not outbox.messages or (outbox.first_seq, outbox.messages[0]) != (seq, content):
            raise ProtocolError("our own message came back, but not as we sent it")
        outbox.acknowledge()
        self._progress.move()

    def _show(self, peer: Peer, content: MessageContent, own: bool) -> list[MessageReceived]:
        if not self._seen.is_new(peer.fingerprint, content.origin, content.number):
            return []
        return [MessageReceived(peer.name, content.time_ms, content.text, own, content.number)]

    def _on_event(
        self, membership: Membership, header: RoomHeader, bound: bytes, sealed: bytes
    ) -> list[ClientEvent]:
        server = membership.server
        if header.sender != SERVER or header.epoch != self._keyring.current:
            raise ProtocolError("an event that does not fit in here")
        if header.seq <= server.seq:
            return _warn(server, "an event arrived twice, and was dropped the second time")
        data = _opened(self._keyring.current_event_key, bound, sealed)
        if data is None:
            server.account_for(header.seq)
            return _warn(server, "an event could not be opened, and was dropped")
        return [*_hear(server, header.seq), *self._apply(membership, decode_room_event(data))]

    def _apply(self, membership: Membership, event: RoomEvent) -> list[ClientEvent]:
        peers = membership.peers
        match event:
            case Joined(entries):
                for entry in entries:
                    peers.add(entry)
                self._keyring.step()
                self._regroup.arrived(entry.fingerprint for entry in entries)
                if not self._regroup.waits:
                    self.stop_waiting()
                return [MemberJoined(entry.name) for entry in entries]
            case Left(departures):
                self._keyring.await_rekey()
                return [_remove(membership, *departure) for departure in departures]
            case Lost(member):
                return [] if member == membership.id else [MemberLost(peers.of(member).name)]
            case Back(member):
                return [] if member == membership.id else [MemberBack(peers.of(member).name)]
            case Notice(text):
                return [NoticeReceived(text)]
            case Closing():
                return [RoomClosed()]
        raise AssertionError


def _remove(membership: Membership, member: int, reason: Reason) -> MemberLeft:
    if member == membership.id:
        raise ProtocolError("an event about somebody who is not here")
    return MemberLeft(membership.peers.remove(member).name, reason)


def _opened(key: SealingKey | None, bound: bytes, sealed: bytes) -> bytes | None:
    """What was sealed; None if it does not open."""
    try:
        return None if key is None else key.open(bound, sealed)
    except OpenError:
        return None


def _hear(peer: Peer, seq: int) -> list[ClientEvent]:
    """A frame with this number opened: whatever should have come before it was withheld."""
    missing = peer.hear(seq)
    if not missing:
        return []
    text = f"{missing} of {peer.name}'s messages did not arrive: somebody withheld them"
    return [Warned(text)]


def _warn(peer: Peer, text: str) -> list[ClientEvent]:
    """Say this, but only once of each peer."""
    if text in peer.warned:
        return []
    peer.warned.add(text)
    return [Warned(f"{peer.name}: {text}")]
