"""A machine in memory: virtual time, processes with the real reactor, descriptors, and a network.

Nothing of chat is known here but the reactor. A `World` stands in for the modules `os`, `socket`
and `time`, so that the program runs on it unchanged, and everything comes from one seed.
"""

import errno
import heapq
import os
import select
import selectors
import socket
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from random import Random
from types import SimpleNamespace
from unittest import mock

import chat.reactor
from chat.errors import ChatError
from chat.reactor import Callback, Reactor

EPOCH = 1_700_000_000.0
"""Where the wall clock stands when virtual time is 0."""

START = 1_000.0
"""Where virtual time begins, since a monotonic clock begins anywhere."""

MAX_TURNS = 20_000
"""Turns of one process at one moment; beyond, it spins."""


class ViolationError(Exception):
    """A law does not hold."""


class ParkedError(BaseException):
    """Leaves `run` of a process that has begun; the world takes its turns from now on."""


# -- descriptors -------------------------------------------------------------------------------


class Descriptor:
    """What a process can watch."""

    def __init__(self, process: "Process") -> None:
        self.process = process
        self.world = process.world
        self.closed = False
        self._number = self.world.new_number()
        self.world.descriptors[self._number] = self
        process.descriptors.append(self)

    @property
    def readable(self) -> bool:
        return False

    @property
    def writable(self) -> bool:
        return False

    def fileno(self) -> int:
        return -1 if self.closed else self._number

    def setblocking(self, _blocking: bool) -> None:
        pass

    def close(self) -> None:
        if self.closed:
            return
        reactor = self.process.reactor
        if not reactor.stopped and self._number in reactor.selector.get_map():
            raise ViolationError(f"{self.process.name} closes a descriptor that it watches")
        self.discard()

    def discard(self) -> None:
        """What the kernel does, be it asked by `close` or by the end of the process."""
        self.closed = True
        del self.world.descriptors[self._number]
        self.process.descriptors.remove(self)


class Input(Descriptor):
    """Standard input: what was written to it waits until it is read."""

    def __init__(self, process: "Process", *, is_terminal: bool) -> None:
        super().__init__(process)
        self.is_terminal = is_terminal
        self.unread = b""
        self.ended = False

    @property
    def readable(self) -> bool:
        return bool(self.unread) or self.ended

    def feed(self, data: bytes) -> None:
        self.unread += data
        self.process.poke()

    def end(self) -> None:
        self.ended = True
        self.process.poke()

    def read(self, size: int) -> bytes:
        data, self.unread = self.unread[:size], self.unread[size:]
        return data


class Output(Descriptor):
    """Standard output: somebody reads it, now and then more slowly."""

    def __init__(self, process: "Process") -> None:
        super().__init__(process)
        self.written = bytearray()
        self._waiting = 0
        self._stalled_until = 0.0

    @property
    def writable(self) -> bool:
        return self._room >= select.PIPE_BUF

    @property
    def _room(self) -> int:
        if self.world.now >= self._stalled_until:
            self._waiting = 0
        return 2 * select.PIPE_BUF - self._waiting

    def stall(self, seconds: float) -> None:
        """Nobody reads for a while."""
        self._stalled_until = self.world.now + seconds
        self.world.at(self._stalled_until, self.process.poke)

    def resume(self) -> None:
        self._stalled_until = 0.0
        self.process.poke()

    def write(self, data: bytes) -> int:
        size = min(len(data), self._room)
        self._waiting += size
        self.written += data[:size]
        return size


class Stream:
    """One direction of a connection: what is under way, and what has arrived."""

    def __init__(self, source: "Socket", target: "Socket", latency: float, capacity: int) -> None:
        self.world = source.world
        self.source = source
        self.target = target
        self.latency = latency
        self.capacity = capacity
        self.bytes_per_second = float("inf")
        self.stalled_until = 0.0
        self.severed = False
        self.passing: Callable[[bytes], bytes] | None = None
        """What somebody on the way makes of each piece."""
        self.arrived = bytearray()
        self.eof = False
        self._under_way: deque[bytes | None] = deque()
        self._held = 0
        self._last = 0.0

    @property
    def room(self) -> int:
        return self.capacity - self._held

    def put(self, piece: bytes | None) -> None:
        """Send this on its way; None is the end."""
        size = len(piece) if piece else 0
        self._held += size
        if self.severed:
            return
        self._under_way.append(piece)
        jitter = self.world.random.uniform(0.5, 1.5)
        arrival = max(self.world.now + self.latency * jitter, self._last)
        self._last = arrival + size / self.bytes_per_second
        self.world.at(self._last, self._arrive)

    def _arrive(self) -> None:
        if self.severed or not self._under_way:
            return
        if self.world.now < self.stalled_until:
            self.world.at(self.stalled_until, self._arrive)
            return
        piece = self._under_way.popleft()
        if self.target.closed:
            self.source.break_down()
        elif piece is None:
            self.eof = True
        else:
            passed = piece if self.passing is None else self.passing(piece)
            self._held += len(passed) - len(piece)
            self.arrived += passed
        self.target.process.poke()

    def take(self, size: int) -> bytes:
        data = bytes(self.arrived[:size])
        del self.arrived[:size]
        self._held -= len(data)
        self.source.process.poke()
        return data

    def sever(self) -> None:
        """Nothing arrives any more; who sends does not know it. What is under way is cut at any
        byte."""
        rest = b"".join(piece for piece in self._under_way if piece)
        if rest and not self.severed and not self.target.closed:
            self.arrived += rest[: self.world.random.randint(0, len(rest))]
            self.target.process.poke()
        self.severed = True
        self._under_way.clear()


class Socket(Descriptor):
    """One end of a connection, or what may become one."""

    def __init__(self, process: "Process") -> None:
        super().__init__(process)
        self.connected = False
        self.incoming: Stream
        self.outgoing: Stream
        self.error = 0
        self._broken = False
        self._shut = False

    @property
    def readable(self) -> bool:
        return self.connected and bool(self._broken or self.incoming.arrived or self.incoming.eof)

    @property
    def writable(self) -> bool:
        if self.error or self._broken:
            return True
        return self.connected and self.outgoing.room > 0

    def setsockopt(self, _level: int, _option: int, _value: int) -> None:
        if self._broken and self.world.random.random() < 0.5:
            raise OSError(errno.EINVAL, "not connected any more")

    def getsockopt(self, _level: int, _option: int) -> int:
        return self.error

    def connect(self, address: tuple[str, int]) -> None:
        self.world.connect(self, address[0])
        raise BlockingIOError(errno.EINPROGRESS, "in progress")

    def recv(self, size: int) -> bytes:
        stream, random = self.incoming, self.world.random
        if stream.arrived:
            size = min(size, len(stream.arrived))
            if random.random() < self.world.shred:
                size = random.randint(1, min(size, 5))
            return stream.take(size)
        if self._broken:
            raise ConnectionResetError(errno.ECONNRESET, "reset")
        if stream.eof:
            return b""
        raise BlockingIOError(errno.EAGAIN, "nothing there")

    def send(self, data: bytes) -> int:
        if self._broken or self._shut:
            raise BrokenPipeError(errno.EPIPE, "broken")
        size = min(len(data), self.outgoing.room)
        if size <= 0:
            raise BlockingIOError(errno.EAGAIN, "full")
        if self.world.random.random() < self.world.shred:
            size = self.world.random.randint(1, size)
        self.outgoing.put(data[:size])
        return size

    def shutdown(self, _how: int) -> None:
        if self._broken or not self.connected:
            raise OSError(errno.ENOTCONN, "not connected")
        if not self._shut:
            self._shut = True
            self.outgoing.put(None)

    def discard(self) -> None:
        super().discard()
        if self._broken or not self.connected:
            return
        if self.incoming.arrived:
            # Closing with bytes unread resets the connection.
            if not self.outgoing.severed:
                self.outgoing.target.break_down()
        elif not self._shut:
            self.outgoing.put(None)

    def break_down(self) -> None:
        """The connection is reset, as this end sees it; bytes unread may go down with it."""
        if self.closed:
            return
        self._broken = True
        self.sever()
        if self.world.random.random() < 0.5:
            self.incoming.arrived.clear()
        self.process.poke()

    def sever(self) -> None:
        """Nothing arrives any more in either direction, and nobody is told."""
        self.incoming.sever()
        self.outgoing.sever()

    def end_incoming(self) -> None:
        """This end sees the end of the stream, in the middle of whatever it was."""
        self.incoming.sever()
        self.incoming.eof = True
        self.process.poke()


def join(one: Socket, other: Socket, latency: float, capacity: int) -> None:
    """Connect two sockets."""
    for end, far in ((one, other), (other, one)):
        end.outgoing = far.incoming = Stream(end, far, latency, capacity)
        end.connected = True


class Listener(Descriptor):
    """A listening socket."""

    def __init__(self, process: "Process") -> None:
        super().__init__(process)
        self.pending: deque[Socket] = deque()
        self._none_left_until = 0.0

    @property
    def readable(self) -> bool:
        return bool(self.pending)

    def run_out(self, seconds: float) -> None:
        """No descriptors are left for a while."""
        self._none_left_until = self.world.now + seconds

    def accept(self) -> tuple[Socket, tuple[str, int]]:
        if not self.pending:
            raise BlockingIOError(errno.EAGAIN, "nobody there")
        if self.world.now < self._none_left_until:
            raise OSError(errno.EMFILE, "too many open files")
        accepted = self.pending.popleft()
        if self.world.random.random() < self.world.shred / 10:
            accepted.break_down()
            accepted.discard()
            raise ConnectionAbortedError(errno.ECONNABORTED, "aborted")
        return accepted, ("10.0.0.1", accepted.fileno())

    def discard(self) -> None:
        super().discard()
        for waiting in self.pending:
            waiting.outgoing.target.break_down()


class Poll:
    """In the place of `select.poll`, for one descriptor. Who waits for long is about to end: its
    reader comes back at once."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._descriptor: Descriptor
        self._events = 0

    def register(self, number: int, events: int) -> None:
        self._descriptor = self._world.descriptors[number]
        self._events = events

    def poll(self, milliseconds: float | None) -> list[Descriptor]:
        descriptor = self._descriptor
        if milliseconds != 0 and isinstance(descriptor, Output):
            descriptor.resume()
        wanted = self._events & World.POLLIN and descriptor.readable
        wanted = wanted or (self._events & World.POLLOUT and descriptor.writable)
        return [descriptor] if wanted else []


# -- processes ---------------------------------------------------------------------------------


class Selector:
    """Which descriptors of the world are ready."""

    def __init__(self, world: "World") -> None:
        self._descriptors = world.descriptors
        self._keys: dict[int, selectors.SelectorKey] = {}

    def get_map(self) -> Mapping[int, selectors.SelectorKey]:
        return self._keys

    def register(self, number: int, events: int, data: object) -> None:
        self._keys[number] = selectors.SelectorKey(number, number, events, data)

    modify = register

    def unregister(self, number: int) -> None:
        del self._keys[number]

    def ready(self) -> list[tuple[selectors.SelectorKey, int]]:
        found = []
        for number, key in self._keys.items():
            descriptor = self._descriptors[number]
            events = key.events
            if events & selectors.EVENT_READ and not descriptor.readable:
                events &= ~selectors.EVENT_READ
            if events & selectors.EVENT_WRITE and not descriptor.writable:
                events &= ~selectors.EVENT_WRITE
            if events:
                found.append((key, events))
        return found

    def select(self, _timeout: float | None) -> list[tuple[selectors.SelectorKey, int]]:
        return self.ready()

    def close(self) -> None:
        self._keys.clear()


class SimulatedReactor(Reactor):
    """The real reactor over simulated descriptors; the world takes its turns."""

    def __init__(self, world: "World") -> None:
        self.selector = Selector(world)
        self.look: Callback | None = None
        """Called when there is nothing to do but to wait."""
        self.waiting = False
        self.stopped = False
        made = SimpleNamespace(DefaultSelector=lambda: self.selector)
        with mock.patch.object(chat.reactor, "selectors", made):
            super().__init__(world.clock)

    def on_signals(self, _signals: Iterable[int], _callback: Callback) -> None:
        pass

    def run(self) -> None:
        if not self.stopped:
            raise ParkedError

    def stop(self) -> None:
        self.stopped = True

    def turn(self, timeout: float | None = None) -> None:
        """Where the real one would wait, this one comes back later."""
        self.waiting = not self.busy
        if not self.waiting:
            super().turn(timeout)
        elif self.look is not None:
            self.look()

    @property
    def busy(self) -> bool:
        """Whether a turn would do something now."""
        if self._deferred or (self._timers and self._timers[0].deadline <= self.clock()):
            return True
        return bool(self.selector.ready())

    @property
    def next_timer(self) -> float:
        """When there is something to do, if nothing happens before."""
        while self._timers and self._timers[0].callback is None:
            heapq.heappop(self._timers)
        return self._timers[0].deadline if self._timers else float("inf")


class Process:
    """One process: a reactor, descriptors, and what it does from beginning to end."""

    def __init__(self, world: "World", name: str) -> None:
        self.world = world
        self.name = name
        self.reactor = SimulatedReactor(world)
        self.descriptors: list[Descriptor] = []
        self.main: Callable[[], None]
        self.alive = True
        self.frozen_until = 0.0
        self.error: ChatError | None = None
        self.on_end: Callback | None = None
        self._turned_at = 0.0
        self._turns = 0
        world.processes.append(self)

    def start(self, main: Callable[[], None]) -> None:
        """`main` runs to where it gives itself to the reactor, and once more when that is over."""
        self.main = main
        self._enter()
        self.poke()

    def poke(self) -> None:
        """Something has changed for this process."""
        if self.alive:
            self.world.woken[self] = None

    def freeze(self, seconds: float) -> None:
        """SIGSTOP, and SIGCONT a while later."""
        self.frozen_until = self.world.now + seconds
        self.world.at(self.frozen_until, self.poke)

    def thaw(self) -> None:
        self.frozen_until = 0.0
        self.poke()

    @property
    def frozen(self) -> bool:
        return self.world.now < self.frozen_until

    @property
    def runnable(self) -> bool:
        return self.alive and not self.frozen and (not self.reactor.waiting or self.reactor.busy)

    def turn(self) -> None:
        if self._turned_at != self.world.now:
            self._turned_at, self._turns = self.world.now, 0
        self._turns += 1
        if self._turns > MAX_TURNS:
            raise ViolationError(f"{self.name} spins")
        self.world.running = self
        self.world.turns += 1
        try:
            self.reactor.turn()
        except ViolationError:
            raise
        except Exception as exc:
            raise ViolationError(f"{self.name} fails: {exc!r}") from exc
        if self.reactor.stopped:
            self._enter()

    def _enter(self) -> None:
        self.world.running = self
        try:
            self.main()
        except ParkedError:
            return
        except ChatError as error:
            self.error = error
        self.kill()
        if self.on_end is not None:
            self.on_end()

    def kill(self) -> None:
        """The end, from within or without: the kernel closes what is open."""
        self.alive = False
        for descriptor in list(self.descriptors):
            descriptor.discard()

    def vanish(self) -> None:
        """The power fails: the end, and nobody is told."""
        for descriptor in self.descriptors:
            if isinstance(descriptor, Socket) and descriptor.connected:
                descriptor.sever()
        self.kill()


# -- the world ---------------------------------------------------------------------------------


class World:
    """Time, chance, and what the modules of the system are for the program."""

    # What `chat.stdio`, `chat.client` and `chat.server.server` use of the system's modules.
    AF_INET, SOCK_STREAM = socket.AF_INET, socket.SOCK_STREAM
    IPPROTO_TCP, TCP_NODELAY, SHUT_WR = socket.IPPROTO_TCP, socket.TCP_NODELAY, socket.SHUT_WR
    SOL_SOCKET, SO_ERROR = socket.SOL_SOCKET, socket.SO_ERROR
    SO_KEEPALIVE = socket.SO_KEEPALIVE
    POLLIN, POLLOUT, PIPE_BUF = select.POLLIN, select.POLLOUT, select.PIPE_BUF
    AI_NUMERICHOST, gaierror = socket.AI_NUMERICHOST, socket.gaierror
    strerror = staticmethod(os.strerror)

    def __init__(self, seed: object) -> None:
        self.random = Random(f"world {seed}")
        self.now = START
        self.wall_offset = EPOCH - START
        self.shred = 0.0
        self.latency = 0.0
        self.capacity = 65_536
        self.turns = 0
        self.descriptors: dict[int, Descriptor] = {}
        self.processes: list[Process] = []
        self.woken: dict[Process, None] = {}
        self.running: Process
        self.listeners: dict[str, Listener] = {}
        """By host."""
        self.is_offline: Callable[[Process], bool] = lambda _process: False
        self._events: list[tuple[float, int, Callback]] = []
        self._count = 0

    # -- time

    def clock(self) -> float:
        return self.now

    monotonic = clock

    def time(self) -> float:
        return self.now + self.wall_offset

    def at(self, when: float, callback: Callback) -> None:
        """Let something happen that is no process's doing."""
        self._count += 1
        heapq.heappush(self._events, (when, self._count, callback))

    def run(self, until: float, enough: Callable[[], bool] = lambda: False) -> None:
        """Let time pass, at the most to `until`; no further than to where it is `enough`."""
        while True:
            self._take_turns()
            if enough():
                return
            next_time = self._events[0][0] if self._events else float("inf")
            for process in self.processes:
                if process.alive and not process.frozen:
                    next_time = min(next_time, process.reactor.next_timer)
            if next_time > until:
                self.now = until
                return
            self.now = max(self.now, next_time)
            while self._events and self._events[0][0] <= self.now:
                heapq.heappop(self._events)[2]()
            for process in self.processes:
                if process.alive and process.reactor.next_timer <= self.now:
                    process.poke()

    def _take_turns(self) -> None:
        while self.woken:
            process = next(iter(self.woken))
            del self.woken[process]
            if process.runnable:
                process.turn()
                process.poke()
        self.processes = [process for process in self.processes if process.alive]

    # -- `os`, `random`

    def urandom(self, size: int) -> bytes:
        return self.random.randbytes(size)

    def uniform(self, low: float, high: float) -> float:
        return self.random.uniform(low, high)

    def isatty(self, number: int) -> bool:
        descriptor = self.descriptors[number]
        return isinstance(descriptor, Input) and descriptor.is_terminal

    def getpgrp(self) -> int:
        return 1

    def tcgetpgrp(self, _terminal: int) -> int:
        return self.getpgrp()

    def read(self, number: int, size: int) -> bytes:
        descriptor = self.descriptors[number]
        assert isinstance(descriptor, Input)
        return descriptor.read(size)

    def write(self, number: int, data: bytes) -> int:
        descriptor = self.descriptors[number]
        assert isinstance(descriptor, Output)
        return descriptor.write(data)

    def poll(self) -> "Poll":
        return Poll(self)

    # -- `socket`

    def socket(self, _family: int, _kind: int) -> Socket:
        return Socket(self.running)

    def getaddrinfo(self, host: bytes, port: int, **_options: object) -> list[tuple[object, ...]]:
        """Every host is an address."""
        where = (host.decode(), port)
        return [(self.AF_INET, self.SOCK_STREAM, self.IPPROTO_TCP, "", where)]

    def new_number(self) -> int:
        """A number for a descriptor; none is used twice, so that one that is stale is noticed."""
        self._count += 1
        return self._count

    def connect(self, dialing: Socket, host: str) -> None:
        """Whether somebody listens turns out a moment later."""
        latency = self.latency * self.random.uniform(0.5, 1.5)
        self.at(self.now + latency, lambda: self._connected(dialing, host, latency))

    def _connected(self, dialing: Socket, host: str, latency: float) -> None:
        if dialing.closed or self.is_offline(dialing.process):
            return
        listener = self.listeners.get(host)
        if listener is not None and self.is_offline(listener.process):
            return
        if listener is None or listener.closed:
            dialing.error = errno.ECONNREFUSED
        else:
            accepted = Socket(listener.process)
            join(dialing, accepted, latency, self.capacity)
            listener.pending.append(accepted)
            listener.process.poke()
        dialing.process.poke()
