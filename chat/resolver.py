"""Looking up a host without blocking the loop.

`getaddrinfo` cannot be interrupted, and takes half a minute if the name servers are silent. So it
runs in a child process that does nothing else. The reactor watches the pipe on which the answer
comes, and a child whose answer is no longer wanted is killed. A host that is an address already
needs no child. What the addresses are used for is not known here.
"""

import contextlib
import errno
import marshal
import os
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

from chat.errors import TransportError
from chat.limits import LOOKUP_SECONDS
from chat.program import PROGRAM
from chat.reactor import Reactor, Timer

_CHILD = """
import _signal, _socket, marshal, sys
_signal.alarm(int(sys.argv[3]))
try:
    answer = _socket.getaddrinfo(sys.argv[1].encode(), int(sys.argv[2]), 0, _socket.SOCK_STREAM)
except _socket.gaierror as error:
    answer = error.errno
sys.stdout.buffer.write(marshal.dumps(answer))
"""
"""The child's program. Its arguments are host, port and the seconds it may take. It imports little,
since `import socket` would double its time, and ends by itself if we are killed first."""

_READ_BYTES = 65_536

_SPELLING = "is it spelled right, and are you online?"
_KEPT = f" The rooms that you keep are listed by: {PROGRAM} rooms"
_NO_ANSWER = "the name server does not answer; are you online?"


class Address(NamedTuple):
    """An address family and an address in it, as `socket` wants them."""

    family: int
    where: tuple[Any, ...]


class LookUp:
    """One look-up. It is `over` when there are `addresses`, in the order in which the system wants
    them tried, or an `error`. Then `on_over` is called, unless the look-up was over from the start
    or has been closed."""

    def __init__(
        self,
        reactor: Reactor,
        host: str,
        port: int,
        on_over: Callable[[], None],
        *,
        may_be_kept: bool = False,
    ) -> None:
        """Begin. `may_be_kept`: a kept room may have been meant by `host`, for a hint."""
        self.addresses: list[Address] = []
        self.error: TransportError | None = None
        self._reactor = reactor
        self._host = host
        self._on_over = on_over
        self._may_be_kept = may_be_kept
        self._answer = b""
        self._pipe: int | None = None
        self._child = 0
        self._timer: Timer | None = None
        if host.isascii():
            # An address needs no codec for names, which is slow to import.
            self._find_numeric(host, port)
        if not self.addresses:
            self._find_named(host, port)

    def _find_numeric(self, name: str, port: int) -> None:
        # This understands numeric addresses only, and so returns at once.
        with contextlib.suppress(socket.gaierror):
            self._found(_numeric(name, port))

    def _find_named(self, host: str, port: int) -> None:
        try:
            name = host.encode("idna").decode()
        except UnicodeError:
            name = ""
        if not name:
            self._fail(_SPELLING)
            return
        # Of other digits the codec makes those of an address.
        self._find_numeric(name, port)
        if not self.addresses:
            self._ask_child(name, port)

    @property
    def over(self) -> bool:
        """Whether there is a result."""
        return bool(self.addresses or self.error)

    def close(self) -> None:
        """Give up the look-up, if it is not over."""
        if self._pipe is None:
            return
        assert self._timer is not None
        self._timer.cancel()
        self._reactor.unwatch(self._pipe)
        os.close(self._pipe)
        self._pipe = None
        # If SIGCHLD is ignored, the system has reaped the child already.
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(self._child, signal.SIGKILL)
            os.waitpid(self._child, 0)

    def _ask_child(self, name: str, port: int) -> None:
        try:
            self._child, self._pipe = _spawn([name, str(port), str(LOOKUP_SECONDS)])
        except OSError as exc:
            self._fail(f"no process can be started to look it up: {exc.strerror}")
            return
        self._reactor.watch_read(self._pipe, self._on_readable)
        limit = self._reactor.clock() + LOOKUP_SECONDS
        self._timer = self._reactor.call_at(limit, self._on_end)

    def _on_readable(self) -> None:
        assert self._pipe is not None
        data = os.read(self._pipe, _READ_BYTES)
        self._answer += data
        if not data:
            self._on_end()

    def _on_end(self) -> None:
        """The child has ended, or its time is up."""
        self.close()
        try:
            answer = marshal.loads(self._answer)
        except (EOFError, ValueError, TypeError):
            answer = socket.EAI_AGAIN
        if isinstance(answer, list):
            self._found(answer)
        if not self.addresses:
            self._fail(_NO_ANSWER if answer == socket.EAI_AGAIN else _SPELLING)
        self._on_over()

    def _found(self, answer: list[Any]) -> None:
        self.addresses = [Address(family, where) for family, _, _, _, where in answer]

    def _fail(self, hint: str) -> None:
        if self._may_be_kept and hint == _SPELLING and "." not in self._host:
            hint += _KEPT
        self.error = TransportError(f"the host {self._host} is not known", hint)


def _numeric(name: str, port: int) -> list[Any]:
    return socket.getaddrinfo(
        name.encode(), port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST
    )


def _spawn(arguments: list[str]) -> tuple[int, int]:
    """Start the child. Returns its process id, and the descriptor on which its answer comes.

    The child inherits nothing: no descriptor, and not the terminal, whose signals are for us.

    Raises:
        OSError: it cannot be started.
    """
    python = sys.executable
    if not python:
        raise FileNotFoundError(errno.ENOENT, "nobody knows where Python is")
    ours, theirs = os.pipe()
    try:
        child = os.posix_spawn(
            python,
            # -I and -S: neither the environment nor the current folder affects what it runs.
            [python, "-I", "-S", "-c", _CHILD, *arguments],
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDWR, 0),
                (os.POSIX_SPAWN_DUP2, theirs, 1),
                (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_RDWR, 0),
            ],
            setpgroup=0,
            setsigmask=(),
            setsigdef=(signal.SIGALRM, signal.SIGINT, signal.SIGHUP, signal.SIGTERM),
        )
    except BaseException:
        os.close(ours)
        raise
    finally:
        os.close(theirs)
    return child, ours
