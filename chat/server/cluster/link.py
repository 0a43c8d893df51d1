"""One connection to Redis, with its socket: dialled, perhaps within TLS, logged in, and given up.

A `Link` lives once: it dials at once, tells its owner when it is `ready`, and ends in `close` or
with one call of `on_end`. Whoever wants another one makes it (`redisstore`). The parts that need no
socket are `resp` and `tls`.
"""

import socket
import ssl
from typing import Protocol

from chat import journal
from chat.errors import TransportError, cause_of
from chat.limits import HANDSHAKE_SECONDS
from chat.reactor import Reactor, WakeUp
from chat.server.cluster.errors import RedisError, RedisLostError
from chat.server.cluster.resp import Done, Pipeline, Server, Word, login
from chat.server.cluster.tls import Tls, no_tls
from chat.server.cluster.url import RedisUrl
from chat.sockets import Dialer
from chat.text import escape_line
from chat.transport import SendBuffer, Transport


class LinkOwner(Protocol):
    """Who is told of a link."""

    def on_ready(self, link: "Link", server: Server) -> None:
        """It stands, and has logged in to a Redis that can be used."""

    def on_end(self, link: "Link", error: RedisError) -> None:
        """It is over, or was never there. Called at most once, and not after `close`."""


class Link:
    """See the module's text. Commands may be asked as soon as it is ready; they leave with `flush`,
    all that were asked in a turn at once."""

    def __init__(
        self,
        reactor: Reactor,
        url: RedisUrl,
        context: ssl.SSLContext | None,
        owner: LinkOwner,
        name: str,
    ) -> None:
        """`context` is needed for TLS. `name` is for the journal."""
        self._reactor = reactor
        self._url = url
        self._context = context
        self._owner: LinkOwner | None = owner
        self._name = f"redis {name}"
        self._pipeline = Pipeline(reactor.clock())
        self._tls: Tls | None = None
        self._buffer = SendBuffer()
        self._transport: Transport | None = None
        self._dialer: Dialer | None = None
        self._ready = False
        self._wake = WakeUp(reactor, self._on_time)
        self._limit = reactor.call_at(reactor.clock() + HANDSHAKE_SECONDS, self._on_limit)

    def begin(self) -> None:
        """Dial. Whatever comes of it is told later or within this call."""
        if not self._url.path:
            self._dialer = Dialer(self._reactor, self._url.host, self._url.port, "Redis")
            self._dialer.dial(self._on_connected, self._on_unreachable)
            return
        dialing = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            # For such a socket this does not wait, unless its queue is full.
            dialing.setblocking(False)
            dialing.connect(self._url.path)
        except OSError as exc:
            dialing.close()
            self._end(
                RedisLostError(
                    f"cannot reach Redis at {escape_line(self._url.path)}: {cause_of(exc)}",
                    "is it running, and may this user open its socket?",
                )
            )
            return
        self._on_connected(dialing)

    def ask(self, done: Done, *words: Word, patience: float = 0.0) -> None:
        """Ask Redis something: see `Pipeline.ask`."""
        self._pipeline.ask(self._reactor.clock(), done, *words, patience=patience)

    def flush(self) -> None:
        """Send what was asked."""
        transport = self._transport
        if transport is None:
            return
        data = self._pipeline.data_to_send()
        if data or self._tls is not None:
            if self._tls is not None:
                if data:
                    self._tls.send(data)
                data = self._tls.data_to_send()
            self._buffer.add(data)
        if not transport.writing:
            transport.flush()
        self._wake.set(self._pipeline.deadline if self._transport else None)

    def close(self) -> None:
        """Be over, without a word to the owner."""
        self._owner = None
        self._pipeline.close()
        self._limit.cancel()
        self._wake.set(None)
        if self._dialer is not None:
            self._dialer.close()
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.close()

    # -- what happens

    def _on_connected(self, connected: socket.socket) -> None:
        journal.note(self._name, "connected")
        self._transport = Transport(self._reactor, connected, self, self)
        self._pipeline.moved(self._reactor.clock())
        if self._url.tls:
            assert self._context is not None
            self._tls = Tls(self._context, self._url.host)
        login(self._pipeline, self._url, self._reactor.clock(), self._on_login)
        self.flush()

    def _on_unreachable(self, error: TransportError) -> None:
        self._end(RedisLostError(str(error).replace("reach", "reach Redis at", 1), error.hint))

    def _on_login(self, outcome: Server | RedisError) -> None:
        if isinstance(outcome, RedisError):
            self._end(outcome)
            return
        self._limit.cancel()
        self._ready = True
        journal.note(self._name, f"logged in, version {outcome.version}")
        if self._owner is not None:
            self._owner.on_ready(self, outcome)

    def _on_limit(self) -> None:
        self._end(RedisLostError(f"Redis has not let us in within {HANDSHAKE_SECONDS} s"))

    def _on_time(self) -> None:
        self._pipeline.tick(self._reactor.clock())
        if self._pipeline.dead is not None:
            self._end(self._pipeline.dead)
        else:
            self.flush()

    def _end(self, error: RedisError) -> None:
        owner = self._owner
        if owner is None:
            return
        if isinstance(error, RedisLostError) and self._tls is not None and not self._tls.shaken:
            # A Redis without TLS waits for the end of what it takes for a command.
            error = no_tls(self._url.host)
        journal.note(self._name, f"over: {error}")
        self.close()
        owner.on_end(self, error)

    # -- the transport's owner

    def received(self, data: bytes) -> None:
        try:
            opened = self._tls.receive(data) if self._tls is not None else data
        except RedisError as error:
            self._end(error)
            return
        self._pipeline.receive(opened, self._reactor.clock())
        if self._pipeline.dead is not None:
            self._end(self._pipeline.dead)
        else:
            # What TLS has to say, and what was asked because of a reply.
            self.flush()

    def receive_eof(self) -> None:
        if self._ready or self._tls is not None:
            self._end(RedisLostError("the connection to Redis was lost"))
            return
        text = "what answers there has closed the connection before we could log in"
        self._end(
            RedisLostError(text, "a Redis with TLS does that; a URL with rediss:// speaks it")
        )

    def closed(self) -> None:
        pass

    # -- the transport's stream

    @property
    def idle(self) -> bool:
        return self._buffer.idle

    def pending(self, limit: int) -> bytes:
        return self._buffer.pending(limit)

    def advance(self, size: int) -> None:
        # What the kernel takes at once tells nothing of Redis. That it has room again does.
        if size and self._transport is not None and self._transport.writing:
            self._pipeline.moved(self._reactor.clock())
        self._buffer.advance(size)
