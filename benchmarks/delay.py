"""How long a message takes to each member, at an even pace, beside the bare loop.

The kernel stamps what arrives (SO_TIMESTAMPNS, socket(7)), so that it does not matter how soon this
process comes to read it. Server and bare loops take turns.
"""

import select
import socket
import statistics
import struct
import time
from itertools import cycle, pairwise
from pathlib import Path

from benchmarks.fanout import TEXT, Side, Size, contenders, ping
from benchmarks.load import DEADLINE_SECONDS, Batch, Keys, Row, frame_bytes, spread

PACE_SECONDS = 0.02
MESSAGES = 50
ROUNDS = 8
SETTLE_SECONDS = 1.0

AIM = "1.2 x"

_SO_TIMESTAMPNS = 35
_TIMESPEC = struct.Struct("qq")
_AT_A_TIME = 16
"""So many sockets are read before the next look at the clock: a message must leave in time."""


def measure(members: int, keys: Keys, directory: Path) -> list[Row]:
    """Delays in the same rounds, and the ratio of each round."""
    size = Size(members, 1, 1)
    with contenders(size, keys, directory) as (sides, joined):
        found: list[list[tuple[float, float]]] = [[] for _ in sides]
        for _ in range(1 + ROUNDS):
            ping(joined)
            # Two answers at once have more bytes than a message, so none may be on its way.
            time.sleep(SETTLE_SECONDS)
            batches = [joined[-1].seal(TEXT) for _ in range(MESSAGES)]
            for side, of_side in zip(sides, found, strict=True):
                of_side.append(percentiles(Paced(side, batches).run()))
    server, *_ = found
    rows = []
    for side, of_side in zip(sides, found, strict=True):
        rows += _rows(side.name, of_side[1:])
        if of_side is not server:
            rows += _ratios(side, server[1:], of_side[1:])
    return rows


def percentiles(delays: list[float]) -> tuple[float, float]:
    """The median, and what a hundredth is above."""
    cuts = statistics.quantiles(delays, n=100, method="inclusive")
    return cuts[49], cuts[98]


def _rows(name: str, rounds: list[tuple[float, float]]) -> list[Row]:
    return [
        Row(f"delay by the {name}, {which}", spread([each[at] for each in rounds], "ms"))
        for at, which in enumerate(("p50", "p99"))
    ]


def _ratios(
    side: Side, server: list[tuple[float, float]], theirs: list[tuple[float, float]]
) -> list[Row]:
    rows = []
    for at, which in enumerate(("p50", "p99")):
        ratios = [ours[at] / other[at] for ours, other in zip(server, theirs, strict=True)]
        aim = AIM if side.aim and which == "p99" else ""
        rows.append(Row(f"  server / {side.name}, {which}", spread(ratios, "x"), aim))
    return rows


def _nanoseconds(timespec: bytes) -> int:
    seconds, nanoseconds = _TIMESPEC.unpack(timespec)
    return int(seconds * 10**9 + nanoseconds)


class Paced:
    """The speakers of a side take turns to say a message every PACE_SECONDS, whether or not the
    last one is there.

    Frames of their size are messages, and the n-th on a connection is the n-th that was said. A
    frame may come in two pieces, where the log of the server has its end.
    """

    def __init__(self, side: Side, batches: list[Batch]) -> None:
        self._side = side
        self._batches = batches
        self._unit = len(self._batches[0].down)
        self._sockets = {connected.fileno(): connected for connected in side.sockets}
        self._heard = dict.fromkeys(self._sockets, 0)
        self._begun = dict.fromkeys(self._sockets, b"")
        self._said: list[int] = []
        self._delays: list[float] = []
        self._buffer = bytearray(65536)
        self._epoll = select.epoll()

    def run(self) -> list[float]:
        """The delay of each delivery in ms.

        Raises:
            RuntimeError: something has not arrived.
        """
        self._side.crowd.drain()
        for descriptor, connected in self._sockets.items():
            connected.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
            self._epoll.register(descriptor, select.EPOLLIN)
        began = time.monotonic()
        times = [began + number * PACE_SECONDS for number in range(MESSAGES)]
        for speaker, batch, (_, until) in zip(
            cycle(self._side.speakers), self._batches, pairwise([*times, times[-1] + PACE_SECONDS])
        ):
            self._said.append(time.time_ns())
            speaker.sendall(self._side.up(batch))
            while (left := until - time.monotonic()) > 0:
                self._read(left)
        while len(self._delays) < MESSAGES * len(self._sockets):
            if not self._read(DEADLINE_SECONDS):
                raise RuntimeError(f"nothing arrived for {DEADLINE_SECONDS:.0f} s")
        self._epoll.close()
        return self._delays

    def _read(self, timeout: float) -> int:
        ready = self._epoll.poll(timeout, _AT_A_TIME)
        self._side.crowd.reads += len(ready)
        for descriptor, _ in ready:
            size, stamps, _, _ = self._sockets[descriptor].recvmsg_into([self._buffer], 64)
            if not size:
                raise RuntimeError("the program closed a connection")
            arrived = _nanoseconds(stamps[0][2]) if stamps else time.time_ns()
            read = bytes(self._buffer[:size])
            self._side.keep(descriptor, read)
            heard = self._heard[descriptor]
            self._heard[descriptor] = heard + self._messages(descriptor, read)
            said = self._said[heard : self._heard[descriptor]]
            self._delays += [(arrived - at) / 1e6 for at in said]
        return len(ready)

    def _messages(self, descriptor: int, read: bytes) -> int:
        """How many have ended with this."""
        data = self._begun[descriptor] + read
        at = count = 0
        while (end := at + frame_bytes(data[at : at + 2])) <= len(data):
            count += end - at == self._unit
            at = end
        self._begun[descriptor] = data[at:]
        return count
