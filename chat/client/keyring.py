"""The keys of a room as one of its members has them, one epoch after the other.

Implements PROTOCOL 6.1, 6.5 and 6.8 for a client.
"""

from chat.cipher import SealingKey
from chat.errors import ProtocolError
from chat.kex import RoomKey, RoomSecret
from chat.limits import MAX_EPOCHS

_MAX_EPOCH = 2**32 - 1


class _Epoch:
    """An epoch's secret and its two keys, each derived when it is first needed."""

    __slots__ = ("_event_key", "_message_key", "_room_key", "secret")

    def __init__(self, secret: RoomSecret, room_key: RoomKey | None) -> None:
        self.secret = secret
        self._room_key = room_key
        self._message_key: SealingKey | None = None
        self._event_key: SealingKey | None = None

    @property
    def message_key(self) -> SealingKey:
        if self._message_key is None:
            self._message_key = self.secret.message_key(self._room_key)
        return self._message_key

    @property
    def event_key(self) -> SealingKey:
        if self._event_key is None:
            self._event_key = self.secret.event_key()
        return self._event_key


class Keyring:
    """The epochs whose keys we know, at most MAX_EPOCHS.

    An epoch ends in one of two ways. A JOINED ends it at once: the next secret follows from the
    current one (`step`). A LEFT ends it, and only the REKEY behind it brings the next secret
    (`await_rekey`, `renew`). In between nothing may be sealed, since the member who left still
    knows the current key, and no room frame can arrive.

    What was sealed before a LEFT does not count behind it. So all earlier secrets are forgotten
    there: nobody can open the talk of before with what we remember. What is left of an epoch is its
    repeat key, which opens nothing in that room's log, but may be wanted in the next room.

    Invariant: `current` is the epoch that began last. What was sealed before `oldest` does not
    count; it began with the last LEFT. From the first epoch that we know to the current one none is
    missing except those dropped as the oldest.
    """

    def __init__(self, room_key: RoomKey | None = None) -> None:
        """`room_key` is that of a sealed room; None in the open one."""
        self._room_key = room_key
        self.oldest = 0
        self.current = 0
        self.awaits_rekey = False
        """Whether the current epoch has ended and REKEY has not come."""
        self._room = b""
        self._known: dict[int, _Epoch] = {}
        self._repeat: dict[tuple[bytes, int], SealingKey] = {}

    def welcome(self, room: bytes, epoch: int, oldest: int, secret: RoomSecret) -> None:
        """WELCOME brings this epoch of this room, and says which is the oldest that counts. Of what
        we knew before, keep the secrets from which this one follows: under them others may have
        sealed what comes now.

        Raises:
            ProtocolError: the oldest is after this one.
        """
        if oldest > epoch:
            raise ProtocolError("a welcome that makes no sense")
        chain = self._chain(epoch, oldest, secret) if room == self._room else []
        self._room, self.oldest = room, oldest
        self._known.clear()
        for number, known in [*chain, (epoch, secret)]:
            self._begin(number, known)

    def _chain(self, epoch: int, oldest: int, secret: RoomSecret) -> list[tuple[int, RoomSecret]]:
        first = min((known for known in self._known if known >= oldest), default=epoch)
        if not 0 < epoch - first < MAX_EPOCHS:
            return []
        chain, at = [], self._known[first].secret
        for number in range(first, epoch):
            chain.append((number, at))
            at = at.step()
        return chain if at == secret else []

    def step(self) -> None:
        """The next secret follows from the current one.

        Raises:
            ProtocolError: there is no next epoch number.
        """
        self._begin(self._next(), self._known[self.current].secret.step())

    def await_rekey(self) -> None:
        """The next secret comes in REKEY."""
        self.awaits_rekey = True

    def expects(self, epoch: int) -> bool:
        """Whether a REKEY for this epoch is due."""
        return self.awaits_rekey and epoch == self.current + 1

    def renew(self, secret: RoomSecret) -> None:
        """REKEY has brought the secret of the next epoch. Forget those before.

        Raises:
            ProtocolError: there is no next epoch number.
        """
        self.oldest = self._next()
        self._known.clear()
        self._begin(self.oldest, secret)

    def _next(self) -> int:
        if self.current >= _MAX_EPOCH:
            raise ProtocolError("the epochs have run out")
        return self.current + 1

    def _begin(self, epoch: int, secret: RoomSecret) -> None:
        self.current = epoch
        self.awaits_rekey = False
        self._known[epoch] = _Epoch(secret, self._room_key)
        self._repeat[self._room, epoch] = secret.repeat_key(self._room_key)
        if len(self._known) > MAX_EPOCHS:
            del self._known[next(iter(self._known))]
        if len(self._repeat) > MAX_EPOCHS:
            del self._repeat[next(iter(self._repeat))]

    def counts(self, epoch: int) -> bool:
        """Whether a message that was sealed under this epoch counts at this place of the log. If we
        do not know its key, it is not for us."""
        return self.oldest <= epoch <= self.current

    def message_key(self, epoch: int) -> SealingKey | None:
        """The key of the messages of an epoch; None if we do not know it."""
        known = self._known.get(epoch)
        return None if known is None else known.message_key

    def repeat_key(self, room: bytes, epoch: int) -> SealingKey | None:
        """The key of what was said in an epoch and is repeated in a later room; None if we were not
        there."""
        return self._repeat.get((room, epoch))

    @property
    def current_message_key(self) -> SealingKey:
        return self._known[self.current].message_key

    @property
    def current_event_key(self) -> SealingKey:
        return self._known[self.current].event_key
