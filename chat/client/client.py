"""The client: joins the reactor, the socket, the session, the participant and the terminal.

Nothing is decided here that the core could decide; this connects, and connects again when the
connection is lost. It ends with an exception that says how, or without one when all is done.
"""

import os
import random
import socket
import time
from collections.abc import Callable

from chat.client import endings
from chat.client.events import (
    ClientEvent,
    Connected,
    Connecting,
    Disconnected,
    Entered,
    KeysExchanged,
    Leaving,
    LookingUp,
    OutboxFull,
    Person,
    Reconnected,
    ServerMet,
)
from chat.client.participant import Participant
from chat.client.view import View
from chat.errors import (
    ChatError,
    ClockError,
    ProtocolError,
    Reason,
    RefusedError,
    TransportError,
    UnacknowledgedError,
)
from chat.kex import PrivateKey, PublicKey
from chat.limits import (
    CONSOLE_QUEUE_BYTES,
    LINGER_SECONDS,
    MAX_RETRY_SECONDS,
    RETRY_SECONDS,
    WELCOME_SECONDS,
)
from chat.reactor import Reactor, Timer
from chat.session import (
    ClientSession,
    ControlReceived,
    Ended,
    Established,
    HelloReceived,
    RoomFramesReceived,
    SessionEvent,
)
from chat.sockets import Dialer
from chat.text import escape_line
from chat.transport import SendBuffer, Transport

REFUSALS = (
    Reason.KICKED,
    Reason.REPLACED,
    Reason.NAME_TAKEN,
    Reason.NAME_INVALID,
    Reason.FULL,
)
LOSSES = (Reason.LOST, Reason.TIMEOUT, Reason.TOO_SLOW)

_HINTS = {
    Reason.REPLACED: "you joined with this name and key once more; take another name, or --keys",
}

Trust = Callable[[PublicKey], bool]
"""Told the server's key; says whether it was known, or raises ServerKeyError."""


class Client:
    """One stay in the room. `run` returns when it is over, or raises what went wrong."""

    def __init__(
        self,
        reactor: Reactor,
        dialer: Dialer,
        name: str,
        key: PrivateKey,
        trust: Trust,
        view: View,
        patience: float | None = None,
    ) -> None:
        """`patience`: give up after so many seconds without a connection, or with one over which
        nothing is acknowledged; None: never."""
        self._reactor = reactor
        self._dialer = dialer
        dialer.on_found = self._on_found
        self._name = name
        self._key = key
        self._trust = trust
        self._patience = patience
        self._participant = Participant(os.urandom, name)
        self._view = view
        view.open(self)
        view.output.on_drained = self._on_drained
        view.output.on_broken = self._on_broken
        view.output.on_stuck = self._on_stuck
        self._session: ClientSession | None = None
        self._transport: Transport | None = None
        self._outgoing = SendBuffer()
        self._timer: Timer | None = None
        self._retry: Timer | None = None
        self._retry_seconds = RETRY_SECONDS
        self._lost = False
        self._wake_up: Timer | None = None
        self._established = False
        self._connected_at = 0.0
        self._reading_paused = False
        self._server_fingerprint = ""
        self._leaving = False
        self._asked_to_leave = False
        self._room_closed = False
        self._over = False
        self._error: ChatError | None = None
        reactor.before_wait(self._before_wait)

    def run(self) -> None:
        """Connect, stay, leave.

        Raises:
            ChatError: it ended otherwise than by leaving, or not everything is acknowledged.
        """
        self._dial()
        if not self._over:
            self._reactor.run()
        # Should nobody read what is left to show, a signal still ends us: this one, or the next.
        self._reactor.give_back_signals()
        if self._asked_to_leave:
            self._view.output.hurry()
        missing = self._what_is_missing()
        self._view.close()
        for text in missing:
            if self._error is None:
                self._error = UnacknowledgedError(text)
            else:
                self._error.add(text)
        if self._error is not None:
            raise self._error

    def _what_is_missing(self) -> list[str]:
        """What was to be sent, or to come, and was not."""
        view, missing = self._view, []
        undelivered = 0
        if self._participant.has_joined and not self._leaving:
            undelivered = view.count_undelivered()
            if self._room_closed and (undelivered or view.unfinished):
                missing.append(endings.closed_before_the_end(undelivered))
        if messages := self._participant.unacknowledged + undelivered + view.not_sent:
            missing.append(endings.not_acknowledged(messages))
        if view.not_commands:
            missing.append(endings.not_commands(view.not_commands))
        return missing

    # -- what the view can ask

    @property
    def name(self) -> str:
        return self._name

    @property
    def server_fingerprint(self) -> str:
        return self._server_fingerprint

    @property
    def has_joined(self) -> bool:
        """Whether we have been in."""
        return self._participant.has_joined

    @property
    def in_room(self) -> bool:
        return self._participant.in_room

    @property
    def can_send(self) -> bool:
        return self._participant.can_send

    @property
    def full(self) -> bool:
        return self._participant.full

    def members(self) -> list[Person]:
        return self._participant.members()

    def say(self, text: str) -> None:
        participant = self._participant
        self._view.show(participant.say(text, max(0, int(time.time() * 1000))))
        self._try_again_now()
        if participant.full:
            self._view.take_input(False)
            if not participant.in_room:
                self._view.show(OutboxFull(participant.unacknowledged))

    def finish(self) -> None:
        self._view.stop()
        if not self._participant.in_room and not self._participant.unacknowledged:
            self._end(None)
        else:
            # A script wants to know that everything arrived, however long that takes.
            self._leaving = True

    def leave(self) -> None:
        self._asked_to_leave = True
        if self._over or not self._participant.has_joined:
            self._break_off()
            return
        again, self._leaving = self._leaving, True
        if again or not self._participant.in_room:
            self._say_goodbye()
        else:
            self._participant.stop_waiting()
            if self._participant.unacknowledged:
                self._view.show(Leaving(self._participant.unacknowledged))
            self._reactor.call_at(self._reactor.clock() + LINGER_SECONDS, self._say_goodbye)

    # -- the connection

    def _dial(self) -> None:
        self._retry = None
        if not self._participant.has_joined:
            self._view.show(LookingUp(self._dialer.host))
        self._dialer.dial(self._on_connected, self._on_unreachable)

    def _on_found(self) -> None:
        if not self._participant.has_joined:
            self._view.show(Connecting(self._dialer.host, self._dialer.port))

    def _on_unreachable(self, error: TransportError) -> None:
        if self._participant.has_joined:
            self._try_again_later(error)
        else:
            self._end(error)

    def _on_connected(self, connected: socket.socket) -> None:
        if not self._participant.has_joined:
            self._view.show(Connected())
        now = self._reactor.clock()
        self._established = False
        first = self._participant.first_control()
        self._session = ClientSession(self._name, self._key, first, os.urandom, now, time.time)
        self._outgoing = SendBuffer()
        self._transport = Transport(self._reactor, connected, self._outgoing, self)
        self._connected_at = now
        self._arm_timer()

    def received(self, data: bytes) -> None:
        assert self._session is not None
        now = self._reactor.clock()
        self._participant.note_activity(now)
        self._handle(self._session.receive(data, now))

    def receive_eof(self) -> None:
        assert self._session is not None
        self._handle(self._session.receive_eof())

    def closed(self) -> None:
        if self._over:
            self._reactor.stop()

    def _on_timer(self) -> None:
        session, now = self._session, self._reactor.clock()
        assert session is not None
        if self._reading_paused:
            session.note_activity(now)
        if now >= self._connected_at + WELCOME_SECONDS and not self._participant.in_room:
            self._handle([Ended(Reason.TIMEOUT, "the server does not let us in", by_peer=False)])
        else:
            self._handle(session.tick(now))
        if session is self._session and not session.over and not self._over:
            self._arm_timer()

    def _arm_timer(self) -> None:
        assert self._session is not None
        deadline = self._session.deadline
        if not self._participant.in_room:
            deadline = min(deadline, self._connected_at + WELCOME_SECONDS)
        self._timer = self._reactor.call_at(deadline, self._on_timer)

    def _lose(self, error: TransportError) -> None:
        """The connection is lost: say so once, and try to get it back."""
        assert self._transport is not None
        if self._timer is not None:
            self._timer.cancel()
        self._participant.disconnect()
        self._participant.tick(self._reactor.clock())
        transport, self._transport, self._session = self._transport, None, None
        self._reading_paused = False
        transport.close()
        if self._leaving and not self._participant.unacknowledged:
            self._end(None)
            return
        if not self._lost:
            self._lost = True
            self._view.show(Disconnected(str(error)))
        self._try_again_later(error)

    def _try_again_later(self, error: TransportError) -> None:
        if self._over:
            return
        now = self._reactor.clock()
        if self._patience is not None and now - self._participant.stuck_since >= self._patience:
            self._end(error)
            return
        # Not all who lost the connection at the same moment come back at the same moment.
        delay = self._retry_seconds * random.uniform(0.5, 1.0)
        self._retry_seconds = min(2 * self._retry_seconds, MAX_RETRY_SECONDS)
        self._retry = self._reactor.call_at(now + delay, self._dial)

    def _try_again_now(self) -> None:
        if self._retry is not None:
            self._retry.cancel()
            self._dial()

    def wake(self) -> None:
        """The machine has slept: nobody can tell whether what was open still is."""
        if self._over:
            return
        self._retry_seconds = RETRY_SECONDS
        if self._session is None:
            if self._retry is not None:
                self._retry.cancel()
            self._dial()
        else:
            assert self._timer is not None
            self._session.wake(self._reactor.clock())
            self._timer.cancel()
            self._arm_timer()

    def _handle(self, events: list[SessionEvent]) -> None:
        try:
            for event in events:
                if not self._over:
                    self._handle_one(event)
        except ProtocolError as error:
            assert self._session is not None
            self._session.close(error.reason, str(error))
            self._end(TransportError(f"the server does not follow the protocol: {error}"))
        except ChatError as error:
            self._end(error)

    def _handle_one(self, event: SessionEvent) -> None:
        now = self._reactor.clock()
        match event:
            case HelloReceived(server_key):
                self._meet(server_key)
            case Established():
                self._established = True
                if not self._participant.has_joined:
                    self._view.show(KeysExchanged())
            case ControlReceived(control):
                self._show_all(self._participant.receive_control(control, now))
            case RoomFramesReceived(frame_type, run):
                self._show_all(self._participant.receive_frames(frame_type, run))
            case Ended():
                self._on_ended(event)

    def _meet(self, server_key: PublicKey) -> None:
        assert self._session is not None
        known = self._trust(server_key)
        self._server_fingerprint = server_key.fingerprint
        if not self._participant.has_joined:
            self._view.show(ServerMet(server_key.fingerprint, known))
        self._session.trust()

    def _on_ended(self, end: Ended) -> None:
        lost = end.reason in LOSSES or not self._established
        if self._participant.has_joined and lost:
            # In the handshake nobody vouches for what is said: anybody can forge a refusal.
            self._lose(_failure(end))
        elif end.by_peer and end.reason is Reason.CLOSING and self._participant.has_joined:
            self._room_closed = True
            self._end(None)
        elif end.by_peer and end.reason in REFUSALS:
            self._end(RefusedError(end.reason, escape_line(end.text), _HINTS.get(end.reason, "")))
        elif end.by_peer:
            self._end(TransportError(f"the server ended the connection: {escape_line(end.text)}"))
        else:
            error = _failure(end)
            if not self._established and not error.hint:
                error.hint = "is it a chat server that listens there?"
            self._end(error)

    def _break_off(self) -> None:
        """End at once: before one is in, or when it is over already and the rest is slow to leave.
        Only a server that may have let us in is told, since it would keep our place otherwise."""
        waits = self._established and not self._over
        if waits and self._session is not None:
            self._session.close(Reason.LEFT)
        self._end(ChatError("interrupted"))
        if self._transport is not None and not waits:
            self._transport.close()

    def _say_goodbye(self) -> None:
        if self._session is not None:
            self._session.close(Reason.LEFT)
        self._end(None)

    def _end(self, error: ChatError | None) -> None:
        """It is over: with an error, or (None) as it should be. What is queued still leaves."""
        if self._over:
            return
        self._over = True
        self._error = error
        self._view.stop()
        self._dialer.close()
        for timer in (self._timer, self._retry):
            if timer is not None:
                timer.cancel()
        if self._transport is None:
            self._reactor.stop()
        else:
            self._send()
            self._transport.finish(LINGER_SECONDS)

    # -- the conversation

    def _show_all(self, events: list[ClientEvent]) -> None:
        for event in events:
            if isinstance(event, Reconnected):
                self._on_reconnected()
            self._view.show(event)
            if isinstance(event, Entered):
                self._view.take_input(not self._participant.full)

    def _on_reconnected(self) -> None:
        self._lost = False
        self._retry_seconds = RETRY_SECONDS

    def _before_wait(self) -> None:
        now = self._reactor.clock()
        self._participant.tick(now, listening=not self._reading_paused)
        if self._participant.overdue(now) and not self._over:
            self._lose(TransportError("the server acknowledges nothing"))
        transport = self._transport
        if transport is None or transport.finishing:
            return
        if self._participant.has_joined and not self._participant.full:
            self._view.take_input(True)
        self._send()
        transport.flush()
        while self._participant.has_data_to_send and self._outgoing.idle:
            if transport.finishing:
                return
            self._send()
            transport.flush()
        if self._view.output.queued_bytes > CONSOLE_QUEUE_BYTES and self._participant.in_room:
            self._reading_paused = True
            transport.pause_reading()
        if self._leaving and self._participant.can_send and not self._participant.unacknowledged:
            self._say_goodbye()
        self._set_wake_up()

    def _set_wake_up(self) -> None:
        """What is due belongs to every turn; this only makes sure that there is one."""
        deadline = self._participant.deadline
        timer = self._wake_up
        if timer is not None:
            if timer.callback is not None and timer.deadline == deadline:
                return
            timer.cancel()
        self._wake_up = None if deadline is None else self._reactor.call_at(deadline, _wake_up)

    def _send(self) -> None:
        assert self._session is not None
        # What waits for the socket is not asked for: it might have to be sent again by then.
        said = self._participant.data_to_send() if self._outgoing.idle else b""
        self._outgoing.add(said + self._session.data_to_send())

    def _on_drained(self) -> None:
        if self._reading_paused and self._transport is not None:
            self._reading_paused = False
            self._transport.resume_reading()

    def _on_broken(self) -> None:
        self._end_unread("nobody reads what is shown")

    def _on_stuck(self, reason: str) -> None:
        # Text must not be lost, and whoever waits for room on a disk loses the place in the room.
        self._end_unread(f"what is shown cannot be written: {reason}")

    def _end_unread(self, why: str) -> None:
        error = TransportError(why)
        if self._over:
            # What is shown last is lost as well.
            self._error = self._error or error
            return
        if self._session is not None:
            self._session.close(Reason.LEFT)
        self._end(error)


def _failure(end: Ended) -> TransportError:
    """What a session that ends means for the connection."""
    if isinstance(end.error, ClockError):
        text = endings.clocks_differ(end.error.not_after, end.error.now)
        return TransportError(text, "set this machine's clock right, or ask for the server's")
    return TransportError(escape_line(end.text))


def _wake_up() -> None:
    pass
