"""The streams of all rooms of one server, over one store.

Sans I/O, like `stream`. It passes on what the store tells, and knows which streams are *busy*, so
that a turn costs nothing for rooms in which nothing happens.
"""

from collections.abc import Callable, Sequence

from chat.cipher import RandomBytes
from chat.errors import ChatError
from chat.server.cluster.clusterkey import ClusterKey
from chat.server.cluster.store import RawEntry, Store
from chat.server.cluster.stream import Follower, Stream


class Streams:
    """See the module's text. `on_away` is told why the store is down, and None when it is back;
    `on_refusal` why it does not take what is sent, and an empty text when it takes that again. What
    holds for many rooms is told once."""

    def __init__(
        self,
        store: Store,
        key: ClusterKey,
        random_bytes: RandomBytes,
        on_away: Callable[[ChatError | None], None],
        on_refusal: Callable[[str], None],
    ) -> None:
        self._store = store
        self._key = key
        self._random_bytes = random_bytes
        self._on_away = on_away
        self._on_refusal = on_refusal
        self._refusals: dict[Stream, str] = {}
        self._streams: dict[str, Stream] = {}
        self._busy: dict[Stream, None] = {}
        self._timed: dict[Stream, float] = {}

    def open(self, tag: bytes, follower: Follower) -> Stream:
        """Follow the stream of the room with this tag."""
        stream = Stream(
            self._store,
            self._key,
            tag,
            follower,
            self._random_bytes,
            self._is_busy,
            self._on_answer,
        )
        assert stream.name not in self._streams
        self._streams[stream.name] = stream
        if self._store.up:
            stream.on_up()
        return stream

    def close(self, stream: Stream) -> None:
        """Follow it no more."""
        if self._streams.pop(stream.name, None) is not None:
            self._busy.pop(stream, None)
            self._timed.pop(stream, None)
            self._refusals.pop(stream, None)
            stream.close()

    def _is_busy(self, stream: Stream) -> None:
        self._busy[stream] = None

    def _on_answer(self, stream: Stream, refusal: str) -> None:
        before = self._refusals.pop(stream, "")
        others = self._refusals.values()
        if before and before != refusal and before not in others:
            self._on_refusal("")
        if refusal:
            if before != refusal and refusal not in others:
                self._on_refusal(refusal)
            self._refusals[stream] = refusal

    @property
    def refuses(self) -> bool:
        """Whether the store refuses something that was sent, as far as it has answered."""
        return bool(self._refusals)

    def due(self, now: float) -> list[Stream]:
        """Those which may have something to `read`: to be asked at the end of each turn."""
        for stream, deadline in self._timed.items():
            if deadline <= now:
                self._busy[stream] = None
        return list(self._busy)

    def flush(self, now: float) -> None:
        """Send what was proposed in this turn: to be called at its end, when all was read."""
        try:
            for stream in list(self._busy):
                # One by one: an error in one leaves those behind it to the next time.
                del self._busy[stream]
                try:
                    stream.flush(now)
                finally:
                    self._timed.pop(stream, None)
                    if stream.deadline is not None:
                        self._timed[stream] = stream.deadline
        finally:
            self._store.flush()

    @property
    def deadline(self) -> float | None:
        """When `due` or `flush` has something to do, even if nothing happens."""
        return min(self._timed.values(), default=None)

    # -- the store's watcher

    def on_up(self) -> None:
        self._on_away(None)
        for stream in list(self._streams.values()):
            stream.on_up()

    def on_down(self, error: ChatError) -> None:
        self._refusals.clear()
        for stream in list(self._streams.values()):
            stream.on_down()
        self._on_away(error)

    def on_entries(self, stream: str, entries: Sequence[RawEntry]) -> None:
        found = self._streams.get(stream)
        if found is not None:
            found.on_entries(entries)
