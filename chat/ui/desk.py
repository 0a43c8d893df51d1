"""The server's console on a terminal, in front of the operator.

What a line means, and what happens at the server, is not known here.
"""

import os
import signal
from collections.abc import Sequence

from chat.files.history import History
from chat.limits import LINGER_SECONDS
from chat.phrases import CommandLine, StatusLine, good
from chat.reactor import Reactor
from chat.server.desk import Orders
from chat.stdio import LineOutput
from chat.text import escape_line
from chat.ui.editor import Line, LineEditor
from chat.ui.live import LiveRows
from chat.ui.terminal import Terminal
from chat.ui.wrap import broken, unwrapped

PROMPT = "> "

CTRL_D = good("Ctrl-D does not end the server; TERMINATE or Ctrl-C does.")


class TerminalDesk(Terminal):
    """Shows the server's lines to one person, and takes commands: a `server.desk.Desk`. A command
    stays on the screen when it is given, above its answer."""

    _INTERRUPT_HINT = good("Ctrl-C once more ends the server, and so does TERMINATE.")
    _HINT_FIRST = True

    keys = (
        good("Tab                complete a command or a name"),
        good("Up, Ctrl-R         call back a command, or search for it"),
        good("Ctrl-L             clear the screen"),
        good("Ctrl-C             drop the line; twice: end the server"),
        good("Ctrl-Z             stop the server, for everybody, until fg"),
    )

    def __init__(
        self, reactor: Reactor, source: int, output: LineOutput, history: History | None
    ) -> None:
        """`source` is standard input, a terminal.

        Raises:
            EditorMissingError: lines cannot be edited here.
        """
        self._orders: Orders | None = None
        editor = LineEditor(self._complete)
        live = LiveRows(reactor, output, editor, lambda: PROMPT)
        super().__init__(reactor, source, output, editor, live, history)

    # -- as a desk

    @property
    def orders(self) -> Orders:
        """The console whose lines these are."""
        assert self._orders is not None
        return self._orders

    @property
    def queued_bytes(self) -> int:
        return self.output.queued_bytes + self._live.waiting

    def open(self, orders: Orders) -> None:
        self._orders = orders
        self._reactor.on_signals([signal.SIGQUIT], orders.terminate)
        self.start()

    def show(self, lines: Sequence[str]) -> None:
        self._live.show([row for line in lines for row in self._rows_of(line)])

    def _rows_of(self, line: str) -> list[str]:
        text = self.output.as_written(line)
        whole = isinstance(line, CommandLine)
        rows = [text] if whole else broken(text, self._live.columns)
        return list(map(unwrapped, rows))

    def _finish(self) -> None:
        if self._editor.text:
            self._editor.discard_typed_ahead()
        self._live.finish()
        self.output.drain(LINGER_SECONDS)

    # -- what is typed

    def _tell(self, lines: Sequence[StatusLine]) -> None:
        self.show(lines)

    def _complete(self, line: str) -> tuple[int, list[str]]:
        return self.orders.completions(line)

    def _submit(self, line: Line) -> None:
        self._remember(line.text)
        for command in filter(str.strip, line.text.split("\n")):
            self.orders.command(command, PROMPT + escape_line(command))
        self._live.draw_later()

    def _on_end(self) -> None:
        if os.isatty(self._source):
            self._editor.ended = False
            self._tell([CTRL_D])
        else:
            # It is gone.
            self.stop()

    def _leave(self) -> None:
        self.orders.terminate()

    def _on_editor_key(self) -> None:
        """Commands are short: there is nothing to edit elsewhere."""
