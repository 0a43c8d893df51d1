"""What is under way in a conversation, above the line that is typed: a spinner while
something takes its time, the messages that are not acknowledged yet, and who has come and gone
since something was shown last. `live` draws them.
"""

from collections import deque
from collections.abc import Callable

from chat.client.events import MessageQueued
from chat.limits import MAX_MARKS, PENDING_ROWS, SPIN_SECONDS
from chat.reactor import Reactor, Timer
from chat.stdio import LineOutput
from chat.ui import transcript
from chat.ui.editor import LineEditor
from chat.ui.live import LiveRows
from chat.ui.quiet import Quiet
from chat.ui.style import DIM, Painter
from chat.ui.wrap import broken, cut

_SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_PLAIN_SPINNER = "|/-\\"


class UnderwayRows(LiveRows):
    """The live rows of a conversation."""

    def __init__(
        self,
        reactor: Reactor,
        output: LineOutput,
        painter: Painter,
        editor: LineEditor,
        prompt: Callable[[], str],
        alert: Callable[[], bytes],
        quiet: Quiet,
    ) -> None:
        super().__init__(reactor, output, editor, prompt, alert)
        self.pending: deque[MessageQueued] = deque()
        """Our messages that are not acknowledged yet."""
        self._painter = painter
        self._quiet = quiet
        self._activity = ""
        self._is_over: Callable[[], bool] = lambda: True
        self._frame = 0
        self._spin_at = 0.0
        self._spinner: Timer | None = None

    def show(self, lines: list[str]) -> None:
        if lines:
            self.keep_sum()
        super().show(lines)

    def clear(self, scrollback: bool = False) -> None:
        # The person has seen who came and went.
        self._quiet.forget()
        super().clear(scrollback)

    def keep_sum(self) -> None:
        """Let the sum of those who came and went stay above."""
        if (line := self._quiet.line(self._painter.time_format)) is not None:
            self._quiet.forget()
            super().show(self._painter.status([line], self.columns))

    def draw(self) -> None:
        if self._is_over():
            self._activity = ""
        super().draw()

    def _live_rows(self) -> list[str]:
        rows: list[str] = []
        if (line := self._quiet.line(self._painter.time_format)) is not None:
            rows += broken(line, self.columns - 1)
        if self._activity and self._frame:
            frames = _SPINNER if self._output.is_unicode else _PLAIN_SPINNER
            rows.append(f"{frames[self._frame % len(frames)]} {self._activity}")
        # More cannot be seen: each character takes a column, or is a mark on one that does.
        most = self.columns * (1 + MAX_MARKS)
        for underway, _ in zip(self.pending, range(PENDING_ROWS), strict=False):
            rows.append(transcript.pending(underway.text[:most], underway.to))
        if len(self.pending) > PENDING_ROWS:
            rows.append(transcript.more_pending(len(self.pending) - PENDING_ROWS))
        return [cut(row.expandtabs(), self.columns - 1) for row in rows]

    def _painted(self, row: str) -> str:
        return self._painter.colour(DIM, row)

    def give_up(self, *, offline: bool) -> None:
        """For the end: nothing is under way any more. Messages that were not acknowledged stay on
        the screen, since they are nowhere else."""
        self.end()
        self.keep_sum()
        for underway in self.pending:
            line = transcript.pending_at_the_end(underway.text, offline, underway.to)
            self.show(self._painter.status([line], self.columns))
        self.pending.clear()

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
