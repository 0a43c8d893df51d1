"""What lines look like: colours, and where they are wrapped. What they say is `transcript`'s.

Colours are SGR codes (ECMA-48, 8.3.117).
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from enum import Enum
from zlib import crc32

from chat import transcript
from chat.happenings import Happening, Said
from chat.names import action_of, name_key

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
        time_format: str = transcript.TIME_FORMAT,
    ) -> None:
        """`name` is the reader's own."""
        self._colours = colours
        self._time_format = time_format
        self._mention = re.compile(rf"(?<!\w){re.escape(name)}(?!\w)" if name else "(?!)", re.I)

    def mentions(self, said: Said) -> bool:
        """Whether somebody else's message holds the reader's name."""
        action = action_of(said.text)
        text = unicodedata.normalize("NFC", said.text if action is None else action)
        return not said.own and self._mention.search(text) is not None

    def paint(self, happening: Happening, columns: int | None = None) -> list[str]:
        """The lines for what happened, wrapped at this many columns."""
        if isinstance(happening, Said):
            return self._message(happening, columns)
        return self.status(transcript.happened(happening), columns)

    def status(self, lines: list[str], columns: int | None = None) -> list[str]:
        """Lines that begin with what they are: good news or trouble."""
        painted = []
        for line in lines:
            code = RED if line.startswith(transcript.TROUBLE) else DIM
            for row in line.split("\n"):
                painted += [self.colour(code, part) for part in _wrap_line(row, columns, columns)]
        return painted

    def colour(self, code: str, text: str) -> str:
        """The text in this colour, if there are colours."""
        return f"\x1b[{code}m{text}\x1b[m" if self._colours.value and text else text

    def _message(self, said: Said, columns: int | None) -> list[str]:
        time, who, text = transcript.said(said, self._time_format)
        used = columns_of(f"{time} {who} ".lstrip(" "))
        first, *rest = _wrap(text, columns, used)
        if self.mentions(said):
            first, *rest = (self.colour(BOLD, row) for row in (first, *rest))
        head = [self.colour(DIM, time)] if time else []
        return [" ".join([*head, self.colour(self._colour_of(said.name), who), first]), *rest]

    def _colour_of(self, name: str) -> str:
        codes = self._colours.value
        return codes[crc32(name_key(name).encode()) % len(codes)] if codes else ""


def columns_of(text: str) -> int:
    """How many columns of a terminal a line takes (Unicode, UAX 11)."""
    if text.isascii():
        return len(text)
    return sum(map(_columns_of_char, text))


def _columns_of_char(char: str) -> int:
    if char == "\ufe0f":
        # Makes an emoji, which is wide, of a narrow symbol.
        return 1
    if unicodedata.category(char) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def cut(text: str, columns: int) -> str:
    """As much of a line as these columns hold."""
    if columns_of(text) <= columns:
        return text
    taken = 0
    for at, char in enumerate(text):
        taken += _columns_of_char(char)
        if taken >= columns:
            return text[:at] + "…"
    return text


def _wrap(text: str, columns: int | None, used: int) -> list[str]:
    """The rows of a text, those after the first indented. Each is broken between words where it
    reaches the last column. A longer word is the terminal's to break, so that a link can be copied;
    but only one of ASCII, in which nothing is blank: else its second row, which begins at the very
    left, could pass for a line of its own."""
    rows: list[str] = []
    for line in text.split("\n"):
        indent = transcript.INDENT if rows else ""
        room = None if columns is None else columns - (0 if rows else used)
        rows += _wrap_line(indent + line, room, columns)
    return rows


def _wrap_line(line: str, room: int | None, columns: int | None) -> list[str]:
    if room is None or columns is None:
        return [line]
    line = line.expandtabs()
    if columns_of(line) <= room:
        return [line]
    row = transcript.INDENT if line.startswith(transcript.INDENT) else ""
    rows: list[str] = []
    used = len(row)
    for piece in _pieces(line[used:], columns - len(transcript.INDENT)):
        needed = columns_of(piece)
        may_break = row.strip() != "" or piece[0].isspace() or not (rows or piece.isascii())
        if used + needed > room and may_break:
            rows.append(row)
            piece = piece.lstrip()
            row, room, used = transcript.INDENT, columns, len(transcript.INDENT)
            needed = columns_of(piece)
        row += piece
        used += needed
    return [*rows, row]


def _pieces(line: str, room: int) -> Iterator[str]:
    """What must stand together: a word with the blanks before it, or, of one that is too long and
    not of ASCII, each character."""
    for word in re.findall(r"\s*\S+", line):
        if word.isascii() or columns_of(word.lstrip()) <= room:
            yield word
        else:
            yield from word
