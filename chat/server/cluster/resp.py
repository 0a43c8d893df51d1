"""One connection to Redis as bytes: commands out, replies in, in order; and the login.

Redis answers each command of a connection in turn, so the oldest question gets the next reply
(RESP 2, parsed by `hiredis`). A `Pipeline` is told the time and never reads a clock. A connection
is given up when something is awaited and nothing has moved for REDIS_SILENCE_SECONDS, and when
nothing is awaited it asks for a PONG now and then. So a frozen Redis is noticed in any case.
Sockets and TLS are in `link`.

`login` is what is asked first: all at once, so that it takes one round trip.
"""

from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import hiredis

from chat.limits import (
    MAX_REPLY_BYTES,
    MIN_REDIS,
    REDIS_PING_SECONDS,
    REDIS_SILENCE_SECONDS,
)
from chat.server.cluster.errors import (
    NotRedisError,
    RedisError,
    RedisLostError,
    a_sentinel,
    error_of,
    foreign_answer,
    harmless,
    too_long,
    too_old,
)
from chat.server.cluster.url import RedisUrl

Reply: TypeAlias = Any
"""What Redis answered: bytes, a number, a list, or None. Never an error."""

Done = Callable[[Reply | RedisError], None]
"""Is given the reply or the error to a command; not called if the connection ends before."""

Word: TypeAlias = str | bytes | int


class _Asked(NamedTuple):
    done: Done
    patience: float


class Pipeline:
    """See the module's text. `dead`: what is wrong, from then on nothing is said any more."""

    def __init__(self, now: float) -> None:
        self.dead: RedisError | None = None
        self._reader = hiredis.Reader()
        self._asked: deque[_Asked] = deque()
        self._moved = now
        self._heard = b""
        self._begun_bytes = 0
        """How much has come of a reply that is not whole yet, at most."""
        self._unsent: list[bytes] = []

    def ask(self, now: float, done: Done, *words: Word, patience: float = 0.0) -> None:
        """Send a command. Its reply may take `patience` longer than others."""
        # First: if there is no memory left for it, nobody may wait for a reply.
        command = hiredis.pack_command(words)
        if not self._asked:
            self._moved = now
        self._asked.append(_Asked(done, REDIS_SILENCE_SECONDS + patience))
        self._unsent.append(command)

    def close(self) -> None:
        """Hand out no more replies, not even those that have arrived."""
        self.dead = self.dead or RedisLostError("the connection to Redis was closed")

    def data_to_send(self) -> bytes:
        """What is to be sent now; it is the caller's from then on."""
        data = b"".join(self._unsent)
        self._unsent.clear()
        return data

    def moved(self, now: float) -> None:
        """The peer has taken or sent something."""
        self._moved = now

    def receive(self, data: bytes, now: float) -> None:
        """Take what arrived, and hand each whole reply to who asked."""
        self._moved = now
        if len(self._heard) < 64:
            self._heard += data[:64]
        self._feed(data)
        self._begun_bytes += len(data)
        while self.dead is None:
            reply = self._next_reply()
            if reply is False:
                break
            self._begun_bytes = len(data)
            self._answer(reply)
        if self._begun_bytes > MAX_REPLY_BYTES:
            self.dead = self.dead or too_long()

    def _feed(self, data: bytes) -> None:
        try:
            self._reader.feed(data)
        except hiredis.ProtocolError:
            self.dead = self.dead or foreign_answer(self._heard)

    def _next_reply(self) -> Reply:
        """The next whole reply; False, if there is none."""
        try:
            return self._reader.gets()
        except (hiredis.ProtocolError, MemoryError, TypeError):
            # The last two: an array longer than memory, or a map whose key cannot be one.
            self.dead = self.dead or foreign_answer(self._heard)
            return False

    def _answer(self, reply: Reply) -> None:
        if not self._asked:
            # A Redis that has too many clients, or is about to end, says so unasked.
            is_error = isinstance(reply, hiredis.ReplyError)
            self.dead = error_of(str(reply)) if is_error else foreign_answer(self._heard)
            return
        asked = self._asked.popleft()
        asked.done(error_of(str(reply)) if isinstance(reply, hiredis.ReplyError) else reply)

    @property
    def deadline(self) -> float:
        """When to call `tick`."""
        patience = self._asked[0].patience if self._asked else REDIS_PING_SECONDS
        return self._moved + patience

    def tick(self, now: float) -> None:
        """Say PING if it is time for it, or give up."""
        if now < self.deadline or self.dead is not None:
            return
        if self._asked:
            # Not for how long it was: the operator is told of the same trouble once.
            patience = f"{self._asked[0].patience:.0f}"
            self.dead = RedisLostError(f"Redis has not answered for {patience} s")
        else:
            self.ask(now, ignore, "PING")


def understood(read: Callable[[Reply], Any], reply: Reply | RedisError) -> Any:
    """What `read` makes of a reply; the error, if it is one or makes no sense."""
    if isinstance(reply, RedisError):
        return reply
    try:
        return read(reply)
    except (ValueError, TypeError, AttributeError, IndexError):
        return NotRedisError(f"Redis answers what makes no sense: {harmless(repr(reply))}")


def bytes_or_none(reply: Reply) -> bytes | None:
    """A value as it is kept, for `understood`."""
    if not isinstance(reply, bytes | None):
        raise TypeError
    return reply


def ignore(_outcome: object) -> None:
    """For a command of whose outcome nobody needs to know."""


# -- the login -----------------------------------------------------------------------------------


class Server(NamedTuple):
    """What INFO says of a Redis. `run`: another one for each of its starts."""

    version: str
    numbers: tuple[int, ...]
    run: str
    evicts: str
    """How it makes room when its memory is full; `noeviction`: not at all."""
    persists: bool
    """Whether each write goes to its disk as well (appendonly)."""


def login(
    pipeline: Pipeline, url: RedisUrl, now: float, done: Callable[[Server | RedisError], None]
) -> None:
    """Log in, and look whether this Redis can be used. `done` is called once, if the connection
    does not end before."""
    told: list[Server | RedisError] = []

    def tell(outcome: Server | RedisError) -> None:
        if not told:
            told.append(outcome)
            done(outcome)

    def unless_error(reply: Reply | RedisError) -> None:
        if isinstance(reply, RedisError):
            tell(reply)

    def on_info(reply: Reply | RedisError) -> None:
        tell(reply if isinstance(reply, RedisError) else _server_of(reply))

    if url.password or url.user:
        user = (url.user,) if url.user else ()
        pipeline.ask(now, unless_error, "AUTH", *user, url.password)
    if url.database:
        pipeline.ask(now, unless_error, "SELECT", url.database)
    pipeline.ask(now, on_info, "INFO")


def _server_of(reply: Reply) -> Server | RedisError:
    text = reply.decode("utf-8", "replace") if isinstance(reply, bytes) else ""
    info = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    version = info.get("redis_version", "")
    try:
        numbers = tuple(int(part) for part in version.split(".")[:2])
    except ValueError:
        return foreign_answer(text[:24].encode())
    if numbers < MIN_REDIS:
        return too_old(version)
    if info.get("redis_mode") == "sentinel":
        return a_sentinel()
    for field, bad, word in (
        ("cluster_enabled", "1", "MOVED"),
        ("loading", "1", "LOADING"),
        ("role", "slave", "READONLY"),
    ):
        if info.get(field) == bad:
            return error_of(word)
    return Server(
        version,
        numbers,
        info.get("run_id", ""),
        info.get("maxmemory_policy", "noeviction"),
        info.get("aof_enabled", "0") == "1",
    )
