"""A `Store` that is Redis: two connections, and what is asked of them.

One connection is for commands. The other waits in XREAD BLOCK for the entries of all rooms at once,
since a connection that waits can do nothing else. Where the rooms that are followed change, the
waiting has to end. For that each server has a stream of its own, the *bell*, which it waits for
as well, and rings over the first connection: an XREAD that was on its way finds it rung. (CLIENT
UNBLOCK would miss it.) Nobody else reads a bell, it says nothing, and it is gone after an hour.

Both connections stand, or none: whichever ends, the other one is closed, the watcher is told, and
both are dialled again after a while. They must lead to the same Redis, in the same run of it; what
stands behind an address may change between two dials.
"""

import random
import ssl
from collections.abc import Callable, Sequence
from typing import Any

from chat.cipher import RandomBytes
from chat.errors import ChatError
from chat.limits import (
    MAX_REDIS_RETRY_SECONDS,
    MINID_REDIS,
    REDIS_RETRY_SECONDS,
    STREAM_BLOCK_SECONDS,
    STREAM_PAGE_ENTRIES,
    TRIM_SLACK_ENTRIES,
)
from chat.reactor import Reactor, Timer
from chat.server.cluster.clusterkey import ClusterKey
from chat.server.cluster.errors import RedisError, RedisLostError
from chat.server.cluster.link import Link
from chat.server.cluster.resp import Reply, Server, Word, bytes_or_none, ignore, understood
from chat.server.cluster.store import START, EntryId, RawEntry, Watcher
from chat.server.cluster.url import RedisUrl

_BELL_BYTES = 8
_BELL_SECONDS = 3_600


class RedisStore:
    """See the module's text. `watcher` has to be set before `begin`."""

    def __init__(
        self,
        reactor: Reactor,
        url: RedisUrl,
        context: ssl.SSLContext | None,
        key: ClusterKey,
        random_bytes: RandomBytes,
    ) -> None:
        self.up = False
        self.server: Server | None = None
        self.watcher: Watcher
        self._reactor = reactor
        self._url = url
        self._context = context
        self._bell = f"{key.card}:bell:{random_bytes(_BELL_BYTES).hex()}"
        self._links: list[Link] = []
        self._servers: dict[Link, Server] = {}
        self._retry: Timer | None = None
        self._told = ""
        self._retry_seconds = REDIS_RETRY_SECONDS
        self._followed: dict[str, EntryId] = {}
        self._reads = False
        self._rung = False
        self._bell_read = START

    def begin(self) -> None:
        """Connect; and again, whenever the connection is lost."""
        self._retry = None
        self._links = [
            Link(self._reactor, self._url, self._context, self, name) for name in ("a", "b")
        ]
        for link in list(self._links):
            # If the first one ends at once, the other is closed by then.
            if link in self._links:
                link.begin()

    def close(self) -> None:
        """End both connections, for good."""
        if self._retry is not None:
            self._retry.cancel()
        self._take_down()

    def _take_down(self) -> None:
        links, self._links = self._links, []
        for link in links:
            link.close()
        self._servers.clear()
        self._followed.clear()
        self._bell_read = START
        self.up = self._reads = self._rung = False

    # -- the owner of the links

    def on_ready(self, link: Link, server: Server) -> None:
        self._servers[link] = server
        if len(self._servers) < len(self._links):
            return
        if len({server.run for server in self._servers.values()}) > 1:
            self.on_end(link, RedisLostError("two connections have led to two different Redis"))
            return
        self.up = True
        self._told = ""
        self.server = server
        self._retry_seconds = REDIS_RETRY_SECONDS
        self.watcher.on_up()
        self.flush()

    def on_end(self, link: Link, error: RedisError) -> None:
        if link not in self._links:
            return
        self._take_down()
        delay = self._retry_seconds * random.uniform(0.5, 1.0)
        self._retry_seconds = min(2 * self._retry_seconds, MAX_REDIS_RETRY_SECONDS)
        self._retry = self._reactor.call_at(self._reactor.clock() + delay, self.begin)
        if error.advice != self._told:
            self._told = error.advice
            self.watcher.on_down(error)

    # -- what is asked

    def flush(self) -> None:
        if not self.up:
            return
        commands, reader = self._links
        if not self._reads:
            self._read(reader)
        commands.flush()
        if self.up:
            reader.flush()

    def append(
        self, stream: str, kind: bytes, sealed: bytes, done: Callable[[EntryId | ChatError], None]
    ) -> None:
        self._ask(done, EntryId.parse, "XADD", stream, "*", kind, sealed)

    def fetch(
        self,
        stream: str,
        first: EntryId,
        count: int,
        done: Callable[[Sequence[RawEntry] | ChatError], None],
    ) -> None:
        self._ask(done, _entries_of, "XRANGE", stream, str(first), "+", "COUNT", count)

    def load(self, key: str, done: Callable[[bytes | ChatError | None], None]) -> None:
        self._ask(done, bytes_or_none, "GET", key)

    def keep(self, key: str, value: bytes, done: Callable[[ChatError | None], None]) -> None:
        self._ask(done, _nothing_of, "SET", key, value)

    def trim(self, stream: str, before: EntryId, keep: int) -> None:
        if self.server is not None and self.server.numbers >= MINID_REDIS:
            self._ask(ignore, _nothing_of, "XTRIM", stream, "MINID", str(before))
        else:
            # It can trim by count alone, and others may have added some since.
            self._ask(ignore, _nothing_of, "XTRIM", stream, "MAXLEN", keep + TRIM_SLACK_ENTRIES)

    def expire(self, name: str, seconds: int) -> None:
        self._ask(ignore, _nothing_of, "EXPIRE", name, seconds)

    def _ask(
        self, done: Callable[..., None], read: Callable[[Reply], object], *words: Word
    ) -> None:
        """Ask, and hand on what `read` makes of the reply, or the error. A Redis that has become a
        replica is as good as gone: there may be another one at the same address."""
        assert self.up
        link = self._links[0]

        def on_reply(reply: Reply | RedisError) -> None:
            outcome = understood(read, reply)
            if isinstance(outcome, RedisError) and outcome.means_gone:
                self.on_end(link, outcome)
            else:
                done(outcome)

        link.ask(on_reply, *words)

    # -- following

    def follow(self, stream: str, after: EntryId) -> None:
        self._followed[stream] = after
        self._ring()

    def unfollow(self, stream: str) -> None:
        if self._followed.pop(stream, None) is not None:
            self._ring()

    def _ring(self) -> None:
        """Let the connection that waits ask anew."""
        if self._reads and not self._rung:
            self._rung = True
            self._ask(ignore, _nothing_of, "XADD", self._bell, "MAXLEN", 1, "*", "", "")
            self.expire(self._bell, _BELL_SECONDS)

    def _read(self, reader: Link) -> None:
        if not self._followed:
            return
        self._reads = True
        followed = {self._bell: self._bell_read, **self._followed}
        reader.ask(
            self._on_read,
            "XREAD",
            "COUNT",
            STREAM_PAGE_ENTRIES,
            "BLOCK",
            round(1000 * STREAM_BLOCK_SECONDS),
            "STREAMS",
            *followed,
            *map(str, followed.values()),
            patience=STREAM_BLOCK_SECONDS,
        )

    def _on_read(self, reply: Reply | RedisError) -> None:
        self._reads = self._rung = False
        streams = understood(_streams_of, reply)
        if isinstance(streams, RedisError):
            self.on_end(self._links[1], streams)
            return
        for name, entries in streams:
            self._hand_on(name, entries)
        if self.up and not self._reads:
            self._read(self._links[1])

    def _hand_on(self, stream: str, entries: list[RawEntry]) -> None:
        if stream == self._bell:
            self._bell_read = entries[-1].id
        after = self._followed.get(stream)
        if after is None:
            return
        # The question may have left before the place was another one.
        entries = [entry for entry in entries if entry.id > after]
        if entries:
            self._followed[stream] = entries[-1].id
            self.watcher.on_entries(stream, entries)


def _entries_of(reply: Any) -> list[RawEntry]:
    """The entries in a reply. One that has not one field, as ours have, is of no kind."""
    entries = []
    for place, fields in reply:
        kind, sealed = fields if len(fields or ()) == 2 else (b"", b"")
        if not isinstance(kind, bytes) or not isinstance(sealed, bytes):
            raise TypeError
        entries.append(RawEntry(EntryId.parse(place), kind, sealed))
    return entries


def _streams_of(reply: Any) -> list[tuple[str, list[RawEntry]]]:
    """The streams in a reply to XREAD, each with at least one entry; no reply means none."""
    return [(name.decode(), _entries_of(entries)) for name, entries in reply or () if entries]


def _nothing_of(_reply: Reply) -> None:
    return None
