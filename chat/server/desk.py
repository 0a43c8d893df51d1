"""Where the operator sits: what the console and such a place want of each other, and the plainest
one, lines from standard input and to standard output.

A terminal with a line editor is another (`ui.desk`); `serving` chooses. What a line means is not
known here.
"""

from collections.abc import Sequence
from typing import Protocol

from chat.limits import COMMANDS_AT_ONCE, LINGER_SECONDS
from chat.reactor import Reactor
from chat.stdio import LineInput, LineOutput


class Orders(Protocol):
    """What can be asked of the console."""

    def command(self, line: str, echo: str = "") -> None:
        """The operator has typed this line. `echo`: how it is shown above its answer; if it is
        empty, it stands there already."""

    def completions(self, line: str) -> tuple[int, list[str]]:
        """Where that begins which can be completed in the line, and what it could become."""

    def terminate(self) -> None:
        """The operator wants the server to end; the second time: at once."""


class Desk(Protocol):
    """Where lines are shown to the operator, and typed."""

    @property
    def keys(self) -> Sequence[str]:
        """The lines of the help about keys."""

    @property
    def queued_bytes(self) -> int:
        """How much waits to be shown because nobody reads."""

    def open(self, orders: Orders) -> None:
        """Begin to take lines."""

    def show(self, lines: Sequence[str]) -> None:
        """Show lines."""

    def interrupt(self) -> None:
        """Somebody pressed Ctrl-C."""

    def stop(self) -> None:
        """Take no more lines."""

    def close(self) -> None:
        """Show what is still to be shown, for LINGER_SECONDS at most, and leave the terminal as it
        was found."""


class PlainDesk:
    """Lines from a pipe, a file or a plain terminal. The end of the input ends nothing."""

    keys: Sequence[str] = ()

    def __init__(self, reactor: Reactor, source: int | None, output: LineOutput) -> None:
        """`source` is standard input; None if it was closed before we started."""
        self._reactor = reactor
        self._output = output
        self._input = LineInput(reactor, source, self._on_line, lambda: None, endless=True)
        self._orders: Orders | None = None
        self._closed = False

    @property
    def queued_bytes(self) -> int:
        return self._output.queued_bytes

    def open(self, orders: Orders) -> None:
        self._orders = orders
        self._input.start()

    def show(self, lines: Sequence[str]) -> None:
        self._output.write("\n".join(lines))

    def interrupt(self) -> None:
        assert self._orders is not None
        self._orders.terminate()

    def stop(self) -> None:
        self._input.stop()

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self.stop()
            self._output.drain(LINGER_SECONDS)

    def _on_line(self, line: str) -> None:
        assert self._orders is not None
        self._orders.command(line)
        if self._input.line_number % COMMANDS_AT_ONCE == 0:
            # Let everybody else have their turn.
            self._input.pause()
            self._reactor.defer(self._input.start)
