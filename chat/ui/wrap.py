"""Where lines are broken on a terminal: columns of text, and rows that nobody can forge.

On a terminal only the first row of a message or status line begins at the very left, whatever the
text is. So no text can contain a row that passes for a line of the program. Three rules ensure it:

1. Text is broken where a row is full, and the next row is indented.
2. A row with characters that some terminals show wider than we count is one that the terminal is
   told not to wrap (`unwrapped`).
3. The terminal wraps only single words, so that a long link can be copied whole: words of ASCII,
   and links in any script (`_is_link`). These stand alone in their row, behind the head of a
   message at most. They have no blank in them, and so look like no line of ours.

Rows are made one by one, since only the first of very many are shown, and the cost of each is
proportional to its length.
"""

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import accumulate
from typing import NamedTuple

from chat.limits import CACHED_CHARS, MAX_LINK_CHARS
from chat.phrases import INDENT
from chat.text import is_blank

Measure = Callable[[str], int]
"""How many columns a character takes."""


def columns_of(text: str) -> int:
    """How many columns of a terminal a line takes (Unicode, UAX 11)."""
    return width_of(text, _columns_of_char)


def width_of(text: str, measure: Measure) -> int:
    """The same, by this measure."""
    return len(text) if text.isascii() else sum(map(measure, text))


@lru_cache(CACHED_CHARS)
def _columns_of_char(char: str) -> int:
    if char == "\ufe0f":
        # It turns a narrow symbol into an emoji, which is wide.
        return 1
    if unicodedata.category(char) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


_WIDE_SINCE_UNICODE_16 = re.compile(
    "[\u2630-\u2637\u268a-\u268f\u4dc0-\u4dff\U0001d300-\U0001d376\U0001f1e6-\U0001f1ff]"
)


@lru_cache(CACHED_CHARS)
def at_most(char: str) -> int:
    """How many columns a character takes on the terminals that show it widest. Characters that
    Unicode calls ambiguous (Greek, Cyrillic) count as narrow, as nearly all terminals show them."""
    if _WIDE_SINCE_UNICODE_16.match(char) or unicodedata.category(char) in ("Cn", "Co"):
        return 2
    return _columns_of_char(char)


def at_most_of_dumb(char: str) -> int:
    """The same for a terminal that cannot be told not to wrap: all but ASCII may be wide."""
    return 1 if char.isascii() else 2


def broken(text: str, columns: int) -> list[str]:
    """The rows of a line of our own."""
    return [row.text for row in Wrapper(columns, at_most).rows(text, "")]


def unwrapped(row: str) -> str:
    """A row that the terminal is told not to wrap (DECAWM, reset and set), unless it is ASCII: then
    its width is certain."""
    return row if row.isascii() else f"\x1b[?7l{row}\x1b[?7h"


def cut(text: str, columns: int) -> str:
    """The beginning of a line, as much as fits into these columns."""
    if _end_of_row(text, 0, columns, at_most) == len(text):
        return text
    return text[: _end_of_row(text, 0, columns - 1, at_most)] + "…"


class Row(NamedTuple):
    """A row, and where the text goes on after it: the number of the line, and the place there.
    `spills`: it ends with a link that the terminal wraps."""

    text: str
    line: int = 0
    at: int = 0
    spills: bool = False


class Left(NamedTuple):
    """How much of a text is not shown."""

    lines: int
    characters: int


def left_of(text: str, last: Row) -> Left:
    """What follows the row that is shown last."""
    rest = text.split("\n", last.line)[-1]
    return Left(rest.count("\n"), len(rest) - last.at)


class Wrapper:
    """Breaks text into rows. A row ends, in this order of preference:

    1. where the line ends, if the rest of it fits;
    2. between words, as late as fits;
    3. behind the head, if the first word does not fit beside it but stays whole or fits a row;
    4. after one word that is too long, if it is ASCII or a link: it stays whole, and the terminal
       wraps it;
    5. inside a word: it is torn where the row is full, but not before what ends a sentence.

    `room` is the number of columns for text in a row; `may_spill` says that 4 is allowed, which it
    is unless a head with other characters stands before the text.
    """

    def __init__(self, columns: int, measure: Measure) -> None:
        self._columns = columns
        self._measure = measure
        self._room = columns - len(INDENT)

    def rows(self, text: str, head: str) -> Iterator[Row]:
        """The rows of a text that begins behind a head. The first row comes without the head; the
        others, and the first if the head takes more than a row itself, are full rows."""
        room = self._columns - width_of(head, self._measure)
        indent, may_spill = "", head.isascii()
        if room < 0:
            room, may_spill = self._room, True
        for number, line in enumerate(_lines_of(text)):
            yield from self._rows_of_line(number, line, indent, room, may_spill=may_spill)
            indent, room, may_spill = INDENT, self._room, True

    def _rows_of_line(
        self, number: int, line: str, indent: str, room: int, *, may_spill: bool
    ) -> Iterator[Row]:
        """`indent`, `room` and `may_spill` hold for the first row. `torn_to` is the end of a word
        that is being torn: until then its end need not be looked for again, which keeps the cost
        linear."""
        line = (indent + line.rstrip()).expandtabs()[len(indent) :]
        at = torn_to = 0
        is_first, is_ascii = True, line.isascii()
        while True:
            end = _end_of_row(line, at, room, self._measure)
            if end == len(line):
                yield Row(indent + line[at:], number, end)
                return
            full = end
            if end > torn_to or at == torn_to:
                end, torn_to = self._last_break(line, at, end, room, may_spill=may_spill)
            if not is_ascii:
                end = _before_what_ends(line, at, end)
            spills = end > full
            if end == at and not is_first:
                # The window is too narrow for anything: take one character a row.
                end = at + 1
            row = line[at:end].rstrip()
            at = _end_of_blanks(line, end)
            yield Row(indent + row, number, at, spills)
            if at == len(line):
                return
            indent, room, may_spill, is_first = INDENT, self._room, True, False

    def _last_break(
        self, line: str, at: int, end: int, room: int, *, may_spill: bool
    ) -> tuple[int, int]:
        """Where to end a row that begins at `at` and is full at `end`; and up to where a word is
        torn, which is `at` if none is."""
        begin = _begin_of_word(line, at, end)
        if line[end].isspace() or begin > at:
            return (end if line[end].isspace() else begin), at
        stop = _end_of_word(line, end, at + MAX_LINK_CHARS)
        if line[at:stop].isascii() or self._is_link(line[at:stop]):
            return (stop if may_spill else at), at
        if room < self._room and _end_of_row(line, at, self._room, self._measure) >= stop:
            return at, at
        return end, stop

    def _is_link(self, word: str) -> bool:
        """Whether a word begins as a link does, and everything in it can be seen, and is as wide as
        we count it on all terminals."""
        return _LINK.match(word) is not None and all(map(self._is_clear, set(word)))

    def _is_clear(self, char: str) -> bool:
        clear = not is_blank(char) and unicodedata.category(char)[0] in "LMNPS"
        return clear and self._measure(char) == _columns_of_char(char)


_LINK = re.compile(r"[(<\[\"'«„“]*[A-Za-z][A-Za-z0-9+.-]*://")
"""How a link begins (RFC 3986, 3.1), after brackets and quotation marks."""

_ENDS = frozenset(
    "\u3001\u3002\u3009\u300b\u300d\u300f\u3011\u3015\u3017\uff01\uff09\uff0c\uff0e\uff1a\uff1b"
    "\uff1f\uff3d\uff5d\uff61\uff63\uff64"
)
"""Ideographic full stop and comma, and closing brackets and what ends a sentence, as wide as those
or half as wide (Unicode, UAX 14: CL and EX)."""
_MOST_ENDS = 4
"""No more of them than a sentence needs are kept together with the letter before."""


def _before_what_ends(line: str, at: int, end: int) -> int:
    """Where to end a row instead if the next one would begin with what ends a sentence or a bracket
    in Chinese and Japanese (JIS X 4051, in short): before the letter that it belongs to."""
    if end == len(line):
        return end
    for earlier in range(end, max(at, end - _MOST_ENDS - 1), -1):
        if line[earlier] not in _ENDS:
            return earlier
    return end


_MEASURED_AT_ONCE = 8
"""More characters than columns may fit, since marks take none: so look at this many at least."""


def _end_of_row(line: str, at: int, room: int, measure: Measure) -> int:
    """Where the text ends that begins at `at` and fits into `room` columns."""
    if line.isascii():
        return min(at + max(0, room), len(line))
    while at < len(line) and room >= 0:
        part = line[at : at + max(room + 1, _MEASURED_AT_ONCE)]
        ends = list(accumulate(map(measure, part)))
        if ends[-1] > room:
            return at + bisect_right(ends, room)
        at += len(part)
        room -= ends[-1]
    return at


def _lines_of(text: str) -> Iterator[str]:
    """The lines one by one: of very many, most are not shown."""
    at = 0
    while (end := text.find("\n", at)) >= 0:
        yield text[at:end]
        at = end + 1
    yield text[at:]


def _begin_of_word(line: str, at: int, end: int) -> int:
    """Where the word at `end` begins, at `at` at the earliest; `end` if a blank is before it."""
    row = line[at:end]
    return end if not row or row[-1].isspace() else end - len(row.rsplit(maxsplit=1)[-1])


_BLANK, _NO_BLANK = re.compile(r"\s"), re.compile(r"\S")


def _end_of_word(line: str, at: int, most: int) -> int:
    found = _BLANK.search(line, at, most)
    return found.start() if found else min(most, len(line))


def _end_of_blanks(line: str, at: int) -> int:
    found = _NO_BLANK.search(line, at)
    return found.start() if found else len(line)


def fitting(line: str, columns: int | None) -> list[str]:
    """The rows of a line of an error, on a terminal with so many columns. What is indented by
    INDENT is a command: it stays whole, so that it can be copied."""
    return [line] if columns is None or line.startswith(INDENT) else broken(line, columns)
