"""The ordered log of the room: a window of bytes with absolute offsets, and cursors into it.

Whatever happens in the room is appended once. Each member reads the log through a cursor of its
own; nobody has a queue. What is meant for one member alone is spliced into that member's stream at
an exact offset. What the bytes mean is not known here.
"""

from collections import deque
from collections.abc import Callable

Splice = bytes | Callable[[], bytes]
"""What is spliced in: bytes, or what makes them when their turn has come."""


class OrderedLog:
    """The last `window_bytes` of a sequence of entries.

    Invariants: start <= every boundary <= end; `_bytes` holds [start, end); `start` is a boundary.
    """

    def __init__(self, window_bytes: int) -> None:
        self.window_bytes = window_bytes
        self.start = 0
        self.end = 0
        self._bytes = bytearray()
        self._boundaries = deque([0])

    def append(self, entries: bytes) -> None:
        """Append one or more whole entries."""
        self._bytes += entries
        self.end += len(entries)
        self._boundaries.append(self.end)

    def trim(self, start: int) -> None:
        """Forget what comes before `start`, which is a boundary."""
        while self._boundaries[0] < start:
            self._boundaries.popleft()
        del self._bytes[: start - self.start]
        self.start = start

    @property
    def surplus(self) -> bool:
        """Whether more is kept than the window, so that `trim` is due."""
        return self.end - self.start > self.window_bytes

    def start_after_trim(self) -> int:
        """The first boundary within the window: where `trim` should begin, once who is still before
        it is cut off."""
        oldest = self.end - self.window_bytes
        return next(boundary for boundary in self._boundaries if boundary >= oldest)

    def read(self, start: int, end: int) -> bytes:
        """The bytes from offset `start` to offset `end`."""
        assert self.start <= start <= end <= self.end
        with memoryview(self._bytes) as window:
            return bytes(window[start - self.start : end - self.start])

    def entry_end(self, offset: int) -> int:
        """The end of the entry (or of the entries appended with it) that `offset` lies in, or
        `offset` itself if it lies between two."""
        # Who asks is about to fall out of the window, so what is looked for is near the front.
        return next(boundary for boundary in self._boundaries if boundary >= offset)


class Cursor:
    """One member's place in its outgoing stream: the log, with splices in between.

    Until `follow` and after `cut` the stream consists of splices alone.

    Invariants: what `unsent` holds comes before anything else; splices are in the order of their
    offsets, none of which lies before `offset`; there are none while the log is not followed.
    """

    __slots__ = ("_log", "_splices", "following", "offset", "unsent")

    def __init__(self, log: OrderedLog) -> None:
        self._log = log
        self._splices: deque[tuple[int, Splice]] | None = None
        self.following = False
        self.offset = log.end
        self.unsent = b""

    @property
    def idle(self) -> bool:
        """Whether there is nothing to send."""
        return not self.unsent and not (
            self.following and (self._splices or self.offset < self._log.end)
        )

    @property
    def splices(self) -> int:
        """How many splices have not been begun."""
        return len(self._splices) if self._splices else 0

    @property
    def at_log(self) -> bool:
        """Whether what comes next is the log from `offset` to its end, and nothing else."""
        return self.following and not self.unsent and not self._splices

    def follow(self, offset: int) -> None:
        """From now on the log from `offset` on belongs to the stream."""
        self.offset = offset
        self.following = True

    def splice(self, data: Splice, at: int) -> None:
        """Put `data` into the stream at the log's offset `at`; while the log is not followed, at
        the end."""
        if not self.following:
            self.unsent += _bytes_of(data)
            return
        if self._splices is None:
            self._splices = deque()
        self._splices.append((at, data))

    def cut(self) -> None:
        """Stop following the log, at the end of the entry that is half sent. Splices that have not
        begun are dropped; what is spliced from now on is the last that the member reads."""
        if self.following:
            self.unsent += self._log.read(self.offset, self._log.entry_end(self.offset))
            self._splices = None
            self.following = False

    def pending(self, limit: int) -> bytes:
        """What to send next: at least one byte unless `idle`; of the log, at most `limit`."""
        if self._splices and not self.unsent:
            self.unsent = self._merge(self._splices, limit)
            self._splices = self._splices or None
        if self.unsent or not self.following:
            return self.unsent
        return self._log.read(self.offset, min(self._log.end, self.offset + limit))

    def advance(self, size: int) -> None:
        """The first `size` bytes of `pending` have been sent."""
        if self.unsent:
            self.unsent = self.unsent[size:]
        else:
            self.offset += size

    def _merge(self, splices: deque[tuple[int, Splice]], limit: int) -> bytes:
        """Take the log and the splices up to the last splice that comes within `limit`."""
        parts: list[bytes] = []
        until = self.offset + limit
        while splices and self.offset < until:
            at = min(splices[0][0], until)
            parts.append(self._log.read(self.offset, at))
            self.offset = at
            if at == splices[0][0]:
                parts.append(_bytes_of(splices.popleft()[1]))
        return b"".join(parts)


def _bytes_of(data: Splice) -> bytes:
    return data if isinstance(data, bytes) else data()
