"""The keys of a room as one of its members has them: an epoch after the other.

Implements PROTOCOL 6.1 and 6.4 for a client.
"""

from chat.cipher import SealingKey
from chat.errors import ProtocolError
from chat.kex import RoomSecret
from chat.limits import MAX_EPOCHS

_MAX_EPOCH = 2**32 - 1


class _Epoch:
    """An epoch's secret and its keys, derived when they are first needed."""

    __slots__ = ("_event_key", "_message_key", "secret")

    def __init__(self, secret: RoomSecret) -> None:
        self.secret = secret
        self._message_key: SealingKey | None = None
        self._event_key: SealingKey | None = None

    @property
    def message_key(self) -> SealingKey:
        if self._message_key is None:
            self._message_key = self.secret.message_key()
        return self._message_key

    @property
    def event_key(self) -> SealingKey:
        if self._event_key is None:
            self._event_key = self.secret.event_key()
        return self._event_key


class Keyring:
    """Those that we know, at most MAX_EPOCHS. Invariants: `current` is the one that was put in
    last; from `first` on, to which we were welcomed last, none is missing but those that are long
    past."""

    def __init__(self) -> None:
        self.first = 0
        self.current = 0
        self._known: dict[int, _Epoch] = {}

    def welcome(self, epoch: int, secret: RoomSecret) -> None:
        """We are given this one; what came between it and those that we know, we are not."""
        self.first = epoch
        self._begin(epoch, secret)

    def forget(self) -> None:
        """We are a member anew, and the keys of before are of no use."""
        self._known.clear()

    def step(self) -> None:
        """Somebody joined: the next secret follows from the current one."""
        self.renew(self._known[self.current].secret.step())

    def renew(self, secret: RoomSecret) -> None:
        """The next epoch begins, with this secret.

        Raises:
            ProtocolError: there is no next number.
        """
        if self.current >= _MAX_EPOCH:
            raise ProtocolError("the epochs have run out")
        self._begin(self.current + 1, secret)

    def _begin(self, epoch: int, secret: RoomSecret) -> None:
        self.current = epoch
        # A server that lies may come back to one that we know.
        self._known.pop(epoch, None)
        self._known[epoch] = _Epoch(secret)
        if len(self._known) > MAX_EPOCHS:
            del self._known[next(iter(self._known))]

    def message_key(self, epoch: int) -> SealingKey | None:
        """The key of messages in an epoch; None if we do not know it."""
        known = self._known.get(epoch)
        return None if known is None else known.message_key

    @property
    def current_message_key(self) -> SealingKey:
        return self._known[self.current].message_key

    @property
    def current_event_key(self) -> SealingKey:
        return self._known[self.current].event_key
