"""A draft that is taller than its place on the screen: which of its rows are shown.

Readline would draw all of them, and those that leave the window at the top would stay in the
scrollback each time that the line is drawn again. So as long as a draft is too tall, we draw the
rows around the cursor ourselves (`live`). They are laid out here as readline does.
"""

from collections.abc import Iterator
from typing import NamedTuple

from chat.ui.wrap import columns_of

_TAB = 8


class Excerpt(NamedTuple):
    """Some rows of a text, and where the cursor is in them: its row and column, from 0."""

    rows: list[str]
    row: int
    column: int


def rows_of(text: str, columns: int) -> int:
    """How many rows a text takes, with the cursor behind it."""
    return sum(
        len(line) // columns + 1 if _is_plain(line) else len(_laid_out(line, columns))
        for line in text.split("\n")
    )


def excerpt(before: str, after: str, columns: int, most: int) -> Excerpt:
    """At most so many rows of a text, around the cursor, which is between `before` and `after`."""
    *earlier, begin = before.split("\n")
    end, *later = after.split("\n")
    here = _laid_out(begin + end, columns)
    at, column = _place(begin, here, columns)
    above = [*_up_to(most, reversed(earlier), columns, here[:at]), *here[:at]]
    below = [*here[at + 1 :], *_down_to(most, later, columns, here[at + 1 :])]
    shown_above = min(len(above), max(most // 2, most - 1 - len(below)), most - 1)
    rows = [*above[len(above) - shown_above :], here[at], *below[: most - 1 - shown_above]]
    return Excerpt(rows, shown_above, column)


def _up_to(most: int, lines: Iterator[str], columns: int, known: list[str]) -> list[str]:
    """The rows of these lines, the nearest of which comes first, until there are enough."""
    rows: list[str] = []
    for line in lines:
        if len(rows) + len(known) >= most:
            break
        rows = [*_laid_out(line, columns, whole=True), *rows]
    return rows


def _down_to(most: int, lines: list[str], columns: int, known: list[str]) -> list[str]:
    rows: list[str] = []
    for line in lines:
        if len(rows) + len(known) >= most:
            break
        rows += _laid_out(line, columns, whole=True)
    return rows


def _place(begin: str, rows: list[str], columns: int) -> tuple[int, int]:
    """The row and the column of the cursor behind the beginning of a line that has these rows."""
    before = _laid_out(begin, columns)
    row, column = len(before) - 1, columns_of(before[-1])
    if row + 1 < len(rows) and rows[row] == before[-1]:
        # What follows did not fit beside it.
        return row + 1, 0
    return row, column


def _laid_out(line: str, columns: int, *, whole: bool = False) -> list[str]:
    """The rows of one line. Behind a row that is full comes another, for the cursor, unless the
    line is only shown, as a `whole`."""
    rows, row, used = [], "", 0
    if _is_plain(line):
        rows = [line[at : at + columns] for at in range(0, len(line) - columns + 1, columns)]
        rest = line[len(rows) * columns :]
        return [*rows, rest] if rest or not rows or not whole else rows
    for char in line:
        shown = _as_shown(char, used)
        width = columns_of(shown)
        if used + width > columns and used:
            rows.append(row)
            row, used = "", 0
        row += shown
        used += width
    rows.append(row)
    return rows if whole or used < columns else [*rows, ""]


def _is_plain(line: str) -> bool:
    """Whether each character takes one column."""
    return line.isascii() and line.isprintable()


def _as_shown(char: str, used: int) -> str:
    """A character as readline shows it, in this column."""
    if char == "\t":
        return " " * (_TAB - used % _TAB)
    if char < " " or char == "\x7f":
        return "^" + chr(ord(char) ^ 0x40)
    return char if char.isprintable() or not "\ud800" <= char <= "\udfff" else "?"
