"""A journal for the maintainer, who asks for it when somebody says "it does not connect".

`CHAT_LOG=FILE` starts it. It says when which connection did what: addresses, states, types and
sizes of frames, reasons, timers. It never holds a text, a name or a key; a member is its number.
`logging` is not used, since importing it would make every start slower by some milliseconds.
"""

import os
import time
from collections.abc import Callable
from functools import partial

from chat.errors import UsageError

Note = Callable[[str], None]
"""Writes one line about one thing."""

_descriptor: int | None = None


def start(path: str) -> None:
    """Append to this file from now on. It may be `/dev/stderr`, or a FIFO that somebody reads.

    Raises:
        UsageError: it cannot be opened.
    """
    global _descriptor
    # Without blocking: a journal that nobody reads must not hold up a conversation.
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
    try:
        _descriptor = os.open(path, flags, 0o600)
    except (OSError, ValueError) as exc:
        reason = getattr(exc, "strerror", None) or str(exc)
        raise UsageError(f"CHAT_LOG: {path} cannot be written: {reason.lower()}") from exc


def stop() -> None:
    """Write nothing any more."""
    global _descriptor
    if _descriptor is not None:
        os.close(_descriptor)
    _descriptor = None


def note(about: str, what: str) -> None:
    """Write a line: the time (UTC), our process, what it is about, and what happened. A line that
    cannot be written is left out."""
    if _descriptor is None:
        return
    seconds, milliseconds = divmod(time.time_ns() // 1_000_000, 1000)
    moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    # A line is ASCII and one line, whatever a peer put into what is said of it.
    line = f"{moment}.{milliseconds:03d}Z {os.getpid()} {about}: {ascii(what)[1:-1]}\n"
    try:
        os.write(_descriptor, line.encode())
    except OSError:
        return


def notes_about(thing: str) -> Note | None:
    """What writes about this thing. None if no journal is kept, so that nothing need be noted."""
    return None if _descriptor is None else partial(note, thing)
