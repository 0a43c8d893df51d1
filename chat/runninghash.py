"""The running hash of a room's log: by it a reader knows that it was told what the server wrote.

Implements PROTOCOL 6.4, which both ends compute alike. The server has one for all its members.
"""

from hashlib import sha256

LABEL_ROOM_LOG = b"chat/1 room log"
_NOTHING = sha256().digest()


class RunningHash:
    """The hash of a log up to where it was read.

    The log is hashed an epoch at a time, and the epochs are chained: where one ends, the running
    hash is the base of the next. So whoever is given the base of an epoch can go on from its
    beginning, without having seen what came before.
    """

    __slots__ = ("_epoch", "base")

    def __init__(self, base: bytes) -> None:
        """`base` is the running hash at the beginning of an epoch."""
        self.base = base
        self._epoch = sha256()

    @classmethod
    def of_room(cls, room: bytes) -> "RunningHash":
        """The hash at the beginning of the first epoch of a room (its id)."""
        return cls(sha256(LABEL_ROOM_LOG + room).digest())

    def update(self, entries: bytes) -> None:
        """Take the next bytes of the log, all of the current epoch."""
        self._epoch.update(entries)

    def digest(self) -> bytes:
        """The running hash at this place, 32 bytes. At the beginning of an epoch it is the base."""
        epoch = self._epoch.digest()
        return self.base if epoch == _NOTHING else sha256(self.base + epoch).digest()

    def copy(self) -> "RunningHash":
        """The same hash at the same place, to go on from later."""
        other = RunningHash(self.base)
        other._epoch = self._epoch.copy()
        return other

    def begin_epoch(self) -> None:
        """The epoch ends here, and the next one begins."""
        self.base = self.digest()
        self._epoch = sha256()
