"""Meeting a server: dial, take its HELLO, check the signature, close. Nothing is sent.

Whether the key is the expected one, the caller decides.
"""

import socket
import time
from collections.abc import Callable
from typing import ClassVar

from chat import kex
from chat.client import endings
from chat.client.endings import Outcome
from chat.errors import ChatError, Reason
from chat.limits import HANDSHAKE_SECONDS
from chat.reactor import Reactor, Timer
from chat.session import Ended, HelloReceived, Session, SessionEvent, State, Transitions
from chat.sockets import Way
from chat.transport import SendBuffer, Transport
from chat.wire import Hello, Refused


class _Greeting(Session):
    """The first step of a client's session, without a client."""

    __slots__ = ("_wall_clock",)

    def __init__(self, now: float, wall_clock: Callable[[], float]) -> None:
        super().__init__(State.AWAIT_HELLO, bytes, now)
        self._wall_clock = wall_clock

    @property
    def deadline(self) -> float:
        return self._started_at + HANDSHAKE_SECONDS

    def _on_deadline(self, now: float) -> list[SessionEvent]:
        return self._fail(Reason.TIMEOUT, "the server does not answer")

    def _on_hello(self, hello: Hello) -> list[SessionEvent]:
        server_key = kex.PublicKey(hello.server_key)
        kex.check_offer(
            hello.share, hello.not_after, hello.signature, server_key, self._wall_clock()
        )
        return [HelloReceived(server_key)]

    def _on_refused(self, refused: Refused) -> list[SessionEvent]:
        return self._end_by_peer(refused)

    TRANSITIONS: ClassVar[Transitions] = {
        (State.AWAIT_HELLO, Hello): (_on_hello, State.CLOSED),
        (State.AWAIT_HELLO, Refused): (_on_refused, State.CLOSED),
    }


class Meeting:
    """One look at a server's key. It runs the reactor, which does nothing else meanwhile."""

    def __init__(
        self, reactor: Reactor, dialer: Way, wall_clock: Callable[[], float] = time.time
    ) -> None:
        self._reactor = reactor
        self._dialer = dialer
        self._wall_clock = wall_clock
        self._session: _Greeting
        self._transport: Transport
        self._timer: Timer
        self._outcome: kex.PublicKey | ChatError | None = None

    def run(self) -> kex.PublicKey:
        """The key that the server shows, and with which it has signed its share.

        Raises:
            ChatError: the server cannot be reached, refuses, or does not follow the protocol.
        """
        self._dialer.dial(self._on_connected, self._end)
        if self._outcome is None:
            self._reactor.run()
        if isinstance(self._outcome, ChatError):
            raise self._outcome
        assert self._outcome is not None
        return self._outcome

    def _on_connected(self, connected: socket.socket) -> None:
        self._session = _Greeting(self._reactor.clock(), self._wall_clock)
        self._transport = Transport(self._reactor, connected, SendBuffer(), self)
        self._timer = self._reactor.call_at(self._session.deadline, self._on_timer)

    def received(self, data: bytes) -> None:
        self._handle(self._session.receive(data, self._reactor.clock()))

    def receive_eof(self) -> None:
        self._handle(self._session.receive_eof())

    def closed(self) -> None:
        self._timer.cancel()
        if isinstance(self._outcome, ChatError) and self._dialer.pass_over():
            self._outcome = None
            self._dialer.dial(self._on_connected, self._end)
        else:
            self._reactor.stop()

    def _on_timer(self) -> None:
        self._handle(self._session.tick(self._reactor.clock()))

    def _handle(self, events: list[SessionEvent]) -> None:
        for event in events:
            match event:
                case HelloReceived(server_key):
                    self._outcome = server_key
                case Ended():
                    self._outcome = _error_of(event)
        if self._outcome is not None:
            self._transport.close()

    def _end(self, error: ChatError) -> None:
        self._outcome = error
        self._reactor.stop()


def _error_of(end: Ended) -> ChatError:
    if endings.outcome_of(end.reason, False, False) is Outcome.REFUSE:
        return endings.refusal_of(end, False)
    return endings.failure_of(end, False)
