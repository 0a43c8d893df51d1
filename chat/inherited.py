"""Listening sockets that outlive the program that opened them (sd_listen_fds(3)).

Whoever starts a process hands them over as its descriptors from 3 on, and says so in LISTEN_FDS and
LISTEN_PID. A service manager does that, and so does `start_anew`: newcomers wait in the queue of
the kernel meanwhile, nobody is refused, and a port that was chosen with `--port 0` stays the same.
(A server of a cluster hands over only what it was handed: its members go on elsewhere.) What
listens where is not decided here.
"""

import fcntl
import os
import re
import socket
import sys
from collections.abc import MutableMapping, Sequence
from typing import NoReturn

from chat.errors import TransportError, cause_of

_FIRST = 3
"""The descriptor of the first one, by sd_listen_fds(3)."""

_COUNT, _PROCESS, _NAMES = "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"


def inherited(environ: MutableMapping[str, str]) -> list[socket.socket]:
    """The listening sockets that were handed to this process; none if there are none. What says so
    is taken out of the environment, so that no process that we start takes it for its own.

    Raises:
        TransportError: something else was handed over.
    """
    count, process = environ.pop(_COUNT, ""), environ.pop(_PROCESS, "")
    environ.pop(_NAMES, None)
    if process != str(os.getpid()) or not re.fullmatch("[0-9]{1,3}", count):
        return []
    return [_taken(descriptor) for descriptor in range(_FIRST, _FIRST + int(count))]


def _taken(descriptor: int) -> socket.socket:
    try:
        os.set_inheritable(descriptor, False)
        listener = socket.socket(fileno=descriptor)
        listens = listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as exc:
        text = f"{_COUNT}: the descriptor {descriptor} is no socket"
        raise TransportError(text) from exc
    if not listens or listener.family not in (socket.AF_INET, socket.AF_INET6):
        listener.close()
        raise TransportError(f"{_COUNT}: the descriptor {descriptor} does not listen for TCP")
    return listener


def start_anew(listeners: Sequence[socket.socket]) -> NoReturn:
    """Become the same program with the same arguments, as it is on the disk by now, and hand these
    over to it. Whatever is open beside them and the standard streams is closed by that.

    Raises:
        TransportError: it cannot be started.
    """
    beyond = _FIRST + len(listeners)
    # Two steps, since a listener may have the descriptor that is meant for another one.
    spare = [fcntl.fcntl(one, fcntl.F_DUPFD_CLOEXEC, beyond) for one in listeners]
    for descriptor, one in enumerate(spare, _FIRST):
        os.dup2(one, descriptor)
    environ = {**os.environ, _COUNT: str(len(spare)), _PROCESS: str(os.getpid())}
    try:
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environ)
    except OSError as exc:
        text = f"the server cannot start anew: {sys.executable}: {cause_of(exc)}"
        raise TransportError(text, "start it again; everybody is waiting for it") from exc
