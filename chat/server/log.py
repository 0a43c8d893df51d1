"""The ordered log of the room: a window of bytes with absolute offsets, and cursors into it.

Whatever happens in the room is appended once. Each member reads the log through a cursor of its
own, so nobody has a queue. What is meant for one member alone is spliced into that member's stream
at an exact offset. This module does not know what the bytes mean.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Callable

from chat.server.state import State


class Sealed:
    """Something for one member alone, which is sealed when its turn to leave has come.

    A member's link counts the frames of each direction, and the seal of a frame covers its number
    (PROTOCOL 3.3). The member opens them in that order only, and none may be missing. So a control
    message must not be sealed before it is certain that its frame is the next to leave. When it is
    spliced, that is not certain:

    - The splice may never leave. It has a place in the log, and the member may be megabytes before
      it. If the member is dropped meanwhile, `Cursor.cut` throws away the splices that it has not
      reached. Had they been sealed, the farewell behind them would have a number that the member
      does not expect, and it could not be opened.
    - It may have to say something else by then. A PONG answers all PINGs that came before it left;
      sealed at the first of them, it would need a second one behind it for the others, and a peer
      that asks and never reads could fill our memory with answers.

    Therefore a splice is not bytes. It is this object, and the cursor calls `to_wire` once, when
    all before it has been handed over. From then on it is bytes, and no longer changes: the cursor
    keeps what the socket has not taken, and even `cut` lets it leave.
    """

    __slots__ = ("_controls", "_seal")

    def __init__(self, seal: Callable[..., bytes], *controls: bytes) -> None:
        """`seal` makes frames of these control messages (`Session.seal`)."""
        self._seal = seal
        self._controls = controls

    def to_wire(self) -> bytes:
        """The frames, sealed now."""
        return self._seal(*self._controls)


class OrderedLog:
    """The last `window_bytes` of a sequence of entries.

    Offsets count from the beginning of the room and never change. Entries are appended one or
    several at a time, and a boundary is where an append ended.

    Invariants: `start` <= every boundary <= `end`; `start` is a boundary; `_bytes` holds the bytes
    from `start` to `end`. So the log is `surplus` until its owner calls `trim`, and nobody's cursor
    may be before the new start then: first drop those cursors' owners, then trim.
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
        """Forget what is before `start`, which must be a boundary."""
        while self._boundaries[0] < start:
            self._boundaries.popleft()
        del self._bytes[: start - self.start]
        self.start = start

    def state(self) -> tuple[State, bytes]:
        """All that there is to know, for `restored`: and apart, the window."""
        return {"start": self.start, "boundaries": list(self._boundaries)}, bytes(self._bytes)

    @classmethod
    def restored(cls, state: State, window: bytes, window_bytes: int) -> "OrderedLog":
        """The log of which these are the `state`."""
        log = cls(window_bytes)
        log.start = state["start"]
        log.end = log.start + len(window)
        log._boundaries = deque(state["boundaries"])
        log._bytes = bytearray(window)
        return log

    @property
    def surplus(self) -> int:
        """How many bytes more than the window are kept; 0 if it is not full. If there are any,
        `trim` is due."""
        return max(self.end - self.start - self.window_bytes, 0)

    def start_after_trim(self) -> int:
        """The first boundary within the window, to which `trim` should go."""
        oldest = self.end - self.window_bytes
        return next(boundary for boundary in self._boundaries if boundary >= oldest)

    def read(self, start: int, end: int) -> bytes:
        """The bytes from offset `start` to offset `end`."""
        assert self.start <= start <= end <= self.end
        with memoryview(self._bytes) as window:
            return bytes(window[start - self.start : end - self.start])

    def around(self, offset: int) -> tuple[bytes, int]:
        """The entries that were appended together around `offset`, which must be in the window, and
        where in these bytes it lies. It lies at their end where it is a boundary."""
        index = bisect_left(self._boundaries, offset)
        start = self._boundaries[max(index - 1, 0)]
        return self.read(start, self._boundaries[index]), offset - start

    def entry_end(self, offset: int) -> int:
        """The end of the entry that `offset` lies in (or of the entries appended with it). A
        boundary is its own end."""
        return self._boundaries[bisect_left(self._boundaries, offset)]


_NO_LOG = OrderedLog(0)
"""What a cursor has before it follows one; it is not read."""


Send = Callable[[bytes], int]
"""Sends bytes to one member. Returns how many of them were taken; none if it raises OSError."""


class Front:
    """How far a log has been sent to all that keep up with it, and the cursors that are there.

    Most cursors are there most of the time, with nothing else to send. They share this offset and
    move with it, all at once, and a loop over `sends` need not look at any of them. A cursor comes
    with `join_front`, and goes by itself as soon as it has something else to send.
    """

    __slots__ = ("offset", "sends")

    def __init__(self, offset: int) -> None:
        self.offset = offset
        self.sends: dict[Cursor, Send] = {}

    def advance(self, data: bytes, end: int) -> "dict[Cursor, Exception]":
        """Send `data`, the log from here to `end`. A cursor whose socket does not take all of it
        leaves the front, and so does one whose socket fails: if the connection is broken, the next
        try shows it again. Returns the faults of the program: those keep nobody else from being
        sent this, or all would be sent it twice."""
        size = len(data)
        late: list[tuple[Cursor, int]] = []
        faults: dict[Cursor, Exception] = {}
        for cursor, send in self.sends.items():
            try:
                sent = send(data)
            except OSError:
                sent = 0
            except Exception as fault:
                faults[cursor] = fault
                sent = 0
            if sent != size:
                late.append((cursor, sent))
        for cursor, sent in late:
            cursor.advance(sent)
        self.offset = end
        return faults


class Cursor:
    """One member's place in its outgoing stream. It is what a `Transport` sends.

    A stream has three parts. Before `follow` it consists of splices alone: HELLO, the handshake.
    From `follow` on it is the log from an offset on, with splices in between. After `cut` it is
    what had begun to leave, and then splices alone again: the farewell.

    What leaves next is decided in this order:

    1. `unsent`, which is what was begun. It is bytes: nothing changes them any more.
    2. The log up to the next splice, then the splice, which is sealed now (`Sealed`). Both become
       `unsent`, together with whatever follows within the limit, so that it takes one `send`.
    3. If no splice is left, the log from `offset` to its end. The bytes are not copied to `unsent`:
       that would be a queue for each member.

    Invariants: splices are in the order of their offsets, and none is before `offset`. There are
    none while the log is not followed: a splice is sealed at once then, since what is appended to
    `unsent` certainly leaves, and leaves next. At the `Front` a cursor has neither splices nor
    anything unsent, and its offset is the front's.
    """

    __slots__ = ("_front", "_log", "_offset", "_splices", "following", "unsent")

    def __init__(self) -> None:
        self._front: Front | None = None
        self._log = _NO_LOG
        self._splices: deque[tuple[int, Sealed]] | None = None
        self.following = False
        self._offset = 0
        self.unsent = b""

    @property
    def offset(self) -> int:
        """Up to where the log has been handed over."""
        return self._offset if self._front is None else self._front.offset

    @property
    def at_front(self) -> bool:
        """Whether it moves with the front."""
        return self._front is not None

    def join_front(self, front: Front, send: Send) -> None:
        """Move with the front from now on. The cursor must be there (`is_at`)."""
        assert self.is_at(front.offset)
        self._front = front
        front.sends[self] = send

    def leave_front(self) -> None:
        """Have an offset of its own; harmless if it has one."""
        if self._front is not None:
            del self._front.sends[self]
            self._offset = self._front.offset
            self._front = None

    @property
    def idle(self) -> bool:
        """Whether there is nothing to send."""
        return not self.unsent and not (
            self.following and (self._splices or self.offset < self._log.end)
        )

    @property
    def splices(self) -> int:
        """How many splices are not sealed yet."""
        return len(self._splices) if self._splices else 0

    def is_at(self, offset: int) -> bool:
        """Whether the log from here to its end comes next, and nothing else."""
        return self.offset == offset and self.following and not self.unsent and not self._splices

    def follow(self, log: OrderedLog, offset: int) -> None:
        """From here on the stream is this log, from `offset` on."""
        self._log = log
        self._offset = offset
        self.following = True

    def splice(self, sealed: Sealed, at: int) -> None:
        """Put this into the stream at the log's offset `at`; while the log is not followed, at the
        end of the stream."""
        if not self.following:
            self.unsent += sealed.to_wire()
            return
        self.leave_front()
        if self._splices is None:
            self._splices = deque()
        self._splices.append((at, sealed))

    def cut(self) -> None:
        """Stop following the log, at the end of the entry that is half sent. Splices that are not
        sealed yet are thrown away. Where one of these comes next, no entry is half sent, and what
        follows is not to be sent without it."""
        if self.following:
            self.leave_front()
            if not self._splices or self._splices[0][0] > self.offset:
                self.unsent += self._log.read(self.offset, self._log.entry_end(self.offset))
            self._splices = None
            self.following = False

    def pending(self, limit: int) -> bytes:
        """What to send next: at least one byte unless `idle`, and at most `limit` of the log."""
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
            self.leave_front()
            self._offset += size

    def _merge(self, splices: deque[tuple[int, Sealed]], limit: int) -> bytes:
        """Take the log, and the splices in it, until `limit` of the log or no splice is left."""
        parts: list[bytes] = []
        until = self._offset + limit
        while splices and self._offset < until:
            at = min(splices[0][0], until)
            parts.append(self._log.read(self._offset, at))
            self._offset = at
            if at == splices[0][0]:
                parts.append(splices.popleft()[1].to_wire())
        return b"".join(parts)
