"""Real processes at a terminal, and the screen as the person in front of it sees it.

What a process writes to its pseudo-terminal goes through a terminal emulator, pyte, and tests look
at what then stands there. Nothing here sleeps: what is to stand there is waited for by reading,
with a deadline that only a failure meets.
"""

import contextlib
import os
import signal
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import pexpect
import pyte

from tests.support import processes
from tests.support.processes import CHAT, ROOT

TERM = "xterm-256color"
KILL_SECONDS = 30.0
"""How long what is hung up may take to end before it is killed, at which no test fails."""

CURSOR = "|"
"""Marks in a row where the cursor is."""

TITLE = "as it was"
"""The title that a window has before anything runs in it."""

_BRACKETED_PASTE = 2004 << 5
"""As pyte keeps it among its modes: those of DEC are shifted."""

_KEYS = {
    "Enter": "\r",
    "Tab": "\t",
    "Escape": "\x1b",
    "Backspace": "\x7f",
    "Up": "\x1b[A",
    "Down": "\x1b[B",
    "Right": "\x1b[C",
    "Left": "\x1b[D",
}


class Look(NamedTuple):
    """What a character on the screen looks like."""

    colour: str = "default"
    bold: bool = False
    dim: bool = False


PLAIN = Look()


class Emulator:
    """The screen of a terminal."""

    def __init__(self, columns: int, rows: int) -> None:
        self.bells = 0
        """How often it rang."""
        self.scrolled: list[str] = []
        """The rows that have left at the top."""
        self._titles: list[str] = []
        screen: Any = pyte.Screen(columns, rows)
        self._screen = screen
        self._draw, self._index = screen.draw, screen.index
        self._render = screen.select_graphic_rendition
        screen.title = TITLE
        screen.bell = self._on_bell
        screen.draw = self._on_draw
        screen.index = self._on_index
        screen.select_graphic_rendition = self._on_rendition
        screen.window_operation = self._on_window_operation
        self._stream: Any = pyte.ByteStream()
        self._stream.csi = {**self._stream.csi, "t": "window_operation"}
        self._stream.attach(screen)

    def feed(self, data: bytes) -> None:
        """Show what a program writes."""
        self._stream.feed(data)

    # -- what pyte does otherwise than terminals do, or not at all

    def _on_bell(self) -> None:
        self.bells += 1

    def _on_draw(self, text: str) -> None:
        for char in text:
            wide = pyte.screens.wcwidth(char) == 2
            if wide and self._screen.cursor.x == self._screen.columns - 1:
                # Terminals do not show half of it; pyte would.
                self._screen.cursor.x = self._screen.columns
            self._draw(char)

    def _on_index(self) -> None:
        if self._screen.cursor.y == self._screen.lines - 1:
            self.scrolled.append(self._row(0).rstrip())
        self._index()

    def _on_rendition(self, *codes: int) -> None:
        # pyte knows no dim characters. Italic ones, which nobody uses here, stand for them.
        if codes == (2,):
            codes = (3,)
        self._render(*codes)

    def _on_window_operation(self, *codes: int) -> None:
        # XTerm keeps titles on a stack: 22 pushes, 23 pops.
        if codes[:1] == (22,):
            self._titles.append(self.title)
        elif codes[:1] == (23,) and self._titles:
            self._screen.set_title(self._titles.pop())

    # -- what a person sees

    @property
    def title(self) -> str:
        return str(self._screen.title)

    @property
    def cursor(self) -> tuple[int, int]:
        """Its column and row, from 0."""
        return self._screen.cursor.x, self._screen.cursor.y

    @property
    def pastes_in_brackets(self) -> bool:
        """Whether the terminal was told to mark pastes (bracketed paste mode)."""
        return _BRACKETED_PASTE in self._screen.mode

    def _row(self, y: int, columns: slice = slice(None)) -> str:
        row = self._screen.buffer[y]
        return "".join(row[x].data for x in range(self._screen.columns)[columns])

    def lines(self) -> list[str]:
        """The rows that are not empty."""
        rows = (self._row(y).rstrip() for y in range(self._screen.lines))
        return [row for row in rows if row]

    def rows(self) -> list[str]:
        """As `lines`, with the cursor where it is."""
        x, y = self.cursor
        rows = [self._row(y).rstrip() for y in range(self._screen.lines)]
        rows[y] = self._row(y, slice(x)) + CURSOR + self._row(y, slice(x, None)).rstrip()
        return [row for row in rows if row]

    def looks(self, text: str) -> list[Look]:
        """What each character of a text looks like, at the lowest place where it stands."""
        for y in reversed(range(self._screen.lines)):
            before, found, _ = self._row(y).rpartition(text)
            if found:
                row = self._screen.buffer[y]
                return [_look(row[x]) for x in range(len(before), len(before) + len(text))]
        raise AssertionError(f"{text!r} does not stand there:\n{self}")

    def look(self, text: str) -> Look:
        """What a text looks like, which looks the same all over."""
        looks = set(self.looks(text))
        assert len(looks) == 1, f"{text!r} looks different here and there: {looks}"
        return looks.pop()

    def cells(self) -> list[list[tuple[str, Look]]]:
        """Every character of every row, and what it looks like."""
        rows = (self._screen.buffer[y] for y in range(self._screen.lines))
        return [[(row[x].data, _look(row[x])) for x in range(self._screen.columns)] for row in rows]

    def set_size(self, columns: int, rows: int) -> None:
        # pyte takes rows away at the top, and leaves the cursor where it was; XTerm takes them from
        # below the cursor as long as there are any.
        while self._screen.cursor.y >= rows:
            self.scrolled.append(self._row(0).rstrip())
            x, y = self.cursor
            self._screen.cursor.y = self._screen.lines - 1
            self._index()
            self._screen.cursor.x, self._screen.cursor.y = x, y - 1
        if rows < self._screen.lines:
            self._screen.lines = rows
        self._screen.resize(rows, columns)

    def __str__(self) -> str:
        return "\n".join(["-" * 20, *self.rows(), "-" * 20])


def _look(cell: Any) -> Look:
    return Look(cell.fg, cell.bold, cell.italics)


class Window(Emulator):
    """A process at a terminal."""

    def __init__(
        self, command: Sequence[str], env: Mapping[str, str], columns: int = 80, rows: int = 24
    ) -> None:
        super().__init__(columns, rows)
        self.written = bytearray()
        """All that was written to the terminal."""
        spawn: Any = pexpect.spawn
        self._child = spawn(
            command[0],
            list(command[1:]),
            cwd=str(ROOT),
            env={"TERM": TERM, **env},
            dimensions=(rows, columns),
        )
        # These are pauses otherwise.
        self._child.delaybeforesend = None
        self._child.delayafterclose = self._child.delayafterterminate = 0
        self._child.ptyproc.delayafterclose = self._child.ptyproc.delayafterterminate = 0

    @property
    def pid(self) -> int:
        return int(self._child.pid)

    # -- the person

    def type(self, text: str) -> None:
        """Type a text."""
        self._child.send(text.encode())

    def enter(self, *lines: str) -> None:
        """Type lines, and Enter after each."""
        for line in lines:
            self.type(line + "\r")

    def key(self, *names: str) -> None:
        """Press keys, as in "C-c" and "Up"."""
        for name in names:
            control = name.removeprefix("C-")
            self.type(_KEYS[name] if control == name else chr(ord(control.upper()) & 0x1F))

    def paste(self, text: str, *keys: str) -> None:
        """Paste a text, the way terminals do, and press keys."""
        text = text.replace("\n", "\r")
        self.type(f"\x1b[200~{text}\x1b[201~" if self.pastes_in_brackets else text)
        self.key(*keys)

    def resize(self, columns: int, rows: int) -> None:
        """Give the window another size."""
        self.set_size(columns, rows)
        self._child.setwinsize(rows, columns)

    def settings(self) -> list[Any]:
        """The terminal's settings (termios)."""
        return termios.tcgetattr(self._child.child_fd)

    def signal(self, number: int) -> None:
        """Send a signal to the process."""
        os.kill(self.pid, number)

    def signal_foreground(self, number: int) -> None:
        """Send a signal to whatever is in the foreground."""
        group = os.tcgetpgrp(self._child.child_fd)
        # Once nobody is there it is 0, which is our own.
        assert group > 0
        os.killpg(group, number)

    # -- waiting

    def until(self, condition: Callable[[], object], what: str = "it") -> None:
        """Read until this is so."""
        deadline = time.monotonic() + processes.DEADLINE_SECONDS
        while not condition():
            try:
                self._read(deadline - time.monotonic())
            except (pexpect.TIMEOUT, pexpect.EOF) as error:
                end = "it ended" if isinstance(error, pexpect.EOF) else "time is over"
                raise AssertionError(f"{end} without {what}:\n{self}") from None

    def _read(self, seconds: float) -> None:
        data = self._child.read_nonblocking(1 << 16, max(0.0, seconds))
        self.written += data
        self.feed(data)

    def await_screen(self, text: str) -> None:
        """Read until a row holds this."""
        self.until(lambda: any(text in line for line in self.lines()), repr(text))

    def await_rows(self, *rows: str) -> None:
        """Read until these are the last rows, with the cursor as it is marked in them."""
        self.until(lambda: self.rows()[-len(rows) :] == list(rows), "\n".join(["", *rows]))

    def end(self) -> int:
        """Wait for its end; its status, or the negative number of the signal that ended it."""
        deadline = time.monotonic() + processes.DEADLINE_SECONDS
        with contextlib.suppress(pexpect.EOF):
            while True:
                self._read(deadline - time.monotonic())
        self._child.wait()
        status, number = self._child.exitstatus, self._child.signalstatus
        return int(status) if status is not None else -int(number)

    def close(self) -> None:
        """Close the window: the terminal is gone."""
        self._child.ptyproc.fileobj.close()

    def kill(self) -> None:
        """End it and what it has started for certain."""
        if self._child.isalive():
            with contextlib.suppress(OSError, ValueError, AssertionError):
                self.signal_foreground(signal.SIGKILL)
            # A shell ends its jobs, also those that are stopped.
            os.kill(self.pid, signal.SIGHUP)
            with contextlib.suppress(OSError, ValueError, pexpect.TIMEOUT, pexpect.EOF):
                while True:
                    self._read(KILL_SECONDS)
            self._child.kill(signal.SIGKILL)
            self._child.wait()
        if not self._child.ptyproc.fileobj.closed:
            self._child.close()


def client_command(port: int, name: str, keys: Sequence[str], *arguments: str) -> list[str]:
    """A client, which shows no times, so that what it shows is known in advance."""
    return [*CHAT, "client", "127.0.0.1", str(port), name, "--time", "", *keys, *arguments]


def window_of(
    stage: processes.Stage, command: Sequence[str], columns: int = 80, rows: int = 24, **env: str
) -> Window:
    """A command at a terminal, with the home of a stage; it ends when the test does."""
    window = Window(command, processes.environment(stage.home, env), columns, rows)
    stage.at_the_end(window.kill)
    return window
