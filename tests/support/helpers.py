"""What the tests share: fixed keys and randomness, and a session pair in memory.

The keys in `tests/keys` are for tests alone; they protect nothing.
"""

import gc
import hashlib
import os
import shutil
import stat
import subprocess
import sys
import traceback
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from Cryptodome.PublicKey import RSA

from chat.cipher import SealingKey
from chat.client.peers import Peer, Peers
from chat.controls import Ready, Resume
from chat.identities import RosterEntry
from chat.introduction import Introduction
from chat.kex import PrivateKey, SignedShare
from chat.server.log import Sealed
from chat.session import USUAL_WAITS, ClientSession, Offer, ServerSession, SessionEvent, Waits
from chat.wire import ROOM_HEADER_BYTES

needs_ssh_keygen = pytest.mark.skipif(not shutil.which("ssh-keygen"), reason="needs ssh-keygen")
needs_openssl = pytest.mark.skipif(not shutil.which("openssl"), reason="needs openssl")

KEYS = Path(__file__).parents[1] / "keys"
WALL_CLOCK = 1_700_000_000.0
FIRST = Ready()


@cache
def key(name: str) -> PrivateKey:
    """One of the fixed key pairs: server, ira, sahnawaz, other."""
    return PrivateKey.from_rsa(RSA.import_key((KEYS / f"{name}.pem").read_bytes()))


class FixedBytes:
    """A source of "random" bytes that gives the same sequence for the same seed."""

    def __init__(self, seed: str) -> None:
        self._seed = seed
        self._calls = 0

    def __call__(self, size: int) -> bytes:
        self._calls += 1
        return hashlib.shake_256(f"{self._seed}/{self._calls}".encode()).digest(size)


class FakeClock:
    """A clock that moves when it is told to."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


def plain(data: bytes) -> Sealed:
    """A splice that is only these bytes."""
    return Sealed(lambda: data)


def frames_of(data: bytes) -> list[tuple[int, bytes]]:
    """The frames of a stream that consists of nothing else, each with its type."""
    frames = []
    while data:
        size = 2 + int.from_bytes(data[:2], "big")
        assert size <= len(data), "the stream ends inside a frame"
        frames.append((data[2], data[:size]))
        data = data[size:]
    return frames


def open_frame(key: SealingKey, frame: bytes, bound: bytes = b"") -> bytes:
    """What is sealed in a room frame; `bound` is the proof of its sender in a sealed room."""
    return key.open(frame[:ROOM_HEADER_BYTES] + bound, frame[ROOM_HEADER_BYTES:])


def ira() -> Introduction:
    """The fixed client, on its way to the open room."""
    return Introduction.fresh("Ira", key("ira"), FixedBytes("Ira's share"))


def steps(act: Callable[[], object]) -> int:
    """How many lines of Python are run for this, and for all that it calls."""
    count = 0

    def trace(_frame: FrameType, event: str, _argument: object) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    # What measures coverage traces, too, and is to go on. What somebody else has a collection do
    # does not count.
    before = sys.gettrace()
    gc.disable()
    sys.settrace(trace)
    try:
        act()
    finally:
        sys.settrace(before)
        gc.enable()
    return count


def roster_of(*peers: Peer) -> Peers:
    """A roster that is made of these, and not of copies."""
    roster = Peers()
    for number, peer in enumerate(peers, 1):
        made = roster.add(RosterEntry(number, peer.seq, peer.name, peer.fingerprint))
        roster._members[number] = roster._company_of(made).connections[number] = peer
    return roster


@cache
def offer() -> SignedShare:
    """What the fixed server offers."""
    return SignedShare.make(key("server"), WALL_CLOCK, FixedBytes("offer"))


class Pair:
    """A client's and a server's session, joined in memory."""

    def __init__(
        self,
        name: str = "Ira",
        client_key: str = "ira",
        first: Ready | Resume = FIRST,
        waits: Waits = USUAL_WAITS,
    ) -> None:
        self.now = 0.0
        self.server = ServerSession(Offer.of(offer()), FixedBytes("server"), self.now)
        self.me = Introduction.fresh(name, key(client_key), FixedBytes(f"{name}'s share"))
        self.client = ClientSession(
            self.me, first, FixedBytes("client"), self.now, lambda: WALL_CLOCK, waits
        )

    def to_client(self) -> list[SessionEvent]:
        """Carry what the server has to send."""
        return self.client.receive(self.server.data_to_send(), self.now)

    def to_server(self) -> list[SessionEvent]:
        """Carry what the client has to send."""
        return self.server.receive(self.client.data_to_send(), self.now)

    def shake_hands(self, steps: int = 5) -> "Pair":
        """Take the first of the five steps of the handshake."""
        ways = self.to_client, self.client.trust, self.to_server, self.to_client, self.to_server
        for step in ways[:steps]:
            step()
        return self


# -- files and processes -----------------------------------------------------------------------


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def lying(
    status: Callable[..., os.stat_result], *, mode: int = 0, user: int = 0
) -> Callable[..., os.stat_result]:
    """A call like `os.stat` that finds more permissions than there are, or another user."""

    def lie(*which: object, **options: object) -> os.stat_result:
        found = status(*which, **options)
        return os.stat_result((found.st_mode | mode, *found[1:4], found.st_uid + user, *found[5:]))

    return lie


def output_of(*command: str | Path, given_input: bytes = b"") -> bytes:
    """What a program prints; it must succeed."""
    return subprocess.run(command, input=given_input, capture_output=True, check=True).stdout


def side_by_side(*actions: Callable[[], object]) -> None:
    """Do these at the same time, in a process each; all must end without an exception."""
    children = [fork(action) for action in actions]
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [
        0 for _ in children
    ]


def fork(action: Callable[[], object]) -> int:
    """Do this in a process of its own, whose id is returned; what it raises is shown."""
    if child := os.fork():
        return child
    try:
        action()
        os._exit(0)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(1)
