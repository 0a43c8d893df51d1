"""What this server has proposed for one room, and has not read there yet.

Sans I/O: the `Stream` sends what it takes from here, and says what it has read. Which batches count
is `sequence`'s.

All that is put here in a turn becomes a *batch*, or several if it is much. A batch has the next
number under our *origin*, and stays here until it was read. Nobody knows what has become of one
that was sent when the connection broke, and where one is missing those behind it do not count. So
whatever goes wrong, all that is here is sent again, from the first batch on: each counts once.
"""

from collections import deque
from collections.abc import Iterator
from itertools import chain

from chat.cipher import RandomBytes
from chat.limits import MAX_BATCH_BYTES, ORIGIN_BYTES


class Outbox:
    """See the module's text. `origin`: random, and another one after each `clear`. `size`: of all
    that is here, in bytes. `resend_at`: when `resend` is to be called, and nothing is sent before;
    None: it need not be."""

    def __init__(self, random_bytes: RandomBytes) -> None:
        self.origin = random_bytes(ORIGIN_BYTES)
        self.size = 0
        self.resend_at: float | None = None
        self._random_bytes = random_bytes
        self._items: list[bytes] = []
        self._batches: deque[list[bytes]] = deque()
        self._number = 0
        """That of the last batch."""
        self._sent = 0
        """How many of the batches were sent, from the first on."""

    def put(self, item: bytes) -> None:
        """Keep this to be sent, with the rest of the turn."""
        self._items.append(item)
        self.size += len(item)

    def items(self) -> set[bytes]:
        """All that is here."""
        return {*self._items, *chain.from_iterable(self._batches)}

    def take(self) -> Iterator[tuple[int, list[bytes]]]:
        """The batches that are to be sent now, each with its number."""
        self._make_batches()
        while self.resend_at is None and self._sent < len(self._batches):
            self._sent += 1
            yield self._first + self._sent - 1, self._batches[self._sent - 1]

    @property
    def _first(self) -> int:
        """The number of the first batch that was not read."""
        return self._number - len(self._batches) + 1

    def _make_batches(self) -> None:
        batch: list[bytes] = []
        size = 0
        for item in self._items:
            if batch and size + len(item) > MAX_BATCH_BYTES:
                self._add(batch)
                batch, size = [], 0
            batch.append(item)
            size += len(item)
        if batch:
            self._add(batch)
        self._items = []

    def _add(self, batch: list[bytes]) -> None:
        self._batches.append(batch)
        self._number += 1

    def resend_later(self, at: float) -> None:
        """Have all sent again at this time, unless that is to be done before."""
        if self.resend_at is None:
            self.resend_at = at

    def resend(self, *, known: bool) -> None:
        """Let `take` begin again with the first batch. If our origin is not `known` any more to the
        readers, what is still on its way under it cannot count, and all gets a new one."""
        self.resend_at = None
        self._sent = 0
        if not known and self._first > 1:
            self._begin_origin()
            self._number = len(self._batches)

    def read_up_to(self, number: int) -> None:
        """The batches up to this one have counted."""
        while self._batches and self._first <= number:
            self.size -= sum(map(len, self._batches.popleft()))
            self._sent = max(0, self._sent - 1)

    def clear(self) -> None:
        """All that is here is void."""
        self._batches.clear()
        self._items.clear()
        self.size = self._sent = 0
        self.resend_at = None
        self._begin_origin()

    def _begin_origin(self) -> None:
        self.origin = self._random_bytes(ORIGIN_BYTES)
        self._number = 0
