"""What the benchmarks share: a program on a processor core of its own, and a crowd on the other.

The crowd's members go through the real handshake; from then on they only count bytes, so that the
program under test is what is busy. For Linux only, which shows cores, CPU clocks and memory.
"""

import math
import os
import random
import re
import resource
import select
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar, Self

from Cryptodome.Math.Numbers import Integer
from Cryptodome.PublicKey import RSA
from Cryptodome.Util.number import sieve_base

from chat.client.events import Entered, MemberJoined, MessageReceived
from chat.client.participant import Participant
from chat.controls import Ping, Ready, Submit, Welcome
from chat.errors import ProtocolError
from chat.introduction import Introduction
from chat.kex import PrivateKey, RoomKey
from chat.limits import MAX_CONNECTIONS_OF_KEY, MAX_ROOMS, PING_SECONDS, RSA_EXPONENT
from chat.session import (
    ClientSession,
    ControlReceived,
    Ended,
    Established,
    HelloReceived,
    RoomFramesReceived,
    SessionEvent,
)

ROOT = Path(__file__).parent.parent
KEYS = ROOT / "tests" / "keys"
HOST = "127.0.0.1"

_AVAILABLE = os.sched_getaffinity(0)
PROGRAM_CORE, LOAD_CORE = max(_AVAILABLE), min(_AVAILABLE)
"""Where the program under test runs, and where the load does; the same if there is no other."""

DEADLINE_SECONDS = 30.0
"""Nothing that is waited for may take longer: then something is broken, and we say so."""

AT_ONCE = 32
"""Handshakes under way when a room is filled for another benchmark."""

_WORTH_TELLING = 100
"""How they come in is shown if they are so many."""

_DISCARDED = bytearray(1024 * 1024)
_HANDSHAKE_READ_BYTES = 4096
"""Small, so that the rest of a long roster is counted and not taken apart."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: what was measured, the result, and what we aim at."""

    what: str
    result: str
    aim: str = ""


def spread(samples: list[float], unit: str) -> str:
    """The median with its unit, if it has one, and between which two values all samples lie."""
    middle, low, high = statistics.median(samples), min(samples), max(samples)
    measured = f"{short(middle)} {unit}".rstrip()
    return f"{measured} ({short(low)} to {short(high)})"


def short(value: float) -> str:
    """Three digits, which is more than these measurements are good for."""
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def progress(what: str) -> None:
    """Say what takes so long: a line on a terminal, which the next one replaces."""
    if sys.stderr.isatty():
        columns = shutil.get_terminal_size().columns
        print(f"\r\x1b[K{what[: columns - 1]}\r", end="", file=sys.stderr, flush=True)


# -- the machine -------------------------------------------------------------------------------


@contextmanager
def prepared() -> Iterator[None]:
    """Move this process to the load's core, and let it and its children open enough sockets."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    os.sched_setaffinity(0, {LOAD_CORE})
    resource.setrlimit(resource.RLIMIT_NOFILE, (limits[1], limits[1]))
    try:
        yield
    finally:
        os.sched_setaffinity(0, _AVAILABLE)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def environment() -> dict[str, str]:
    """What a child needs to find `chat`, wherever it runs."""
    return {**os.environ, "PYTHONPATH": str(ROOT)}


_SMALL_PRIMES = math.prod(sieve_base[:300])
"""Most numbers have one of them as a factor, which is found faster than that they are no prime."""


class Keys:
    """Key pairs of this size for any number of clients. A server lets so many of a key in and no
    more, and to make a pair for every few of a thousand would take minutes: so these are made of
    any two of some primes, which pass one test. For nothing but benchmarks, since a pair gives
    others away."""

    def __init__(self, bits: int) -> None:
        self.bits = bits
        self._keys = self._make()

    def take(self) -> PrivateKey:
        """The key pair of the next client."""
        return next(self._keys)

    def _make(self) -> Iterator[PrivateKey]:
        primes: list[int] = []
        while True:
            prime = self._prime()
            for other in primes:
                exponent = pow(RSA_EXPONENT, -1, (prime - 1) * (other - 1))
                parts = prime * other, RSA_EXPONENT, exponent, prime, other
                key = PrivateKey.from_rsa(RSA.construct(parts, consistency_check=False))
                yield from [key] * MAX_CONNECTIONS_OF_KEY
            primes.append(prime)

    def _prime(self) -> int:
        """One of half the size, with both highest bits set, so that two make one of full size.
        Numbers that are none and pass Fermat's test are too rare to be met."""
        rest = self.bits // 2 - 2
        while True:
            number = 0b11 << rest | random.getrandbits(rest) | 1
            if math.gcd(number, _SMALL_PRIMES) > 1 or number % RSA_EXPONENT == 1:
                continue
            if pow(Integer(2), number - 1, number) == 1:
                return number


# -- the program under test --------------------------------------------------------------------


def cpu_seconds(process: int) -> float:
    """User and system time of a process so far, as clock_getcpuclockid(3) finds it: `/proc` has
    only hundredths of a second."""
    return time.clock_gettime(~process << 3 | 2)


class Program:
    """A program on the first core, which prints the port that it listens on."""

    def __init__(self, command: list[str], directory: Path, core: int = PROGRAM_CORE) -> None:
        # A child inherits the core, and so is on it from its first instruction on.
        os.sched_setaffinity(0, {core})
        try:
            self._process = subprocess.Popen(
                command,
                cwd=directory,
                env=environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
        finally:
            os.sched_setaffinity(0, {LOAD_CORE})
        assert self._process.stdout is not None
        self.output = self._process.stdout.fileno()
        try:
            self.port = self._read_port()
        except BaseException:
            self.stop()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.stop()

    def _read_port(self) -> int:
        poll = select.poll()
        poll.register(self.output, select.POLLIN)
        said = b""
        while not (found := re.search(rb"port: ([0-9]+)\n", said)):
            data = os.read(self.output, 4096) if poll.poll(DEADLINE_SECONDS * 1000) else b""
            if not data:
                raise RuntimeError(f"the program does not say its port, but {said!r}")
            said += data
        return int(found[1])

    @property
    def pid(self) -> int:
        """Of its process."""
        return self._process.pid

    @property
    def cpu_seconds(self) -> float:
        """User and system time so far."""
        return cpu_seconds(self._process.pid)

    @property
    def resident_bytes(self) -> int:
        """Memory of the process that is in RAM (not the kernel's for its sockets)."""
        rollup = Path(f"/proc/{self._process.pid}/smaps_rollup").read_text()
        found = re.search(r"^Rss: +([0-9]+) kB$", rollup, re.MULTILINE)
        assert found
        return int(found[1]) * 1024

    def stop(self) -> None:
        """End it, and wait until it has ended."""
        self._process.terminate()
        try:
            # Also takes what it still prints, so that it cannot hang on a full pipe.
            self._process.communicate(timeout=DEADLINE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()


def chat_server(directory: Path, *options: str, core: int = PROGRAM_CORE) -> Program:
    """A chat server with the tests' key, which is kept in `directory`, and with these options."""
    private_key = directory / "server_private_key.pem"
    shutil.copyfile(KEYS / "server.pem", private_key)
    private_key.chmod(0o600)
    command = [
        "-m",
        "chat",
        "server",
        "--port",
        "0",
        "--keys",
        str(directory),
        "--keep-names",
        "0",
        "--rate",
        "0",
        "--grace",
        "0",
        "--max-rooms",
        # All clients are of one source, which may have begun half of them.
        str(2 * MAX_ROOMS),
        *options,
    ]
    return Program([sys.executable, *command], directory, core)


# -- the crowd ---------------------------------------------------------------------------------

Reader = Callable[[int], int]
"""Called with what epoll says of a descriptor; returns how many bytes are to be counted."""


class Crowd:
    """Many connections to one program, or to some that do one thing together. What arrives on them
    is counted and thrown away, but for those that have a reader of their own. `reads` is how often
    something was there to read. Of what is read at once, only whole `unit`s of bytes are counted: a
    CHECK is less than a message."""

    _standing: ClassVar[list["Crowd"]] = []
    """All crowds that have not hung up."""

    def __init__(self, *programs: Program) -> None:
        self._epoll = select.epoll()
        self._members: list[Member] = []
        self._pinged_at = time.monotonic()
        self._sockets: dict[int, socket.socket] = {}
        self._readers: dict[int, Reader] = {}
        self.reads = 0
        self.unit = 1
        for program in programs:
            self.read_with(program.output, partial(self._read_output, program.output))
        self._standing.append(self)

    def __len__(self) -> int:
        return len(self._sockets)

    @property
    def sockets(self) -> list[socket.socket]:
        """Of all members."""
        return list(self._sockets.values())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up."""
        self._standing.remove(self)
        self._epoll.close()
        for connected in self._sockets.values():
            connected.close()

    def read_with(self, descriptor: int, reader: Reader) -> None:
        """Let `reader` have what arrives here, until `count_only`."""
        if descriptor not in self._sockets:
            self._epoll.register(descriptor, select.EPOLLIN)
        self._readers[descriptor] = reader

    def add(self, connected: socket.socket) -> None:
        """Count what arrives on a connection."""
        self._sockets[connected.fileno()] = connected
        self._epoll.register(connected.fileno(), select.EPOLLIN)

    def let_in(self, member: "Member") -> None:
        """Let a member read for itself, until `count_only`."""
        self._members.append(member)
        self.add(member.socket)
        self.read_with(member.socket.fileno(), member.read)

    @classmethod
    def keep_alive(cls) -> None:
        """Let the members of all crowds PING when it is time, as clients do: a crowd may have to
        wait for as long as others take to fill up."""
        now = time.monotonic()
        for crowd in cls._standing:
            if now - crowd._pinged_at > PING_SECONDS:
                crowd._pinged_at = now
                for member in crowd._members:
                    if member.welcomed:
                        member.ping()

    def count_only(self, descriptor: int) -> None:
        """From now on only count what arrives here."""
        del self._readers[descriptor]

    def want_to_write(self, descriptor: int, wanted: bool) -> None:
        """Whether the reader is called as well when the connection can be written."""
        self._epoll.modify(descriptor, select.EPOLLIN | (select.EPOLLOUT if wanted else 0))

    def count(self, timeout: float = DEADLINE_SECONDS) -> int:
        """Wait until something arrives, and count it.

        Raises:
            RuntimeError: a connection was closed, or nothing came for long.
        """
        ready = self._epoll.poll(timeout)
        if not ready and timeout:
            raise RuntimeError(f"nothing arrived for {timeout:.0f} s")
        counted = 0
        self.reads += len(ready)
        for descriptor, events in ready:
            if descriptor in self._readers:
                counted += self._readers[descriptor](events)
                continue
            # TCP throws away, uncopied, what is read with MSG_TRUNC (tcp(7)).
            size = self._sockets[descriptor].recv_into(_DISCARDED, 0, socket.MSG_TRUNC)
            if not size:
                raise RuntimeError("the program closed a connection")
            counted += size - size % self.unit
        return counted

    def drain(self, patience: float = 0.0) -> None:
        """Throw away what has arrived already, and what comes within so many seconds of that."""
        self.unit = 1
        while self._epoll.poll(patience):
            self.count(timeout=0)

    def _read_output(self, output: int, _events: int) -> int:
        if not os.read(output, 65536):
            raise RuntimeError("the program has ended")
        return 0


@dataclass(frozen=True, slots=True)
class Batch:
    """Messages as they are sent to the program, and as the program sends them to each member."""

    up: bytes
    down: bytes


def frame_bytes(frame: bytes) -> int:
    """How long a frame is that begins so."""
    return 2 + int.from_bytes(frame[:2], "big")


class Member:
    """A client that joins as every client does. `participant` is fed while the crowd reads with
    `read`; it stands still once the crowd only counts."""

    def __init__(
        self,
        port: int,
        name: str,
        key: PrivateKey,
        source: str = "",
        room_key: RoomKey | None = None,
    ) -> None:
        """`source` is the address to come from, if that matters; `room_key` that of a sealed
        room."""
        self.name = name
        self.participant = Participant(os.urandom, room_key=room_key)
        self.established = False
        self.welcomed = False
        self.texts: list[str] = []
        self.acquainted: set[str] = set()
        me = Introduction.fresh(name, key, os.urandom, room_key)
        self._session = ClientSession(me, Ready(), os.urandom, time.monotonic(), time.time)
        from_here = (source, 0) if source else None
        self.socket = socket.create_connection((HOST, port), DEADLINE_SECONDS, from_here)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)

    def read(self, _events: int) -> int:
        """Take what has arrived."""
        data = self.socket.recv(_HANDSHAKE_READ_BYTES)
        self.hear(data)
        self.socket.sendall(self._session.data_to_send())
        return len(data)

    def hear(self, data: bytes) -> None:
        """Take this as what has arrived; nothing is the end of the connection."""
        events = (
            self._session.receive(data, time.monotonic()) if data else self._session.receive_eof()
        )
        for event in events:
            self._handle(event)

    def seal(self, *texts: str) -> Batch:
        """Say these. Whatever the member seals must be sent in the same order."""
        for text in texts:
            self.participant.say(text, int(time.time() * 1000))
        return self._batch()

    def _batch(self) -> Batch:
        runs = self.participant.data_to_send()
        up = self._session.seal(*(Submit(run).encode() for run in runs))
        return Batch(up, b"".join(runs))

    def send_unsent(self) -> None:
        """Send what was said and is not sent, or is to be sent again."""
        self.socket.sendall(self._batch().up)

    def ping(self) -> None:
        """Give a sign of life."""
        self._session.send(Ping().encode())
        self.socket.sendall(self._session.data_to_send())

    def _handle(self, event: SessionEvent) -> None:
        match event:
            case HelloReceived():
                self._session.trust()
            case Established():
                self.established = True
            case ControlReceived(control):
                self.welcomed = self.welcomed or isinstance(control, Welcome)
                for shown in self.participant.receive_control(control, time.monotonic()):
                    if isinstance(shown, Entered):
                        self.acquainted.update(shown.members)
            case RoomFramesReceived(frame_type, run):
                for shown in self.participant.receive_frames(frame_type, run):
                    if isinstance(shown, MemberJoined):
                        self.acquainted.add(shown.name)
                    if isinstance(shown, MessageReceived):
                        self.texts.append(shown.text)
            case Ended(_, text, _):
                raise ProtocolError(f"{self.name} was put out: {text}")


def join(
    crowd: Crowd,
    port: int,
    names: list[str],
    keys: Keys,
    at_once: int,
    room_key: RoomKey | None = None,
) -> list[Member]:
    """Let members join that only count from then on, `at_once` handshakes at a time; the next one
    begins as soon as one has said READY. Returns when all have been welcomed."""
    # To make keys takes longer than a handshake may.
    waiting = [(name, keys.take()) for name in reversed(names)]
    joining: dict[int, Member] = {}
    members = []
    shaking = 0
    while waiting or joining:
        while waiting and shaking < at_once:
            member = Member(port, *waiting.pop(), room_key=room_key)
            members.append(member)
            joining[member.socket.fileno()] = member
            crowd.let_in(member)
            shaking += 1
        crowd.count()
        for descriptor, member in list(joining.items()):
            if member.welcomed:
                del joining[descriptor]
                crowd.count_only(descriptor)
                if len(names) >= _WORTH_TELLING:
                    progress(f"{len(members) - len(joining)} of {len(names)} members are in ...")
        Crowd.keep_alive()
        shaking = sum(not member.established for member in joining.values())
    return members


def join_speakers(
    crowd: Crowd, port: int, names: list[str], keys: Keys, room_key: RoomKey | None = None
) -> list[Member]:
    """Let members join who will speak: each knows all of the others, and so the latest key."""
    waiting = [(name, keys.take()) for name in names]
    members = [Member(port, *each, room_key=room_key) for each in waiting]
    acquaint(crowd, members)
    return members


def acquaint(crowd: Crowd, members: list[Member]) -> None:
    """Let these come in, and read until each knows all of the others."""
    names = [member.name for member in members]
    for member in members:
        crowd.let_in(member)
    while not all(member.acquainted.issuperset(names) for member in members):
        crowd.count()
