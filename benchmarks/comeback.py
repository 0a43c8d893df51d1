"""Everybody comes back at once after a restart of the server, while those who are back talk.

The clients that come back are a process of their own (`python -m benchmarks.comeback PORT COUNT
BITS`). It dials for all of them, dials again for those that are put out, and says how many are in.
The two members who talk are in this process. Both share the load's core.
"""

import os
import select
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from Cryptodome.Math.Numbers import Integer
from Cryptodome.PublicKey import RSA

from benchmarks.crowd import delay
from benchmarks.load import (
    DEADLINE_SECONDS,
    Crowd,
    Keys,
    Member,
    Program,
    Row,
    chat_server,
    environment,
    join_speakers,
    prepared,
    progress,
    short,
)
from chat import kex
from chat.errors import ProtocolError
from chat.kex import KeyShare

PAUSE_SECONDS = 0.02
"""Between two messages of the pair."""

QUIET_MESSAGES = 200
"""Said before anybody comes back, to know the machine's own delays."""

LATER_MESSAGES = 50
"""Said when all are in, to know what talking costs."""

REPORT_SECONDS = 0.25


def measure(count: int, keys: Keys, directory: Path) -> Iterator[Row]:
    """The pair's delays before the others come and meanwhile, and what it costs the server."""
    with (
        chat_server(directory) as server,
        _returning(server.port, count, keys.bits) as process,
        Crowd(server) as room,
    ):
        pair = join_speakers(room, server.port, ["ira", "sahnawaz"], keys)
        quiet = [_delay(room, pair) for _ in range(QUIET_MESSAGES)]
        yield Row("a message's delay, nobody comes", _summary(quiet))
        yield from _figures(count, server, room, pair, process)


def _figures(
    count: int,
    server: Program,
    room: Crowd,
    pair: list[Member],
    process: "subprocess.Popen[bytes]",
) -> Iterator[Row]:
    before, began = server.cpu_seconds, time.monotonic()
    assert process.stdin is not None
    process.stdin.write(b"\n")
    process.stdin.flush()
    delays, into = [], 0
    while into < count:
        delays.append(_delay(room, pair))
        into = _how_many(process, into)
        progress(f"{into} of {count} are back ...")
    taken = server.cpu_seconds - before
    wall = time.monotonic() - began
    yield Row(f"{count} come back at once: server", f"{short(taken)} s of CPU", "3 s")
    yield Row("  for each of them", f"{short(taken / count * 1000)} ms")
    yield Row("  until all were in", f"{short(wall)} s, with their own work on one core")
    yield Row(f"  delay of {len(delays)} messages meanwhile", _summary(delays), "50 ms")
    before = server.cpu_seconds
    later = [_delay(room, pair) for _ in range(LATER_MESSAGES)]
    each = (server.cpu_seconds - before) / len(later) * 1000
    yield Row(
        "  delay later, when all are in", f"{_summary(later)}; {short(each)} ms of CPU a message"
    )


def _summary(delays: list[float]) -> str:
    ordered = sorted(delays)
    slow = ordered[len(ordered) * 99 // 100]
    return (
        f"p50 {short(statistics.median(ordered))}, p99 {short(slow)}, "
        f"at most {short(ordered[-1])} ms"
    )


def _delay(room: Crowd, pair: list[Member]) -> float:
    """The next message, after a pause. The one who only listens has to say that it is there."""
    time.sleep(PAUSE_SECONDS)
    pair[1].ping()
    return delay(room, pair)


# -- those who come back -----------------------------------------------------------------------


def _returning(port: int, count: int, bits: int) -> "subprocess.Popen[bytes]":
    """The process of the others. It has made their keys, and waits for a line."""
    command = [sys.executable, "-m", "benchmarks.comeback", str(port), str(count), str(bits)]
    process = subprocess.Popen(
        command, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.readline()
    os.set_blocking(process.stdout.fileno(), False)
    return process


def _how_many(process: "subprocess.Popen[bytes]", before: int) -> int:
    """How many are in by now, as the process said last.

    Raises:
        RuntimeError: it has ended too early.
    """
    assert process.stdout is not None
    said = process.stdout.read()
    if said == b"":
        raise RuntimeError("those who come back have given up")
    return int(said.split()[-1]) if said else before


def _hurry() -> None:
    """Leave out what a client does for its own safety, and of which the server sees nothing: it
    checks the signature, has a share of its own, and blinds its RSA key. A thousand clients on one
    core would else keep the server waiting until it loses patience with them."""
    share = KeyShare(os.urandom)
    kex.check_offer = lambda *_: None
    kex.KeyShare = lambda _: share  # type: ignore[assignment, misc]
    KeyShare.agree = lru_cache(KeyShare.agree)  # type: ignore[method-assign]
    RSA.RsaKey._decrypt_to_bytes = _power  # type: ignore[attr-defined]


def _power(key: Any, ciphertext: int) -> bytes:
    number = Integer.from_bytes(ciphertext.to_bytes(key.size_in_bytes(), "big"))
    by_p, by_q = pow(number, key._dp, key._p), pow(number, key._dq, key._q)
    power = by_p + (by_q - by_p) * key._u % key._q * key._p
    return bytes(power.to_bytes(key.size_in_bytes()))


class Returning:
    """So many members that come back, each until it is welcomed."""

    def __init__(self, port: int, count: int, keys: Keys) -> None:
        self._port = port
        self._keys = {f"member{number}": keys.take() for number in range(count)}
        self._waiting = list(self._keys)
        self._epoll = select.epoll()
        self._joining: dict[int, Member] = {}
        self._welcomed: list[Member] = []

    def come(self) -> Iterator[int]:
        """Come back, all at once. Yields, now and then, how many are in."""
        said_at = time.monotonic()
        while self._joining or self._waiting:
            if not self._joining:
                # Those who were put out come again when the others are in.
                waiting, self._waiting = self._waiting, []
                for name in waiting:
                    self._dial(name)
            ready = self._epoll.poll(DEADLINE_SECONDS)
            if not ready:
                raise RuntimeError("nothing arrives any more")
            for descriptor, _ in ready:
                self._serve(descriptor)
            if time.monotonic() - said_at > REPORT_SECONDS:
                said_at = time.monotonic()
                yield len(self._welcomed)
        yield len(self._welcomed)

    def _dial(self, name: str) -> None:
        member = Member(self._port, name, self._keys[name])
        self._joining[member.socket.fileno()] = member
        self._epoll.register(member.socket, select.EPOLLIN)

    def _serve(self, descriptor: int) -> None:
        member = self._joining[descriptor]
        alive = False
        with suppress(OSError, ProtocolError):
            alive = bool(member.read(0))
        if alive and not member.welcomed:
            return
        # A member that is in is read no more. What it is sent waits in the kernel, which has room.
        self._epoll.unregister(descriptor)
        del self._joining[descriptor]
        if alive:
            self._welcomed.append(member)
        else:
            member.socket.close()
            self._waiting.append(member.name)


def main() -> None:
    """Come back when told so, and stay until the input ends."""
    port, count, bits = map(int, sys.argv[1:])
    with prepared():
        _hurry()
        everybody = Returning(port, count, Keys(bits))
        print("ready", flush=True)
        sys.stdin.readline()
        for into in everybody.come():
            print(into, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
