"""The operator's log: who came from where with which key, who went and why, who did what.

One line for each thing that happens, for people, `grep` and fail2ban (`packaging/fail2ban`):

    2026-11-27T14:02:11+01:00 event=joined address=192.0.2.1 port=53066 room=open … name="Ira"

What other people chose stands in quotes, at the end, and has no quote, no `=` and no line feed
that is not escaped. So nobody can make a line, or a part of one, that reads as something else. No
word of what is said is here. Which file it is, and how that is opened, is not known here.
"""

import os
import time
from collections.abc import Callable
from enum import StrEnum

from chat.errors import REASONS, ChatError, Reason
from chat.limits import LINGER_SECONDS, LOG_LINES_PER_SECOND, LOG_QUEUE_BYTES, LOG_TEXT_CHARS
from chat.localtime import iso_of
from chat.reactor import Reactor
from chat.server.ration import Ration
from chat.server.words import LOG_BROKEN, room_name
from chat.stdio import LineOutput
from chat.text import escape_line


class Event(StrEnum):
    """What a line is about."""

    STARTED = "started"
    STOPPED = "stopped"
    JOINED = "joined"
    LOST = "lost"
    BACK = "back"
    LEFT = "left"
    KICKED = "kicked"
    REFUSED = "refused"
    """A connection was refused for something that it did, or for its key."""
    CROWDED = "crowded"
    """A connection was refused since too many wait, or since Redis takes nothing, for which it may
    not be to blame."""
    ABANDONED = "abandoned"
    """A connection went away in the middle of the handshake."""
    BANNED = "banned"
    OPERATOR = "operator"
    """An operator has changed something."""
    OMITTED = "omitted"
    """Lines are missing here."""


_FROM_STRANGERS = (Event.REFUSED, Event.CROWDED, Event.ABANDONED)
"""What everybody can cause as often as they like. It must not hide anything else."""


def line_of(event: Event, seconds: float, fields: dict[str, str], quoted: dict[str, str]) -> str:
    """A line of the log. Fields that are empty are left out."""
    plain = [f"{name}={value}" for name, value in fields.items() if value]
    strange = [f'{name}="{_escaped(value)}"' for name, value in quoted.items() if value]
    return " ".join([iso_of(seconds), f"event={event.value}", *plain, *strange])


def _escaped(value: str) -> str:
    if len(value) > LOG_TEXT_CHARS:
        value = f"{value[:LOG_TEXT_CHARS]}..."
    value = value.replace("\\", r"\\").replace('"', r"\"").replace("=", r"\x3d")
    return escape_line(value).replace("\t", r"\t")


def _omitted(count: int) -> str:
    """The line that stands for so many that are missing."""
    return line_of(Event.OMITTED, time.time(), {"count": str(count)}, {})


class LogFile:
    """Lines that are appended to a file. While the disk is full they wait, up to LOG_QUEUE_BYTES,
    and are counted beyond that."""

    def __init__(
        self,
        reactor: Reactor,
        open_file: Callable[[], int],
        complain: Callable[[str], None],
    ) -> None:
        """`open_file` returns a descriptor to append to, or raises ChatError. `complain` is told
        what goes wrong later.

        Raises:
            ChatError: it cannot be opened.
        """
        self._open_file = open_file
        self._complain = complain
        self._reactor = reactor
        self._descriptor = open_file()
        self._omitted = 0
        self._begin()

    def _begin(self) -> None:
        self._broken = False
        self._output = LineOutput(self._reactor, self._descriptor, "utf-8")
        self._output.on_stuck = self._complain
        self._output.on_broken = self._on_broken

    def _on_broken(self) -> None:
        self._broken = True
        # All that waited is lost, and the line that found it out.
        self._omitted += self._output.lines_lost
        self._complain(LOG_BROKEN)

    def write(self, line: str) -> None:
        """Append a line."""
        if self._broken or self._output.queued_bytes > LOG_QUEUE_BYTES:
            self._omitted += 1
            return
        self._tell_omitted()
        if self._broken:
            self._omitted += 1
        else:
            self._output.write(line)

    def _tell_omitted(self) -> None:
        if self._omitted and not self._broken:
            count, self._omitted = self._omitted, 0
            self._output.write(_omitted(count))
            if self._broken:
                # The line that stood for them is lost as well, and counts for as many.
                self._omitted += count - 1

    def reopen(self) -> None:
        """Go on in the file that has the name by now, since what we write to may have been given
        another. What still waits is written there as well."""
        try:
            descriptor = self._open_file()
        except ChatError as error:
            self._complain(str(error))
            return
        self._output.drain(0)
        os.dup2(descriptor, self._descriptor, inheritable=False)
        os.close(descriptor)
        if self._broken:
            self._begin()

    def close(self) -> None:
        """Write what waits, as far as the disk takes it."""
        self._tell_omitted()
        self._output.drain(LINGER_SECONDS)
        os.close(self._descriptor)


class OperatorLog:
    """Notes what happens, if there is a file for it."""

    def __init__(self, reactor: Reactor, file: LogFile | None = None) -> None:
        self._file = file
        self._ration = Ration(reactor, LOG_LINES_PER_SECOND, 1.0, self._sum_up)

    def note(
        self,
        event: Event,
        *,
        address: str = "",
        tag: bytes | None = None,
        fingerprint: str = "",
        reason: Reason | None = None,
        name: str = "",
        text: str = "",
    ) -> None:
        """Something has happened to a connection from this address (`sockets.address_text`), in the
        room with this tag (None: in none), to whoever has this key. `text` says more than the
        reason alone."""
        if self._file is None or (event in _FROM_STRANGERS and not self._ration.take(1)):
            return
        if reason is not None and text == REASONS[reason]:
            text = ""
        host, _, port = address.rpartition(":")
        fields = {
            "address": host.strip("[]"),
            "port": port,
            "room": "" if tag is None else room_name(tag),
            "key": fingerprint,
            "reason": "" if reason is None else reason.name,
        }
        self._file.write(line_of(event, time.time(), fields, {"name": name, "text": text}))

    def _sum_up(self, count: int) -> None:
        assert self._file is not None
        self._file.write(_omitted(count))

    def reopen(self) -> None:
        """Go on in the file that has the name by now."""
        if self._file is not None:
            self._file.reopen()

    def close(self) -> None:
        """Write what waits."""
        self._ration.sum_up()
        if self._file is not None:
            self._file.close()
