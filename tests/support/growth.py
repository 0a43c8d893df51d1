"""How the cost of a piece of work grows when a text is twice as long.

The cost is CPU time of this thread, so waiting for other processes does not count. They disturb it
nevertheless, when they share the core: so the two lengths are compared in turns, and the median of
several such ratios counts. If it is not plain, more are taken. Linear work comes out near 2, and
quadratic work near 4.
"""

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

from hypothesis import strategies as st

_PAIRS = 5
_BATCHES = 10
_PLAINLY_LINEAR = 2.3

_PIECES = [
    *" \t\u00a0\u2003\u3000\u2800",
    *"\u0301\u0316\u0344\u20dd\u034f\ufe0f\u0903\u1161\u11a8\u1100",
    *"\u200c\u200d\u202e\u00ad\u2028",
    *"\n\r\0\x1b\x7f\x85",
    *"xΣßİд漢👋🇦☺\ufdfa\u1f82가\ue000\u0378",
    "👨\u200d",
    "e\u0301",
    "ira",
    "Ira ",
    "https://example.org/",
    "достопримечательность ",
]
"""Blanks, marks, joiners, controls, letters and words: what texts are made of."""


@dataclass(frozen=True)
class Grown:
    """A text of any length: a run of each piece, or all pieces again and again."""

    pieces: tuple[str, ...]
    in_runs: bool

    def __call__(self, chars: int) -> str:
        if not self.in_runs:
            pattern = "".join(self.pieces)
            return pattern * (chars // len(pattern))
        return "".join(piece * (chars // len(self.pieces) // len(piece)) for piece in self.pieces)


TEXTS = st.builds(
    Grown, st.lists(st.sampled_from(_PIECES), min_size=1, max_size=5).map(tuple), st.booleans()
)


def growth(work: Callable[[str], object], text: Callable[[int], str], chars: int = 1000) -> float:
    """How many times as long the work takes when a text of so many characters is twice as long."""
    short, long = text(chars), text(2 * chars)
    ratios = []
    for _ in range(_BATCHES):
        ratios.append(statistics.median(_ratio(work, short, long) for _ in range(_PAIRS)))
        if ratios[-1] < _PLAINLY_LINEAR:
            break
    return min(ratios)


def _ratio(work: Callable[[str], object], short: str, long: str) -> float:
    before, doubled, after = (_seconds(work, one) for one in (short, long, short))
    return 2 * doubled / (before + after)


def _seconds(work: Callable[[str], object], text: str) -> float:
    gc.disable()
    try:
        began = time.thread_time()
        work(text)
        return time.thread_time() - began
    finally:
        gc.enable()
