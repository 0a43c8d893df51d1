"""Notifications of the desktop, through the terminal: whether it shows them, and what to send it.

There are two forms. OSC 777 (rxvt-unicode) has a title and a text, OSC 9 (iTerm2) a text alone. No
terminal tells whether it knows them, so the ones that do are listed here by how they name
themselves. Who is told of what is decided elsewhere.
"""

from collections.abc import Callable, Mapping
from functools import partial

from chat.client.events import MessageReceived
from chat.limits import BELL_SECONDS, NOTIFIED_CHARS
from chat.text import action_of, escape_line

Encode = Callable[[str], bytes]
Show = Callable[[str, str], str]
"""Takes a title and a text, and returns the codes."""

_TERMS_777 = ("rxvt-unicode", "foot", "xterm-kitty", "xterm-ghostty", "wezterm", "contour")
"""How TERM begins for terminals that know OSC 777."""

_PROGRAMS_777 = ("WezTerm", "ghostty")
"""The same for TERM_PROGRAM."""

_SIGNS_777 = ("KITTY_WINDOW_ID", "WEZTERM_PANE", "GHOSTTY_RESOURCES_DIR", "KONSOLE_VERSION")
"""Variables that such terminals set. They are there inside tmux, too, unlike the two above."""

_SIGNS_9 = ("ITERM_SESSION_ID",)
"""The same for OSC 9. `LC_TERMINAL` is passed on by ssh."""


def _osc_777(title: str, text: str) -> str:
    return f"\x1b]777;notify;{title};{text}\a"


def _osc_9(title: str, text: str) -> str:
    return f"\x1b]9;{title}: {text}\a"


def _through_tmux(show: Show, title: str, text: str) -> str:
    """tmux hands on what stands in this, if it is allowed to (tmux(1), allow-passthrough)."""
    inside = show(title, text).replace("\x1b", "\x1b\x1b")
    return f"\x1bPtmux;{inside}\x1b\\"


def choose(choice: str, environ: Mapping[str, str]) -> Show | None:
    """How to show a notification; None: not at all. `choice` is "osc9", "osc777", "off" or "auto",
    which leaves it to what the terminal says of itself."""
    found = {"osc9": _osc_9, "osc777": _osc_777, "off": None}
    show = _known(environ) if choice == "auto" else found[choice]
    return partial(_through_tmux, show) if show and environ.get("TMUX") else show


def _known(environ: Mapping[str, str]) -> Show | None:
    term, program = environ.get("TERM", ""), environ.get("TERM_PROGRAM", "")
    if environ.get("STY"):
        # GNU screen, which hands nothing on.
        return None
    is_iterm = environ.get("LC_TERMINAL") == "iTerm2" or program == "iTerm.app"
    if is_iterm or any(sign in environ for sign in _SIGNS_9):
        return _osc_9
    if term.startswith(_TERMS_777) or program in _PROGRAMS_777:
        return _osc_777
    return _osc_777 if any(sign in environ for sign in _SIGNS_777) else None


class Notifications:
    """Tells the desktop of the first message in a while, however many there are."""

    def __init__(self, clock: Callable[[], float], show: Show | None) -> None:
        self._clock = clock
        self._show = show
        self._said: MessageReceived | None = None
        self._told_at = float("-inf")

    def add(self, said: MessageReceived) -> None:
        """Somebody has spoken to the person."""
        self._said = self._said or said

    def tell(self, encode: Encode, *, wanted: bool) -> bytes:
        """The codes to write once a turn, if the person `wanted` them now."""
        said, self._said = self._said, None
        if said is None or self._show is None or not wanted:
            return b""
        if self._clock() < self._told_at + BELL_SECONDS:
            return b""
        self._told_at = self._clock()
        # The name comes from others, and so do the words.
        return encode(self._show(f"chat: {_safe(said.name)}", _safe(_words(said))))


def _words(said: MessageReceived) -> str:
    """The beginning of a message. Private words are for the terminal alone."""
    if said.to:
        return "says something to you in private"
    action = action_of(said.text)
    text = " ".join((said.text if action is None else action).split())
    return text if len(text) <= NOTIFIED_CHARS else text[: NOTIFIED_CHARS - 1] + "…"


def _safe(text: str) -> str:
    """Nothing in it acts on a terminal, and nothing ends a field of the codes."""
    return escape_line(text).replace(";", ",")
