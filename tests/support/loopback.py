"""Whole servers and clients on one reactor, joined by the loopback, whose turns the tests take.

`Hall` is a real server with an operator, `Wire` a bare connection, `Peer` a member that can do
everything wrong, `Seat` a real client with somebody in front of it, and `Cable` what can be cut.
"""

import contextlib
import os
import socket
import struct
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import chat.sockets
from chat.client.client import Client, Trust
from chat.client.contacts import Store
from chat.client.events import ClientEvent, Entered, MessageReceived
from chat.client.participant import Participant
from chat.controls import Answer, Bye, Control, Resend, Submit, Welcome
from chat.errors import Reason, TransportError
from chat.introduction import Introduction
from chat.kex import PublicKey, RoomKey
from chat.limits import RATE
from chat.place import Endpoint
from chat.reactor import Callback, Reactor
from chat.server.access import Access
from chat.server.connection import Connection
from chat.server.console import Console
from chat.server.desk import PlainDesk
from chat.server.hosted import HostedRoom
from chat.server.rooms import OPEN_ROOM, RoomRules
from chat.server.server import Server
from chat.session import (
    ClientSession,
    ControlReceived,
    Ended,
    Established,
    HelloReceived,
    RoomFramesReceived,
    SessionEvent,
    State,
)
from chat.several import SeveralServers
from chat.sockets import Dialer, Way
from chat.stdio import LineOutput
from chat.ui.plain import LineView
from chat.ui.style import Painter
from chat.wire import Message
from tests.support.helpers import FakeClock, key

MOMENT = 0.001
"""For how long a turn waits for the kernel to carry something over."""

STEP = 0.005
"""By how much the clock of a `SteppedReactor` goes on with each turn."""

MANY_TURNS = 5000


def listen(host: str, port: int) -> socket.socket:
    """A listening socket for a host that means one address."""
    (listener,) = chat.sockets.listen(host, port)
    return listener


def until(reactor: Reactor, condition: Callable[[], object]) -> None:
    """Take turns until the condition holds."""
    for _ in range(MANY_TURNS):
        if condition():
            return
        reactor.turn(MOMENT)
    raise AssertionError("it did not come to that")


class NotRunError(Exception):
    """Somebody would have run the reactor; the test takes its turns instead."""


class SteppedReactor(Reactor):
    """A reactor for tests: its clock goes on a little with each turn. `run` does not begin, or
    when it `may_run`, begins with the `story`, which takes turns itself, and does not go on for
    ever."""

    def __init__(self) -> None:
        self.time = FakeClock()
        super().__init__(self.time)
        self.may_run = False
        self.story: Callback = lambda: None
        self._turns = 0
        self._script: list[tuple[Callable[[], object], Callback]] = []
        self.before_wait(self._follow_script)

    def when(self, condition: Callable[[], object], action: Callback) -> None:
        """As soon as the condition holds, and everything before this has been done, do this."""
        self._script.append((condition, action))

    def _follow_script(self) -> None:
        if self._script and self._script[0][0]():
            _, action = self._script.pop(0)
            action()

    def turn(self, timeout: float | None = None) -> None:
        if self.may_run:
            self._turns += 1
            assert self._turns < MANY_TURNS, "it runs for ever"
        super().turn(MOMENT if timeout is None else timeout)
        self.time.advance(STEP)

    def run(self) -> None:
        if not self.may_run:
            raise NotRunError
        self._turns = 0
        self._running = True
        try:
            self.story()
            while self._running:
                self.turn()
        finally:
            self.may_run = False


class Screen:
    """A LineOutput to a file, and what stands there."""

    def __init__(self, reactor: Reactor) -> None:
        self._file, path = tempfile.mkstemp()
        os.unlink(path)
        self._start = 0
        self.output = LineOutput(reactor, self._file, "utf-8")

    def lines(self) -> list[str]:
        """The lines that were shown since `clear`."""
        data = os.pread(self._file, 1 << 28, self._start)
        return data.decode().split("\n")[:-1]

    def clear(self) -> None:
        """Take away what stands there."""
        self._start = os.fstat(self._file).st_size

    def close(self) -> None:
        os.close(self._file)


class Wire:
    """One end of a connection, without a protocol."""

    def __init__(self, reactor: Reactor, connected: socket.socket) -> None:
        connected.setblocking(False)
        self.reactor = reactor
        self.socket = connected
        self.received = bytearray()
        self.eof = False
        self._unsent = b""
        self.listen()

    @property
    def name(self) -> str:
        """This end's address, as the other end shows it."""
        host, port = self.socket.getsockname()[:2]
        return f"{host}:{port}"

    def send(self, data: bytes) -> None:
        """Send as the other end takes it."""
        self._unsent += data
        self._on_writable()

    @property
    def unsent(self) -> int:
        return len(self._unsent)

    def _write(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while self._unsent:
                self._unsent = self._unsent[self.socket.send(self._unsent) :]
        self.reactor.watch_write(self.socket.fileno(), self._on_writable if self._unsent else None)

    def _on_writable(self) -> None:
        with contextlib.suppress(ConnectionError):
            self._write()
            return
        self._unsent = b""
        self.reactor.watch_write(self.socket.fileno(), None)

    def deafen(self) -> None:
        """Read nothing from now on."""
        self.reactor.watch_read(self.socket.fileno(), None)

    def listen(self) -> None:
        """Read again."""
        self.reactor.watch_read(self.socket.fileno(), self._on_readable)

    def _on_readable(self) -> None:
        try:
            data = self.socket.recv(1 << 16)
        except ConnectionError:
            data = b""
        if data:
            self.take(data)
        else:
            self.eof = True
            self.reactor.watch_read(self.socket.fileno(), None)

    def take(self, data: bytes) -> None:
        """These bytes arrived."""
        self.received += data

    def shut_down(self) -> None:
        """Send no more, but go on reading."""
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Go away with a RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    @property
    def closed(self) -> bool:
        return self.socket.fileno() < 0

    def close(self) -> None:
        if not self.closed:
            self.reactor.unwatch(self.socket.fileno())
            self.socket.close()


def dial(address: tuple[str, int], source: str = "") -> socket.socket:
    """A connected socket with a small receive buffer, so that a slow reader is noticed soon."""
    connected = socket.socket()
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    if source:
        connected.bind((source, 0))
    connected.connect(address)
    return connected


class Peer(Wire):
    """A client without a terminal, whose test can reach into everything. `earlier` is the same
    member on the connection before this one, which is `replaced`."""

    def __init__(
        self,
        reactor: Reactor,
        connected: socket.socket,
        name: str,
        key_name: str = "ira",
        earlier: "Peer | None" = None,
        *,
        room_key: RoomKey | None = None,
        caller: bool = False,
    ) -> None:
        self.name_in_room = name
        self.key_name = key_name
        if earlier is None:
            self.me = Introduction.fresh(name, key(key_name), os.urandom, room_key, caller=caller)
            self.participant = Participant(os.urandom, name, room_key, self.me.share)
        else:
            self.participant, self.me = earlier.participant, earlier.me
        first, me = self.participant.first_control(), self.me
        self.session = ClientSession(me, first, os.urandom, reactor.clock(), time.time)
        self.controls: list[Control] = []
        self.events: list[ClientEvent] = earlier.events if earlier else []
        self.ended: Ended | None = None
        self.ready = True
        self.replaced = False
        super().__init__(reactor, connected)

    def take(self, data: bytes) -> None:
        super().take(data)
        for event in self.session.receive(data, self.reactor.clock()):
            self._handle(event)
        self.flush()

    def _handle(self, event: SessionEvent) -> None:
        now = self.reactor.clock()
        match event:
            case HelloReceived(server_key):
                self.participant.meet(server_key)
                self.session.trust()
            case Established():
                if not self.ready:
                    self.session.data_to_send()
            case ControlReceived(control):
                self.controls.append(control)
                # An answer to a command is the client's business.
                if self.replaced or isinstance(control, Answer):
                    return
                self.events += self.participant.receive_control(control, now)
            case RoomFramesReceived(frame_type, run) if not self.replaced:
                self.events += self.participant.receive_frames(frame_type, run)
            case Ended():
                self.ended = event

    def flush(self) -> None:
        """Send what the session and the participant have to say."""
        for run in () if self.replaced else self.participant.data_to_send():
            self.session.send(Submit(run).encode())
        self.send(self.session.data_to_send())

    def say(self, *texts: str) -> None:
        """Say something, as one should."""
        for text in texts:
            self.participant.say(text, int(time.time() * 1000))
        self.flush()

    def send_control(self, encoded: bytes) -> None:
        """Seal a control message and send it."""
        self.session.send(encoded)
        self.flush()

    @property
    def welcome(self) -> Welcome:
        """What the server told us when it let us in on this connection."""
        (welcome,) = (control for control in self.controls if isinstance(control, Welcome))
        return welcome

    @property
    def resends(self) -> list[int]:
        """From which numbers on the server asked for messages again."""
        return [control.seq for control in self.controls if isinstance(control, Resend)]

    @property
    def heard(self) -> list[str]:
        """What was said, by ourselves too."""
        return [
            f"{said.name}: {said.text}" for said in self.events if isinstance(said, MessageReceived)
        ]

    @property
    def news(self) -> list[ClientEvent]:
        """What happened after we were in, but for what was said."""
        return [event for event in self.events if not isinstance(event, MessageReceived | Entered)]

    def frame(
        self, epoch: int = 0, sender: int = 0, seq: int = 1, sealed: bytes = bytes(96)
    ) -> bytes:
        """A message of our own making; by default in our name and under our first key."""
        return Message(
            epoch or self.welcome.epoch, sender or self.welcome.member, seq, sealed
        ).to_wire()


_ANY_ROOM = RoomRules()


class Hall:
    """A server on the loopback, its console, and everybody who came."""

    def __init__(
        self,
        *listeners: socket.socket,
        rate: float = RATE,
        rules: RoomRules = _ANY_ROOM,
        access: Access | None = None,
        beside: "Hall | None" = None,
    ) -> None:
        """`beside`: a hall whose reactor this one shares, and which closes after it."""
        self._beside = beside
        self.reactor: SteppedReactor = SteppedReactor() if beside is None else beside.reactor
        self.listener, *others = listeners or (listen("127.0.0.1", 0),)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
        host, port = self.listener.getsockname()[:2]
        self.address: tuple[str, int] = (host, port)
        self.screen = Screen(self.reactor)
        self._source, self._hand = os.pipe()
        self.console = Console(
            self.reactor, PlainDesk(self.reactor, self._source, self.screen.output)
        )
        listening = [self.listener, *others]
        self.server = Server(
            self.reactor,
            listening,
            key("server"),
            self.console,
            rate=rate,
            rules=rules,
            access=access,
        )
        self.console.obey(self.server)
        self._guests: list[Wire | Seat | Cable] = []
        self.contains_faults = False
        """Whether faults of the server are dealt with as in the program; otherwise they are raised,
        so that no test passes over them."""
        self.reactor.on_fault = self._on_fault
        with contextlib.suppress(NotRunError):
            self.server.run()

    def _on_fault(self, answering: object, fault: Exception) -> float:
        if not self.contains_faults:
            raise fault
        return self.server.on_fault(answering, fault)

    @property
    def home(self) -> HostedRoom:
        """The open room."""
        return self.server.rooms.of(OPEN_ROOM, "")

    def until(self, condition: Callable[[], object]) -> None:
        """Take turns until the condition holds."""
        until(self.reactor, condition)

    def turns(self, count: int) -> None:
        """Take some turns."""
        for _ in range(count):
            self.reactor.turn()

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.reactor.time.advance(seconds)
        self.turns(2)

    def when(self, condition: Callable[[], object], action: Callback) -> None:
        """As soon as the condition holds, and everything before this has been done, do this."""
        self.reactor.when(condition, action)

    def type(self, line: str) -> None:
        """Type a line at the server's console."""
        os.write(self._hand, line.encode() + b"\n")

    def shown(self, line: str) -> bool:
        """Whether the console shows this line."""
        return line in self.screen.lines()

    def connect(self) -> Wire:
        """A connection of which nothing is known yet."""
        wire = Wire(self.reactor, dial(self.address))
        self._guests.append(wire)
        return wire

    def greeted(self) -> Wire:
        """A stranger to whom HELLO was sent."""
        stranger = self.connect()
        self.until(lambda: stranger.received)
        return stranger

    def farewell_to(self, peer: "Peer") -> Ended:
        """What the server says when it ends this connection."""
        self.until(lambda: peer.eof)
        assert peer.ended is not None
        return peer.ended

    def knock(
        self,
        name: str,
        key_name: str = "ira",
        source: str = "",
        room_key: RoomKey | None = None,
        *,
        caller: bool = False,
    ) -> Peer:
        """Somebody who begins to join, from an address if that matters, a sealed room or the open
        one."""
        dialled = dial(self.address, source)
        peer = Peer(self.reactor, dialled, name, key_name, room_key=room_key, caller=caller)
        self._guests.append(peer)
        return peer

    def unproved(self, name: str, key_name: str = "ira", source: str = "") -> Peer:
        """Somebody who has come as far as READY, and has not said it."""
        peer = self.knock(name, key_name, source)
        peer.ready = False
        self.until(lambda: peer.session.state is State.RELAY)
        assert peer.session._link is not None
        peer.session._link._sent = 0
        return peer

    def join(
        self,
        name: str,
        key_name: str = "ira",
        room_key: RoomKey | None = None,
        *,
        caller: bool = False,
    ) -> Peer:
        """A member of the open room, or of a sealed one."""
        peer = self.knock(name, key_name, room_key=room_key, caller=caller)
        self.until(lambda: peer.participant.has_joined or peer.ended)
        assert peer.ended is None
        return peer

    def come_back(self, lost: Peer) -> Peer:
        """A member on a new connection, as soon as the server has answered; the old one may still
        be there."""
        lost.participant.disconnect()
        lost.replaced = True
        name, key_name = lost.name_in_room, lost.key_name
        peer = Peer(self.reactor, dial(self.address), name, key_name, lost)
        self._guests.append(peer)
        self.until(lambda: peer.participant.can_send or peer.ended)
        return peer

    def seat(
        self,
        name: str,
        key_name: str = "ira",
        *,
        address: tuple[str, int] | None = None,
        **options: Any,
    ) -> "Seat":
        """A client that is not yet connected."""
        seat = Seat(self.reactor, address or self.address, name, key_name, **options)
        self._guests.append(seat)
        return seat

    def cable(self) -> "Cable":
        """A way to the server that can be cut."""
        cable = Cable(self.reactor, self.address)
        self._guests.append(cable)
        return cable

    def close(self) -> None:
        for guest in self._guests:
            guest.close()
        # The server's end of each of them notices.
        until(self.reactor, lambda: not self.server.connections)
        if self._beside is None:
            self.reactor.close()
        for listener in self.server.doorman.listeners:
            listener.close()
        self.screen.close()
        os.close(self._source)
        os.close(self._hand)


class Company:
    """Two members of good conduct, who must not notice what goes on around them."""

    def __init__(self, hall: Hall) -> None:
        self.hall = hall
        self.ira = hall.join("Ira")
        self.sahnawaz = hall.join("sahnawaz", "sahnawaz")
        hall.until(lambda: self.ira.news)
        hall.screen.clear()
        self.news: list[object] = list(self.ira.news)
        self._said = 0

    def talk(self) -> None:
        """Both say something; both hear both, once and in the same order."""
        self._said += 1
        said = [f"Ira: hello {self._said}", f"sahnawaz: good day {self._said}"]
        expected = len(self.ira.heard) + 2
        self.ira.say(f"hello {self._said}")
        self.sahnawaz.say(f"good day {self._said}")
        self.hall.until(lambda: len(self.ira.heard) == len(self.sahnawaz.heard) == expected)
        assert self.ira.heard == self.sahnawaz.heard
        assert sorted(self.ira.heard[-2:]) == said
        assert self.ira.participant.unacknowledged == 0
        assert self.sahnawaz.participant.unacknowledged == 0

    def assert_undisturbed(self) -> None:
        """They still talk, and have noticed nothing at all."""
        self.noticed()

    def noticed(self, *news: object) -> None:
        """They still talk, and have noticed this since the last time."""
        self.news += news
        self.hall.until(lambda: self.ira.news == self.news)
        self.talk()
        assert self.ira.news == self.news
        assert self.sahnawaz.news == self.news[1:]
        assert (self.ira.ended, self.sahnawaz.ended) == (None, None)


def connection_of(hall: Hall, name: str) -> Connection:
    """The server's end of a member's connection."""
    (connection,) = (
        connection
        for connection in hall.server.connections
        if connection.member is not None and connection.member.name == name
    )
    return connection


def lose(hall: Hall, peer: Peer) -> None:
    """This member's connection breaks, and the server sees it."""
    membership = peer.participant._membership
    assert membership is not None
    (member,) = (
        room.room.members[membership.id]
        for room in hall.server.rooms
        if room.room.id == membership.room
    )
    peer.reset()
    hall.until(lambda: member.lost)


def leave(hall: Hall, peer: Peer) -> None:
    """This member leaves, so that the others get a new key."""
    peer.send_control(Bye(Reason.LEFT, "").encode())
    hall.until(lambda: peer.eof)


def flood(hall: Hall, peer: Peer, size: int) -> int:
    """Let a member say so many bytes in long messages, and hear them all; how many they were."""
    count = size // 8000 + 1
    for _ in range(count):
        peer.say("x" * 8000)
        hall.until(lambda: not peer.participant.unacknowledged)
    return count


class Cable:
    """A way to an address, which can be cut, unplugged and frozen."""

    def __init__(self, reactor: Reactor, target: tuple[str, int]) -> None:
        self._reactor = reactor
        self.target = target
        self._listener = listen("127.0.0.1", 0)
        host, port = self._listener.getsockname()[:2]
        self.address: tuple[str, int] = (host, port)
        self._pairs: list[tuple[CableEnd, CableEnd]] = []
        self._unheeded: socket.socket | None = None
        self._watch()

    def _watch(self) -> None:
        self._reactor.watch_read(self._listener.fileno(), self._on_connection)

    def _on_connection(self) -> None:
        connected, _ = self._listener.accept()
        near = CableEnd(self._reactor, connected)
        far = CableEnd(self._reactor, dial(self.target))
        near.other, far.other = far, near
        self._pairs.append((near, far))

    @property
    def carried(self) -> int:
        """How many bytes came from whoever dialled the last connection."""
        return len(self._pairs[-1][0].received)

    def cut(self) -> None:
        """Both ends of every connection see that it is gone."""
        for near, far in self._pairs:
            near.close()
            far.close()

    def freeze(self) -> None:
        """Nobody sees anything: what is sent is swallowed, and nothing comes any more."""
        for near, far in self._pairs:
            near.other = far.other = None

    def hang(self) -> None:
        """What it leads to hangs: the kernel takes connections, and nothing comes over any."""
        self.freeze()
        self._unheeded = listen("127.0.0.1", 0)
        self.target = self._unheeded.getsockname()[:2]

    def unplug(self) -> None:
        """Cut it; who dials is refused."""
        self.cut()
        if self._listener.fileno() >= 0:
            self._reactor.unwatch(self._listener.fileno())
            self._listener.close()

    def plug(self) -> None:
        """Be there again, at the same address."""
        self._listener = listen(*self.address)
        self._watch()

    def close(self) -> None:
        self.unplug()
        if self._unheeded is not None:
            self._unheeded.close()


class CableEnd(Wire):
    """One end of what a cable carries."""

    other: "CableEnd | None" = None

    def take(self, data: bytes) -> None:
        super().take(data)
        if self.other is not None and not self.other.closed:
            self.other.send(data)

    def _on_readable(self) -> None:
        super()._on_readable()
        if self.eof and self.other is not None:
            self.other.close()
            self.close()


REFUSED = "connection refused"


class NotedDialer(Dialer):
    """A dialer that notes when it was asked to dial, and may find nobody."""

    def __init__(self, reactor: Reactor, host: str, port: int) -> None:
        super().__init__(reactor, host, port)
        self.dialled: list[float] = []
        self.refused: Iterator[bool] = iter(())
        """Whether the next dials are refused, one after the other; then none is."""

    def dial(
        self,
        on_connected: Callable[[socket.socket], None],
        on_failed: Callable[[TransportError], None],
    ) -> None:
        self.dialled.append(self._reactor.clock())
        if next(self.refused, False):
            on_failed(TransportError(REFUSED))
        else:
            super().dial(on_connected, on_failed)


class Seat:
    """A real client, somebody who types, and a screen."""

    def __init__(
        self,
        reactor: SteppedReactor,
        address: tuple[str, int],
        name: str,
        key_name: str = "ira",
        *,
        on_terminal: bool = False,
        patience: float | None = None,
        room_key: RoomKey | None = None,
        members: Store | None = None,
        caller: bool = False,
        persistent: bool = False,
        others: Sequence[tuple[str, int]] = (),
    ) -> None:
        """`others`: the addresses of more servers."""
        self._reactor = reactor
        self.screen = Screen(reactor)
        if on_terminal:
            self._hand, self._source = os.openpty()
        else:
            self._source, self._hand = os.pipe()
        self.trust: Trust = lambda _key: None
        self.dialer = NotedDialer(reactor, *address)
        self.dialers = {Endpoint(*address): self.dialer}
        way: Way = self.dialer
        if others:
            self.dialers |= {Endpoint(*one): NotedDialer(reactor, *one) for one in others}
            way = SeveralServers(reactor, [*self.dialers], self.dialers.__getitem__)
        self.view = LineView(reactor, self._source, self.screen.output, Painter(name))
        who = name, key(key_name), self._trust
        self.client = Client(
            reactor,
            way,
            *who,
            self.view,
            patience,
            room_key=room_key,
            members=members,
            caller=caller,
            persistent=persistent,
        )

    def _trust(self, server_key: PublicKey) -> str | None:
        return self.trust(server_key)

    def begin(self) -> None:
        """Begin to connect; the test takes the turns."""
        with contextlib.suppress(NotRunError):
            self.client.run()

    def run(self, story: Callback = lambda: None) -> None:
        """Stay until it is over; what is to happen meanwhile is in the story, or in the reactor's
        script."""
        self._reactor.may_run = True
        self._reactor.story = story
        self.client.run()

    def type(self, *lines: str) -> None:
        """Type lines."""
        os.write(self._hand, "".join(f"{line}\n" for line in lines).encode())

    def end_input(self) -> None:
        """Type nothing more."""
        if self._hand >= 0:
            os.close(self._hand)
            self._hand = -1

    @property
    def inside(self) -> bool:
        """Whether the client says that it is in the room."""
        return any(
            line.startswith(("[+] In the room: ", "[+] In a sealed room"))
            for line in self.screen.lines()
        )

    def close(self) -> None:
        self.end_input()
        self.client._end(None)
        if self.client._connection is not None:
            self.client._connection.close()
        self._reactor.unwatch(self._source)
        os.close(self._source)
        self.screen.close()
