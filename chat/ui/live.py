"""The last rows on a terminal: spinner, messages not acknowledged yet, and the line being typed.

Rows above them are written once and stay, in the terminal's own scrollback. The live rows are
erased and drawn again below whatever is new. What arrives in one turn of the loop is drawn at once.
"""

from collections import deque
from collections.abc import Callable

from chat.client.events import MessageQueued
from chat.limits import LINGER_SECONDS, MAX_MARKS, PENDING_ROWS, SPIN_SECONDS
from chat.reactor import Reactor, Timer
from chat.stdio import LineOutput
from chat.ui import transcript
from chat.ui.editor import Line, LineEditor
from chat.ui.style import DIM, Painter
from chat.ui.wrap import broken, columns_of, cut

_SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_PLAIN_SPINNER = "|/-\\"
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
        painter: Painter,
        editor: LineEditor,
        prompt: Callable[[], str],
        alert: Callable[[], bytes],
    ) -> None:
        """`output` is a terminal. `prompt` returns what should stand before the line now, `alert`
        codes to write once a turn that draw nothing (a bell, a title)."""
        self.pending: deque[MessageQueued] = deque()
        """Our messages that are not acknowledged yet."""
        self.columns, self.window_rows = output.columns or 1, output.rows or 1
        self._reactor = reactor
        self._output = output
        self._painter = painter
        self._editor = editor
        self._prompt = prompt
        self._alert = alert
        self.typing = False
        """Whether the line is open: then the terminal is in readline's mode."""
        self._held = False
        self._above: list[str] = []
        self._drawing = False
        self._rows = 0
        self._activity = ""
        self._is_over: Callable[[], bool] = lambda: True
        self._frame = 0
        self._spin_at = 0.0
        self._spinner: Timer | None = None

    # -- drawing

    def write(self, data: bytes) -> None:
        """Write what comes from the editor, or codes that draw nothing."""
        self._output.write_bytes(data)

    def show(self, lines: list[str]) -> None:
        """Show lines above, at the end of the turn."""
        self._above += lines
        self.draw_later()

    def draw_later(self) -> None:
        """Draw everything again, at the end of the turn."""
        if not self._drawing:
            self._drawing = True
            self._reactor.defer(self.draw)

    def draw(self) -> None:
        """Draw everything again."""
        self._drawing = False
        if self._is_over():
            self._activity = ""
        if self._held:
            self._write_above()
            return
        erased = self._erased()
        live = self._live_rows()
        if self.typing:
            live += self._prompt_rows()
        rows = [*self._above, *live]
        self._rows = len(live)
        self._above.clear()
        line = self._editor.draw() if self.typing else b""
        above = self._output.encode("".join(f"{row}\n" for row in rows))
        self.write(self._alert() + erased + above + line)

    def _write_above(self) -> None:
        above, self._above = self._above, []
        self.write(self._output.encode("".join(f"{row}\n" for row in above)))

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

    def read(self) -> list[Line]:
        """Take a key. Returns the lines that were finished by it.

        Readline moves the cursor up by more rows than there are in a line that is taller than the
        window. So where the rows of such a line change, it is drawn again as a whole. Before the
        key nothing else was on the screen if the line was tall already."""
        before = self._line_rows()
        at = self._rows_before_cursor(self.columns)
        data, lines = self._editor.read()
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
        rows = []
        if self._activity and self._frame:
            frames = _SPINNER if self._output.is_unicode else _PLAIN_SPINNER
            rows.append(f"{frames[self._frame % len(frames)]} {self._activity}")
        # More cannot be seen: each character takes a column, or is a mark on one that does.
        most = self.columns * (1 + MAX_MARKS)
        for underway, _ in zip(self.pending, range(PENDING_ROWS), strict=False):
            rows.append(transcript.pending(underway.text[:most], underway.to))
        if len(self.pending) > PENDING_ROWS:
            rows.append(transcript.more_pending(len(self.pending) - PENDING_ROWS))
        fitting = (cut(row.expandtabs(), self.columns - 1) for row in rows)
        return [self._painter.hold(self._painter.colour(DIM, row)) for row in fitting]

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

    def finish(self, *, offline: bool) -> None:
        """Show what is left to be shown, and give the terminal back for good. Messages that were
        not acknowledged stay on the screen, since they are nowhere else."""
        self.end()
        for underway in self.pending:
            line = transcript.pending_at_the_end(underway.text, offline, underway.to)
            self._above += self._painter.status([line], self.columns)
        self.pending.clear()
        self.draw()
        self.write(self._erased() + self._editor.stop())

    # -- the spinner

    def end(self) -> None:
        """The activity is over."""
        self._activity = ""

    def begin(self, activity: str, is_over: Callable[[], bool]) -> None:
        """An activity begins. It is shown after a while, until `is_over` says so or `end`."""
        self._activity, self._is_over = activity, is_over
        self._frame = 0
        self._spin_later()

    def _spin_later(self) -> None:
        self._spin_at = self._reactor.clock() + SPIN_SECONDS
        if self._spinner is not None:
            self._spinner.cancel()
        self._spinner = self._reactor.call_at(self._spin_at, self.spin)

    def spin(self) -> None:
        """Turn the spinner, but not too often."""
        if self._activity and self._reactor.clock() >= self._spin_at:
            self._frame += 1
            self._spin_later()
            self.draw()


def _rows_of(text: str, columns: int) -> int:
    """How many rows a text takes, with the cursor behind it."""
    return sum(columns_of(line) // columns + 1 for line in text.split("\n"))
