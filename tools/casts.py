"""A recording of a terminal in the form of asciicast v2, which `asciinema play` shows.

The first line is a JSON object with the size of the window. Each further line is an event:
seconds since the beginning, "o" for output, and what was written.
"""

import codecs
import json
from collections.abc import Iterable
from typing import Any, NamedTuple

from tests.support.terminals import TERM, Emulator
from tools.drawing import Frame, Panel, Screen

SHORTEST_SECONDS = 0.03
"""A screen that is there for less is left out: nobody sees it."""


class CastError(ValueError):
    """This is no asciicast v2."""


class Cast(NamedTuple):
    """A recording of one window."""

    title: str
    columns: int
    rows: int
    events: list[tuple[float, str]]
    """Seconds since the beginning, and what was written then."""

    @classmethod
    def of(
        cls, title: str, size: tuple[int, int], events: Iterable[tuple[float, bytes]], start: float
    ) -> "Cast":
        """A recording from what was written when. What was written before the start stands there at
        the beginning."""
        decoder = codecs.getincrementaldecoder("utf-8")()
        written = [(round(max(0.0, at - start), 3), decoder.decode(data)) for at, data in events]
        return cls(title, *size, [event for event in written if event[1]])

    def encode(self) -> str:
        """The lines of the file."""
        header = {
            "version": 2,
            "width": self.columns,
            "height": self.rows,
            "title": self.title,
            "env": {"TERM": TERM},
        }
        lines: list[object] = [header, *([at, "o", text] for at, text in self.events)]
        return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)

    @classmethod
    def decode(cls, text: str) -> "Cast":
        """Raises CastError."""
        try:
            header, *events = [json.loads(line) for line in text.splitlines()]
            if header["version"] != 2:
                raise CastError("it is of another version")
            size = _whole(header["width"]), _whole(header["height"])
            return cls(str(header["title"]), *size, _events(events))
        except (ValueError, KeyError, TypeError) as error:
            raise CastError(f"this is no asciicast v2: {error}") from error

    def panel(self) -> Panel:
        """A window that shows what was recorded."""
        emulator = Emulator(self.columns, self.rows)
        frames: list[Frame] = []
        for at, text in self.events:
            emulator.feed(text.encode())
            if frames and at - frames[-1].since < SHORTEST_SECONDS:
                at = frames.pop().since
            frames.append(Frame(at, Screen.of(emulator)))
        return Panel(self.title, frames)


def _whole(number: Any) -> int:
    if type(number) is not int or number < 1:
        raise CastError(f"{number!r} is no size")
    return number


def _events(lines: list[Any]) -> list[tuple[float, str]]:
    events, before = [], 0.0
    for at, kind, text in lines:
        if kind != "o" or not isinstance(text, str) or not isinstance(at, int | float):
            raise CastError("an event is a time, what happened, and a text")
        if at < before:
            raise CastError("time runs backwards")
        events.append((float(at), text))
        before = at
    return events
