"""What this run has heard, for `/last`: messages, our own among them, and news.

It ends with the run. Nothing of it is on the disk.
"""

import re
import time
from collections import deque
from dataclasses import replace
from typing import NamedTuple

from chat.client.events import (
    ClientEvent,
    ClockDiffers,
    Disconnected,
    KeyChanged,
    MemberBack,
    MemberJoined,
    MemberLeft,
    MemberLost,
    MessageNotForUs,
    MessageReceived,
    MotdReceived,
    NameChanged,
    NoticeReceived,
    Reconnected,
    RoomClosed,
    Tampered,
    TopicSet,
    Warned,
)
from chat.limits import LAST_CHARS, LAST_KEPT, LAST_SHOWN
from chat.text import action_of, caseless, escape_line
from chat.ui import marks, transcript
from chat.ui.style import Painter

NEWS = (
    *(MemberJoined, MemberLeft, MemberLost, MemberBack, NoticeReceived, TopicSet, MotdReceived),
    *(KeyChanged, NameChanged, ClockDiffers, MessageNotForUs, Warned, Tampered),
    *(Disconnected, Reconnected, RoomClosed),
)
"""What is worth to be looked up later, beside messages."""


class Heard(NamedTuple):
    """Something, and when it was shown, in seconds since 1970."""

    at: float
    event: ClientEvent
    words: str


class Memory:
    """The last of what was heard. Bounded in number and size, since others say it."""

    def __init__(self) -> None:
        self._heard: deque[Heard] = deque()
        self._chars = 0

    def __len__(self) -> int:
        return len(self._heard)

    def add(self, event: ClientEvent) -> None:
        """This happens now."""
        if not isinstance(event, (MessageReceived, *NEWS)):
            return
        heard = Heard(time.time(), event, _words_of(event))
        self._heard.append(heard)
        self._chars += len(heard.words)
        while len(self._heard) > LAST_KEPT or self._chars > LAST_CHARS:
            self._chars -= len(self._heard.popleft().words)

    def last(self, count: int) -> list[Heard]:
        """The last of all, in their order."""
        return [*self._heard][max(0, len(self._heard) - count) :]

    def find(self, text: str) -> list[Heard]:
        """Whatever has this text in it, or in its sender's name; case does not count."""
        sought = caseless(text)
        return [heard for heard in self._heard if sought in caseless(heard.words)]


def _words_of(event: ClientEvent) -> str:
    if isinstance(event, MessageReceived):
        action = action_of(event.text)
        return f"{event.name}: {event.text if action is None else action}"
    return "\n".join(transcript.happened(event))


def recalled(
    memory: Memory, argument: str, painter: Painter, columns: int | None, window_rows: int | None
) -> list[str]:
    """The rows that answer `/last`: so many of the last, or (in quotes, if it is a number) what has
    a text in it."""
    if not argument or _NUMBER.fullmatch(argument):
        found = memory.last(int(argument or LAST_SHOWN))
        title = f"the last {len(found):,} of {len(memory):,}"
    else:
        text = quoted[1] if (quoted := _QUOTED.fullmatch(argument)) else argument
        all_found = memory.find(text)
        found = all_found[-LAST_SHOWN:]
        of = f"{len(found):,}" + (f" of {len(all_found):,}" if found != all_found else "")
        title = f'{of} with "{escape_line(text)}"'
    if not found:
        return painter.status([transcript.NOTHING_HEARD], columns)
    days = marks.Days()
    rows = painter.mark(marks.titled(title), columns)
    for heard in found:
        rows += painter.mark(day, columns) if columns and (day := days.begins(heard.at)) else []
        rows += painter.paint(_as_now(heard), columns, window_rows=window_rows, at=heard.at)
    return rows + painter.mark(marks.titled("now"), columns)


def _as_now(heard: Heard) -> ClientEvent:
    """What happened, with a time that is counted from now."""
    event = heard.event
    if isinstance(event, Tampered):
        return replace(event, seconds=event.seconds + time.time() - heard.at)
    return event


_NUMBER = re.compile("[0-9]{1,6}")
_QUOTED = re.compile('"(.+)"', re.DOTALL)
