"""What Tab can make of a line: names, and the words of a command. Which words a command takes is
decided in `commands`, and Tab is the editor's."""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from chat.text import LONGEST_NAME_TYPED, caseless_name

_WORD = re.compile(r"(?<!\S)(?=([@(]*))")
"""Before a word, and what may stand between that place and a name."""


class Offer(NamedTuple):
    """What the end of a line, from `begin` on, could become."""

    begin: int
    words: Sequence[str]


def words(line: str, begin: int, offered: Iterable[str]) -> Offer:
    """All that stands from `begin` on is the beginning of one of these."""
    key = caseless_name(line[begin:])
    return Offer(begin, [word for word in offered if caseless_name(word).startswith(key)])


def names(line: str, begin: int, offered: Iterable[str]) -> Offer:
    """The last words from `begin` on, as many as possible, are the beginning of one of these names,
    which may have blanks. At the beginning of the line a name is somebody spoken to."""
    keys = [(caseless_name(name), name) for name in offered]
    for at in _beginnings(line, begin):
        key = caseless_name(line[at:])
        end = " " if at else ": "
        if found := [name + end for other, name in keys if other.startswith(key)]:
            return Offer(at, found)
    return Offer(len(line), [])


def _beginnings(line: str, begin: int) -> Iterator[int]:
    """Where a name may begin, the first place first."""
    for word in _WORD.finditer(line, max(begin, len(line) - LONGEST_NAME_TYPED)):
        yield from range(word.start(), word.end(1) + 1)
