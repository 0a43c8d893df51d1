"""The server's half of the conversation: members, epochs, and what is appended to the log.

Implements PROTOCOL 6 as the server does it. Whatever happens becomes an entry of the log. What is
for one member only is returned as a `Unicast`, with its place in the log. This module knows no
socket, no RSA and no text of a message.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hmac import compare_digest

from chat.cipher import RandomBytes, sealed_bytes
from chat.errors import ProtocolError, Reason, RefusedError, UsageError
from chat.kex import RoomSecret
from chat.limits import (
    EPOCH_GRACE_SECONDS,
    INTERVAL_SECONDS_PER_MEMBER,
    JOIN_INTERVAL_SECONDS,
    JOINS_PER_STEP,
    LEAVE_INTERVAL_SECONDS,
    MAX_CALLERS_OF_KEY,
    MAX_CONNECTIONS_OF_KEY,
    MAX_LOST_OF_SOURCE,
    MAX_MEMBERS,
    MAX_PAST_EPOCHS,
    RENEWAL_SECONDS,
    RENEWAL_WAIT_SECONDS,
    RESUME_TOKEN_BYTES,
    ROOM_ID_BYTES,
    SILENCE_SECONDS,
    WAIT_AGAIN_SECONDS,
)
from chat.messages import (
    Back,
    Card,
    Check,
    Closing,
    Joined,
    Left,
    Lost,
    Notice,
    Rekey,
    Resend,
    Resume,
    Resumed,
    RoomEvent,
    Roster,
    RosterEntry,
    Topic,
    Welcome,
    encode_entry,
    encode_identity,
)
from chat.presence import Presence, presence_of
from chat.runninghash import RunningHash
from chat.server.checks import Checks
from chat.server.log import OrderedLog
from chat.text import fingerprint_of, fold_name, usable_name
from chat.wire import (
    Event,
    Message,
    RoomHeader,
    room_header,
    room_headers,
    starts_frame,
)

_NO_CARD = Card()


class Member:
    """One connection of a person in the room, or its place while the connection is lost.

    `joined_at` is in seconds since 1970, by our clock. `seq` is the number of the last message
    that was accepted. `epoch` is the epoch of its last welcome, the first whose key the member has,
    and 0 before. `welcomed_at` is where in the log that epoch begins. `resend_pending`: a RESEND
    was sent, and what it asks for has not come.

    The server notes two things here: `source`, from where the member is connected, and `sent`, the
    offset up to which the log has been sent to it.
    """

    __slots__ = (
        "_card",
        "_identity",
        "card",
        "epoch",
        "fingerprint",
        "id",
        "joined_at",
        "lost",
        "name",
        "resend_pending",
        "sent",
        "seq",
        "source",
        "token",
        "welcomed_at",
    )

    def __init__(
        self,
        member_id: int,
        name: str,
        fingerprint: bytes,
        token: bytes,
        joined_at: float,
        card: Card = _NO_CARD,
    ) -> None:
        self.id = member_id
        self.token = token
        self.name = name
        self.fingerprint = fingerprint
        self.joined_at = max(0, int(joined_at))
        self.card = card
        self.lost = False
        self._identity = encode_identity(member_id, name, fingerprint, self.joined_at)
        self._card = card.encode()
        self.epoch = 0
        self.seq = 0
        self.resend_pending = False
        self.source = ""
        self.welcomed_at = self.sent = 0

    @property
    def stays(self) -> bool:
        """Whether others are told of it: it is no caller."""
        return not self.card.caller

    def entry(self) -> RosterEntry:
        """The member as others are told of it."""
        return RosterEntry(
            self.id, self.seq, self.name, self.fingerprint, self.joined_at, self.card, self.lost
        )

    def encoded_entry(self) -> bytes:
        """The same, encoded. Little of it is new, and a roster may have thousands of these."""
        card = self.card.encode(lost=True) if self.lost else self._card
        return encode_entry(self.seq, self._identity, card)


@dataclass(frozen=True, slots=True)
class Unicast:
    """Control messages for one member, to be spliced into its stream at the log's offset `at`.
    They are encoded here, since many members are sent the same."""

    member: Member
    at: int
    controls: tuple[bytes, ...]


def people_of(members: Iterable[Member]) -> list[list[Member]]:
    """The connections of each person: people and connections in the order in which they came.
    Callers are left out, but of those who are here by callers alone."""
    people: dict[str, list[Member]] = {}
    for member in members:
        people.setdefault(fold_name(member.name), []).append(member)
    return [[one for one in each if one.stays] or each for each in people.values()]


def bytes_again(member: Member, unicasts: list[Unicast]) -> int:
    """How many bytes a member is sent a second time when it resumes with these answers: a part of
    the log, and all that is for it alone."""
    own = [unicast for unicast in unicasts if unicast.member is member]
    controls = sum(len(control) for unicast in own for control in unicast.controls)
    return max(0, member.sent - own[0].at) + controls


@dataclass(frozen=True, slots=True)
class _Renewal:
    """A fresh secret, which was given out at the log's offset `at`. It is kept for members that
    resume from before that."""

    at: int
    epoch: int
    secret: RoomSecret
    made_at: float


class Room:
    """One room. Its owner must call `end_grace` and `tick` before it sends what was appended, and
    at `deadline`.

    **Membership.** A member goes through these states:

        pending     `join` has given it a name and a number. Nobody else has heard of it, and it may
                    not speak. It is in `_pending_joins`.
        in          JOINED has told the others, and WELCOME has told itself. It is in `members`.
        lost        In, but without a connection (`suspend`). LOST has told the others. It is in
                    `members` and in `_lost`, and comes back by `resume`.
        out         `leave` has taken it out of `members`. It is in `_pending_leaves` until LEFT
                    tells the others.

    `_members_of` holds those that are pending, in or lost, both by name and by key. All of a name
    have the same key, and are one *person*; whoever goes last frees the name at once. `_lost` is in
    the order in which the members lost their connections, so the next grace to end is the first;
    `_lost_of` holds the same members by source.

    **Epochs.** All members share a secret, and each version of it is an epoch. `_begin_epoch` is
    called directly behind the event that makes it necessary, so this event is the last frame of its
    epoch, and the log itself says which key opens which frame:

        JOINED  The secret *steps*: everybody derives the next one. Newcomers are given it with
                their WELCOME, spliced in behind JOINED, and cannot derive the one before. A welcome
                can only stand where an epoch begins. So when a member needs a new one in the middle
                of an epoch, JOINED names nobody, and ends it.
        LEFT    The secret is *renewed*: a fresh one is given to each member that stays by REKEY,
                spliced in behind LEFT. `_renewals` keeps it for members that resume later. When
                something was said under a secret that is RENEWAL_SECONDS old, LEFT names nobody.

    Joins that come close together share one step, leaves one renewal (`deadline` says when the next
    may be), since each costs a frame for many members. Leaves come first where both are due:
    whoever comes may have the name of somebody who goes.

    Whoever has left has the old secret, so *from LEFT on nothing counts that was sealed under an
    earlier epoch*. Its sender is asked for it again, and nothing is lost. But a sender far away
    could be asked again and again, and never get through. So a renewal waits for those whom the
    last one made say something again (`_refused`), for RENEWAL_WAIT_SECONDS at most; and not for a
    key for which it has just waited in vain (`_waited_for`). A step shuts
    nobody out, so a message that was sealed just before it is still accepted for a while:
    `_past_epochs` holds the epochs that ended lately since the last renewal; they are consecutive
    and end with `epoch` - 1.

    **The running hash** goes on with each append, and `check` tells what it is at the log's end.
    Every member with a connection is told now and then (`_checks`).
    """

    def __init__(self, log: OrderedLog, random_bytes: RandomBytes, grace_seconds: float) -> None:
        self.id = random_bytes(ROOM_ID_BYTES)
        self.members: dict[int, Member] = {}
        self.epoch = 1
        self.messages = 0
        self._grace_seconds = grace_seconds
        self._lost: OrderedDict[int, float] = OrderedDict()
        self._lost_of: dict[str, dict[int, None]] = {}
        self._crowded_out: list[Member] = []
        self._renewals: deque[_Renewal] = deque()
        self._forgotten_epoch = 0
        self._log = log
        self._random_bytes = random_bytes
        self._members_of: dict[str | bytes, tuple[Member, ...]] = {}
        self._pending_joins: list[Member] = []
        self._pending_leaves: list[tuple[Member, Reason]] = []
        self._next_id = 1
        self._event_seq = 0
        self._past_epochs: deque[tuple[int, float]] = deque(maxlen=MAX_PAST_EPOCHS)
        self._next_join_at = self._next_leave_at = float("-inf")
        self._hash = RunningHash.of_room(self.id)
        self._epoch_begins = 0
        self._renewed_at = float("-inf")
        self._renewed_epoch = 1
        self._waited_for: dict[bytes, float] = {}
        self._messages_at_renewal = 0
        self._refused: set[int] = set()
        self._checks: Checks[Member] = Checks()
        self.greeting: Callable[[], bytes] = bytes
        """Makes the control message that stands between WELCOME and ROSTER; empty for none."""
        self._secret = RoomSecret.fresh(random_bytes)
        self._event_key = self._secret.event_key()

    # -- membership

    def join(
        self, name: str, fingerprint: bytes, joined_at: float, card: Card = _NO_CARD
    ) -> Member:
        """Let somebody in, as of the next `tick`: another connection of a person, if somebody with
        this name and this key is in already. `joined_at` is in seconds since 1970.

        Raises:
            RefusedError: another key has the name, or it cannot be used, or the room is full, or
                this key is in too often.
        """
        name = self.usable_name(name)
        if any(one.fingerprint != fingerprint for one in self.find(name)):
            raise RefusedError(Reason.NAME_TAKEN, f"the name {name} is taken")
        pending = len(self._pending_joins) + len(self._pending_leaves)
        if len(self.members) + pending >= MAX_MEMBERS:
            raise RefusedError(Reason.FULL, "")
        self._make_room(fingerprint, card.caller)
        token = self._random_bytes(RESUME_TOKEN_BYTES)
        member = Member(self._next_id, name, fingerprint, token, joined_at, card)
        self._next_id += 1
        for owner in (fold_name(name), fingerprint):
            self._members_of[owner] = (*self._members_of.get(owner, ()), member)
        self._pending_joins.append(member)
        return member

    def _make_room(self, fingerprint: bytes, caller: bool) -> None:
        """See to it that one more of this key may come in. A ghost makes room for it.

        Raises:
            RefusedError: there are too many, and none of them is lost.
        """
        limit = MAX_CALLERS_OF_KEY if caller else MAX_CONNECTIONS_OF_KEY
        of_key = self._members_of.get(fingerprint, ())
        same = [one for one in of_key if one.card.caller is caller]
        if len(same) < limit:
            return
        lost = [one for one in same if one.lost]
        if lost:
            self._crowd_out(min(lost, key=lambda one: self._lost[one.id]))
        elif caller:
            # It will not be long, so this is one of the reasons for which a client tries again.
            text = f"{limit} others of your key are saying something; try again in a moment"
            raise RefusedError(Reason.TIMEOUT, text)
        else:
            raise RefusedError(Reason.FULL, f"you are here {limit} times already")

    def usable_name(self, name: str) -> str:
        """The name as it would stand in the room. Whether it is taken is not asked.

        Raises:
            RefusedError: it cannot be used.
        """
        try:
            return usable_name(name)
        except UsageError as exc:
            raise RefusedError(Reason.NAME_INVALID, str(exc)) from exc

    def leave(self, member: Member, reason: Reason) -> None:
        """Take somebody out. The others hear of it at the next `tick`, and `reason` with it."""
        for owner in (fold_name(member.name), member.fingerprint):
            others = tuple(one for one in self._members_of.pop(owner) if one is not member)
            if others:
                self._members_of[owner] = others
        self._end_absence(member)
        self._checks.end(member)
        if member.id in self.members:
            del self.members[member.id]
            self._refused.discard(member.id)
            self._pending_leaves.append((member, reason))
        else:
            self._pending_joins.remove(member)

    def suspend(self, member: Member, now: float) -> bool:
        """A member has lost the connection. It keeps its place until the grace is over, too many
        members of its source are lost, or another one of its key needs the place. Returns False if
        there is no place to keep; then the member must leave."""
        if member.id not in self.members or self._grace_seconds <= 0:
            return False
        self._refused.discard(member.id)
        self._checks.end(member)
        if member.id not in self._lost:
            self._lost[member.id] = now
            member.lost = True
            self._append(Lost(member.id))
            lost = self._lost_of.setdefault(member.source, {})
            lost[member.id] = None
            if len(lost) > MAX_LOST_OF_SOURCE:
                self._crowd_out(self.members[next(iter(lost))])
        return True

    @property
    def is_empty(self) -> bool:
        """Whether nobody is in, is about to be, or has a place that is kept."""
        return not self._members_of and not self._pending_leaves

    @property
    def anybody_lost(self) -> bool:
        """Whether some member may come back to its place in the log."""
        return bool(self._lost)

    def _crowd_out(self, lost: Member) -> None:
        self.leave(lost, Reason.LOST)
        self._crowded_out.append(lost)

    def _end_absence(self, member: Member) -> bool:
        """Returns whether the member was lost."""
        if self._lost.pop(member.id, None) is None:
            return False
        lost = self._lost_of[member.source]
        del lost[member.id]
        if not lost:
            del self._lost_of[member.source]
        return True

    def resume(
        self, request: Resume, fingerprint: bytes, now: float
    ) -> tuple[Member, list[Unicast]] | None:
        """Bring a member back to its place in the log or, if that is no longer there, to the end of
        the log with a new welcome. Returns the member and what it is to be sent first; None if it
        is not this client's place.

        RESEND comes at the end. By then the member has heard everything, and sends again what it
        has not seen acknowledged.
        """
        member = self.members.get(request.member)
        if (
            member is None
            or member.fingerprint != fingerprint
            or not compare_digest(member.token, request.token)
        ):
            return None
        if self._end_absence(member):
            member.lost = False
            self._append(Back(member.id))
        if self._can_continue(member, request):
            unicasts = self._continue(member, request)
            self._checks.resume(member)
        else:
            unicasts = [self._welcome_again(member, now)]
        member.resend_pending = True
        resend = Resend(member.seq + 1).encode()
        return member, [*unicasts, Unicast(member, self._log.end, (resend,))]

    def _can_continue(self, member: Member, request: Resume) -> bool:
        """Whether the log from the member's offset on is still there, and so are all keys since. A
        member may ask for neither log nor keys from before its own welcome, and not for half a
        frame: somebody on the wire may have brought its count out of step."""
        return (
            max(member.welcomed_at, self._log.start) <= request.offset <= self._log.end
            and max(member.epoch, self._forgotten_epoch) <= request.epoch <= self.epoch
            and all(renewal.at >= request.offset for renewal in self._missed(request))
            and starts_frame(*self._log.around(request.offset))
        )

    def _missed(self, request: Resume) -> list[_Renewal]:
        return [renewal for renewal in self._renewals if renewal.epoch > request.epoch]

    def _continue(self, member: Member, request: Resume) -> list[Unicast]:
        rekeys = [
            Unicast(member, renewal.at, (Rekey(renewal.epoch, renewal.secret.secret).encode(),))
            for renewal in self._missed(request)
        ]
        return [Unicast(member, request.offset, (Resumed().encode(),)), *rekeys]

    def _welcome_again(self, member: Member, now: float) -> Unicast:
        if self._epoch_begins != self._log.end:
            self._append(Joined(()))
            self._begin_epoch(self._secret.step(), now)
        return self._welcome(member, self._roster(), now)

    def of_key(self, fingerprint: str) -> list[Member]:
        """The members of a key, by its fingerprint as people write it. Who is pending is one."""
        everybody = (*self.members.values(), *self._pending_joins)
        return [one for one in everybody if fingerprint_of(one.fingerprint) == fingerprint]

    def find(self, name: str) -> tuple[Member, ...]:
        """The members of this name, or of one that looks like it: one person."""
        return self._members_of.get(fold_name(name), ())

    def presence(self, name: str) -> Presence:
        """How the person of this name is here. Who is pending is here already."""
        return presence_of(one.lost for one in self.find(name) if one.stays)

    def grace(self, member: Member, now: float) -> tuple[float, float] | None:
        """For how many seconds a member has been lost, and for how many more its place is kept;
        None if it is connected."""
        lost_at = self._lost.get(member.id)
        return None if lost_at is None else (now - lost_at, lost_at + self._grace_seconds - now)

    @property
    def deadline(self) -> float | None:
        """When `end_grace` or `tick` has something to do, if nothing happens before."""
        deadlines = []
        renewal_at = self._renewal_at
        if renewal_at is not None:
            deadlines.append(renewal_at)
        if self._pending_joins and not self._pending_leaves:
            deadlines.append(self._next_join_at)
        if self._lost:
            deadlines.append(next(iter(self._lost.values())) + self._grace_seconds)
        check_at = self._checks.deadline(self._log.end)
        if check_at is not None:
            deadlines.append(check_at)
        return min(deadlines, default=None)

    @property
    def _renewal_at(self) -> float | None:
        """When the secret is to be renewed; None: there is no cause."""
        if self._pending_leaves:
            waits_until = self._renewed_at + RENEWAL_WAIT_SECONDS if self._refused else 0
            return max(self._next_leave_at, waits_until)
        if self.messages > self._messages_at_renewal:
            return self._renewed_at + RENEWAL_SECONDS
        return None

    def tick(self, now: float) -> list[Unicast]:
        """Let the leaves and the joins that are due take effect, and tell the running hash to those
        that are due."""
        unicasts: list[Unicast] = []
        self._forget_renewals(now)
        renewal_at = self._renewal_at
        if renewal_at is not None and now >= renewal_at:
            unicasts += self._renew(now)
        if self._pending_joins and not self._pending_leaves and now >= self._next_join_at:
            self._next_join_at = now + self._interval(JOIN_INTERVAL_SECONDS)
            unicasts += self._step(now)
        told = list(self._checks.due(now, self._log.end))
        if told:
            check = (self.check(),)
            unicasts += [Unicast(member, self._log.end, check) for member in told]
        return unicasts

    def end_grace(self, now: float) -> list[Member]:
        """Take out the members whose grace is over. Returns them, and before them those that had to
        leave since the last call because there were too many of their key or source."""
        ended, self._crowded_out = self._crowded_out, []
        while self._lost:
            member_id, lost_at = next(iter(self._lost.items()))
            if now < lost_at + self._grace_seconds:
                break
            member = self.members[member_id]
            self.leave(member, Reason.LOST)
            ended.append(member)
        return ended

    def _forget_renewals(self, now: float) -> None:
        """Drop secrets too old to be missed by any member that may still resume. A member was heard
        at most SILENCE_SECONDS before it was lost, and had the keys of that time."""
        oldest = now - self._grace_seconds - SILENCE_SECONDS
        while self._renewals and (
            self._renewals[0].made_at < oldest or self._renewals[0].at < self._log.start
        ):
            self._forgotten_epoch = self._renewals.popleft().epoch

    def _interval(self, least: float) -> float:
        return max(least, len(self.members) * INTERVAL_SECONDS_PER_MEMBER)

    def _renew(self, now: float) -> list[Unicast]:
        """Announce the leaves, and give a fresh secret to the members that stay."""
        self._next_leave_at = now + self._interval(LEAVE_INTERVAL_SECONDS)
        self._append(Left(tuple((member.id, reason) for member, reason in self._pending_leaves)))
        self._pending_leaves.clear()
        self._begin_epoch(RoomSecret.fresh(self._random_bytes), now)
        self._past_epochs.clear()
        self._stop_waiting(now)
        self._renewed_at, self._renewed_epoch = now, self.epoch
        self._messages_at_renewal = self.messages
        self._renewals.append(_Renewal(self._log.end, self.epoch, self._secret, now))
        rekey = (Rekey(self.epoch, self._secret.secret).encode(),)
        return [Unicast(member, self._log.end, rekey) for member in self.members.values()]

    def _stop_waiting(self, now: float) -> None:
        """Whoever has not got through in the whole wait is not waited for again for a while."""
        for key, until in list(self._waited_for.items()):
            if now >= until:
                del self._waited_for[key]
        if now >= self._renewed_at + RENEWAL_WAIT_SECONDS:
            for member_id in self._refused:
                key = self.members[member_id].fingerprint
                self._waited_for[key] = now + WAIT_AGAIN_SECONDS
        self._refused.clear()

    def _step(self, now: float) -> list[Unicast]:
        """Announce the joins, step the secret, and give it to the newcomers."""
        if not self.members:
            # Nobody had the secret before.
            self._renewed_at = now
        newcomers = self._pending_joins[:JOINS_PER_STEP]
        del self._pending_joins[:JOINS_PER_STEP]
        self._append(Joined(tuple(member.entry() for member in newcomers)))
        self._begin_epoch(self._secret.step(), now)
        self.members.update((member.id, member) for member in newcomers)
        roster = self._roster()
        return [self._welcome(member, roster, now) for member in newcomers]

    def _welcome(self, member: Member, roster: list[bytes], now: float) -> Unicast:
        """Welcome a member where an epoch begins, at the end of the log."""
        member.epoch = self.epoch
        member.welcomed_at = member.sent = self._log.end
        self._checks.begin(member, now, self._log.end)
        welcome = Welcome(
            self.id,
            member.id,
            member.token,
            self.epoch,
            self._renewed_epoch,
            self._secret.secret,
            self._log.end,
            self._hash.base,
            self.messages,
            self._event_seq,
            len(self.members) + len(self._pending_leaves),
        )
        return Unicast(member, self._log.end, (welcome.encode(), *roster))

    def _roster(self) -> list[bytes]:
        """What follows WELCOME: the greeting, and all that are in, as the log tells it: those that
        go have not been announced yet."""
        leaving = (member for member, _ in self._pending_leaves)
        entries = [member.encoded_entry() for member in (*self.members.values(), *leaving)]
        greeting = self.greeting()
        parts = range(0, len(entries), JOINS_PER_STEP)
        rosters = [Roster.encode_all(entries[start : start + JOINS_PER_STEP]) for start in parts]
        return [greeting, *rosters] if greeting else rosters

    def _begin_epoch(self, secret: RoomSecret, now: float) -> None:
        self._forget_epochs(now)
        self._past_epochs.append((self.epoch, now))
        self._hash.begin_epoch()
        self._epoch_begins = self._log.end
        self.epoch += 1
        self._secret = secret
        self._event_key = secret.event_key()

    def check(self) -> bytes:
        """The control message that tells a member the running hash at the end of the log."""
        return Check(self._log.end, self._hash.digest()).encode()

    # -- what is said

    def submit(self, member: Member, run: bytes, now: float) -> list[Unicast]:
        """Append the frames of a run of MESSAGEs that the room accepts. Returns what to answer;
        `messages` counts the appended ones. The rules (PROTOCOL 6.2), in the order in which they
        are looked at, where `last` is the member's `seq`:

            sender and epoch    not the member's           ProtocolError
            seq = last + 1      epoch current or recent    appended; last goes up by 1
            seq = last + 1      epoch before the last      dropped; RESEND(last + 1)
                                renewal, or ended by a
                                step too long ago
            seq > last + 1      any                        dropped; RESEND, unless one is pending
            seq <= last         any                        a repeat: dropped in silence

        At most one RESEND answers a run, and none if an accepted message came after the dropped
        one: the gap is closed then. Frames that are accepted one behind the other, run[start:end],
        are appended together, which is what makes a flood cheap.

        Raises:
            ProtocolError: the run is not made of MESSAGE frames, or one of them names another
                sender, or an epoch that is not the member's. The frames before it have been
                appended.
        """
        if member.id not in self.members:
            raise ProtocolError("a message before the welcome")
        oldest = self._oldest_epoch(member, now)
        ask = False
        start = end = 0
        try:
            for header in room_headers(Message.TYPE, run):
                self._check(member, header)
                next_in_turn = header.seq == member.seq + 1
                if next_in_turn and header.epoch >= oldest:
                    self._refused.discard(member.id)
                    member.seq = header.seq
                    member.resend_pending = ask = False
                    self.messages += 1
                else:
                    self._append_run(run[start:end])
                    start = header.end
                    if next_in_turn or (header.seq > member.seq and not member.resend_pending):
                        member.resend_pending = ask = True
                    if next_in_turn and header.epoch < self._renewed_epoch:
                        self._refuse(member, now)
                end = header.end
        finally:
            self._append_run(run[start:end])
        if not ask:
            return []
        return [Unicast(member, self._log.end, (Resend(member.seq + 1).encode(),))]

    def _refuse(self, member: Member, now: float) -> None:
        """The last renewal made this member say something again: let the next one wait for it."""
        if now >= self._waited_for.get(member.fingerprint, now):
            self._refused.add(member.id)

    def say(self, text: str) -> None:
        """The server's operator tells everybody something."""
        self._append(Notice(text))

    def set_topic(self, topic: Topic) -> None:
        """Tell everybody the topic; an empty one takes it away."""
        self._append(topic)

    def close(self) -> None:
        """Tell everybody that the room ends. Nothing may be appended after this."""
        self._append(Closing())

    def _check(self, member: Member, header: RoomHeader) -> None:
        if header.sender != member.id:
            raise ProtocolError("a message in another member's name")
        if header.epoch < member.epoch:
            raise ProtocolError("a message under a key that the member does not have")
        if header.epoch > self.epoch:
            # Somebody on its wire may have told it of a join that was none.
            raise ProtocolError("a message under a key that is to come", Reason.LOST)

    def _oldest_epoch(self, member: Member, now: float) -> int:
        """The oldest epoch under which this member's messages are accepted now."""
        self._forget_epochs(now)
        return max(self._past_epochs[0][0] if self._past_epochs else self.epoch, member.epoch)

    def _forget_epochs(self, now: float) -> None:
        while self._past_epochs and now - self._past_epochs[0][1] > EPOCH_GRACE_SECONDS:
            self._past_epochs.popleft()

    def _append_run(self, run: bytes) -> None:
        if run:
            self._log.append(run)
            self._hash.update(run)

    def _append(self, event: RoomEvent) -> None:
        """Seal an event under the current epoch. If it changes who is in, it must be the last of
        its epoch: `_begin_epoch` comes next."""
        self._event_seq += 1
        content = event.encode()
        header = room_header(Event.TYPE, self.epoch, 0, self._event_seq, sealed_bytes(len(content)))
        self._append_run(header + self._event_key.seal(header, content, self._random_bytes))
