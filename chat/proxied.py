"""Connecting through a proxy: a state of its own between the dial and the handshake.

`ProxiedDialer` dials the proxy, and carries the `conversation` of `socks` over the socket without
blocking. When the proxy has connected, the socket is handed on, and from then on the proxy is not
seen any more. It is asked anew each time. What is said to it is not known here.
"""

import socket
from collections.abc import Callable
from functools import partial

from chat import journal
from chat.errors import TransportError
from chat.limits import PROXY_SECONDS
from chat.reactor import Reactor, do_nothing
from chat.resolver import LookUp
from chat.sockets import Dialer, Way, in_order
from chat.socks import Conversation, Proxy, conversation


class ProxiedDialer(Way):
    """The `Way` to a host through a proxy. `close` when done.

    A proxy that does not look names up is asked for one address after the other. While it dials,
    exactly one of these is under way: the look-up, the dial to the proxy, or the conversation.
    """

    def __init__(self, reactor: Reactor, host: str, port: int, proxy: Proxy) -> None:
        self.host = host
        self.port = port
        self.looked_up = proxy.host if proxy.looks_up else host
        self.on_found: Callable[[], None] = do_nothing
        self._reactor = reactor
        self._proxy = proxy
        self._name = f"{host} port {port}"
        self._to_proxy = Dialer(reactor, proxy.host, proxy.port, "the proxy")
        self._look_up: LookUp | None = None
        self._talk: _Talk | None = None
        self._untried: list[str] = []
        self._on_connected: Callable[[socket.socket], None]
        self._on_failed: Callable[[TransportError], None]

    def dial(
        self,
        on_connected: Callable[[socket.socket], None],
        on_failed: Callable[[TransportError], None],
    ) -> None:
        self._stop()
        self._on_connected = on_connected
        self._on_failed = on_failed
        if self._proxy.looks_up:
            self._try([self.host])
            return
        self._look_up = LookUp(
            self._reactor, self.host, self.port, self._on_looked_up, may_be_kept=True
        )
        if self._look_up.over:
            self._on_looked_up()

    def close(self) -> None:
        self._stop()
        self._to_proxy.close()

    def settle(self) -> None:
        self._to_proxy.settle()

    def _stop(self) -> None:
        if self._look_up is not None:
            self._look_up.close()
            self._look_up = None
        if self._talk is not None:
            self._talk.take().close()
            self._talk = None

    def _on_looked_up(self) -> None:
        look_up, self._look_up = self._look_up, None
        assert look_up is not None
        if look_up.error is not None:
            self._fail(look_up.error)
        else:
            self._try([str(one.where[0]) for one in in_order(look_up.addresses, None)])

    def _try(self, hosts: list[str]) -> None:
        host, *self._untried = hosts
        self._to_proxy.on_found = self.on_found
        self._to_proxy.dial(partial(self._ask, host), self._on_no_proxy)

    def _on_no_proxy(self, error: TransportError) -> None:
        self._fail(TransportError(f"no way to the proxy {self._proxy}: {error}", error.hint))

    def _ask(self, host: str, connected: socket.socket) -> None:
        journal.note(self._name, f"asks the proxy {self._proxy}")
        asked = conversation(self._proxy, host, self.port)
        self._talk = _Talk(self._reactor, connected, asked, self._on_answer)
        self._talk.begin()

    def _on_answer(self, error: TransportError | None) -> None:
        assert self._talk is not None
        connected = self._talk.take()
        self._talk = None
        if error is None:
            journal.note(self._name, "the proxy has connected")
            self._on_connected(connected)
            return
        connected.close()
        journal.note(self._name, f"the proxy: {error}")
        if self._untried:
            self._try(self._untried)
            return
        where = f"{self.host} port {self.port} through the proxy {self._proxy}"
        self._fail(type(error)(f"cannot reach {where}: {error}", error.hint))

    def _fail(self, error: TransportError) -> None:
        self.close()
        self._on_failed(error)


class _Talk:
    """A conversation over a socket that is connected to the proxy. `on_over` is told the error, or
    None if the proxy has connected; then the socket is to be taken."""

    def __init__(
        self,
        reactor: Reactor,
        connected: socket.socket,
        asked: Conversation,
        on_over: Callable[[TransportError | None], None],
    ) -> None:
        connected.setblocking(False)
        self._reactor = reactor
        self._socket = connected
        self._conversation = asked
        self._on_over = on_over
        self._unsent = b""
        self._wanted = 0
        self._answer = b""
        limit = reactor.clock() + PROXY_SECONDS
        self._limit = reactor.call_at(limit, partial(self._end, "it does not answer"))

    def begin(self) -> None:
        self._go_on(None)

    def take(self) -> socket.socket:
        """End the conversation; the socket is the caller's."""
        self._limit.cancel()
        self._reactor.unwatch(self._socket.fileno())
        return self._socket

    def _go_on(self, answer: bytes | None) -> None:
        talk = self._conversation
        try:
            self._unsent, self._wanted = next(talk) if answer is None else talk.send(answer)
        except StopIteration:
            self._on_over(None)
        except TransportError as error:
            self._on_over(error)
        else:
            self._answer = b""
            self._send()

    def _send(self) -> None:
        try:
            if self._unsent:
                self._unsent = self._unsent[self._socket.send(self._unsent) :]
        except BlockingIOError:
            pass
        except OSError:
            self._lose()
            return
        number = self._socket.fileno()
        self._reactor.watch_write(number, self._send if self._unsent else None)
        self._reactor.watch_read(number, None if self._unsent else self._on_readable)

    def _on_readable(self) -> None:
        try:
            data = self._socket.recv(self._wanted - len(self._answer))
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self._answer += data
        if not data:
            self._lose()
        elif len(self._answer) == self._wanted:
            self._go_on(self._answer)

    def _lose(self) -> None:
        # Some say no more when they cannot connect, such as `ssh -D`.
        self._end("it closed the connection", "can it reach the server?")

    def _end(self, why: str, hint: str = "") -> None:
        self._on_over(TransportError(why, hint))
