"""The server's half of the conversation: members, epochs, and what is appended to the log.

Implements PROTOCOL 6 as the server does it. Whatever happens becomes an entry of the log; what is
for one member only is returned as a `Delivery` with its place in the order. Sockets, RSA and the
text of messages are not known here.
"""

from collections import deque
from dataclasses import dataclass

from chat.cipher import RandomBytes, sealed_bytes
from chat.errors import ProtocolError, Reason, RefusedError, UsageError
from chat.kex import RoomSecret
from chat.limits import (
    EPOCH_GRACE_SECONDS,
    JOIN_INTERVAL_SECONDS,
    JOINS_PER_STEP,
    LEAVE_INTERVAL_SECONDS,
    MAX_MEMBERS,
)
from chat.messages import (
    Closing,
    Joined,
    Left,
    Notice,
    Rekey,
    Resend,
    RoomEvent,
    Roster,
    RosterEntry,
    Welcome,
)
from chat.names import name_key, normalize_name
from chat.relaylog import RelayLog
from chat.wire import Event, RoomHeader, room_header, room_headers


class Member:
    """Somebody in the room. `epoch` is the first one whose key the member has, 0 before that."""

    __slots__ = ("asked", "epoch", "fingerprint", "id", "joined_at", "name", "seq")

    def __init__(self, member_id: int, name: str, fingerprint: bytes, joined_at: float) -> None:
        self.id = member_id
        self.name = name
        self.fingerprint = fingerprint
        self.joined_at = joined_at
        self.epoch = 0
        self.seq = 0
        self.asked = False

    def entry(self) -> RosterEntry:
        """What others are told of this member."""
        return RosterEntry(self.id, self.seq, self.name, self.fingerprint)


@dataclass(frozen=True, slots=True)
class Delivery:
    """Encoded control messages for one member, to be spliced into its stream at the log's offset
    `at`. They are encoded here, since many members get the same."""

    member: Member
    at: int
    controls: tuple[bytes, ...]


class Room:
    """One room. `tick` must be called before what was appended is sent, and at `deadline`.

    Invariants: `members` holds who has been announced by JOINED and not yet by LEFT, but for those
    in `_departed`; `_newcomers` holds who has not been announced yet; `_names` the names of both.
    The epochs in `_ended` are consecutive and end just before `epoch`.
    """

    def __init__(self, log: RelayLog, random_bytes: RandomBytes) -> None:
        self.members: dict[int, Member] = {}
        self.epoch = 1
        self._log = log
        self._random_bytes = random_bytes
        self._names: dict[str, Member] = {}
        self._newcomers: list[Member] = []
        self._departed: list[tuple[int, Reason]] = []
        self._next_id = 1
        self._event_seq = 0
        self._ended: deque[tuple[int, float]] = deque()
        self._next_step = self._next_renewal = float("-inf")
        self._secret = RoomSecret.fresh(random_bytes)
        self._event_key = self._secret.event_key()

    # -- membership

    def join(self, name: str, fingerprint: bytes, joined_at: float) -> Member:
        """Let somebody in, as of the next tick. `joined_at` is for people: seconds since 1970.

        Raises:
            RefusedError: the name is taken or cannot be used, or the room is full.
        """
        try:
            name = normalize_name(name)
        except UsageError as exc:
            raise RefusedError(Reason.NAME_INVALID, str(exc)) from exc
        if name_key(name) in self._names:
            raise RefusedError(Reason.NAME_TAKEN, f"the name {name} is taken")
        if len(self._names) >= MAX_MEMBERS:
            raise RefusedError(Reason.FULL, "")
        member = Member(self._next_id, name, fingerprint, joined_at)
        self._next_id += 1
        self._names[name_key(name)] = member
        self._newcomers.append(member)
        return member

    def leave(self, member: Member, reason: Reason) -> None:
        """Take somebody out; the others hear of it at the next tick."""
        del self._names[name_key(member.name)]
        if member.id in self.members:
            del self.members[member.id]
            self._departed.append((member.id, reason))
        else:
            self._newcomers.remove(member)

    def find(self, name: str) -> Member | None:
        """The member of this name, whatever its case."""
        return self._names.get(name_key(name))

    @property
    def deadline(self) -> float | None:
        """When `tick` has something to do, if nothing happens before."""
        if self._departed:
            return self._next_renewal
        return self._next_step if self._newcomers else None

    def tick(self, now: float) -> list[Delivery]:
        """Let the joins and leaves that are due take effect. Leaves come first: a newcomer must not
        hear of somebody leaving who is not in its roster."""
        deliveries: list[Delivery] = []
        if self._departed and now >= self._next_renewal:
            self._next_renewal = now + LEAVE_INTERVAL_SECONDS
            deliveries += self._renew(now)
        if self._newcomers and not self._departed and now >= self._next_step:
            self._next_step = now + JOIN_INTERVAL_SECONDS
            deliveries += self._step(now)
        return deliveries

    def _renew(self, now: float) -> list[Delivery]:
        """Announce who left, and give a fresh secret to who stays."""
        self._append(Left(tuple(self._departed)))
        self._departed.clear()
        self._begin_epoch(RoomSecret.fresh(self._random_bytes), now)
        rekey = (Rekey(self.epoch, self._secret.secret).encode(),)
        return [Delivery(member, self._log.end, rekey) for member in self.members.values()]

    def _step(self, now: float) -> list[Delivery]:
        """Announce who joined, step the secret, and give it to the newcomers."""
        newcomers = self._newcomers[:JOINS_PER_STEP]
        del self._newcomers[:JOINS_PER_STEP]
        self._append(Joined(tuple(member.entry() for member in newcomers)))
        self._begin_epoch(self._secret.step(), now)
        for member in newcomers:
            member.epoch = self.epoch
            self.members[member.id] = member
        roster = self._roster()
        return [
            Delivery(member, self._log.end, (self._welcome(member).encode(), *roster))
            for member in newcomers
        ]

    def _welcome(self, member: Member) -> Welcome:
        return Welcome(
            member.id,
            self.epoch,
            self._secret.secret,
            self._log.end,
            self._event_seq,
            len(self.members),
        )

    def _roster(self) -> list[bytes]:
        entries = [member.entry() for member in self.members.values()]
        return [
            Roster(tuple(entries[start : start + JOINS_PER_STEP])).encode()
            for start in range(0, len(entries), JOINS_PER_STEP)
        ]

    def _begin_epoch(self, secret: RoomSecret, now: float) -> None:
        self._ended.append((self.epoch, now))
        self.epoch += 1
        self._secret = secret
        self._event_key = secret.event_key()

    # -- what is said

    def submit(self, member: Member, run: bytes, now: float) -> tuple[int, list[Delivery]]:
        """Append a run of MESSAGE frames of a member, as far as they are in order and sealed under
        an epoch that still counts. Returns how many were appended, and what to answer.

        Raises:
            ProtocolError: a frame names another sender or an epoch that is not the member's. What
                came before it in the run has been appended.
        """
        if member.id not in self.members:
            raise ProtocolError("a message before the welcome")
        oldest = self._oldest_epoch(member, now)
        count, ask = 0, False
        start = end = 0
        try:
            for header in room_headers(run):
                self._check(member, header)
                next_in_turn = header.seq == member.seq + 1
                if next_in_turn and header.epoch >= oldest:
                    member.seq = header.seq
                    member.asked = ask = False
                    count += 1
                else:
                    self._append_run(run[start:end])
                    start = header.end
                    if next_in_turn or (header.seq > member.seq and not member.asked):
                        member.asked = ask = True
                end = header.end
        finally:
            self._append_run(run[start:end])
        if not ask:
            return count, []
        resend = Resend(member.seq + 1).encode()
        return count, [Delivery(member, self._log.end, (resend,))]

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
        while self._ended and now - self._ended[0][1] > EPOCH_GRACE_SECONDS:
            self._ended.popleft()
        return max(self._ended[0][0] if self._ended else self.epoch, member.epoch)

    def _append_run(self, run: bytes) -> None:
        if run:
            self._log.append(run)

    def _append(self, event: RoomEvent) -> None:
        """Seal an event under the current epoch. One that changes who is in is its epoch's last."""
        self._event_seq += 1
        content = event.encode()
        header = room_header(Event.TYPE, self.epoch, 0, self._event_seq, sealed_bytes(len(content)))
        self._log.append(header + self._event_key.seal(header, content, self._random_bytes))
