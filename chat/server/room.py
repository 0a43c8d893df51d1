"""The server's half of the conversation: members, epochs, and what is appended to the log.

Implements PROTOCOL 6 as the server does it. Whatever happens becomes an entry of the log; what is
for one member only is returned as a `Unicast` with its place in the order. Sockets, RSA and the
text of messages are not known here.
"""

from collections import OrderedDict, deque
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
    MAX_LOST_OF_KEY,
    MAX_LOST_OF_SOURCE,
    MAX_MEMBERS,
    RESUME_TOKEN_BYTES,
    ROOM_ID_BYTES,
    SILENCE_SECONDS,
)
from chat.messages import (
    Back,
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
    Welcome,
    encode_entry,
    encode_identity,
)
from chat.server.log import OrderedLog
from chat.text import fold_name, normalize_name
from chat.wire import Event, RoomHeader, room_header, room_headers


class Member:
    """Somebody in the room. `epoch` is the first one whose key the member has, 0 before that, and
    `welcomed_at` where in the log it begins; `resend_pending` is whether a RESEND is under way.

    Two things are the server's to note: `source`, where the member's connection comes from, and
    `sent`, how far into the log the member has been sent it."""

    __slots__ = (
        "epoch",
        "fingerprint",
        "id",
        "identity",
        "joined_at",
        "name",
        "resend_pending",
        "sent",
        "seq",
        "source",
        "token",
        "welcomed_at",
    )

    def __init__(
        self, member_id: int, name: str, fingerprint: bytes, token: bytes, joined_at: float
    ) -> None:
        self.id = member_id
        self.token = token
        self.name = name
        self.fingerprint = fingerprint
        self.identity = encode_identity(name, fingerprint, max(0, int(joined_at)))
        self.joined_at = joined_at
        self.epoch = 0
        self.seq = 0
        self.resend_pending = False
        self.source = ""
        self.welcomed_at = self.sent = 0

    def entry(self) -> RosterEntry:
        """What others are told of this member."""
        return RosterEntry(
            self.id, self.seq, self.name, self.fingerprint, max(0, int(self.joined_at))
        )


@dataclass(frozen=True, slots=True)
class Unicast:
    """Encoded control messages for one member, to be spliced into its stream at the log's offset
    `at`. They are encoded here, since many members get the same."""

    member: Member
    at: int
    controls: tuple[bytes, ...]


def bytes_again(member: Member, unicasts: list[Unicast]) -> int:
    """What a resume costs that has these answers: how much of the log the member is sent a second
    time, and all that is for it alone."""
    own = [unicast for unicast in unicasts if unicast.member is member]
    controls = sum(len(control) for unicast in own for control in unicast.controls)
    return max(0, member.sent - own[0].at) + controls


@dataclass(frozen=True, slots=True)
class _Renewal:
    """A fresh secret that was given out at the log's offset `at`, for who has to be told again."""

    at: int
    epoch: int
    secret: RoomSecret
    made_at: float


class Room:
    """One room. `end_grace` and `tick` must be called before what was appended is sent, and at
    `deadline`.

    Invariants: `members` holds those whom JOINED has announced and LEFT has not, but for those in
    `_pending_leaves`; `_pending_joins` holds those who are not announced yet; `_names` the names of
    both. `_lost` holds the members without a connection, in the order in which they lost it, and
    `_lost_of` the same for each key and each source. The epochs in `_past_epochs` are consecutive
    and end just before `epoch`.
    """

    def __init__(self, log: OrderedLog, random_bytes: RandomBytes, grace_seconds: float) -> None:
        self.id = random_bytes(ROOM_ID_BYTES)
        self.members: dict[int, Member] = {}
        self.epoch = 1
        self.messages = 0
        self._grace_seconds = grace_seconds
        self._lost: OrderedDict[int, float] = OrderedDict()
        self._lost_of: dict[bytes | str, dict[int, None]] = {}
        self._crowded_out: list[Member] = []
        self._renewals: deque[_Renewal] = deque()
        self._forgotten_epoch = 0
        self._log = log
        self._random_bytes = random_bytes
        self._names: dict[str, Member] = {}
        self._pending_joins: list[Member] = []
        self._pending_leaves: list[tuple[int, Reason]] = []
        self._next_id = 1
        self._event_seq = 0
        self._past_epochs: deque[tuple[int, float]] = deque()
        self._next_join_at = self._next_leave_at = float("-inf")
        self._secret = RoomSecret.fresh(random_bytes)
        self._event_key = self._secret.event_key()

    # -- membership

    def join(self, name: str, fingerprint: bytes, joined_at: float) -> Member:
        """Let somebody in, as of the next tick. `joined_at` is for people: seconds since 1970.

        Raises:
            RefusedError: the name is taken or cannot be used, or the room is full.
        """
        name = self.usable_name(name)
        if fold_name(name) in self._names:
            raise RefusedError(Reason.NAME_TAKEN, f"the name {name} is taken")
        if len(self._names) >= MAX_MEMBERS:
            raise RefusedError(Reason.FULL, "")
        token = self._random_bytes(RESUME_TOKEN_BYTES)
        member = Member(self._next_id, name, fingerprint, token, joined_at)
        self._next_id += 1
        self._names[fold_name(name)] = member
        self._pending_joins.append(member)
        return member

    def usable_name(self, name: str) -> str:
        """The name as it will stand in the room, if nobody has it.

        Raises:
            RefusedError: it cannot be used.
        """
        try:
            return normalize_name(name)
        except UsageError as exc:
            raise RefusedError(Reason.NAME_INVALID, str(exc)) from exc

    def leave(self, member: Member, reason: Reason) -> None:
        """Take somebody out; the others hear of it at the next tick."""
        del self._names[fold_name(member.name)]
        self._end_absence(member)
        if member.id in self.members:
            del self.members[member.id]
            self._pending_leaves.append((member.id, reason))
        else:
            self._pending_joins.remove(member)

    def suspend(self, member: Member, now: float) -> bool:
        """A member has lost the connection: it keeps its place until the grace is over, or until
        too many of its key, or of its source, are lost. False if there is nothing to keep, so that
        it must leave."""
        if member.id not in self.members or self._grace_seconds <= 0:
            return False
        if member.id not in self._lost:
            self._lost[member.id] = now
            self._append(Lost(member.id))
            self._begin_absence(member.fingerprint, member, MAX_LOST_OF_KEY)
            self._begin_absence(member.source, member, MAX_LOST_OF_SOURCE)
        return True

    @property
    def anybody_lost(self) -> bool:
        """Whether somebody may come back to a place in the log."""
        return bool(self._lost)

    def _begin_absence(self, owner: bytes | str, member: Member, limit: int) -> None:
        lost = self._lost_of.setdefault(owner, {})
        lost[member.id] = None
        if len(lost) > limit:
            oldest = self.members[next(iter(lost))]
            self.leave(oldest, Reason.LOST)
            self._crowded_out.append(oldest)

    def _end_absence(self, member: Member) -> bool:
        """Whether there was one."""
        if self._lost.pop(member.id, None) is None:
            return False
        for owner in (member.fingerprint, member.source):
            lost = self._lost_of.get(owner, {})
            lost.pop(member.id, None)
            if not lost:
                self._lost_of.pop(owner, None)
        return True

    def resume(
        self, request: Resume, fingerprint: bytes, now: float
    ) -> tuple[Member, list[Unicast]] | None:
        """Bring a member back to its place: to where it was in the log, or, if that is no longer
        there, to the end of it with a new welcome. None if this is not a member that may.

        RESEND is asked for at the end, so that the member, having heard everything, sends again
        what it does not see acknowledged.
        """
        member = self.members.get(request.member)
        if (
            member is None
            or member.fingerprint != fingerprint
            or not compare_digest(member.token, request.token)
        ):
            return None
        if self._end_absence(member):
            self._append(Back(member.id))
        if self._can_continue(member, request):
            unicasts = self._continue(member, request)
        else:
            unicasts = self._welcome_again(member, now)
        member.resend_pending = True
        resend = Resend(member.seq + 1).encode()
        return member, [*unicasts, Unicast(member, self._log.end, (resend,))]

    def _can_continue(self, member: Member, request: Resume) -> bool:
        """Whether the log from where the member was, and all keys since, are still there. Neither
        the log nor the keys from before the member's own welcome are for it, whatever it asks."""
        return (
            max(member.welcomed_at, self._log.start) <= request.offset <= self._log.end
            and max(member.epoch, self._forgotten_epoch) <= request.epoch <= self.epoch
            and all(renewal.at >= request.offset for renewal in self._missed(request))
        )

    def _missed(self, request: Resume) -> list[_Renewal]:
        return [renewal for renewal in self._renewals if renewal.epoch > request.epoch]

    def _continue(self, member: Member, request: Resume) -> list[Unicast]:
        rekeys = [
            Unicast(member, renewal.at, (Rekey(renewal.epoch, renewal.secret.secret).encode(),))
            for renewal in self._missed(request)
        ]
        return [Unicast(member, request.offset, (Resumed().encode(),)), *rekeys]

    def _welcome_again(self, member: Member, now: float) -> list[Unicast]:
        # The welcome's roster must not lack anybody of whom it will be said later that he left.
        announced = self._renew(now) if self._pending_leaves else []
        welcome = (self._welcome(member).encode(), *self._roster())
        others = [unicast for unicast in announced if unicast.member is not member]
        return [*others, Unicast(member, self._log.end, welcome)]

    def find(self, name: str) -> Member | None:
        """The member of this name, whatever its case."""
        return self._names.get(fold_name(name))

    def grace(self, member: Member, now: float) -> tuple[float, float] | None:
        """For how many seconds a member has had no connection, and for how many more its place is
        kept; None if it has one."""
        lost_at = self._lost.get(member.id)
        return None if lost_at is None else (now - lost_at, lost_at + self._grace_seconds - now)

    @property
    def deadline(self) -> float | None:
        """When `tick` has something to do, if nothing happens before."""
        deadlines = []
        if self._pending_leaves:
            deadlines.append(self._next_leave_at)
        elif self._pending_joins:
            deadlines.append(self._next_join_at)
        if self._lost:
            deadlines.append(next(iter(self._lost.values())) + self._grace_seconds)
        return min(deadlines, default=None)

    def tick(self, now: float) -> list[Unicast]:
        """Let the joins and leaves that are due take effect. Leaves come first: a newcomer must not
        hear of somebody leaving who is not in its roster."""
        unicasts: list[Unicast] = []
        self._forget_renewals(now)
        if self._pending_leaves and now >= self._next_leave_at:
            unicasts += self._renew(now)
        if self._pending_joins and not self._pending_leaves and now >= self._next_join_at:
            self._next_join_at = now + self._interval(JOIN_INTERVAL_SECONDS)
            unicasts += self._step(now)
        return unicasts

    def end_grace(self, now: float) -> list[Member]:
        """Take out who has not come back in time. Returns them, and before them those who had to
        leave since the last call because too many of their key or source were lost."""
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
        """Forget the secrets that nobody needs who may resume and was up to date when it was heard
        last."""
        oldest = now - self._grace_seconds - SILENCE_SECONDS
        while self._renewals and (
            self._renewals[0].made_at < oldest or self._renewals[0].at < self._log.start
        ):
            self._forgotten_epoch = self._renewals.popleft().epoch

    def _interval(self, least: float) -> float:
        return max(least, len(self.members) * INTERVAL_SECONDS_PER_MEMBER)

    def _renew(self, now: float) -> list[Unicast]:
        """Announce who left, and give a fresh secret to who stays."""
        self._next_leave_at = now + self._interval(LEAVE_INTERVAL_SECONDS)
        self._append(Left(tuple(self._pending_leaves)))
        self._pending_leaves.clear()
        self._begin_epoch(RoomSecret.fresh(self._random_bytes), now)
        self._renewals.append(_Renewal(self._log.end, self.epoch, self._secret, now))
        rekey = (Rekey(self.epoch, self._secret.secret).encode(),)
        return [Unicast(member, self._log.end, rekey) for member in self.members.values()]

    def _step(self, now: float) -> list[Unicast]:
        """Announce who joined, step the secret, and give it to the newcomers."""
        newcomers = self._pending_joins[:JOINS_PER_STEP]
        del self._pending_joins[:JOINS_PER_STEP]
        self._append(Joined(tuple(member.entry() for member in newcomers)))
        self._begin_epoch(self._secret.step(), now)
        for member in newcomers:
            member.epoch = self.epoch
            member.welcomed_at = member.sent = self._log.end
            self.members[member.id] = member
        roster = self._roster()
        return [
            Unicast(member, self._log.end, (self._welcome(member).encode(), *roster))
            for member in newcomers
        ]

    def _welcome(self, member: Member) -> Welcome:
        return Welcome(
            self.id,
            member.id,
            member.token,
            self.epoch,
            self._secret.secret,
            self._log.end,
            self.messages,
            self._event_seq,
            len(self.members),
        )

    def _roster(self) -> list[bytes]:
        entries = [
            encode_entry(member.id, member.seq, member.identity) for member in self.members.values()
        ]
        return [
            Roster.encode_all(entries[start : start + JOINS_PER_STEP])
            for start in range(0, len(entries), JOINS_PER_STEP)
        ]

    def _begin_epoch(self, secret: RoomSecret, now: float) -> None:
        self._forget_epochs(now)
        self._past_epochs.append((self.epoch, now))
        self.epoch += 1
        self._secret = secret
        self._event_key = secret.event_key()

    # -- what is said

    def submit(self, member: Member, run: bytes, now: float) -> list[Unicast]:
        """Append a run of MESSAGE frames of a member, as far as they are in order and sealed under
        an epoch that still counts. Returns what to answer; `messages` counts what was appended.

        Raises:
            ProtocolError: a frame names another sender or an epoch that is not the member's. What
                came before it in the run has been appended.
        """
        if member.id not in self.members:
            raise ProtocolError("a message before the welcome")
        oldest = self._oldest_epoch(member, now)
        ask = False
        start = end = 0
        try:
            for header in room_headers(run):
                self._check(member, header)
                next_in_turn = header.seq == member.seq + 1
                if next_in_turn and header.epoch >= oldest:
                    member.seq = header.seq
                    member.resend_pending = ask = False
                    self.messages += 1
                else:
                    self._append_run(run[start:end])
                    start = header.end
                    if next_in_turn or (header.seq > member.seq and not member.resend_pending):
                        member.resend_pending = ask = True
                end = header.end
        finally:
            self._append_run(run[start:end])
        if not ask:
            return []
        return [Unicast(member, self._log.end, (Resend(member.seq + 1).encode(),))]

    def say(self, text: str) -> None:
        """A word of the server's operator to everybody."""
        self._append(Notice(text))

    def close(self) -> None:
        """Tell everybody that the room ends here."""
        self._append(Closing())

    def _check(self, member: Member, header: RoomHeader) -> None:
        if header.sender != member.id:
            raise ProtocolError("a message in another member's name")
        if not member.epoch <= header.epoch <= self.epoch:
            raise ProtocolError("a message under a key that the member does not have")

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

    def _append(self, event: RoomEvent) -> None:
        """Seal an event under the current epoch. One that changes who is in is its epoch's last."""
        self._event_seq += 1
        content = event.encode()
        header = room_header(Event.TYPE, self.epoch, 0, self._event_seq, sealed_bytes(len(content)))
        self._log.append(header + self._event_key.seal(header, content, self._random_bytes))
