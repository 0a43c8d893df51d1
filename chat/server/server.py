"""The server: joins the reactor, the connections, the rooms and the console.

The doorman decides which connections get a place, a room what happens to its members. The server
brings the ones to the others, and lets every room in which something happened send at the end of a
turn.
"""

import contextlib
import re
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

from chat.controls import Answer
from chat.errors import Reason, RefusedError
from chat.kex import PrivateKey
from chat.limits import (
    FAULT_PAUSE_SECONDS,
    GRACE_SECONDS,
    MAX_ANSWER_BYTES,
    MAX_PENDING,
    MAX_PENDING_PER_SOURCE,
    NAMES_SAVE_SECONDS,
    PATIENT_PER_TURN,
    RATE,
    WELCOMED_BYTES_PER_TURN,
    WINDOW_BYTES,
)
from chat.reactor import Reactor, WakeUp
from chat.server import words
from chat.server.access import Access, KeptName, Refusal
from chat.server.admission import Admission
from chat.server.budgets import Budgets
from chat.server.commands import Answer as CommandAnswer
from chat.server.commands import refused
from chat.server.company import Company
from chat.server.connection import Connection
from chat.server.console import Console
from chat.server.deadlines import Deadlines
from chat.server.doorman import Doorman
from chat.server.greeting import Greeting
from chat.server.hosted import HostedRoom
from chat.server.lists import Ban
from chat.server.members import Member
from chat.server.operators import Operator, Operators
from chat.server.oplog import Event
from chat.server.ordering import Arrival
from chat.server.rooms import OPEN_ROOM, RoomRules, Rooms
from chat.session import Established
from chat.text import LONGEST_NAME_TYPED, digest_of, fingerprint_of
from chat.transport import Transport

_ANY_ROOM = RoomRules()


def _note_nothing(*_what: object) -> None:
    pass


class Server:
    """All rooms and all connections. `run` returns when the server has been terminated.

    At the end of each turn of the loop the hook `_before_wait` lets the *busy* rooms take the steps
    that `HostedRoom` describes, and then sends what was spliced (`_flush`), unless a room's
    `fan_out` has sent it already. It goes on until no room has anything new.

    What belongs together: `connections` are all that have a socket. A guest of the doorman has no
    `member`; a member has a `home`, which knows it by its number.
    """

    def __init__(
        self,
        reactor: Reactor,
        listeners: Sequence[socket.socket],
        key: PrivateKey,
        console: Console,
        grace_seconds: float = GRACE_SECONDS,
        rate: float = RATE,
        pending: int = MAX_PENDING,
        pending_per_source: int = MAX_PENDING_PER_SOURCE,
        rules: RoomRules = _ANY_ROOM,
        access: Access | None = None,
        *,
        comes_back: bool = True,
        greeting: Greeting | None = None,
        operators: Operators | None = None,
        company: Company | None = None,
    ) -> None:
        """`pending`: connections that are not members yet, in all and of one source. `access`: who
        may come in; None: everybody, and no name is kept. `comes_back`: whether this server, when
        it is started anew, is the same to its clients, with the same key. `greeting`: what
        newcomers are told; None: the topic alone, for as long as the server runs. `operators`:
        which members are; None: none. `company`: the other servers; None: there are none."""
        self.reactor = reactor
        self.access = access or Access()
        self.greeting = greeting or Greeting()
        self.operators = operators or Operators()
        self.deadlines = Deadlines(reactor)
        self.budgets = Budgets(rate, grace_seconds, WINDOW_BYTES) if rate else None
        self.connections: set[Connection] = set()
        self.to_flush: set[Connection] = set()
        self.to_welcome: deque[tuple[Connection, int]] = deque()
        self._next_welcomes = WakeUp(reactor)
        self._busy: set[HostedRoom] = set()
        self._answers: list[tuple[Connection, CommandAnswer, bool]] = []
        """To members who gave a command, and whether each is an operator."""
        self._console = console
        self._grace_seconds = grace_seconds
        self._rules = rules
        self.company = company
        self.rooms = Rooms(rules, self._new_room)
        admission: Admission[Connection] = Admission(pending, pending_per_source)
        self.doorman = Doorman(self, self.connections, listeners, key, console, admission)
        self.starts_anew = False
        """Whether the program is to be started again when `run` returns."""
        self.on_end: Callable[[], None] = _note_nothing
        """Called when the server begins to end, and again if it is told so again."""
        self.comes_back = comes_back
        self._terminating = False
        reactor.patient_per_turn = PATIENT_PER_TURN
        reactor.before_wait(self._before_wait)
        reactor.before_wait(self.save_orders)

    def run(self) -> None:
        """Serve until terminated. If the server starts anew, the listening sockets stay open."""
        self.doorman.open()
        self._console.log.note(Event.STARTED)
        self.reactor.run()
        self._console.log.note(Event.STOPPED)
        for listener in () if self.starts_anew else self.doorman.listeners:
            listener.close()
        open_room = self.rooms.open_room
        for member in open_room.members() if open_room is not None else ():
            self.access.used(member.name, member.fingerprint, time.time())
        self.access.save()

    def _new_room(self, tag: bytes) -> HostedRoom:
        # Names are kept in the open room alone. In a sealed one they are its members' business, who
        # remember each other's keys, and no name may tell one room of another.
        note_name = self._note_name if tag == OPEN_ROOM else _note_nothing
        make = partial(
            HostedRoom,
            self.reactor,
            self._console,
            self._grace_seconds,
            self._busy,
            tag,
            note_name,
            self.greeting.encoded,
        )
        return make() if self.company is None else self.company.carry(make)

    def _note_name(self, member: Member, stays: bool) -> None:
        """A member has come and stays, or goes: its key keeps the name from now on."""
        if self.access.used(member.name, member.fingerprint, time.time(), stays=stays):
            self.reactor.call_at(self.reactor.clock() + NAMES_SAVE_SECONDS, self._save_names)

    def _save_names(self) -> None:
        if not self.access.save():
            self.reactor.call_at(self.reactor.clock() + NAMES_SAVE_SECONDS, self._save_names)

    # -- members come and go

    def admit(self, connection: Connection, client: Established) -> None:
        """A client whose key is proved comes in, or is refused."""
        refusal = self._refusal(client)
        if refusal is not None:
            connection.drop(refusal.REASON, words.not_admitted(refusal))
            return
        identity = client.identity
        try:
            room = self.rooms.of(identity.tag, connection.source)
        except RefusedError as error:
            connection.drop(error.reason, str(error))
            return
        arrival = Arrival(
            identity.name,
            client.public_key.digest,
            identity.card,
            client.resume,
            time.time(),
            connection.address,
            connection.source,
        )
        room.ordering.admit(arrival, connection)

    def admitted(self, connection: Connection) -> None:
        """A connection is a member's now, and no guest any more."""
        self.doorman.forget(connection)

    def _refusal(self, client: Established) -> Refusal | None:
        """Why a client may not come in, whatever its room says."""
        name, tag = client.identity.name, client.identity.tag
        refusal = self.access.admit(name, client.public_key, time.time())
        if isinstance(refusal, KeptName) and not self._is_kept_in(tag, name):
            return None
        return refusal

    def _is_kept_in(self, tag: bytes, name: str) -> bool:
        """Whether names are kept there, and nobody is in with this one: the room would know better
        whose it is. Who has it in another room does not matter."""
        open_room = self.rooms.open_room
        return tag == OPEN_ROOM and open_room is not None and not open_room.has(name)

    def operate(self, connection: Connection, command: str) -> None:
        """A member gives a command: obey and answer it if the member is an operator."""
        member = connection.member
        assert member is not None
        if self.operators.has(member.fingerprint):
            operator = Operator(member.name, fingerprint_of(member.fingerprint))
            answer, is_operator = self._console.command_from(operator, command), True
        else:
            answer, is_operator = refused(words.NOT_AN_OPERATOR), False
        self._answers.append((connection, answer, is_operator))
        if answer.then is not None:
            self._answer_operators()
            answer.then()

    def _answer_operators(self) -> None:
        """Answer the commands of members: at the end of a turn, or earlier if it is the last time.
        What they have changed is written before, all of it at once."""
        answers, self._answers = self._answers, []
        complaints = self._console.save_orders() if answers else []
        for connection, answer, is_operator in answers:
            lines = (*complaints, *answer.afar) if is_operator else answer.afar
            text = words.answer_in_a_message(lines, MAX_ANSWER_BYTES)
            connection.answer(Answer(answer.done, text))

    def connection_lost(self, connection: Connection, reason: Reason, text: str) -> None:
        """A connection is dropped (`Connection.drop`, the first step)."""
        self._answer_operators()
        member, home = connection.member, connection.home
        if self._terminating or reason is Reason.REPLACED:
            return
        if home is None:
            self.doorman.turn_away(connection, reason, text)
        elif member is not None:
            home.connection_lost(member, reason, text)

    def connection_closed(self, connection: Connection) -> None:
        """A connection's socket is closed (`Connection.drop`, the last step)."""
        self.connections.discard(connection)
        self.to_flush.discard(connection)
        self.doorman.forget(connection)
        self.doorman.end_pause()
        if self._terminating and not self.connections:
            self.reactor.stop()

    # -- the end of a turn

    def _before_wait(self) -> None:
        self._answer_operators()
        if self._terminating:
            return
        if self.company is not None:
            self.reactor.call(self.company.read)
        # What was said travels to the others and back while what they said is sent.
        self._tell_company()
        self._welcome_some()
        failed: set[HostedRoom] = set()
        while self._busy or self.to_flush:
            rooms = self._busy - failed
            self._busy.clear()
            failed |= self._send(rooms)
        # What was not done stays to be done, in the next turn.
        self._busy |= failed
        # While a welcome is left, the loop does not wait.
        self._next_welcomes.set(self.reactor.clock() if self.to_welcome else None)
        self._tell_company()

    def _tell_company(self) -> None:
        if self.company is not None:
            self.reactor.call(self.company.flush)

    def _welcome_some(self) -> None:
        """Send some of the long welcomes that were spliced in turns before."""
        size = 0
        while self.to_welcome and size < WELCOMED_BYTES_PER_TURN:
            connection, its_size = self.to_welcome.popleft()
            connection.welcome_waits = False
            if not connection.over:
                size += its_size
                self.reactor.call(connection.transport.flush)

    def _send(self, rooms: set[HostedRoom]) -> set[HostedRoom]:
        """Let these rooms send. Returns those that failed, which keeps no other from sending."""
        call = self.reactor.call
        sent = [room for room in rooms if not call(partial(self._fan_out, room))]
        self._flush()
        settled = {room for room in sent if not call(partial(self._settle, room))}
        return rooms - settled

    def _fan_out(self, room: HostedRoom) -> None:
        room.gather()
        room.fan_out()

    def _settle(self, room: HostedRoom) -> None:
        room.trim()
        if not room.settled:
            self._busy.add(room)
        elif room not in self._busy:
            room.prepare_wait()
            self.rooms.end(room)

    def _flush(self) -> None:
        while self.to_flush:
            self.reactor.call(self.to_flush.pop().transport.flush)

    # -- when this program is at fault

    def on_fault(self, answering: object, fault: Exception) -> float:
        """Deal with an exception that nobody foresaw, for the reactor: it is written down, and if a
        connection answers for it, that connection ends and no other."""
        connection = answering.owner if isinstance(answering, Transport) else answering
        closed = ""
        if isinstance(connection, Connection):
            closed = connection.member.name if connection.member else connection.address
        with contextlib.suppress(Exception):
            self._console.fault(fault, closed)
        if isinstance(connection, Connection):
            self._abandon(connection)
        return FAULT_PAUSE_SECONDS

    def _abandon(self, connection: Connection) -> None:
        """Drop a connection whose own `drop` may be what fails. Its first and its last steps are
        done, each whether or not another one fails; there is no farewell."""
        member, home = connection.member, connection.home
        for step in (
            partial(self.connection_lost, connection, Reason.LOST, "an error in the server"),
            connection.transport.close,
            partial(self.connection_closed, connection),
        ):
            try:
                step()
            except Exception as fault:
                with contextlib.suppress(Exception):
                    self._console.fault(fault)
        if member is not None and home is not None:
            home.abandon(member, connection)
        self.connections.discard(connection)
        self.to_flush.discard(connection)

    # -- what the operator can do

    @property
    def is_last(self) -> bool:
        """Whether no other server carries the rooms, so that its end is the end for everybody."""
        return self.company is None or self.company.alone

    def terminate(self) -> None:
        """Tell everybody that it is over, send what is queued, and stop. If the server ends
        already, for whatever reason: stop at once."""
        self._end(Reason.CLOSING)

    def pause(self) -> None:
        """The same, but tell everybody that the server is back in a moment: whoever ends this
        program is to start it again. Then the clients come back by themselves."""
        self._end(Reason.RESTARTING if self.comes_back else Reason.CLOSING)

    def restart(self) -> None:
        """The same, and start the program again: `run` returns, and `starts_anew` says so. Not if
        the server is ending for another reason."""
        self._end(Reason.RESTARTING, anew=True)

    def _end(self, reason: Reason, *, anew: bool = False) -> None:
        """The farewell is CLOSING or RESTARTING; RESTARTING also if another server carries the
        rooms, since they go on there.

        CLOSING is also the last event of each log. But where the logs are not this server's alone,
        even if no other one is there, nothing may be in one that the next server has not got. Then
        every connection is dropped without being cut (`Connection.drop`), so each transport sends
        the rest of the log and the farewell. From here on no room changes any more: no membership
        ends with its connection, and nothing is left for `_before_wait` to do. In particular no log
        must be trimmed, since slow members are still reading it. When the last connection is
        closed, the reactor stops.
        """
        self.starts_anew = anew and (self.starts_anew or not self._terminating)
        self.on_end()
        text = ""
        if self.company is not None and not self._terminating:
            if not self.is_last:
                reason, text = Reason.RESTARTING, words.ONE_ENDS
            self.reactor.call(partial(self._leave, self.company))
        if self._terminating or not self.connections:
            self.reactor.stop()
            return
        self._terminating = True
        self.doorman.close()
        if reason is Reason.CLOSING and self.company is None:
            for room in self.rooms:
                self.reactor.call(room.close)
        for connection in list(self.connections):
            # A stranger would only repeat the text, as something that nobody has proved.
            said = text if connection.member is not None else ""
            self.reactor.call(partial(connection.drop, reason, said))

    def _leave(self, company: Company) -> None:
        """The rooms go on elsewhere, and so do their members. None of them is to wait here until
        this server, or one that is started anew, takes the connection: they are refused."""
        company.leave()
        self.doorman.close()
        for listener in self.doorman.listeners:
            listener.close()

    def reload(self) -> None:
        """Read the lists again, and go on in the log file that has the name by now. None of these
        keeps the others from it if it fails."""
        for read_again in (self.access, self.greeting, self.operators, self._rules):
            self.reactor.call(read_again.refresh)
        self.reactor.call(self._console.log.reopen)
        self._console.news(words.RELOADED)

    def save_orders(self) -> None:
        """Write what operators have changed, here or at another server, since this was called last:
        at the end of each turn, and before an operator is told that it is done."""
        self.access.save_orders()
        self.greeting.save_orders()

    def ban(self, fingerprint: str, name: str, why: str) -> Ban:
        """Let a key in no more, and put out who has it."""
        ban = self.access.ban(fingerprint, name, why, time.time())
        self._console.log.note(Event.BANNED, fingerprint=fingerprint, name=name, text=ban.why)
        for room in self.rooms:
            room.ban(fingerprint, words.banned(ban))
        if self.company is not None:
            self.company.ban(ban)
        return ban

    def unban(self, which: str) -> list[Ban]:
        """Lift the bans of a name, or of a fingerprint (`Access.unban`)."""
        lifted = self.access.unban(which)
        if lifted and self.company is not None:
            self.company.unban(lifted)
        return lifted

    def forget(self, name: str) -> bool:
        """Free a name, at the other servers as well. Returns whether it was kept here."""
        if self.company is not None:
            self.company.forget(name)
        return self.access.forget(name)

    def keys_meant(self, argument: str) -> tuple[str, set[str], str] | None:
        """The name, the fingerprints of the keys that are meant, and the words after it. A name may
        have spaces, so the longest beginning that is one counts."""
        ends = [found.start() for found in re.finditer(r"\s+|$", argument)]
        for end in reversed([end for end in ends if end <= LONGEST_NAME_TYPED]):
            name, rest = argument[:end], argument[end:].strip()
            if digest_of(name) is not None:
                return "", {name}, rest
            if members := self.rooms.named(name):
                keys = {fingerprint_of(member.fingerprint) for member in members}
                return members[0].name, keys, rest
            if (use := self.access.use_of(name)) is not None:
                return use.name, {use.fingerprint}, rest
        return None

    def say(self, text: str) -> None:
        """Tell everybody in all rooms something."""
        if not self._terminating:
            for room in self.rooms:
                room.ordering.say(text)

    def set_topic(self, text: str) -> None:
        """Tell everybody in all rooms the topic; an empty text takes it away.

        Raises:
            UsageError: it is none (`Greeting.set_topic`).
        """
        topic = self.greeting.set_topic(text, time.time())
        if self.company is not None:
            self.company.set_topic(topic)
        if not self._terminating:
            for room in self.rooms:
                room.ordering.set_topic(topic)
