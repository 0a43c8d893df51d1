"""A conversation on a terminal, in front of a person.

`terminal` takes what is typed, and `commands` says what a line means; here they meet the client.
"""

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

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
from chat.stdio import LineOutput, is_in_background
from chat.ui import manual, marks, transcript
from chat.ui.attention import Attention
from chat.ui.commands import Commands
from chat.ui.completion import Offer
from chat.ui.editor import Line, LineEditor
from chat.ui.feed import Feed
from chat.ui.memory import recalled
from chat.ui.notify import Notifications, Show
from chat.ui.quiet import Quiet
from chat.ui.silence import Silence
from chat.ui.style import Painter
from chat.ui.terminal import Terminal
from chat.ui.underway import UnderwayRows

if TYPE_CHECKING:
    from chat.ui.external import Edited, ExternalEditor

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

    `_edit` gives the terminal to the person's own editor, which has it until it ends: nothing else
    takes it, or heeds the keys that send signals, while `_is_given_away`.

    `_paste` is a text that waits for a yes or a no, since it has many lines, or is too long for a
    message and can be sent as `_parts`. Until one comes, or Ctrl-C, each line is an answer and is
    not sent.
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
        feed: Feed | None = None,
    ) -> None:
        """`source` is standard input, a terminal of the kind `term`. `notification`: how the
        desktop is told that somebody speaks to the person; None: it is not. `feed` takes what
        happens; None: one that shows all of it.

        Raises:
            EditorMissingError: lines cannot be edited here.
        """
        self._painter = painter
        self._feed = feed or Feed(Quiet(reactor.clock))
        self._attention = Attention()
        self._silence = Silence(reactor, lambda: self._live.draw_later())
        self._client: ChatClient | None = None
        self._commands: Commands | None = None
        self._paste: Line | None = None
        self._parts: list[str] = []
        self._external: ExternalEditor | None = None
        self._mentions = Mentions(reactor.clock, has_title=term.startswith(_TITLED))
        self._notifications = Notifications(reactor.clock, notification)
        editor = LineEditor(self._complete, lambda text: self.commands.typed(text), self._on_focus)
        live = UnderwayRows(
            reactor,
            output,
            painter,
            editor,
            self._prompt,
            self._alert,
            self._feed.quiet,
        )
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
        self._commands = Commands(
            client,
            self._tell,
            self._live.clear,
            self._unfold,
            self._recall,
            self._feed.quiet,
            manual.KEYS,
            self._edit,
        )

    def show(self, event: ClientEvent) -> None:
        shown = self._feed.take(event, self._names, live=self._is_live)
        for each in shown:
            self._show(each)
        if not shown:
            self._live.draw_later()

    def _names(self) -> list[str]:
        return [one.name for one in self.client.members()]

    def _show(self, event: ClientEvent) -> None:
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
        live, painter = self._live, self._painter
        live.show(painter.day(live.columns, event))
        window_rows, is_live = live.window_rows, self._is_live
        live.show(painter.paint(event, live.columns, window_rows=window_rows, live=is_live))

    @property
    def _is_live(self) -> bool:
        """What was missed happened at a time that we do not know."""
        return self._client is not None and self._client.can_send

    def _recall(self, argument: str) -> None:
        live = self._live
        memory, painter = self._feed.memory, self._painter
        live.show(recalled(memory, argument, painter, live.columns, live.window_rows))

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
            mark = marks.unread(away, self._painter.time_format)
            self._live.show(self._painter.mark(mark, self._live.columns))
        self._show_above(said)
        if self._painter.mentions(said):
            self._mentions.add()
            self._notifications.add(said)

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
        self._live.give_up(offline=not self._is_present)
        self._on_presence()
        super()._finish()

    # -- the person's own editor

    @property
    def _is_given_away(self) -> bool:
        """Whether the person's own editor has the terminal."""
        return self._external is not None and self._external.running

    def _come_forward(self) -> None:
        if not self._is_given_away:
            super()._come_forward()

    def _suspend(self) -> None:
        # Otherwise it was meant for the editor; if that stops, we do.
        if not self._is_given_away:
            super()._suspend()

    def _go_on(self) -> None:
        if self._external is not None:
            self._external.go_on()
        super()._go_on()

    def interrupt(self) -> None:
        if not self._is_given_away:
            super().interrupt()

    def _on_editor_key(self) -> None:
        if self._paste is None:
            self._edit(self._editor.text)

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

    def _complete(self, line: str) -> Offer:
        return self.commands.completions(line)

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
