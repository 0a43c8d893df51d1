"""The client: joins the reactor, the socket, the session, the participant and the terminal.

Nothing is decided here that the core could decide; this connects. It ends with an exception that
says how, or without one when everything was done.
"""

import os
import socket
import time
from collections.abc import Callable

from chat import transcript
from chat.errors import (
    ChatError,
    ProtocolError,
    Reason,
    RefusedError,
    TransportError,
    UnacknowledgedError,
    UsageError,
)
from chat.kex import PrivateKey, PublicKey
from chat.limits import CONSOLE_QUEUE_BYTES, FAREWELL_SECONDS, HANDSHAKE_SECONDS
from chat.names import printable
from chat.participant import (
    Came,
    Entered,
    Happening,
    Noticed,
    Participant,
    RoomClosed,
    Said,
    Warned,
    Went,
)
from chat.reactor import Reactor, Timer
from chat.relaylog import RelayLog
from chat.session import (
    ClientSession,
    Controlled,
    Ended,
    Established,
    HelloReceived,
    Relayed,
    SessionEvent,
)
from chat.terminal import LineInput, LineOutput
from chat.transport import Dialer, Transport

REFUSALS = (Reason.KICKED, Reason.NAME_TAKEN, Reason.NAME_INVALID, Reason.FULL)

Trust = Callable[[PublicKey], bool]
"""Told the server's key; says whether it was known, or raises ServerKeyError."""


class Client:
    """One stay in the room. `run` returns when it is over, or raises what went wrong."""

    def __init__(
        self,
        reactor: Reactor,
        name: str,
        key: PrivateKey,
        trust: Trust,
        source: int | None,
        output: LineOutput,
    ) -> None:
        self._reactor = reactor
        self._name = name
        self._key = key
        self._trust = trust
        self._input = LineInput(reactor, source, self._on_line, self._on_end_of_input)
        self._output = output
        output.on_drained = self._on_drained
        output.on_broken = self._on_broken
        self._participant = Participant(os.urandom)
        self._session: ClientSession | None = None
        self._transport: Transport | None = None
        self._deadline: Timer | None = None
        self._not_sent = 0
        self._leaving = False
        self._error: ChatError | None = None
        reactor.before_wait(self._before_wait)

    def run(self, host: str, port: int) -> None:
        """Connect, stay, leave.

        Raises:
            ChatError: it ended otherwise than by leaving, or not everything is acknowledged.
        """
        Dialer(self._reactor, host, port, self._on_connected, self._end).dial()
        self._reactor.run()
        self._output.drain()
        missing = self._participant.unacknowledged + self._input.waiting + self._not_sent
        if missing:
            text = transcript.not_acknowledged(missing)
            if self._error is None:
                raise UnacknowledgedError(text)
            self._error.add(text)
        if self._error is not None:
            raise self._error

    def leave(self) -> None:
        """Leave when everything is acknowledged, or after a moment; the second time at once."""
        if self._leaving or not self._participant.entered:
            self._say_goodbye()
        else:
            self._leaving = True
            self._reactor.call_at(self._reactor.clock() + FAREWELL_SECONDS, self._say_goodbye)

    # -- the connection

    def _on_connected(self, connected: socket.socket) -> None:
        self._show(transcript.CONNECTED)
        now = self._reactor.clock()
        self._session = ClientSession(self._name, self._key, os.urandom, now, time.time)
        self._transport = Transport(self._reactor, connected, RelayLog(0), self)
        self._deadline = self._reactor.call_at(now + HANDSHAKE_SECONDS, self._on_deadline)

    def received(self, data: bytes) -> None:
        assert self._session is not None
        self._handle(self._session.receive(data))

    def receive_eof(self) -> None:
        assert self._session is not None
        self._handle(self._session.receive_eof())

    def closed(self) -> None:
        self._reactor.stop()

    def _on_deadline(self) -> None:
        assert self._session is not None
        self._handle(self._session.time_out())

    def _handle(self, events: list[SessionEvent]) -> None:
        try:
            for event in events:
                if self._error is None:
                    self._handle_one(event)
        except ProtocolError as error:
            assert self._session is not None
            self._session.close(error.reason, str(error))
            self._end(TransportError(f"the server does not follow the protocol: {error}"))
        except ChatError as error:
            self._end(error)

    def _handle_one(self, event: SessionEvent) -> None:
        assert self._session is not None
        now = self._reactor.clock()
        match event:
            case HelloReceived(server_key):
                self._show(*transcript.EXCHANGING)
                known = self._trust(server_key)
                self._show(transcript.server_fingerprint(server_key.fingerprint, known))
                self._show(transcript.SENDING_KEY)
                self._session.trust()
            case Established():
                self._show(transcript.EXCHANGED)
            case Controlled(control):
                self._show_all(self._participant.receive_control(control, now))
            case Relayed(frame_type, run):
                self._show_all(self._participant.receive_frames(frame_type, run, now))
            case Ended():
                self._end(self._ending(event))

    def _ending(self, end: Ended) -> ChatError | None:
        """What is wrong with this ending, if anything."""
        if end.by_peer and end.reason in REFUSALS:
            return RefusedError(end.reason, printable(end.text))
        if end.by_peer and end.reason is Reason.CLOSING:
            return None
        if end.by_peer:
            return TransportError(f"the server ended the connection: {printable(end.text)}")
        return TransportError(end.text)

    def _say_goodbye(self) -> None:
        if self._session is not None:
            self._session.close(Reason.LEFT)
        self._end(None)

    def _end(self, error: ChatError | None) -> None:
        """It is over: with an error, or (None) as it should be. What is queued still leaves."""
        self._error = self._error or error
        self._input.stop()
        if self._transport is None:
            self._reactor.stop()
        else:
            self._send()
            self._transport.finish(FAREWELL_SECONDS)

    # -- the conversation

    def _show(self, *lines: str) -> None:
        for line in lines:
            self._output.write(line)

    def _show_all(self, happenings: list[Happening]) -> None:
        for happening in happenings:
            match happening:
                case Entered(members):
                    assert self._deadline is not None
                    self._deadline.cancel()
                    self._show(*transcript.SET_UP, transcript.in_the_room(members))
                    self._input.start()
                case Said(name, time_ms, text, own) if not own:
                    self._show(transcript.said(name, time_ms, text))
                case Came(name):
                    self._show(transcript.came(name))
                case Went(name, reason):
                    self._show(transcript.left(name, reason))
                case Noticed(text):
                    self._show(transcript.notice(text))
                case Warned(text):
                    self._show(transcript.warning(text))
                case RoomClosed():
                    self._show(transcript.SERVER_CLOSED)

    def _on_line(self, line: str) -> None:
        if line == "EXIT":
            self._on_end_of_input()
        elif line:
            try:
                self._participant.say(line, int(time.time() * 1000))
            except UsageError as error:
                self._show(transcript.warning(str(error)))
                self._not_sent += 1
        if self._participant.full:
            self._input.pause()

    def _on_end_of_input(self) -> None:
        if self._input.is_terminal:
            self.leave()
        else:
            # A script wants to know that everything arrived, however long that takes.
            self._leaving = True
            self._input.stop()

    def _before_wait(self) -> None:
        transport = self._transport
        if transport is None or transport.finishing:
            return
        self._send()
        transport.flush()
        if self._output.queued_bytes > CONSOLE_QUEUE_BYTES:
            transport.pause_reading()
        if self._participant.unacknowledged == 0 and self._leaving:
            self._say_goodbye()
        elif self._input.paused and self._participant.entered and not self._participant.full:
            self._input.start()

    def _send(self) -> None:
        assert self._session is not None and self._transport is not None
        data = self._participant.data_to_send() + self._session.data_to_send()
        self._transport.cursor.splice(data, 0)

    def _on_drained(self) -> None:
        if self._transport is not None:
            self._transport.resume_reading()

    def _on_broken(self) -> None:
        self._end(TransportError("nobody reads what is shown"))
