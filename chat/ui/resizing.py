"""What becomes of the rows on a terminal when its width changes.

No terminal tells, so the ones of which it is known are listed here by how they name themselves.
"""

import enum
from collections.abc import Mapping


class Resizing(enum.Enum):
    """What a terminal does."""

    KEEPS = enum.auto()
    """Each row stays where it is, and is cut off."""
    WRAPS = enum.auto()
    """Lines are wrapped anew, and the cursor stays at what it was at."""
    JOINS = enum.auto()
    """The same, but the line that the cursor is in becomes one row, and is cut off. A shell draws
    it again."""
    UNKNOWN = enum.auto()


_WRAPPING = (
    "tmux",
    "alacritty",
    "foot",
    "kitty",
    "xterm-kitty",
    "xterm-ghostty",
    "wezterm",
    "vte",
)
"""How TERM begins for terminals that wrap lines anew."""

_SIGNS = {
    "KONSOLE_VERSION": Resizing.JOINS,
    "VTE_VERSION": Resizing.WRAPS,
    "WEZTERM_PANE": Resizing.WRAPS,
    "XTERM_VERSION": Resizing.KEEPS,
}
"""Variables that others set, whose TERM begins with "xterm". A terminal that was started in another
one may have the variables of both."""


def resizing_of(environ: Mapping[str, str]) -> Resizing:
    """What the terminal does, as far as is known."""
    term = environ.get("TERM", "")
    if "TMUX" in environ or term.startswith(_WRAPPING):
        return Resizing.WRAPS
    if "STY" in environ or not term.startswith("xterm"):
        return Resizing.UNKNOWN
    found = {resizing for sign, resizing in _SIGNS.items() if sign in environ}
    return found.pop() if len(found) == 1 else Resizing.UNKNOWN
