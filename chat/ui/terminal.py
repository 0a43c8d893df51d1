"""A terminal in front of a person: how it is taken and given back, and the keys that are read.

`live` draws, `editor` edits the line; here they meet the terminal's signals and the history. What a
line means, and what is shown, is the business of those who derive from this: `screen` and `desk`.
"""

import os
import signal
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar

from chat import phrases
from chat.files.history import History
from chat.limits import (
    CONSOLE_READ_BYTES,
    FOREGROUND_SECONDS,
    INTERRUPT_SECONDS,
    LINGER_SECONDS,
)
from chat.localtime import look_again
from chat.reactor import Reactor, WakeUp
from chat.stdio import LineOutput, can_be_read, can_be_read_by_us, is_in_background
from chat.ui.editor import Line, LineEditor
from chat.ui.live import LiveRows


class Terminal(ABC):
    """Takes what one person types.

    The terminal is ours while `_live.typing` is true: the line stands there, and keys are read.
    These lead from one state to the other:

        not ours -> ours   `_come_forward`, as soon as we are in the foreground: a timer looks
        ours -> not ours   `_suspend` (Ctrl-Z), which gives it back and stops the process
                           `_on_readable`, if another job has taken it: it cannot be given back
                           `close`, for good

    A SIGCONT (`_go_on`) ends every stop, and leads to `_come_forward`. If the terminal is still
    ours then, we could not give it back before the stop, and the shell has used it since. So what
    was drawn is left where it is.

    Nothing may touch the terminal from the background: the kernel would stop us (SIGTTOU).
    """

    _INTERRUPT_HINT: ClassVar[phrases.StatusLine]
    """What the first Ctrl-C says when there is nothing to drop."""
    _HINT_FIRST: ClassVar[bool] = False
    """Whether a second Ctrl-C leaves only if the first one said so. One that clears a line says
    nothing."""

    def __init__(
        self,
        reactor: Reactor,
        source: int,
        output: LineOutput,
        editor: LineEditor,
        live: LiveRows,
        history: History | None,
    ) -> None:
        """`source` is standard input, a terminal."""
        self.output = output
        self._reactor = reactor
        self._source = source
        self._editor = editor
        self._live = live
        self._history = history
        self._started = False
        self._stopped = False
        self._closed = False
        self._interrupted_at = float("-inf")
        self._held = WakeUp(reactor, self._release)
        self._load_history()
        reactor.on_signals([signal.SIGWINCH], self._live.resize)
        reactor.on_signals([signal.SIGTSTP], self._suspend)
        reactor.on_signals([signal.SIGCONT], self._go_on)

    # -- what the others say

    @abstractmethod
    def _tell(self, lines: Sequence[phrases.StatusLine]) -> None:
        """Show status lines."""

    @abstractmethod
    def _submit(self, line: Line) -> None:
        """The person has finished a line."""

    @abstractmethod
    def _on_end(self) -> None:
        """Ctrl-D on an empty line; or the terminal is gone."""

    @abstractmethod
    def _leave(self) -> None:
        """Ctrl-C, and it is meant."""

    @abstractmethod
    def _on_editor_key(self) -> None:
        """The person wants to edit the line in an editor of their own."""

    def _on_presence(self) -> None:
        """The person presses a key, and so has seen what stands there; or we give the terminal
        back."""
        self._interrupted_at = float("-inf")

    def _drop_question(self) -> bool:
        """Ctrl-C: drop the question that waits for an answer. Returns whether there was one."""
        return False

    # -- begin and end

    def start(self) -> None:
        """Take the terminal as soon as it can be had, and read from then on."""
        if not self._started:
            self._started = True
            self._come_forward()

    def stop(self) -> None:
        """Read nothing more."""
        self._stopped = True
        self._reactor.watch_read(self._source, None)

    def close(self) -> None:
        """Show what is still to be shown, and leave the terminal as it was found."""
        if not self._closed:
            self._closed = True
            self.stop()
            self._finish()

    def _finish(self) -> None:
        self._live.finish()
        self.output.drain()

    # -- the terminal comes and goes

    def _come_forward(self) -> None:
        """Take the terminal, as soon as we are in its foreground."""
        if self._stopped or not self._started or self._live.typing:
            return
        if not os.isatty(self._source):
            # It is gone: its window was closed while we were in the background.
            self.stop()
            return
        if is_in_background(self._source):
            self._look_again_with(self._come_forward)
            return
        self._live.open_line()
        self._reactor.watch_read(self._source, self._on_readable)

    def _look_again_with(self, step: Callable[[], None]) -> None:
        self._reactor.call_at(self._reactor.clock() + FOREGROUND_SECONDS, step)

    def _suspend(self) -> None:
        """Give the terminal back and stop (SIGTSTP) until SIGCONT comes.

        The program that started us (make, a script) is stopped by the same key. If it stops first,
        the shell takes the terminal at once, perhaps while we give it back: then the kernel stops
        us there. On a busy machine the SIGCONT may be here before any of this. Either way we must
        not stop again."""
        if not is_in_background(self._source):
            self._on_presence()
            self._live.close_line()
            self.output.drain(LINGER_SECONDS)
        stop_unless(lambda: self._reactor.has_arrived(signal.SIGCONT), os.getpid())
        if not self._reactor.has_arrived(signal.SIGCONT):
            # Where no shell could wake us (an orphaned process group), the kernel does not stop us.
            self._go_on()

    def _go_on(self) -> None:
        """Continue after a stop (SIGCONT). The time zone may have changed."""
        look_again()
        if self._live.typing:
            if is_in_background(self._source):
                self._look_again_with(self._go_on)
                return
            self._live.forget()
            self._live.close_line()
        self._come_forward()

    # -- what is typed

    def interrupt(self) -> None:
        """Somebody pressed Ctrl-C. The first one clears the line, and first reads what was typed
        before it; a second one soon after leaves (see `_HINT_FIRST`)."""
        for _ in range(CONSOLE_READ_BYTES):
            if self._stopped or not self._live.typing or not can_be_read(self._source):
                break
            self._on_readable()
        now = self._reactor.clock()
        again = now < self._interrupted_at + INTERRUPT_SECONDS
        if again or self._stopped or not self._live.typing:
            self._leave()
            return
        self._on_presence()
        self._interrupted_at = now
        if not self._drop_question() and not self._editor.text:
            self._tell([self._INTERRUPT_HINT])
        elif self._HINT_FIRST:
            self._interrupted_at = float("-inf")
        self._live.erase()
        self._editor.clear()
        self._live.draw_later()

    def _on_readable(self) -> None:
        if not self._live.typing or is_in_background(self._source):
            # It is watched still, but what woke us is for the shell, or was typed before the line
            # stands there again.
            self._reactor.watch_read(self._source, None)
            self._live.typing = False
            self._come_forward()
            return
        if not can_be_read_by_us(self._source):
            # The shell has read it. Readline would wait for a key, and everything else with it.
            return
        self._take_key()

    def _release(self) -> None:
        """Nothing has come behind what was held, so it is a key."""
        if self._live.typing and not is_in_background(self._source):
            self._take_key(released=True)

    def _take_key(self, *, released: bool = False) -> None:
        lines = self._live.read(released=released)
        seconds = self._editor.release_seconds
        self._held.set(self._reactor.clock() + seconds if seconds else None)
        if self._editor.took_key:
            self._on_presence()
        for line in lines:
            self._submit(line._replace(text=line.text.rstrip("\n")))
        if self._editor.ended:
            self._on_end()
        elif self._editor.wants_editor:
            self._editor.wants_editor = False
            self._on_editor_key()

    # -- the history

    def _load_history(self) -> None:
        try:
            for line in self._history.load() if self._history else ():
                self._editor.remember(line)
        except OSError as error:
            self._give_up_history(error)

    def _give_up_history(self, error: OSError) -> None:
        self._history = None
        self._tell([phrases.no_history(error.filename, error.strerror or str(error))])

    def _remember(self, line: str) -> None:
        try:
            if self._history is not None and line:
                self._history.append(line)
        except OSError as error:
            self._give_up_history(error)

    def _keeps(self, line: str) -> bool:
        """Whether the history keeps such a line for the next run."""
        return self._history is not None and self._history.keeps(line)


def stop_unless(continued: Callable[[], bool], process: int) -> None:
    """Stop (SIGTSTP) until SIGCONT comes, unless it has come, as `continued` says. `process`: our
    own, or 0 for our process group, which then stops and goes on with us.

    While SIGTSTP is blocked it only waits, and a SIGCONT takes back one that waits. So none is
    missed, however late we are."""
    if continued():
        # A shell could see others of the group stop, if only for a moment.
        return
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTSTP])
    handler = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
    os.kill(process, signal.SIGTSTP)
    if continued():
        os.kill(process, signal.SIGCONT)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    signal.signal(signal.SIGTSTP, handler)
