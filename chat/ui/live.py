"""The last rows on a terminal: the line being typed, and what stands right above it.

Rows above them are written once and stay, in the terminal's own scrollback. The live rows are
erased and drawn again below whatever is new. What arrives in one turn of the loop is drawn at once.
"""

import os
from collections.abc import Callable

from chat import phrases
from chat.limits import LINGER_SECONDS, MAX_MARKS, TALL_ROWS
from chat.reactor import Reactor
from chat.stdio import LineOutput
from chat.ui.editor import Line, LineEditor
from chat.ui.excerpt import Excerpt, excerpt, rows_of
from chat.ui.resizing import Resizing, resizing_of
from chat.ui.wrap import broken, columns_of, cut, unwrapped

_HOME = b"\x1b[H"
_CLEAR = _HOME + b"\x1b[2J"
_CLEAR_SCROLLBACK = b"\x1b[3J"
_ERASE = b"\x1b[C\x1b[J\r\x1b[K"
"""Erase from the left edge on. Not at once: tmux takes an erasing that begins in the corner for the
clearing of the screen, and keeps a copy of it in the scrollback."""


class LiveRows:
    """Draws the live rows, and what is to stand above them.

    Invariant: the last rows on the screen are ours, as wide as `_widths` says, and below them the
    line: drawn by readline if it is visible, or else by us (`_excerpt`), since it is too tall. Or
    it is not there. The cursor is in the line, or else at the left below our rows. So `_erased`
    finds its way back to where the live rows begin. All of them together are no taller than the
    window, so that none of them is ever pushed into the scrollback. Whatever is written in between
    goes through `draw`, which erases first; if another program may have written (`forget`), nothing
    is erased: the cursor may be anywhere.
    """

    def __init__(
        self,
        reactor: Reactor,
        output: LineOutput,
        editor: LineEditor,
        prompt: Callable[[], str],
        alert: Callable[[], bytes] = bytes,
    ) -> None:
        """`output` is a terminal. `prompt` returns what should stand before the line now, `alert`
        codes to write once a turn that draw nothing (a bell, a title)."""
        self.columns, self.window_rows = output.columns or 1, output.rows or 1
        self._reactor = reactor
        self._output = output
        self._editor = editor
        self._prompt = prompt
        self._alert = alert
        self.typing = False
        """Whether the line is open: then the terminal is in readline's mode."""
        self.waiting = 0
        """How many characters are to be shown above and are not drawn yet."""
        self._held = False
        self._above: list[str] = []
        self._drawing = False
        self._widths: list[int] = []
        self._excerpt: Excerpt | None = None
        self._resizing = resizing_of(os.environ)

    # -- drawing

    def write(self, data: bytes) -> None:
        """Write what comes from the editor, or codes that draw nothing."""
        self._output.write_bytes(data)

    def show(self, lines: list[str]) -> None:
        """Show lines above, at the end of the turn."""
        self._above += lines
        self.waiting += sum(map(len, lines))
        self.draw_later()

    def draw_later(self) -> None:
        """Draw everything again, at the end of the turn. No other work that was put off, such as
        the handshakes of many newcomers, comes before it."""
        if not self._drawing:
            self._drawing = True
            self._reactor.call_at(self._reactor.clock(), self.draw)

    def draw(self) -> None:
        """Draw everything again."""
        self._drawing = False
        if self._held:
            self.write(self._take_above())
            return
        erased = self._erased()
        rows, line = self._live_rows(), b""
        own = len(rows)
        if self.typing:
            rows += self._prompt_rows()
            line = self._drawn_line()
            height = len(self._excerpt.rows) if self._excerpt else self._line_rows()
            # What does not fit is left out, from the top.
            too_many = max(0, len(rows) - max(0, self.window_rows - height))
            rows, own = rows[too_many:], own - too_many
        self._widths = [columns_of(row) for row in rows]
        for at, row in enumerate(rows):
            self._above.append(unwrapped(self._painted(row) if at < own else row))
        self.write(self._alert() + erased + self._take_above() + line)

    def _drawn_line(self) -> bytes:
        """The line as it is to be written now, drawn by readline, or by us if it is too tall."""
        drawn = self._editor.draw()
        if not self._is_tall():
            return drawn
        editor = self._editor
        columns, most = self.columns, self._most_rows
        head = f"{editor.shown_prompt}{phrases.tall_draft(editor.text)}"
        text = excerpt(editor.text_before, editor.after_cursor, columns, max(1, most - 1))
        rows = [cut(head, columns), *text.rows][-most:]
        self._excerpt = Excerpt(rows, len(rows) - len(text.rows) + text.row, text.column)
        last = len(rows) - 1 - self._excerpt.row
        *others, end = map(unwrapped, rows)
        right = b"\x1b[%dC" % text.column if text.column else b""
        return self._encoded(others) + self._output.encode(end) + _up(last) + right

    def _encoded(self, rows: list[str]) -> bytes:
        return self._output.encode("".join(f"{row}\n" for row in rows))

    def _take_above(self) -> bytes:
        above, self._above, self.waiting = self._above, [], 0
        return self._encoded(above)

    def erase(self) -> None:
        """Erase the live rows until they are drawn again."""
        self.write(self._erased())

    def forget(self) -> None:
        """Another program has used the terminal: the live rows are not where they were drawn."""
        self._editor.leave_behind()
        self._widths.clear()
        self._excerpt = None

    def clear(self, scrollback: bool = False) -> None:
        """Clear the screen, and perhaps what has left it at the top: XTerm's extension of ED, which
        most terminals know. It comes last, since some keep a copy of what they clear."""
        self.write(self._erased() + _CLEAR + (_CLEAR_SCROLLBACK if scrollback else b""))
        self.draw_later()

    def resize(self) -> None:
        """The terminal may have another size."""
        columns = self._output.columns or 1
        if self._editor.visible:
            up = self._rows_above_resized(columns)
            self.forget()
            self.write(_up(up) + _ERASE)
        self.erase()
        self.columns, self.window_rows = columns, self._output.rows or 1
        self._editor.measure()
        self.draw_later()

    def read(self, *, released: bool = False) -> list[Line]:
        """Take a key, or what was held back of one if it is `released`. Returns the lines that were
        finished by it.

        Where the line is or becomes too tall for readline, it is drawn again as a whole."""
        up = self._rows_above_cursor(self.columns)
        data, lines = self._editor.release() if released else self._editor.read()
        if self._excerpt is None and not self._is_tall():
            self.write(data)
            return lines
        self.forget()
        self.write(_up(up) + _ERASE)
        self.draw_later()
        return lines

    @property
    def _most_rows(self) -> int:
        """How many rows of the window the line may have: half of them, so that one sees what is
        said, and that a terminal which wraps rows anew need not push them away at once."""
        return min(self.window_rows, max(self.window_rows // 2, TALL_ROWS))

    def _is_tall(self) -> bool:
        text = self._editor.before_cursor + self._editor.after_cursor
        most = self._most_rows
        if text.count("\n") >= most or len(text) > most * self.columns * (1 + MAX_MARKS):
            # It need not be laid out.
            return True
        return rows_of(text, self.columns) > most

    def _line_rows(self) -> int:
        """How many rows the line takes."""
        return rows_of(self._editor.before_cursor + self._editor.after_cursor, self.columns)

    def _rows_above_cursor(self, columns: int) -> int:
        """How many rows of ours are above the cursor, if the terminal has wrapped them to this
        width."""
        widths = [*self._widths]
        inside = 0
        if self._excerpt is not None:
            rows, at, column = self._excerpt
            widths += map(columns_of, rows[:at])
            inside = column // columns
        elif self._editor.visible:
            inside = rows_of(self._editor.before_cursor, columns) - 1
        return sum(max(1, -(-width // columns)) for width in widths) + inside

    def _rows_above_resized(self, columns: int) -> int:
        """How many rows of ours are above the cursor, now that the terminal has so many columns. If
        it is not known what has become of them, no more than there are if they were wrapped anew,
        and if they were not: a leftover is ugly, but an erased message is lost."""
        match self._resizing:
            case Resizing.KEEPS:
                return self._rows_above_cursor(self.columns)
            case Resizing.WRAPS:
                return self._rows_above_cursor(columns)
            case Resizing.JOINS:
                return self._rows_above_cursor(columns) - self._rows_of_line_above_cursor(columns)
        return min(map(self._rows_above_cursor, (self.columns, columns)))

    def _rows_of_line_above_cursor(self, columns: int) -> int:
        """How many of these belong to the line that the cursor is in."""
        if self._excerpt is not None:
            return self._excerpt.column // columns
        begin = self._editor.before_cursor.rpartition("\n")[2]
        return rows_of(begin, columns) - 1

    def _erased(self) -> bytes:
        if self._excerpt is not None:
            erased = _up(self._rows_above_cursor(self.columns))
            self.forget()
            return erased + _ERASE
        rows = len(self._widths)
        self._widths.clear()
        erased = self._editor.erase() + (_up(rows) if rows else b"")
        return erased + _ERASE if erased else b""

    def _live_rows(self) -> list[str]:
        """What stands above the prompt, and is drawn again with it; each fits a row."""
        return []

    def _painted(self, row: str) -> str:
        """One of `_live_rows` in its colour."""
        return row

    def _prompt_rows(self) -> list[str]:
        """Give the prompt to the editor; if it takes several rows, only the last. Returns the
        others. (Readline would break it inside a word, and its rows could not be counted here.)"""
        prompt = self._prompt()
        *rows, last = broken(prompt.rstrip(), self.columns - 1)
        self._editor.prompt(last + prompt[len(prompt.rstrip()) :])
        return [cut(row, self.columns - 1) for row in rows]

    # -- the line

    def open_line(self) -> None:
        """Take the terminal and show the line."""
        self.erase()
        self._prompt_rows()
        self.write(self._editor.start())
        self.typing = True
        self.resize()

    def close_line(self) -> None:
        """Erase the live rows and give the terminal back, until the line is opened again."""
        self.typing = False
        self.write(self._erased() + self._editor.pause())

    def hand_over(self) -> None:
        """Let another program have the terminal. What is shown meanwhile waits."""
        self.close_line()
        self._output.drain(LINGER_SECONDS)
        self._output.hold()
        self._held = True

    def take_back(self, first: bytes = b"") -> None:
        """The other program has ended, and the cursor is where it has left it. Write `first`, and
        then what has waited."""
        self._held = False
        self._output.release(first)

    def finish(self) -> None:
        """Show what is left to be shown, and give the terminal back for good."""
        self.draw()
        self.write(self._erased() + self._editor.stop())


def _up(rows: int) -> bytes:
    """To the left, and up."""
    return b"\r" + (b"\x1b[%dA" % rows if rows else b"")
