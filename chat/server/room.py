"""The server's half of the conversation: what happens in a room becomes an entry of its log.

Implements PROTOCOL 6 as the server does it. What is for one member only is returned as a `Unicast`,
with its place in the log. Who is in is kept in `members`, and what the secret is in `epochs`;
`submissions` says which messages are accepted. This module knows no socket, no RSA and no text of a
message.
"""

from collections import deque
from collections.abc import Callable
from hmac import compare_digest

from chat.cipher import RandomBytes, sealed_bytes
from chat.controls import Check, Rekey, Resend, Resume, Resumed, Roster, Welcome
from chat.errors import ProtocolError, Reason
from chat.frozen import frozen
from chat.identities import Card
from chat.kex import RoomSecret
from chat.limits import (
    JOINS_PER_STEP,
    MAX_BASES,
    MAX_HASHED_AGAIN,
    RESUME_TOKEN_BYTES,
    ROOM_ID_BYTES,
    SILENCE_SECONDS,
)
from chat.presence import Presence
from chat.roomevents import Back, Closing, Joined, Left, Lost, Notice, RoomEvent, Topic
from chat.runninghash import RunningHash
from chat.server.checks import Checks
from chat.server.epochs import Epochs
from chat.server.log import OrderedLog
from chat.server.members import NO_CARD, Member, Members
from chat.server.state import State
from chat.server.submissions import take_run
from chat.wire import Event, room_header, starts_frame


@frozen
class Unicast:
    """Control messages for one member, to be spliced into its stream at the log's offset `at`.
    They are encoded here, since many members are sent the same."""

    member: Member
    at: int
    controls: tuple[bytes, ...]


def bytes_again(member: Member, unicasts: list[Unicast]) -> int:
    """How many bytes a member is sent a second time when it resumes with these answers: a part of
    the log, and all that is for it alone."""
    own = [unicast for unicast in unicasts if unicast.member is member]
    controls = sum(len(control) for unicast in own for control in unicast.controls)
    return max(0, member.sent - own[0].at) + controls


class Room:
    """One room. Its owner must call `end_grace`, `tick` and `tell_hash` before it sends what was
    appended, and at `deadline`. What is appended follows from the calls, the times that they name,
    and the random bytes: two rooms in which the same happens have the same log.

    `_members` says who is in, and `_epochs` what the secret is; both are told what happens, and
    neither does anything by itself. Leaves are announced before joins where both are due: whoever
    comes may have the name of somebody who goes.

    **The running hash** goes on with each append, and `check` tells what it is at the log's end.
    Every member with a connection is told now and then (`_checks`).
    """

    def __init__(self, log: OrderedLog, random_bytes: RandomBytes, grace_seconds: float) -> None:
        self.id = random_bytes(ROOM_ID_BYTES)
        self.messages = 0
        self.grace_seconds = grace_seconds
        """For so long the place of a member is kept that is lost."""
        self._log = log
        self._random_bytes = random_bytes
        self._members = Members()
        self.members = self._members.inside
        """Those that are in, by number."""
        self._crowded_out: list[Member] = []
        self._event_seq = 0
        self._hash = RunningHash.of_room(self.id)
        self._bases = deque([(log.end, self._hash.base)], MAX_BASES)
        """Where in the log the last epochs began, and with which base."""
        self._checks: Checks[Member] = Checks()
        self.greeting: Callable[[], bytes] = bytes
        """Makes the control message that stands between WELCOME and ROSTER; empty for none."""
        self._epochs = Epochs(RoomSecret.fresh(random_bytes))

    # -- as it is kept for another server

    def state(self) -> State:
        """All that there is to know behind `end_grace`, for `restored`; but for the log."""
        return {
            "id": self.id.hex(),
            "messages": self.messages,
            "event_seq": self._event_seq,
            "base": self._hash.base.hex(),
            "bases": [[at, base.hex()] for at, base in self._bases],
            "members": self._members.state(),
            "epochs": self._epochs.state(),
        }

    @classmethod
    def restored(
        cls, state: State, log: OrderedLog, random_bytes: RandomBytes, grace_seconds: float
    ) -> "Room":
        """The room of which this is the `state`, with its log, which must hold the whole of the
        epoch."""
        room = cls(log, random_bytes, grace_seconds)
        room.id = bytes.fromhex(state["id"])
        room.messages, room._event_seq = state["messages"], state["event_seq"]
        room._members = Members.restored(state["members"])
        room.members = room._members.inside
        room._epochs = Epochs.restored(state["epochs"])
        room._hash = RunningHash(bytes.fromhex(state["base"]))
        room._hash.update(log.read(room._epochs.begins_at, log.end))
        bases = ((at, bytes.fromhex(base)) for at, base in state["bases"])
        room._bases = deque(bases, MAX_BASES)
        return room

    @property
    def epoch_bytes(self) -> int:
        """How much of the log is of the current epoch."""
        return self._log.end - self._epochs.begins_at

    # -- who is here

    @property
    def epoch(self) -> int:
        """The number of the epoch."""
        return self._epochs.current

    def member(self, number: int) -> Member | None:
        """The member of this number, which is in or about to be."""
        found = self.members.get(number)
        if found is None:
            found = next((one for one in self._members.pending if one.id == number), None)
        return found

    @property
    def is_empty(self) -> bool:
        """Whether nobody is in, is about to be, or has a place that is kept."""
        return self._members.nobody

    @property
    def anybody_lost(self) -> bool:
        """Whether some member may come back to its place in the log."""
        return self._members.anybody_lost

    def usable_name(self, name: str) -> str:
        """The name as it would stand in the room (`Members.usable_name`)."""
        return self._members.usable_name(name)

    def find(self, name: str) -> tuple[Member, ...]:
        """The members of this name, or of one that looks like it: one person."""
        return self._members.find(name)

    def of_key(self, fingerprint: str) -> list[Member]:
        """The members of a key, by its fingerprint as people write it. Who is pending is one."""
        return self._members.of_key(fingerprint)

    def presence(self, name: str) -> Presence:
        """How the person of this name is here. Who is pending is here already."""
        return self._members.presence(name)

    def grace(self, member: Member, now: float) -> tuple[float, float] | None:
        """For how many seconds a member has been lost, and for how many more its place is kept;
        None if it is connected."""
        lost_at = self._members.lost_at(member)
        return None if lost_at is None else (now - lost_at, lost_at + self.grace_seconds - now)

    # -- members come and go

    def join(self, name: str, fingerprint: bytes, joined_at: float, card: Card = NO_CARD) -> Member:
        """Let somebody in, as of the next `tick`: another connection of a person, if somebody with
        this name and this key is in already. `joined_at` is in seconds since 1970.

        Raises:
            RefusedError: another key has the name, or it cannot be used, or the room is full, or
                this key is in too often.
        """
        name = self.usable_name(name)
        ghost = self._members.makes_room(name, fingerprint, card.caller)
        if ghost is not None:
            self._crowd_out(ghost)
        token = self._random_bytes(RESUME_TOKEN_BYTES)
        return self._members.add(name, fingerprint, token, joined_at, card)

    def leave(self, member: Member, reason: Reason) -> None:
        """Take somebody out. The others hear of it at the next `tick`, and `reason` with it."""
        self._members.remove(member, reason)
        self._disconnect(member)

    def suspend(self, member: Member, now: float) -> bool:
        """A member has lost the connection. It keeps its place until the grace is over, too many
        members of its source are lost, or another one of its key needs the place. Returns False if
        there is no place to keep; then the member must leave."""
        if member.id not in self.members or self.grace_seconds <= 0:
            return False
        self._disconnect(member)
        if not member.lost:
            one_too_many = self._members.lose(member, now)
            self._append(Lost(member.id))
            if one_too_many is not None:
                self._crowd_out(one_too_many)
        return True

    def _disconnect(self, member: Member) -> None:
        """Nothing is waited for from this member, and it is told nothing."""
        self._epochs.wait_no_more_for(member.id)
        self.tell_no_more(member)

    def tell_no_more(self, member: Member) -> None:
        """There is nobody here who would pass on to this member what is for it alone."""
        self._checks.end(member)

    def _crowd_out(self, lost: Member) -> None:
        self.leave(lost, Reason.LOST)
        self._crowded_out.append(lost)

    def end_grace(self, now: float) -> list[Member]:
        """Take out the members whose grace is over. Returns them, and before them those that had to
        leave since the last call because there were too many of their key or source."""
        ended, self._crowded_out = self._crowded_out, []
        while (first := self._members.first_lost) is not None:
            member, lost_at = first
            if now < lost_at + self.grace_seconds:
                break
            self.leave(member, Reason.LOST)
            ended.append(member)
        return ended

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
        if self._members.bring_back(member):
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
        member may ask for neither log nor keys from before its first welcome, and not for half a
        frame: somebody on the wire may have brought its count out of step. A later welcome it may
        never have been given: then it is still where it was."""
        return (
            max(member.welcomed_at, self._log.start) <= request.offset <= self._log.end
            and member.epoch <= request.epoch
            and self._epochs.leads_on_from(request.epoch, request.offset)
            and starts_frame(*self._log.around(request.offset))
        )

    def _continue(self, member: Member, request: Resume) -> list[Unicast]:
        rekeys = [
            Unicast(member, renewal.at, (Rekey(renewal.epoch, renewal.secret.secret).encode(),))
            for renewal in self._epochs.missed(request.epoch)
        ]
        first = (Resumed().encode(), *self._check_at(request.offset))
        return [Unicast(member, request.offset, first), *rekeys]

    def _check_at(self, offset: int) -> tuple[bytes, ...]:
        """The CHECK of this place; none if much of the log would have to be hashed for it. Where
        servers of a cluster have lost the end of the log, and go on from before it, the member may
        have read another log up to here. It is to know that before it is told what follows: the
        numbers of members may be those of others."""
        begun = [one for one in self._bases if one[0] <= offset]
        if not begun or begun[-1][0] < max(self._log.start, offset - MAX_HASHED_AGAIN):
            return ()
        begins_at, base = begun[-1]
        running = RunningHash(base)
        running.update(self._log.read(begins_at, offset))
        return (Check(offset, running.digest()).encode(),)

    def _welcome_again(self, member: Member, now: float) -> Unicast:
        if self.epoch_bytes:
            self.end_epoch(now)
        return self._welcome(member, self._roster(), now)

    def end_epoch(self, now: float) -> None:
        """Begin the next epoch, though nobody comes or goes."""
        self._append(Joined(()))
        self._begin_epoch(self._epochs.secret.step(), now)

    # -- what is due

    @property
    def deadline(self) -> float | None:
        """When `end_grace`, `tick` or `tell_hash` has something to do."""
        deadlines = (self.due_at, self.hash_at)
        return min((each for each in deadlines if each is not None), default=None)

    @property
    def hash_at(self) -> float | None:
        """When `tell_hash` has something to do."""
        return self._checks.deadline(self._log.end)

    @property
    def due_at(self) -> float | None:
        """When `end_grace` or `tick` has something to do, if nothing happens before."""
        deadlines = []
        renewal_at = self._renewal_at
        if renewal_at is not None:
            deadlines.append(renewal_at)
        if self._members.pending and not self._members.leaving:
            deadlines.append(self._epochs.step_at)
        first_lost = self._members.first_lost
        if first_lost is not None:
            deadlines.append(first_lost[1] + self.grace_seconds)
        return min(deadlines, default=None)

    @property
    def _renewal_at(self) -> float | None:
        return self._epochs.renewal_at(self.messages, bool(self._members.leaving))

    def tick(self, now: float) -> list[Unicast]:
        """Let the leaves and the joins that are due take effect."""
        unicasts: list[Unicast] = []
        # Secrets too old to be missed by any member that may still resume. A member was heard at
        # most SILENCE_SECONDS before it was lost, and had the keys of that time.
        self._epochs.forget(now - self.grace_seconds - SILENCE_SECONDS, self._log.start)
        renewal_at = self._renewal_at
        if renewal_at is not None and now >= renewal_at:
            unicasts += self._renew(now)
        members = self._members
        if members.pending and not members.leaving and now >= self._epochs.step_at:
            unicasts += self._step(now)
        return unicasts

    def tell_hash(self, now: float) -> list[Unicast]:
        """Tell the running hash to those that are due."""
        told = list(self._checks.due(now, self._log.end))
        check = (self.check(),) if told else ()
        return [Unicast(member, self._log.end, check) for member in told]

    def _renew(self, now: float) -> list[Unicast]:
        """Announce the leaves, and give a fresh secret to the members that stay."""
        leaving = self._members.leaving
        self._append(Left(tuple((member.id, reason) for member, reason in leaving)))
        leaving.clear()
        self._begin_epoch(RoomSecret.fresh(self._random_bytes), now)
        self._epochs.renewed(now, len(self.members), self.messages)
        rekey = (Rekey(self.epoch, self._epochs.secret.secret).encode(),)
        return [Unicast(member, self._log.end, rekey) for member in self.members.values()]

    def _step(self, now: float) -> list[Unicast]:
        """Announce the joins, step the secret, and give it to the newcomers."""
        count = len(self.members)
        newcomers = self._members.let_in(JOINS_PER_STEP)
        self._append(Joined(tuple(member.entry() for member in newcomers)))
        self._begin_epoch(self._epochs.secret.step(), now)
        self._epochs.stepped(now, count)
        roster = self._roster()
        return [self._welcome(member, roster, now) for member in newcomers]

    def _begin_epoch(self, secret: RoomSecret, now: float) -> None:
        """The event that ends the epoch has just been appended."""
        self._hash.begin_epoch()
        self._bases.append((self._log.end, self._hash.base))
        self._epochs.begin(secret, now, self._log.end)

    def _welcome(self, member: Member, roster: list[bytes], now: float) -> Unicast:
        """Welcome a member where an epoch begins, at the end of the log."""
        if not member.epoch:
            member.epoch, member.welcomed_at = self.epoch, self._log.end
        member.sent = self._log.end
        self._checks.begin(member, now, self._log.end)
        welcome = Welcome(
            self.id,
            member.id,
            member.token,
            self.epoch,
            self._epochs.renewed_epoch,
            self._epochs.secret.secret,
            self._log.end,
            self._hash.base,
            self.messages,
            self._event_seq,
            len(self.members) + len(self._members.leaving),
        )
        return Unicast(member, self._log.end, (welcome.encode(), *roster))

    def _roster(self) -> list[bytes]:
        """What follows WELCOME: the greeting, and all that are in, as the log tells it: those that
        go have not been announced yet."""
        leaving = (member for member, _ in self._members.leaving)
        entries = [member.encoded_entry() for member in (*self.members.values(), *leaving)]
        greeting = self.greeting()
        parts = range(0, len(entries), JOINS_PER_STEP)
        rosters = [Roster.encode_all(entries[start : start + JOINS_PER_STEP]) for start in parts]
        return [greeting, *rosters] if greeting else rosters

    def check(self) -> bytes:
        """The control message that tells a member the running hash at the end of the log."""
        return Check(self._log.end, self._hash.digest()).encode()

    # -- what is said

    def submit(self, member: Member, run: bytes, now: float) -> list[Unicast]:
        """Append the frames of a run of MESSAGEs that the room accepts (`submissions`). Returns
        what to answer; `messages` counts the appended ones.

        Raises:
            ProtocolError: the member may not send one of these. The frames before it have been
                appended.
        """
        if member.id not in self.members:
            raise ProtocolError("a message before the welcome")
        if not take_run(member, run, self._epochs, now, self._append_messages):
            return []
        return [Unicast(member, self._log.end, (Resend(member.seq + 1).encode(),))]

    def say(self, text: str) -> None:
        """The server's operator tells everybody something."""
        self._append(Notice(text))

    def set_topic(self, topic: Topic) -> None:
        """Tell everybody the topic; an empty one takes it away."""
        self._append(topic)

    def close(self) -> None:
        """Tell everybody that the room ends. Nothing may be appended after this."""
        self._append(Closing())

    def _append_messages(self, run: bytes, count: int) -> None:
        self.messages += count
        self._append_run(run)

    def _append(self, event: RoomEvent) -> None:
        """Seal an event under the current epoch. If it changes who is in, it must be the last of
        its epoch: `_begin_epoch` comes next."""
        self._event_seq += 1
        content = event.encode()
        header = room_header(Event.TYPE, self.epoch, 0, self._event_seq, sealed_bytes(len(content)))
        sealed = self._epochs.event_key.seal(header, content, self._random_bytes)
        self._append_run(header + sealed)

    def _append_run(self, run: bytes) -> None:
        if run:
            self._log.append(run)
            self._hash.update(run)
