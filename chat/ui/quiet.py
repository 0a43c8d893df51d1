"""Who comes and goes, in few rows (`/quiet`): of people with whom one talks it is shown, of others
it is summed up until something else is shown.

A sum costs the same however many come and go.
"""

import time
from collections.abc import Callable, Iterable

from chat.client.events import (
    ClientEvent,
    MemberBack,
    MemberJoined,
    MemberLeft,
    MemberLost,
    MessageReceived,
)
from chat.errors import Reason
from chat.limits import MAX_MEMBERS, QUIET_MENTIONS, QUIET_NAMES, QUIET_SECONDS
from chat.phrases import StatusLine
from chat.text import caseless, caseless_name
from chat.ui import transcript
from chat.ui.mention import pattern_of

MODES = ("on", "off", "smart")
"""Nobody's coming and going is shown one by one, everybody's, or that of people one talks with."""

_KINDS: dict[type[ClientEvent], str] = {
    MemberJoined: "joined",
    MemberLeft: "left",
    MemberLost: "lost",
    MemberBack: "back",
}


class Quiet:
    """Decides what is summed up, and keeps the sum."""

    def __init__(self, clock: Callable[[], float], mode: str = "off") -> None:
        """`clock` tells seconds that only go on; `mode` is one of MODES."""
        self.mode = mode
        self._clock = clock
        self._spoke: dict[str, float] = {}
        """When somebody said something last, by the folded name; the last one is at the end."""
        self._partners: dict[str, None] = {}
        """Whom the person has mentioned or spoken to in private, or who has to the person."""
        self._counts: dict[str, int] = {}
        self._names: dict[str, None] = {}
        self._and_others = False
        self._only: StatusLine | None = None
        """The line for the one event that is in the sum; None if there are more."""
        self._at: float | None = None

    # -- with whom one talks

    def heard(self, said: MessageReceived, names: Callable[[], Iterable[str]]) -> None:
        """Somebody, or we, said something; `names` are those of the members."""
        if self.mode != "smart":
            return
        if said.own:
            self._add_partners([said.to] if said.to else _named_in(said.text, names()))
            return
        folded = caseless_name(said.name)
        self._spoke.pop(folded, None)
        self._spoke[folded] = self._clock()
        if len(self._spoke) > MAX_MEMBERS:
            del self._spoke[next(iter(self._spoke))]
        if said.to:
            self._add_partners([said.name])

    def _add_partners(self, names: Iterable[str]) -> None:
        for name in names:
            folded = caseless_name(name)
            self._partners.pop(folded, None)
            self._partners[folded] = None
            if len(self._partners) > MAX_MEMBERS:
                del self._partners[next(iter(self._partners))]

    def _knows(self, name: str) -> bool:
        folded = caseless_name(name)
        spoke_at = self._spoke.get(folded)
        if spoke_at is not None and self._clock() < spoke_at + QUIET_SECONDS:
            return True
        return folded in self._partners

    # -- the sum

    def takes(self, event: ClientEvent, *, live: bool) -> bool:
        """Whether an event is not to be shown, since it is in the sum now. `live`: it happens
        now."""
        if self.mode == "off" or not _is_ordinary(event):
            return False
        assert isinstance(event, MemberJoined | MemberLeft | MemberLost | MemberBack)
        if self.mode == "smart" and self._knows(event.name):
            return False
        self._only = None if self._counts else transcript.happened(event)[0]
        kind = _KINDS[type(event)]
        self._counts[kind] = self._counts.get(kind, 0) + 1
        self._at = time.time() if live else None
        if event.name not in self._names:
            if len(self._names) < QUIET_NAMES:
                self._names[event.name] = None
            else:
                self._and_others = True
        return True

    def line(self, time_format: str) -> StatusLine | None:
        """The sum of those who have come and gone since `forget`; None if nobody has. Of one alone
        it is the usual line."""
        if not self._counts:
            return None
        line = self._only or transcript.came_and_went(
            self._counts, self._names, more=self._and_others
        )
        return line if self._at is None else transcript.timed(line, time_format, self._at)

    def forget(self) -> None:
        """The sum has been shown: begin a new one."""
        self._counts.clear()
        self._names.clear()
        self._and_others = False


def _is_ordinary(event: ClientEvent) -> bool:
    """Whether somebody comes or goes as people do. What an operator did is no such thing, nor is
    somebody who has not proved to have the key of the room."""
    match event:
        case MemberLeft(reason=reason):
            return reason is not Reason.KICKED
        case MemberJoined(unproved=unproved):
            return not unproved
    return isinstance(event, MemberLost | MemberBack)


def _named_in(text: str, names: Iterable[str]) -> list[str]:
    """Which of these names a text contains, each as a whole word."""
    seen = caseless(text)
    # To look for a word is slow, so first for its letters.
    near = [name for name in names if caseless(name) in seen]
    return [name for name in near[:QUIET_MENTIONS] if pattern_of(name).search(seen)]
