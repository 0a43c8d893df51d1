"""The epochs of a room: its secret, which of its versions still count, and when the next is due.

Implements PROTOCOL 6.1 as the server does it. Here members are numbers and keys, and the log is
offsets into it. What becomes of members, and what is appended, is not known here.
"""

from collections import deque

from chat.frozen import frozen
from chat.kex import RoomSecret
from chat.limits import (
    EPOCH_GRACE_SECONDS,
    INTERVAL_SECONDS_PER_MEMBER,
    JOIN_INTERVAL_SECONDS,
    LEAVE_INTERVAL_SECONDS,
    MAX_PAST_EPOCHS,
    MAX_RENEWALS,
    RENEWAL_SECONDS,
    RENEWAL_WAIT_SECONDS,
    WAIT_AGAIN_SECONDS,
)
from chat.server.state import State

_NEVER = float("-inf")


@frozen
class Renewal:
    """A fresh secret, which was given out at the log's offset `at`. It is kept for members that
    resume from before that."""

    at: int
    epoch: int
    secret: RoomSecret
    made_at: float


class Epochs:
    """All members of a room share a secret, and each version of it is an epoch. The room calls
    `begin` directly behind the event that makes it necessary, so this event is the last frame of
    its epoch, and the log itself says which key opens which frame:

        JOINED  The secret *steps* (`stepped`): everybody derives the next one. Newcomers are given
                it with their WELCOME, spliced in behind JOINED, and cannot derive the one before. A
                welcome can only stand where an epoch begins. So when a member needs a new one in
                the middle of an epoch, JOINED names nobody, and ends it.
        LEFT    The secret is *renewed* (`renewed`): a fresh one is given to each member that stays
                by REKEY, spliced in behind LEFT. `_renewals` keeps it for members that resume
                later. When something was said under a secret that is RENEWAL_SECONDS old, LEFT
                names nobody.

    Joins that come close together share one step, leaves one renewal (`step_at`, `renewal_at`),
    since each costs a frame for many members.

    Whoever has left has the old secret, so *from LEFT on nothing counts that was sealed under an
    earlier epoch*. Its sender is asked for it again, and nothing is lost. But a sender far away
    could be asked again and again, and never get through. So a renewal waits for those whom the
    last one made say something again (`_refused`), for RENEWAL_WAIT_SECONDS at most; and not for a
    key for which it has just waited in vain (`_waited_for`). A step shuts nobody out, so a message
    that was sealed just before it is still accepted for a while: `_past` holds the epochs that
    ended lately since the last renewal; they are consecutive and end with `current` - 1.
    """

    def __init__(self, secret: RoomSecret) -> None:
        self.current = 1
        self.secret = secret
        self.event_key = secret.event_key()
        self.begins_at = 0
        """Where in the log the current epoch begins."""
        self.renewed_epoch = 1
        """The first epoch since the last renewal: what was sealed before it does not count."""
        self.step_at = _NEVER
        """When the next step may be."""
        self._next_renewal_at = _NEVER
        self._renewed_at = _NEVER
        self._messages_at_renewal = 0
        self._renewals: deque[Renewal] = deque()
        self._forgotten = 0
        self._past: deque[tuple[int, float]] = deque(maxlen=MAX_PAST_EPOCHS)
        self._refused: dict[int, bytes] = {}
        self._waited_for: dict[bytes, float] = {}

    # -- as it is kept for another server

    def state(self) -> State:
        """All that there is to know, for `restored`."""
        return {
            "current": self.current,
            "secret": self.secret.secret.hex(),
            "begins_at": self.begins_at,
            "renewed_epoch": self.renewed_epoch,
            "step_at": self.step_at,
            "next_renewal_at": self._next_renewal_at,
            "renewed_at": self._renewed_at,
            "messages_at_renewal": self._messages_at_renewal,
            "renewals": [
                [one.at, one.epoch, one.secret.secret.hex(), one.made_at] for one in self._renewals
            ],
            "forgotten": self._forgotten,
            "past": list(self._past),
            "refused": [[member, key.hex()] for member, key in self._refused.items()],
            "waited_for": [[key.hex(), until] for key, until in self._waited_for.items()],
        }

    @classmethod
    def restored(cls, state: State) -> "Epochs":
        """The epochs of which this is the `state`."""
        epochs = cls(RoomSecret(bytes.fromhex(state["secret"])))
        epochs.current = state["current"]
        epochs.begins_at = state["begins_at"]
        epochs.renewed_epoch = state["renewed_epoch"]
        epochs.step_at = state["step_at"]
        epochs._next_renewal_at = state["next_renewal_at"]
        epochs._renewed_at = state["renewed_at"]
        epochs._messages_at_renewal = state["messages_at_renewal"]
        for at, epoch, secret, made_at in state["renewals"]:
            epochs._renewals.append(Renewal(at, epoch, RoomSecret(bytes.fromhex(secret)), made_at))
        epochs._forgotten = state["forgotten"]
        epochs._past.extend((epoch, ended_at) for epoch, ended_at in state["past"])
        epochs._refused = {member: bytes.fromhex(key) for member, key in state["refused"]}
        epochs._waited_for = {bytes.fromhex(key): until for key, until in state["waited_for"]}
        return epochs

    # -- the secret changes

    def begin(self, secret: RoomSecret, now: float, at: int) -> None:
        """The next epoch begins at the log's offset `at`, with this secret."""
        self._end_old(now)
        self._past.append((self.current, now))
        self.begins_at = at
        self.current += 1
        self.secret = secret
        self.event_key = secret.event_key()

    def stepped(self, now: float, members: int) -> None:
        """A step has let somebody in where so many `members` were in before."""
        self.step_at = now + _interval(JOIN_INTERVAL_SECONDS, members)
        if not members:
            # Nobody had the secret before.
            self._renewed_at = now

    def renewed(self, now: float, members: int, messages: int) -> None:
        """The epoch that has just begun has a fresh secret, which so many `members` are given. So
        many `messages` were said before."""
        self._next_renewal_at = now + _interval(LEAVE_INTERVAL_SECONDS, members)
        self._past.clear()
        self._stop_waiting(now)
        self._renewed_at, self.renewed_epoch = now, self.current
        self._messages_at_renewal = messages
        self._renewals.append(Renewal(self.begins_at, self.current, self.secret, now))

    def renewal_at(self, messages: int, leaves: bool) -> float | None:
        """When the secret is to be renewed, if so many `messages` were said, and if somebody leaves
        or not; None: there is no cause."""
        if leaves:
            waits_until = self._renewed_at + RENEWAL_WAIT_SECONDS if self._refused else 0
            return max(self._next_renewal_at, waits_until)
        if messages > self._messages_at_renewal:
            return self._renewed_at + RENEWAL_SECONDS
        return None

    # -- which epochs count

    def oldest(self, now: float) -> int:
        """The oldest epoch under which messages are accepted now."""
        self._end_old(now)
        return self._past[0][0] if self._past else self.current

    def _end_old(self, now: float) -> None:
        while self._past and now - self._past[0][1] > EPOCH_GRACE_SECONDS:
            self._past.popleft()

    # -- whom the next renewal waits for

    def refuse(self, member: int, fingerprint: bytes, now: float) -> None:
        """The last renewal made this member say something again: let the next one wait for it."""
        if now >= self._waited_for.get(fingerprint, now):
            self._refused[member] = fingerprint

    def wait_no_more_for(self, member: int) -> None:
        """A message of this member has been accepted, or the member is lost, or out."""
        self._refused.pop(member, None)

    def _stop_waiting(self, now: float) -> None:
        """Whoever has not got through in the whole wait is not waited for again for a while."""
        for key, until in list(self._waited_for.items()):
            if now >= until:
                del self._waited_for[key]
        if now >= self._renewed_at + RENEWAL_WAIT_SECONDS:
            for key in self._refused.values():
                self._waited_for[key] = now + WAIT_AGAIN_SECONDS
        self._refused.clear()

    # -- who comes back

    def missed(self, epoch: int) -> list[Renewal]:
        """The fresh secrets that came after this epoch, as far as they are kept."""
        return [renewal for renewal in self._renewals if renewal.epoch > epoch]

    def leads_on_from(self, epoch: int, offset: int) -> bool:
        """Whether all secrets since this epoch are known, and were given out behind this offset of
        the log."""
        return self._forgotten <= epoch <= self.current and all(
            renewal.at >= offset for renewal in self.missed(epoch)
        )

    def forget(self, made_before: float, log_start: int) -> None:
        """Drop the secrets that were made before this time, or given out before this offset; and
        the oldest, if there are too many."""
        while self._renewals and (
            self._renewals[0].made_at < made_before
            or self._renewals[0].at < log_start
            or len(self._renewals) > MAX_RENEWALS
        ):
            self._forgotten = self._renewals.popleft().epoch


def _interval(least: float, members: int) -> float:
    return max(least, members * INTERVAL_SECONDS_PER_MEMBER)
