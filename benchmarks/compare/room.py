"""A contender that runs, and the members that the load holds there: what every contender is asked.

What arrives is counted for each member, and kept for those whose words are compared. How one comes
in and what a message looks like is the contender's own (`lines.py`, `ours.py`).
"""

import os
import select
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

from benchmarks.load import Program

SPEAKERS = 4
"""Members that speak in a flood. They come last; the one before them is the witness."""

TEXT_BYTES = 100
NUMBERED = 12
"""So much of a text says whose it is, and which; the rest is the same in all."""

SILENCE_SECONDS = 30.0
"""Nothing that is waited for takes longer; otherwise something is broken, and we say so."""

SETTLED_SECONDS = 0.05
"""When nothing has arrived for so long, nothing is under way any more."""


class ContenderError(Exception):
    """A contender cannot do what it was asked, for a reason that the table shows."""


class Link(Protocol):
    """One member's connection."""

    def fileno(self) -> int:
        """Its descriptor."""

    def send(self, data: bytes) -> None:
        """Send all of this, which is little enough for the kernel to take."""

    def take(self) -> int:
        """Read what has arrived, and say how many bytes of the contender's own protocol it was."""

    def close(self) -> None:
        """End it."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Messages of one speaker as they are sent, how many, and the bytes by which the witness knows
    that the last one has come."""

    up: bytes
    count: int
    needle: bytes


def text(speaker: int, number: int) -> str:
    """What a speaker says: always of the same size, and never twice the same."""
    return f"s{speaker} {number:08d} ".ljust(TEXT_BYTES, "x")


def _nothing() -> None:
    return


class Room(ABC):
    """A program on the first core with its members, all of whom hear what one says.

    `unit` is the size of a message as it arrives. `surplus` is the size of what else the program
    may put in between, if it does. `meanwhile` is called again and again while something takes
    long.
    """

    unit: int = 0
    surplus: int = 0
    hears_itself: bool = True

    def __init__(self, program: Program) -> None:
        self.program = program
        self.links: list[Link] = []
        self.got: list[int] = []
        self.meanwhile: Callable[[], None] = _nothing
        self._index: dict[int, int] = {}
        self._epoll = select.epoll()
        self._epoll.register(program.output, select.EPOLLIN)

    def close(self) -> None:
        """Hang up, and end the program."""
        self._epoll.close()
        for link in self.links:
            link.close()
        self.program.stop()

    # -- members -------------------------------------------------------------------------------

    @abstractmethod
    def enter(self, count: int, at_once: int, deadline: float) -> None:
        """Let so many more members in, so many handshakes at a time if it can be.

        Raises:
            ContenderError: they were not in by the deadline.
        """

    @abstractmethod
    def ready(self) -> None:
        """Let the witness and the speakers come in, and find out what a message is like."""

    @property
    @abstractmethod
    def size(self) -> int:
        """How many are in."""

    def keep_alive(self) -> None:
        """Give a sign of life for each member, where one is due; most protocols need none."""
        return

    def add(self, link: Link) -> None:
        """Count what arrives on one more connection."""
        self._index[link.fileno()] = len(self.links)
        self.links.append(link)
        self.got.append(0)
        self._epoll.register(link.fileno(), select.EPOLLIN)

    @property
    def witness(self) -> int:
        """Which of the members it is whose words are compared."""
        return len(self.links) - SPEAKERS - 1

    def speaker(self, number: int) -> int:
        """Which of the members is this speaker."""
        return len(self.links) - SPEAKERS + number

    # -- words ---------------------------------------------------------------------------------

    @abstractmethod
    def batch(self, speaker: int, texts: list[str]) -> Batch:
        """What this speaker has to send to say these."""

    @abstractmethod
    def heard(self) -> bytearray:
        """What the witness has heard since `settle`, as it came."""

    @abstractmethod
    def texts(self) -> list[str]:
        """What the witness has heard since `settle`, opened; asked for once."""

    def say(self, speaker: int, batch: Batch) -> None:
        """Let a speaker send it."""
        self.links[self.speaker(speaker)].send(batch.up)

    def deliveries(self, messages: int) -> int:
        """How many members all these messages reach, taken together."""
        return messages * (len(self.links) - (not self.hears_itself))

    def due(self, by_speaker: list[int]) -> list[int]:
        """How many messages each member gets, when the speakers say so many each."""
        every = [sum(by_speaker)] * len(self.links)
        if not self.hears_itself:
            for number, own in enumerate(by_speaker):
                every[self.speaker(number)] -= own
        return every

    def missing(self, due: list[int]) -> int:
        """How many members have not been delivered exactly what is due."""
        extra = (got - messages * self.unit for got, messages in zip(self.got, due, strict=True))
        return sum(left < 0 or left % (self.surplus or left + 1) != 0 for left in extra)

    # -- counting ------------------------------------------------------------------------------

    def pump(self, timeout: float | None = None) -> list[tuple[int, int]]:
        """Wait until something arrives, and take it: which member has got how many bytes. Without
        a timeout something is due.

        Raises:
            ContenderError: nothing came for long, or the program has ended.
        """
        ready = self._epoll.poll(SILENCE_SECONDS if timeout is None else timeout)
        if not ready and timeout is None:
            raise ContenderError(f"{self._lacking()} nothing arrived for {SILENCE_SECONDS:.0f} s")
        arrived = []
        for descriptor, _ in ready:
            index = self._index.get(descriptor)
            if index is None:
                self._read_output()
                continue
            size = self.links[index].take()
            self.got[index] += size
            arrived.append((index, size))
        return arrived

    def rest(self) -> None:
        """Wait until nothing is under way any more."""
        while self.pump(SETTLED_SECONDS):
            pass

    def settle(self) -> None:
        """Take what is still under way, and begin to count anew."""
        self.rest()
        self.got = [0] * len(self.links)

    def _lacking(self) -> str:
        """What is known of a failure."""
        least, most = min(self.got, default=0), max(self.got, default=0)
        return f"members have got {least} to {most} bytes, and then"

    def _read_output(self) -> None:
        if not os.read(self.program.output, 65536):
            raise ContenderError("the program has ended")


class Contender(ABC):
    """A server that can be measured. Without `joins` there is nothing to come into: it only passes
    bytes on."""

    name: ClassVar[str]
    title: ClassVar[str]
    short: ClassVar[str]
    encrypts: ClassVar[bool] = True
    joins: ClassVar[bool] = True

    @abstractmethod
    def lacks(self) -> str:
        """What has to be installed before it can run; nothing, if nothing."""

    @abstractmethod
    def version(self) -> str:
        """Which version of it is here."""

    @abstractmethod
    def start(self, directory: Path, members: int) -> Room:
        """Start it with its files in `directory`, for so many members, and nobody in."""


def at_latest(deadline: float, done: int, wanted: int) -> None:
    """Go on only before the deadline.

    Raises:
        ContenderError: it has passed.
    """
    if time.monotonic() > deadline:
        raise ContenderError(f"{done} of {wanted} members were in when the time was over")
