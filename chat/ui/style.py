"""What lines look like: colours, and where they are wrapped. What they say is `transcript`'s.

Colours are SGR codes (ECMA-48, 8.3.117).

On a terminal no row but the first of anything begins at the very left, whatever text it is: so
nobody can write a row that passes for a line of the program. Three things hold this up. Rows are
broken where they are full, and indented. What a terminal may show wider than we count is in a row
that the terminal is told not to wrap. And what the terminal does wrap, so that a long link can be
copied whole, is one word of ASCII, which has no blank. Rows are made one by one, as many as are
shown, and each costs what it holds.
"""

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from functools import lru_cache
from itertools import accumulate
from typing import NamedTuple
from zlib import crc32

from chat import localtime, phrases
from chat.client.events import ClientEvent, MessageReceived
from chat.limits import (
    CACHED_CHARS,
    FOLDED_BEYOND_ROWS,
    FOLDED_KEPT,
    FOLDED_TO_ROWS,
    MAX_LINK_CHARS,
)
from chat.text import action_of, caseless, fold_name
from chat.ui import transcript

DIM, BOLD, RED = "2", "1", "31"


class Colours(Enum):
    """The codes for names that a terminal understands; none at all without colours. Red is
    trouble's. Each of the 256 that is taken has a contrast of at least 3.5 both to black and to
    white (WCAG 2.1, contrast ratio); of the 8, those that can be read on most."""

    NONE = ()
    BASIC = ("32", "35", "36")
    RICH = tuple(f"38;5;{code}" for code in (130, 100, 64, 28, 30, 32, 63, 135, 164, 132))


def choose_colours(when: str, environ: Mapping[str, str], is_terminal: bool) -> Colours:
    """`when` is "always", "never" or "auto": as the terminal and the user's settings have it
    (https://no-color.org)."""
    term = environ.get("TERM", "dumb")
    plain = not is_terminal or term == "dumb" or bool(environ.get("NO_COLOR"))
    if when == "never" or (when == "auto" and plain):
        return Colours.NONE
    rich = "256color" in term or environ.get("COLORTERM") in ("truecolor", "24bit")
    return Colours.RICH if rich else Colours.BASIC


class Painter:
    """Turns what happens into lines, for one reader."""

    def __init__(
        self,
        name: str = "",
        colours: Colours = Colours.NONE,
        time_format: str = localtime.TIME_FORMAT,
        encoding: str = "utf-8",
        *,
        is_dumb: bool = False,
    ) -> None:
        """`name` is the reader's own. `encoding` is the terminal's; `is_dumb`: it knows no codes,
        and so cannot be kept from wrapping."""
        name = re.escape(caseless(name))
        # That no letter stands before it is looked at last: names are found faster so.
        self._mention = re.compile(rf"{name}(?!\w)(?<!\w{name})" if name else "(?!)")
        self._colours = colours
        self._time_format = time_format
        self._encoding = encoding
        self._is_dumb = is_dumb
        self._measure = _at_most_of_dumb if is_dumb else _at_most
        self._searched: MessageReceived | None = None
        self._found = False
        self._folded: dict[str, ClientEvent] = {}
        self._folded_so_far = 0

    def mentions(self, said: MessageReceived) -> bool:
        """Whether somebody else's message holds the reader's name, as a word of its own."""
        if said is not self._searched:
            action = action_of(said.text)
            text = said.text if action is None else action
            self._searched = said
            self._found = not said.own and self._mention.search(caseless(text)) is not None
        return self._found

    def paint(
        self, event: ClientEvent, columns: int | None = None, *, fold: bool = False
    ) -> list[str]:
        """The lines for what happened, wrapped at this many columns of a terminal; `fold`: of what
        takes very many rows the first, and how `unfold` shows the whole."""
        limit = FOLDED_BEYOND_ROWS if fold else None
        if isinstance(event, MessageReceived):
            rows, left = self._message(event, columns, limit)
        else:
            rows, left = self._status(transcript.happened(event), columns, limit)
        if left is not None:
            rows += self.status([transcript.folded(*left, self._keep_folded(event))], columns)
        return rows

    def unfold(self, number: str, columns: int | None) -> list[str]:
        """The lines for what was folded under this number, or last; none if nothing was."""
        number = number or str(self._folded_so_far)
        event = self._folded.get(number)
        return [] if event is None else self.paint(event, columns)

    def _keep_folded(self, event: ClientEvent) -> int:
        self._folded_so_far += 1
        self._folded[str(self._folded_so_far)] = event
        if len(self._folded) > FOLDED_KEPT:
            del self._folded[next(iter(self._folded))]
        return self._folded_so_far

    def status(self, lines: list[str], columns: int | None = None) -> list[str]:
        """Lines that begin with what they are: good news or trouble."""
        rows, _ = self._status(lines, columns, None)
        return rows

    def _status(
        self, lines: list[str], columns: int | None, limit: int | None
    ) -> "tuple[list[str], _Left | None]":
        painted: list[str] = []
        left = None
        for line in lines:
            code = RED if line.startswith(phrases.TROUBLE) else DIM
            # What has several lines is indented already, and would be once more.
            line = self._as_written(line).replace("\n" + phrases.INDENT, "\n")
            rows, more = self._lay_out(line, "", columns, limit)
            left = more or left
            painted += [self.colour(code, row) for row in rows]
        return self._held(painted, columns), left

    def colour(self, code: str, text: str) -> str:
        """The text in this colour, if there are colours."""
        return f"\x1b[{code}m{text}\x1b[m" if self._colours.value and text else text

    def hold(self, row: str) -> str:
        """A row that stays one row of a terminal: it is not wrapped (DECAWM, reset and set). A row
        of ASCII may be: its columns are beyond doubt."""
        return row if row.isascii() or self._is_dumb else f"\x1b[?7l{row}\x1b[?7h"

    def _held(self, rows: list[str], columns: int | None) -> list[str]:
        return rows if columns is None else [self.hold(row) for row in rows]

    def _message(
        self, said: MessageReceived, columns: int | None, limit: int | None
    ) -> "tuple[list[str], _Left | None]":
        time, who, text = map(self._as_written, transcript.said(said, self._time_format))
        head = f"{time} {who} ".lstrip(" ")
        (first, *rest), left = self._lay_out(text, head, columns, limit)
        if self._colours.value and self.mentions(said):
            first, *rest = (self.colour(BOLD, row) for row in (first, *rest))
        code = self._colour_of(said.name)
        parts = [self.colour(DIM, time)] if time else []
        heads = [" ".join([*parts, self.colour(code, who), first])]
        if columns is not None and _width(head, self._measure) > columns:
            # Rare, but a name is text of others, too.
            head_rows, _ = self._lay_out(head, "", columns, None)
            heads = [*(self.colour(code, row) for row in head_rows), phrases.INDENT + first]
        return self._held([*heads, *rest], columns), left

    def _as_written(self, text: str) -> str:
        """A text with escapes for what the terminal cannot be told: they take more columns."""
        return text.encode(self._encoding, "backslashreplace").decode(self._encoding)

    def _lay_out(
        self, text: str, head: str, columns: int | None, limit: int | None
    ) -> "tuple[list[str], _Left | None]":
        """The rows of a text that begins behind a head, and what is left if they are too many."""
        if columns is None:
            return text.replace("\n", "\n" + phrases.INDENT).split("\n"), None
        rows = _Wrapper(columns, self._measure).rows(text, head)
        if limit is None:
            return [row.text for row in rows], None
        shown: list[_Row] = []
        taken, kept = 0, 1
        for row in rows:
            shown.append(row)
            # The terminal makes several of it if it is one long word.
            taken += max(1, -(-len(row.text) // columns)) if row.text.isascii() else 1
            if taken <= FOLDED_TO_ROWS:
                kept = len(shown)
            elif taken > limit:
                return [row.text for row in shown[:kept]], _left_of(text, shown[kept - 1])
        return [row.text for row in shown], None

    def _colour_of(self, name: str) -> str:
        codes = self._colours.value
        return codes[crc32(fold_name(name).encode()) % len(codes)] if codes else ""


# -- columns


def columns_of(text: str) -> int:
    """How many columns of a terminal a line takes (Unicode, UAX 11)."""
    return _width(text, _columns_of_char)


Measure = Callable[[str], int]
"""How many columns a character takes."""


def _width(text: str, measure: Measure) -> int:
    return len(text) if text.isascii() else sum(map(measure, text))


@lru_cache(CACHED_CHARS)
def _columns_of_char(char: str) -> int:
    if char == "\ufe0f":
        # Makes an emoji, which is wide, of a narrow symbol.
        return 1
    if unicodedata.category(char) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


_WIDE_SINCE_UNICODE_16 = re.compile(
    "[\u2630-\u2637\u268a-\u268f\u4dc0-\u4dff\U0001d300-\U0001d376\U0001f1e6-\U0001f1ff]"
)


@lru_cache(CACHED_CHARS)
def _at_most(char: str) -> int:
    """How many columns a character takes on the terminals that show it widest. Not so for those
    that Unicode calls ambiguous: Greek and Cyrillic are, and nearly everywhere narrow."""
    if _WIDE_SINCE_UNICODE_16.match(char) or unicodedata.category(char) in ("Cn", "Co"):
        return 2
    return _columns_of_char(char)


def _at_most_of_dumb(char: str) -> int:
    """The same where nothing can be left to doubt."""
    return 1 if char.isascii() else 2


def cut(text: str, columns: int) -> str:
    """As much of a line as these columns hold."""
    if _end_of_row(text, 0, columns, _at_most) == len(text):
        return text
    return text[: _end_of_row(text, 0, columns - 1, _at_most)] + "…"


# -- rows


class _Row(NamedTuple):
    """A row, and where what follows it begins: at this place of this line."""

    text: str
    line: int
    at: int


class _Left(NamedTuple):
    """How much of a text is not shown."""

    lines: int
    characters: int


def _left_of(text: str, last: _Row) -> _Left:
    rest = text.split("\n", last.line)[-1]
    return _Left(rest.count("\n"), len(rest) - last.at)


class _Wrapper:
    """Breaks lines into rows: between words, where a row is full. A word that is longer than a row
    is torn, but not one of ASCII, which is the terminal's to wrap."""

    def __init__(self, columns: int, measure: Measure) -> None:
        self._columns = columns
        self._measure = measure
        self._room = columns - len(phrases.INDENT)

    def rows(self, text: str, head: str) -> Iterator[_Row]:
        """The rows of a text, the first without the head behind which it begins, or without the
        indent if the head takes more than a row itself; the others are indented."""
        room = self._columns - _width(head, self._measure)
        indent, may_spill = "", head.isascii()
        if room < 0:
            room, may_spill = self._room, True
        for number, line in enumerate(_lines_of(text)):
            yield from self._rows_of_line(number, line, indent, room, may_spill=may_spill)
            indent, room, may_spill = phrases.INDENT, self._room, True

    def _rows_of_line(
        self, number: int, line: str, indent: str, room: int, *, may_spill: bool
    ) -> Iterator[_Row]:
        """`room`: the columns of the first row; `may_spill`: the terminal may wrap it."""
        line = (indent + line.rstrip()).expandtabs()[len(indent) :]
        at = torn_to = 0
        is_first = True
        while True:
            end = _end_of_row(line, at, room, self._measure)
            if end == len(line):
                yield _Row(indent + line[at:], number, end)
                return
            if end > torn_to or at == torn_to:
                end, torn_to = self._last_break(line, at, end, room, may_spill=may_spill)
            if end == at and not is_first:
                # In a window that is too narrow for anything there is a character a row.
                end = at + 1
            row = line[at:end].rstrip()
            at = _end_of_blanks(line, end)
            yield _Row(indent + row, number, at)
            if at == len(line):
                return
            indent, room, may_spill, is_first = phrases.INDENT, self._room, True, False

    def _last_break(
        self, line: str, at: int, end: int, room: int, *, may_spill: bool
    ) -> tuple[int, int]:
        """Where a row ends that is full at `end`, and up to where a word is torn."""
        begin = _begin_of_word(line, at, end)
        if line[end].isspace() or begin > at:
            return (end if line[end].isspace() else begin), at
        stop = _end_of_word(line, end, at + MAX_LINK_CHARS)
        if line[at:stop].isascii():
            return (stop if may_spill else at), at
        if room < self._room and _end_of_row(line, at, self._room, self._measure) >= stop:
            return at, at
        return end, stop


def _end_of_row(line: str, at: int, room: int, measure: Measure) -> int:
    """How much of a line from there on fits into so many columns."""
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


_MEASURED_AT_ONCE = 8
"""At the end of a row are marks, perhaps."""


def _lines_of(text: str) -> Iterator[str]:
    """The lines one by one: most of very many are not shown."""
    at = 0
    while (end := text.find("\n", at)) >= 0:
        yield text[at:end]
        at = end + 1
    yield text[at:]


def _begin_of_word(line: str, at: int, end: int) -> int:
    """Where what goes on at `end` began, at `at` at the earliest."""
    row = line[at:end]
    return end if not row or row[-1].isspace() else end - len(row.rsplit(maxsplit=1)[-1])


_BLANK, _SEEN = re.compile(r"\s"), re.compile(r"\S")


def _end_of_word(line: str, at: int, most: int) -> int:
    found = _BLANK.search(line, at, most)
    return found.start() if found else min(most, len(line))


def _end_of_blanks(line: str, at: int) -> int:
    found = _SEEN.search(line, at)
    return found.start() if found else len(line)
