"""What lines look like: their colours, and what is folded. `transcript` says what is in them, and
`wrap` where they are broken.

Colours are SGR codes (ECMA-48, 8.3.117).
"""

import re
from collections.abc import Mapping, Sequence
from enum import Enum
from functools import cached_property
from itertools import chain, islice, repeat
from zlib import crc32

from chat import localtime
from chat.client.events import (
    ClientEvent,
    Disconnected,
    MemberBack,
    MemberJoined,
    MemberLeft,
    MemberLost,
    MessageReceived,
    NoticeReceived,
    Reconnected,
    RoomClosed,
    TopicSet,
)
from chat.limits import (
    FOLDED_BEYOND_ROWS,
    FOLDED_BEYOND_WINDOWS,
    FOLDED_KEPT,
    FOLDED_TO_ROWS,
)
from chat.phrases import INDENT, Announcement, Assuring, StatusLine, Trouble, Unproved
from chat.text import action_of, caseless, caseless_name
from chat.ui import transcript
from chat.ui.marks import Days
from chat.ui.mention import pattern_of
from chat.ui.wrap import (
    Left,
    Row,
    Wrapper,
    at_most,
    at_most_of_dumb,
    cut,
    left_of,
    unwrapped,
    width_of,
)

DIM, BOLD, RED = "2", "1", "31"
GREEN, ORANGE = ("32", "38;5;28"), "38;5;130"
"""Of the 8 colours and of the 256. Those of the 256 are readable on black and on white; there is no
orange among the 8, and yellow is not readable on white."""
ARROW = "→"
PRIVATE = "35"
"""Magenta, in which no other text is; only names may be."""


_NEWS_OF_US = (Disconnected, Reconnected, RoomClosed)
_NEWS = (*_NEWS_OF_US, MemberJoined, MemberLeft, MemberLost, MemberBack, NoticeReceived)
"""What is told with its time, as messages are; the first always happen now."""


def _has_time(event: ClientEvent, *, live: bool) -> bool:
    if isinstance(event, TopicSet):
        # Otherwise it says itself since when.
        return live and event.changed
    return isinstance(event, _NEWS_OF_US) or (live and isinstance(event, _NEWS))


class Colours(Enum):
    """The colours for names, by what the terminal can show; none means no colours at all. Red is
    kept for trouble. Those of the 256 colours have a contrast of at least 3.5 to both black and
    white (WCAG 2.1, contrast ratio); those of the 8 can be read on most backgrounds."""

    # Not (), from which Python before 3.11.3 makes an object that is no tuple.
    NONE = ("",)
    BASIC = ("32", "35", "36")
    RICH = tuple(f"38;5;{code}" for code in (130, 100, 64, 28, 30, 32, 63, 135, 164, 132))


def choose_colours(when: str, environ: Mapping[str, str], is_terminal: bool) -> Colours:
    """`when` is "always", "never" or "auto", which leaves it to the terminal and to the user's
    settings (https://no-color.org)."""
    term = environ.get("TERM", "dumb")
    plain = not is_terminal or term == "dumb" or bool(environ.get("NO_COLOR"))
    if when == "never" or (when == "auto" and plain):
        return Colours.NONE
    rich = "256color" in term or environ.get("COLORTERM") in ("truecolor", "24bit")
    return Colours.RICH if rich else Colours.BASIC


class Painter:
    """Turns what happens into lines, for one reader."""

    def __init__(
        self,
        name: str = "",
        colours: Colours = Colours.NONE,
        time_format: str = localtime.TIME_FORMAT,
        encoding: str = "utf-8",
        *,
        is_dumb: bool = False,
    ) -> None:
        """`name` is the reader's own, `encoding` the terminal's. `is_dumb`: the terminal knows no
        codes, and so cannot be told not to wrap."""
        self._name = name
        self._colours = colours
        self.time_format = time_format
        self._encoding = encoding
        self._arrow = ARROW if self._as_written(ARROW) == ARROW else "->"
        self._is_dumb = is_dumb
        self._measure = at_most_of_dumb if is_dumb else at_most
        self._searched: MessageReceived | None = None
        self._found = False
        self._days = Days()
        self._folded: dict[str, ClientEvent] = {}
        self._folded_so_far = 0

    @cached_property
    def _mention(self) -> re.Pattern[str]:
        # Made when it is needed: it takes some milliseconds, and somebody waits for the prompt.
        return pattern_of(self._name)

    def mentions(self, said: MessageReceived) -> bool:
        """Whether a message from somebody else contains the reader's name as a whole word, or is
        for the reader alone."""
        if said is not self._searched:
            action = action_of(said.text)
            text = said.text if action is None else action
            self._searched = said
            found = self._mention.search(caseless(text)) is not None
            # Our own may come from another connection of ours.
            ours = said.own or (said.to and caseless_name(said.name) == caseless_name(self._name))
            self._found = not ours and (found or bool(said.to))
        return self._found

    def paint(
        self,
        event: ClientEvent,
        columns: int | None = None,
        *,
        window_rows: int | None = None,
        live: bool = False,
        at: float | None = None,
    ) -> list[str]:
        """The rows for an event, wrapped at so many columns, or not if this is no terminal. If
        there are very many rows for a window of `window_rows`, only the first, and a line that
        tells how to see the rest with `unfold`; all rows if it is None. `live`: it happens now, and
        so the time can stand before news. `at`: it happened then, in seconds since 1970."""
        if isinstance(event, MessageReceived):
            rows, left = self._message(event, columns, window_rows)
        else:
            lines = transcript.happened(event)
            if columns is not None and _has_time(event, live=live or at is not None):
                lines = [transcript.timed(line, self.time_format, at) for line in lines]
            rows, left = self._status(lines, columns, window_rows)
        if left is not None:
            rows += self.status([transcript.folded(*left, self._keep_folded(event))], columns)
        return rows

    def unfold(self, number: str, columns: int | None) -> list[str]:
        """All rows of what was folded under this number, or last if there is no number; none if
        nothing was."""
        number = number or str(self._folded_so_far)
        event = self._folded.get(number)
        return [] if event is None else self.paint(event, columns)

    def _keep_folded(self, event: ClientEvent) -> int:
        self._folded_so_far += 1
        self._folded[str(self._folded_so_far)] = event
        if len(self._folded) > FOLDED_KEPT:
            del self._folded[next(iter(self._folded))]
        return self._folded_so_far

    def status(self, lines: Sequence[StatusLine], columns: int | None = None) -> list[str]:
        """The rows for status lines, in the colour of their kind."""
        rows, _ = self._status(lines, columns, None)
        return rows

    def _status(
        self, lines: Sequence[StatusLine], columns: int | None, window_rows: int | None
    ) -> tuple[list[str], Left | None]:
        painted: list[str] = []
        left = None
        for line in lines:
            code = self._code_of(line)
            rows, more = self._lay_out(self._as_written(line), "", columns, window_rows)
            left = more or left
            painted += [self._held(self.colour(code, row.text), row, columns) for row in rows]
        return painted, left

    def day(self, columns: int | None, event: ClientEvent | None = None) -> list[str]:
        """What stands above the rows of this event, or of anything else that is shown now: the row
        of a new day; none if the day is the same, or nothing is for people."""
        if columns is None or not self.time_format:
            return []
        said = event if isinstance(event, MessageReceived) and not event.doubtful else None
        text = self._days.begins(None if said is None else said.time_ms / 1000)
        return self.mark(text, columns) if text else []

    def mark(self, text: str, columns: int | None) -> list[str]:
        """The row of a line that stands between the others."""
        if columns is None:
            return [text]
        row = cut(text if self._as_written(text) == text else text.replace("─", "-"), columns)
        return [self.hold(self.colour(DIM, row))]

    def _code_of(self, line: StatusLine) -> str:
        rich = self._colours is Colours.RICH
        match line:
            case Trouble():
                return RED
            case Assuring():
                return GREEN[rich]
            case Unproved():
                return f"{BOLD};{ORANGE}" if rich else BOLD
            case Announcement():
                return BOLD
        return DIM

    def colour(self, code: str, text: str) -> str:
        """The text in this colour, if there are colours."""
        return f"\x1b[{code}m{text}\x1b[m" if self._colours is not Colours.NONE and text else text

    def hold(self, row: str) -> str:
        """A row that the terminal is told not to wrap, if it knows codes."""
        return row if self._is_dumb else unwrapped(row)

    def _held(self, painted: str, row: Row, columns: int | None) -> str:
        """The row as it was painted, held unless the terminal is to wrap its link."""
        return painted if columns is None or row.spills else self.hold(painted)

    def _message(
        self, said: MessageReceived, columns: int | None, window_rows: int | None
    ) -> tuple[list[str], Left | None]:
        # What a pipe is sent keeps its form, which scripts read.
        is_for_people = columns is not None
        parts = transcript.said(
            said, self.time_format, self._name, self._arrow, marks_doubt=is_for_people
        )
        if not is_for_people and self._colours is Colours.NONE:
            line = self._as_written(" ".join(parts if parts[0] else parts[1:]))
            return line.replace("\n", "\n" + INDENT).split("\n"), None
        time, who, text = map(self._as_written, parts)
        head = f"{time} {who} ".lstrip(" ")
        rows, left = self._lay_out(text, head, columns, window_rows)
        texts = [row.text for row in rows]
        if look := ";".join([BOLD] * self.mentions(said) + [PRIVATE] * bool(said.to)):
            texts = [self.colour(look, text) for text in texts]
        code = self._colour_of(said.name)
        before = [self.colour(DIM, time)] if time else []
        above: list[Row] = []
        if columns is not None and width_of(head, self._measure) > columns:
            # Rare, but a name comes from other people and must not forge a row either.
            above, _ = self._lay_out(head, "", columns, None)
            texts[0] = INDENT + texts[0]
        else:
            texts[0] = " ".join([*before, self.colour(code, who), texts[0]])
        heads = [self._held(self.colour(code, row.text), row, columns) for row in above]
        return [*heads, *map(self._held, texts, rows, repeat(columns))], left

    def _as_written(self, text: str) -> str:
        """A text with escapes for characters that the terminal's encoding lacks. This comes before
        rows are measured, since an escape takes more columns."""
        if text.isascii():
            return text
        return text.encode(self._encoding, "backslashreplace").decode(self._encoding)

    def _lay_out(
        self, text: str, head: str, columns: int | None, window_rows: int | None
    ) -> tuple[list[Row], Left | None]:
        """The rows of a text that begins behind a head; and how much is left out, if there are very
        many for a window of `window_rows`."""
        if columns is None:
            return list(map(Row, text.replace("\n", "\n" + INDENT).split("\n"))), None
        rows = Wrapper(columns, self._measure).rows(text, head)
        if window_rows is None:
            return list(rows), None
        limit = min(FOLDED_BEYOND_ROWS, FOLDED_BEYOND_WINDOWS * window_rows)
        fold_to = min(FOLDED_TO_ROWS, max(1, window_rows // 2))
        few = list(islice(rows, fold_to))
        if len(few) < fold_to and not any(row.spills for row in few):
            return few, None
        shown: list[Row] = []
        taken, kept = 0, 1
        for row in chain(few, rows):
            shown.append(row)
            # The terminal wraps a link, so it takes several rows of the screen.
            taken += -(-width_of(row.text, self._measure) // columns) if row.spills else 1
            if taken <= fold_to:
                kept = len(shown)
            elif taken > limit:
                return shown[:kept], left_of(text, shown[kept - 1])
        return shown, None

    def _colour_of(self, name: str) -> str:
        codes: tuple[str, ...] = self._colours.value
        return codes[crc32(caseless_name(name).encode()) % len(codes)]
