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
    CATCHING_UP     room frames, REKEY, CHECK,        RESEND -> LIVE, or REGROUPING if others are
                    RESEND                            still missing
    REGROUPING      the same                          everybody is there, or time is up -> LIVE
    LIVE            the same                          -

`disconnect` leads from each of them to DISCONNECTED. We send in LIVE alone, and not between LEFT
and its REKEY. Whatever was said before waits in the outbox.

Control messages come on the link, and the server has said what they say. Room frames are open to
whoever holds our cable. So what is wrong with them is not taken for the server's fault:

- A frame that the server cannot have written here (not the next number of its sender, somebody who
  is not in, an epoch that does not count) is refused. We connect again, and ask for the log from
  before it (`FrameRefused`).
- What passes for the server's may still be somebody else's. CHECK finds it, as a rule within
  seconds. Then we say so, connect again, and ask for everything since the last CHECK once more
  (`Tampered`).
- When a WELCOME comes before the CHECK, it will never come. Then we say that, too.
- Where going back does not help, we ask for a new WELCOME.
"""

from dataclasses import replace
from enum import Enum, auto

from chat.cipher import RandomBytes, SealingKey, sealed_bytes
from chat.client.direct import DirectMessages
from chat.client.events import (
    ClientEvent,
    Entered,
    FrameRefused,
    MessageNotForUs,
    MessageQueued,
    MessageReceived,
    NoticeReceived,
    Person,
    Reconnected,
    RoomClosed,
    Tampered,
    TopicSet,
    Warned,
)
from chat.client.greeted import Greeted
from chat.client.keyring import Keyring
from chat.client.membership import Membership
from chat.client.outbox import Outbox, Regroup, SeenMessages
from chat.client.peers import SERVER, Peer, Peers, Proves
from chat.client.progress import Progress
from chat.errors import ForgeableError, OpenError, ProtocolError, UsageError
from chat.kex import KeyShare, PublicKey, RoomKey, RoomSecret, SealedRoom
from chat.limits import (
    ACKNOWLEDGE_SECONDS,
    CATCH_UP_SECONDS,
    MAX_MEMBERS,
    MAX_PARTING_BYTES,
    MAX_RATED_READ_BYTES,
    MAX_TEXT_BYTES,
    ORIGIN_BYTES,
    OUTBOX_BYTES,
    OUTBOX_MESSAGES,
)
from chat.messages import (
    Back,
    Check,
    Closing,
    Control,
    Greeting,
    Joined,
    Kind,
    Left,
    Lost,
    MessageContent,
    Notice,
    Ready,
    Rekey,
    Repeat,
    Resend,
    Resume,
    Resumed,
    RoomEvent,
    Roster,
    RosterEntry,
    Topic,
    Welcome,
    decode_room_event,
    text_of,
)
from chat.text import caseless_name
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

    def __init__(
        self,
        random_bytes: RandomBytes,
        name: str = "",
        room_key: RoomKey | None = None,
        share: KeyShare | None = None,
    ) -> None:
        """`name` is the name under which we join; an empty one matches any roster. `room_key` is
        that of a sealed room; None in the open one. `share` is the one that we show the others;
        without it there are no private messages for us."""
        self._random_bytes = random_bytes
        self._name = name
        self._room_key = room_key
        self._room: SealedRoom | None = None
        self._phase = Phase.DISCONNECTED
        self._membership: Membership | None = None
        self._entered: Membership | None = None
        """The last membership whose roster is complete."""
        self._share = None if share is None else share.public
        self._direct = None if share is None else DirectMessages(share, room_key, random_bytes)
        self._keyring = Keyring(room_key)
        self._outbox = Outbox(random_bytes(ORIGIN_BYTES))
        self._seen = SeenMessages()
        self._regroup = Regroup()
        self._greeted = Greeted()
        self._progress = Progress()
        self._checking = Progress()
        self._now = self._checked_at = 0.0
        self._split_from: dict[bytes, str] = {}
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
        """How many messages were said and are not acknowledged, without the last word."""
        return len(self._outbox.messages) - self._outbox.has_parting

    @property
    def has_parting_to_send(self) -> bool:
        """Whether the last word has not left, or has to leave once more."""
        return self._outbox.has_parting and self._outbox.unsent > 0

    @property
    def full(self) -> bool:
        """Whether so much is unacknowledged that nothing more should be said for the moment."""
        outbox = self._outbox
        return len(outbox.messages) >= OUTBOX_MESSAGES or outbox.size >= OUTBOX_BYTES

    def members(self) -> list[Person]:
        """Who is in the room, ourselves among them, by the last roster that is complete; by the
        first one as far as it has arrived."""
        known = self._entered or self._membership
        return [] if known is None else known.peers.people()

    @property
    def tag(self) -> bytes:
        """By what the server knows our sealed room, once its key was shown; empty in the open
        one."""
        return b"" if self._room is None else self._room.tag

    @property
    def topic(self) -> TopicSet:
        """The topic of the room."""
        return self._greeted.topic

    @property
    def all_checked(self) -> bool:
        """Whether the server has vouched for all that we read of the log."""
        return self._membership is None or self._membership.trail.checked

    @property
    def checked_at(self) -> float:
        """When it last did, or let us in."""
        return self._checked_at

    @property
    def split_from(self) -> tuple[str, ...]:
        """Who says to have been shown another conversation than we."""
        return tuple(self._split_from.values())

    def say(self, text: str, time_ms: int) -> MessageQueued:
        """Send a message, now or when the connection is back. `time_ms` is by our clock, in
        milliseconds since 1970.

        Raises:
            UsageError: the text is longer than a message may be, or is no text.
        """
        _check_text(text)
        return MessageQueued(self._outbox.add(time_ms, text), text)

    def say_direct(self, person: Person, text: str, time_ms: int) -> MessageQueued:
        """Send a private message to a member, as `say` does. It is sealed now, for the connections
        that this person has by the last roster.

        Raises:
            UsageError: as `say`; or this person is not here, is ourselves, or cannot be sent one.
        """
        _check_text(text)
        direct, membership = self._direct, self._entered
        if direct is None or membership is None:
            raise UsageError("private messages cannot be sent from here")
        us, peers = membership.us, membership.peers
        meant = direct.readers(us, peers, person)
        number = self._outbox.add_direct(
            time_ms, lambda said: direct.seal(said, us, peers, meant, text)
        )
        return MessageQueued(number, text, person.name)

    def say_parting(self, text: str, time_ms: int) -> None:
        """Say the word with which we leave. It is shown when we have left.

        Raises:
            UsageError: it is too long, or is no text.
        """
        _check_text(text, MAX_PARTING_BYTES, "a word at leaving")
        self._outbox.add_parting(time_ms, text)

    @property
    def has_data_to_send(self) -> bool:
        """Whether `data_to_send` has something. Between LEFT and its REKEY it has not: the member
        who left could still read it."""
        return self.can_send and not self._keyring.awaits_rekey and self._outbox.unsent > 0

    def data_to_send(self) -> list[bytes]:
        """The frames that are to be sent since the last call, in runs, each for a SUBMIT. A run is
        short, or one message: a server that holds us to our rate reads so much in one piece, and
        with longer runs it could not acknowledge anything in time. Call this only when all it gave
        before has left: a message that has to be sent again meanwhile is then sealed once."""
        if not self.has_data_to_send:
            return []
        runs = [b""]
        for seq, content in self._outbox.take_to_send(self._keyring.current):
            frame = self._seal(seq, content)
            if runs[-1] and len(runs[-1]) + len(frame) > MAX_RATED_READ_BYTES:
                runs.append(b"")
            runs[-1] += frame
        return runs

    def _seal(self, seq: int, content: MessageContent) -> bytes:
        assert self._membership is not None
        data = replace(content, seen=self._membership.trail.seen()).encode()
        epoch, key = self._keyring.current, self._keyring.current_message_key
        size = sealed_bytes(len(data))
        header = room_header(Message.TYPE, epoch, self._membership.id, seq, size)
        return header + key.seal(header + self._membership.us.bound, data, self._random_bytes)

    def _as_repeat(self, said: MessageContent, room: bytes, epoch: int) -> MessageContent | None:
        """What was said in an earlier room, for those who were there when it was said."""
        if said.kind is not Kind.SAY:
            # Nobody can open it who could not before; and a last word is for whoever is here then.
            return said
        key = self._keyring.repeat_key(room, epoch)
        if key is None:
            return None
        sealed = key.seal(said.bound(), said.body, self._random_bytes)
        return replace(said, kind=Kind.REPEAT, body=Repeat(room, epoch, sealed).encode())

    # -- connections come and go

    @property
    def deadline(self) -> float | None:
        """When to call `tick` at the latest; None: when something arrives."""
        if self._phase is Phase.REGROUPING:
            return self._regroup.until
        deadlines = []
        if self._waits_for_server:
            began = self._progress.began
            deadlines.append(max(self._progress.came, began) + ACKNOWLEDGE_SECONDS)
            if self._phase is Phase.CATCHING_UP:
                deadlines.append(began + CATCH_UP_SECONDS)
        if self._waits_for_check:
            deadlines.append(self._checking.came + ACKNOWLEDGE_SECONDS)
        return min(deadlines, default=None)

    @property
    def _waits_for_server(self) -> bool:
        """Whether the server owes us something: an acknowledgement, a key, the end of what we
        missed."""
        owed = bool(self._outbox.messages) or self._keyring.awaits_rekey
        return self._phase is Phase.CATCHING_UP or (self._phase is Phase.LIVE and owed)

    @property
    def _waits_for_check(self) -> bool:
        return self._phase in _PRESENT and not self.all_checked

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
        owed, unchecked = self._waits_for_server, self._waits_for_check
        waiting = owed or self._phase not in _PRESENT or bool(self._outbox.messages)
        self._progress.look(now, self._phase, waiting=waiting, owed=owed, listening=listening)
        self._checking.look(now, None, waiting=False, owed=unchecked, listening=listening)
        due = self.deadline if owed or unchecked else None
        self.overdue = due is not None and now >= due

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
        self._now = now
        if self._phase in _PRESENT:
            self._outbox.age(now)

    def meet(self, server_key: PublicKey) -> None:
        """The connection is to the server of this key."""
        if self._room_key is not None:
            self._room = self._room_key.at(server_key.digest)

    def _proves(self) -> Proves | None:
        room = self._room
        if room is None:
            return None

        def proves(entry: RosterEntry) -> bool:
            card = entry.card
            return room.has_proved(
                entry.name, entry.fingerprint, card.share, card.caller, card.proof
            )

        return proves

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
        self._now = now
        match control, self._phase:
            case Welcome(), Phase.DISCONNECTED:
                return self._on_welcome(control)
            case Greeting(), Phase.LOADING_ROSTER:
                self._greeted.greet(control)
                return []
            case Roster(), Phase.LOADING_ROSTER:
                return self._on_roster(control, now)
            case Resumed(), Phase.DISCONNECTED if self._membership and self._membership.entered:
                self._phase = Phase.CATCHING_UP
                return [Reconnected(0, new_room=False, awaiting=False)]
            case Rekey(), _ if self._membership is not None and self._phase in _PRESENT:
                return self._on_rekey(self._membership, control)
            case Check(), _ if self._membership is not None and self._phase in _PRESENT:
                return self._on_check(self._membership, control)
            case Resend(seq), _ if self._membership and seq < self._outbox.first_seq:
                # It has not taken what we think it has: somebody on the way has acknowledged that.
                self._membership.go_back()
                return self._tampered(self._membership)
            case Resend(), Phase.CATCHING_UP | Phase.REGROUPING if self._regroup.waits:
                self._phase = Phase.REGROUPING
                return []
            case Resend(), Phase.CATCHING_UP | Phase.LIVE:
                self._phase = Phase.LIVE
                self._outbox.rewind(control.seq)
                return []
        raise ProtocolError(f"a {type(control).__name__} message is out of place")

    def _on_welcome(self, welcome: Welcome) -> list[ClientEvent]:
        before = self._membership
        doubts = self._doubt()
        self._seen.take_back()
        membership = self._membership = Membership(welcome, before, self._proves())
        if before is not None and before.was_in and not membership.same_room:
            self._regroup.expect(before.peers.connections())
        if not membership.same_room:
            self._outbox.replay(self._as_repeat)
        if membership.same_place:
            # The roster says which of them were true.
            taken_back = self._outbox.take_back()
            if before is not None and not before.distrusted:
                membership.known_own = taken_back
        else:
            # A new member's sequence numbers begin at 1.
            self._outbox.renumber()
        secret = RoomSecret(welcome.secret)
        self._keyring.welcome(welcome.room, welcome.epoch, welcome.oldest_epoch, secret)
        self._checked_at = self._now
        self._greeted.welcome()
        self._phase = Phase.LOADING_ROSTER
        return doubts

    def _on_rekey(self, membership: Membership, rekey: Rekey) -> list[ClientEvent]:
        if not self._keyring.expects(rekey.epoch):
            # Somebody on the way may have held back the LEFT before it.
            membership.refuse_frame()
            return [FrameRefused("a new key where none was due")]
        self._keyring.renew(RoomSecret(rekey.secret))
        return []

    def _on_check(self, membership: Membership, check: Check) -> list[ClientEvent]:
        if not membership.check(check):
            return self._tampered(membership)
        self._checked_at = self._now
        self._seen.checked()
        self._outbox.checked()
        self._checking.move()
        return []

    def _tampered(self, membership: Membership) -> list[ClientEvent]:
        self._seen.take_back()
        self._outbox.take_back()
        return [Tampered(self._doubtful_seconds, True, not membership.distrusted)]

    @property
    def _doubtful_seconds(self) -> float:
        """For how long what we took may have been changed. Without a CHECK, or with nothing at all,
        a connection does not last longer than ACKNOWLEDGE_SECONDS."""
        return min(self._now - self._checked_at, ACKNOWLEDGE_SECONDS)

    def _doubt(self) -> list[ClientEvent]:
        """What we took since the last CHECK cannot be compared with the server's any more."""
        if self._membership is None or self.all_checked or self._membership.tampered:
            return []
        return [Tampered(self._doubtful_seconds, certain=False, again=False)]

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
        us = membership.ourselves(self._name, None if self._room is None else self._share)
        accepted = self._take_acknowledged(membership, us)
        again = membership.was_in
        membership.enter()
        self._entered = membership
        self._regroup.found(membership.peers.connections())
        self._phase = self._phase_on_entering(membership, now)
        events: list[ClientEvent] = []
        if again:
            # Our own messages were counted as missed, but are shown now, or were before.
            own = max(0, len(accepted) - membership.known_own)
            missed = max(0, membership.missed - own)
            awaiting = self._phase is Phase.REGROUPING
            events.append(Reconnected(missed, membership.changed_room, awaiting))
        if membership.is_new:
            events.append(self._entering(membership.peers, again))
        events += self._greeted.news()
        events += membership.changes()
        for content in accepted:
            events += self._show(membership, us, content, placed=False)
        return events

    def _entering(self, peers: Peers, again: bool) -> Entered:
        people = peers.people()
        names = tuple(one.name for one in people if not one.calling)
        unproved = tuple(one.name for one in people if one.unproved)
        return Entered(names, again, self.tag, unproved)

    def _take_acknowledged(self, membership: Membership, us: Peer) -> list[MessageContent]:
        """Acknowledge and return what the roster counts of our own messages."""
        outbox, room = self._outbox, membership.room
        if us.seq > outbox.sent_seq:
            raise ProtocolError("the server counts messages that we did not send")
        accepted = [content for seq, content in outbox.numbered(0) if seq <= us.seq]
        for _ in accepted:
            outbox.acknowledge(room)
            self._progress.move()
        # The roster came on the link.
        outbox.checked()
        return accepted

    def _phase_on_entering(self, membership: Membership, now: float) -> Phase:
        if not membership.is_new:
            return Phase.CATCHING_UP
        self._regroup.begin(now)
        return Phase.REGROUPING if self._regroup.waits else Phase.LIVE

    # -- what arrives in the room

    def receive_frames(self, frame_type: int, run: bytes) -> list[ClientEvent]:
        """Take a run of room frames, all of the same type. Where one is refused, the rest of the
        run is not looked at.
        """
        membership = self._membership
        if membership is None or self._phase not in _PRESENT:
            return [FrameRefused("a room frame before the welcome")]
        events: list[ClientEvent] = []
        if self._phase is Phase.CATCHING_UP:
            self._progress.move(awaited=not self._outbox.messages)
            # The first CHECK stands behind all that we missed.
            self._checking.move()
        take = self._on_event if frame_type == Event.TYPE else self._on_message
        try:
            for header in room_headers(frame_type, run):
                if self._keyring.awaits_rekey:
                    raise ForgeableError("a room frame where a new key was due")
                frame = run[header.start : header.end]
                events += take(membership, header, frame)
        except ProtocolError as error:
            membership.refuse_frame()
            events.append(FrameRefused(str(error)))
        return events

    def _on_message(
        self, membership: Membership, header: RoomHeader, frame: bytes
    ) -> list[ClientEvent]:
        keyring = self._keyring
        peer = membership.peers.find(header.sender)
        if peer is None or header.seq != peer.seq + 1 or not keyring.counts(header.epoch):
            raise ForgeableError("a message that the server cannot have passed on here")
        own = header.sender == membership.id
        key = keyring.message_key(header.epoch)
        data = _opened(key, frame, peer.bound)
        if own:
            self._acknowledge(membership, header.seq, data)
        membership.hear(peer, header.seq, frame)
        membership.messages += 1
        if key is None:
            return peer.once("not for us", MessageNotForUs(peer.name))
        if data is None:
            return _warn(peer, "a message could not be opened, and was dropped")
        try:
            return self._read(membership, peer, MessageContent.decode(data))
        except ProtocolError as error:
            return _warn(peer, f"{error}, and was dropped")

    def _acknowledge(self, membership: Membership, seq: int, data: bytes | None) -> None:
        outbox = self._outbox
        content = None if data is None else MessageContent.decode(data)
        due = outbox.first_seq if outbox.first_seq <= outbox.sent_seq else None
        if seq != due or outbox.messages[0] != content:
            raise ForgeableError("our own message came back, but not as we sent it")
        outbox.acknowledge(membership.room)
        self._progress.move()

    def _read(
        self, membership: Membership, peer: Peer, content: MessageContent
    ) -> list[ClientEvent]:
        """Take a message that opened.

        Raises:
            ProtocolError: its sender cannot mean it.
        """
        if not peer.is_next(content.number):
            raise ProtocolError("a message has a number that is not next")
        events: list[ClientEvent] = []
        if not membership.trail.agrees(content.seen):
            events += self._split(peer)
        return [*events, *self._show(membership, peer, content)]

    def _split(self, peer: Peer) -> list[ClientEvent]:
        """Said once of each key, since anybody can claim to have seen something else."""
        if peer.fingerprint in self._split_from or len(self._split_from) >= MAX_MEMBERS:
            return []
        self._split_from[peer.fingerprint] = peer.name
        text = (
            f"{peer.name} says to have been shown another conversation than you; "
            f"either {peer.name}, the server, or somebody on the way deceives you"
        )
        return [Warned(text)]

    def _show(
        self, membership: Membership, peer: Peer, content: MessageContent, *, placed: bool = True
    ) -> list[ClientEvent]:
        """What there is to tell of a message. `placed`: the roster is that of its place in the log;
        otherwise it came before."""
        if content.kind is Kind.PARTING:
            return self._note_parting(peer, content)
        if content.kind is Kind.DIRECT:
            return self._show_direct(membership, peer, content, placed=placed)
        body = self._body_of(content)
        if body is None or not self._seen.is_new(peer.fingerprint, content, body):
            return []
        own = peer is membership.us
        return [_received(peer, content, text_of(body), own=own)]

    def _note_parting(self, peer: Peer, content: MessageContent) -> list[ClientEvent]:
        """It is told together with the leaving itself."""
        if self._seen.is_new(peer.fingerprint, content, content.body):
            peer.parting = content.body.decode()
        return []

    def _show_direct(
        self, membership: Membership, peer: Peer, content: MessageContent, *, placed: bool
    ) -> list[ClientEvent]:
        us, direct = membership.us, self._direct
        said = None if direct is None else direct.open(content, us, peer)
        if direct is None or said is None:
            return []
        if not self._seen.is_new(peer.fingerprint, content, said.text.encode()):
            return []
        own = peer is us
        # Our own name as it is in the room, however the sender spelled it.
        ours = us.person == (caseless_name(said.name), said.fingerprint)
        name = us.name if ours else said.name
        received = _received(peer, content, said.text, own=own, to=name)
        if not own or direct.has_reader(content, us, membership.peers, said):
            return [received]
        if placed:
            lost = f"{name} was not here any more: the private message did not reach {name}"
        else:
            lost = f"{name} is not here any more: the private message may not have reached {name}"
        return [received, Warned(lost)]

    def _body_of(self, content: MessageContent) -> bytes | None:
        """The text as bytes; None if it is repeated, and we were not there when it was said.

        Raises:
            ProtocolError: it is repeated, and not as it was said.
        """
        if content.kind is Kind.SAY:
            return content.body
        repeat = Repeat.decode(content.body)
        key = self._keyring.repeat_key(repeat.room, repeat.epoch)
        try:
            return None if key is None else key.open(content.bound(), repeat.sealed)
        except OpenError as error:
            raise ProtocolError("a repeated message could not be opened") from error

    def _on_event(
        self, membership: Membership, header: RoomHeader, frame: bytes
    ) -> list[ClientEvent]:
        server = membership.server
        fits = header.sender == SERVER and header.seq == server.seq + 1
        data = _opened(self._keyring.current_event_key, frame)
        if not fits or header.epoch != self._keyring.current or data is None:
            raise ForgeableError("an event that the server cannot have told here")
        membership.hear(server, header.seq, frame)
        try:
            return self._apply(membership, decode_room_event(data))
        except ProtocolError:
            # Half of it may have been applied.
            membership.distrusted = True
            raise

    def _apply(self, membership: Membership, event: RoomEvent) -> list[ClientEvent]:
        peers = membership.peers
        match event:
            case Joined(entries):
                for entry in entries:
                    peers.add(entry)
                self._keyring.step()
                membership.end_epoch()
                self._regroup.arrived(each.fingerprint for each in entries if not each.card.caller)
                if not self._regroup.waits:
                    self.stop_waiting()
            case Left(departures):
                self._keyring.await_rekey()
                membership.end_epoch()
                for member, reason in departures:
                    if member == membership.id:
                        raise ProtocolError("an event about somebody who is not here")
                    peers.remove(member, reason)
            case Lost(member) | Back(member) if member != membership.id:
                membership.set_lost(peers.of(member), isinstance(event, Lost))
            case Notice(text):
                return [NoticeReceived(text)]
            case Topic(since, text):
                return self._greeted.change(since, text)
            case Closing():
                return [RoomClosed()]
        return peers.take_news()


def _opened(key: SealingKey | None, frame: bytes, bound: bytes = b"") -> bytes | None:
    """What was sealed in a room frame, bound to its header and this; None if it does not open."""
    if key is None:
        return None
    try:
        return key.open(frame[:ROOM_HEADER_BYTES] + bound, frame[ROOM_HEADER_BYTES:])
    except OpenError:
        return None


def _received(
    peer: Peer, content: MessageContent, text: str, *, own: bool, to: str = ""
) -> MessageReceived:
    number, key = content.number, peer.fingerprint
    return MessageReceived(peer.name, content.time_ms, text, own, number, to, key)


def _check_text(text: str, most: int = MAX_TEXT_BYTES, what: str = "a message") -> None:
    try:
        size = len(text.encode())
    except UnicodeEncodeError as exc:
        raise UsageError(f"{what} is text, and this is not UTF-8") from exc
    if size > most:
        parts = "; send it in parts" if most == MAX_TEXT_BYTES else ""
        hint = f"{what} has at most {most} bytes{parts}"
        raise UsageError(f"{what} of {size} bytes is too long", hint)


def _warn(peer: Peer, text: str) -> list[ClientEvent]:
    """Say this, but only once of each peer."""
    return peer.once(text, Warned(f"{peer.name}: {text}"))
