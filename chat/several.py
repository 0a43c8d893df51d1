"""Dialling one of several servers of the same room.

`SeveralServers` is a `Way` that is made of one for each server. Whose turn it is, `rounds` says.
What the servers are, and what they say, is not known here.
"""

import socket
from collections.abc import Callable, Sequence
from functools import partial

from chat import journal
from chat.errors import ProxyRefusedError, TransportError
from chat.limits import NEXT_SERVER_SECONDS
from chat.place import Endpoint
from chat.reactor import Reactor, Timer, do_nothing
from chat.rounds import Rounds
from chat.sockets import Way


class SeveralServers(Way):
    """The `Way` to whichever of several servers answers. `close` when done.

    `dial` goes on with the round, or begins one. When a server cannot be reached, the next one is
    dialled at once; when one is silent for NEXT_SERVER_SECONDS, the next is dialled beside it. The
    first that answers ends the other attempts. It has failed when the round is over and nobody is
    being dialled, or when the proxy does not let us in. `host` and `port` are those of the server
    that is dialled last, or has answered.
    """

    def __init__(
        self, reactor: Reactor, servers: Sequence[Endpoint], way_to: Callable[[Endpoint], Way]
    ) -> None:
        """`way_to` makes the way to one of them, at its first turn."""
        self._servers = tuple(servers)
        self.on_found: Callable[[], None] = do_nothing
        self._reactor = reactor
        self._way_to = way_to
        self._ways: dict[int, Way] = {}
        self._rounds = Rounds(len(servers))
        self._dialling: list[int] = []
        self._errors: list[TransportError] = []
        self._next: Timer | None = None
        self._on_connected: Callable[[socket.socket], None]
        self._on_failed: Callable[[TransportError], None]
        self._turn_to(0)

    def dial(
        self,
        on_connected: Callable[[socket.socket], None],
        on_failed: Callable[[TransportError], None],
    ) -> None:
        # Not `close`: a look-up may have begun already.
        self._stop()
        self._on_connected = on_connected
        self._on_failed = on_failed
        self._try_next()

    def close(self) -> None:
        self._stop()
        for way in self._ways.values():
            way.close()

    @property
    def servers(self) -> tuple[Endpoint, ...]:
        return self._servers

    @property
    def has_next(self) -> bool:
        return self._rounds.has_next

    def settle(self) -> None:
        self._rounds.settle()
        self._ways[self._rounds.present].settle()

    @property
    def is_hasty(self) -> bool:
        return self._rounds.is_hasty

    def postpone(self) -> None:
        self._rounds.postpone()

    def pass_over(self) -> bool:
        return self._rounds.pass_over()

    def _try_next(self) -> None:
        self._stop_waiting()
        number = self._rounds.take()
        way = self._turn_to(number)
        self._dialling.append(number)
        if self._rounds.has_next:
            at = self._reactor.clock() + NEXT_SERVER_SECONDS
            self._next = self._reactor.call_at(at, self._try_next)
        way.dial(partial(self._connected, number), partial(self._failed, number))

    def _turn_to(self, number: int) -> Way:
        """The way to this server, whose `host` and `port` are ours from now on."""
        if number not in self._ways:
            self._ways[number] = self._way_to(self._servers[number])
            self._ways[number].on_found = partial(self._found, number)
        way = self._ways[number]
        self.host, self.port, self.looked_up = way.host, way.port, way.looked_up
        return way

    def _found(self, number: int) -> None:
        self._turn_to(number)
        self.on_found()

    def _connected(self, number: int, connected: socket.socket) -> None:
        given_up = [other for other in self._dialling if other != number]
        self._rounds.choose(number, given_up)
        self._turn_to(number)
        journal.note("servers", f"{self._servers[number].text} answers")
        self._stop()
        self._on_connected(connected)

    def _failed(self, number: int, error: TransportError) -> None:
        self._dialling.remove(number)
        self._errors.append(error)
        if isinstance(error, ProxyRefusedError):
            # All ways lead through the same proxy.
            self._fail(error)
        elif self._rounds.has_next:
            self._try_next()
        elif not self._dialling:
            text = "; ".join(dict.fromkeys(map(str, self._errors)))
            self._fail(TransportError(text, self._errors[0].hint))

    def _fail(self, error: TransportError) -> None:
        self._stop()
        self._on_failed(error)

    def _stop(self) -> None:
        """End all attempts."""
        self._stop_waiting()
        for number in self._dialling:
            self._ways[number].close()
        self._dialling.clear()
        self._errors.clear()

    def _stop_waiting(self) -> None:
        if self._next is not None:
            self._next.cancel()
            self._next = None
