"""The server's end of one connection: its socket, its session, its deadline, its account.

A connection lives through these stages, and may end in each of them (`Connection.drop`):

    silent      HELLO is out. Until the client's first frame is whole, the connection makes room for
                others when a place is needed (`Doorman`).
    waiting     The first frame is there. To look into it costs about a millisecond, so the
                connection waits for its turn. Of what comes meanwhile only one read is kept.
    proving     PUBKEY was good, SESSION_KEY is out. READY or RESUME proves the client's key. Until
                then the connection makes room for others again.
    arriving    The key is proved. If the key or the source comes too often, there is a wait.
    a member    The server has admitted it: `member` is set. When the member is welcomed, the cursor
                begins to follow the log.
    finishing   Dropped. The farewell leaves, and what arrives is thrown away.

A connection throttles itself. What a client sends is charged to its account, and while that is
overdrawn the socket is not read. So TCP slows down a client that sends too much; nothing that it
says is lost, and nobody else waits for it.
"""

import os
import socket
from collections import deque
from functools import partial
from itertools import count
from typing import Protocol

from chat import journal
from chat.controls import Answer, Operate, Ping
from chat.errors import SERVER_ENDS, Reason
from chat.limits import (
    LINGER_SECONDS,
    LONG_WELCOME_BYTES,
    MAX_ARRIVAL_WAIT_SECONDS,
    MAX_HANDSHAKE_FRAME_BYTES,
    MAX_SPLICES,
    READ_BYTES,
)
from chat.reactor import Reactor
from chat.server import words
from chat.server.budgets import Account, Budgets
from chat.server.deadlines import Deadlines
from chat.server.log import Cursor, OrderedLog, Sealed
from chat.server.members import Member
from chat.server.room import Unicast
from chat.session import (
    ControlReceived,
    Ended,
    Established,
    Offer,
    ServerSession,
    SessionEvent,
    SubmitReceived,
)
from chat.transport import Transport


class Hub(Protocol):
    """What a connection needs of the server."""

    reactor: Reactor
    deadlines: Deadlines
    budgets: Budgets | None
    to_flush: set["Connection"]
    """Connections that have something to send at the end of the turn."""
    to_welcome: deque[tuple["Connection", int]]
    """Connections whose long welcome, of so many bytes, waits to be sent: a few in each turn."""

    def admit(self, connection: "Connection", client: Established) -> None:
        """Let a client in whose key is proved (`Connection.admitted`), or drop the connection."""

    def admitted(self, connection: "Connection") -> None:
        """A connection is a member's now."""

    def operate(self, connection: "Connection", command: str) -> None:
        """A member gives a command: obey and answer it if the member is an operator."""

    def connection_lost(self, connection: "Connection", reason: Reason, text: str) -> None:
        """A connection ends: do what that means for the room."""

    def connection_closed(self, connection: "Connection") -> None:
        """A connection's socket is closed: forget the connection."""


class Home(Protocol):
    """What a member's connection needs of its room."""

    log: OrderedLog

    @property
    def window_guarded(self) -> bool:
        """Whether some member may still need what falls out of the log's window next."""

    def submit(self, member: Member, run: bytes, now: float, connection: "Connection") -> None:
        """A run of MESSAGE frames has come: `relayed` or `drop` is called when the room has looked
        at it."""

    def connection_lost(self, member: Member, reason: Reason, text: str) -> None:
        """The member's connection is dropped."""

    def check(self) -> bytes:
        """The control message that tells the running hash at the end of the log."""

    def abandon(self, member: Member, connection: "Connection") -> None:
        """The member's connection could not be dropped in order."""


class Places(Protocol):
    """What a connection needs of the doorman."""

    def await_turn(self, connection: "Connection") -> None:
        """The first frame is there. See to it that `take_turn` is called when it is this
        connection's turn."""

    def await_arrival(self, connection: "Connection") -> None:
        """The client's key is proved, and the connection waits to be let in."""


_numbers = count(1)


class Connection:
    """See the module's text. `address` is for people, and limits go by `source`
    (`sockets.source_of`). `client`: who waits to be let in, and has proved its key. `home` is the
    room into which it was admitted, even when it is no member any more. `spoke`: something has
    arrived. `over`: it was dropped, or is closed. `welcome_waits`: it is in the hub's `to_welcome`,
    and is sent nothing before its turn."""

    __slots__ = (
        "_account",
        "_hub",
        "_places",
        "_read_again_at",
        "_round",
        "_serial",
        "_spliced",
        "_unread",
        "address",
        "client",
        "cursor",
        "home",
        "member",
        "over",
        "session",
        "source",
        "spoke",
        "transport",
        "welcome_waits",
    )

    def __init__(
        self,
        hub: Hub,
        places: Places,
        offer: Offer,
        connected: socket.socket,
        address: str,
        source: str,
    ) -> None:
        """Nothing happens before `open`."""
        now = hub.reactor.clock()
        self._hub = hub
        self._serial = next(_numbers)
        self._places = places
        self._read_again_at = now
        self._spliced = False
        self._round = 0
        self._unread = b""
        self._account: Account | None = None
        self.address = address
        self.source = source
        self.spoke = self.over = self.welcome_waits = False
        self.home: Home | None = None
        self.member: Member | None = None
        self.client: Established | None = None
        self.session = ServerSession(offer, os.urandom, now)
        self.session.note = journal.notes_about(self._title)
        self.cursor = Cursor()
        self.transport = Transport(hub.reactor, connected, self.cursor, self, patient=True)
        # This bounds what a guest makes us keep, and there may be many guests.
        self.transport.read_bytes = MAX_HANDSHAKE_FRAME_BYTES

    @property
    def _title(self) -> str:
        return f"connection {self._serial}"

    def _note(self, what: str) -> None:
        journal.note(self._title, what)

    def open(self) -> None:
        """Say HELLO, and wait for what comes."""
        self._note(f"accepted from {self.address}, sends Hello")
        self._round = self._hub.deadlines.enter(self, self.session.deadline)
        self.send_session_data()

    # -- what arrives

    def received(self, data: bytes) -> None:
        self.spoke = True
        if self._unread:
            # More than the first frame, before its turn: keep this, and read no further.
            self._unread += data
            self.transport.pause_reading()
        elif self.session.completes_first_frame(data):
            self._unread = data
            self._note("waits for its turn")
            self._places.await_turn(self)
        else:
            now = self._hub.reactor.clock()
            if self._account is not None and self._window_guarded:
                # As it is read, not when it is whole: a SUBMIT may be long, and a client may have
                # many connections.
                self._account.fill_window(len(data), now)
            self._handle(self.session.receive(data, now), now)
            self._throttle(now)

    def take_turn(self) -> None:
        """Look into the first frame."""
        if self.over:
            return
        data, self._unread = self._unread, b""
        self.transport.resume_reading()
        now = self._hub.reactor.clock()
        self._handle(self.session.receive(data, now), now)

    def receive_eof(self) -> None:
        self._handle(self.session.receive_eof(), self._hub.reactor.clock())

    def on_time(self) -> None:
        """The session's deadline has passed, or was moved."""
        if self.over:
            return
        now = self._hub.reactor.clock()
        if now < self._read_again_at:
            # While we do not read we cannot know whether the client is silent.
            self.session.note_activity(self._read_again_at)
        self._handle(self.session.tick(now), now)
        if not self.over:
            self._round = self._hub.deadlines.enter(self, self.session.deadline)

    def _handle(self, events: list[SessionEvent], now: float) -> None:
        """Do what the session says. An event may end the connection; the others are void then."""
        for event in events:
            if self.over:
                return
            match event:
                case SubmitReceived(run):
                    self._relay(run, now)
                case Established():
                    self._arrive(event, now)
                case ControlReceived(Ping()):
                    if self._account is not None:
                        self._account.say(1, 0, now)
                case ControlReceived(Operate(command)) if self.member is not None:
                    if self._account is not None:
                        self._account.say(1, len(command), now)
                    self._hub.operate(self, command)
                case ControlReceived(control):
                    self.drop(Reason.PROTOCOL, f"a {type(control).__name__} is out of place")
                case Ended(by_peer=True):
                    self.drop(Reason.LEFT)
                case Ended(reason, text):
                    self.drop(reason, text)
        self.send_session_data()

    def _arrive(self, client: Established, now: float) -> None:
        """Come in: at once or, if the key or the source comes too often, after a wait."""
        self.client = client
        transport, budgets = self.transport, self._hub.budgets
        transport.read_bytes = READ_BYTES if budgets is None else budgets.read_bytes
        transport.patient = False
        transport.resume_reading()
        if budgets is None:
            self._enter(client)
            return
        account = self._account = budgets.open(client.public_key.digest, self.source, now)
        wait = account.arrive(now)
        if wait > MAX_ARRIVAL_WAIT_SECONDS:
            account.take_back_arrival(now)
            self.drop(Reason.LOST, words.COMES_TOO_OFTEN)
        elif wait > 0:
            self._places.await_arrival(self)
            self._hold(wait, now)
            self._hub.reactor.call_at(now + wait, partial(self._enter, client))
        else:
            self._enter(client)

    def _enter(self, client: Established) -> None:
        if self.over:
            return
        self._hub.admit(self, client)

    def admitted(self, sent_again: int) -> None:
        """The room has let the client in: `member` is set. So many bytes are sent a second time."""
        assert self.member is not None
        self.client = None
        self._hub.admitted(self)
        self._note(f"is member {self.member.id}, {sent_again} bytes are sent again")
        if self._account is not None:
            self._account.resend(sent_again, self._hub.reactor.clock())

    @property
    def _window_guarded(self) -> bool:
        return self.home is not None and self.home.window_guarded

    def _relay(self, run: bytes, now: float) -> None:
        home, member = self.home, self.member
        if home is None or member is None:
            self.drop(Reason.PROTOCOL, "a message before the welcome")
            return
        home.submit(member, run, now, self)

    def relayed(self, size: int, count: int, appended: int) -> None:
        """A run of so many bytes has been looked at: so many messages were appended, and so many
        bytes."""
        if self._account is not None:
            # The account goes by this server's clock, and the room perhaps by another one.
            now = self._hub.reactor.clock()
            void = size - appended
            # To open a SUBMIT and to refuse what is in it is work as well.
            self._account.say(max(count, 1), appended, now, void=void)
            if self._window_guarded:
                # It was charged when it was read, and is not in the log.
                self._account.fill_window(-void, now)

    # -- how fast

    def _throttle(self, now: float) -> None:
        """Read no further until the account is repaid."""
        if self._account is not None and not self.over:
            guarded = self._window_guarded
            self._hold(self._account.hold_seconds(now, window_guarded=guarded), now)

    def hold(self, seconds: float) -> None:
        """Read no further for so long."""
        self._hold(seconds, self._hub.reactor.clock())

    def _hold(self, seconds: float, now: float) -> None:
        """The same, from `now` on."""
        if seconds > 0 and now + seconds > self._read_again_at:
            self._read_again_at = now + seconds
            self._note(f"is not read for {seconds:.3f} s")
            self.transport.pause_reading()
            self._hub.reactor.call_at(self._read_again_at, self._read_again)

    def _read_again(self) -> None:
        # The pause may have become longer since.
        if self._hub.reactor.clock() >= self._read_again_at:
            self.transport.resume_reading()

    # -- what is sent

    def deliver(self, unicast: Unicast) -> None:
        """Send the member what is for it alone. The first that it is sent is a WELCOME or RESUMED:
        that is where its stream begins to follow the log."""
        if not self.cursor.following:
            assert self.home is not None
            self.cursor.follow(self.home.log, unicast.at)
        size = sum(map(len, unicast.controls))
        if size > LONG_WELCOME_BYTES and not self.welcome_waits:
            self.welcome_waits = True
            self._hub.to_welcome.append((self, size))
        self._splice(Sealed(self.session.seal, *unicast.controls), unicast.at)

    def _splice(self, sealed: Sealed, at: int) -> None:
        """Put something into this connection's stream, to be sent at the end of the turn. A client
        that has not taken too many of these is dropped."""
        self.cursor.splice(sealed, at)
        if not self.welcome_waits:
            self._hub.to_flush.add(self)
        if self.cursor.splices > MAX_SPLICES:
            self.drop(Reason.TOO_SLOW)

    def answer(self, answer: Answer) -> None:
        """Answer the member's command, behind all that is in the log by now."""
        if not self.over:
            self.session.send(answer.encode())
            self.send_session_data()

    def send_session_data(self) -> None:
        """Send what the session has to say, behind all that is in the log by now."""
        if self.session.has_data_to_send and not self._spliced:
            self._spliced = True
            self._splice(Sealed(self._session_data), self._log_end)

    @property
    def _log_end(self) -> int:
        """Where a splice belongs that comes behind all that is in the log by now."""
        return 0 if self.home is None else self.home.log.end

    def _session_data(self) -> bytes:
        # One splice takes all that the session has to say by the time at which it leaves.
        self._spliced = False
        return self.session.data_to_send()

    # -- the end

    def drop(self, reason: Reason, text: str = "") -> None:
        """End this connection, in whatever stage it is. All endings come here; what comes after the
        first does nothing. `text` says more than the reason alone.

        1. The server hears of it (`connection_lost`). The room keeps the member's place or gives it
           up, and needs `member` and `cursor` for that as they are now.
        2. The cursor is cut at the end of the frame that is half sent. When the server ends,
           it is not: then every member is sent the rest of the log before the farewell.
        3. The farewell is spliced in at the very end: BYE on the link, or REFUSED where there is no
           link yet. If the stream goes to the end of the log, CHECK comes before it, but not if the
           cut has thrown something away, since that may be the WELCOME or a new key. The session
           says BYE only when its turn has come. Otherwise an answer to PING that still waits amid
           the log would take the farewell with it.
        4. The transport sends what is left, and closes: when the client has closed, too, or after
           LINGER_SECONDS. From here on nothing that arrives reaches this object.
        5. `closed`, perhaps at once: deadlines, account and server forget the connection.
        """
        if self.over:
            return
        self._note(f"dropped, {reason.name}")
        self._hub.connection_lost(self, reason, text)
        home, cursor = self.home, self.cursor
        check = b""
        if cursor.following:
            assert home is not None
            log = home.log
            cuts = bool(cursor.splices) or log.entry_end(cursor.offset) != log.end
            if reason in SERVER_ENDS or not cuts:
                check = home.check()
        if reason not in SERVER_ENDS:
            cursor.cut()

        def farewell() -> bytes:
            if check:
                self.session.send(check)
            self.session.close(reason, text)
            return self.session.data_to_send()

        self.over = True
        cursor.splice(Sealed(farewell), self._log_end)
        self.transport.finish(LINGER_SECONDS)

    def closed(self) -> None:
        self._note("closed")
        self.over = True
        self._hub.deadlines.leave(self, self._round)
        if self._account is not None and self._hub.budgets is not None:
            account, self._account = self._account, None
            self._hub.budgets.close(account, self._hub.reactor.clock())
        self._hub.connection_closed(self)
