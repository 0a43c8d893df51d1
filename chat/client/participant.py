"""A member's view of the room: frames and control messages in, events and frames out.

Implements PROTOCOL 5 and 6 as a client does. Sockets, the screen and the handshake are not known
here.

Theory of operation
-------------------

A participant outlives connections and memberships. What it knows has three lifetimes, and each is
kept where it can be replaced as a whole:

- of one membership (`Membership`): our place in the log and the roster; made by WELCOME;
- of the epochs (`Keyring`): the keys, which a welcome to the same place keeps and extends;
- of the whole run: what we have said (`Outbox`), and what of it waits for a reader (`Unread`); what
  we have shown (`SeenMessages`), and told of the topic (`Greeted`); whom we wait for in a new room
  (`Regroup`), and what the server owes us (`Dues`).

It decides how we stand with the server (`Phase` says what may arrive when), and takes what comes
on the link. Three parts do the rest, and share what it knows: `Speech` seals what we say,
`LogReader` takes the room's frames, and `Hearing` makes of a message what there is to tell.

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
- Where the server counts fewer of our messages than it had vouched for, or has another hash at a
  place for which it had vouched, the log that we had read is gone. We join anew, and offer again
  what we keep, as in a new room (`LogGone`).
"""

from chat.cipher import RandomBytes
from chat.client.direct import DirectMessages
from chat.client.dues import Dues
from chat.client.events import (
    ClientEvent,
    Entered,
    FrameRefused,
    LogGone,
    MessageQueued,
    Person,
    Reconnected,
    Tampered,
    TopicSet,
)
from chat.client.greeted import Greeted
from chat.client.hearing import Hearing
from chat.client.keyring import Keyring
from chat.client.membership import Membership
from chat.client.outbox import Outbox, Regroup, SeenMessages
from chat.client.peers import Peer, Peers, Proves
from chat.client.phase import PRESENT, Phase
from chat.client.reading import LogReader
from chat.client.speech import Speech
from chat.client.unread import Unread
from chat.contents import MessageContent
from chat.controls import (
    Check,
    Control,
    Greeting,
    Ready,
    Rekey,
    Resend,
    Resume,
    Resumed,
    Roster,
    Welcome,
)
from chat.errors import ProtocolError
from chat.identities import RosterEntry
from chat.kex import KeyShare, PublicKey, RoomKey, RoomSecret, SealedRoom
from chat.limits import ACKNOWLEDGE_SECONDS, ORIGIN_BYTES


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
        self._name = name
        self._room_key = room_key
        self._room: SealedRoom | None = None
        self._phase = Phase.DISCONNECTED
        self._membership: Membership | None = None
        self._entered: Membership | None = None
        """The last membership whose roster is complete."""
        self._share = None if share is None else share.public
        direct = None if share is None else DirectMessages(share, room_key, random_bytes)
        self._keyring = Keyring(room_key)
        self._outbox = Outbox(random_bytes(ORIGIN_BYTES))
        self._seen = SeenMessages()
        self._regroup = Regroup()
        self._greeted = Greeted()
        self._dues = Dues(self._outbox, self._keyring, self._regroup)
        self._speech = Speech(self._outbox, self._keyring, direct, random_bytes)
        self._unread = Unread()
        self._hearing = Hearing(self._keyring, self._seen, self._unread, direct)
        self._reader = LogReader(
            self._keyring,
            self._outbox,
            self._regroup,
            self._dues,
            self._hearing,
            self._unread,
            self._greeted,
        )
        self._now = self._checked_at = self._lost_at = 0.0

    # -- how we stand

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
        return self._phase in PRESENT

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
        return self._outbox.full

    def members(self) -> list[Person]:
        """Who is in the room, ourselves among them, by the last roster that is complete; by the
        first one as far as it has arrived."""
        known = self._entered or self._membership
        return [] if known is None else known.peers.people()

    def member(self, name: str, fingerprint: bytes) -> Person | None:
        """One of them, if this person is in."""
        known = self._entered or self._membership
        return None if known is None else known.peers.person(name, fingerprint)

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
        return self._hearing.split_from

    # -- what is typed

    def say(self, text: str, time_ms: int) -> MessageQueued:
        """Send a message, now or when the connection is back; see `Speech.say`."""
        return self._speech.say(text, time_ms)

    def say_direct(self, person: Person, text: str, time_ms: int) -> MessageQueued:
        """Send a private message to a member, as `say` does; see `Speech.say_direct`."""
        return self._speech.say_direct(self._entered, person, text, time_ms)

    def say_parting(self, text: str, time_ms: int) -> None:
        """Say the word with which we leave; see `Speech.say_parting`."""
        self._speech.say_parting(text, time_ms)

    @property
    def has_data_to_send(self) -> bool:
        """Whether `data_to_send` has something."""
        return self.can_send and self._speech.waits

    def data_to_send(self) -> list[bytes]:
        """The frames that are to be sent since the last call, in runs, each for a SUBMIT. Call this
        only when all it gave before has left: a message that has to be sent again meanwhile is then
        sealed once."""
        if self._membership is None or not self.has_data_to_send:
            return []
        return self._speech.take_to_send(self._membership)

    # -- connections come and go

    @property
    def deadline(self) -> float | None:
        """When to call `tick` at the latest; None: when something arrives."""
        return self._dues.deadline(self._phase, unchecked=not self.all_checked)

    @property
    def overdue(self) -> bool:
        """Whether the server had owed us something for so long, at the last `tick`, that the
        connection is useless."""
        return self._dues.overdue

    @property
    def stuck_since(self) -> float:
        """Since when nothing has come that the user waits for; see `Dues.stuck_since`."""
        return self._dues.stuck_since

    @property
    def unanswered_since(self) -> float | None:
        """Since when the server has owed us an acknowledgement on this connection; None if it owed
        none at the last `tick`, or one has come since."""
        return self._dues.unanswered_since(self._phase)

    def tick(self, now: float, *, listening: bool = True) -> None:
        """Time has passed. Call this in each turn; `listening` is whether we read what arrived
        since the last call."""
        if self._phase is Phase.REGROUPING and now >= self._regroup.until:
            self.stop_waiting()
        self._dues.tick(now, self._phase, unchecked=not self.all_checked, listening=listening)

    def stop_waiting(self) -> None:
        """In a new room: send what there is to say, whoever is still missing."""
        if self._phase is Phase.REGROUPING:
            self._phase = Phase.LIVE
            self._regroup.stop()

    def first_control(self) -> Ready | Resume:
        """What to say first on a new link."""
        if self._membership is None or self._membership.void:
            return Ready()
        return self._membership.resume(self._keyring.current)

    def note_activity(self, now: float) -> None:
        """Something arrived on the connection, if only a PONG."""
        self._now = now
        if self._phase in PRESENT:
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
        if self._phase in PRESENT:
            self._lost_at = self._now
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
            case Resumed(), Phase.DISCONNECTED if self._membership and self._membership.stands:
                self._phase = Phase.CATCHING_UP
                return [Reconnected(0, new_room=False, awaiting=False)]
            case Rekey(), _ if self._membership is not None and self._phase in PRESENT:
                return self._on_rekey(self._membership, control)
            case Check(), _ if self._membership is not None and self._phase in PRESENT:
                return self._on_check(self._membership, control)
            case Resend(seq), _ if self._membership and seq < self._outbox.first_seq:
                return self._on_denial(self._membership, seq)
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
        if self._entered is not None and not membership.same_room:
            # Not those of a place that was never entered: it may have been put back already.
            self._regroup.expect(self._entered.peers.connections())
        if not membership.same_place:
            # In the same room, too, what nobody has vouched for may be gone with the place that we
            # had. If it were said later, it would come behind what is said from now on.
            self._outbox.replay(self._speech.as_repeat, unchecked_alone=membership.same_room)
        if membership.same_place:
            # The roster says which of them were true.
            self._unread.take_back()
            taken_back = self._outbox.take_back()
            if before is not None and not before.distrusted:
                membership.known_own += taken_back
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
        if membership.trail.denied_by(check):
            return self._log_gone(membership)
        if not membership.check(check):
            return self._tampered(membership)
        self._checked_at = self._now
        self._seen.checked()
        self._unread.checked()
        self._outbox.checked()
        self._dues.checked()
        return []

    def _on_denial(self, membership: Membership, seq: int) -> list[ClientEvent]:
        """The server has not taken what we think it has, from this number on."""
        if seq <= self._outbox.checked_seq:
            return self._log_gone(membership)
        # Somebody on the way has acknowledged that.
        membership.go_back()
        return self._tampered(membership)

    def _log_gone(self, membership: Membership) -> list[ClientEvent]:
        """The server does not have what it had vouched for. Both came on the link, so nobody on the
        way has a hand in it."""
        membership.void = True
        return [LogGone()]

    def _tampered(self, membership: Membership) -> list[ClientEvent]:
        self._seen.take_back()
        self._unread.take_back()
        self._outbox.take_back()
        return [Tampered(self._doubtful_seconds, True, not membership.distrusted)]

    @property
    def _doubtful_seconds(self) -> float:
        """How long ago that began which may have been changed of what we took. Without a CHECK, or
        with nothing at all, a connection does not last longer than ACKNOWLEDGE_SECONDS."""
        heard_until = self._lost_at if self._phase is Phase.DISCONNECTED else self._now
        return self._now - max(self._checked_at, heard_until - ACKNOWLEDGE_SECONDS)

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
        3. The user is told that the connection is back and what was missed, then who is in and
           which private messages nobody has read, and only then of our own messages: they came
           after all that was missed.
        """
        us = membership.ourselves(self._name, None if self._room is None else self._share)
        if us.seq < self._outbox.checked_seq:
            return self._log_gone(membership)
        accepted = self._take_acknowledged(membership, us)
        again = membership.was_in
        membership.enter()
        self._entered = membership
        self._regroup.found(membership.returned())
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
        before = membership.told_last
        events += membership.changes()
        said_again = {content.number for content in self._outbox.messages}
        new_room = membership.changed_room
        events += self._unread.enter(membership.peers, said_again, new_room=new_room)
        for content in accepted:
            events += self._hearing.show(membership, us, content, before)
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
            self._dues.acknowledged()
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
        if membership is None or self._phase not in PRESENT:
            return [FrameRefused("a room frame before the welcome")]
        if self._phase is Phase.CATCHING_UP:
            self._dues.missed_came()
        events = self._reader.take(membership, frame_type, run)
        if not self._regroup.waits:
            self.stop_waiting()
        return events
