"""One message alone: `send` sends it, shows nothing, and leaves.

With `--json` it prints one object that says what became of it: `acknowledged` or `error`, as
`jsonlines` has them.
"""

import json

from chat.client.events import ClientEvent, Failed, MessageReceived, Warned
from chat.client.view import ChatClient
from chat.reactor import Reactor
from chat.stdio import LineOutput
from chat.ui import transcript


class SingleView:
    """Sends one message and leaves. What the person should know in the meantime goes to standard
    error."""

    not_sent = not_commands = 0
    unfinished = False

    def __init__(
        self, reactor: Reactor, text: str, errors: LineOutput, report: LineOutput | None = None
    ) -> None:
        """`report`: where the object goes; None: nowhere."""
        self.output = report or LineOutput(reactor, None, "utf-8")
        self._errors = errors
        self._reports = report is not None
        self._text: str | None = text
        self._client: ChatClient

    def open(self, client: ChatClient) -> None:
        self._client = client

    def show(self, event: ClientEvent) -> None:
        if isinstance(event, Warned) and self._text is not None:
            # Later it would be about what others say.
            self._errors.write(transcript.warning_of_program(event.text))
        own = isinstance(event, MessageReceived) and event.own
        if self._reports and (own or isinstance(event, Failed)):
            # Imported late: nothing else of it is needed here.
            from chat.ui.jsonlines import fields_of

            self.output.write(json.dumps(fields_of(event)))

    def spin(self) -> None:
        pass

    def interrupt(self) -> None:
        self._client.leave()

    def take_input(self, wanted: bool) -> None:
        if wanted and self._text is not None:
            text, self._text = self._text, None
            self._client.say(text)
            self._client.finish()

    def stop(self) -> None:
        pass

    def count_undelivered(self) -> int:
        return 0 if self._text is None else 1

    def close(self) -> None:
        for output in (self.output, self._errors):
            output.hurry()
            output.drain()
