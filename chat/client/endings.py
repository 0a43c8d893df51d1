"""Sentences for how a stay in the room ends otherwise than it should."""

from chat.localtime import time_of
from chat.text import counted


def clocks_differ(not_after: float, now: float) -> str:
    """Both in seconds since 1970: until when what the server signed was good, and what time it is
    here."""
    return (
        f"one of the two clocks is wrong: what the server signed was good until "
        f"{time_of(not_after)}, and here it is {time_of(now)}"
    )


def not_acknowledged(count: int) -> str:
    return f"{counted(count, 'message')} not acknowledged"


def not_commands(count: int) -> str:
    return "1 line was no command" if count == 1 else f"{count} lines were no commands"


def closed_before_the_end(lines: int) -> str:
    return (
        "the server has shut down before the end of the input: "
        f"{counted(lines, 'line')} read and not sent"
    )
