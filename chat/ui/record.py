"""What is written to the log of a conversation (`--log`): messages, our own too, and news.

An entry is a line with its full date. The other lines of a message are indented, so that none can
pass for an entry.
"""

import time
from typing import Protocol

from chat.client.events import ClientEvent, Entered, MessageReceived
from chat.errors import cause_of
from chat.localtime import TIME_FORMAT, time_of
from chat.phrases import INDENT
from chat.ui import transcript
from chat.ui.memory import NEWS
from chat.ui.style import ARROW


class Entries(Protocol):
    """Where the entries go."""

    def add(self, entry: str) -> None:
        """Add an entry, whole or not at all; raises OSError."""


class Record:
    """Writes entries, and says when that cannot be done, and when it can be again."""

    def __init__(self, entries: Entries, name: str) -> None:
        """`name` is our own."""
        self._entries = entries
        self._name = name
        self._missing = 0
        """How many entries could not be written since the last one that could."""

    def note(self, event: ClientEvent) -> str:
        """Write down what happens. Returns what the person should be told of the log; mostly
        nothing."""
        entry = self._entry(event)
        if not entry:
            return ""
        missing = self._missing
        if missing:
            gap = transcript.timed(transcript.log_gap(missing), TIME_FORMAT, time.time())
            entry = f"{gap}\n{entry}"
        try:
            self._entries.add(entry)
        except OSError as error:
            self._missing += 1
            return "" if missing else f"the log cannot be written: {cause_of(error)}"
        self._missing = 0
        if not missing:
            return ""
        return f"the log is written again; {transcript.lines_missing(missing, 'there')}"

    def _entry(self, event: ClientEvent) -> str:
        if isinstance(event, MessageReceived):
            at = event.arrived_ms if event.doubtful else event.time_ms
            _, who, text = transcript.said(event, "", self._name, ARROW)
            return _lines(f"{time_of(at / 1000)} {who} {text}")
        if not isinstance(event, (Entered, *NEWS)):
            return ""
        lines = transcript.happened(event)
        if isinstance(event, Entered):
            # The others say that one can begin to type.
            lines = [line for line in lines if line not in transcript.SET_UP]
        now = time.time()
        return "".join(_lines(transcript.timed(line, TIME_FORMAT, now)) for line in lines)


def _lines(text: str) -> str:
    return text.replace("\n", "\n" + INDENT) + "\n"
