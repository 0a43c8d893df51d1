"""The work that is put on a contender: a flood, a steady pace. Each delivery is counted, and what
the witness heard is compared with what was said."""

import time
from collections import deque
from dataclasses import dataclass, field
from itertools import chain

from benchmarks.compare.room import SPEAKERS, Batch, ContenderError, Room, text

WINDOW = 64
"""Messages that a speaker has under way in a flood."""

WARM_UP = 16
"""Messages of each speaker in the flood that warms up, and tells how long the others take."""

MAX_BATCHES = 16
"""Of each speaker in one flood."""


class Sayings:
    """What the speakers say, never the same twice."""

    def __init__(self) -> None:
        self._said = [0] * SPEAKERS

    def next(self, speaker: int, count: int) -> list[str]:
        """The next texts of a speaker."""
        begin = self._said[speaker] + 1
        self._said[speaker] += count
        return [text(speaker, number) for number in range(begin, begin + count)]


@dataclass(frozen=True, slots=True)
class Cost:
    """The program's CPU for one delivery, in microseconds; which part of the time the program was
    busy."""

    microseconds: float
    busy: float


@dataclass(slots=True)
class Delays:
    """From the moment at which the speaker sends to the one at which the load sees that something
    has arrived, for every delivery, in milliseconds."""

    milliseconds: list[float] = field(default_factory=list)

    def at(self, share: float) -> float:
        """The delay that this share of the deliveries did not exceed."""
        ordered = sorted(self.milliseconds)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def flood(room: Room, sayings: Sayings, batches: int, window: int = WINDOW) -> Cost:
    """All speakers at a time: each sends so many messages, and the next ones as soon as the witness
    has the last of them.

    Raises:
        ContenderError: something was not delivered, or is not what was said.
    """
    room.settle()
    texts = [[sayings.next(number, window) for _ in range(batches)] for number in range(SPEAKERS)]
    plans = [deque(room.batch(number, own) for own in said) for number, said in enumerate(texts)]
    due = room.due([window * batches] * SPEAKERS)
    cost = _Clock(room)
    _drive(room, plans, due)
    figures = cost.stop(SPEAKERS * window * batches)
    _compare(room, [list(chain.from_iterable(said)) for said in texts])
    return figures


def _drive(room: Room, plans: list[deque[Batch]], due: list[int]) -> None:
    needles: dict[int, bytes] = {}
    searched = 0
    wanted = sum(due) * room.unit

    def say(speaker: int) -> None:
        needles.pop(speaker, None)
        if plans[speaker]:
            batch = plans[speaker].popleft()
            needles[speaker] = batch.needle
            room.say(speaker, batch)

    for speaker in range(SPEAKERS):
        say(speaker)
    heard = room.heard()
    while needles or wanted > 0 or room.missing(due):
        room.meanwhile()
        wanted -= sum(size for _, size in room.pump())
        if len(heard) > searched:
            came = [who for who, needle in needles.items() if heard.find(needle, searched) >= 0]
            # A needle may lie across the end.
            searched = max(0, len(heard) - max(map(len, needles.values()), default=0))
            for speaker in came:
                say(speaker)


def paced(room: Room, sayings: Sayings, rate: float, seconds: float, delays: Delays) -> Cost:
    """One speaker says so many messages a second, whether the last one has arrived or not; adds to
    `delays`.

    Raises:
        ContenderError: something was not delivered, or is not what was said.
    """
    room.settle()
    count = max(2, round(rate * seconds))
    texts = sayings.next(0, count)
    batches = [room.batch(0, [each]) for each in texts]
    due = room.due([count] + [0] * (SPEAKERS - 1))
    sent: list[float] = []
    cost = _Clock(room)
    began = time.perf_counter()
    while len(sent) < count or room.missing(due):
        now = time.perf_counter()
        if len(sent) < count and now >= began + len(sent) / rate:
            # As if it had been said in time, also when the load itself is late.
            sent.append(began + len(sent) / rate)
            room.say(0, batches[len(sent) - 1])
            continue
        next_one = began + len(sent) / rate - now
        arrived = room.pump(next_one) if len(sent) < count else room.pump()
        _note(room, arrived, sent, delays)
    figures = cost.stop(count)
    _compare(room, [texts, *([] for _ in range(SPEAKERS - 1))])
    return figures


def _note(room: Room, arrived: list[tuple[int, int]], sent: list[float], delays: Delays) -> None:
    """Which messages these bytes end, and how long they took."""
    now = time.perf_counter()
    for index, size in arrived:
        if room.surplus and size % room.unit == room.surplus:
            room.got[index] -= room.surplus
            size -= room.surplus
        end = room.got[index] // room.unit
        begin = (room.got[index] - size) // room.unit
        delays.milliseconds += [(now - at) * 1000 for at in sent[begin:end]]


class _Clock:
    """What the program spends from now on."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._began, self._cpu = time.perf_counter(), room.program.cpu_seconds

    def stop(self, messages: int) -> Cost:
        """For so many messages."""
        spent = self._room.program.cpu_seconds - self._cpu
        return Cost(
            spent / self._room.deliveries(messages) * 1e6,
            spent / (time.perf_counter() - self._began),
        )


def _compare(room: Room, said: list[list[str]]) -> None:
    """What the witness heard of each speaker is what that one said, in its order."""
    heard = room.texts()
    for number, own in enumerate(said):
        theirs = [each for each in heard if each.startswith(f"s{number} ")]
        if theirs != own:
            raise ContenderError(f"the witness heard speaker {number} say something else")
