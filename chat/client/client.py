"""The client: one stay in the room, over one connection after the other.

Theory of operation
-------------------

A stay begins with `run`, which dials. It then goes round in a circle until it is over:

    dial -> Connection -> handshake -> WELCOME or RESUMED -> in the room -> lost -> wait -> dial

`_connection` is None from the loss to the next connection. `Redial` says when to dial again, and at
which server if there are several. The `Participant` stays the same all the time: it knows our place
in the log and holds what was said meanwhile. Before we have been in the room once there is no
circle: the first failure ends the stay, unless we are `persistent`, or the server says that it has
no time now and we have the patience to ask again.

Five places decide whether there is another turn:

    on_ended           the connection ended: `endings.outcome_of` is a table of what that means; if
                       there are several servers, another one may have its turn
    _on_unreachable    nobody answered the dial: go on if we have been in or are persistent,
                       otherwise end
    _before_wait       the connection stands and is useless (`Participant.overdue`): lose it
    _try_again_later   wait, or end if patience is over
    wake               the machine has slept: doubt the connection, or dial at once

A stay ends in one place, `_end`, which works once and in this order: nothing more is typed, nothing
more is dialled, the peer is told why, what is queued leaves, the socket closes, the loop stops, and
`run` says how it ended. Four ways lead there:

    leave      a person has enough: wait LINGER_SECONDS for acknowledgements; the second time, none
    finish     the input of a script is over: wait until everything is acknowledged
    on_ended   the server ends it, or there is nothing to come back to
    a failure  the server breaks the protocol, nobody reads, patience is over

Whoever leaves while the connection is lost tries for LINGER_SECONDS to get it back, if only to say
BYE. Otherwise the server would keep the place, and the name, of somebody who does not come back.

Everything that leaves does so in `_before_wait`, at the end of each turn. So whatever is said in
one turn goes out together.
"""

import os
import socket
import time
from collections.abc import Callable
from functools import partial

from chat import journal
from chat.client import endings
from chat.client.clocks import Clocks
from chat.client.connection import Connection
from chat.client.contacts import Contacts, Store
from chat.client.endings import Outcome
from chat.client.events import (
    ClientEvent,
    Connected,
    Connecting,
    Disconnected,
    Entered,
    FrameRefused,
    KeysExchanged,
    Leaving,
    LogGone,
    LookingUp,
    MessageQueued,
    MessageReceived,
    OutboxFull,
    Person,
    Reconnected,
    RoomClosed,
    Security,
    ServerMet,
    Standing,
    Tampered,
    TopicSet,
    Warned,
)
from chat.client.participant import Participant
from chat.client.redial import Redial
from chat.client.view import View
from chat.errors import (
    LOSSES,
    ChatError,
    ClockError,
    ProtocolError,
    ProxyRefusedError,
    Reason,
    ServerKeyError,
    TransportError,
    UnacknowledgedError,
    UsageError,
)
from chat.frozen import replace
from chat.introduction import Introduction
from chat.kex import PrivateKey, PublicKey, RoomKey
from chat.limits import (
    CONSOLE_QUEUE_BYTES,
    HANDSHAKE_SECONDS,
    HURRIED_LINGER_SECONDS,
    KEEP_MEMBERS_SECONDS,
    LINGER_SECONDS,
    NEXT_PING_SECONDS,
    NEXT_PONG_SECONDS,
    NEXT_SERVER_SECONDS,
    PATIENCE_SECONDS,
    UNKNOWN_PLACE_SECONDS,
)
from chat.reactor import Reactor, Timer, WakeUp
from chat.session import USUAL_WAITS, ClientSession, Ended, Waits
from chat.sockets import Way
from chat.text import caseless_name

Trust = Callable[[PublicKey], str | None]
"""Takes the server's key. Returns since which day it is known, empty if that is not written down,
and None if it is new; or raises ServerKeyError."""


class Client:
    """One stay in the room; the text above says how it turns."""

    def __init__(
        self,
        reactor: Reactor,
        dialer: Way,
        name: str,
        key: PrivateKey,
        trust: Trust,
        view: View,
        patience: float | None = None,
        *,
        room_key: RoomKey | None = None,
        members: Store | None = None,
        caller: bool = False,
        persistent: bool = False,
        named: bool = False,
    ) -> None:
        """`patience`: do not try again after this many seconds without a connection, or with
        connections over which nothing is acknowledged; None: always try again. `room_key` is that
        of a sealed room; None: the open one. `members`: where known members are kept; None: they
        are not. A `caller` comes to say one thing: nobody is told of its coming and going.
        `persistent`: patience begins before we have been in for the first time. `named`: what
        `trust` compares the key with was named by our user."""
        self._reactor = reactor
        self._dialer = dialer
        dialer.on_found = self._on_found
        self._redial = Redial(reactor, dialer, self._dial)
        self._me = Introduction.fresh(name, key, os.urandom, room_key, caller=caller)
        self._trust = trust
        self._patience = patience
        self._persistent = persistent
        self._named = named
        self._participant = Participant(os.urandom, name, room_key, self._me.share)
        self._view = view
        view.open(self)
        view.output.on_drained = self._on_drained
        view.output.on_broken = self._on_broken
        view.output.on_stuck = self._on_stuck
        self._takes_input = False
        self._connection: Connection | None = None
        self._lost = False
        self._progress: list[Connected | ServerMet | KeysExchanged] = []
        self._met_stranger = False
        self._met_wrong_clock = False
        self._asked_at: float | None = None
        """When an answer was lost for the first time: we may be in without knowing it."""
        self._tampered_at = float("-inf")
        self._tamperings = self._unconfirmed = 0
        self._seen_tampering_at = 0.0
        self._contacts = Contacts(members, name, key.public.digest, time.time)
        self._clocks = Clocks()
        self._keeping: Timer | None = None
        self._wake_up = WakeUp(reactor)
        self._server_key: PublicKey | None = None
        self._room = ""
        self._leaving = False
        self._asked_to_leave = False
        self._room_closed = False
        self._over = False
        self._error: ChatError | None = None
        reactor.before_wait(self._before_wait)

    def run(self) -> None:
        """Connect, stay, leave.

        Raises:
            ChatError: it did not end by leaving, or not everything is acknowledged.
        """
        # Something may have been shown in vain before this client was there to be told.
        self._view.output.tell_failure()
        # Patience begins here. The dial may fail before the first turn.
        self._participant.tick(self._reactor.clock())
        if not self._over:
            self._redial.now()
        if not self._over:
            self._reactor.run()
        # If nobody reads what is left to show, the next signal still ends the program.
        self._reactor.give_back_signals()
        if self._asked_to_leave:
            self._view.output.hurry()
        self._keep_members(patient=True)
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
        """What was to be sent, and was not: a sentence for each kind."""
        view, missing = self._view, []
        undelivered = 0
        if self._participant.has_joined and not self._leaving:
            undelivered = view.count_undelivered()
            if self._room_closed and (undelivered or view.unfinished):
                missing.append(endings.closed_before_the_end(undelivered))
        if messages := self._participant.unacknowledged + undelivered:
            missing.append(endings.not_acknowledged(messages))
        if view.not_sent:
            missing.append(endings.not_sent(view.not_sent))
        if view.not_commands:
            missing.append(endings.not_commands(view.not_commands))
        return missing

    # -- what the view can ask

    @property
    def name(self) -> str:
        return self._me.name

    @property
    def invite(self) -> str | None:
        room_key = self._me.room_key
        if room_key is None or self._server_key is None:
            return None
        from chat.invite import Invite

        digest = self._server_key.digest
        return Invite(self._dialer.servers, digest, room_key.secret).encode()

    @property
    def has_joined(self) -> bool:
        """Whether we have been in the room at least once."""
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

    @property
    def unanswered_since(self) -> float | None:
        return self._participant.unanswered_since

    def members(self) -> list[Person]:
        return [self._contacts.described(one) for one in self._participant.members()]

    def trust(self, name: str) -> Person | None:
        one = self._find(name) or self._contacts.warned_of(name)
        if one is not None and one.standing is Standing.CHANGED and not one.unproved:
            self._contacts.trust(one)
            self._keep_members_soon()
        return one

    def ignore(self, name: str) -> str:
        one = self._find(name)
        if one is not None and one.standing is Standing.YOU:
            return ""
        ignored = self._contacts.ignore(name, self._participant.members())
        self._keep_members_soon()
        return ignored

    def unignore(self, name: str) -> bool:
        heard = self._contacts.unignore(name, self._participant.members())
        self._keep_members_soon()
        return heard

    def ignored(self) -> list[str]:
        return self._contacts.ignored()

    def _find(self, name: str) -> Person | None:
        folded = caseless_name(name)
        members = self._participant.members()
        found = (one for one in members if caseless_name(one.name) == folded)
        return next(map(self._contacts.described, found), None)

    def topic(self) -> TopicSet:
        return self._participant.topic

    def security(self) -> Security:
        participant = self._participant
        age = self._reactor.clock() - participant.checked_at
        return Security(
            participant.tag,
            "" if self._server_key is None else self._server_key.fingerprint,
            time.time() - age,
            participant.all_checked,
            self._tamperings,
            self._seen_tampering_at,
            self._unconfirmed,
            participant.split_from,
            tuple(self.members()),
        )

    def say(self, text: str) -> MessageQueued:
        return self._said(self._participant.say(text, _now_ms()))

    def say_direct(self, person: Person, text: str) -> MessageQueued:
        return self._said(self._participant.say_direct(person, text, _now_ms()))

    def _said(self, queued: MessageQueued) -> MessageQueued:
        participant = self._participant
        # Somebody is at it: do not let them wait for the next try.
        self._redial.now_if_waiting()
        if participant.full:
            self._set_input()
            if not participant.in_room:
                self._view.show(OutboxFull(participant.unacknowledged))
        return queued

    def operate(self, command: str) -> None:
        if self._connection is None or not self._participant.in_room:
            raise UsageError("there is no connection to the server; nothing was asked for")
        self._connection.ask(command)

    def finish(self) -> None:
        self._view.stop()
        # A script wants to be sure that everything arrived, however long that takes.
        self._leaving = True
        if self._has_said_all and not self._participant.in_room:
            self._leave_soon()

    def leave(self, word: str = "") -> None:
        if word and self._participant.has_joined and not (self._over or self._leaving):
            self._participant.say_parting(word, _now_ms())
        self._asked_to_leave = True
        if self._over or self._leaving or not self._participant.has_joined:
            self._break_off()
            return
        self._leaving = True
        self._view.stop()
        self._participant.stop_waiting()
        if self._participant.unacknowledged or not self._participant.can_send:
            self._view.show(Leaving(self._participant.unacknowledged))
        self._leave_soon()

    @property
    def _has_said_all(self) -> bool:
        """Whether we are leaving, and all that is left to be said is BYE, and perhaps a last
        word."""
        return self._leaving and not self._participant.unacknowledged

    def _leave_soon(self) -> None:
        """Leave in LINGER_SECONDS at the latest."""
        self._reactor.call_at(self._reactor.clock() + LINGER_SECONDS, self._say_goodbye)
        self._redial.be_quick()
        self._redial.now_if_waiting()

    # -- the connection

    def _dial(self) -> None:
        if not self._participant.has_joined:
            self._view.show(LookingUp(self._dialer.looked_up))
        self._dialer.dial(self._on_connected, self._on_unreachable)

    def _on_found(self) -> None:
        if not self._participant.has_joined:
            self._view.show(Connecting(self._dialer.host, self._dialer.port))

    def _on_unreachable(self, error: TransportError) -> None:
        if not self._participant.has_joined and not self._lost:
            # No server has asked us to come again, so that is for the user to say.
            if not self._persistent or isinstance(error, ProxyRefusedError):
                self._end(error)
                return
            self._say_lost(error)
        self._try_again_later(error)

    def _on_connected(self, connected: socket.socket) -> None:
        self._show_progress(Connected())
        now, first = self._reactor.clock(), self._participant.first_control()
        session = ClientSession(self._me, first, os.urandom, now, time.time, self._waits)
        self._connection = Connection(self, self._reactor, connected, session, self._participant)

    @property
    def _waits(self) -> Waits:
        """How long this server may be silent: less long if there is another one."""
        if not self._has_several:
            return USUAL_WAITS
        # What a server that hangs has in its queue is a connection, too, and nobody says HELLO.
        hello = NEXT_SERVER_SECONDS if self._dialer.is_hasty else HANDSHAKE_SECONDS
        return Waits(hello, NEXT_PING_SECONDS, NEXT_PONG_SECONDS)

    def meet(self, server_key: PublicKey) -> None:
        since = self._trust(server_key)
        self._participant.meet(server_key)
        self._server_key = server_key
        tag = self._participant.tag
        self._room = tag[:8].hex() if tag else f"open:{server_key.digest[:8].hex()}"
        invited = self._me.room_key is not None
        self._show_progress(
            ServerMet(
                self._dialer.host,
                server_key.fingerprint,
                since is not None,
                since or "",
                invited,
                self._named,
            )
        )

    def on_established(self) -> None:
        if not self._participant.has_joined:
            self._show_progress(KeysExchanged())
        elif self._has_said_all and not self._participant.has_parting_to_send:
            # RESUME is on its way, and BYE gives up the place that it takes.
            self._say_goodbye()

    def _show_progress(self, event: Connected | ServerMet | KeysExchanged) -> None:
        """Show how far we are on the way in. A server may end each attempt, hour after hour: what
        an earlier one has shown is not shown again."""
        if not self._participant.has_joined and event not in self._progress:
            self._progress.append(event)
            self._view.show(event)

    def on_ended(self, end: Ended) -> None:
        assert self._connection is not None
        established = self._connection.established
        if end.reason is Reason.TIMEOUT and not (end.by_peer or established):
            self._dialer.postpone()
        outcome = endings.outcome_of(end.reason, established, self._participant.has_joined)
        if established and end.reason in LOSSES and self._asked_at is None:
            self._asked_at = self._reactor.clock()
        match outcome:
            case Outcome.LOSE:
                if end.reason in LOSSES:
                    self._redial.forget_verdict()
                if isinstance(end.error, ClockError):
                    self._warn_of_clocks(end)
                self._lose(endings.loss_of(end), restarting=end.reason is Reason.RESTARTING)
            case Outcome.TRY_AGAIN | Outcome.REFUSE if self._may_try_again(outcome, end):
                self._redial.forget_verdict()
                self._lose(endings.failure_of(end, established))
            case _ if self._goes_elsewhere(outcome, end, established):
                self._lose(endings.passed_over(self._dialer.server.text, end, established))
            case _:
                self._end_for_good(outcome, end, established)

    def _warn_of_clocks(self, end: Ended) -> None:
        """A machine may wake with a wrong clock. Then each attempt ends like this, until somebody
        sets it right."""
        if not self._met_wrong_clock:
            self._met_wrong_clock = True
            error = endings.loss_of(end)
            where = f"{self._dialer.server.text}: " if self._has_several else ""
            self._view.show(Warned(f"{where}{error}; {error.hint}"))

    def _goes_elsewhere(self, outcome: Outcome, end: Ended, established: bool) -> bool:
        """Whether another server has its turn now. A client that leaves, and has said all, needs
        none."""
        if self._has_said_all or not endings.may_differ_elsewhere(end):
            return False
        verdict = partial(self._end_for_good, outcome, end, established)
        return self._redial.pass_over(verdict, is_refusal=outcome is Outcome.REFUSE)

    @property
    def _has_several(self) -> bool:
        return len(self._dialer.servers) > 1

    def _end_for_good(self, outcome: Outcome, end: Ended, established: bool) -> None:
        """What a server said ends the stay."""
        match outcome:
            case Outcome.END_WELL:
                self._room_closed = True
                self._view.show(RoomClosed())
                self._end(None)
            case Outcome.REFUSE:
                refusal = endings.refusal_of(end, established)
                if end.reason is Reason.NOT_ALLOWED and established:
                    refusal.hint = endings.key_for_the_list(self.name, self._me.key.public.openssh)
                self._end(refusal)
            case _:
                self._end(endings.failure_of(end, established))

    def on_failed(self, error: ChatError) -> None:
        if isinstance(error, ServerKeyError) and self._participant.has_joined:
            # Anybody on the way can show a key of their own. To those who are in, it is a cut.
            if not self._met_stranger:
                self._met_stranger = True
                self._view.show(Warned(" ".join(str(error).split())))
            self._lose(TransportError("somebody else answers for the server"))
        elif isinstance(error, ProtocolError):
            text = f"the server does not follow the protocol: {error}"
            self._end(TransportError(text), error.reason, str(error))
        else:
            self._end(error)

    def on_closed(self) -> None:
        if self._over:
            self._reactor.stop()

    def _may_try_again(self, outcome: Outcome, end: Ended) -> bool:
        """A person who comes in is told at once that the server has no time, but can wait for one
        that is back in a moment. If it has said nothing, only the persistent try again. A refusal
        is final, unless it may be our own place that is in the way."""
        if outcome is Outcome.REFUSE:
            return end.reason is Reason.FULL and self._may_be_in
        if not end.by_peer:
            return self._persistent
        return self._patience is not None or end.reason is Reason.RESTARTING

    @property
    def _may_be_in(self) -> bool:
        """Whether a server may keep a place for us that we do not know of, since its answer was
        lost. Then our key may be in too often only until that place is given up."""
        asked_at = self._asked_at
        return asked_at is not None and self._reactor.clock() - asked_at < UNKNOWN_PLACE_SECONDS

    def _lose(self, error: TransportError, *, restarting: bool = False) -> None:
        """The connection is lost: say so once, and try to get it back."""
        journal.note("client", "the connection is lost")
        connection, self._connection = self._connection, None
        assert connection is not None
        self._participant.disconnect()
        self._participant.tick(self._reactor.clock())
        connection.close()
        for command in connection.unanswered():
            self._view.show(Warned(endings.not_answered(command)))
        if self._has_said_all:
            self._leave_soon()
        elif not self._lost:
            self._say_lost(error, restarting=restarting)
        self._try_again_later(error)

    def _say_lost(self, error: TransportError, *, restarting: bool = False) -> None:
        self._lost = True
        joined, text = self._participant.has_joined, str(error)
        lost = Disconnected(text, restarting, self._has_several)
        again = "trying the next server" if self._dialer.has_next else "trying again"
        self._view.show(lost if joined else Warned(f"{text}; {again}"))

    def _try_again_later(self, error: TransportError) -> None:
        if self._over:
            return
        now = self._reactor.clock()
        if self._patience is not None and now - self._participant.stuck_since >= self._patience:
            self._end(None if self._has_said_all else error)
            return
        self._redial.later()

    def wake(self) -> None:
        """The machine has slept, so an open connection may be dead."""
        journal.note("client", "the machine has slept")
        if self._over:
            return
        self._redial.be_quick()
        if self._connection is not None:
            self._connection.wake()
        else:
            self._redial.now()

    # -- the end

    def _break_off(self) -> None:
        """End at once. That is an error if we are not in yet."""
        if self._over and self._connection is not None:
            # BYE is said, and slow to leave.
            self._connection.close()
        error = None if self._participant.has_joined else ChatError("interrupted")
        self._end(error, Reason.LEFT, linger=HURRIED_LINGER_SECONDS)

    def _say_goodbye(self) -> None:
        self._end(None, Reason.LEFT)

    def _end(
        self,
        error: ChatError | None,
        reason: Reason | None = None,
        text: str = "",
        linger: float = LINGER_SECONDS,
    ) -> None:
        """The stay is over: with an error, or (None) well. The server is told `reason` and `text`,
        unless `reason` is None, and has `linger` seconds to take that."""
        if self._over:
            return
        journal.note("client", f"ends: {type(error).__name__ if error else 'well'}")
        self._over = True
        self._error = error
        self._view.stop()
        self._redial.stop()
        connection = self._connection
        if connection is None:
            self._reactor.stop()
        elif reason is Reason.LEFT and not connection.established:
            # It has not let us in, so it keeps no place for us and need not be told.
            connection.close()
        else:
            connection.drop(reason, text, linger)

    # -- the conversation

    def show_all(self, events: list[ClientEvent]) -> None:
        self._look_at_clocks()
        now, wall_clock = self._reactor.clock(), time.time()
        with self._view.output.gathered():
            for event in events:
                if isinstance(event, RoomClosed):
                    # BYE says so, too, which nobody on the way can. It is one server that shuts
                    # down, and the room may go on elsewhere.
                    continue
                if isinstance(event, Entered | Reconnected):
                    event = self._on_entered(event)
                for known in self._contacts.take(event, self._room, self._participant):
                    for shown in self._clocks.take(known, now, wall_clock):
                        self._view.show(shown)
                if not isinstance(event, MessageReceived):
                    self._heed(event)
        self._keep_members_soon()
        # Now we may be in for the first time, or have room for more: some were acknowledged.
        if not self._over:
            self._set_input()

    def _heed(self, event: ClientEvent) -> None:
        """Do what follows for us from what has been shown."""
        match event:
            case FrameRefused(why):
                self._on_tampered(why)
            case LogGone():
                self._on_tampered("the server no longer has what it had acknowledged")
            case Tampered(certain=True):
                self._tamperings += 1
                self._seen_tampering_at = time.time()
                self._on_tampered("what arrives is not what the server sent")
            case Tampered():
                self._unconfirmed += 1

    def _look_at_clocks(self) -> None:
        connection, participant = self._connection, self._participant
        if participant.has_joined:
            listening = connection is not None and not connection.reading_paused
            live = listening and participant.can_send
            self._clocks.tick(self._reactor.clock(), time.time(), live=live)

    def _keep_members_soon(self) -> None:
        """Have written down what is new of the members, but not too often."""
        if self._keeping is None and self._contacts.has_changed:
            at = self._reactor.clock() + KEEP_MEMBERS_SECONDS
            self._keeping = self._reactor.call_at(at, self._keep_members)

    def _keep_members(self, *, patient: bool = False) -> None:
        self._keeping = None
        for event in self._contacts.keep(patient=patient):
            self._view.show(event)
        if not patient:
            self._keep_members_soon()

    def _on_tampered(self, why: str) -> None:
        self._tampered_at = self._reactor.clock()
        self.on_ended(Ended(Reason.LOST, why, by_peer=False))

    def _on_entered(self, event: Entered | Reconnected) -> Entered | Reconnected:
        """We are in. Returns the event, which tells the server if it is another one."""
        self._lost = self._met_stranger = self._met_wrong_clock = False
        elsewhere = self._redial.settle()
        if self._reactor.clock() - self._tampered_at > PATIENCE_SECONDS:
            # Otherwise somebody on the way could make us come back every second.
            self._redial.be_quick()
        if isinstance(event, Reconnected) and elsewhere:
            return replace(event, server=elsewhere)
        return event

    def _set_input(self) -> None:
        """Let the view take input, or stop it, when that changes."""
        wanted = self._participant.has_joined and not self._participant.full
        if wanted is not self._takes_input:
            self._takes_input = wanted
            self._view.take_input(wanted)

    def _before_wait(self) -> None:
        """The end of each turn. The order matters: time first, since it can end the connection;
        then sending, so that what was said in this turn leaves in it; then whatever depends on what
        is left to be written, acknowledged and waited for."""
        now = self._reactor.clock()
        listening = self._connection is None or not self._connection.reading_paused
        self._participant.tick(now, listening=listening)
        if self._participant.overdue and not self._over:
            self._lose(TransportError("the server has confirmed nothing for too long"))
        connection = self._connection
        if connection is None or connection.over:
            return
        connection.send()
        if connection.over:
            return
        self._look_at_clocks()
        if self._view.output.queued_bytes > CONSOLE_QUEUE_BYTES and self._participant.in_room:
            connection.pause_reading()
        participant = self._participant
        waits = participant.has_parting_to_send or connection.awaits_answer
        if self._has_said_all and participant.can_send and not waits:
            # The last word, if there is one, is not waited for: it travels before BYE.
            self._say_goodbye()
        self._wake_up.set(self._participant.deadline)

    def _on_drained(self) -> None:
        if self._connection is not None:
            self._connection.resume_reading()

    def _on_broken(self) -> None:
        self._end_unread("nobody reads what is shown")

    def _on_stuck(self, reason: str) -> None:
        # Text must not be lost, and waiting for a full disk would cost the place in the room.
        self._end_unread(f"what is shown cannot be written: {reason}")

    def _end_unread(self, why: str) -> None:
        error = TransportError(why)
        if self._over:
            # The last lines are lost, which is an error too.
            self._error = self._error or error
        else:
            self._end(error, Reason.LEFT)


def _now_ms() -> int:
    """In milliseconds since 1970; a clock that is set to before is at its beginning."""
    return max(0, int(time.time() * 1000))
