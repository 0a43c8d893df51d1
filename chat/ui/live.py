"""The last rows on a terminal: the line being typed, and what stands right above it.

Rows above them are written once and stay, in the terminal's own scrollback. The live rows are
erased and drawn again below whatever is new. What arrives in one turn of the loop is drawn at once.
"""

from collections.abc import Callable

from chat.reactor import Reactor
from chat.stdio import LineOutput
from chat.ui.editor import Line, LineEditor
from chat.ui.wrap import broken, columns_of, cut

_HOME = b"\x1b[H"
_CLEAR = _HOME + b"\x1b[2J"


class LiveRows:
    """Draws the live rows, and what is to stand above them.

    Invariant: the last rows on the screen are `_rows` rows of ours, and below them the editor's
    line if it is visible. The cursor is in that line, or else at the left below our rows. So
    `_erased`, with its two steps (the line first, then up by `_rows`), finds its way back to where
    the live rows begin. Whatever is written in between goes through `draw`, which erases first; if
    another program may have written (`forget`), nothing is erased: the cursor may be anywhere.
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
        self._above: list[str] = []
        self._drawing = False
        self._rows = 0

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
        erased = self._erased()
        live = self._live_rows()
        if self.typing:
            live += self._prompt_rows()
        rows = [*self._above, *live]
        self._rows = len(live)
        self._above.clear()
        self.waiting = 0
        line = self._editor.draw() if self.typing else b""
        above = self._output.encode("".join(f"{row}\n" for row in rows))
        self.write(self._alert() + erased + above + line)

    def erase(self) -> None:
        """Erase the live rows until they are drawn again."""
        self.write(self._erased())

    def forget(self) -> None:
        """Another program has used the terminal: the live rows are not where they were drawn."""
        self._editor.leave_behind()
        self._rows = 0

    def clear(self) -> None:
        """Clear the screen."""
        self.write(self._erased() + _CLEAR)
        self.draw_later()

    def resize(self) -> None:
        """The terminal may have another size."""
        columns = self._output.columns or 1
        if self._editor.visible:
            # Some terminals wrap the old rows anew, others do not. So erase no more rows than the
            # line has in either case: a leftover is ugly, but an erased message is lost.
            self._rows += min(self._rows_before_cursor(size) for size in (self.columns, columns))
            self._editor.leave_behind()
            self.write(b"\r\x1b[J")
        self.erase()
        self.columns, self.window_rows = columns, self._output.rows or 1
        self._editor.measure()
        self.draw_later()

    def read(self, *, released: bool = False) -> list[Line]:
        """Take a key, or what was held back of one if it is `released`. Returns the lines that were
        finished by it.

        Readline moves the cursor up by more rows than there are in a line that is taller than the
        window. So where the rows of such a line change, it is drawn again as a whole. Before the
        key nothing else was on the screen if the line was tall already."""
        before = self._line_rows()
        at = self._rows_before_cursor(self.columns)
        data, lines = self._editor.release() if released else self._editor.read()
        after = self._line_rows()
        if after == before or max(before, after) < self.window_rows:
            self.write(data)
            return lines
        up = at + self._rows
        to_start = _HOME if up >= self.window_rows else b"\r" + b"\x1b[%dA" % up * bool(up)
        self.forget()
        self.write(to_start + b"\x1b[J")
        self.draw_later()
        return lines

    def _line_rows(self) -> int:
        """How many rows the line takes."""
        editor = self._editor
        return _rows_of(editor.before_cursor + editor.after_cursor, self.columns)

    def _rows_before_cursor(self, columns: int) -> int:
        return _rows_of(self._editor.before_cursor, columns) - 1

    def _erased(self) -> bytes:
        rows, self._rows = self._rows, 0
        erased = self._editor.erase()
        if rows:
            erased += b"\r\x1b[%dA" % rows
        # Of a line that is taller than the screen, readline does not erase all rows.
        return erased + b"\x1b[J" if erased else b""

    def _live_rows(self) -> list[str]:
        """What stands above the prompt, and is drawn again with it; each fits a row."""
        return []

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
        erased = self._erased()
        rows = self._prompt_rows()
        self._rows = len(rows)
        above = self._output.encode("".join(f"{row}\n" for row in rows))
        self.write(erased + above + self._editor.start())
        self.typing = True
        self.resize()

    def close_line(self) -> None:
        """Erase the live rows and give the terminal back, until the line is opened again."""
        self.typing = False
        self.write(self._erased() + self._editor.pause())

    def finish(self) -> None:
        """Show what is left to be shown, and give the terminal back for good."""
        self.draw()
        self.write(self._erased() + self._editor.stop())


def _rows_of(text: str, columns: int) -> int:
    """How many rows a text takes, with the cursor behind it."""
    return sum(columns_of(line) // columns + 1 for line in text.split("\n"))
