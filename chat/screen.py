"""A conversation on a terminal: messages above, the line that is being typed below them.

The terminal's own scrollback goes on working: what was said is written once and stays. Only the
last rows, the *live* ones, are erased and drawn again: what is going on, what is under way, and the
line itself.
"""

import contextlib
import os
import signal
from collections import deque

from chat import transcript
from chat.commands import Commands
from chat.editor import LineEditor
from chat.errors import UsageError
from chat.happenings import Entered, Full, Happening, MakingKey, Said, Underway, Warned
from chat.history import History
from chat.limits import (
    CONSOLE_READ_BYTES,
    FAREWELL_SECONDS,
    FOREGROUND_SECONDS,
    INTERRUPT_SECONDS,
    PASTE_LINES,
    PENDING_ROWS,
    SPIN_SECONDS,
)
from chat.reactor import Reactor, Timer
from chat.style import DIM, Painter, cut
from chat.terminal import LineOutput, can_be_read, is_in_background
from chat.view import Conversation

_SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_PLAIN_SPINNER = "|/-\\"

_SAVE_TITLE, _RESTORE_TITLE = b"\x1b[22;2t", b"\x1b[23;2t"
_CLEAR = b"\x1b[H\x1b[2J"
_BELL = b"\a"

TITLED = ("xterm", "tmux", "screen", "rxvt", "alacritty", "foot", "kitty", "st-", "vte", "wezterm")
"""How TERM begins where a terminal has a title."""

_AFTER_RETURN = (transcript.CATCHING_UP, transcript.AWAITING)
_USUAL_COLUMNS = 80


class Screen:
    """Shows a conversation to one person, and takes what is typed."""

    not_sent = 0

    def __init__(
        self,
        reactor: Reactor,
        source: int,
        output: LineOutput,
        painter: Painter,
        history: History | None,
        *,
        has_title: bool,
    ) -> None:
        """`source` is standard input, a terminal; `has_title`: it can show one.

        Raises:
            EditorMissingError: lines cannot be edited here.
        """
        self.output = output
        self._reactor = reactor
        self._source = source
        self._painter = painter
        self._has_title = has_title
        self._editor = LineEditor(self._complete)
        self._history = history
        self._conversation: Conversation | None = None
        self._commands: Commands | None = None
        self._columns = columns_of_terminal(source)
        # What is to be shown at the end of the turn:
        self._lines: list[str] = []
        self._drawing = False
        # The live rows:
        self._rows = 0
        self._activity = ""
        self._frame = 0
        self._spin_at = 0.0
        self._spinner: Timer | None = None
        self._pending: deque[Underway] = deque()
        self._prompt = ""
        # Of the person:
        self._started = False
        self._stopped = False
        self._typing = False
        self._suspended = False
        self._closed = False
        self._paste: str | None = None
        self._interrupted_at = float("-inf")
        self._mentions = 0
        self._load_history()

    def _load_history(self) -> None:
        try:
            for line in self._history.load() if self._history else ():
                self._editor.remember(line)
        except OSError as error:
            self._give_up_history(error)

    def _give_up_history(self, error: OSError) -> None:
        self._history = None
        self.show(Warned(f"what you type is not kept: {error.strerror}"))

    # -- as a view

    @property
    def conversation(self) -> Conversation:
        """What is shown and typed here."""
        assert self._conversation is not None
        return self._conversation

    @property
    def commands(self) -> Commands:
        """What the person can do."""
        assert self._commands is not None
        return self._commands

    def open(self, conversation: Conversation) -> None:
        self._conversation = conversation
        self._commands = Commands(conversation, self._tell, self._clear)

    def show(self, happening: Happening) -> None:
        match happening:
            case Said():
                self._show_said(happening)
            case Underway():
                self._pending.append(happening)
            case Entered(again=False):
                self._activity = ""
            case _:
                self._begin(transcript.activity(happening))
        if not isinstance(happening, Said | MakingKey):
            self._lines += self._painter.paint(happening, self._columns)
        self._draw_later()

    def _show_said(self, said: Said) -> None:
        if said.own and self._pending and self._pending[0].number == said.number:
            self._pending.popleft()
        if self.commands.ignores(said):
            return
        self._lines += self._painter.paint(said, self._columns)
        if self._painter.mentions(said):
            self._mention()

    def take_input(self, wanted: bool) -> None:
        # Whether more can be taken is seen when a line is submitted: commands always can.
        if wanted and not self._started:
            self._started = True
            self.come_forward()

    def stop(self) -> None:
        self._stopped = True
        self._reactor.watch_read(self._source, None)

    def count_undelivered(self) -> int:
        return 0

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self.stop()
        self._activity = ""
        self._pending.clear()
        self._draw()
        self._write(self._erase() + self._editor.stop())
        self._forget_mentions()
        self.output.drain()

    # -- drawing

    def _write(self, data: bytes) -> None:
        self.output.write_bytes(data)

    def _tell(self, lines: list[str]) -> None:
        self._lines += self._painter.status(lines, self._columns)
        self._draw_later()

    def _draw_later(self) -> None:
        """At the end of the turn: many messages are drawn as one."""
        if not self._drawing:
            self._drawing = True
            self._reactor.defer(self._draw)

    def _draw(self) -> None:
        self._drawing = False
        erased = self._erase()
        live = self._live_rows()
        rows = [*self._lines, *live]
        self._rows = len(live)
        self._lines.clear()
        text = self.output.encode("".join(f"{row}\n" for row in rows))
        self._set_prompt()
        self._write(erased + text + (self._editor.draw() if self._typing else b""))

    def _erase(self) -> bytes:
        rows, self._rows = self._rows, 0
        return self._editor.erase() + (b"\r\x1b[%dA\x1b[J" % rows if rows else b"")

    def _live_rows(self) -> list[str]:
        rows = []
        if self._activity and self._frame:
            frames = _SPINNER if self.output.is_unicode else _PLAIN_SPINNER
            rows.append(f"{frames[self._frame % len(frames)]} {self._activity}")
        for underway, _ in zip(self._pending, range(PENDING_ROWS), strict=False):
            rows.append(transcript.pending(underway.text))
        if len(self._pending) > PENDING_ROWS:
            rows.append(transcript.more_pending(len(self._pending) - PENDING_ROWS))
        return [self._painter.colour(DIM, cut(row, self._columns - 1)) for row in rows]

    def _set_prompt(self) -> None:
        if self._paste is not None:
            prompt = transcript.confirm_paste(self._paste.count("\n") + 1)
        else:
            present = self._conversation is None or self._conversation.present
            prompt = transcript.prompt(present, len(self._pending))
        if prompt != self._prompt:
            self._prompt = prompt
            self._editor.prompt(prompt)

    def _clear(self) -> None:
        self._write(self._erase() + _CLEAR)
        self._draw_later()

    # -- what takes its time

    def _begin(self, activity: str) -> None:
        """It is shown if it takes long."""
        if activity:
            self._activity = activity
            self._frame = 0
            self._spin_later()

    def _spin_later(self) -> None:
        self._spin_at = self._reactor.clock() + SPIN_SECONDS
        if self._spinner is not None:
            self._spinner.cancel()
        self._spinner = self._reactor.call_at(self._spin_at, self._on_spin)

    def _on_spin(self) -> None:
        if self._activity in _AFTER_RETURN and self.conversation.current:
            self._activity = ""
        self.spin()

    def spin(self) -> None:
        if self._reactor.clock() >= self._spin_at:
            self._frame += 1
            if self._activity:
                self._spin_later()
            self._draw()

    # -- the person

    def come_forward(self) -> None:
        """Take the terminal as soon as it is ours."""
        if self._stopped or not self._started:
            return
        if is_in_background(self._source):
            again = self._reactor.clock() + FOREGROUND_SECONDS
            self._reactor.call_at(again, self.come_forward)
            return
        self._set_prompt()
        self._write(self._erase() + self._editor.start())
        self._typing = True
        self._reactor.watch_read(self._source, self._on_readable)
        self.resize()

    def suspend(self) -> None:
        """Give the terminal back and stop (SIGTSTP), until somebody lets us go on."""
        self._forget_mentions()
        self._write(self._erase() + self._editor.pause())
        self._typing = False
        self.output.drain(FAREWELL_SECONDS)
        handler = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, handler)
        self._suspended = True
        self.come_forward()

    def go_on(self) -> None:
        """Somebody lets us go on after a stop (SIGCONT), perhaps one that we did not see coming:
        then the shell has used the terminal meanwhile."""
        if self._typing and not self._suspended:
            self._editor.leave_behind()
            self._rows = 0
            self._write(self._editor.pause())
            self.come_forward()
        self._suspended = False

    def resize(self) -> None:
        """The terminal may have another size (SIGWINCH)."""
        self._write(self._erase())
        self._columns = columns_of_terminal(self._source)
        self._editor.measure()
        self._draw_later()

    def interrupt(self) -> None:
        # The first clears the line, with what was typed before it; the second leaves.
        for _ in range(CONSOLE_READ_BYTES):
            if not self._typing or not can_be_read(self._source):
                break
            self._on_readable()
        now = self._reactor.clock()
        again = now < self._interrupted_at + INTERRUPT_SECONDS
        if again or not self._typing:
            self.conversation.leave()
            return
        self._interrupted_at = now
        if not self._editor.text and self._paste is None:
            self._tell([transcript.LEAVE_HINT])
        self._paste = None
        self._write(self._erase())
        self._editor.clear()
        self._draw_later()

    def _on_readable(self) -> None:
        if is_in_background(self._source):
            self._reactor.watch_read(self._source, None)
            self._typing = False
            self.come_forward()
            return
        self._interrupted_at = float("-inf")
        self._forget_mentions()
        data, lines = self._editor.read()
        self._write(data)
        for line in lines:
            self._submit(line.rstrip("\n"))
        if self._editor.ended:
            self.stop()
            self.conversation.leave()

    def _submit(self, line: str) -> None:
        paste, self._paste = self._paste, None
        if paste is not None:
            if line.strip().lower() in ("y", "yes"):
                self._take(paste)
            else:
                self._tell([transcript.PASTE_DROPPED])
        elif line:
            self._remember(line)
            if line.count("\n") >= PASTE_LINES:
                self._paste = line
            else:
                self._take(line)
        self._draw_later()

    def _take(self, line: str) -> None:
        if self.conversation.full and self.commands.would_send(line):
            self._give_back(line, Full(len(self._pending)))
            return
        try:
            self.commands.take(line)
        except UsageError as error:
            self._give_back(line, Warned(str(error)))

    def _give_back(self, line: str, why: Happening) -> None:
        self.show(why)
        self._write(self._erase())
        self._editor.put(line)

    def _remember(self, line: str) -> None:
        self._editor.remember(line)
        try:
            if self._history is not None:
                self._history.append(line)
        except OSError as error:
            self._give_up_history(error)

    def _complete(self, line: str, begin: int) -> list[str]:
        return self.commands.completions(line, begin)

    # -- being spoken to

    def _mention(self) -> None:
        self._mentions += 1
        if self.commands.bell:
            self._write(_BELL)
        if self._has_title:
            save = _SAVE_TITLE if self._mentions == 1 else b""
            title = transcript.title(self.conversation.name, self._mentions)
            self._write(save + self.output.encode(f"\x1b]2;{title}\a"))

    def _forget_mentions(self) -> None:
        """Whoever types has seen them."""
        if self._mentions and self._has_title:
            self._write(_RESTORE_TITLE)
        self._mentions = 0


def columns_of_terminal(descriptor: int) -> int:
    """How wide the terminal is; as wide as most if it does not tell."""
    with contextlib.suppress(OSError):
        return os.get_terminal_size(descriptor).columns or _USUAL_COLUMNS
    return _USUAL_COLUMNS
