"""The client's end of one connection: its socket, its session, its timer.

Theory of operation
-------------------

Everything that is born and dies with a connection is here. When a connection is lost the client
throws the object away, and makes another one when it has connected again: nothing is reset.

What arrives goes one way: bytes to the session, the session's events to the participant (frames and
control messages) or to the client (everything else), and what the participant makes of them to the
client, which shows it. What is sent goes the other way, in `send`, once a turn: first the messages,
then what the session has to say. So a BYE is behind every message that it might cut off.

Messages are asked for only when all that was asked for before has left. Until then they wait in the
outbox, unsealed: a RESEND or a new key that arrives meanwhile does not make them be sent twice.

A connection ends in one of three ways, each final:

    close                at once: it is lost, or nobody waits for it any more
    drop(reason, text)   in order: the peer is told why, what is queued leaves, the socket closes
    drop(None)           the same when the peer has nothing to be told

After that nothing that arrives is handled, and no timer runs.
"""

import socket
from functools import partial
from itertools import count
from typing import Protocol

from chat import journal
from chat.client.asked import Asked
from chat.client.events import ClientEvent
from chat.client.participant import Participant
from chat.controls import Answer, Submit
from chat.errors import ChatError, Reason
from chat.kex import PublicKey
from chat.limits import LINGER_SECONDS, WELCOME_SECONDS
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
from chat.transport import SendBuffer, Transport


class Stay(Protocol):
    """What a connection wants of the client."""

    def meet(self, server_key: PublicKey) -> None:
        """The server has shown its key. Raises ChatError if it is not the right one."""

    def on_established(self) -> None:
        """Each side has proved to the other that it holds its key."""

    def show_all(self, events: list[ClientEvent]) -> None:
        """These things happened in the room."""

    def on_ended(self, end: Ended) -> None:
        """The session is over."""

    def on_failed(self, error: ChatError) -> None:
        """The stay cannot go on: the server breaks the protocol, or is not the right one."""

    def on_closed(self) -> None:
        """The socket is closed."""


_numbers = count(1)


class Connection:
    """One connection to the server, from the first byte to the last."""

    def __init__(
        self,
        stay: Stay,
        reactor: Reactor,
        connected: socket.socket,
        session: ClientSession,
        participant: Participant,
    ) -> None:
        """`session` has just begun."""
        self.established = False
        """Whether the handshake was completed: from then on the server vouches for what it says."""
        self.reading_paused = False
        """Whether what arrives waits in the kernel."""
        self.over = False
        """Whether it has ended."""
        name = f"connection {next(_numbers)}"
        self._note = partial(journal.note, name)
        session.note = journal.notes_about(name)
        self._stay = stay
        self._reactor = reactor
        self._session = session
        self._participant = participant
        self._asked = Asked()
        self._outgoing = SendBuffer()
        self._transport = Transport(reactor, connected, self._outgoing, self)
        self._welcome_until = reactor.clock() + WELCOME_SECONDS
        self._timer: Timer
        self._arm_timer()

    # -- sending

    def send(self) -> None:
        """Send what there is to say, as far as the kernel takes it."""
        # While the transport is writing, something has not left. It goes on by itself.
        if not self._transport.writing:
            for run in self._participant.data_to_send():
                self._session.send(Submit(run).encode())
        data = self._session.data_to_send()
        if data:
            self._outgoing.add(data)
            self._transport.flush()

    def ask(self, command: str) -> None:
        """Ask the server for something, as an operator. Raises UsageError: it cannot be asked."""
        self._session.send(self._asked.ask(command))

    @property
    def awaits_answer(self) -> bool:
        """Whether the server has yet to answer what it was asked for."""
        return bool(self._asked)

    def unanswered(self) -> list[str]:
        """What will not be answered any more."""
        return self._asked.give_up()

    # -- what arrives

    def received(self, data: bytes) -> None:
        now = self._reactor.clock()
        self._participant.note_activity(now)
        self._handle(self._session.receive(data, now))

    def receive_eof(self) -> None:
        self._handle(self._session.receive_eof())

    def closed(self) -> None:
        self._stay.on_closed()

    def _handle(self, events: list[SessionEvent]) -> None:
        try:
            for event in events:
                if not self.over:
                    self._handle_one(event)
        except ChatError as error:
            self._stay.on_failed(error)

    def _handle_one(self, event: SessionEvent) -> None:
        match event:
            case RoomFramesReceived(frame_type, run):
                self._stay.show_all(self._participant.receive_frames(frame_type, run))
            case ControlReceived(Answer() as answer):
                self._stay.show_all([self._asked.take(answer)])
            case ControlReceived(control):
                now = self._reactor.clock()
                self._stay.show_all(self._participant.receive_control(control, now))
                self._note(f"in the room: {self._participant.phase.name}")
            case HelloReceived(server_key):
                self._stay.meet(server_key)
                self._session.trust()
            case Established():
                self.established = True
                self._stay.on_established()
            case Ended():
                self._stay.on_ended(event)

    def pause_reading(self) -> None:
        """Let what arrives wait in the kernel, until `resume_reading`."""
        self._note("is not read, since what is shown is not")
        self.reading_paused = True
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        if self.reading_paused:
            self.reading_paused = False
            self._transport.resume_reading()

    # -- time passes

    def wake(self) -> None:
        """The machine has slept: ask at once whether the server is still there."""
        self._session.wake(self._reactor.clock())
        self._timer.cancel()
        self._arm_timer()

    def _on_timer(self) -> None:
        now = self._reactor.clock()
        if self.reading_paused:
            # It is we who do not listen: the server's silence means nothing.
            self._session.note_activity(now)
        if now >= self._welcome_until and not self._participant.in_room:
            self._handle([Ended(Reason.TIMEOUT, "the server does not let us in", by_peer=False)])
        else:
            self._handle(self._session.tick(now))
        if not self.over:
            self._arm_timer()

    def _arm_timer(self) -> None:
        deadline = self._session.deadline
        if not self._participant.in_room:
            deadline = min(deadline, self._welcome_until)
        self._timer = self._reactor.call_at(deadline, self._on_timer)

    # -- the end

    def drop(self, reason: Reason | None, text: str = "", linger: float = LINGER_SECONDS) -> None:
        """End in order, the first time: tell the peer why (None: not at all), send what is queued,
        then close, after `linger` seconds at the latest."""
        if self.over:
            return
        self._note(f"dropped, {reason.name}" if reason is not None else "dropped")
        self._end()
        if reason is not None:
            self._session.close(reason, text)
        self.send()
        self._transport.finish(linger)

    def close(self) -> None:
        """End at once."""
        self._note("closed at once")
        self._end()
        self._transport.close()

    def _end(self) -> None:
        self.over = True
        self._timer.cancel()
