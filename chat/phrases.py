"""Sentences that both programs use: the server for its operator, the client for its user.

The status lines are those of the demo from which this program grew; `[+]` marks news, `[!]` marks
trouble. Text from other people is escaped here, where it becomes part of a line.
"""

from chat.errors import REASONS, Reason
from chat.localtime import time_of
from chat.text import escape_line, fingerprint_of

INDENT = "    "
"""Stands before every line of a text but the first, so that none can pass for a line of its own."""


class StatusLine(str):
    """A line of the program itself. It is a string, to be written as it is, and its class says what
    kind of line it is, so that a view can choose a colour without reading the text."""

    __slots__ = ()


class News(StatusLine):
    """Something went as it should."""

    __slots__ = ()


class Assuring(News):
    """It matters, and it is as it should be."""

    __slots__ = ()


class Unproved(News):
    """It matters, and a person has to look at it."""

    __slots__ = ()


class Trouble(StatusLine):
    """Something went wrong."""

    __slots__ = ()


class CommandLine(News):
    """News that end in a command for a shell, to be copied: they are not broken, however narrow
    the terminal is."""

    __slots__ = ()


class Announcement(News):
    """The server's operator tells everybody something."""

    __slots__ = ()


def good(text: str) -> StatusLine:
    """The status line for good news."""
    return News(f"[+] {text}")


def to_copy(text: str, command: str) -> StatusLine:
    """The status line for a command that the reader can copy."""
    return CommandLine(f"[+] {text}: {command}")


def trouble(text: str) -> StatusLine:
    """The status line for trouble."""
    return Trouble(f"[!] {text}")


def announced(text: str) -> StatusLine:
    """The status line for what the operator tells everybody."""
    return Announcement(f"[+] {text}")


MAKING_KEY = good("Making a new RSA key, which takes a moment")
MAKING_KEY_NOW = "Making a new RSA key"


def left(name: str, reason: Reason, text: str = "", parting: str = "") -> StatusLine:
    """`text` takes the place of the reason's own sentence. `parting` is what somebody said who left
    by their own will: in quotes, so that it cannot pass for our words."""
    if reason is Reason.LEFT:
        word = f': "{escape_line(parting)}"' if parting else "."
        return good(f"{escape_line(name)} left the server{word}")
    return trouble(f"{escape_line(name)} left the server: {escape_line(text or REASONS[reason])}.")


def lost(name: str, text: str = "") -> StatusLine:
    """`text` says why, if that is known."""
    why = "" if text in ("", REASONS[Reason.LOST]) else f": {escape_line(text)}"
    return trouble(f"{escape_line(name)} lost the connection{why}.")


def back(name: str) -> StatusLine:
    return good(f"{escape_line(name)} is back.")


def member_line(
    name: str, since: float, key_digest: bytes, connections: int = 1, *, calling: bool = False
) -> StatusLine:
    """`since`: when the person joined, in seconds since 1970; `key_digest`: SHA-256 of the key;
    `connections`: how often the person is here, 0 if all connections are lost; `calling`: only to
    say one thing."""
    how = how_here(connections, calling=calling)
    return good(f"{escape_line(name)}, since {time_of(since)}, {fingerprint_of(key_digest)}{how}")


def how_here(connections: int, *, calling: bool) -> str:
    """The end of a line about somebody: nothing if they are here as most people are."""
    if calling:
        return ", to say one thing"
    return {0: ", lost the connection", 1: ""}.get(connections, f", {connections} connections")


def members_count(count: int) -> StatusLine:
    return good("Nobody is here." if not count else f"In the room: {count}")


def nobody_named(name: str, nearest: str = "") -> StatusLine:
    """`nearest` is a name of somebody here that is much like this one, if there is one."""
    hint = f" Is it {escape_line(nearest)}?" if nearest else ""
    return trouble(f"Nobody here is called {escape_line(name)}.{hint}")


def needs_argument(word: str, argument: str) -> StatusLine:
    """`argument` with its article, as in "a name"."""
    return trouble(f"{word} needs {argument}.")


def no_editing(why: str) -> StatusLine:
    """For whoever types at a terminal where lines cannot be edited."""
    return good(f"Plain input: {why}.")


def no_history(path: str | None, why: str) -> StatusLine:
    """What is typed is not kept for the next run. `path` is the file or folder, if it is known."""
    where = f"{path}: " if path else ""
    return trouble(f"What you type is not kept: {escape_line(f'{where}{why}')}.")


def takes_nothing(word: str) -> StatusLine:
    return trouble(f"{word} takes nothing after it.")


def tall_draft(text: str) -> str:
    """Stands above the rows that are shown of a draft, behind the prompt."""
    lines = text.count("\n") + 1
    return f"[{lines:,} lines]" if lines > 1 else f"[{len(text):,} characters]"
