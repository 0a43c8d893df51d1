"""Bytes drive choices: so a fuzzer that knows only bytes makes inputs with a structure."""

import math
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

Choice = TypeVar("Choice")

MOST_SECONDS = 0.05
"""Of processor time, for anything that 16 KiB from a peer can bring about."""

slowdown = 1.0
"""How much slower the code runs while its coverage is measured."""


class Choices:
    """What an input decides. When its bytes are used up, it always decides for the first."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def __bool__(self) -> bool:
        return self._at < len(self._data)

    def rest(self) -> bytes:
        return self.take(len(self._data) - self._at)

    def take(self, size: int) -> bytes:
        taken = self._data[self._at : self._at + size]
        self._at += size
        return taken.ljust(size, b"\0")

    def number(self, below: int) -> int:
        return int.from_bytes(self.take(1 + (below - 1).bit_length() // 8), "big") % below

    def pick(self, options: Sequence[Choice]) -> Choice:
        return options[self.number(len(options))]

    def near(self, right: int, most: int) -> int:
        """A number that is mostly right, and at most this."""
        wrong = self.number(256) - 236
        others = (right + 1, right - 1, 0, 1, most, right + 7)
        return min(right if wrong < 0 else max(0, others[wrong % len(others)]), most)

    def mutated(self, data: bytes) -> bytes:
        """`data` with a bit changed, a part left out, something put in, or its end cut off."""
        at = self.number(len(data) + 1)
        end = at + self.number(256)
        changed = bytes(byte ^ 1 << self.number(8) for byte in data[at : at + 1])
        return data[:at] + self.pick(
            (changed + data[at + 1 :], data[end:], data[at - end :] + data[at:], b"")
        )


def cheap(work: Callable[[], Choice]) -> Choice:
    """Do this, and measure it: the best of three, since a busy machine makes it look slow."""
    least = math.inf
    for _ in range(3):
        began = time.thread_time()
        result = work()
        least = min(least, time.thread_time() - began)
        if least <= MOST_SECONDS * slowdown:
            return result
    raise AssertionError(f"took {least * 1000:.0f} ms of processor time")
