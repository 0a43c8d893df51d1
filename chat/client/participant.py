"""The client's half of the conversation: keys of the epochs, opening, acknowledging.

Implements PROTOCOL 6 as a client does it. Frames and control messages in, things to show and frames
out. Sockets, the screen and the handshake are not known here.
"""

from enum import Enum, auto

from chat.cipher import RandomBytes, sealed_bytes
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
from chat.client.outbox import Outbox
from chat.client.peers import SERVER, Peer, Peers
from chat.client.progress import Progress
from chat.client.seen import SeenMessages
from chat.errors import OpenError, ProtocolError, Reason, UsageError
from chat.kex import RoomSecret
from chat.limits import (
    ACKNOWLEDGE_SECONDS,
    CATCH_UP_SECONDS,
    MAX_MEMBERS,
    MAX_TEXT_BYTES,
    ORIGIN_BYTES,
    OUTBOX_BYTES,
    OUTBOX_MESSAGES,
    REGROUP_SECONDS,
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
from chat.wire import Event, Message, room_header, room_headers


class Phase(Enum):
    """How we stand with the server."""

    DISCONNECTED = auto()
    LOADING_ROSTER = auto()
    """Welcomed, but not told all names."""
    CATCHING_UP = auto()
    """Being told what we missed, at the end of which comes RESEND."""
    REGROUPING = auto()
    """In a new room, where those whom we knew are not yet back to hear us."""
    LIVE = auto()


_NOWHERE = 2**64 - 1
_MAX_OFFSET = 2**63


_PRESENT = (Phase.CATCHING_UP, Phase.REGROUPING, Phase.LIVE)


class Participant:
    """A member's view of the room, over one connection after the other.

    Invariant: `_offset` and `_messages` count what we have taken of the log.
    """

    def __init__(self, random_bytes: RandomBytes, name: str = "") -> None:
        """`name` is the one under which we join; when it is empty, any will do."""
        self._random_bytes = random_bytes
        self._name = name
        self._phase = Phase.DISCONNECTED
        self._outbox = Outbox(random_bytes(ORIGIN_BYTES))
        self._progress = Progress()
        # Of the membership:
        self._room = b""
        self._id = 0
        self._token = b""
        self._offset = 0
        self._messages = 0
        self._missed = 0
        self._server = Peer("the server", 0)
        self._peers = Peers()
        self._peers_to_come = 0
        # Of the epochs:
        self._keyring = Keyring()
        self._awaiting_rekey = False
        # Of the whole run; `_expected_back` are the keys of those to wait for in a new room.
        self._has_joined = False
        self._is_new = False
        self._changed_room = False
        self._expected_back: set[bytes] = set()
        self._expected_until = 0.0
        self._seen = SeenMessages()

    # -- what is typed

    @property
    def has_joined(self) -> bool:
        """Whether we have been in."""
        return self._has_joined

    @property
    def in_room(self) -> bool:
        """Whether we are in the room now, be it to listen."""
        return self._phase in _PRESENT

    @property
    def can_send(self) -> bool:
        """Whether what is said now is sent now."""
        return self._phase is Phase.LIVE

    @property
    def unacknowledged(self) -> int:
        """How many messages are under way."""
        return len(self._outbox.messages)

    @property
    def full(self) -> bool:
        """Whether so much is under way that nothing more should be said for the moment."""
        return self.unacknowledged >= OUTBOX_MESSAGES or self._outbox.size >= OUTBOX_BYTES

    def members(self) -> list[Person]:
        """Who is in the room, as far as we were told, ourselves among them."""
        return self._peers.people()

    def say(self, text: str, time_ms: int) -> MessageQueued:
        """Send a message, now or when the connection is back. `time_ms` is our clock's, in
        milliseconds since 1970.

        Raises:
            UsageError: the text is longer than a message may be, or no text.
        """
        try:
            size = len(text.encode())
        except UnicodeEncodeError as exc:
            raise UsageError("a message is text, and this is not Unicode") from exc
        if size > MAX_TEXT_BYTES:
            raise UsageError(
                f"a message of {size} bytes is too long",
                f"a message has at most {MAX_TEXT_BYTES} bytes; send it in parts",
            )
        self._outbox.add(time_ms, text)
        return MessageQueued(self._outbox.messages[-1].number, text)

    @property
    def has_data_to_send(self) -> bool:
        """Whether `data_to_send` has something. Between LEFT and its REKEY it has not: under the
        old key who has left could read it."""
        outbox = self._outbox
        return self.can_send and not self._awaiting_rekey and outbox.next_seq < outbox.end_seq

    def data_to_send(self) -> bytes:
        """The frames that are to be sent since the last call. To be asked for when what it gave
        before has left: what has to be sent again meanwhile is sealed once."""
        if not self.has_data_to_send:
            return b""
        return b"".join(self._seal(seq, speech) for seq, speech in self._outbox.take_to_send())

    def _seal(self, seq: int, speech: MessageContent) -> bytes:
        content = speech.encode()
        epoch, key = self._keyring.current, self._keyring.current_message_key
        header = room_header(Message.TYPE, epoch, self._id, seq, sealed_bytes(len(content)))
        return header + key.seal(header, content, self._random_bytes)

    # -- connections come and go

    @property
    def deadline(self) -> float | None:
        """When there is something to do: `tick`, or, when it is `overdue`, to connect anew."""
        if self._phase is Phase.REGROUPING:
            return self._expected_until
        if not self._waits_for_server:
            return None
        deadline = max(self._progress.since, self._progress.began) + ACKNOWLEDGE_SECONDS
        if self._phase is Phase.CATCHING_UP:
            return min(deadline, self._progress.began + CATCH_UP_SECONDS)
        return deadline

    @property
    def _waits_for_server(self) -> bool:
        """Whether the server owes us something: an acknowledgement, a key, the end of what we
        missed."""
        under_way = self.unacknowledged > 0 or self._awaiting_rekey
        return self._phase is Phase.CATCHING_UP or (self.can_send and under_way)

    def overdue(self, now: float) -> bool:
        """Whether the server owes us something for so long that the connection is of no use."""
        return self._waits_for_server and self.deadline is not None and now >= self.deadline

    @property
    def stuck_since(self) -> float:
        """Since when nothing has come back of what we wait for, be it the connection."""
        return self._progress.since

    def tick(self, now: float, *, listening: bool = True) -> None:
        """Time has passed: enough of it to wait for others no longer, perhaps. To be called in each
        turn; `listening` is whether what arrives was read since the last one."""
        if self._phase is Phase.REGROUPING and now >= self._expected_until:
            self.stop_waiting()
        waiting = not self.in_room or self._waits_for_server
        self._progress.look(now, self._phase, waiting=waiting, listening=listening)

    def stop_waiting(self) -> None:
        """Hold back no longer what there is to say."""
        if self._phase is Phase.REGROUPING:
            self._phase = Phase.LIVE
            self._expected_back.clear()

    def first_control(self) -> Ready | Resume:
        """What to say first on a new link."""
        if not self._token:
            return Ready()
        # Who was not told all names has no place to go on from: asks for a new welcome.
        offset = _NOWHERE if self._peers_to_come else self._offset
        return Resume(self._id, self._token, offset, self._keyring.current)

    def note_activity(self, now: float) -> None:
        """Something arrived on the connection, be it only a PONG."""
        if self.in_room:
            self._outbox.age(now)

    def disconnect(self) -> None:
        """The connection is lost; what is said from now on waits for the next one."""
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
                return self._on_welcome(control)
            case Roster(), Phase.LOADING_ROSTER:
                return self._on_roster(control, now)
            case Resumed(), Phase.DISCONNECTED if self._token and not self._peers_to_come:
                self._phase = Phase.CATCHING_UP
                return [Reconnected(0, new_room=False, awaiting=False)]
            case Rekey(), _ if self._expects(control):
                self._awaiting_rekey = False
                self._keyring.renew(RoomSecret(control.secret))
                return []
            case Resend(), Phase.CATCHING_UP | Phase.REGROUPING if self._expected_back:
                self._phase = Phase.REGROUPING
                return []
            case Resend(), Phase.CATCHING_UP | Phase.LIVE:
                self._phase = Phase.LIVE
                self._outbox.rewind(control.seq)
                return []
        raise ProtocolError(f"a {type(control).__name__} message is out of place")

    def _expects(self, rekey: Rekey) -> bool:
        is_next = rekey.epoch == self._keyring.current + 1
        return self._phase in _PRESENT and self._awaiting_rekey and is_next

    def _on_welcome(self, welcome: Welcome) -> list[ClientEvent]:
        """A place in the room: our first, a new one, or, when the server no longer has the log from
        where we were, a later point of the one we have."""
        if (
            welcome.member == SERVER
            or not 0 < welcome.members <= MAX_MEMBERS
            or welcome.offset > _MAX_OFFSET
        ):
            raise ProtocolError("a welcome that makes no sense")
        same_room = welcome.room == self._room
        if same_room:
            self._missed += max(0, welcome.messages - self._messages)
        if welcome.token != self._token or not same_room:
            self._outbox.renumber(replay=not same_room)
            if self._has_joined and not same_room:
                self._changed_room = True
                self._await(self._peers.fingerprints())
            self._is_new = True
            self._keyring.forget()
        self._phase = Phase.LOADING_ROSTER
        self._room = welcome.room
        self._id = welcome.member
        self._token = welcome.token
        self._offset = welcome.offset
        self._messages = welcome.messages
        self._server = Peer("the server", welcome.event_seq)
        self._peers = Peers()
        self._peers_to_come = welcome.members
        self._keyring.welcome(welcome.epoch, RoomSecret(welcome.secret))
        self._awaiting_rekey = False
        return []

    def _await(self, known: set[bytes]) -> None:
        """Wait for these, too, but for no more than a room has."""
        both = self._expected_back | known
        self._expected_back = both if len(both) <= MAX_MEMBERS else known

    def _on_roster(self, roster: Roster, now: float) -> list[ClientEvent]:
        if len(roster.entries) > self._peers_to_come:
            raise ProtocolError("more members than the welcome said")
        self._peers_to_come -= len(roster.entries)
        for entry in roster.entries:
            self._peers.add(entry)
        if self._peers_to_come:
            return []
        return self._on_entered(now)

    def _ourselves(self) -> Peer:
        us = self._peers.find(self._id)
        if us is None:
            raise ProtocolError("we are not in the list of members")
        if self._name and us.name != self._name:
            raise ProtocolError("we are in the list of members under another name")
        return us

    def _on_entered(self, now: float) -> list[ClientEvent]:
        """All names are known. What the roster says of our own messages acknowledges them: they are
        in a part of the log that we shall not see."""
        us, outbox = self._ourselves(), self._outbox
        if us.seq > outbox.sent_seq:
            raise ProtocolError("the server counts messages that we did not send")
        accepted = [speech for seq, speech in outbox.numbered(0) if seq <= us.seq]
        for _ in accepted:
            outbox.acknowledge()
            self._progress.move()
        self._expected_back -= self._peers.fingerprints()
        reconnected = self._has_joined
        self._has_joined = True
        events: list[ClientEvent] = []
        if self._is_new:
            self._is_new = False
            self._begin_membership(now)
            names = tuple(peer.name for peer in self._peers)
            events.append(Entered(names, again=reconnected))
        else:
            self._phase = Phase.CATCHING_UP
        if reconnected:
            awaiting = self._phase is Phase.REGROUPING
            missed = max(0, self._missed - len(accepted))
            events.insert(0, Reconnected(missed, self._changed_room, awaiting))
        events += (said for speech in accepted for said in self._show(us, speech, own=True))
        self._changed_room = False
        self._missed = 0
        return events

    def _begin_membership(self, now: float) -> None:
        self._expected_until = now + REGROUP_SECONDS
        self._phase = Phase.REGROUPING
        if not self._expected_back:
            self.stop_waiting()

    # -- what arrives in the room

    def receive_frames(self, frame_type: int, run: bytes) -> list[ClientEvent]:
        """Take a run of room frames.

        Raises:
            ProtocolError: the server breaks the protocol. What a single member could have got wrong
                is not raised: it is dropped and said once.
        """
        if self._phase not in _PRESENT:
            raise ProtocolError("a room frame before the welcome")
        events: list[ClientEvent] = []
        if self._phase is Phase.CATCHING_UP:
            self._progress.move()
        for header in room_headers(run):
            if self._awaiting_rekey:
                raise ProtocolError("a room frame where a new key was due")
            frame = run[header.start : header.end]
            if frame_type == Event.TYPE:
                events += self._on_event(Event.from_wire(frame))
            else:
                self._messages += 1
                events += self._on_message(Message.from_wire(frame))
            self._offset += len(frame)
        return events

    def _on_message(self, frame: Message) -> list[ClientEvent]:
        peer = self._peers.find(frame.sender)
        if peer is None:
            return self._warn(self._server, "a message of somebody who is not here")
        if frame.seq <= peer.seq:
            return self._warn(peer, "a message arrived twice, and was dropped the second time")
        key = self._keyring.message_key(frame.epoch)
        if key is None and frame.epoch < self._keyring.first:
            # Sealed before we came, by somebody who had not heard of it: not for us.
            peer.account_for(frame.seq)
            return []
        try:
            if key is None:
                raise OpenError
            content = key.open(frame.header, frame.sealed)
        except OpenError:
            # Its number stays free: the one that bears it rightly may be still to come.
            peer.account_for(frame.seq)
            return self._warn(peer, "a message could not be opened, and was dropped")
        events = self._watch_gap(peer, frame.seq)
        peer.seq = frame.seq
        own = frame.sender == self._id
        try:
            speech = MessageContent.decode(content)
        except ProtocolError as error:
            if own:
                raise
            return [*events, *self._warn(peer, f"{error}, and was dropped")]
        if own:
            self._acknowledge(frame.seq, speech)
        return [*events, *self._show(peer, speech, own)]

    def _acknowledge(self, seq: int, speech: MessageContent) -> None:
        outbox = self._outbox
        if not outbox.messages or (outbox.first_seq, outbox.messages[0]) != (seq, speech):
            raise ProtocolError("our own message came back, but not as we sent it")
        outbox.acknowledge()
        self._progress.move()

    def _show(self, peer: Peer, speech: MessageContent, own: bool) -> list[MessageReceived]:
        if not self._seen.is_new(peer.fingerprint, speech.origin, speech.number):
            return []
        return [MessageReceived(peer.name, speech.time_ms, speech.text, own, speech.number)]

    def _on_event(self, frame: Event) -> list[ClientEvent]:
        server = self._server
        if frame.sender != SERVER or frame.epoch != self._keyring.current:
            raise ProtocolError("an event that does not fit in here")
        if frame.seq <= server.seq:
            return self._warn(server, "an event arrived twice, and was dropped the second time")
        try:
            content = self._keyring.current_event_key.open(frame.header, frame.sealed)
        except OpenError:
            server.account_for(frame.seq)
            return self._warn(server, "an event could not be opened, and was dropped")
        events = self._watch_gap(server, frame.seq)
        server.seq = frame.seq
        return [*events, *self._apply(decode_room_event(content))]

    def _apply(self, event: RoomEvent) -> list[ClientEvent]:
        match event:
            case Joined(entries):
                for entry in entries:
                    self._peers.add(entry)
                    self._expected_back.discard(entry.fingerprint)
                self._keyring.step()
                if not self._expected_back:
                    self.stop_waiting()
                return [MemberJoined(entry.name) for entry in entries]
            case Left(departures):
                self._awaiting_rekey = True
                return [self._remove(*departure) for departure in departures]
            case Lost(member):
                return [MemberLost(self._peers.of(member).name)] if member != self._id else []
            case Back(member):
                return [MemberBack(self._peers.of(member).name)] if member != self._id else []
            case Notice(text):
                return [NoticeReceived(text)]
            case Closing():
                return [RoomClosed()]
        raise AssertionError

    def _remove(self, member: int, reason: Reason) -> MemberLeft:
        if member == self._id:
            raise ProtocolError("an event about somebody who is not here")
        return MemberLeft(self._peers.remove(member).name, reason)

    def _watch_gap(self, peer: Peer, seq: int) -> list[ClientEvent]:
        missing = peer.missing_before(seq)
        if not missing:
            return []
        text = f"{missing} of {peer.name}'s messages did not arrive: somebody withheld them"
        return [Warned(text)]

    def _warn(self, peer: Peer, text: str) -> list[ClientEvent]:
        if text in peer.warned:
            return []
        peer.warned.add(text)
        return [Warned(f"{peer.name}: {text}")]
