"""Newcomers and an honest pair, while one address keeps very many silent connections up.

The crowd is a process of its own (`python -m benchmarks.crowd PORT SOURCE COUNT`), which opens a
connection anew as soon as it is closed. It yields the core to the honest, who share it.
"""

import os
import select
import signal
import socket
import statistics
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.load import (
    DEADLINE_SECONDS,
    HOST,
    Crowd,
    Keys,
    Member,
    Program,
    Row,
    chat_server,
    environment,
    join_speakers,
    progress,
    short,
)
from chat.errors import ProtocolError

ADDRESS = "127.0.0.2"
"""Where the crowd comes from; the pair, and every other newcomer, come from `HOST`."""

NEWCOMERS = 6
MESSAGES = 400
PAUSE_SECONDS = 0.005
"""Between two messages of the pair."""

SETTLE_SECONDS = 4.0
"""The crowd is there, and a server that waits for first words has begun to lose patience."""


def measure(count: int, keys: Keys, directory: Path) -> Iterator[Row]:
    """The same server without the crowd, and with it."""
    with chat_server(directory) as server, Crowd(server) as room:
        pair = join_speakers(room, server.port, ["ira", "sahnawaz"], keys)
        yield from _figures("alone", server, room, pair, keys)
        progress(f"{count} connections from {ADDRESS} ...")
        with _crowd(server.port, count) as counted:
            before, began = server.cpu_seconds, time.monotonic()
            yield from _figures(f"beside {count} silent", server, room, pair, keys)
            busy = (server.cpu_seconds - before) / (time.monotonic() - began)
            yield Row("  server busy meanwhile", f"{busy:.0%}")
            yield Row("  closed and opened again", f"{short(counted())} a second")


def _figures(
    title: str, server: Program, room: Crowd, pair: list[Member], keys: Keys
) -> Iterator[Row]:
    delays = sorted(_delays(room, pair))
    middle, slow = statistics.median(delays), delays[len(delays) * 99 // 100]
    yield Row(f"{title}: a message's delay", f"p50 {short(middle)} ms, p99 {short(slow)} ms")
    for which, source in ("another", HOST), ("the same", ADDRESS):
        times = []
        for number in range(NEWCOMERS):
            progress(f"{title}: newcomer {number + 1} of {NEWCOMERS} from {which} address ...")
            times.append(_welcome(server.port, source, keys))
            for member in pair:
                member.ping()
            room.drain()
        yield Row(f"  newcomer, {which} address", _summary(times))


def _summary(times: list[float | None]) -> str:
    into = [taken for taken in times if taken is not None]
    if not into:
        return f"none of {len(times)} came in"
    found = f"{short(statistics.median(into))} ms, at most {short(max(into))} ms"
    return found if len(into) == len(times) else f"{found}; {len(into)} of {len(times)} came in"


def delay(room: Crowd, pair: list[Member]) -> float:
    """Milliseconds from a message of one to its arrival at the other."""
    speaker, listener = pair
    room.drain()
    message = speaker.seal("x" * 100)
    begun = time.perf_counter()
    speaker.socket.sendall(message.up)
    wanted = len(listener.texts) + 1
    while len(listener.texts) < wanted:
        room.count()
        # If somebody has left meanwhile, the server may have asked for it again.
        speaker.send_unsent()
    return (time.perf_counter() - begun) * 1000


def _delays(room: Crowd, pair: list[Member]) -> Iterator[float]:
    for _ in range(MESSAGES):
        yield delay(room, pair)
        time.sleep(PAUSE_SECONDS)


def _welcome(port: int, source: str, keys: Keys) -> float | None:
    """Milliseconds from the first SYN to the welcome; None if it did not come to that."""
    key, begun = keys.take(), time.perf_counter()
    try:
        newcomer = Member(port, f"newcomer {begun:.6f}", key, source)
    except OSError:
        return None
    with newcomer.socket:
        poll = select.poll()
        poll.register(newcomer.socket, select.POLLIN)
        while not newcomer.welcomed:
            if not poll.poll(DEADLINE_SECONDS * 1000):
                return None
            try:
                if not newcomer.read(0):
                    return None
            except (OSError, ProtocolError):
                return None
        return (time.perf_counter() - begun) * 1000


# -- the crowd ---------------------------------------------------------------------------------


@contextmanager
def _crowd(port: int, count: int) -> Iterator["Counter"]:
    command = [sys.executable, "-m", "benchmarks.crowd", str(port), ADDRESS, str(count)]
    process = subprocess.Popen(
        command, env=environment(), stdout=subprocess.PIPE, stdin=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(SETTLE_SECONDS)
        yield Counter(process)
    finally:
        process.terminate()
        process.communicate()


class Counter:
    """Asks the crowd's process how many connections it has opened anew, a second."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process
        self._began, self._before = time.monotonic(), self._ask()

    def _ask(self) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(b"\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def __call__(self) -> float:
        return (self._ask() - self._before) / (time.monotonic() - self._began)


def keep_up(port: int, source: str, count: int) -> None:
    """Keep so many connections up, and say nothing on them. For each line of standard input: how
    often one was opened anew."""
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    os.setpriority(os.PRIO_PROCESS, 0, 10)
    epoll = select.epoll()
    epoll.register(0, select.EPOLLIN)
    sockets: dict[int, socket.socket] = {}

    def dial() -> None:
        dialing = socket.socket()
        dialing.setblocking(False)
        dialing.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        dialing.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        dialing.bind((source, 0))
        dialing.connect_ex((HOST, port))
        sockets[dialing.fileno()] = dialing
        # The HELLO is left unread; only the end of the connection is waited for.
        epoll.register(dialing.fileno(), select.EPOLLRDHUP)

    for _ in range(count):
        dial()
    print("all are on their way", flush=True)
    opened = 0
    while True:
        for descriptor, _ in epoll.poll():
            if descriptor == 0:
                if not os.read(0, 4096):
                    return
                print(opened, flush=True)
                continue
            # Closing also takes it from the epoll.
            sockets.pop(descriptor).close()
            dial()
            opened += 1


IP_BIND_ADDRESS_NO_PORT = 24
"""Linux: pick the port when the other end is known, so that ports do not run out (ip(7))."""

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    keep_up(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
