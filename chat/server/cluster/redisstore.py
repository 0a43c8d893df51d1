"""A `Store` that is Redis: two connections or more, and what is asked of them.

One connection is for commands. Another waits in XREAD BLOCK for the entries of many rooms at once,
since a connection that waits can do nothing else. Where the rooms that are followed change, the
waiting has to end. For that it waits for a stream of its own as well, the *bell*, which is rung
over the first connection: an XREAD that was on its way finds it rung. (CLIENT UNBLOCK would miss
it.) Nobody else reads a bell, it says nothing, and it is gone after an hour.

Each XREAD names all rooms that it waits for, and so costs the more the more they are, here and at
Redis. So a connection waits for READER_ROOMS at most (`_Reader`), and where there are more rooms,
one more is dialled; it is closed when the last of its rooms is gone. A room is read over one of
them at a time.

All connections stand, or none: whichever ends, the others are closed, the watcher is told, and
the first two are dialled again after a while. But one more that cannot be had, since Redis has too
many clients perhaps, is done without: its rooms are waited for with those of the first. All must
lead to the same Redis, in the same run of it; what stands behind an address may change between two
dials.
"""

import random
import ssl
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from typing import Any

from chat.cipher import RandomBytes
from chat.errors import ChatError
from chat.limits import (
    MAX_REDIS_RETRY_SECONDS,
    MINID_REDIS,
    READER_ROOMS,
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


class _Reader:
    """A connection that waits for entries. `followed`: of which rooms, and how far each was read.
    `asked`: the same when it was asked last. `reads`: it waits. `rung`: the bell was rung since it
    began to. `bell_read`: how far that was read."""

    def __init__(self, link: Link, bell: str) -> None:
        self.link = link
        self.bell = bell
        self.bell_read = START
        self.followed: dict[str, EntryId] = {}
        self.asked: dict[str, EntryId] = {}
        self.reads = self.rung = False


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
        self._bells = f"{key.card}:bell:{random_bytes(_BELL_BYTES).hex()}"
        self._commands: Link | None = None
        self._readers: list[_Reader] = []
        self._numbers = count(1)
        self._servers: dict[Link, Server] = {}
        self._retry: Timer | None = None
        self._told = ""
        self._retry_seconds = REDIS_RETRY_SECONDS

    def begin(self) -> None:
        """Connect; and again, whenever the connection is lost."""
        self._retry = None
        self._commands = commands = self._link("commands")
        reader = self._add_reader()
        self._dial(commands)
        self._dial(reader.link)

    def _dial(self, link: Link) -> None:
        # If another one has ended meanwhile, all are closed.
        if link in self._links:
            link.begin()

    @property
    def _links(self) -> list[Link]:
        commands = [] if self._commands is None else [self._commands]
        return [*commands, *(reader.link for reader in self._readers)]

    def _link(self, name: str) -> Link:
        return Link(self._reactor, self._url, self._context, self, name)

    def _add_reader(self) -> _Reader:
        number = next(self._numbers)
        reader = _Reader(self._link(f"reader {number}"), f"{self._bells}:{number}")
        self._readers.append(reader)
        return reader

    def close(self) -> None:
        """End all connections, for good."""
        if self._retry is not None:
            self._retry.cancel()
        self._take_down()

    def _take_down(self) -> None:
        links = self._links
        self._commands = None
        self._readers.clear()
        for link in links:
            link.close()
        self._servers.clear()
        self.up = False

    # -- the owner of the links

    def on_ready(self, link: Link, server: Server) -> None:
        self._servers[link] = server
        if len({server.run for server in self._servers.values()}) > 1:
            self.on_end(link, RedisLostError("two connections have led to two different Redis"))
            return
        if not self.up and len(self._servers) == len(self._links):
            self.up = True
            self._told = ""
            self.server = server
            self._retry_seconds = REDIS_RETRY_SECONDS
            self.watcher.on_up()
        self.flush()

    def on_end(self, link: Link, error: RedisError) -> None:
        if link not in self._links:
            return
        if self.up and link not in self._servers:
            self._do_without(link)
            return
        self._take_down()
        delay = self._retry_seconds * random.uniform(0.5, 1.0)
        self._retry_seconds = min(2 * self._retry_seconds, MAX_REDIS_RETRY_SECONDS)
        self._retry = self._reactor.call_at(self._reactor.clock() + delay, self.begin)
        if error.advice != self._told:
            self._told = error.advice
            self.watcher.on_down(error)

    def _do_without(self, link: Link) -> None:
        reader = next(reader for reader in self._readers if reader.link is link)
        self._readers.remove(reader)
        first = self._readers[0]
        first.followed.update(reader.followed)
        self._ring(first)

    # -- what is asked

    def flush(self) -> None:
        if not self.up:
            return
        for reader in self._readers:
            if reader.link in self._servers and not reader.reads:
                self._read(reader)
        for link in self._links:
            # If one ends, all do.
            if self.up:
                link.flush()

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

    def hold(self, key: str, value: bytes, seconds: int) -> None:
        self._ask(ignore, _nothing_of, "SET", key, value, "NX", "EX", seconds)
        self.expire(key, seconds)

    def _ask(
        self, done: Callable[..., None], read: Callable[[Reply], object], *words: Word
    ) -> None:
        """Ask, and hand on what `read` makes of the reply, or the error. A Redis that has become a
        replica is as good as gone: there may be another one at the same address."""
        assert self.up
        link = self._commands
        assert link is not None

        def on_reply(reply: Reply | RedisError) -> None:
            outcome = understood(read, reply)
            if isinstance(outcome, RedisError) and outcome.means_gone:
                self.on_end(link, outcome)
            else:
                done(outcome)

        link.ask(on_reply, *words)

    # -- following

    def follow(self, stream: str, after: EntryId) -> None:
        reader = self._reader_of(stream) or self._free_reader()
        reader.followed[stream] = after
        self._ring(reader)

    def unfollow(self, stream: str) -> None:
        reader = self._reader_of(stream)
        if reader is None:
            return
        del reader.followed[stream]
        if reader.followed or reader is self._readers[0]:
            self._ring(reader)
        else:
            self._readers.remove(reader)
            self._servers.pop(reader.link, None)
            reader.link.close()

    def _reader_of(self, stream: str) -> _Reader | None:
        return next((reader for reader in self._readers if stream in reader.followed), None)

    def _free_reader(self) -> _Reader:
        """One that can wait for one more room; perhaps it has still to be connected."""
        for reader in self._readers:
            if len(reader.followed) < READER_ROOMS:
                return reader
        reader = self._add_reader()
        # Not now: if it ended at once, whoever asks would be told in the middle of it.
        self._reactor.defer(partial(self._dial, reader.link))
        return reader

    def _ring(self, reader: _Reader) -> None:
        """Let a connection that waits ask anew."""
        if reader.reads and not reader.rung:
            reader.rung = True
            self._ask(ignore, _nothing_of, "XADD", reader.bell, "MAXLEN", 1, "*", "", "")
            self.expire(reader.bell, _BELL_SECONDS)

    def _read(self, reader: _Reader) -> None:
        if not reader.followed:
            return
        reader.asked = asked = {reader.bell: reader.bell_read, **reader.followed}
        reader.link.ask(
            partial(self._on_read, reader),
            "XREAD",
            "COUNT",
            STREAM_PAGE_ENTRIES,
            "BLOCK",
            round(1000 * STREAM_BLOCK_SECONDS),
            "STREAMS",
            *asked,
            *map(str, asked.values()),
            patience=STREAM_BLOCK_SECONDS,
        )
        # Last: after an error before this, the next turn asks.
        reader.reads = True

    def _on_read(self, reader: _Reader, reply: Reply | RedisError) -> None:
        reader.reads = reader.rung = False
        streams = understood(_streams_of, reply)
        if isinstance(streams, RedisError):
            self.on_end(reader.link, streams)
            return
        for name, entries in streams:
            self._hand_on(reader, name, entries)
        if self.up and reader in self._readers and not reader.reads:
            self._read(reader)

    def _hand_on(self, reader: _Reader, stream: str, entries: list[RawEntry]) -> None:
        if stream == reader.bell:
            reader.bell_read = entries[-1].id
        after = reader.followed.get(stream)
        asked = reader.asked.get(stream)
        # The question may have left before the place was another one. If that is an earlier one,
        # what lies between is still to be asked for. A Redis that lies answers what was not asked.
        if after is None or asked is None or after < asked:
            return
        entries = [entry for entry in entries if entry.id > after]
        if entries:
            reader.followed[stream] = entries[-1].id
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
