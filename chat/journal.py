"""A journal for the maintainer, who asks for it when somebody says "it does not connect".

`CHAT_LOG=FILE` starts it. It says when which connection did what: addresses, states, types and
sizes of frames, reasons, timers. It never holds a text, a name or a key; a member is its number.
`logging` is not used, since importing it would make every start slower by some milliseconds.
"""

import errno
import os
import re
import time
from collections.abc import Callable
from functools import partial

from chat.errors import UsageError

Note = Callable[[str], None]
"""Writes one line about one thing."""

_descriptor: int | None = None
_write: Callable[[int, bytes], int] = os.write


def start(path: str) -> None:
    """Append to this file from now on. It may be `/dev/stderr`, even where that is a socket, as
    under systemd, or a FIFO that somebody reads.

    Raises:
        UsageError: it cannot be opened.
    """
    global _descriptor, _write
    # Without blocking: a journal that nobody reads must not hold up a conversation.
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
    try:
        _descriptor, _write = os.open(path, flags, 0o600), os.write
    except (OSError, ValueError) as exc:
        shared = _STANDARD.fullmatch(path)
        if shared and getattr(exc, "errno", None) == errno.ENXIO:
            _descriptor, _write = os.dup(_number_of(shared)), _write_to_socket
            return
        reason = getattr(exc, "strerror", None) or str(exc)
        raise UsageError(f"CHAT_LOG: {path} cannot be written: {reason.lower()}") from exc


_STANDARD = re.compile(r"/dev/(?:std(?P<name>out|err)|fd/(?P<number>\d+))")
"""The paths of descriptors that we have already. A socket cannot be opened by its path (ENXIO)."""


def _number_of(path: re.Match[str]) -> int:
    return int(path["number"] or {"out": 1, "err": 2}[path["name"]])


def _write_to_socket(descriptor: int, data: bytes) -> int:
    """Never blocks, though the socket is shared and may be a blocking one."""
    import socket

    with socket.socket(fileno=os.dup(descriptor)) as shared:
        return shared.send(data, socket.MSG_DONTWAIT)


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
    # A line is ASCII and one line, whatever a peer put into its name or into what is said of it.
    text = ascii(f"{about}: {what}")[1:-1]
    line = f"{moment}.{milliseconds:03d}Z {os.getpid()} {text}\n"
    try:
        _write(_descriptor, line.encode())
    except OSError:
        return


def notes_about(thing: str) -> Note | None:
    """What writes about this thing. None if no journal is kept, so that nothing need be noted."""
    return None if _descriptor is None else partial(note, thing)
