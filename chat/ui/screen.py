"""A conversation on a terminal, in front of a person.

`live` draws, `editor` edits the line, and `commands` says what a line means; here they meet the
client, the terminal's signals and the history.
"""

import os
import signal
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from chat.client.events import (
    ClientEvent,
    Disconnected,
    Leaving,
    MakingKey,
    MessageReceived,
    Reconnected,
    Warned,
)
from chat.client.view import ChatClient
from chat.errors import OutboxFullError, UsageError
from chat.files.history import History
from chat.limits import (
    BELL_SECONDS,
    CONSOLE_READ_BYTES,
    FOREGROUND_SECONDS,
    INTERRUPT_SECONDS,
    LINGER_SECONDS,
    PASTE_LINES,
)
from chat.localtime import look_again
from chat.phrases import StatusLine
from chat.reactor import Reactor
from chat.stdio import LineOutput, can_be_read, can_be_read_by_us, is_in_background
from chat.ui import manual, transcript
from chat.ui.commands import Commands
from chat.ui.completion import Offer
from chat.ui.editor import Line, LineEditor
from chat.ui.live import LiveRows
from chat.ui.style import Painter

if TYPE_CHECKING:
    from chat.ui.external import Edited, ExternalEditor

_TITLED = ("xterm", "tmux", "screen", "rxvt", "alacritty", "foot", "kitty", "st-", "vte", "wezterm")
"""How TERM begins for terminals that have a title."""

_REFLOWING = (
    "tmux",
    "alacritty",
    "foot",
    "kitty",
    "xterm-kitty",
    "xterm-ghostty",
    "wezterm",
    "vte",
)
"""How TERM begins for terminals that wrap rows anew when their width changes. Others may."""

_SAVE_TITLE, _RESTORE_TITLE = b"\x1b[22;2t", b"\x1b[23;2t"
_BELL = b"\a"


class Mentions:
    """Counts mentions of the person since the last key, for the bell and for the title."""

    def __init__(self, clock: Callable[[], float], *, has_title: bool) -> None:
        self._clock = clock
        self._has_title = has_title
        self._count = 0
        self._told = 0
        self._rung_at = float("-inf")

    def add(self) -> None:
        """One more."""
        self._count += 1

    def tell(self, title: Callable[[int], bytes], *, bell: bool) -> bytes:
        """The codes to write once a turn: however many mentions came, one title and at most one
        bell, and none too soon after the last."""
        if self._count == self._told:
            return b""
        data = b""
        if bell and self._clock() >= self._rung_at + BELL_SECONDS:
            self._rung_at = self._clock()
            data += _BELL
        if self._has_title:
            data += b"" if self._told else _SAVE_TITLE
            data += b"\x1b]2;" + title(self._count) + _BELL
        self._told = self._count
        return data

    def forget(self) -> bytes:
        """The person has seen them. Returns the codes that restore the title."""
        restore = _RESTORE_TITLE if self._told and self._has_title else b""
        self._count = self._told = 0
        return restore


class Screen:
    """Shows a conversation to one person, and takes what is typed.

    The terminal is ours while `_live.typing` is true: the line stands there, and keys are read.
    These lead from one state to the other:

        not ours -> ours   `_come_forward`, as soon as we are in the foreground: a timer looks
        ours -> not ours   `_suspend` (Ctrl-Z), which gives it back and stops the process
                           `_edit`, which gives it to the person's own editor, until that has ended
                           `_on_readable`, if another job has taken it: it cannot be given back
                           `close`, for good

    A SIGCONT (`_go_on`) ends every stop, and leads to `_come_forward`. If the terminal is still
    ours then, we could not give it back before the stop, and the shell has used it since. So what
    was drawn is left where it is.

    Nothing may touch the terminal from the background: the kernel would stop us (SIGTTOU).

    `_paste` is a text that waits for a yes or a no, since it has many lines, or is too long for a
    message and can be sent as `_parts`. Until one comes, or Ctrl-C, each line is an answer and is
    not sent.
    """

    not_sent = not_commands = 0
    unfinished = False

    def __init__(
        self,
        reactor: Reactor,
        source: int,
        output: LineOutput,
        painter: Painter,
        history: History | None,
        term: str,
    ) -> None:
        """`source` is standard input, a terminal of the kind `term`.

        Raises:
            EditorMissingError: lines cannot be edited here.
        """
        self.output = output
        self._reactor = reactor
        self._source = source
        self._painter = painter
        self._editor = LineEditor(self._complete, lambda text: self.commands.typed(text))
        self._live = LiveRows(
            reactor,
            output,
            painter,
            self._editor,
            self._prompt,
            self._alert,
            reflows=term.startswith(_REFLOWING) or "TMUX" in os.environ,
        )
        self._history = history
        self._external: ExternalEditor | None = None
        self._client: ChatClient | None = None
        self._commands: Commands | None = None
        self._started = False
        self._stopped = False
        self._closed = False
        self._paste: Line | None = None
        self._parts: list[str] = []
        self._interrupted_at = float("-inf")
        self._mentions = Mentions(reactor.clock, has_title=term.startswith(_TITLED))
        self._load_history()
        reactor.on_signals([signal.SIGWINCH], self._live.resize)
        reactor.on_signals([signal.SIGTSTP], self._suspend)
        reactor.on_signals([signal.SIGCONT], self._go_on)

    def _load_history(self) -> None:
        try:
            for line in self._history.load() if self._history else ():
                self._editor.remember(line)
        except OSError as error:
            self._give_up_history(error)

    def _give_up_history(self, error: OSError) -> None:
        self._history = None
        where = f"{error.filename}: " if error.filename else ""
        self.show(Warned(f"What you type is not kept: {where}{error.strerror}"))

    # -- as a view

    @property
    def client(self) -> ChatClient:
        """The client whose conversation this is."""
        assert self._client is not None
        return self._client

    @property
    def commands(self) -> Commands:
        """The person's commands."""
        assert self._commands is not None
        return self._commands

    def open(self, client: ChatClient) -> None:
        self._client = client
        self._commands = Commands(
            client, self._tell, self._live.clear, self._unfold, manual.KEYS, self._edit
        )

    def show(self, event: ClientEvent) -> None:
        if isinstance(event, MessageReceived):
            self._show_said(event)
            return
        if isinstance(event, Disconnected):
            self._live.end()
        elif activity := transcript.activity(event):
            self._live.begin(activity, lambda: self._is_over(event))
        if isinstance(event, MakingKey) and not is_in_background(self._source):
            self._editor.hush()
        # These two are shown by the spinner alone.
        if not isinstance(event, MakingKey | Leaving):
            self._show_above(event)

    def _is_over(self, event: ClientEvent) -> bool:
        """Whether the activity that began with this event is over."""
        if isinstance(event, Reconnected):
            return self.client.can_send
        return self._is_present and not isinstance(event, Leaving)

    def _show_above(self, event: ClientEvent) -> None:
        live = self._live
        live.show(self._painter.paint(event, live.columns, window_rows=live.window_rows))

    def _unfold(self, number: str) -> bool:
        rows = self._painter.unfold(number, self._live.columns)
        self._live.show(rows)
        return bool(rows)

    def _show_said(self, said: MessageReceived) -> None:
        pending = self._live.pending
        if said.own and pending and pending[0].number == said.number:
            pending.popleft()
        self.commands.heard(said)
        self._show_above(said)
        if self._painter.mentions(said):
            self._mentions.add()

    @property
    def _is_present(self) -> bool:
        return self._client is not None and self._client.in_room

    def _prompt(self) -> str:
        self._editor.remembers = self._paste is None
        if self._paste is not None and self._parts:
            size = len(self._paste.text.encode())
            return transcript.confirm_parts(size, len(self._parts))
        if self._paste is not None:
            return transcript.confirm_paste(self._paste.text.count("\n") + 1)
        return transcript.prompt(self._is_present, len(self._live.pending))

    def _tell(self, lines: Sequence[StatusLine]) -> None:
        self._live.show(self._painter.status(lines, self._live.columns))

    def spin(self) -> None:
        self._live.spin()

    def take_input(self, wanted: bool) -> None:
        # Reading never stops, since commands can always be typed; `_take` refuses what is too much.
        if wanted and not self._started:
            self._started = True
            self._come_forward()

    def stop(self) -> None:
        self._stopped = True
        self._reactor.watch_read(self._source, None)

    def count_undelivered(self) -> int:
        return 0

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self.stop()
            if self._external is not None:
                self._external.finish(hurried=self.output.hurried)
            if draft := self._editor.text.strip("\n"):
                self._editor.discard_typed_ahead()
            if self._paste is not None:
                # What stands in the line is the answer to a question about this.
                self._tell([transcript.draft(self._paste.text, self._keeps(self._paste.text))])
            elif draft:
                self._remember(draft)
                self._tell([transcript.draft(draft, self._keeps(draft))])
            self._live.finish(offline=not self._is_present)
            self._forget_mentions()
            self.output.drain()

    # -- the terminal comes and goes

    def _come_forward(self) -> None:
        """Take the terminal, as soon as we are in its foreground."""
        if self._stopped or not self._started or self._live.typing or self._is_given_away:
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
        us there, and after the SIGCONT we must not stop again."""
        if self._is_given_away:
            # It was meant for the editor; if that stops, we do.
            return
        continued: list[int] = []
        noted = signal.signal(signal.SIGCONT, lambda number, _: continued.append(number))
        if not is_in_background(self._source):
            self._forget_mentions()
            self._live.close_line()
            self.output.drain(LINGER_SECONDS)
        if not continued:
            handler = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTSTP)
            signal.signal(signal.SIGTSTP, handler)
        signal.signal(signal.SIGCONT, noted)
        if not continued:
            # Where no shell could wake us (an orphaned process group), the kernel does not stop us.
            self._go_on()

    def _go_on(self) -> None:
        """Continue after a stop (SIGCONT). The time zone may have changed."""
        look_again()
        if self._external is not None:
            self._external.go_on()
        if self._live.typing:
            if is_in_background(self._source):
                self._look_again_with(self._go_on)
                return
            self._live.forget()
            self._live.close_line()
        self._come_forward()

    # -- the person's own editor

    @property
    def _is_given_away(self) -> bool:
        """Whether the person's own editor has the terminal."""
        return self._external is not None and self._external.running

    def _edit(self, text: str) -> None:
        """Give a text to the person's own editor; what comes back will be in the line."""
        if self._is_given_away:
            return
        if self._external is None:
            from chat.ui.external import ExternalEditor

            self._external = ExternalEditor(
                self._reactor, self._live, self._source, self._on_edited
            )
        try:
            self._external.begin(text, os.environ)
        except UsageError as error:
            self._tell([transcript.refused(error.advice)])
            self._come_forward()
        else:
            self._reactor.watch_read(self._source, None)

    def _on_edited(self, edited: "Edited") -> None:
        if edited.text is not None:
            self._editor.put(edited.text)
        if edited.saved:
            self._editor.remember(edited.saved)
            self._remember(edited.saved)
        if edited.trouble:
            self._tell(transcript.edit_failed(edited.trouble, saved=bool(edited.saved)))
        self._come_forward()

    # -- what is typed

    def interrupt(self) -> None:
        if self._is_given_away:
            return
        # The first Ctrl-C clears the line, and first reads what was typed before it; a second one
        # soon after leaves.
        for _ in range(CONSOLE_READ_BYTES):
            if self._stopped or not self._live.typing or not can_be_read(self._source):
                break
            self._on_readable()
        now = self._reactor.clock()
        again = now < self._interrupted_at + INTERRUPT_SECONDS
        if again or self._stopped or not self._live.typing:
            self.client.leave()
            return
        self._interrupted_at = now
        if not self._editor.text and self._paste is None:
            self._tell([transcript.LEAVE_HINT])
        self._paste = None
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
        self._interrupted_at = float("-inf")
        self._forget_mentions()
        for line in self._live.read():
            self._submit(line._replace(text=line.text.rstrip("\n")))
        if self._editor.ended:
            self.stop()
            self.client.leave()
        elif self._editor.wants_editor:
            self._editor.wants_editor = False
            if self._paste is None:
                self._edit(self._editor.text)

    def _submit(self, line: Line) -> None:
        if self._paste is not None:
            self._answer(self._paste, line)
        elif line.text:
            self._remember(self.commands.typed(line.text) if line.pasted else line.text)
            self._parts = self.commands.parts(line.text, pasted=line.pasted)
            is_long = line.text.count("\n") >= PASTE_LINES
            can_send = is_long and self.commands.can_send(line.text, pasted=line.pasted)
            if can_send or self._parts:
                self._paste = line
            else:
                self._take(line)
        self._live.draw_later()

    def _answer(self, paste: Line, answer: Line) -> None:
        """Take the answer to the question about a paste. What is no answer can be called back, as
        it may be the next message."""
        match answer.text.strip().lower():
            case "y" | "yes":
                self._paste = None
                self._take_all(self._parts or [paste.text], pasted=paste.pasted)
            case "n" | "no":
                self._paste = None
                self._tell([transcript.NOT_SENT])
            case other:
                if other:
                    typed = self.commands.typed(answer.text) if answer.pasted else answer.text
                    self._editor.remember(typed)
                self._tell([transcript.YES_OR_NO])

    def _take_all(self, parts: list[str], *, pasted: bool) -> None:
        """Send these in order, as far as messages can be taken."""
        if len(parts) == 1:
            self._take(Line(parts[0], pasted))
            return
        for at, part in enumerate(parts):
            if self.client.full:
                self._editor.remember(self.commands.typed("\n".join(parts[at:])))
                self._tell([transcript.outbox_full(len(self._live.pending))])
                self._tell([transcript.rest_not_sent(len(parts) - at)])
                return
            # It is text, whatever it begins with.
            self._take(Line(part, pasted=True))

    def _take(self, line: Line) -> None:
        text, pasted = line
        try:
            queued = self.commands.take(text, pasted=pasted)
            if queued is not None:
                self._live.pending.append(queued)
        except OutboxFullError:
            self._tell([transcript.outbox_full(len(self._live.pending)), transcript.NOT_SENT])
        except UsageError as error:
            self._tell([transcript.refused(error.advice), transcript.NOT_SENT])

    def _remember(self, line: str) -> None:
        try:
            if self._history is not None and line:
                self._history.append(line)
        except OSError as error:
            self._give_up_history(error)

    def _keeps(self, line: str) -> bool:
        """Whether the history keeps such a line for the next run."""
        return self._history is not None and self._history.keeps(line)

    def _complete(self, line: str) -> Offer:
        return self.commands.completions(line)

    # -- being spoken to

    def _alert(self) -> bytes:
        bell = self._commands is not None and self._commands.bell
        return self._mentions.tell(self._title, bell=bell)

    def _title(self, mentions: int) -> bytes:
        return self.output.encode(transcript.title(self.client.name, mentions))

    def _forget_mentions(self) -> None:
        """The person types, and so has seen the mentions."""
        self._live.write(self._mentions.forget())
