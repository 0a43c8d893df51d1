"""A conversation on a terminal, in front of a person.

`terminal` takes what is typed, and `commands` says what a line means; here they meet the client.
"""

from collections.abc import Callable, Sequence

from chat.client.events import (
    ClientEvent,
    Disconnected,
    Leaving,
    MakingKey,
    MessageReceived,
    Reconnected,
)
from chat.client.view import ChatClient
from chat.errors import OutboxFullError, UsageError
from chat.files.history import History
from chat.limits import BELL_SECONDS, PASTE_LINES
from chat.phrases import StatusLine
from chat.reactor import Reactor
from chat.stdio import LineOutput
from chat.ui import marks, transcript
from chat.ui.attention import Attention
from chat.ui.commands import Commands
from chat.ui.editor import Line, LineEditor
from chat.ui.notify import Notifications, Show
from chat.ui.silence import Silence
from chat.ui.style import Painter
from chat.ui.terminal import Terminal
from chat.ui.underway import UnderwayRows

_TITLED = ("xterm", "tmux", "screen", "rxvt", "alacritty", "foot", "kitty", "st-", "vte", "wezterm")
"""How TERM begins for terminals that have a title."""

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


class Screen(Terminal):
    """Shows a conversation to one person, and takes what is typed.

    `_paste` is a pasted text that waits for a yes or a no. Until one comes, or Ctrl-C, each line is
    an answer and is not sent.
    """

    not_sent = not_commands = 0
    unfinished = False

    _INTERRUPT_HINT = transcript.LEAVE_HINT
    _live: UnderwayRows

    def __init__(
        self,
        reactor: Reactor,
        source: int,
        output: LineOutput,
        painter: Painter,
        history: History | None,
        term: str,
        notification: Show | None = None,
    ) -> None:
        """`source` is standard input, a terminal of the kind `term`. `notification`: how the
        desktop is told that somebody speaks to the person; None: it is not.

        Raises:
            EditorMissingError: lines cannot be edited here.
        """
        self._painter = painter
        self._attention = Attention()
        self._silence = Silence(reactor, lambda: self._live.draw_later())
        self._client: ChatClient | None = None
        self._commands: Commands | None = None
        self._paste: Line | None = None
        self._mentions = Mentions(reactor.clock, has_title=term.startswith(_TITLED))
        self._notifications = Notifications(reactor.clock, notification)
        editor = LineEditor(self._complete, lambda text: self.commands.typed(text), self._on_focus)
        live = UnderwayRows(reactor, output, painter, editor, self._prompt, self._alert)
        super().__init__(reactor, source, output, editor, live, history)

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
        keys = [transcript.NEW_LINE_KEY]
        self._commands = Commands(client, self._tell, self._live.clear, self._unfold, keys)

    def show(self, event: ClientEvent) -> None:
        if isinstance(event, MessageReceived):
            self._show_said(event)
            return
        if isinstance(event, Disconnected):
            self._live.end()
        elif activity := transcript.activity(event):
            self._live.begin(activity, lambda: self._is_over(event))
        # These two are shown by the spinner alone.
        if not isinstance(event, MakingKey | Leaving):
            self._show_above(event)

    def _is_over(self, event: ClientEvent) -> bool:
        """Whether the activity that began with this event is over."""
        if isinstance(event, Reconnected):
            return self.client.can_send
        return self._is_present and not isinstance(event, Leaving)

    def _show_above(self, event: ClientEvent) -> None:
        live, painter = self._live, self._painter
        live.show(painter.day(live.columns, event))
        # What was missed happened at a time that we do not know.
        is_live = self._client is not None and self._client.can_send
        rows = painter.paint(event, live.columns, window_rows=live.window_rows, live=is_live)
        live.show(rows)

    def _unfold(self, number: str) -> bool:
        rows = self._painter.unfold(number, self._live.columns)
        self._live.show(rows)
        return bool(rows)

    def _show_said(self, said: MessageReceived) -> None:
        pending = self._live.pending
        if said.own and pending and pending[0].number == said.number:
            pending.popleft()
        self.commands.heard(said)
        if not said.own and (away := self._attention.unread_for()) is not None:
            self._show_mark(marks.unread(away, self._painter.time_format))
        self._show_above(said)
        if self._painter.mentions(said):
            self._mentions.add()
            self._notifications.add(said)

    def _show_mark(self, text: str) -> None:
        self._live.show(self._painter.mark(text, self._live.columns))

    @property
    def _is_present(self) -> bool:
        return self._client is not None and self._client.in_room

    def _prompt(self) -> str:
        self._editor.remembers = self._paste is None
        if self._paste is not None:
            return transcript.confirm_paste(self._paste.text.count("\n") + 1)
        waiting = len(self._live.pending)
        since = self.client.unanswered_since if waiting else None
        silent = self._silence.seconds(since, waiting=bool(waiting))
        return transcript.prompt(self._is_present, waiting, silent)

    def _tell(self, lines: Sequence[StatusLine]) -> None:
        self._live.show(self._painter.day(self._live.columns))
        self._live.show(self._painter.status(lines, self._live.columns))

    def spin(self) -> None:
        self._live.spin()

    def take_input(self, wanted: bool) -> None:
        # Reading never stops, since commands can always be typed; `_take` refuses what is too much.
        if wanted:
            self.start()

    def count_undelivered(self) -> int:
        return 0

    def _finish(self) -> None:
        if draft := self._editor.text.strip("\n"):
            self._editor.discard_typed_ahead()
        if self._paste is not None:
            # What stands in the line is the answer to a question about this.
            self._tell([transcript.draft(self._paste.text, self._keeps(self._paste.text))])
        elif draft:
            self._remember(draft)
            self._tell([transcript.draft(draft, self._keeps(draft))])
        self._live.give_up(offline=not self._is_present)
        self._on_presence()
        super()._finish()

    # -- what is typed

    def _leave(self) -> None:
        self.client.leave()

    def _on_end(self) -> None:
        self.stop()
        self.client.leave()

    def _drop_question(self) -> bool:
        paste, self._paste = self._paste, None
        return paste is not None

    def _on_focus(self, has_focus: bool) -> None:
        self._attention.on_focus(has_focus)
        if has_focus:
            self._on_presence()

    def _submit(self, line: Line) -> None:
        if self._paste is not None:
            self._answer(self._paste, line)
        elif line.text:
            self._remember(self.commands.typed(line.text) if line.pasted else line.text)
            is_long = line.text.count("\n") >= PASTE_LINES
            if is_long and self.commands.can_send(line.text, pasted=line.pasted):
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
                self._take(paste)
            case "n" | "no":
                self._paste = None
                self._tell([transcript.NOT_SENT])
            case other:
                if other:
                    typed = self.commands.typed(answer.text) if answer.pasted else answer.text
                    self._editor.remember(typed)
                self._tell([transcript.YES_OR_NO])

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

    def _complete(self, line: str, begin: int) -> list[str]:
        return self.commands.completions(line, begin)

    # -- being spoken to

    def _alert(self) -> bytes:
        bell = self._commands is not None and self._commands.bell
        told = self._mentions.tell(self._title, bell=bell)
        wanted = not self._attention.has_focus
        return told + self._notifications.tell(self.output.encode, wanted=wanted)

    def _title(self, mentions: int) -> bytes:
        return self.output.encode(transcript.title(self.client.name, mentions))

    def _on_presence(self) -> None:
        super()._on_presence()
        self._attention.on_key()
        self._live.write(self._mentions.forget())
