"""Redis in memory, for simulations: ordered, with delays, cuts in the middle of anything, and
fail-overs that lose the last writes.

`FakeStore` is a `Store` of `chat.server.cluster.store`, so all above it is the real program. Every
choice comes from one source of randomness, and the time from whoever runs the simulation: whatever
happens later goes through `call_in`.
"""

import heapq
import random
from collections.abc import Callable, Sequence
from itertools import count

from chat.errors import ChatError
from chat.limits import STREAM_PAGE_ENTRIES
from chat.server.cluster.errors import FullError, RedisLostError
from chat.server.cluster.store import START, EntryId, RawEntry, Watcher

Callback = Callable[[], None]

SLOWEST_SECONDS = 0.05
"""The longest way of a command to Redis, or of an answer back."""


class Timeline:
    """A time that goes on from one thing that is due to the next."""

    def __init__(self, now: float = 1_000.0) -> None:
        self.now = now
        self._due: list[tuple[float, int, Callback]] = []
        self._order = count()

    def call_in(self, seconds: float, callback: Callback) -> None:
        heapq.heappush(self._due, (self.now + seconds, next(self._order), callback))

    def step(self) -> bool:
        """Do the next thing; False if there is none."""
        if not self._due:
            return False
        self.now, _, callback = heapq.heappop(self._due)
        callback()
        return True


class FakeRedis:
    """What all stores lead to. `full`: it refuses what is to be written. `down`: nobody comes in.
    `ahead`: by how many seconds its clock is. `unreadable`: the streams from which it gives
    nothing to those who ask for their entries."""

    def __init__(
        self,
        choices: random.Random,
        clock: Callable[[], float],
        call_in: Callable[[float, Callback], None],
    ) -> None:
        self.choices = choices
        self.clock = clock
        self.call_in = call_in
        self.full = False
        self.down = False
        self.ahead = 0.0
        self.unreadable: set[str] = set()
        self.streams: dict[str, list[RawEntry]] = {}
        self.values: dict[str, bytes] = {}
        self.writes = 0
        self.stores: list[FakeStore] = []
        self._last: dict[str, EntryId] = {}
        self._expires: dict[str, float] = {}
        self._undo: list[Callback] = []

    # -- what an operator, or fate, does

    def fail_over(self, lost_writes: int) -> None:
        """Everybody is cut off, and the last writes have never been."""
        for store in self.stores:
            store.cut()
        for _ in range(min(lost_writes, len(self._undo))):
            self._undo.pop()()

    def wipe(self) -> None:
        """It has lost everything, and everybody is cut off."""
        self.fail_over(len(self._undo))

    # -- what stores ask

    def append(self, stream: str, kind: bytes, sealed: bytes) -> EntryId | ChatError:
        if self.full:
            return FullError("it is full")
        entries = self.streams.setdefault(stream, [])
        before = self._last.get(stream, START)
        place = max(EntryId(int((self.clock() + self.ahead) * 1000), 0), before.next)
        self._last[stream] = place
        entry = RawEntry(place, kind, sealed)
        entries.append(entry)

        def undo() -> None:
            # A replica gives ids by its own clock, so they do not go back.
            if entry in entries:
                entries.remove(entry)

        self._wrote(undo)
        for store in self.stores:
            store.poke(stream)
        return place

    def keep(self, key: str, value: bytes) -> ChatError | None:
        if self.full:
            return FullError("it is full")
        before = self.values.get(key)
        self.values[key] = value
        self._expires.pop(key, None)

        def undo() -> None:
            if before is None:
                self.values.pop(key, None)
            else:
                self.values[key] = before

        self._wrote(undo)
        return None

    def trim(self, stream: str, before: EntryId) -> None:
        entries = self.streams.get(stream, [])
        gone = [entry for entry in entries if entry.id < before]
        del entries[: len(gone)]

        def undo() -> None:
            entries[:0] = gone

        self._wrote(undo)

    def expire(self, name: str, seconds: int) -> None:
        at = self._expires[name] = self.clock() + seconds

        def end() -> None:
            if self._expires.get(name) == at:
                self.streams.pop(name, None)
                self.values.pop(name, None)

        self.call_in(seconds, end)

    def hold(self, key: str, value: bytes, seconds: int) -> None:
        self.values.setdefault(key, value)
        self.expire(key, seconds)

    def _wrote(self, undo: Callback) -> None:
        self.writes += 1
        self._undo.append(undo)

    def behind(self, stream: str, place: EntryId, most: int) -> list[RawEntry]:
        """The next entries of a stream, from this place on."""
        return [entry for entry in self.streams.get(stream, ()) if entry.id >= place][:most]


class FakeStore:
    """One server's way to it. What is on its way keeps its order; a cut lets some of it arrive, and
    brings no answer."""

    def __init__(self, redis: FakeRedis) -> None:
        self.up = False
        self.watcher: Watcher
        self.frozen = False
        """Nothing that it follows is handed on; what comes meanwhile is read later."""
        self.lag = 0.0
        """By so many seconds each way is longer; a new connection stands at once all the same."""
        self._redis = redis
        self._life = 0
        self._on_way: list[Callback] = []
        self._arrives = self._answers = self._delivers = 0.0
        self._followed: dict[str, EntryId] = {}
        self._poked: set[str] = set()
        redis.stores.append(self)

    def begin(self) -> None:
        """Connect, and again after each cut."""
        if self.up or self not in self._redis.stores:
            return
        if self._redis.down:
            self._redis.call_in(SLOWEST_SECONDS, self.begin)
            return
        self.up = True
        self.watcher.on_up()

    def cut(self, again: bool = True) -> None:
        """Break the connection."""
        self._life += 1
        arriving = self._on_way[: self._redis.choices.randint(0, len(self._on_way))]
        self._on_way = []
        for execute in arriving:
            execute()
        self._followed.clear()
        self._poked.clear()
        was_up, self.up = self.up, False
        if again:
            self._redis.call_in(self._short(), self.begin)
        if was_up and again:
            self.watcher.on_down(RedisLostError("the connection to Redis was lost"))

    def close(self) -> None:
        """The server is killed."""
        self._redis.stores.remove(self)
        self.cut(again=False)

    def _short(self) -> float:
        return self._redis.choices.random() * SLOWEST_SECONDS

    def _slow(self) -> float:
        return self.lag + self._short()

    def _ask(self, execute: Callable[[], object], done: Callable[..., None] | None) -> None:
        assert self.up
        life, clock = self._life, self._redis.clock
        answers: list[object] = []

        def run() -> None:
            answers.append(execute())

        def arrive() -> None:
            if self._life == life:
                self._on_way.remove(run)
                run()
                self._answers = max(self._answers, clock() + self._slow())
                self._redis.call_in(self._answers - clock(), answer)

        def answer() -> None:
            if self._life == life and done is not None:
                done(answers[0])

        self._on_way.append(run)
        self._arrives = max(self._arrives, clock() + self._slow())
        self._redis.call_in(self._arrives - clock(), arrive)

    def append(
        self, stream: str, kind: bytes, sealed: bytes, done: Callable[[EntryId | ChatError], None]
    ) -> None:
        self._ask(lambda: self._redis.append(stream, kind, sealed), done)

    def fetch(
        self,
        stream: str,
        first: EntryId,
        count: int,
        done: Callable[[Sequence[RawEntry] | ChatError], None],
    ) -> None:
        redis = self._redis

        def entries() -> Sequence[RawEntry] | ChatError:
            refused = stream in redis.unreadable
            return (
                FullError("it may not be read") if refused else redis.behind(stream, first, count)
            )

        self._ask(entries, done)

    def load(self, key: str, done: Callable[[bytes | ChatError | None], None]) -> None:
        self._ask(lambda: self._redis.values.get(key), done)

    def keep(self, key: str, value: bytes, done: Callable[[ChatError | None], None]) -> None:
        self._ask(lambda: self._redis.keep(key, value), done)

    def trim(self, stream: str, before: EntryId, keep: int) -> None:
        assert keep > 0
        self._ask(lambda: self._redis.trim(stream, before), None)

    def expire(self, name: str, seconds: int) -> None:
        self._ask(lambda: self._redis.expire(name, seconds), None)

    def hold(self, key: str, value: bytes, seconds: int) -> None:
        self._ask(lambda: self._redis.hold(key, value, seconds), None)

    def flush(self) -> None:
        pass

    def follow(self, stream: str, after: EntryId) -> None:
        self._followed[stream] = after
        self.poke(stream)

    def unfollow(self, stream: str) -> None:
        self._followed.pop(stream, None)

    def poke(self, stream: str) -> None:
        """There may be something new in it."""
        if self.frozen or stream not in self._followed or stream in self._poked:
            return
        self._poked.add(stream)
        life, clock = self._life, self._redis.clock

        def deliver() -> None:
            if self._life != life:
                return
            self._poked.discard(stream)
            after = self._followed.get(stream)
            if after is None:
                return
            entries = self._redis.behind(stream, after.next, STREAM_PAGE_ENTRIES)
            if entries:
                self._followed[stream] = entries[-1].id
                self.poke(stream)
                self.watcher.on_entries(stream, entries)

        self._delivers = max(self._delivers, clock() + self._slow())
        self._redis.call_in(self._delivers - clock(), deliver)
