"""The admin socket at the server: commands of programs that run as the server's user, or as root.

A command is a line. The answer is lines, each behind a blank, and then `done` or `refused`; the
next command is read when the answer has left. So a program can send several at once, and
`printf 'WHO\\n' | nc -U admin.sock` shows an answer. Half a line is no command.

Nobody is trusted less than the operator here, but a program may hang or be wrong: whoever does not
read is not read any more, and of too many the one that was silent for longest goes. How the socket
is made is not known here, nor what a command means.
"""

import socket
from contextlib import suppress

from chat.frozen import replace
from chat.limits import (
    ACCEPT_PAUSE_SECONDS,
    ADMIN_LINE_BYTES,
    CONSOLE_READ_BYTES,
    MAX_ADMIN_CONNECTIONS,
)
from chat.reactor import Reactor
from chat.server import words
from chat.server.commands import Answer, refused
from chat.server.console import Console
from chat.server.operators import ADMIN

DONE, REFUSED = b"done\n", b"refused\n"


class AdminDoor:
    """Takes in those who connect. `open` begins, `close` ends."""

    def __init__(self, reactor: Reactor, listener: socket.socket, console: Console) -> None:
        """`listener` is closed by its owner."""
        self._reactor = reactor
        self._listener = listener
        self._console = console
        self.callers: dict[_Caller, None] = {}
        """Those that are connected, in the order in which they were heard last."""

    def open(self) -> None:
        """Take in whoever comes."""
        self._reactor.watch_read(self._listener.fileno(), self._accept)

    def close(self) -> None:
        """Take in nobody, and hear nobody any more."""
        self._reactor.unwatch(self._listener.fileno())
        for caller in list(self.callers):
            caller.close()

    def _accept(self) -> None:
        try:
            connected, _ = self._listener.accept()
        except BlockingIOError:
            return
        except OSError:
            # No descriptor is left, for example. It stays ready, so look again later.
            self._reactor.unwatch(self._listener.fileno())
            self._reactor.call_at(self._reactor.clock() + ACCEPT_PAUSE_SECONDS, self._open_again)
            return
        if len(self.callers) >= MAX_ADMIN_CONNECTIONS:
            next(iter(self.callers)).close()
        _Caller(self, self._reactor, connected, self._console)

    def _open_again(self) -> None:
        if self._listener.fileno() >= 0:
            self.open()

    def note_heard(self, caller: "_Caller") -> None:
        """Something came from this one."""
        self.callers.pop(caller, None)
        self.callers[caller] = None


class _Caller:
    """One connection. While something of an answer is left in `_unsent`, nothing is read; of what
    was read, one line is obeyed in one turn of the loop."""

    def __init__(
        self, door: AdminDoor, reactor: Reactor, connected: socket.socket, console: Console
    ) -> None:
        self._door = door
        self._reactor = reactor
        self._socket = connected
        self._console = console
        self._unread = b""
        self._unsent = b""
        self._ended = False
        self._working = False
        connected.setblocking(False)
        door.note_heard(self)
        self._watch()

    def close(self) -> None:
        """Forget the connection."""
        self._door.callers.pop(self, None)
        if self._socket.fileno() >= 0:
            self._reactor.unwatch(self._socket.fileno())
            self._socket.close()

    def _watch(self) -> None:
        """Wait for what has to come next: room for the answer, our turn to obey, or more lines."""
        if self._ended and not self._unsent and b"\n" not in self._unread:
            self.close()
            return
        descriptor, writes = self._socket.fileno(), bool(self._unsent)
        works = not writes and b"\n" in self._unread
        reads = not (writes or works or self._ended)
        self._reactor.watch_write(descriptor, self._on_writable if writes else None)
        self._reactor.watch_read(descriptor, self._on_readable if reads else None)
        if works and not self._working:
            self._working = True
            self._reactor.defer(self._work)

    def _on_readable(self) -> None:
        try:
            data = self._socket.recv(CONSOLE_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self._door.note_heard(self)
        self._ended = not data
        self._unread += data
        if b"\n" not in self._unread and len(self._unread) > ADMIN_LINE_BYTES:
            self._unread, self._ended = b"", True
            self._say(refused(words.COMMAND_TOO_LONG))
        self._watch()

    def _work(self) -> None:
        self._working = False
        if self._socket.fileno() < 0:
            return
        line, _, self._unread = self._unread.partition(b"\n")
        if len(line) > ADMIN_LINE_BYTES:
            answer = refused(words.COMMAND_TOO_LONG)
        else:
            text = line.decode(errors="surrogateescape").rstrip("\r")
            answer = self._console.command_from(ADMIN, text)
            complaints = self._console.save_orders()
            answer = replace(answer, lines=(*complaints, *answer.lines))
        self._say(answer)
        if answer.then is not None:
            answer.then()
        if self._socket.fileno() >= 0:
            self._watch()

    def _say(self, answer: Answer) -> None:
        lines = "".join(f" {line}\n" for line in answer.afar)
        self._unsent += lines.encode(errors="backslashreplace") + (DONE if answer.done else REFUSED)
        self._send()

    def _send(self) -> None:
        try:
            with suppress(BlockingIOError):
                while self._unsent:
                    self._unsent = self._unsent[self._socket.send(self._unsent) :]
        except OSError:
            # It has gone, and so have those of its commands that were not read yet.
            self._unsent, self._unread, self._ended = b"", b"", True

    def _on_writable(self) -> None:
        self._send()
        self._watch()
