"""The keys of a room as one of its members has them, one epoch after the other.

Implements PROTOCOL 6.1 and 6.4 for a client.
"""

from chat.cipher import SealingKey
from chat.errors import ProtocolError
from chat.kex import RoomSecret
from chat.limits import MAX_EPOCHS

_MAX_EPOCH = 2**32 - 1


class _Epoch:
    """An epoch's secret and its two keys, each derived when it is first needed."""

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
    """The epochs whose keys we know, at most MAX_EPOCHS.

    An epoch ends in one of two ways. A JOINED ends it at once: the next secret follows from the
    current one (`step`). A LEFT ends it, and only the REKEY behind it brings the next secret
    (`await_rekey`, `renew`). In between nothing may be sealed, since the member who left still
    knows the current key, and no room frame can arrive.

    Invariant: `current` is the epoch that began last. From `first` on, the epoch of the last
    welcome, no epoch is missing except those dropped as the oldest.
    """

    def __init__(self) -> None:
        self.first = 0
        self.current = 0
        self.awaits_rekey = False
        """Whether the current epoch has ended and REKEY has not come."""
        self._known: dict[int, _Epoch] = {}

    def welcome(self, epoch: int, secret: RoomSecret) -> None:
        """WELCOME brings this epoch. The epochs between it and those we know stay unknown."""
        self.first = epoch
        self._begin(epoch, secret)

    def forget(self) -> None:
        """We are a new member, and the keys from before are of no use."""
        self._known.clear()

    def step(self) -> None:
        """Somebody joined: the next secret follows from the current one.

        Raises:
            ProtocolError: there is no next epoch number.
        """
        self.renew(self._known[self.current].secret.step())

    def await_rekey(self) -> None:
        """Somebody left: the next secret comes in REKEY."""
        self.awaits_rekey = True

    def expects(self, epoch: int) -> bool:
        """Whether a REKEY for this epoch is due."""
        return self.awaits_rekey and epoch == self.current + 1

    def renew(self, secret: RoomSecret) -> None:
        """The next epoch begins, with this secret.

        Raises:
            ProtocolError: there is no next epoch number.
        """
        if self.current >= _MAX_EPOCH:
            raise ProtocolError("the epochs have run out")
        self._begin(self.current + 1, secret)

    def _begin(self, epoch: int, secret: RoomSecret) -> None:
        self.current = epoch
        self.awaits_rekey = False
        # A lying server may come back to an epoch that we know.
        self._known.pop(epoch, None)
        self._known[epoch] = _Epoch(secret)
        if len(self._known) > MAX_EPOCHS:
            del self._known[next(iter(self._known))]

    def message_key(self, epoch: int) -> SealingKey | None:
        """The key of the messages of an epoch; None if we do not know it."""
        known = self._known.get(epoch)
        return None if known is None else known.message_key

    @property
    def current_message_key(self) -> SealingKey:
        return self._known[self.current].message_key

    @property
    def current_event_key(self) -> SealingKey:
        return self._known[self.current].event_key
