"""A conversation line by line: for pipes, for scripts, and for terminals that can do no more.

From a pipe, every line but `EXIT` is a message; at a terminal there are commands, too. If a line of
a pipe is not sent, the reason also goes to standard error, with the number of the line; and so does
what is wrong with the log.
"""

from collections.abc import Callable, Sequence

from chat.client.events import ClientEvent, Leaving, MessageReceived, OutboxFull
from chat.client.view import ChatClient
from chat.errors import CommandError, UsageError
from chat.limits import (
    CONSOLE_LINE_BYTES,
    CONSOLE_QUEUE_BYTES,
    MAX_TEXT_BYTES,
)
from chat.phrases import StatusLine
from chat.reactor import Reactor
from chat.stdio import LineInput, LineOutput
from chat.ui import transcript
from chat.ui.commands import Commands
from chat.ui.feed import Feed
from chat.ui.memory import recalled
from chat.ui.quiet import Quiet
from chat.ui.style import Painter


class LineView:
    """Lines in and lines out. Our own messages are not shown: they stand where they were typed."""

    def __init__(
        self,
        reactor: Reactor,
        source: int | None,
        output: LineOutput,
        painter: Painter,
        errors: LineOutput | None = None,
        strip: Callable[[str], str] | None = None,
        feed: Feed | None = None,
        *,
        listens: bool = False,
    ) -> None:
        """`errors`: where to say why a line of a pipe was not sent. `strip`: what to make of each
        line of a pipe before it is said. `feed` takes what happens; None: one that shows all of it.
        `listens`: the end of a pipe is not the end of the stay."""
        self.output = output
        self.not_sent = 0
        self.not_commands = 0
        self._errors = errors
        self._strip = strip
        self._feed = feed or Feed(Quiet(reactor.clock))
        self._listens = listens
        self._exited = False
        self.input = LineInput(reactor, source, self._on_line, self._on_end)
        self._painter = painter
        self.client: ChatClient
        self._commands: Commands | None = None

    def open(self, client: ChatClient) -> None:
        self.client = client
        if self.input.is_terminal:
            self._commands = Commands(
                client, self._tell, None, self._unfold, self._recall, self._feed.quiet
            )

    def show(self, event: ClientEvent) -> None:
        if self._commands is None:
            shown = [event]
            if (trouble := self._feed.log(event)) is not None:
                shown.append(trouble)
                # A program whose output nobody reads may be there for the log alone.
                self._tell_errors(transcript.warning_of_program(trouble.text))
        else:
            shown = self._feed.take(event, self._names, live=self.client.can_send)
        for each in shown:
            self._show(each)

    def _names(self) -> list[str]:
        return [one.name for one in self.client.members()]

    def _show(self, event: ClientEvent) -> None:
        if self._commands is None and isinstance(event, OutboxFull | Leaving):
            return
        if isinstance(event, MessageReceived):
            if event.own:
                return
            if self._commands is not None:
                self._commands.heard(event)
        # On a terminal lines are wrapped here, so that no part of one passes for another. Nothing
        # is folded where there is no /more to see the whole.
        rows = None if self._commands is None else self.output.rows
        columns, live = self.output.columns, self._commands is not None and self.client.can_send
        self._write(self._painter.day(columns, event))
        self._write(self._painter.paint(event, columns, window_rows=rows, live=live))

    def _tell(self, lines: Sequence[StatusLine]) -> None:
        self._write(self._painter.day(self.output.columns))
        self._write(self._painter.status(lines, self.output.columns))

    def _unfold(self, number: str) -> bool:
        lines = self._painter.unfold(number, self.output.columns)
        self._write(lines)
        return bool(lines)

    def _recall(self, argument: str) -> None:
        columns = self.output.columns
        self._write(recalled(self._feed.memory, argument, self._painter, columns, None))

    def _keep_sum(self) -> None:
        """Show who has come and gone since something was shown last."""
        if (line := self._feed.quiet.line(self._painter.time_format)) is not None:
            self._feed.quiet.forget()
            self._write(self._painter.status([line], self.output.columns))

    def _write(self, lines: list[str]) -> None:
        if lines:
            self._keep_sum()
            self.output.write("\n".join(lines))

    def spin(self) -> None:
        self.output.drain(0)

    def interrupt(self) -> None:
        self.client.leave()

    def take_input(self, wanted: bool) -> None:
        if not wanted:
            self.input.pause()
        elif self.input.paused:
            self.input.start()

    def stop(self) -> None:
        self.input.stop()

    def count_undelivered(self) -> int:
        # Only messages count: nobody waits for a command.
        count = 0
        for line in self.input.undelivered():
            if self._leaves(line):
                self._exited = True
                break
            count += self._is_message(line)
        return count

    @property
    def unfinished(self) -> bool:
        return not (self._exited or self._listens or self.input.ended or self.input.is_terminal)

    def close(self) -> None:
        self._keep_sum()
        self.output.drain()
        if self._errors is not None:
            self._errors.hurry()
            self._errors.drain()

    def _on_line(self, line: str) -> None:
        if line == "EXIT":
            self.input.stop()
            self._finish()
            return
        try:
            self._take(line)
        except UsageError as error:
            if isinstance(error, CommandError):
                self.not_commands += 1
            else:
                self.not_sent += 1
            self._refuse(error)

    def _refuse(self, error: UsageError) -> None:
        self._warn(error.advice)
        if not self.input.is_terminal:
            self._tell_errors(transcript.line_not_sent(self.input.line_number, error.advice))

    def _tell_errors(self, text: str) -> None:
        if self._errors and self._errors.queued_bytes <= CONSOLE_QUEUE_BYTES:
            self._errors.write(text)

    def _warn(self, why: str) -> None:
        self._tell([transcript.refused(why)])

    def _take(self, line: str) -> None:
        if self._commands is not None:
            self._commands.take(line)
        elif self.input.line_bytes > CONSOLE_LINE_BYTES:
            raise UsageError(*self._too_long("message"))
        elif line := self._strip(line) if self._strip else line:
            self.client.say(line)

    def _too_long(self, what: str) -> tuple[str, str]:
        """Text and hint for a line so long that only its beginning was kept."""
        return (
            f"a {what} of {self.input.line_bytes} bytes is too long",
            f"a message has at most {MAX_TEXT_BYTES} bytes; send it in parts",
        )

    # What an undelivered line would have done.

    def _is_message(self, line: str) -> bool:
        return bool(line)

    def _leaves(self, line: str) -> bool:
        return line == "EXIT"

    def _on_end(self) -> None:
        if self.input.is_terminal or not self._listens:
            self._finish()

    def _finish(self) -> None:
        if self.input.is_terminal:
            self.client.leave()
        else:
            self.client.finish()
