"""Bytes from a terminal, before the line editor sees them: reports of the focus are taken out.

A terminal that is asked to (XTerm Control Sequences, FocusIn and FocusOut) sends a report when its
window gets the focus or loses it. To readline that is a key like any other: in a search, behind
Ctrl-V or in vi mode it would end what the person is doing, or stand in the line as text. What keys
mean is not decided here.
"""

from collections.abc import Callable

ASK_FOR_FOCUS, ASK_NO_MORE = b"\x1b[?1004h", b"\x1b[?1004l"

_BEGINNING = b"\x1b["
_REPORTS = {b"I": True, b"O": False}


class Keys:
    """Takes reports out, byte by byte. `on_focus` is told of each whether the window has the focus.

    `held` is what may be the beginning of a report: it waits for the next byte, however long that
    takes, or for `release`. A report whose beginning was released is still taken out: nobody types
    the rest of it by hand.
    """

    def __init__(self, on_focus: Callable[[bool], None]) -> None:
        self._on_focus = on_focus
        self._released = b""
        self.held = b""

    def take(self, byte: bytes) -> bytes:
        """The next byte. Returns what is known to be no report."""
        self.held += byte
        seen = self._released + self.held
        if seen[:-1] == _BEGINNING and byte in _REPORTS:
            self.clear()
            self._on_focus(_REPORTS[byte])
            return b""
        if _BEGINNING.startswith(seen):
            return b""
        if byte == _BEGINNING[:1]:
            # It may begin a report behind another escape.
            before, self.held = self.held[:-1], byte
            self._released = b""
            return before
        data = self.held
        self.clear()
        return data

    def release(self) -> bytes:
        """Nothing has come for a while: returns what was held."""
        data, self.held = self.held, b""
        self._released += data
        return data

    def clear(self) -> None:
        """Forget what was held."""
        self.held = self._released = b""
