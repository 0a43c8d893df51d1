"""How far we have read the log, and what it looked like on the way.

Implements PROTOCOL 6.4 for a client.

Theory of operation
-------------------

Room frames come as they stand in the log, so no key of our link vouches for them: somebody on the
wire can leave one out or put it elsewhere, and a member who is there can forge one. The running
hash finds it. The trail goes on with every frame that was taken. It is compared with two things:

- The server's CHECK, which comes on the link. Where it agrees, all up to there is as the server
  wrote it. Where it does not, something since the last CHECK is not, and the trail goes back there.
  Where even the place of the last CHECK has another hash now, the log is another one.
- What another member has seen, which its messages say. Where that differs, the server, or somebody
  on one of the two wires, shows us different conversations.
"""

from collections import OrderedDict

from chat.contents import Seen
from chat.controls import Check
from chat.limits import MAX_TRAIL, SEEN_HASH_BYTES
from chat.runninghash import RunningHash


class Trail:
    """Invariant: `offset` is where the log was read to, and the hash is that of the same place."""

    def __init__(self, offset: int, base: bytes) -> None:
        """An epoch begins at `offset`, with this base."""
        self.offset = offset
        self.checked_offset = offset
        """Up to here the server has vouched for what we read."""
        self._hash = RunningHash(base)
        self._checked_hash = self._hash.copy()
        self._places = OrderedDict({offset: base[:SEEN_HASH_BYTES]})

    def take(self, frame: bytes) -> None:
        """The next frame was taken."""
        self._hash.update(frame)
        self.offset += len(frame)
        self._places[self.offset] = self._hash.digest()[:SEEN_HASH_BYTES]
        if len(self._places) > MAX_TRAIL:
            self._places.popitem(last=False)

    def begin_epoch(self) -> None:
        """The frame that was taken last ended its epoch."""
        self._hash.begin_epoch()

    @property
    def checked(self) -> bool:
        """Whether the server has vouched for all that we read."""
        return self.checked_offset == self.offset

    def check(self, check: Check) -> bool:
        """Whether the server's running hash agrees with ours."""
        if check != Check(self.offset, self._hash.digest()):
            return False
        self.checked_offset = self.offset
        self._checked_hash = self._hash.copy()
        return True

    def denied_by(self, check: Check) -> bool:
        """Whether the server has another hash now at the place for which it has vouched."""
        return check.offset == self.checked_offset and check.digest != self._checked_hash.digest()

    def go_back(self) -> None:
        """Forget what was taken since the last CHECK. No epoch may have ended since."""
        self.offset = self.checked_offset
        self._hash = self._checked_hash.copy()
        while self._places and next(reversed(self._places)) > self.offset:
            self._places.popitem()
        self._places[self.offset] = self._hash.digest()[:SEEN_HASH_BYTES]

    def seen(self) -> Seen:
        """How far we have read."""
        return Seen(self.offset, self._hash.digest()[:SEEN_HASH_BYTES])

    def agrees(self, seen: Seen) -> bool:
        """Whether what another has seen is what we have seen there. It is, as far as we know, if we
        did not read there, or too long ago."""
        if seen.offset < next(iter(self._places)):
            return True
        return self._places.get(seen.offset) == seen.digest
