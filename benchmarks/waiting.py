"""What a message costs a server that waits for many rooms, at itself and at Redis: the connections
to Redis alone, in this process. What the message means is not looked at."""

import os
import time
from collections.abc import Callable, Iterator, Sequence

from benchmarks.compare.lines import Foreign
from benchmarks.load import DEADLINE_SECONDS, HOST, Row, spread
from chat.errors import ChatError
from chat.limits import CLUSTER_KEY_BYTES
from chat.reactor import Reactor
from chat.server.cluster.clusterkey import ENTRY, ClusterKey
from chat.server.cluster.redisstore import RedisStore
from chat.server.cluster.store import START, RawEntry
from chat.server.cluster.url import RedisUrl

ROOMS = (1, 64, 1_000)
TURNS = 100
ROUNDS = 5
ENTRY_BYTES = 300


class Waiting:
    """A server's connections to Redis, which wait for so many rooms."""

    def __init__(self, redis: Foreign, rooms: int) -> None:
        self._redis = redis
        self._reactor = Reactor()
        self._heard = 0
        self._up = False
        key = ClusterKey.of(os.urandom(CLUSTER_KEY_BYTES), f"waiting{rooms}")
        url = RedisUrl.parse(f"redis://{HOST}:{redis.port}")
        self._store = RedisStore(self._reactor, url, None, key, os.urandom)
        self._store.watcher = self
        self._store.begin()
        self._until(lambda: self._up)
        self._streams = [key.stream_of(number.to_bytes(4, "big")) for number in range(rooms)]
        for stream in self._streams:
            self._store.follow(stream, START)
        for stream in self._streams:
            self._say(stream)

    def close(self) -> None:
        """Hang up."""
        self._store.close()
        self._reactor.close()

    def turns(self) -> tuple[float, float]:
        """Let something be said in one room after the other; microseconds of CPU of a message, here
        and at Redis."""
        here, there = time.process_time(), self._redis.cpu_seconds
        for number in range(TURNS):
            self._say(self._streams[number % len(self._streams)])
        here, there = time.process_time() - here, self._redis.cpu_seconds - there
        return here / TURNS * 1e6, there / TURNS * 1e6

    def _say(self, stream: str) -> None:
        wanted = self._heard + 1
        self._store.append(stream, ENTRY, bytes(ENTRY_BYTES), lambda _outcome: None)
        self._until(lambda: self._heard >= wanted)

    def _until(self, holds: Callable[[], bool]) -> None:
        while not holds():
            self._store.flush()
            self._reactor.turn(DEADLINE_SECONDS)

    # -- the store's watcher

    def on_up(self) -> None:
        """It can be asked."""
        self._up = True

    def on_down(self, error: ChatError) -> None:
        """Nothing can be measured.

        Raises:
            RuntimeError: always.
        """
        raise RuntimeError(str(error))

    def on_entries(self, _stream: str, entries: Sequence[RawEntry]) -> None:
        """What was said has come."""
        self._heard += len(entries)


def measure(redis: Foreign) -> Iterator[Row]:
    """For a few numbers of rooms, in turns."""
    sides = {rooms: Waiting(redis, rooms) for rooms in ROOMS}
    found: dict[int, list[tuple[float, float]]] = {rooms: [] for rooms in ROOMS}
    for _ in range(1 + ROUNDS):
        for rooms, side in sides.items():
            found[rooms].append(side.turns())
    for rooms, side in sides.items():
        side.close()
        here, there = zip(*found[rooms][1:], strict=True)
        yield Row(f"rooms waited for: {rooms:,}; server", spread(list(here), "µs"))
        yield Row(f"rooms waited for: {rooms:,}; Redis", spread(list(there), "µs"))
