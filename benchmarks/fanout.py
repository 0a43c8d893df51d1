"""CPU of one delivered message, in a flood and alone, beside a bare loop of `send` in C.

Server and bare loop take turns with the same bytes, so that whatever else the machine does falls on
both.
"""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.load import (
    AT_ONCE,
    DEADLINE_SECONDS,
    HOST,
    Batch,
    Crowd,
    Keys,
    Member,
    Program,
    Row,
    chat_server,
    frame_bytes,
    join,
    join_speakers,
    spread,
)
from chat.wire import ROOM_HEADER_BYTES

TEXT = "x" * 100
ROUNDS = 15
ALONE_MESSAGES = 20
FLOOD_BATCHES = 8

SERVER = "server"

AIM = "1.15 x"

_READ_BYTES = 256 * 1024
_SOURCE = Path(__file__).with_name("bare_loop.c")


@dataclass(frozen=True, slots=True)
class Size:
    """How many members there are, how many of them speak in a flood, and how many messages each of
    these has under way."""

    members: int
    speakers: int
    window: int


# -- what is put on a program ------------------------------------------------------------------

Load = Callable[["Side"], None]


@dataclass(slots=True)
class Side:
    """Programs with their crowd, and for each load: microseconds of CPU per delivery, messages per
    read, which is about as many as were in one send, and the per cent of time that they were busy.
    A bare loop relays what it is sent, so it is sent what the server would make of it. `keep` is
    given what arrives on a descriptor, if it is read as it is."""

    name: str
    aim: str
    programs: list[Program]
    crowd: Crowd
    sockets: list[socket.socket]
    speakers: list[socket.socket]
    bare: bool = False
    keep: Callable[[int, bytes], None] = lambda _descriptor, _data: None
    costs: list[float] = field(default_factory=list)
    messages_per_read: list[float] = field(default_factory=list)
    busy: list[float] = field(default_factory=list)

    def begin(self) -> None:
        """Forget what was measured before."""
        self.costs.clear()
        self.messages_per_read.clear()
        self.busy.clear()

    def up(self, batch: Batch) -> bytes:
        """What to send, so that every member gets `batch.down`."""
        return batch.down if self.bare else batch.up

    @property
    def cpu_seconds(self) -> float:
        """Of all programs."""
        return sum(program.cpu_seconds for program in self.programs)

    def measure(self, load: Load, messages: int) -> None:
        """Put a load of so many messages on the programs."""
        self.crowd.drain()
        self.crowd.reads = 0
        began, cpu = time.perf_counter(), self.cpu_seconds
        load(self)
        cpu = self.cpu_seconds - cpu
        unicasts = messages * len(self.crowd)
        self.costs.append(cpu / unicasts * 1e6)
        self.messages_per_read.append(unicasts / self.crowd.reads)
        self.busy.append(cpu / (time.perf_counter() - began) * 100)


def alone(messages: list[Batch]) -> Load:
    """Messages of which each is sent when everybody has the one before."""

    def run(side: Side) -> None:
        for message in messages:
            side.crowd.unit = len(message.down)
            side.speakers[0].sendall(side.up(message))
            missing = len(message.down) * len(side.crowd)
            while missing > 0:
                missing -= side.crowd.count()

    return run


def flood(batches: list[list[Batch]]) -> Load:
    """Batches of messages, a list for each speaker. The few CHECKs are counted like messages, so
    that the last thousandth or so of them is not waited for."""

    def run(side: Side) -> None:
        missing = len(side.crowd) * sum(len(batch.down) for own in batches for batch in own)
        speakers = [
            _Speaker(side, connected, own)
            for connected, own in zip(side.speakers, batches, strict=True)
        ]
        while missing > 0:
            missing -= side.crowd.count()
        for speaker in speakers:
            side.crowd.count_only(speaker.descriptor)

    return run


class _Speaker:
    """Sends a batch, and the next one as soon as the end of it has come back in the order."""

    def __init__(self, side: Side, connected: socket.socket, batches: list[Batch]) -> None:
        self.descriptor = connected.fileno()
        self._side = side
        self._socket = connected
        self._batches = deque(batches)
        self._unsent = memoryview(b"")
        self._last_header = b""
        self._heard = b""
        side.crowd.read_with(self.descriptor, self._on_ready)
        self._say_next()

    def _say_next(self) -> None:
        if self._batches:
            batch = self._batches.popleft()
            self._last_header = batch.down[-frame_bytes(batch.down) :][:ROOM_HEADER_BYTES]
            self._unsent = memoryview(self._side.up(batch))
            self._send()

    def _on_ready(self, _events: int) -> int:
        if self._unsent:
            self._send()
        try:
            data = self._socket.recv(_READ_BYTES)
        except BlockingIOError:
            return 0
        if not data:
            raise RuntimeError("the program closed a speaker's connection")
        self._side.keep(self.descriptor, data)
        heard = self._heard + data
        self._heard = heard[-ROOM_HEADER_BYTES:]
        if self._last_header in heard:
            self._say_next()
        return len(data)

    def _send(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._unsent = self._unsent[self._socket.send(self._unsent) :]
        self._side.crowd.want_to_write(self.descriptor, bool(self._unsent))


# -- the measurement ---------------------------------------------------------------------------


@contextlib.contextmanager
def contenders(
    size: Size, keys: Keys, directory: Path
) -> Iterator[tuple[list[Side], list[Member]]]:
    """The server and the bare loops, each with as many connections; and the server's members, those
    who speak last."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(chat_server(directory))
        crowd = stack.enter_context(Crowd(server))
        members = _fill(crowd, server, size, keys)
        sockets = [member.socket for member in members]
        sides = [Side(SERVER, "", [server], crowd, sockets, sockets[-size.speakers :])]
        for name, aim, command in _bare_loops(directory):
            bare = stack.enter_context(Program([*command, str(size.members)], directory))
            bare_crowd = stack.enter_context(Crowd(bare))
            connected = _connect(bare, bare_crowd, size)
            speakers = connected[-size.speakers :]
            sides.append(Side(name, aim, [bare], bare_crowd, connected, speakers, bare=True))
        yield sides, members


def measure(size: Size, keys: Keys, directory: Path) -> list[Row]:
    """Let server and bare loop take turns, and compare."""
    with contenders(size, keys, directory) as (sides, members):
        speakers = members[-size.speakers :]
        ping(members)
        loads = [alone(batches_of(speakers[0], ALONE_MESSAGES, 1)) for _ in _turns()]
        rows = _compare("alone", loads, ALONE_MESSAGES, sides)
        ping(members)
        loads = [
            flood([batches_of(speaker, FLOOD_BATCHES, size.window) for speaker in speakers])
            for _ in _turns()
        ]
        messages = len(speakers) * FLOOD_BATCHES * size.window
        return rows + _compare("in a flood", loads, messages, sides)


def _turns() -> Iterator[int]:
    """The first turn is not counted: it warms up."""
    return iter(range(1 + ROUNDS))


def _fill(crowd: Crowd, server: Program, size: Size, keys: Keys) -> list[Member]:
    listeners = [f"listener{number}" for number in range(size.members - size.speakers)]
    members = join(crowd, server.port, listeners, keys, AT_ONCE)
    # They come last, and so need not follow how the room fills up.
    names = [f"speaker{number}" for number in range(size.speakers)]
    speakers = join_speakers(crowd, server.port, names, keys)
    for speaker in speakers:
        crowd.count_only(speaker.socket.fileno())
    return members + speakers


def ping(members: list[Member]) -> None:
    """Nobody has said anything for a while, and nothing is sealed that was not sent."""
    for member in members:
        member.ping()


def _bare_loops(directory: Path) -> Iterator[tuple[str, str, list[str]]]:
    """Each one's name, what the server aims at beside it, and the command. The one in C is left out
    where there is no C compiler."""
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is not None:
        compiled = directory / "bare_loop"
        subprocess.run([compiler, "-O2", "-o", compiled, _SOURCE], check=True)
        yield "bare loop", AIM, [str(compiled)]
    yield "bare loop in Python", "", [sys.executable, str(_SOURCE.with_suffix(".py"))]


def _connect(bare: Program, crowd: Crowd, size: Size) -> list[socket.socket]:
    """As many connections to the bare loop as the server has members."""
    connections = []
    for _ in range(size.members):
        connection = socket.create_connection((HOST, bare.port), DEADLINE_SECONDS)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setblocking(False)
        crowd.add(connection)
        connections.append(connection)
    return connections


def batches_of(speaker: Member, count: int, window: int) -> list[Batch]:
    """Messages sealed beforehand, so that in the measurement they only have to be sent."""
    return [speaker.seal(*[TEXT] * window) for _ in range(count)]


def _compare(how: str, loads: list[Load], messages: int, sides: list[Side]) -> list[Row]:
    for side in sides:
        side.begin()
    for load in loads:
        for side in sides:
            side.measure(load, messages)
    server, *others = sides
    rows = [Row(f"one delivery {how}", spread(server.costs[1:], "µs")), *_details(server)]
    for bare in others:
        ratios = [ours / theirs for ours, theirs in zip(server.costs, bare.costs, strict=True)]
        rows += [
            Row(f"  by the {bare.name}", spread(bare.costs[1:], "µs")),
            *_details(bare),
            Row(f"  server / {bare.name}", spread(ratios[1:], "x"), bare.aim),
        ]
    return rows


def _details(side: Side) -> list[Row]:
    return [
        Row("    in one read", spread(side.messages_per_read[1:], "messages")),
        Row("    busy meanwhile", spread(side.busy[1:], "%")),
    ]
